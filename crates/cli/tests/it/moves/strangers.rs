//! References go to rows of the move alone: not to the application's that has the same key, and not
//! to one that the application has deleted.

use super::Library;

const OLD: &str = "
CREATE TABLE p (id integer PRIMARY KEY, n text);
INSERT INTO p VALUES (1, 'Old Ann'), (2, 'Old Bob');
CREATE TABLE o (id integer PRIMARY KEY, p integer, what text);
INSERT INTO o VALUES (1, 1, 'a');
";

fn new(references: &str) -> String {
    format!(
        "CREATE TABLE person (id integer PRIMARY KEY, n text);
         CREATE TABLE o (id integer PRIMARY KEY, person_id integer {references}, what text);"
    )
}

fn mapping(kind: &str, missing: &str) -> String {
    format!(
        "source = \"old\"\ntarget = \"app\"\n[ids]\np = \"{kind}\"
[into.person]\nfrom = \"p\"\nmakes = \"p\"\nset.n = \"n\"
[into.o]\nfrom = \"o\"\nset.id = \"id\"\nset.what = \"what\"
set.person_id = {{ new = \"p\", of = \"p\", missing = \"{missing}\" }}\n"
    )
}

fn orders(library: &Library) -> String {
    library.new_one("SELECT id || ':' || coalesce(person_id, '-') FROM o ORDER BY id")
}

#[test]
fn a_row_of_the_application_with_the_same_key_is_not_referred_to() {
    for (missing, orders_after) in [("leave out", "1:1"), ("null", "1:1\n2:-"), ("error", "1:1")] {
        let library = Library::of(OLD, &new("REFERENCES person (id)"), &mapping("keep", missing));
        library.run("move run library").exits(0);
        library.new_one("INSERT INTO person (n) VALUES ('App Eve')");
        library.old("INSERT INTO p VALUES (3, 'Old Carl'); INSERT INTO o VALUES (2, 3, 'secret');");
        for _ in 0..2 {
            let ran = library.run("move run library").exits(6);
            assert!(ran.all().contains("not the move's"), "{}", ran.all());
            assert_eq!(orders(&library), orders_after, "{missing}");
            library.run("move verify library").exits(6);
        }
        library.new_one("DELETE FROM person WHERE id = 3");
        library.run("move run library").exits(0);
        assert_eq!(orders(&library), "1:1\n2:3");
        library.run("move verify library").exits(0);
    }
}

#[test]
fn a_row_that_the_application_has_deleted_is_missing() {
    for (kind, references) in [("keep", ""), ("keep", "REFERENCES person (id)"), ("assigned", "")] {
        let library = Library::of(OLD, &new(references), &mapping(kind, "null"));
        library.run("move run library").exits(0);
        library.new_one("DELETE FROM person WHERE id = 2");
        library.old("INSERT INTO o VALUES (2, 2, 'b')");
        for _ in 0..2 {
            library.run("move run library").exits(0);
            assert_eq!(orders(&library), "1:1\n2:-", "{kind} {references}");
            library.run("move verify library").exits(0);
        }
        if !references.is_empty() {
            continue;
        }
        library.edit("[ids]", "[conflicts]\ndeleted_there = \"restore\"\n[ids]");
        library.run("move run library").exits(0);
        assert_eq!(orders(&library), "1:1\n2:2", "{kind} {references}");
        library.run("move verify library").exits(0);
    }
}

#[test]
fn who_is_left_out_with_a_deleted_row_takes_others_along() {
    let new = "CREATE TABLE t (id char(36) PRIMARY KEY, boss char(36), v text);";
    let mapping = "source = \"old\"\ntarget = \"app\"\n[ids]\nx = \"derived\"
[into.t]\nfrom = \"a\"\nmakes = \"x\"\nset.v = \"v\"
set.boss = { new = \"x\", of = \"boss\", missing = \"leave out\" }\n";
    let library = Library::of(
        "CREATE TABLE a (id integer PRIMARY KEY, boss integer, v text);
         INSERT INTO a VALUES (1, NULL, 'one'), (2, NULL, 'two');",
        new,
        mapping,
    );
    library.run("move run library").exits(0);
    library.new_one("DELETE FROM t WHERE v = 'two'");
    library.old("INSERT INTO a VALUES (3, 2, 'three'), (4, 3, 'four'), (5, 1, 'five')");
    for _ in 0..2 {
        library.run("move run library").exits(0);
        assert_eq!(library.new_one("SELECT v FROM t ORDER BY v"), "five\none");
        library.run("move verify library").exits(0);
    }
}
