//! What is judged once is judged so the next night, by a run as by `move verify`.

use super::Library;

const HEAD: &str = "source = \"old\"\ntarget = \"app\"\n";

fn copied(more: &str) -> String {
    format!("{HEAD}[into.t]\nfrom = \"a\"\nset.id = \"id\"\nset.v = \"v\"\n{more}")
}

/// Two rows, and a table that changes them as they come.
fn trigger(event: &str) -> Library {
    let new = format!(
        "CREATE TABLE t (id integer PRIMARY KEY, v text);
         CREATE TRIGGER up AFTER {event} ON t WHEN new.v <> upper(new.v)
         BEGIN UPDATE t SET v = upper(v) WHERE id = new.id; END;"
    );
    Library::of(
        "CREATE TABLE a (id integer PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'x'), (2, 'y');",
        &new,
        &copied(""),
    )
}

#[test]
fn what_differed_when_it_was_written_is_not_the_applications_the_next_night() {
    let library = trigger("INSERT");
    library.new_one(
        "CREATE TRIGGER up2 AFTER UPDATE ON t WHEN new.v <> upper(new.v)
         BEGIN UPDATE t SET v = upper(v) WHERE id = new.id; END;",
    );
    for _ in 0..3 {
        let ran = library.run("move finish library").exits(6);
        assert!(ran.all().contains("2 rows not what they should be"), "{}", ran.all());
        library.run("move verify library").exits(6);
    }
    library.new_one("DROP TRIGGER up; DROP TRIGGER up2");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT v FROM t ORDER BY id"), "x\ny");
}

#[test]
fn what_only_the_insert_changed_is_put_right_by_the_next_run() {
    let library = trigger("INSERT");
    library.run("move run library").exits(6);
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT v FROM t ORDER BY id"), "x\ny");
    library.new_one("UPDATE t SET v = 'theirs' WHERE id = 1");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT v FROM t ORDER BY id"), "theirs\ny");
}

#[test]
fn a_parent_of_several_children_in_its_own_table_goes_with_them() {
    let mapping = format!(
        "{HEAD}[ids]\nx = \"keep\"\n[into.t]\nfrom = \"a\"\nmakes = \"x\"\nset.v = \"v\"\nset.boss = {{ new = \"x\", of = \"boss\" }}\n"
    );
    let library = Library::of(
        "CREATE TABLE a (id integer PRIMARY KEY, v text, boss integer);
         INSERT INTO a VALUES (1, 'root', NULL), (2, 'a', 1), (3, 'b', 1), (4, 'kept', NULL);",
        "CREATE TABLE t (id integer PRIMARY KEY, v text, boss integer REFERENCES t (id));",
        &mapping,
    );
    library.run("move run library").exits(0);
    library.old("DELETE FROM a WHERE id < 4");
    library.run("move finish library").exits(0);
    assert_eq!(library.new_one("SELECT id FROM t"), "4");
    library.run("move verify library").exits(0);
}

#[test]
fn of_rows_that_come_to_one_key_the_first_is_the_moves() {
    let mapping = format!(
        "{HEAD}[into.t]\nfrom = \"a\"\neach = \"tag IN json_list(tags)\"\nset.o = \"id\"\nset.tag = \"tag\"\n"
    );
    let library = Library::of(
        "CREATE TABLE a (id integer PRIMARY KEY, tags text);
         INSERT INTO a VALUES (1, '[\"x\",\"y\",\"x\"]'), (2, '[\"x\"]');",
        "CREATE TABLE t (o integer, tag text, PRIMARY KEY (o, tag));",
        &mapping,
    );
    for _ in 0..2 {
        let ran = library.run("move run library").exits(6);
        assert!(ran.all().contains("another old row"), "{}", ran.all());
        assert!(!ran.all().contains("not the move's"), "{}", ran.all());
    }
    library.old("UPDATE a SET tags = '[\"x\",\"y\"]' WHERE id = 1");
    library.run("move run library").exits(0);
    library.run("move verify library").exits(0);
    library.old("UPDATE a SET tags = '[\"y\"]' WHERE id = 1");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT o || tag FROM t ORDER BY 1"), "1y\n2x");
}

#[test]
fn a_key_that_changes_only_its_case_is_the_new_one_in_the_same_run() {
    let mapping = format!("{HEAD}[into.t]\nfrom = \"a\"\nset.k = \"k\"\nset.v = \"v\"\n");
    let library = Library::of(
        "CREATE TABLE a (k text PRIMARY KEY NOT NULL, v text) WITHOUT ROWID;
         INSERT INTO a VALUES ('x', '1'), ('y', '3');",
        "CREATE TABLE t (k text PRIMARY KEY NOT NULL COLLATE NOCASE, v text);
         CREATE TABLE own (k text COLLATE NOCASE REFERENCES t);",
        &mapping,
    );
    library.run("move run library").exits(0);
    library.old("UPDATE a SET k = 'X' WHERE k = 'x'");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT k || v FROM t ORDER BY v"), "X1\ny3");
    library.run("move verify library").exits(0);
    // One that the application's rows refer to stays, and is told of.
    library.new_one("INSERT INTO own VALUES ('y')");
    library.old("UPDATE a SET k = 'Y' WHERE k = 'y'");
    for _ in 0..2 {
        library.run("move run library").exits(6);
        assert_eq!(library.new_one("SELECT k || v FROM t ORDER BY v"), "X1\ny3");
    }
    library.new_one("DELETE FROM own");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT k || v FROM t ORDER BY v"), "X1\nY3");
}

const USERS: &str = "source = \"old\"\ntarget = \"app\"
[ids]
user = { kind = \"matched\", table = \"users\", by = \"email\" }
[into.users]
from = \"users\"
makes = \"user\"
set.email = \"email\"
set.name = \"name\"
";

#[test]
fn an_adopted_row_is_told_of_by_every_run_and_left_by_verify() {
    let library = Library::of(
        "CREATE TABLE users (id integer PRIMARY KEY, email text, name text);
         INSERT INTO users VALUES (1, 'ann@x', 'Ann'), (2, 'bob@x', 'Bob'), (3, 'c@x', 'Cy');",
        "CREATE TABLE users (id integer PRIMARY KEY, email text UNIQUE, name text);
         INSERT INTO users VALUES (100, 'ann@x', 'Existing Ann'), (101, 'c@x', 'Cy');",
        USERS,
    );
    let told = |library: &Library| {
        let ran = library.run("move run library").exits(0);
        assert!(ran.all().contains("it was there before the move"), "{}", ran.all());
        library.run("move verify library").exits(0);
    };
    told(&library);
    told(&library);
    library.old("UPDATE users SET name = 'Ann II' WHERE id = 1");
    told(&library);
    told(&library);
    library.edit("[ids]", "[conflicts]\nchanged_there = \"overwrite\"\n[ids]");
    library.run("move verify library").exits(6);
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT name FROM users WHERE id = 100"), "Ann II");
    library.run("move verify library").exits(0);
}

#[test]
fn rows_of_other_columns_are_judged_alike_by_a_run_and_by_verify() {
    let library = Library::of(
        "CREATE TABLE a (id integer PRIMARY KEY, v text, w text);
         INSERT INTO a VALUES (1, 'v1', 'w1'), (2, 'v2', 'w2'), (3, 'v3', 'w3'), (4, 'v4', 'w4');",
        "CREATE TABLE t (id integer PRIMARY KEY, v text, w text DEFAULT 'dw');",
        &copied(""),
    );
    library.run("move run library").exits(0);
    library.new_one(
        "UPDATE t SET v = 'APP' WHERE id = 1; UPDATE t SET w = 'APPW' WHERE id = 2;
         DELETE FROM t WHERE id = 3;",
    );
    library.project.write("moves/library.toml", &copied("set.w = \"w\"\n"));
    // What the move wrote and nobody changed is out of date.
    library.run("move verify library").exits(6);
    for _ in 0..2 {
        library.run("move run library").exits(0);
        library.run("move verify library").exits(0);
        assert_eq!(library.new_one("SELECT v || w FROM t ORDER BY id"), "APPdw\nv2w2\nv4w4");
    }
}
