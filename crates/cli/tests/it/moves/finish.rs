//! `move finish --drop-ledger`: nothing of ours stays.

use super::Library;
use crate::project::{snapshot, story};

const OURS: &str = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'dunlin%'";

#[test]
fn our_tables_go_with_a_finished_move_and_later_runs_are_refused() {
    let library = Library::new();
    let never = library.run("move finish library --drop-ledger --yes").exits(2);
    library.run("move run library").exits(0);
    let asked = library.run("move finish library --drop-ledger").exits(2);
    library.old("UPDATE books SET title = 'Notes' WHERE id = 20");
    let done = library.run("move finish library --drop-ledger --export-ids ids --yes").exits(0);
    assert_eq!(library.new_one("SELECT title FROM books WHERE id = 20"), "Notes", "it runs first");
    assert_eq!(library.new_one(OURS), "0");
    assert_eq!(library.project.list("ids"), ["book.csv", "loan.csv", "person.csv"]);
    assert_eq!(library.project.read("ids/person.csv").lines().count(), 5);
    assert!(library.project.read("moves/library.toml").starts_with("finished = \"2"));
    let before = library.everything();
    let again = library.run("move run library").exits(2);
    library.run("move finish library").exits(2);
    assert_eq!((library.everything(), library.new_one(OURS)), (before, "0".to_owned()));
    let runs = [never, asked, done, again];
    let told = story(&runs).replace(&today(&library), "[DAY]");
    snapshot!("move_drop_ledger", library.project, told);
}

/// The day that stands in the mapping.
fn today(library: &Library) -> String {
    let text = library.project.read("moves/library.toml");
    text.split('"').nth(1).expect("a day").to_owned()
}

#[test]
fn a_finished_move_gives_its_ledger_up_later() {
    let library = Library::new();
    library.run("move finish library").exits(0);
    library.old("UPDATE books SET title = 'Too late' WHERE id = 20");
    library.run("move finish library --drop-ledger --yes --json").exits(0);
    assert_eq!(library.new_one("SELECT title FROM books WHERE id = 20"), "Untitled");
    assert_eq!(library.new_one(OURS), "0");
}

#[test]
fn a_ledger_that_others_need_stays() {
    let library = Library::new();
    library.run("move run library").exits(0);
    library.project.write("moves/other.toml", &library.project.read("moves/library.toml"));
    library.new_one(
        "INSERT INTO dunlin_moves_store SELECT 'other', area, number, value FROM dunlin_moves_store
         WHERE area = 'state'",
    );
    let other = library.run("move finish library --drop-ledger --yes").exits(2);
    assert!(other.stderr().contains("other moves, too: other"), "{}", other.all());
    library.new_one("DELETE FROM dunlin_moves_store WHERE name = 'other'");
    library.project.write("migrations/1_shelves.sql", "CREATE TABLE shelves (id integer);\n");
    library.run("migrate --database app --migrations migrations").exits(0);
    let migrations = library.run("move finish library --drop-ledger --yes").exits(2);
    assert!(migrations.stderr().contains("migrations, too (1)"), "{}", migrations.all());
    assert_eq!(library.new_one("SELECT count(*) FROM dunlin_migrations"), "1");
}
