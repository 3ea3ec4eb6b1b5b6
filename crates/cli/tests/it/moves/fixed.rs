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

const NAMED: &str = "
CREATE TABLE t1 (id ID PRIMARY KEY, v text UNIQUE);
CREATE TABLE t2 (id ID PRIMARY KEY, v text UNIQUE, t1_id ID REFERENCES t1);
";

/// The new tables, with ids of a kind.
fn named(kind: &str) -> String {
    NAMED.replace("ID", if kind == "keep" { "integer" } else { "text" })
}

/// A rule for `t1` that makes one namespace and a rule for `t2` that makes another, from one table.
fn made(kind: &str, first: &str, second: &str) -> String {
    format!(
        "{HEAD}[ids]\n{first} = \"{kind}\"\n{second} = \"{kind}\"\n\
         [into.t1]\nfrom = \"a\"\nmakes = \"{first}\"\nset.v = \"v\"\n\
         [into.t2]\nfrom = \"a\"\nmakes = \"{second}\"\nset.v = \"v\"\n\
         set.t1_id = {{ new = \"{first}\", of = \"id\" }}\n"
    )
}

/// One run, and then another mapping, which is refused before anything is written.
#[track_caller]
fn refused_ids(kind: &str, first: &str, then: &str) -> (Library, Ran) {
    let library = Library::of(OLD, &named(kind), first);
    library.run("move run library").exits(0);
    let before = everything(&library);
    map(&library, then);
    for words in ["move run library --dry-run", "move plan library", "move verify library"] {
        library.run(words).exits(REFUSED);
    }
    let ran = library.run("move run library").exits(REFUSED);
    assert_eq!(everything(&library), before);
    map(&library, first);
    library.run("move run library").exits(0);
    assert_eq!(everything(&library), before);
    (library, ran)
}

#[test]
fn a_namespace_keeps_its_name() {
    for kind in ["derived", "keep"] {
        let (library, ran) = refused_ids(kind, &made(kind, "u", "w"), &made(kind, "v", "w"));
        let told =
            ["of `t1`", "of the namespace `u`", "ids of `v`", "moves/library.toml:8", "`u` back"];
        says(&ran, &told);
        map(&library, &emptied(&made(kind, "u", "w")));
        library.run("move run library").exits(0);
        map(&library, &made(kind, "v", "w"));
        library.run("move run library").exits(0);
        assert_eq!(library.new_one("SELECT count(*) FROM t2 JOIN t1 ON t1.id = t1_id"), "3");
    }
}

#[test]
fn two_namespaces_do_not_swap_their_names() {
    let (_, ran) = refused_ids("derived", &made("derived", "u", "w"), &made("derived", "w", "u"));
    says(&ran, &["of the namespace `u`", "ids of `w`", "moves/library.toml"]);
}

const MAKES: &str = "[ids]\nu = \"KIND\"\n[into.t1]\nfrom = \"a\"\nmakes = \"u\"\nset.v = \"v\"\n";
const MAKES_NOT: &str = "[into.t1]\nfrom = \"a\"\nset.id = \"ID\"\nset.v = \"v\"\n";

#[test]
fn a_rule_does_not_begin_or_cease_to_make_ids_that_are_others() {
    let (makes, not) =
        (MAKES.replace("KIND", "derived"), MAKES_NOT.replace("ID", "CAST(id AS TEXT)"));
    let (makes, not) = (format!("{HEAD}{makes}"), format!("{HEAD}{not}"));
    let (_, ran) = refused_ids("derived", &makes, &not);
    says(&ran, &["of the namespace `u`, and would have none", "makes = \"u\"` back"]);
    let (_, ran) = refused_ids("derived", &not, &makes);
    says(&ran, &["before it made ids", "take `makes = \"u\"` away", "moves/library.toml:7"]);
}

#[test]
fn a_rule_may_begin_and_cease_to_make_ids_that_are_the_old_keys() {
    let (makes, not) = (MAKES.replace("KIND", "keep"), MAKES_NOT.replace("ID", "id"));
    let library = Library::of(OLD, &named("keep"), &format!("{HEAD}{not}"));
    library.run("move run library").exits(0);
    for mapping in [makes, not] {
        map(&library, &format!("{HEAD}{mapping}"));
        says(&library.run("move run library").exits(0), &["0 rows written, 3 rows compared"]);
    }
}

#[test]
fn another_id_key_is_refused() {
    let mapping = |key: &str| {
        made("derived", "u", "w").replace("[ids]", &format!("id_key = \"{key}\"\n[ids]"))
    };
    let (_, ran) = refused_ids("derived", &mapping("one"), &mapping("two"));
    says(&ran, &["`id_key` is another", "put `id_key = \"one\"` back"]);
}
