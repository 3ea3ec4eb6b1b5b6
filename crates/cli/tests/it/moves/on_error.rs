//! What `on_error` says becomes of a row is what is told of it, and what is written.

use dunlin_testkit::servers::{self, run_sql};

use super::{KEY, Library};
use crate::project::Project;

const HEAD: &str = "source = \"old\"\ntarget = \"app\"\n[ids]\nn = \"keep\"\n";

fn mapping(before: &str, value: &str, on_error: &str) -> String {
    format!(
        "{HEAD}{before}[into.n]\nfrom = \"o\"\nmakes = \"n\"\n\
         set.v = {{ value = \"{value}\", on_error = \"{on_error}\" }}\n"
    )
}

const OLD: &str = "CREATE TABLE o (id integer PRIMARY KEY, f real, s text, k integer);
INSERT INTO o VALUES (1, 2.7, '99.5', 3), (2, 2, '12', 2147483647), (3, 1e300, 'x', 2);";

#[test]
fn a_cast_writes_what_it_tells() {
    let named = "[from.o]\nlet.named = \"CAST(f AS INT)\"\n";
    for (before, value) in [
        ("", "CAST(f AS INT)"),
        ("", "CAST(f AS BIGINT)"),
        ("", "CAST(f AS BIGINT UNSIGNED)"),
        (named, "named"),
        ("", "CAST(s AS INT) - 10"),
    ] {
        let new = "CREATE TABLE n (id integer PRIMARY KEY, v integer)";
        let library = Library::of(OLD, new, &mapping(before, value, "null"));
        let ran = library.run("move run library").exits(0);
        assert_eq!(library.new_one("SELECT id FROM n WHERE v IS NULL"), "1\n3", "{value}");
        assert_eq!(library.new_one("SELECT v FROM n WHERE id = 2"), "2", "{value}");
        assert_eq!(ran.all().matches("1 row nulled: `v`").count(), 2, "{value}: {}", ran.all());
        library.run("move verify library").exits(0);
        library.project.write("moves/library.toml", &mapping(before, value, "leave out"));
        library.run("move run library").exits(0);
        assert_eq!(library.new_one("SELECT id FROM n"), "2", "{value}");
    }
}

#[test]
fn a_value_that_would_be_too_large_is_its_rows_error() {
    let new = "CREATE TABLE n (id integer PRIMARY KEY, v text)";
    for value in ["repeat('a', k)", "lpad('a', k, 'a')"] {
        let library = Library::of(OLD, new, &mapping("", value, "null"));
        let ran = library.run("move run library").exits(0);
        assert!(
            ran.all().contains("1 row nulled: `v` would be larger than 64 MiB"),
            "{}",
            ran.all()
        );
        assert!(!ran.all().contains("panicked"), "{}", ran.all());
        assert_eq!(library.new_one("SELECT v FROM n WHERE v IS NOT NULL"), "aaa\naa");
    }
}

#[test]
fn what_a_column_of_postgresql_refuses_is_its_rows_error() {
    let new = servers::postgres().database("on_error");
    let project = Project::empty();
    project.write(
        "dunlin.toml",
        &format!(
            "[databases.old]\nurl = \"sqlite:old.db\"\n[databases.app]\nurl = \"{}\"\n",
            new.url
        ),
    );
    let old = format!("sqlite://{}", project.path("old.db").display());
    run_sql(
        &old,
        "CREATE TABLE o (id integer PRIMARY KEY, s text);
         INSERT INTO o VALUES (1, '1.2.3.0/24'), (2, '08:00:2b:01:02:03'), (3, '101'), (4, '12345');",
    )
    .expect("rows");
    let sql = |text: &str| new.sql(text).expect("the client can do it").trim_end().to_owned();
    sql("CREATE DOMAIN small AS numeric(4, 1); CREATE TABLE n (id int PRIMARY KEY, net inet, net2 cidr,
         mac macaddr, bits bit(3), more varbit(3), num numeric(4, 1), small small, nets inet[])");
    for (column, value, kept) in [
        ("net", "s", "1"),
        ("net2", "s", "1,3"),
        ("mac", "s", "2"),
        ("bits", "s", "3"),
        ("more", "s", "3"),
        ("num", "s", "3"),
        ("num", "CAST(s AS DECIMAL(9, 1))", "3"),
        ("small", "s", "3"),
        ("nets", "make_array(s, s)", "1"),
    ] {
        let write = |on_error: &str| {
            let text = mapping("", value, on_error).replace("set.v", &format!("set.{column}"));
            project.write("moves/library.toml", &text);
        };
        // Each as if it were the first.
        sql("DROP SCHEMA IF EXISTS dunlin CASCADE; TRUNCATE n");
        write("null");
        let ran = project.run_with("move run library", &[KEY]).exits(0);
        let found = format!(
            "SELECT string_agg(id::text, ',' ORDER BY id) FROM n WHERE {column} IS NOT NULL"
        );
        assert_eq!(sql(&found), kept, "{column}: {}", ran.all());
        assert_eq!(sql("SELECT count(*) FROM n"), "4", "{column}");
        assert!(!ran.all().contains("rejected"), "{column}: {}", ran.all());
        write("leave out");
        project.run_with("move run library", &[KEY]).exits(0);
        assert_eq!(sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM n"), kept, "{column}");
        project.run_with("move verify library", &[KEY]).exits(0);
    }
}
