//! Values that a source has and nobody can read as what their column says: their row's error, and no
//! other's.

use dunlin_testkit::servers::{self, TestDatabase, run_sql};

use super::KEY;
use crate::project::{Project, Ran};

const MAPPING: &str = r#"source = "old"
target = "app"
id_key = "shop"

[ids]
ordering = "derived"

[from.orders]
unused = ["spare"]

[into.orders]
from  = "orders"
makes = "ordering"
where = "shown"
set.name = "name"
set.day  = "day"

[into.items]
from = "items"
set.id       = "id"
set.order_id = { new = "ordering", of = "order_id", missing = "leave out" }
"#;

const NEW: &str = "
CREATE TABLE orders (id char(36) PRIMARY KEY, name text NOT NULL, day date);
CREATE TABLE items (id integer PRIMARY KEY, order_id char(36) NOT NULL REFERENCES orders (id));
";

/// An old shop on some database, and a new one.
struct Shop {
    project: Project,
    old: TestDatabase,
    new: String,
}

impl Shop {
    fn new(old: TestDatabase, new: Option<&TestDatabase>) -> Self {
        let project = Project::empty();
        project.write(
            "dunlin.toml",
            "[databases.old]\nurl = \"${OLD_URL}\"\n\n[databases.app]\nurl = \"${APP_URL}\"\n",
        );
        project.write("moves/shop.toml", MAPPING);
        let file = format!("sqlite://{}", project.path("new.db").display());
        let new = new.map_or(file, |new| new.url.clone());
        let shop = Self { project, old, new };
        shop.new_one(NEW);
        shop
    }

    fn run(&self, words: &str) -> Ran {
        let variables = [("OLD_URL", self.old.url.as_str()), ("APP_URL", &self.new), KEY];
        self.project.run_with(words, &variables)
    }

    #[track_caller]
    fn old(&self, sql: &str) {
        self.old.sql(sql).expect("the client can do it");
    }

    #[track_caller]
    fn new_one(&self, sql: &str) -> String {
        run_sql(&self.new, sql).expect("the client can do it").trim_end().to_owned()
    }

    fn orders(&self) -> String {
        self.new_one("SELECT name, day FROM orders ORDER BY name").replace('\t', "|")
    }

    fn lines(&self) -> String {
        self.new_one("SELECT id FROM items ORDER BY id").replace('\n', " ")
    }

    #[track_caller]
    fn edit(&self, from: &str, to: &str) {
        let text = self.project.read("moves/shop.toml");
        assert!(text.contains(from), "the mapping has no {from}");
        self.project.write("moves/shop.toml", &text.replace(from, to));
    }

    #[track_caller]
    fn rejects(&self) -> String {
        self.run("move rejects shop --csv").exits(0).stdout()
    }
}

/// How a database says it.
struct Product {
    /// Three orders, the first with an unreadable value in the column that nothing uses.
    tables: &'static str,
    /// A value that can't be read, into `day` of order 2.
    spoil: &'static str,
    why: &'static str,
    /// The same for what decides whether the order is moved at all.
    spoil_filter: &'static str,
    why_filter: &'static str,
    repair: &'static str,
    /// Both columns are lists, of which the first element is meant.
    is_list: bool,
}

fn a_value_that_cannot_be_read_is_its_rows_error(shop: &Shop, product: &Product) {
    shop.old(product.tables);
    // What nothing uses is nobody's error.
    shop.run("move run shop").exits(0);
    let first = "a|2024-01-01\nb|2024-01-02\nc|2024-01-03";
    assert_eq!(shop.orders(), first);
    assert_eq!(shop.lines(), "10 20 30");

    // That row is refused, named by its key, and what it became before stays; all others go on.
    shop.old(product.spoil);
    shop.old("UPDATE orders SET name = 'A' WHERE id = 1; DELETE FROM items WHERE id = 30; DELETE FROM orders WHERE id = 3");
    let ran = shop.run("move run shop").exits(6);
    assert!(ran.all().contains("orders: 1 row rejected"), "{}", ran.all());
    let after = "A|2024-01-01\nb|2024-01-02";
    assert_eq!(shop.orders(), after);
    assert_eq!(shop.lines(), "10 20", "what refers to it stays");
    let told = format!("orders,2,rejected,`day` uses `day`, which {}", product.why);
    assert!(shop.rejects().replace('"', "").contains(&told), "{}", shop.rejects());
    let verified = shop.run("move verify shop").exits(6);
    assert!(!verified.all().contains("gone"), "{}", verified.all());
    assert!(!verified.all().contains("differ"), "{}", verified.all());
    let sample = shop.run("move sample shop orders 2").exits(0);
    assert!(sample.all().contains(product.why), "{}", sample.all());
    let dry = shop.run("move run shop --dry-run --json").exits(0).stdout();
    assert!(dry.contains("\"deleted\": 0") || dry.contains("\"deleted\":0"), "{dry}");

    // The mapping may say otherwise.
    let day = if product.is_list { "day[1]" } else { "day" };
    let (plain, or_null) = (
        format!("set.day  = \"{day}\""),
        format!("set.day  = {{ value = \"{day}\", on_error = \"null\" }}"),
    );
    shop.edit(&plain, &or_null);
    shop.run("move run shop").exits(0);
    assert_eq!(shop.orders().replace("NULL", ""), "A|2024-01-01\nb|");
    shop.edit(&or_null, &plain);
    shop.old(product.repair);
    shop.run("move run shop").exits(0);
    assert_eq!(shop.orders(), after);

    // Whether a row is moved at all can't be told: what is there stays, with all that refers to it.
    shop.old(product.spoil_filter);
    shop.run("move run shop").exits(6);
    assert_eq!((shop.orders().as_str(), shop.lines().as_str()), (after, "10 20"));
    let told = format!("orders,2,rejected,`where` uses `shown`, which {}", product.why_filter);
    assert!(shop.rejects().replace('"', "").contains(&told), "{}", shop.rejects());
    shop.old(product.repair);
    shop.run("move run shop").exits(0);
    shop.run("move verify shop").exits(0);
    assert_eq!((shop.orders().as_str(), shop.lines().as_str()), (after, "10 20"));
}

const MYSQL: Product = Product {
    tables: "SET sql_mode = '';
        CREATE TABLE orders (id int PRIMARY KEY, name text, day date, spare time, shown tinyint(1) NOT NULL);
        CREATE TABLE items (id int PRIMARY KEY, order_id int);
        INSERT INTO orders VALUES (1, 'a', '2024-01-01', '90:00:00', 1), (2, 'b', '2024-01-02', NULL, 1),
          (3, 'c', '2024-01-03', NULL, 1);
        INSERT INTO items VALUES (10, 1), (20, 2), (30, 3);",
    spoil: "SET sql_mode = ''; UPDATE orders SET day = '0000-00-00' WHERE id = 2",
    why: "holds a zero date, or one whose month or day is 0",
    spoil_filter: "UPDATE orders SET shown = 2 WHERE id = 2",
    why_filter: "holds a number other than 0 and 1",
    repair: "UPDATE orders SET day = '2024-01-02', shown = 1 WHERE id = 2",
    is_list: false,
};

const SQLITE: Product = Product {
    tables: "CREATE TABLE orders (id integer PRIMARY KEY, name text, day date, spare integer, shown boolean NOT NULL);
        CREATE TABLE items (id integer PRIMARY KEY, order_id integer);
        INSERT INTO orders VALUES (1, 'a', '2024-01-01', 'x', 1), (2, 'b', '2024-01-02', NULL, 1),
          (3, 'c', '2024-01-03', NULL, 1);
        INSERT INTO items VALUES (10, 1), (20, 2), (30, 3);",
    spoil: "UPDATE orders SET day = 'last week' WHERE id = 2",
    why: "holds no day of the form 2015-01-31",
    spoil_filter: "UPDATE orders SET shown = 'perhaps' WHERE id = 2",
    why_filter: "holds neither true nor false",
    repair: "UPDATE orders SET day = '2024-01-02', shown = 1 WHERE id = 2",
    is_list: false,
};

#[test]
fn mysql_zero_dates_and_long_times() {
    let shop = Shop::new(servers::mysql().database("unreadable"), None);
    a_value_that_cannot_be_read_is_its_rows_error(&shop, &MYSQL);
}

#[test]
fn sqlite_values_of_another_type() {
    let shop = Shop::new(servers::sqlite("unreadable"), None);
    a_value_that_cannot_be_read_is_its_rows_error(&shop, &SQLITE);
}

/// PostgreSQL holds what is declared, but for arrays: any number of dimensions.
#[test]
fn postgres_arrays_of_two_dimensions() {
    let shop = Shop::new(servers::postgres().database("unreadable"), None);
    shop.edit("where = \"shown\"", "where = \"shown[1]\"");
    shop.edit("set.day  = \"day\"", "set.day  = \"day[1]\"");
    let product = Product {
        tables: "CREATE TABLE orders (id int PRIMARY KEY, name text, day date[], spare int[], shown boolean[] NOT NULL);
            CREATE TABLE items (id int PRIMARY KEY, order_id int);
            INSERT INTO orders VALUES (1, 'a', '{2024-01-01}', '{{1},{2}}', '{t}'),
              (2, 'b', '{2024-01-02}', NULL, '{t}'), (3, 'c', '{2024-01-03}', NULL, '{t}');
            INSERT INTO items VALUES (10, 1), (20, 2), (30, 3);",
        spoil: "UPDATE orders SET day = '[0:0]={2024-02-02}' WHERE id = 2",
        why: "holds an array of more than one dimension, or one whose first place is not 1",
        spoil_filter: "UPDATE orders SET shown = '{{t,f}}' WHERE id = 2",
        why_filter: "holds an array of more than one dimension",
        repair: "UPDATE orders SET day = '{2024-01-02}', shown = '{t}' WHERE id = 2",
        is_list: true,
    };
    a_value_that_cannot_be_read_is_its_rows_error(&shop, &product);
}

/// A reload empties tables, and a swap applies everything at once: neither takes such a row along.
#[test]
fn reloads_and_swaps_keep_what_cannot_be_read() {
    for mode in ["reload", "swap"] {
        let new = servers::postgres().database(&format!("unreadable_{mode}"));
        let shop = Shop::new(servers::sqlite(&format!("unreadable_{mode}")), Some(&new));
        shop.edit("target = \"app\"", &format!("target = \"app\"\nmode = \"{mode}\""));
        shop.old(SQLITE.tables);
        shop.run("move run shop").exits(0);
        shop.old(SQLITE.spoil);
        shop.old("UPDATE orders SET name = 'A' WHERE id = 1; DELETE FROM items WHERE id = 30; DELETE FROM orders WHERE id = 3");
        shop.run("move run shop").exits(6);
        assert_eq!(shop.orders(), "A|2024-01-01\nb|2024-01-02", "{mode}");
        assert_eq!(shop.lines(), "10 20", "{mode}");
        shop.old(SQLITE.repair);
        shop.run("move run shop").exits(0);
        assert_eq!(shop.orders(), "A|2024-01-01\nb|2024-01-02", "{mode}");
    }
}

/// Nobody can tell which row it is, so nothing is deleted, and the run isn't verified.
#[test]
fn a_key_that_cannot_be_read_is_told_and_nothing_is_deleted() {
    for mode in ["sync", "swap"] {
        let new = servers::postgres().database(&format!("unreadable_key_{mode}"));
        let shop = Shop::new(servers::sqlite(&format!("unreadable_key_{mode}")), Some(&new));
        shop.edit("target = \"app\"", &format!("target = \"app\"\nmode = \"{mode}\""));
        shop.edit("set.day  = \"day\"", "");
        shop.edit("unused = [\"spare\"]", "unused = [\"spare\", \"day\"]");
        let tables =
            SQLITE.tables.replace("id integer PRIMARY KEY, name", "id int PRIMARY KEY, name");
        shop.old(&tables);
        shop.run("move run shop").exits(0);
        shop.old("UPDATE orders SET id = 'two' WHERE id = 2; DELETE FROM items WHERE id = 30; DELETE FROM orders WHERE id = 3");
        let ran = shop.run("move run shop").exits(6);
        assert!(ran.all().contains("orders: 1 record can't be read"), "{}", ran.all());
        assert!(
            shop.rejects().contains("its key `id` holds no whole number"),
            "{}",
            shop.rejects()
        );
        assert_eq!(shop.new_one("SELECT name FROM orders ORDER BY 1"), "a\nb\nc", "{mode}");
        assert_eq!(shop.lines(), "10 20 30", "{mode}");
        shop.run("move verify shop").exits(6);
        shop.old("UPDATE orders SET id = 2 WHERE id = 'two'");
        shop.run("move run shop").exits(0);
        assert_eq!(shop.new_one("SELECT name FROM orders ORDER BY 1"), "a\nb", "{mode}");
        assert_eq!(shop.lines(), "10 20", "{mode}");
    }
}

/// The application may put such a value into a row that the move wrote: that row is the
/// application's from then on.
#[test]
fn what_the_application_made_unreadable_is_its_own() {
    let new = servers::mysql().database("unreadable_there");
    let shop = Shop::new(servers::sqlite("unreadable_there"), Some(&new));
    shop.old(SQLITE.tables);
    shop.run("move run shop").exits(0);
    shop.new_one(
        "SET sql_mode = ''; UPDATE orders SET day = '0000-00-00' WHERE name IN ('a', 'b')",
    );
    // It is looked at in the end, and where the old row has changed before it is written over.
    shop.old("UPDATE orders SET name = 'B' WHERE id = 2");
    shop.run("move run shop").exits(0);
    let told = shop.rejects();
    assert!(
        told.contains("orders,1,changed_there") && told.contains("orders,2,changed_there"),
        "{told}"
    );
    shop.run("move verify shop").exits(0);
    assert_eq!(shop.orders(), "a|0000-00-00\nb|0000-00-00\nc|2024-01-03");
    shop.project.write(
        "moves/shop.toml",
        &format!(
            "{}\n[conflicts]\nchanged_there = \"overwrite\"\n",
            shop.project.read("moves/shop.toml")
        ),
    );
    shop.run("move run shop").exits(0);
    assert_eq!(shop.orders(), "a|2024-01-01\nB|2024-01-02\nc|2024-01-03");
}

/// What was kept was written with the columns of then: an edit of the mapping doesn't make it look as
/// if the application had changed it.
#[test]
fn an_edited_mapping_leaves_what_cannot_be_read() {
    let shop = Shop::new(servers::sqlite("unreadable_edited"), None);
    shop.edit("unused = [\"spare\"]", "unused = [\"spare\", \"day\"]");
    shop.edit("set.day  = \"day\"\n", "");
    let mapping = shop.project.read("moves/shop.toml");
    let stop = "\n[conflicts]\nchanged_there = \"stop\"\n";
    shop.project.write("moves/shop.toml", &format!("{mapping}{stop}"));
    shop.old(SQLITE.tables);
    shop.run("move run shop").exits(0);
    shop.old(SQLITE.spoil_filter);
    shop.edit("set.name = \"name\"", "set.name = \"name\"\nset.day  = \"day\"");
    shop.edit("unused = [\"spare\", \"day\"]", "unused = [\"spare\"]");
    shop.run("move run shop").exits(6);
    assert_eq!(shop.orders(), "a|2024-01-01\nb|\nc|2024-01-03");
    shop.old(SQLITE.repair);
    shop.run("move run shop").exits(0);
    assert_eq!(shop.orders(), "a|2024-01-01\nb|2024-01-02\nc|2024-01-03");
}
