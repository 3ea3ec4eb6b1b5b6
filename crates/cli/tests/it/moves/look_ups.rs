//! Values of other old tables, found by their keys.

use dunlin_testkit::servers::{self, TestDatabase, run_sql};

use super::{CONFIGURATION, KEY, Library};
use crate::project::{Project, Ran, snapshot, story};

const OLD: &str = "
CREATE TABLE countries (code varchar(2) PRIMARY KEY, name varchar(20));
INSERT INTO countries VALUES ('de', 'Germany'), ('fr', 'France'), ('xx', NULL);
CREATE TABLE customers (id integer PRIMARY KEY, code varchar(2), email varchar(20));
INSERT INTO customers VALUES (1, 'de', 'a'), (2, 'fr', 'b'), (3, NULL, 'b'), (4, 'xx', 'c'), (5, 'zz', 'd');
CREATE TABLE prices (shop integer, item integer, cents integer, PRIMARY KEY (shop, item));
INSERT INTO prices VALUES (1, 7, 100), (1, 8, 200), (2, 7, 300);
CREATE TABLE orders (id integer PRIMARY KEY, customer bigint, email varchar(20), shop integer, item integer);
INSERT INTO orders VALUES
  (1, 1, 'a', 1, 7), (2, 2, 'b', 1, 8), (3, 3, 'a', 2, 7), (4, 4, 'a', 2, 8), (5, 5, 'a', NULL, 7),
  (6, 99, 'x', 1, 7), (7, NULL, 'd', 1, 7);
";

const NEW: &str = "CREATE TABLE orders (id integer PRIMARY KEY, code varchar(2), country varchar(20), \
     cents integer, buyer integer);";

const MAPPING: &str = r#"source = "old"
target = "app"

[from.orders]
look_up.code    = { in = "customers", of = "customer" }
look_up.country = { in = "countries", of = "code", take = "name" }
look_up.cents   = { in = "prices", of = ["shop", "item"], by = ["shop", "item"] }
look_up.buyer   = { in = "customers", of = "email", by = "email", take = "id" }

[into.orders]
from = "orders"
set.id      = "id"
set.code    = "code"
set.country = "coalesce(upper(country), '?')"
set.cents   = "cents + 1"
set.buyer   = "buyer"
"#;

/// What is written. The second order's email finds two customers.
const WRITTEN: &str = "1|de|GERMANY|101|1\n3||?|301|1\n4|xx|?||1\n5|zz|?||1\n6||?|101|\n7||?|101|5";

/// An old shop on some database, and a new one in a file.
struct Shop {
    project: Project,
    old: TestDatabase,
}

impl Shop {
    fn new(old: TestDatabase) -> Self {
        let project = Project::empty();
        let configuration = CONFIGURATION.replace("sqlite:old.db", &old.url);
        project.write("dunlin.toml", &configuration);
        project.write("moves/shop.toml", MAPPING);
        let shop = Self { project, old };
        shop.old(OLD);
        shop.new_one(NEW);
        shop
    }

    fn old(&self, sql: &str) {
        self.old.sql(sql).expect("the client can do it");
    }

    #[track_caller]
    fn new_one(&self, sql: &str) -> String {
        let url = format!("sqlite://{}", self.project.path("new.db").display());
        run_sql(&url, sql).expect("sqlite3 can do it").trim_end().to_owned()
    }

    fn run(&self, words: &str) -> Ran {
        self.project.run_with(words, &[KEY])
    }
}

/// NULL and what isn't there find nothing; a look-up may go by another; a key may have several columns;
/// where several rows are found, whose values differ, the row is rejected.
fn values_of_other_tables_are_found(old: TestDatabase) {
    let shop = Shop::new(old);
    let orders = "SELECT * FROM orders ORDER BY id";
    let run = shop.run("move run shop").exits(6);
    assert!(run.stdout().contains("finds several rows with other values"), "{}", run.all());
    assert_eq!(shop.new_one(orders), WRITTEN);
    // Told apart by nothing but their values: now there is one.
    shop.old("UPDATE customers SET email = 'e' WHERE id = 3");
    let run = shop.run("move run shop").exits(0);
    assert!(run.all().contains(" 1 row written"), "{}", run.all());
    assert_eq!(shop.new_one("SELECT * FROM orders WHERE id = 2"), "2|fr|FRANCE|201|2");
    let run = shop.run("move run shop").exits(0);
    assert!(run.all().contains(" 0 rows written"), "{}", run.all());
    // Nothing changed in the orders themselves.
    shop.old("UPDATE countries SET name = 'Allemagne' WHERE code = 'de'");
    shop.run("move verify shop").exits(6);
    let run = shop.run("move run shop").exits(0);
    assert!(run.all().contains(" 1 row written"), "{}", run.all());
    assert_eq!(shop.new_one("SELECT country FROM orders WHERE id = 1"), "ALLEMAGNE");
    shop.run("move verify shop").exits(0);
    let sample = shop.run("move sample shop orders 1").exits(0);
    assert!(sample.stdout().contains("ALLEMAGNE"), "{}", sample.all());
}

#[test]
fn values_of_other_tables_are_found_postgres() {
    values_of_other_tables_are_found(servers::postgres().database("look_ups"));
}

#[test]
fn values_of_other_tables_are_found_mysql() {
    values_of_other_tables_are_found(servers::mysql().database("look_ups"));
}

#[test]
fn values_of_other_tables_are_found_sqlite() {
    values_of_other_tables_are_found(servers::sqlite("look_ups"));
}

const PARTS_MAPPING: &str = r#"source = "old"
target = "app"

[from.parts]
look_up.state = { in = "makers", of = "maker", by = "code", take = "country" }
look_up.land  = { in = "countries", of = "state", by = "code", take = "name" }
look_up.cents = { in = "prices", of = ["state", "kind"], by = ["land", "kind"], take = "cents" }

[into.parts]
from = "parts"
set.id    = "id"
set.maker = "state"
set.land  = "land"
set.cents = "cents"
"#;

/// What is equal is what the source's own join takes for equal, through several look-ups and in keys of
/// several columns.
fn as_the_source_compares(old: TestDatabase, text: &str, join: &str) {
    let shop = Shop::new(old);
    shop.old(&format!(
        "CREATE TABLE makers (code {text} NOT NULL, country varchar(9), PRIMARY KEY (code));
         INSERT INTO makers VALUES ('Acme', 'de'), ('bolt', 'DE'), ('Cog', 'fr'), ('Dyn', 'xx');
         DROP TABLE prices;
         CREATE TABLE prices (land {text} NOT NULL, kind integer NOT NULL, cents integer,
           PRIMARY KEY (land, kind));
         INSERT INTO prices VALUES ('DE', 1, 100), ('fr', 1, 200), ('Fr', 2, 250);
         CREATE TABLE parts (id integer PRIMARY KEY, maker varchar(9), kind integer);
         INSERT INTO parts VALUES (1, 'acme', 1), (2, 'ACME', 2), (3, 'Bolt', 1), (4, 'COG', 2),
           (5, 'cog', 1), (6, 'cogs', 1), (7, NULL, 1), (8, 'Dyn ', 1), (9, 'Acme', 1), (10, '', 1);"
    ));
    shop.old(&format!(
        "DROP TABLE countries; CREATE TABLE countries (code {text} NOT NULL, name varchar(20));
         INSERT INTO countries VALUES ('De', 'Germany'), ('FR', 'France'), ('dE', 'Germany');"
    ));
    shop.new_one(
        "CREATE TABLE parts (id integer PRIMARY KEY, maker text, land text, cents integer)",
    );
    shop.project.write("moves/shop.toml", PARTS_MAPPING);
    shop.run("move run shop").exits(0);
    let found = shop.new_one("SELECT id, maker, land, cents FROM parts ORDER BY id");
    let joined = shop.old.sql(&format!(
        "SELECT DISTINCT p.id, m.country, c.name, r.cents FROM parts p {}
         ORDER BY p.id",
        join
    ));
    let joined = joined.expect("the client can do it").replace('\t', "|").replace("NULL", "");
    assert_eq!(found, joined.trim_end());
    assert!(found.contains("\n4|fr|France|250\n"), "{found}");
    shop.run("move verify shop").exits(0);
    // Two that are the same, and differ in what is taken.
    shop.old("INSERT INTO countries VALUES ('fR', 'Frankreich')");
    let run = shop.run("move run shop").exits(6);
    assert!(run.stdout().contains("finds several rows with other values"), "{}", run.all());
}

const PARTS_JOIN: &str = "LEFT JOIN makers m ON m.code = p.maker \
     LEFT JOIN countries c ON c.code = m.country \
     LEFT JOIN prices r ON r.land = m.country AND r.kind = p.kind";

#[test]
fn look_ups_compare_as_mariadb_does() {
    as_the_source_compares(servers::mysql().database("look_up_case"), "varchar(9)", PARTS_JOIN);
}

#[test]
fn look_ups_compare_as_sqlite_does() {
    let join = PARTS_JOIN.replace("p.maker", "p.maker COLLATE NOCASE");
    as_the_source_compares(servers::sqlite("look_up_case"), "text COLLATE NOCASE", &join);
}

#[test]
fn look_ups_compare_as_postgresql_does() {
    let citext = servers::postgres().database("look_up_citext");
    citext.sql("CREATE EXTENSION citext").expect("an extension");
    let cast =
        PARTS_JOIN.replace("p.maker", "p.maker::citext").replace("m.country", "m.country::citext");
    as_the_source_compares(citext, "citext", &cast);
    let collated = servers::postgres().database("look_up_collation");
    collated
        .sql("CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
        .expect("a collation");
    as_the_source_compares(
        collated,
        "varchar(9) COLLATE nocase",
        &PARTS_JOIN
            .replace(" = p.maker", " = p.maker COLLATE nocase")
            .replace(" = m.country", " = m.country COLLATE nocase"),
    );
}

/// A `char(n)` is read without the blanks that fill it, and found by a text of the same letters.
#[test]
fn blanks_that_fill_a_column_find_nothing_else() {
    for old in
        [servers::postgres().database("look_up_char"), servers::mysql().database("look_up_char")]
    {
        let shop = Shop::new(old);
        shop.old(
            "CREATE TABLE units (code char(9) PRIMARY KEY, name varchar(9));
             INSERT INTO units VALUES ('kg', 'kilogram'), ('m', 'metre');
             CREATE TABLE parts (id integer PRIMARY KEY, unit varchar(9), short char(3));
             INSERT INTO parts VALUES (1, 'kg', 'm'), (2, 'm', 'kg'), (3, 'l', 'l');",
        );
        shop.new_one("CREATE TABLE parts (id integer PRIMARY KEY, a text, b text)");
        shop.project.write(
            "moves/shop.toml",
            "source = \"old\"\ntarget = \"app\"\n\n[from.parts]\n\
             look_up.a = { in = \"units\", of = \"unit\", take = \"name\" }\n\
             look_up.b = { in = \"units\", of = \"short\", take = \"name\" }\n\n\
             [into.parts]\nfrom = \"parts\"\nset.id = \"id\"\nset.a = \"a\"\nset.b = \"b\"\n",
        );
        shop.run("move run shop").exits(0);
        let parts = shop.new_one("SELECT * FROM parts ORDER BY id");
        assert_eq!(parts, "1|kilogram|metre\n2|metre|kilogram\n3||");
    }
}

/// More of them than there is memory for.
#[test]
fn many_values_go_to_files() {
    let library = Library::of(
        "CREATE TABLE names (id integer PRIMARY KEY, name text);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
         INSERT INTO names SELECT i, 'a name of some length, number ' || i FROM n;
         CREATE TABLE people (id integer PRIMARY KEY, of integer);
         INSERT INTO people SELECT id, id * 7 % 70000 FROM names;",
        "CREATE TABLE people (id integer PRIMARY KEY, name text);",
        "source = \"old\"\ntarget = \"app\"\n\n[from.people]\n\
         look_up.name = { in = \"names\", of = \"of\", by = \"id\" }\n\n\
         [into.people]\nfrom = \"people\"\nset.id = \"id\"\nset.name = \"name\"\n",
    );
    library.run("move run library --memory 16").exits(0);
    let old = library.project.path("old.db");
    assert_eq!(
        library.new_one(&format!(
            "ATTACH '{}' AS old; SELECT count(*), count(n.name) FROM people p \
             JOIN old.people o USING (id) LEFT JOIN old.names n ON n.id = o.of \
             WHERE p.name IS n.name",
            old.display()
        )),
        "60000|51426"
    );
}

/// A folder of files has no query that could join them.
#[test]
fn files_are_looked_up_in_each_other() {
    let project = Project::empty();
    project.write("dunlin.toml", &CONFIGURATION.replace("sqlite:old.db", "files:export"));
    project.write("export/orders.csv", "id,customer\n1,10\n2,20\n3,30\n4,\n");
    project.write("export/customers.csv", "no,name\n10,Ada\n20,\"\"\n");
    project.write(
        "moves/shop.toml",
        "source = \"old\"\ntarget = \"app\"\n\n[from.orders]\nkey = \"id\"\n\
         types = { id = \"int64\" }\n\
         look_up.name = { in = \"customers\", of = \"customer\", by = \"no\" }\n\n\
         [into.orders]\nfrom = \"orders\"\nset.id = \"id\"\nset.name = \"name\"\n",
    );
    let url = format!("sqlite://{}", project.path("new.db").display());
    let new_one = |sql: &str| run_sql(&url, sql).expect("sqlite3 can do it").trim_end().to_owned();
    new_one("CREATE TABLE orders (id integer PRIMARY KEY, name text);");
    project.run("move run shop").exits(0);
    let names = "SELECT id, quote(name) FROM orders ORDER BY id";
    assert_eq!(new_one(names), "1|'Ada'\n2|''\n3|NULL\n4|NULL");
    // A record that is no row might be the one that is looked for: nothing found is no answer then.
    project.write("export/customers.csv", "no,name\n10,Ada\n20,Bo\n30,Cy,too many\n");
    let run = project.run("move run shop").exits(6);
    assert!(run.stdout().contains("where not every row could be read"), "{}", run.all());
    assert_eq!(new_one(names), "1|'Ada'\n2|'Bo'\n3|NULL\n4|NULL");
}

#[test]
fn wrong_look_ups_are_told_with_their_lines() {
    let library = Library::of(OLD, NEW, MAPPING);
    let edits = [
        ("in = \"customers\", of = \"customer\" ", "in = \"customer\", of = \"customer\" "),
        ("of = \"customer\" }", "of = \"costumer\" }"),
        ("take = \"name\"", "take = \"nam\""),
        (", take = \"name\"", ""),
        ("by = [\"shop\", \"item\"]", "by = \"shop\""),
        ("by = \"email\"", "by = \"id\""),
        ("by = \"email\"", "bye = \"email\""),
        (
            "look_up.code    = { in = \"customers\", of = \"customer\" }",
            "look_up.code = \"customers\"",
        ),
        ("look_up.buyer ", "look_up.shop "),
        ("of = \"code\"", "of = \"buyer\""),
        ("\nlook_up.buyer", "\nkey = \"buyer\"\nlook_up.buyer"),
        ("cents + 1", "(SELECT 1)"),
        ("cents + 1", "(SELECT max(cents) FROM prices)"),
    ];
    let mut runs: Vec<Ran> = Vec::new();
    for (from, to) in edits {
        library.project.write("moves/library.toml", MAPPING);
        library.edit(from, to);
        runs.push(library.run("move plan library").exits(2));
    }
    snapshot!("move_wrong_look_ups", library.project, story(&runs));
}
