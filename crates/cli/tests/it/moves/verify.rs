//! `move verify`: what should be there beside what is; and what a dry run tells of changes.

use serde_json::Value;

use super::Library;
use crate::project::{Ran, snapshot, story};

fn document(run: &Ran) -> Value {
    serde_json::from_str(&run.stdout()).unwrap_or_else(|error| panic!("{error}\n{}", run.all()))
}

/// What it counts of a rule: left as it is, and not as it should be.
fn counts(found: &Value, rule: &str) -> (String, String) {
    let rules = found["rules"].as_array().expect("rules");
    let found = rules.iter().find(|found| found["rule"] == rule).expect("the rule");
    (found["left"].to_string(), found["differences"].to_string())
}

#[test]
fn every_kind_of_difference_is_named_with_its_columns() {
    let library = Library::new();
    let never = library.run("move verify library").exits(2);
    library.run("move run library").exits(0);
    let equal = library.run("move verify library").exits(0);
    library.old(
        "UPDATE books SET title = 'Sketches of an engine' WHERE id = 10;
         INSERT INTO books VALUES (40, 'Not yet'), (50, 'Another');
         DELETE FROM loans WHERE id = 2;",
    );
    library.new_one(
        "INSERT INTO books VALUES (50, 'Its own');
         UPDATE people SET family = 'Byron', given = 'A.' WHERE email = 'ada@example.org';
         DELETE FROM loan_days WHERE what = 'back';",
    );
    let before = library.everything();
    let differs = library.run("move verify library").exits(6);
    let values = library.run("move verify library --show-values --rows 1").exits(6);
    let found = document(&library.run("move verify library --json").exits(6));
    assert_eq!(counts(&found, "books").1, r#"{"not_written":1,"out_of_date":1,"already_there":1}"#);
    assert_eq!(counts(&found, "people"), (r#"{"changed_there":1}"#.into(), "{}".into()));
    assert_eq!(counts(&found, "loans").1, r#"{"gone":1}"#);
    assert_eq!(counts(&found, "loan_days").0, r#"{"deleted_there":1}"#);
    assert!(!found.to_string().contains("Sketches"), "no value unless it is asked for");
    library.edit("[ids]", "[conflicts]\nchanged_there = \"overwrite\"\n\n[ids]");
    let judged = document(&library.run("move verify library --json").exits(6));
    assert_eq!(counts(&judged, "people").1, r#"{"changed_there":1}"#);
    assert_eq!(library.everything(), before, "it writes nothing");
    library.new_one("DELETE FROM books WHERE id = 50");
    library.run("move run library").exits(0);
    let again = library.run("move verify library").exits(0);
    snapshot!("move_verify", library.project, story(&[never, equal, differs, values, again]));
}

#[test]
fn a_finished_move_can_be_compared() {
    let library = Library::new();
    library.run("move finish library").exits(0);
    library.run("move verify library").exits(0);
}

#[test]
fn what_a_run_finds_is_named_with_its_columns() {
    let library = Library::new();
    library.run("move run library").exits(0);
    // Something changes the row as soon as it is written.
    library.new_one(
        "CREATE TRIGGER meddles AFTER UPDATE ON books WHEN new.title = 'Notes'
         BEGIN UPDATE books SET title = 'Meddled' WHERE id = new.id; END;",
    );
    library.old("UPDATE books SET title = 'Notes' WHERE id = 20");
    library.run("move run library").exits(6);
    let rejects = library.run("move rejects library --csv").exits(0).stdout();
    assert!(rejects.contains("books,20,differs,it is not what was written: title"), "{rejects}");
}

#[test]
fn a_dry_run_tells_which_columns_would_change() {
    let library = Library::new();
    library.run("move run library").exits(0);
    library.edit("coalesce(title, 'Untitled')", "upper(coalesce(title, 'No title'))");
    library.edit("set.given  = \"split_part(name, ' ', 1)\"", "set.given  = \"name\"");
    library.new_one("UPDATE people SET family = 'Byron' WHERE email = 'ada@example.org'");
    let before = library.everything();
    let dry = library.run("move run library --dry-run").exits(0);
    let values = library.run("move run library --dry-run --show-values").exits(0);
    assert!(!dry.stdout().contains("UNTITLED") && values.stdout().contains("-> 'NO TITLE'"));
    assert_eq!(library.everything(), before);
    let report = document(&library.run("move run library --dry-run --json").exits(0));
    let books = &report["rules"][1];
    assert_eq!(books["columns"].to_string(), r#"{"title":3}"#);
    assert_eq!(report["rules"][0]["columns"].to_string(), r#"{"given":2}"#, "Ada's is theirs");
    let wrote = document(&library.run("move run library --json").exits(0));
    assert_eq!([&wrote["rules"][0]["updated"], &wrote["rules"][1]["updated"]], [2, 3]);
    snapshot!("move_dry_run", library.project, story(&[dry, values]));
}
