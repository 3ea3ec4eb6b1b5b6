//! What a move survives. `docs/reference/guarantees.md` lists it, with tests of other crates.

use serde_json::Value;

use dunlin_testkit::servers::{self, run_sql};

use super::Library;
use crate::project::Project;

/// Where a run dies: around the lease, when all is decided, with rows written, before and after a
/// commit is sent, and when all is loaded or compared.
const DEATHS: [&str; 9] = [
    "claim.granted",
    "move.decided",
    "move.written",
    "move.sending",
    "move.committed",
    "move.sending@3",
    "move.committed@3",
    "move.loaded",
    "move.verified",
];

fn written(library: &Library) -> u64 {
    let ran = library.run("move run library --json").exits(0);
    let report: Value = serde_json::from_str(&ran.stdout()).expect("a report");
    let rules = report["rules"].as_array().expect("rules").clone();
    let of = |rule: &Value, what: &str| rule[what].as_u64().expect("a count");
    rules.iter().map(|rule| of(rule, "inserted") + of(rule, "updated") + of(rule, "deleted")).sum()
}

/// (1, 2, 3, 4) Killed anywhere, first on empty tables and then with changes of both applications to
/// go on with, the next run does the rest; nothing is there twice, ids are those of a run that nobody
/// interrupted.
#[test]
fn a_death_anywhere_moves_each_row_once() {
    const DAY: &str = "INSERT INTO loans VALUES (6, 2, 20, '2024-03-01', NULL);
         UPDATE books SET title = 'Notes' WHERE id = 20; DELETE FROM loans WHERE id = 1;
         UPDATE members SET email = 'alan@example.org' WHERE id = 4;";
    let calm = Library::new();
    calm.run("move run library").exits(0);
    let first = calm.everything();
    calm.old(DAY);
    calm.run("move run library").exits(0);
    let second = calm.everything();
    for death in DEATHS {
        let library = Library::new();
        let dies = || library.run_with("move run library", &[("DUNLIN_FAILPOINT", death)]);
        dies().was_killed();
        library.run("move run library").exits(0);
        assert_eq!(library.everything(), first, "after {death}");
        library.old(DAY);
        let ended = dies();
        // A night with few chunks may be over before the third commit.
        if !death.ends_with("@3") {
            ended.was_killed();
        }
        library.run("move run library").exits(0);
        assert_eq!(library.everything(), second, "after {death}, the second night");
        assert_eq!(written(&library), 0, "after {death}");
        assert_eq!(library.new_one("PRAGMA integrity_check; PRAGMA foreign_key_check"), "ok");
    }
}

/// (53) A column that the mapping uses is gone: told with its line, before anything is written.
#[test]
fn a_column_that_is_gone_stops_the_run_before_it_writes() {
    let library = Library::new();
    library.run("move run library").exits(0);
    let before = library.everything();
    library.old(
        "ALTER TABLE books RENAME COLUMN title TO name; INSERT INTO loans VALUES (7, 1, 10, NULL, NULL);",
    );
    let ran = library.run("move run library").exits(2);
    assert!(ran.all().contains("library.toml:"), "{}", ran.all());
    assert_eq!(library.everything(), before);
}

/// (37, 54) What stands in the new table is not what was sent: it is found by reading it back, told
/// row by row, and the run is not verified.
#[test]
fn a_row_that_is_changed_on_its_way_is_told() {
    let library = Library::new();
    library.new_one(
        "CREATE TRIGGER spoilt AFTER INSERT ON books WHEN new.id = 20
         BEGIN UPDATE books SET title = 'spoilt' WHERE id = new.id; END;",
    );
    library.run("move run library").exits(6);
    let rejects = library.run("move rejects library --csv").exits(0).stdout();
    assert!(rejects.contains("books,20,differs"), "{rejects}");
    assert_eq!(rejects.matches("differs").count(), 1, "{rejects}");
}

/// (50) Numbers that were kept are not given out again, nor those that tomorrow's rows may bring.
#[test]
fn the_next_number_is_above_all_that_were_moved() {
    let library = Library::new();
    library.run("move run library").exits(0);
    let own = library.new_one("INSERT INTO books (title) VALUES ('Own') RETURNING id");
    assert!(own.parse::<i64>().expect("a number") > 130, "{own}");
    library.old("INSERT INTO books VALUES (31, 'Tomorrow')");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT title FROM books WHERE id = 31"), "Tomorrow");
}

/// A new old row stands for a row that another one left, and the run dies before it has taken it
/// over: the next run knows the row as the move's own still.
#[test]
fn a_death_before_a_row_is_taken_over_forgets_nobodys_row() {
    let project = Project::empty();
    project.write(
        "dunlin.toml",
        "[databases.old]\nurl = \"sqlite:old.db\"\n\n[databases.app]\nurl = \"sqlite:new.db\"\n",
    );
    project.write(
        "moves/pairs.toml",
        "source = \"old\"\ntarget = \"app\"\n\n[into.pairs]\nfrom = \"pairs\"\n\
         set.a = \"a\"\nset.b = \"b\"\n",
    );
    let sql = |file: &str, text: &str| {
        let url = format!("sqlite://{}", project.path(file).display());
        run_sql(&url, text).expect("the client can do it").trim_end().to_owned()
    };
    sql(
        "old.db",
        "CREATE TABLE pairs (id integer PRIMARY KEY, a text, b text);
         INSERT INTO pairs VALUES (1, 'x', 'y'), (2, 'p', 'q');",
    );
    sql("new.db", "CREATE TABLE pairs (a text NOT NULL, b text NOT NULL, PRIMARY KEY (a, b))");
    project.run("move run pairs").exits(0);
    sql("old.db", "DELETE FROM pairs WHERE id = 1; INSERT INTO pairs VALUES (3, 'x', 'y')");
    // The first commit is the run's own record, the second the rows'.
    project.run_with("move run pairs", &[("DUNLIN_FAILPOINT", "move.committed@2")]).was_killed();
    project.run("move run pairs").exits(0);
    assert_eq!(sql("new.db", "SELECT a, b FROM pairs ORDER BY a"), "p|q\nx|y");
    sql("old.db", "DELETE FROM pairs WHERE id = 3");
    project.run("move run pairs").exits(0);
    assert_eq!(sql("new.db", "SELECT a, b FROM pairs"), "p|q");
}

/// MariaDB makes each table of the ledger by itself: a run that died among them leaves tables and no
/// word of a ledger. The next one makes it whole.
#[test]
fn a_ledger_that_is_half_made_is_made_whole() {
    let project = Project::empty();
    project.write(
        "dunlin.toml",
        "[databases.old]\nurl = \"sqlite:old.db\"\n\n[databases.app]\nurl = \"${APP_URL}\"\n",
    );
    project.write(
        "moves/names.toml",
        "source = \"old\"\ntarget = \"app\"\n\n[into.names]\nfrom = \"names\"\n\
         set.id = \"id\"\nset.name = \"name\"\n",
    );
    let old = format!("sqlite://{}", project.path("old.db").display());
    run_sql(&old, "CREATE TABLE names (id integer PRIMARY KEY, name text); INSERT INTO names VALUES (1, 'Ada')")
        .expect("the client can do it");
    let new = servers::mysql().database("half_made");
    new.sql("CREATE TABLE names (id integer PRIMARY KEY, name text)").expect("a table");
    let run = || project.run_with("move run names", &[("APP_URL", new.url.as_str())]);
    run().exits(0);
    let tables = ["leases", "segments", "backfills", "runs", "history", "meta"];
    for table in tables {
        new.sql(&format!("DELETE FROM dunlin_{table}")).expect("a table of the ledger");
    }
    run().exits(0);
    let known = new.sql("SELECT COUNT(*) FROM dunlin_meta").expect("the ledger");
    assert_eq!(known.trim_end(), "1");
}
