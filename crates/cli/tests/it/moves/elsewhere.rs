//! Between databases of a server: what the tests on SQLite say of rows that stand in each other's way,
//! of the end of a move, and of rows of many megabytes.

use dunlin_testkit::servers::{self, Product, TestDatabase};

use super::KEY;
use crate::project::{Project, Ran};
use crate::survive::world::on_each;

/// Two databases of one product on one server.
pub(super) struct Pair {
    pub(super) project: Project,
    old: TestDatabase,
    new: TestDatabase,
}

impl Pair {
    pub(super) fn new(product: Product, name: &str, mapping: &str) -> Self {
        let database = |part: &str| {
            let name = format!("{name}_{part}");
            match product {
                Product::Sqlite => servers::sqlite(&name),
                Product::Mysql => servers::mysql().database(&name),
                _ => servers::postgres().database(&name),
            }
        };
        Self::of(database("old"), database("new"), mapping)
    }

    pub(super) fn of(old: TestDatabase, new: TestDatabase, mapping: &str) -> Self {
        let project = Project::empty();
        project.write(
            "dunlin.toml",
            &format!(
                "[databases.old]\nurl = \"{}\"\n\n[databases.app]\nurl = \"{}\"\n",
                old.url, new.url
            ),
        );
        project.write("moves/library.toml", mapping);
        Self { project, old, new }
    }

    pub(super) fn run(&self, words: &str) -> Ran {
        self.project.run_with(words, &[KEY])
    }

    /// Nothing is left to do.
    #[track_caller]
    pub(super) fn rests(&self) {
        let again = self.run("move run library").exits(0);
        assert!(again.stderr().contains("0 rows written"), "{}", again.all());
        self.run("move verify library").exits(0);
    }

    /// What SQL answers, with `|` between columns and nothing for NULL.
    #[track_caller]
    pub(super) fn old(&self, sql: &str) -> String {
        told(self.old.sql(sql).expect("the client can do it"))
    }

    /// The same of the new database.
    #[track_caller]
    pub(super) fn new_one(&self, sql: &str) -> String {
        told(self.new.sql(sql).expect("the client can do it"))
    }
}

fn told(answer: String) -> String {
    answer.trim_end().replace('\t', "|").replace("NULL", "")
}

const DOORS: &str = "
CREATE TABLE doors (id integer PRIMARY KEY, number integer, sign varchar(20), next integer);
INSERT INTO doors VALUES (1, 1, 'a', NULL), (2, 2, 'b', NULL), (3, 3, 'c', NULL), (4, 4, NULL, NULL);
";

const NEW_DOORS: &str = "
CREATE TABLE doors (id integer PRIMARY KEY, number integer NOT NULL UNIQUE, sign varchar(20),
  next integer, FOREIGN KEY (next) REFERENCES doors (id));
";

/// Signs are unique through an expression: over the rows that have a number, or in a column of its own.
fn unique_signs(product: Product) -> &'static str {
    match product {
        Product::Mysql => {
            "ALTER TABLE doors ADD small varchar(20) AS (lower(sign)) STORED INVISIBLE UNIQUE"
        }
        _ => "CREATE UNIQUE INDEX ON doors (lower(sign)) WHERE number > 0",
    }
}

const DOORS_MAPPING: &str = r#"source = "old"
target = "app"

[ids]
door = "keep"

[into.doors]
from  = "doors"
makes = "door"
set.number = "number"
set.sign   = "sign"
set.next   = { new = "door", of = "next", missing = "null" }
"#;

const ALL: &str = "SELECT id, number, sign FROM doors ORDER BY id";

fn doors(product: Product, name: &str) -> Pair {
    let pair = Pair::new(product, name, DOORS_MAPPING);
    pair.old(DOORS);
    pair.new_one(NEW_DOORS);
    pair.new_one(unique_signs(product));
    pair
}

/// Two swap, three go round, a chain ends in a value of nobody's; then one takes what a row of the
/// application's has, and no value is lost.
fn unique_values_are_exchanged(product: Product) {
    let pair = doors(product, "doors");
    pair.run("move run library").exits(0);
    pair.old(
        "UPDATE doors SET number = CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 WHEN 3 THEN 4 ELSE 5 END,
         sign = CASE id WHEN 1 THEN 'b' WHEN 2 THEN 'c' WHEN 3 THEN 'a' END",
    );
    pair.run("move run library").exits(0);
    let all = "1|2|b\n2|1|c\n3|4|a\n4|5|";
    assert_eq!(pair.new_one(ALL), all);
    let again = pair.run("move run library").exits(0);
    assert!(again.stderr().contains("0 rows written"), "{}", again.all());
    pair.new_one("INSERT INTO doors VALUES (99, 99, 'its own', NULL)");
    pair.old(
        "UPDATE doors SET number = CASE id WHEN 1 THEN 1 WHEN 2 THEN 2 ELSE 99 END WHERE id < 4",
    );
    let ran = pair.run("move run library").exits(6);
    assert!(ran.all().contains("doors: 1 row rejected"), "{}", ran.all());
    assert_eq!(pair.new_one(ALL), "1|1|b\n2|2|c\n3|4|a\n4|5|\n99|99|its own");
}

/// Rows that only refer to each other, and to themselves, go together.
fn circles_are_deleted(product: Product) {
    let pair = doors(product, "circle");
    pair.old("UPDATE doors SET next = CASE id WHEN 4 THEN 1 ELSE id + 1 END; INSERT INTO doors VALUES (5, 5, 'e', 5)");
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one("SELECT count(*) FROM doors WHERE next IS NOT NULL"), "5");
    pair.old("DELETE FROM doors WHERE id <> 4; UPDATE doors SET next = NULL");
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one("SELECT id FROM doors"), "4");
}

/// The ledger goes with a finished move, and later runs are refused.
fn the_ledger_goes(product: Product) {
    let pair = doors(product, "finish");
    pair.run("move run library").exits(0);
    pair.run("move finish library --drop-ledger --yes --export-ids ids").exits(0);
    let tables = match product {
        Product::Mysql => {
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()"
        }
        _ => {
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
             WHERE relkind IN ('r', 'v', 'S') AND nspname NOT IN ('pg_catalog', 'information_schema')"
        }
    };
    assert_eq!(pair.new_one(tables), "1", "the application's alone");
    assert_eq!(pair.new_one(ALL), "1|1|a\n2|2|b\n3|3|c\n4|4|");
    assert!(pair.project.read("ids/door.csv").contains("4,4"));
    let refused = pair.run("move run library").exits(2);
    assert!(refused.all().contains("was finished on"), "{}", refused.all());
}

on_each!(unique_values_are_exchanged: postgres, mysql);
on_each!(circles_are_deleted: postgres, mysql);
on_each!(the_ledger_goes: postgres, mysql);

const LARGE_MAPPING: &str = r#"source = "old"
target = "app"

[ids]
page = "keep"

[into.pages]
from  = "pages"
makes = "page"
set.a = "a"
set.b = "b"
"#;

/// Pages of up to so many megabytes in each of two columns.
fn pages(old: TestDatabase, new: TestDatabase, megabytes: usize) -> Pair {
    let pair = Pair::of(old, new, LARGE_MAPPING);
    let text = |product: Product| if product == Product::Mysql { "longtext" } else { "text" };
    for database in [&pair.old, &pair.new] {
        let of = text(database.product);
        database
            .sql(&format!("CREATE TABLE pages (id integer PRIMARY KEY, a {of}, b {of})"))
            .expect("a table");
    }
    pair.old(&format!(
        "INSERT INTO pages VALUES (1, 'small', NULL), (2, repeat('x', {bytes}), NULL), (3, 'small', 'too');
         UPDATE pages SET b = repeat('y', {bytes}) WHERE id = 2",
        bytes = megabytes << 20
    ));
    pair
}

const SIZES: &str = "SELECT id, length(a) + length(b) FROM pages WHERE b IS NOT NULL ORDER BY 1";

/// (48) A row of 24 MB, from PostgreSQL to PostgreSQL.
#[test]
fn a_row_of_many_megabytes_arrives() {
    let server = servers::postgres();
    let pair = pages(server.database("large_old"), server.database("large_new"), 12);
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one(SIZES), "2|25165824\n3|8");
}

/// (48) MySQL takes no packet above `max_allowed_packet`, 16 MB where nobody said otherwise: such a row
/// is rejected, named by its key, and all others arrive.
#[test]
fn a_row_larger_than_a_packet_is_rejected_alone() {
    let old = servers::postgres().database("packet_old");
    let new = servers::mysql().database("packet_new");
    let most = new.sql("SELECT @@max_allowed_packet").expect("a number");
    if most.trim().parse::<usize>().expect("a number") > 24 << 20 {
        eprintln!("skipped: this server takes larger packets");
        return;
    }
    let pair = pages(old, new, 12);
    let ran = pair.run("move run library").exits(6);
    assert!(ran.all().contains("max_allowed_packet"), "{}", ran.all());
    let rejects = pair.run("move rejects library --csv").exits(0).stdout();
    assert!(rejects.contains("pages,2,rejected"), "{rejects}");
    assert_eq!(pair.new_one("SELECT id FROM pages ORDER BY 1"), "1\n3");
}

/// (48) Such a row in an old MySQL, put together there: it is read, or said to be what it is.
#[test]
fn a_row_larger_than_a_packet_is_read() {
    let old = servers::mysql().database("packets_old");
    let pair = pages(old, servers::postgres().database("packets_new"), 12);
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one(SIZES), "2|25165824\n3|8");
}

const PEOPLE: &str = "
CREATE TABLE p (id integer PRIMARY KEY, n varchar(20), boss integer);
INSERT INTO p VALUES (1, 'Ann', NULL), (2, 'Bob', 1), (3, 'Cy', 1);
CREATE TABLE o (id integer PRIMARY KEY, p integer);
INSERT INTO o VALUES (1, 1);
CREATE TABLE k (k varchar(20) PRIMARY KEY, v varchar(20));
INSERT INTO k VALUES ('x', '1'), ('y', '2');
";

const NEW_PEOPLE: &str = "
CREATE TABLE person (id integer PRIMARY KEY, n varchar(20), boss integer,
  FOREIGN KEY (boss) REFERENCES person (id));
CREATE TABLE o (id integer PRIMARY KEY, person_id integer);
CREATE TABLE k (k varchar(20) PRIMARY KEY, v varchar(20));
";

const PEOPLE_MAPPING: &str = r#"source = "old"
target = "app"

[ids]
p = "keep"

[into.person]
from  = "p"
makes = "p"
set.n    = "n"
set.boss = { new = "p", of = "boss", missing = "null" }

[into.o]
from = "o"
set.id        = "id"
set.person_id = { new = "p", of = "p", missing = "null" }

[into.k]
from = "k"
set.k = "k"
set.v = "v"
"#;

/// What the tests on SQLite say of strangers, of keys that differ in case, of parents that go with
/// their children, and of what is fixed.
fn whose_rows_they_are(product: Product) {
    let pair = Pair::new(product, "people", PEOPLE_MAPPING);
    pair.old(PEOPLE);
    pair.new_one(NEW_PEOPLE);
    pair.run("move run library").exits(0);
    pair.new_one("INSERT INTO person VALUES (9, 'Eve', NULL)");
    pair.old("INSERT INTO p VALUES (9, 'Carl', NULL); INSERT INTO o VALUES (2, 9); UPDATE k SET k = 'X' WHERE k = 'x'");
    let orders = "SELECT id, person_id FROM o ORDER BY id";
    let ran = pair.run("move run library").exits(6);
    assert!(ran.all().contains("person: 1 row not written"), "{}", ran.all());
    assert_eq!(pair.new_one(orders), "1|1\n2|");
    assert_eq!(pair.new_one("SELECT k, v FROM k ORDER BY v"), "X|1\ny|2");
    pair.new_one("DELETE FROM person WHERE id = 9");
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one(orders), "1|1\n2|9");
    // This one is the move's own.
    pair.new_one("DELETE FROM person WHERE id = 9");
    pair.old("INSERT INTO o VALUES (3, 9)");
    for words in ["move run library", "move verify library", "move run library"] {
        pair.run(words).exits(0);
        assert_eq!(pair.new_one("SELECT count(*) FROM o WHERE person_id IS NULL"), "2");
    }
    pair.old("DELETE FROM o; DELETE FROM p WHERE id < 9");
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one("SELECT count(*) FROM person"), "0");
    pair.new_one("CREATE TABLE k2 (k varchar(20) PRIMARY KEY, v varchar(20))");
    let mapping = PEOPLE_MAPPING.replace("[into.k]", "[into.k]\ntable = \"k2\"");
    pair.project.write("moves/library.toml", &mapping);
    let ran = pair.run("move run library").exits(2);
    assert!(ran.all().contains("are to go to k2"), "{}", ran.all());
    assert_eq!(pair.new_one("SELECT k, v FROM k ORDER BY v"), "X|1\ny|2");
}

/// Keys that are read in another spelling than they were written in: with blanks, or zeros, at their end.
fn absent_rows_are_known_by_keys_of_any_form(product: Product) {
    let mapping = r#"source = "old"
target = "app"

[ids]
p = "derived"
c = "keep"

[into.person]
from  = "p"
makes = "p"
set.n = "n"

[into.country]
from  = "k"
makes = "c"
set.v = "v"

[into.rate]
from = "o"
set.at   = "id / 4.0"
set.who  = { new = "p", of = "p", missing = "null" }
set.land = { new = "c", of = "k", missing = "null" }

[into.visit]
from = "o"
set.id  = "id"
set.who = { new = "p", of = "p", missing = "leave out" }
"#;
    let pair = Pair::new(product, "forms", mapping);
    pair.old(PEOPLE);
    pair.old("ALTER TABLE o ADD k varchar(20)");
    pair.new_one(
        "CREATE TABLE person (id char(40) PRIMARY KEY, n varchar(20));
         CREATE TABLE country (id char(5) PRIMARY KEY, v varchar(20));
         CREATE TABLE rate (at decimal(9, 3) PRIMARY KEY, who char(40), land char(5));
         CREATE TABLE visit (id integer PRIMARY KEY, who char(40) NOT NULL);",
    );
    pair.run("move run library").exits(0);
    pair.new_one("DELETE FROM person WHERE n = 'Bob'; DELETE FROM country WHERE id = 'y'");
    pair.new_one("INSERT INTO country VALUES ('z', 'its own')");
    pair.old("INSERT INTO k VALUES ('z', '3')");
    pair.old("INSERT INTO o VALUES (2, 2, 'x'), (3, 3, 'y'), (4, 3, 'z'), (5, 1, 'x')");
    for _ in 0..2 {
        pair.run("move run library").exits(6);
        let rates = "SELECT at, who IS NULL, land FROM rate ORDER BY at";
        let rates = pair.new_one(rates).replace('t', "1").replace('f', "0").replace("    ", "");
        assert_eq!(rates, "0.250|0|\n0.500|1|x\n0.750|0|\n1.000|0|\n1.250|0|x");
        assert_eq!(pair.new_one("SELECT id FROM visit ORDER BY id"), "1\n3\n4\n5");
        pair.run("move verify library").exits(6);
    }
    pair.new_one("DELETE FROM country WHERE id = 'z'");
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one("SELECT count(*) FROM rate WHERE land = 'z'"), "1");
    pair.run("move verify library").exits(0);
}

#[test]
fn absent_rows_are_known_on_postgres() {
    absent_rows_are_known_by_keys_of_any_form(Product::Postgres);
}

#[test]
fn absent_rows_are_known_on_mysql() {
    absent_rows_are_known_by_keys_of_any_form(Product::Mysql);
}

#[test]
fn whose_rows_they_are_on_postgres() {
    whose_rows_they_are(Product::Postgres);
}

#[test]
fn whose_rows_they_are_on_mysql() {
    whose_rows_they_are(Product::Mysql);
}
