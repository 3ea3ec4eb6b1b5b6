//! What the first run fixes, and a second one refuses to change.

use super::Library;
use crate::project::Ran;

const OLD: &str = "
CREATE TABLE a (id integer PRIMARY KEY, code text UNIQUE NOT NULL, v text);
INSERT INTO a VALUES (1, 'x', 'one'), (2, 'y', 'two'), (3, 'z', 'three');
CREATE TABLE b (id integer PRIMARY KEY, v text);
INSERT INTO b VALUES (1, 'b1'), (2, 'b2'), (7, 'b7');
";

const NEW: &str = "
CREATE TABLE t1 (id integer PRIMARY KEY AUTOINCREMENT, v text);
CREATE TABLE t2 (id integer PRIMARY KEY AUTOINCREMENT, v text);
";

/// What a refusal exits with.
const REFUSED: i32 = 2;

const HEAD: &str = "source = \"old\"\ntarget = \"app\"\n";

fn copied(rule: &str, table: &str, more: &str) -> String {
    format!(
        "{HEAD}[into.{rule}]\nfrom = \"a\"\ntable = \"{table}\"\nset.id = \"id\"\nset.v = \"v\"\n{more}"
    )
}

fn assigned(from: &str, more: &str) -> String {
    format!(
        "{HEAD}[ids]\nx = \"assigned\"\n[into.t]\nfrom = \"{from}\"\ntable = \"t1\"\nmakes = \"x\"\nset.v = \"v\"\n{more}"
    )
}

/// Runs with a first mapping; another is refused, and nothing is written by it.
#[track_caller]
fn refused(first: &str, then: impl FnOnce(&Library)) -> (Library, Ran) {
    let library = Library::of(OLD, NEW, first);
    library.run("move run library").exits(0);
    let before = everything(&library);
    then(&library);
    for words in ["move run library --dry-run", "move plan library", "move verify library"] {
        library.run(words).exits(REFUSED);
    }
    let ran = library.run("move run library").exits(REFUSED);
    assert_eq!(everything(&library), before);
    (library, ran)
}

fn everything(library: &Library) -> String {
    library.new_one("SELECT * FROM t1 ORDER BY id; SELECT 't2'; SELECT * FROM t2 ORDER BY id")
}

#[track_caller]
fn says(ran: &Ran, what: &[&str]) {
    let all = ran.all();
    for one in what {
        assert!(all.contains(one), "no {one} in: {all}");
    }
}

fn map(library: &Library, mapping: &str) {
    library.project.write("moves/library.toml", mapping);
}

/// The way out that is named: one run deletes the rows of a rule.
fn emptied(mapping: &str) -> String {
    mapping.replace("from = \"a\"\n", "from = \"a\"\nwhere = \"false\"\n")
        + "[[leave_out]]\nfrom = \"a\"\nbecause = \"it moves\"\n"
}

#[test]
fn ids_are_of_the_rows_and_of_the_key_of_the_first_run() {
    let (library, ran) = refused(&assigned("a", ""), |library| {
        map(library, &assigned("a", "[from.a]\nkey = \"code\"\n"))
    });
    says(&ran, &["`id` (number)", "`code` (text)", "moves/library.toml:6", "key = \"id\""]);
    map(&library, &assigned("b", ""));
    says(&library.run("move run library"), &["ids of `x` were those of `a`", "`b`"]);
    // The same table under another name is none.
    map(&library, &assigned("c", "[from.c]\ntable = \"a\"\n"));
    library.run("move run library").exits(0);
    library.old("ALTER TABLE a RENAME TO d");
    map(&library, &assigned("c", "[from.c]\ntable = \"d\"\n"));
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT count(*), max(id) FROM t1"), "3|3");
}

#[test]
fn a_type_that_makes_other_keys_is_told_apart_from_one_that_does_not() {
    let first = assigned("a", "[from.a]\nunused = [\"code\"]\n");
    let change = |to: &'static str| {
        move |library: &Library| {
            library.old(&format!(
                "ALTER TABLE a RENAME TO a0; CREATE TABLE a (id {to} NOT NULL PRIMARY KEY, code text, v text);
                 INSERT INTO a SELECT * FROM a0; DROP TABLE a0;"
            ));
        }
    };
    let (library, ran) = refused(&first, change("numeric"));
    says(&ran, &["`id` (number)", "`id` (decimal"]);
    change("bigint")(&library);
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT count(*), max(id) FROM t1"), "3|3");
}

#[test]
fn a_file_whose_keys_become_numbers_is_refused() {
    let library = Library::of(OLD, NEW, &assigned("e", "[from.e]\nkey = \"id\"\n"));
    library.project.write(
        "dunlin.toml",
        "[databases.old]\nurl = \"files:exp\"\n\n[databases.app]\nurl = \"sqlite:new.db\"\n",
    );
    library.project.write("exp/e.csv", "id,v\n1,a\n2,b\n");
    library.run("move run library").exits(0);
    map(&library, &assigned("e", "[from.e]\nkey = \"id\"\ntypes = { id = \"int64\" }\n"));
    let ran = library.run("move run library").exits(REFUSED);
    says(&ran, &["`id` (text)", "`id` (number)"]);
    assert_eq!(library.new_one("SELECT count(*), max(id) FROM t1"), "2|2");
}

#[test]
fn a_rule_keeps_its_table_unless_its_rows_are_gone() {
    let first = copied("t", "t1", "");
    let (library, ran) = refused(&first, |library| map(library, &copied("t", "t2", "")));
    says(&ran, &["were written to t1", "are to go to t2", "where = \"false\""]);
    map(&library, &emptied(&first));
    library.run("move run library").exits(0);
    map(&library, &copied("t", "t2", ""));
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT count(*) FROM t1"), "0");
    assert_eq!(library.new_one("SELECT count(*) FROM t2"), "3");
}

#[test]
fn a_key_of_another_number_of_columns_is_refused_and_nothing_becomes_unreadable() {
    let first = copied("t", "t1", "");
    let (library, ran) = refused(&first, |library| {
        map(library, &copied("t", "t1", "[from.a]\nkey = \"id, code\"\n"));
    });
    says(&ran, &["`id` (number), `code` (text)", "key = \"id\""]);
    map(&library, &first);
    library.new_one(
        "ALTER TABLE t1 RENAME TO o; CREATE TABLE t1 (id integer, v text, PRIMARY KEY (id, v)) WITHOUT ROWID;
         INSERT INTO t1 SELECT * FROM o;",
    );
    let ran = library.run("move run library").exits(REFUSED);
    says(&ran, &["the key of t1 was `id` (number)"]);
    library.new_one("DROP TABLE t1; ALTER TABLE o RENAME TO t1");
    library.run("move run library").exits(0);
    library.run("move verify library").exits(0);
}

#[test]
fn a_rule_that_is_gone_leaves_no_rows_unseen() {
    let first = copied("t", "t1", "");
    let (library, ran) = refused(&first, |library| map(library, &copied("s", "t1", "")));
    says(&ran, &["no rule `t`", "still in t1", "renamed to `s`", "[into.t]"]);
    let none =
        format!("{HEAD}[into.u]\nfrom = \"b\"\ntable = \"t2\"\nset.id = \"id\"\nset.v = \"v\"\n");
    map(&library, &none);
    let ran = library.run("move finish library").exits(REFUSED);
    says(&ran, &["no rule `t`", "where = \"false\""]);
    map(&library, &emptied(&first));
    library.run("move run library").exits(0);
    map(&library, &none);
    library.run("move finish library").exits(0);
    assert_eq!(library.new_one("SELECT count(*) FROM t1"), "0");
}
