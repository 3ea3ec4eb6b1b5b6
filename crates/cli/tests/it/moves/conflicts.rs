//! The new application is used meanwhile.

use serde_json::Value;

use super::Library;
use crate::project::{Ran, snapshot, story};

const ADA: &str = "SELECT family FROM people WHERE email = 'ada@example.org'";
const MARRIES: &str = "UPDATE members SET name = 'Ada King' WHERE id = 1";
const CORRECTS: &str = "UPDATE people SET family = 'Byron' WHERE email = 'ada@example.org'";

impl Library {
    fn with_conflicts(words: &str) -> Self {
        let library = Self::new();
        library.edit("[ids]", &format!("[conflicts]\n{words}\n\n[ids]"));
        library.run("move run library").exits(0);
        library
    }
}

#[test]
fn a_row_that_the_application_changed_is_judged_by_the_mapping() {
    let keep = Library::with_conflicts("changed_there = \"keep theirs\"");
    let over = Library::with_conflicts("changed_there = \"overwrite\"");
    let stop = Library::with_conflicts("changed_there = \"stop\"");
    for library in [&keep, &over, &stop] {
        library.new_one(CORRECTS);
    }
    keep.run("move run library").exits(0);
    keep.old(MARRIES);
    keep.run("move run library").exits(0);
    assert_eq!(keep.new_one(ADA), "Byron", "for good, whatever the old row does");
    over.run("move run library").exits(0);
    assert_eq!(over.new_one(ADA), "Lovelace", "although the old row did not change");
    stop.old(MARRIES);
    let stopped = stop.run("move run library").exits(1);
    assert_eq!(stop.new_one(ADA), "Byron");
    snapshot!("move_conflict_stop", stop.project, stopped.stderr());
}

#[test]
fn a_row_that_the_application_deleted_is_judged_by_the_mapping() {
    let count = "SELECT count(*) FROM people";
    let grace =
        "DELETE FROM loan_days; DELETE FROM loans; DELETE FROM people WHERE email LIKE 'grace%'";
    let leave = Library::with_conflicts("deleted_there = \"leave deleted\"");
    leave.new_one("DELETE FROM loan_days WHERE what = 'back'");
    leave.run("move run library").exits(0);
    leave.run("move run library").exits(0);
    assert_eq!(leave.new_one("SELECT count(*) FROM loan_days"), "3");
    let restore = Library::with_conflicts("deleted_there = \"restore\"");
    let before = restore.everything();
    restore.new_one(grace);
    assert_eq!(restore.new_one(count), "2");
    restore.run("move run library").exits(0);
    assert_eq!(restore.everything(), before, "all are back, with their ids");
}

/// A new old row refers to one that is found to be gone only when all rows are compared.
#[test]
fn rows_that_refer_to_one_that_is_restored_come_with_it() {
    let library = Library::with_conflicts("deleted_there = \"restore\"");
    library.new_one(
        "DELETE FROM loans WHERE person_id = (SELECT id FROM people WHERE email LIKE 'grace%');
         DELETE FROM people WHERE email LIKE 'grace%'",
    );
    library.old("INSERT INTO loans VALUES (6, 4, 10, '2024-03-01', '2024-03-02')");
    let ran = library.run("move run library").exits(0);
    assert!(ran.stderr().contains("restoring"), "{}", ran.all());
    let of_grace = "SELECT count(*) FROM loans JOIN people ON people.id = person_id
        WHERE email LIKE 'grace%' AND book_id = 10";
    assert_eq!(library.new_one(of_grace), "1");
    assert_eq!(library.new_one("SELECT count(*) FROM loan_days"), "6", "{}", ran.all());
    let again = library.run("move run library").exits(0);
    assert!(again.all().contains("0 rows written"), "{}", again.all());
}

#[test]
fn the_application_s_own_rows_are_its_own() {
    let library = Library::new();
    library.run("move run library").exits(0);
    // Its own loan of a book that came from the old library, and a book of its own.
    library.new_one(
        "INSERT INTO loans SELECT 'its-own', id, 10 FROM people WHERE email = 'alan@example.org';
         INSERT INTO books (id, title) VALUES (5000, 'Its own');",
    );
    library.old("DELETE FROM books WHERE id = 10; DELETE FROM loans WHERE book_id = 10");
    let kept = library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT count(*) FROM books WHERE id IN (10, 5000)"), "2");
    assert_eq!(library.new_one("SELECT book_id FROM loans WHERE id = 'its-own'"), "10");
    // And an old row whose place is taken.
    library.old("INSERT INTO books VALUES (5000, 'The old one')");
    let taken = library.run("move run library").exits(6);
    assert_eq!(library.new_one("SELECT title FROM books WHERE id = 5000"), "Its own");
    let rejects = library.run("move rejects library").exits(0);
    snapshot!("move_own_rows", library.project, story(&[kept, taken, rejects]));
}

/// Few rows that differ are fetched by their keys, many are found by reading the table once more.
#[test]
fn few_rows_and_many_that_the_application_touched_are_told() {
    let library = Library::new();
    library.old(
        "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 399)
         INSERT INTO books SELECT i, 'Volume ' || i FROM n",
    );
    library.run("move run library").exits(0);
    let told = |run: &crate::project::Ran, kind: &str, count: u64| {
        let report: serde_json::Value = serde_json::from_str(&run.stdout()).expect("a report");
        let rules = report["rules"].as_array().expect("rules");
        let books = rules.iter().find(|rule| rule["rule"] == "books").expect("books");
        let reasons = books["notes"][kind].as_object();
        let all = reasons.into_iter().flat_map(|reasons| reasons.values());
        assert_eq!(all.filter_map(serde_json::Value::as_u64).sum::<u64>(), count, "{}", run.all());
        let (rows, verified) = (books["rows"].as_u64(), books["verified"].as_u64());
        rows.zip(verified).map(|(rows, verified)| rows - verified)
    };
    library.new_one("UPDATE books SET title = 'New' WHERE id BETWEEN 100 AND 104");
    library.new_one("DELETE FROM books WHERE id IN (200, 201)");
    let few = library.run("move run library --json").exits(0);
    assert_eq!(told(&few, "changed_there", 5), Some(7));
    told(&few, "deleted_there", 2);
    library.new_one("UPDATE books SET title = 'New' WHERE id BETWEEN 100 AND 159");
    let many = library.run("move run library --json").exits(0);
    assert_eq!(told(&many, "changed_there", 60), Some(62));
    told(&many, "deleted_there", 2);
}

#[test]
fn an_old_row_that_no_rule_takes_is_told() {
    let library = Library::new();
    library.edit("makes = \"book\"", "makes = \"book\"\nwhere = \"title IS NOT NULL\"");
    library.run("move run library").exits(6);
    let rejects = library.run("move rejects library --csv").exits(0).stdout();
    assert!(rejects.contains("books,20,not_taken,"), "{rejects}");
    let text = library.project.read("moves/library.toml");
    let because =
        "[[leave_out]]\nfrom = \"books\"\nwhere = \"title IS NULL\"\nbecause = \"no title\"\n";
    library.project.write("moves/library.toml", &format!("{text}\n{because}"));
    let ran = library.run("move run library").exits(0);
    assert!(ran.stdout().contains("1 row left out of books: no title"), "{}", ran.all());
}

#[test]
fn one_old_row_can_be_looked_at_with_what_becomes_of_it() {
    let library = Library::new();
    library.run("move run library").exits(0);
    let runs = [
        library.run("move sample library members 1").exits(0),
        library.run("move sample library members 3").exits(0),
        library.run("move sample library loans 1").exits(0),
        library.run("move sample library lones 1"),
        library.run("move sample library loans 99"),
    ];
    assert!(runs[3..].iter().all(|run| run.code() != 0));
    snapshot!("move_sample", library.project, story(&runs));
}

fn document(run: &Ran) -> Value {
    serde_json::from_str(&run.stdout()).expect("a document")
}

/// What a dry run and then a run have written of a rule: new, changed, deleted, as they were.
fn foretold(library: &Library, rule: &str) -> [[u64; 4]; 2] {
    ["move run library --dry-run --json", "move run library --json"].map(|words| {
        let report = document(&library.run(words));
        let rules = report["rules"].as_array().expect("rules");
        let of = rules.iter().find(|one| one["rule"] == rule).expect("the rule");
        ["inserted", "updated", "deleted", "unchanged"].map(|what| of[what].as_u64().expect(what))
    })
}

#[test]
fn a_dry_run_counts_what_the_mapping_wants_back() {
    let library = Library::with_conflicts(
        "changed_there = \"overwrite\"\ndeleted_there = \"restore\"\nmax_deleted = \"100%\"",
    );
    library.new_one(CORRECTS);
    library.new_one("DELETE FROM loan_days WHERE what = 'back'");
    library.new_one("UPDATE loans SET book_id = NULL");
    let dry = library.run("move run library --dry-run").exits(0).all();
    assert!(dry.contains("people: family would change in 1 row"), "{dry}");
    assert!(dry.contains("only a run can tell"), "{dry}");
    assert_eq!(foretold(&library, "people"), [[0, 1, 0, 2]; 2]);
    // The run before has set all right.
    library.new_one("DELETE FROM loan_days WHERE what = 'back'");
    let [dry, run] = foretold(&library, "loan_days");
    assert_eq!((dry, dry[0] > 0), (run, true));
    library.new_one("UPDATE loans SET book_id = NULL");
    let [dry, run] = foretold(&library, "loans");
    assert_eq!((dry, dry[1] > 0), (run, true));
    assert_eq!(foretold(&library, "loans")[0][..3], [0, 0, 0]);
}

#[test]
fn a_dry_run_knows_whose_rows_are_there() {
    let library = Library::with_conflicts("changed_there = \"keep theirs\"");
    library.new_one(CORRECTS);
    library.new_one("INSERT INTO books VALUES (50, 'The application''s'); DELETE FROM loans WHERE book_id = 30; DELETE FROM books WHERE id = 30");
    library.old(
        "INSERT INTO books VALUES (50, 'Another'), (51, 'New'); DELETE FROM books WHERE id = 30",
    );
    let dry = library.run("move run library --dry-run").exits(0).all();
    assert!(dry.contains("people: 1 row changed there"), "{dry}");
    assert!(dry.contains("books: 1 row already there"), "{dry}");
    assert_eq!(foretold(&library, "books"), [[1, 0, 0, 2]; 2]);
}

#[test]
fn a_dry_run_stops_where_a_run_stops() {
    let library = Library::with_conflicts("changed_there = \"stop\"");
    library.new_one(CORRECTS);
    for words in ["move run library --dry-run", "move run library"] {
        let ran = library.run(words).exits(1);
        assert!(ran.all().contains("changed a row of people that the move wrote"), "{}", ran.all());
    }
}

/// The database compares row by row, and would refuse each of the two.
#[test]
fn values_that_the_application_swapped_are_swapped_back_at_once() {
    let library = Library::with_conflicts("changed_there = \"overwrite\"");
    let before = library.everything();
    let swap = "UPDATE people SET email = 't' WHERE email = 'ada@example.org';
         UPDATE people SET email = 'ada@example.org' WHERE email = 'alan@example.org';
         UPDATE people SET email = 'alan@example.org' WHERE email = 't'";
    library.new_one(swap);
    library.run("move run library").exits(0);
    assert_eq!(library.everything(), before);
    // And where one of them has another value free by then.
    library.new_one(
        "UPDATE people SET email = 'free' WHERE email = 'ada@example.org';
         UPDATE people SET email = 'ada@example.org' WHERE email = 'alan@example.org'",
    );
    library.run("move run library").exits(0);
    assert_eq!(library.everything(), before);
}
