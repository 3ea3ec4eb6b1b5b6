//! What no run could do is refused by the plan, with its line.

use dunlin_testkit::servers::{self, TestDatabase};

use super::{KEY, Library};
use crate::project::{Project, Ran};

const HEAD: &str = "source = \"old\"\ntarget = \"app\"\n";

/// Two SQLite files, and a mapping below its first lines.
fn files(old: &str, new: &str, mapping: &str) -> Library {
    Library::of(old, new, &format!("{HEAD}{mapping}"))
}

/// Plan and run say the same: that line, and these words.
#[track_caller]
fn refused(library: &Library, line: usize, words: &[&str]) {
    for command in ["move plan library", "move run library", "move run library --dry-run"] {
        let run = library.run(command).exits(2);
        said(&run, line, words);
    }
}

#[track_caller]
fn said(run: &Ran, line: usize, words: &[&str]) {
    let place = format!("moves/library.toml:{line}");
    for word in std::iter::once(place.as_str()).chain(words.iter().copied()) {
        assert!(run.stderr().contains(word), "{word}\n{}", run.all());
    }
}

const ROWS: &str = "
CREATE TABLE a (id integer PRIMARY KEY, v text);
INSERT INTO a VALUES (1, 'x'), (2, 'y'), (3, 'z');
";

const INTO: &str = "[into.t]\nfrom = \"q\"\nset.id = \"id\"\nset.v = \"v\"\n";

#[test]
fn a_query_without_its_values_empties_no_table() {
    let query = |sql: &str| format!("[from.q]\nkey = \"id\"\nquery = \"{sql}\"\n{INTO}");
    let new = "CREATE TABLE t (id integer PRIMARY KEY, v text)";
    let library = files(ROWS, new, &query("SELECT id, v FROM a"));
    library.run("move run library").exits(0);
    for (sql, words) in [
        ("SELECT id, v FROM a WHERE v = :state", &["parameter, :state", "write the value"][..]),
        ("SELECT id, v FROM a WHERE v = ?", &["parameter, ?"]),
        ("SELECT id, v FROM nope", &["the query of q: no such table: nope"]),
        ("SELECT id, v FRM a", &["the query of q", "syntax error"]),
        ("DELETE FROM a", &["the query of q is no SELECT"]),
    ] {
        library.project.write("moves/library.toml", &format!("{HEAD}{}", query(sql)));
        refused(&library, 5, words);
    }
    assert_eq!(library.new_one("SELECT count(*) FROM t"), "3");
}

/// What a server says of a query is told with the query's line.
fn wrong_query(old: &TestDatabase, sql: &str) {
    let project = Project::empty();
    let urls =
        "[databases.old]\nurl = \"${OLD_URL}\"\n\n[databases.app]\nurl = \"sqlite:new.db\"\n";
    project.write("dunlin.toml", urls);
    let query = format!("{HEAD}[from.q]\nkey = \"id\"\nquery = \"{sql}\"\n{INTO}");
    project.write("moves/library.toml", &query);
    let file = format!("sqlite://{}", project.path("new.db").display());
    servers::run_sql(&file, "CREATE TABLE t (id integer PRIMARY KEY, v text)").expect("a table");
    let run = project.run_with("move plan library", &[("OLD_URL", old.url.as_str()), KEY]);
    said(&run.exits(2), 5, &["the query"]);
}

#[test]
fn a_wrong_query_is_told_with_its_line_by_postgresql() {
    let old = servers::postgres().database("wrong_query");
    old.sql("CREATE TABLE a (id integer PRIMARY KEY, v text)").expect("a table");
    wrong_query(&old, "SELECT id, v FROM nope");
    wrong_query(&old, "SELECT id, v FROM a WHERE v = $1");
    wrong_query(&old, "SELECT id, v FROM a WHERE v = :state");
}

#[test]
fn a_wrong_query_is_told_with_its_line_by_mariadb() {
    let old = servers::mysql().database("wrong_query");
    old.sql("CREATE TABLE a (id integer PRIMARY KEY, v text)").expect("a table");
    wrong_query(&old, "SELECT id, v FROM nope");
    wrong_query(&old, "SELECT id, v FROM a WHERE v = ?");
    wrong_query(&old, "SELECT id, v FROM a WHERE v = :state");
    wrong_query(&old, "SELECT @row := @row + 1 AS id, v FROM a, (SELECT @row := 0) AS start");
}

#[test]
fn keys_that_no_run_can_use() {
    let old = "
        CREATE TABLE a (id real PRIMARY KEY, v text);
        CREATE TABLE b (id decimal(10, 2) PRIMARY KEY, v text);
        CREATE TABLE c (id integer PRIMARY KEY, v text, weight real NOT NULL UNIQUE);";
    let new = "
        CREATE TABLE t (k text PRIMARY KEY, v text);
        CREATE TABLE r (k real PRIMARY KEY, v text);";
    let rule = |to: &str, from: &str, key: &str| {
        format!("[into.{to}]\nfrom = \"{from}\"\nset.k = \"{key}\"\nset.v = \"v\"\n")
    };
    let no_key = "it is REAL, and no key";
    for (mapping, line, words) in [
        (rule("t", "a", "CAST(id AS TEXT)"), 4, &["rows of `a`", "`id`", no_key][..]),
        (
            rule("t", "b", "CAST(id AS TEXT)"),
            4,
            &["rows of `b`", "it is decimal(10, 2), and no key"],
        ),
        (
            format!("[from.c]\nkey = \"weight\"\n{}", rule("t", "c", "CAST(id AS TEXT)")),
            3,
            &["rows of `c`", "`weight`", no_key],
        ),
        (rule("r", "c", "CAST(id AS DOUBLE)"), 5, &["`r.k` is REAL, and part of the key"]),
    ] {
        refused(&files(old, new, &mapping), line, words);
    }
}

#[test]
fn one_file_is_not_read_and_written() {
    let new = "CREATE TABLE t (id integer PRIMARY KEY, v text)";
    let library = files(ROWS, new, "[into.t]\nfrom = \"a\"\nset.id = \"id\"\nset.v = \"v\"\n");
    library.old(new);
    let words = ["both are one SQLite file", "move from the copy"];
    library.edit("target = \"app\"", "target = \"old\"");
    refused(&library, 2, &words);
    library.edit("target = \"old\"", "target = \"app\"");
    std::fs::remove_file(library.project.path("new.db")).expect("the file");
    std::os::unix::fs::symlink("old.db", library.project.path("new.db")).expect("a link");
    refused(&library, 2, &words);
}

#[test]
fn a_tables_name_may_have_a_dot() {
    let old = "CREATE TABLE \"a.b\" (id integer PRIMARY KEY, v text); INSERT INTO \"a.b\" VALUES (7, 'x');";
    let new = "
        CREATE TABLE \"it.ems\" (id char(36) PRIMARY KEY, v text);
        CREATE TABLE parts (id integer PRIMARY KEY, item char(36) REFERENCES \"it.ems\");";
    let mapping = r#"[ids]
item = "derived"
[into."it.ems"]
from  = "a.b"
makes = "item"
set.v = "v"
[into.parts]
from  = "rows"
set.id   = "id"
set.item = { new = "item", of = "id" }
[from.rows]
table = "a.b"
unused = ["v"]
"#;
    let library = files(old, new, mapping);
    library.run("move plan library").exits(0);
    library.run("move run library").exits(0);
    let joined = "SELECT v, parts.id FROM parts JOIN \"it.ems\" AS i ON i.id = item";
    assert_eq!(library.new_one(joined), "x|7");
    library.run("move verify library").exits(0);
    library.edit("set.v = \"v\"", "set.v = \"b.v\"");
    refused(&library, 8, &["`b.v` names a table", "write v:"]);
}

#[test]
fn headroom_that_no_number_can_have_is_told() {
    let mapping = |headroom: &str| {
        format!(
            "[ids]\nx = {{ kind = \"keep\", headroom = {headroom} }}\n[into.t]\nfrom = \"a\"\n\
             makes = \"x\"\nset.v = \"v\"\n"
        )
    };
    let plain = files(ROWS, "CREATE TABLE t (id integer PRIMARY KEY, v text)", &mapping("1000"));
    let run = plain.run("move plan library").exits(0);
    said(&run, 4, &["`headroom` does nothing: `t.id` is numbered right above", "AUTOINCREMENT"]);
    plain.run("new move first --source old --target app").exits(0);
    assert!(!plain.project.read("moves/first.toml").contains("headroom"));

    let new = "CREATE TABLE t (id integer PRIMARY KEY AUTOINCREMENT, v text)";
    let counted = files(ROWS, new, &mapping("9223372036854775807"));
    refused(&counted, 4, &["`headroom` is more than `t.id` can hold"]);
    counted.edit("9223372036854775807", "9223372036854775805");
    let run = counted.run("move run library").exits(2);
    assert!(run.stderr().contains("more than t.id can hold"), "{}", run.all());
    assert_eq!(counted.new_one("SELECT count(*) FROM t"), "0", "nothing was written");
    counted.edit("9223372036854775805", "1000");
    counted.run("move run library").exits(0);
    counted.new_one("INSERT INTO t (v) VALUES ('new')");
    assert_eq!(counted.new_one("SELECT max(id) FROM t"), "1004");
}

const SPELLING: &str = r#"[ids]
country = "derived"
[into.countries]
from  = "country"
makes = "country"
set.name = "name"
[into.cities]
from = "city"
set.id   = "id"
set.name = "name"
set.country_id = { new = "country", of = "cc", missing = "null" }
"#;

const SPELT: &str = "
CREATE TABLE countries (id char(36) PRIMARY KEY, name text);
CREATE TABLE cities (id integer PRIMARY KEY, name text, country_id char(36) REFERENCES countries (id));
";

/// References that the database takes for valid are never taken for missing without a word. `to` and
/// `from` are the types of a key and of what refers to it; a table has one that is spelt otherwise.
fn spelt_otherwise(old: &TestDatabase, (to, from): (&str, &str), other: &str) {
    let project = Project::empty();
    let urls =
        "[databases.old]\nurl = \"${OLD_URL}\"\n\n[databases.app]\nurl = \"sqlite:new.db\"\n";
    project.write("dunlin.toml", urls);
    let mapping = format!("{HEAD}{SPELLING}");
    project.write("moves/library.toml", &mapping);
    let file = format!("sqlite://{}", project.path("new.db").display());
    servers::run_sql(&file, SPELT).expect("the tables");
    old.sql(&format!(
        "CREATE TABLE country (code {to} PRIMARY KEY, name text);
         INSERT INTO country VALUES ('de', 'Germany'), ('fr', 'France');
         CREATE TABLE city (id integer PRIMARY KEY, name text, cc {from});
         INSERT INTO city VALUES (1, 'Kehl', 'de'), (2, 'Atlantis', 'xx'), (3, 'Nowhere', NULL);"
    ))
    .expect("the tables");
    let run = |words: &str| project.run_with(words, &[("OLD_URL", old.url.as_str()), KEY]);
    run("move run library").exits(0);
    let cities = "SELECT c.id, o.name FROM cities AS c LEFT JOIN countries AS o ON o.id = country_id \
                  ORDER BY c.id";
    let cities = || servers::run_sql(&file, cities).expect("rows").trim_end().to_owned();
    assert_eq!(cities(), "1|Germany\n2|\n3|");
    old.sql(&format!("INSERT INTO city VALUES (4, 'Paris', '{other}')")).expect("a row");
    for command in ["move plan library", "move run library", "move run library --dry-run"] {
        let words =
            ["1 row of `city` refers", "`country.code` spells otherwise", "look_up.cc_key = {"];
        said(&run(command).exits(2), 13, &words);
    }
    assert_eq!(cities(), "1|Germany\n2|\n3|", "nothing was written");
    // What it proposes; and each row by itself.
    let look_up = "[from.city]\nlook_up.cc_key = { in = \"country\", of = \"cc\", by = \"code\", \
                   take = \"code\" }\n";
    let looked_up = mapping.replace("of = \"cc\"", "of = \"cc_key\"") + look_up;
    project.write("moves/library.toml", &looked_up);
    let ran = run("move run library").exits(0);
    assert!(!ran.stderr().contains("otherwise than by its bytes"), "{}", ran.all());
    assert_eq!(cities(), "1|Germany\n2|\n3|\n4|France");
    project
        .write("moves/library.toml", &mapping.replace("missing = \"null\"", "missing = \"error\""));
    run("move run library --dry-run").exits(0);
    let expression = mapping.replace("of = \"cc\"", "of = \"trim(cc)\"");
    project.write("moves/library.toml", &expression);
    said(&run("move plan library").exits(0), 13, &["`country.code` otherwise than by its bytes"]);
}

#[test]
fn a_reference_in_another_spelling_is_not_missing_on_sqlite() {
    let old = servers::sqlite("spelling");
    spelt_otherwise(&old, ("text COLLATE NOCASE", "text"), "FR");
}

#[test]
fn a_reference_in_another_spelling_is_not_missing_on_mariadb() {
    let old = servers::mysql().database("spelling");
    let of = "varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
    spelt_otherwise(&old, (of, "varchar(9) CHARACTER SET latin1"), "Fr ");
}

#[test]
fn a_reference_in_another_spelling_is_not_missing_on_postgresql() {
    let old = servers::postgres().database("spelling");
    old.sql(
        "CREATE COLLATION loosely (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    )
    .expect("a collation");
    spelt_otherwise(&old, ("text COLLATE loosely", "text"), "FR");
}

/// What an expression over the new row leaves out is known once the row is made: too late for whatever
/// depends on it.
#[test]
fn rows_are_not_left_out_too_late() {
    let new = "CREATE TABLE t (id integer PRIMARY KEY, v text, n integer);
               CREATE TABLE u (id integer PRIMARY KEY, t_id integer);";
    let rule = "[ids]\nt = \"keep\"\n[into.t]\nfrom = \"a\"\nmakes = \"t\"\nset.v = \"v\"
set.n = { value = \"CAST(new.v AS INT)\", on_error = \"leave out\" }\n";
    let library = files(ROWS, new, rule);
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT count(*) FROM t"), "0");
    let refers =
        "[into.u]\nfrom = \"a\"\nset.id = \"id\"\nset.t_id = { new = \"t\", of = \"id\" }\n";
    for (more, why) in [
        ("one_per = \"v\"\n", "`one_per` of [into.t] may merge"),
        ("duplicates = \"keep the first\"\n", "`duplicates` of [into.t] may leave"),
        (refers, "a reference to `t` may go"),
    ] {
        library.project.write("moves/library.toml", &format!("{HEAD}{rule}{more}"));
        refused(&library, 9, &["`n` leaves rows out", why, "without `new.`"]);
        library.edit("\"leave out\" }\n", "\"null\" }\n");
        library.run("move plan library").exits(0);
    }
}
