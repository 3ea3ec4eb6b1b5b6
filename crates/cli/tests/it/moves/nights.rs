use serde_json::Value;

use super::Library;
use crate::project::{Ran, snapshot, story};

fn document(run: &Ran) -> Value {
    serde_json::from_str(&run.stdout()).unwrap_or_else(|error| panic!("{error}\n{}", run.all()))
}

/// The counts that a run's report has for a rule.
fn counts(report: &Value, rule: &str) -> [u64; 5] {
    let rules = report["rules"].as_array().expect("rules");
    let found = rules.iter().find(|found| found["rule"] == rule).expect("the rule");
    ["rows", "inserted", "updated", "deleted", "unchanged"]
        .map(|name| found[name].as_u64().expect("a count"))
}

fn written(report: &Value) -> u64 {
    let rules = ["people", "books", "loans", "loan_days"];
    rules.map(|rule| counts(report, rule)[1..4].iter().sum::<u64>()).iter().sum()
}

#[test]
fn night_after_night_only_what_differs_is_written() {
    let library = Library::new();
    let mut runs = vec![
        library.run("move status library").exits(0),
        library.run("move plan library").exits(0),
        library.run("move run library --dry-run").exits(0),
    ];
    let tables = library.new_one("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1");
    assert_eq!(library.everything(), "", "a dry run writes nothing");
    assert_eq!(tables, "books\nloan_days\nloans\npeople\nsqlite_sequence", "not even a ledger");
    runs.push(library.run("move run library").exits(0));
    let first = library.everything();
    runs.push(library.run("move run library").exits(0));
    assert_eq!(library.everything(), first, "a re-run changes nothing");

    library.old(
        "INSERT INTO loans VALUES (6, 2, 20, '2024-03-01', NULL);
         UPDATE books SET title = 'Notes' WHERE id = 20;
         DELETE FROM loans WHERE id = 1;",
    );
    library.new_one("UPDATE people SET family = 'Byron' WHERE email = 'ada@example.org'");
    runs.push(library.run("move run library").exits(0));
    let kept = "SELECT family FROM people WHERE email = 'ada@example.org'";
    assert_eq!(library.new_one(kept), "Byron", "the application's change stays");
    assert_eq!(library.new_one("SELECT title FROM books WHERE id = 20"), "Notes");
    runs.push(library.run("move status library").exits(0));
    runs.push(library.run("move rejects library").exits(0));
    runs.push(library.run("move rejects library --csv").exits(0));
    snapshot!("move_nights", library.project, story(&runs));
}

#[test]
fn the_new_rows_are_what_the_mapping_says() {
    let library = Library::new();
    library.run("move run library").exits(0);
    let people = library.new_one("SELECT email, given, family FROM people ORDER BY 1");
    assert_eq!(
        people,
        "ada@example.org|Ada|Lovelace\nalan@example.org|Alan|Turing\ngrace@example.org|Grace|Hopper"
    );
    assert_eq!(
        library.new_one("SELECT * FROM books ORDER BY 1"),
        "10|Sketches\n20|Untitled\n30|Compilers"
    );
    // Both of Ada's loans are hers, the one of nobody is left out, a missing book is NULL.
    let loans = library.new_one(
        "SELECT email, coalesce(book_id, 'none') FROM loans JOIN people ON people.id = person_id ORDER BY 1, 2",
    );
    assert_eq!(
        loans,
        "ada@example.org|10\nada@example.org|30\nalan@example.org|none\ngrace@example.org|30"
    );
    let days = library.new_one(
        "SELECT email, what, day FROM loan_days JOIN loans ON loans.id = loan_id JOIN people ON people.id = person_id ORDER BY 3, 2",
    );
    assert_eq!(
        days,
        "ada@example.org|out|2024-01-01\nada@example.org|back|2024-01-09\n\
         ada@example.org|out|2024-02-01\nalan@example.org|out|2024-02-03"
    );
    // The application's own books begin above the headroom.
    library.new_one("INSERT INTO books (title) VALUES ('Its own')");
    assert_eq!(library.new_one("SELECT max(id) > 130 FROM books"), "1");
}

#[test]
fn an_edited_mapping_writes_only_what_it_changes() {
    let library = Library::new();
    library.run("move run library").exits(0);
    library.edit("'Untitled'", "'No title'");
    let dry = document(&library.run("move run library --dry-run --json").exits(0));
    assert_eq!(counts(&dry, "books"), [3, 0, 1, 0, 2]);
    assert_eq!(library.new_one("SELECT title FROM books WHERE id = 20"), "Untitled");
    let report = document(&library.run("move run library --json").exits(0));
    assert_eq!(counts(&report, "books"), [3, 0, 1, 0, 2]);
    assert_eq!(written(&report), 1);
    assert_eq!(report["verified"], true);
    assert_eq!(report["exit_code"], 0);
    assert_eq!(written(&document(&library.run("move run library --json").exits(0))), 0);
}

#[test]
fn ids_can_be_asked_for_and_stay() {
    let library = Library::new();
    library.run("move run library").exits(0);
    let all = library.run("move ids export library --namespace person").exits(0);
    let file = library.run("move ids export library --namespace person --output ids.csv").exits(0);
    assert_eq!(file.stdout(), "");
    assert_eq!(library.project.read("ids.csv"), all.stdout());
    for line in all.stdout().lines().skip(1) {
        let (old, new) = line.split_once(',').expect("two columns");
        let email = library.old(&format!("SELECT lower(email) FROM members WHERE id = {old}"));
        let there = library.new_one(&format!("SELECT email FROM people WHERE id = '{new}'"));
        assert_eq!(there, email, "{line}");
    }
    assert_eq!(all.stdout().lines().count(), 5, "each old key, merged ones too");
    let ada = library.new_one("SELECT id FROM people WHERE email LIKE 'ada%'");
    let runs = [
        all,
        library.run("move ids show library person 3").exits(0),
        library.run(&format!("move ids show library person {ada}")).exits(0),
        library.run("move ids show library person 3 --json").exits(0),
        library.run("move ids show library book 20").exits(0),
    ];
    snapshot!("move_ids", library.project, story(&runs));
}

#[test]
fn a_row_that_cannot_be_moved_holds_up_no_other() {
    let library = Library::new();
    library.edit("coalesce(title, 'Untitled')", "title");
    let refused = library.run("move run library").exits(6);
    assert_eq!(library.new_one("SELECT count(*) FROM books"), "2");
    assert_eq!(library.new_one("SELECT count(*) FROM people"), "3");
    let finish = library.run("move finish library").exits(6);
    let again = library.run("move run library").exits(6);
    assert!(again.stderr().contains("not verified"), "it is still open: {}", again.all());
    let rejects = library.run("move rejects library --json").exits(0);
    let unproved = library.run("move run library --no-verify").exits(6);
    library.old("UPDATE books SET title = 'Notes' WHERE id = 20");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT count(*) FROM books"), "3");
    snapshot!("move_rejected", library.project, story(&[refused, finish, rejects, unproved]));
}

#[test]
fn an_emptied_source_does_not_empty_the_target() {
    let library = Library::new();
    library.old(
        "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
         INSERT INTO books SELECT i, 'Book ' || i FROM n;",
    );
    library.run("move run library").exits(0);
    library.old("DELETE FROM books WHERE id >= 200");
    let refused = library.run("move run library");
    assert_ne!(refused.code(), 0);
    assert_eq!(library.new_one("SELECT count(*) FROM books"), "204");
    library.edit("[ids]", "[conflicts]\nmax_deleted = \"20%\"\n\n[ids]");
    library.run("move run library --max-deleted 49%").exits(1);
    library.run("move run library --max-deleted 50").exits(2);
    assert_eq!(library.new_one("SELECT count(*) FROM books"), "204");
    library.run("move run library --max-deleted 50%").exits(0);
    assert_eq!(library.new_one("SELECT count(*) FROM books"), "103");
    snapshot!("move_emptied", library.project, refused.all());
}

/// New rows are written as they are met, and which are gone is known in the end.
#[test]
fn too_many_deletions_are_told_by_what_was_there_and_what_was_written() {
    let library = Library::new();
    library.old(
        "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
         INSERT INTO books SELECT i, 'Book ' || i FROM n;",
    );
    library.run("move run library").exits(0);
    library.old("UPDATE books SET id = id + 1000 WHERE id >= 200");
    let told = ["101 of the 204 rows", "none was deleted"];
    let dry = library.run("move run library --dry-run").exits(1).all();
    let refused = library.run("move run library").exits(1).all();
    assert!(told.iter().all(|one| dry.contains(one) && refused.contains(one)), "{refused}");
    assert!(!dry.contains("stays written") && refused.contains("stays written"), "{refused}");
    assert_eq!(library.new_one("SELECT count(*) FROM books"), "305");
}

#[test]
fn a_finished_move_is_closed_until_it_is_opened() {
    let library = Library::new();
    library.run("move run library").exits(0);
    library.old("UPDATE books SET title = 'Notes' WHERE id = 20");
    let finished = library.run("move finish library").exits(0);
    assert_eq!(library.new_one("SELECT title FROM books WHERE id = 20"), "Notes", "it runs");
    library.old("UPDATE books SET title = 'Too late' WHERE id = 20");
    let runs = [
        finished,
        library.run("move status library").exits(0),
        library.run("move run library").exits(2),
        library.run("move finish library").exits(2),
        library.run("move reopen library").exits(2),
        library.run("move reopen library --because again").exits(0),
        library.run("move status library --json").exits(0),
    ];
    assert_eq!(library.new_one("SELECT title FROM books WHERE id = 20"), "Notes");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT title FROM books WHERE id = 20"), "Too late");
    snapshot!("move_finished", library.project, story(&runs));
}

/// A column gets what another had: the values are the same, and the rows are not. A row that the
/// application changed stays its own.
#[test]
fn a_value_that_goes_to_another_column_is_written_there() {
    let mapping = |title: &str, note: &str| {
        format!(
            "source = \"old\"\ntarget = \"app\"\n\n[into.books]\nfrom = \"books\"\nset.id = \"id\"\n\
             set.{title} = \"title\"\nset.{note} = \"shelf\"\n"
        )
    };
    let library = Library::of(
        "CREATE TABLE books (id integer PRIMARY KEY, title text, shelf text); \
         INSERT INTO books VALUES (1, 'a', 'x'), (2, 'b', NULL), (3, 'c', 'z');",
        "CREATE TABLE books (id integer PRIMARY KEY, title text, note text, place text);",
        &mapping("title", "note"),
    );
    library.run("move run library").exits(0);
    library.new_one("UPDATE books SET note = 'theirs' WHERE id = 3");
    for (title, note, all) in [
        ("title", "place", "1|a|x|x\n2|b||\n3|c|theirs|"),
        ("place", "title", "1|x|x|a\n2|||b\n3|c|theirs|"),
    ] {
        library.project.write("moves/library.toml", &mapping(title, note));
        let ran = library.run("move run library").exits(0);
        library.run("move verify library").exits(0);
        let there = library.new_one("SELECT * FROM books ORDER BY id");
        assert_eq!(there, all, "{}", ran.all());
        assert!(library.run("move run library").exits(0).all().contains("0 rows written"));
    }
}
