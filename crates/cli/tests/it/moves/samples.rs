//! `examples/chinook` and `examples/northwind`, on servers, with a few rows of their own in the shape of
//! the databases that others wrote. The comparison is not ours to judge by: it reads both sides with the
//! databases' own clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dunlin_testkit::servers::{self, TestDatabase, run_sql};
use serde_json::Value;

use crate::project::{Project, Ran};

const WRITTEN: [&str; 3] = ["inserted", "updated", "deleted"];

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(file)
}

fn text(file: &str) -> String {
    let path = example(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An example's move, with the databases that it is between.
struct Sample<'a> {
    project: Project,
    name: &'a str,
    old: String,
    new: &'a TestDatabase,
}

impl<'a> Sample<'a> {
    fn new(folder: &str, name: &'a str, new: &'a TestDatabase) -> Self {
        let project = Project::empty();
        for file in ["dunlin.toml".to_owned(), format!("moves/{name}.toml")] {
            project.write(&file, &text(&format!("{folder}/{file}")));
        }
        Self { project, name, old: String::new(), new }
    }

    fn run(&self, words: &str) -> Ran {
        let variables = [("OLD_URL", self.old.as_str()), ("APP_URL", self.new.url.as_str())];
        self.project.run_with(words, &variables)
    }

    /// Runs the move; how many rows it wrote.
    #[track_caller]
    fn rows(&self) -> u64 {
        let run = self.run(&format!("move run {} --json", self.name)).exits(0);
        let report: Value = serde_json::from_str(&run.stdout()).expect("a document");
        let rules = report["rules"].as_array().expect("rules");
        let counts =
            rules.iter().flat_map(|rule| WRITTEN.map(|name| rule[name].as_u64().expect(name)));
        counts.sum()
    }

    /// Every column of every row, by the example's own program; where there is no Python, the tables'
    /// counts alone have been looked at.
    #[track_caller]
    fn compared(&self, program: &str, first: &[&str], namespaces: &[&str], rows: usize) {
        for namespace in namespaces {
            let words = format!("move ids export {} --namespace {namespace}", self.name);
            let ids = self.run(&words).exits(0).stdout();
            self.project.write(&format!("ids/{namespace}.csv"), &ids);
        }
        let mut compare = Command::new("python3");
        compare.arg(example(program)).args(first).arg(self.project.path("ids"));
        let done = match compare.output() {
            Ok(done) => done,
            Err(error) => return eprintln!("not compared: python3: {error}"),
        };
        let said = String::from_utf8_lossy(&done.stdout).into_owned()
            + &String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
        assert_eq!(said.trim_end(), format!("{rows} rows expected; 0 tables differ"));
    }

    fn counts(&self, tables: &[&str]) -> Vec<String> {
        let count = |table: &&str| {
            let counted = self.new.sql(&format!("SELECT count(*) FROM {table}"));
            counted.expect("counted").trim().to_owned()
        };
        tables.iter().map(count).collect()
    }
}

/// What the `mariadb` client needs for a database.
fn client(database: &TestDatabase) -> String {
    let url = database.url.strip_prefix("mysql://").expect("a URL of MySQL");
    let (login, place) = url.split_once('@').expect("a login");
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (address, name) = place.split_once('/').expect("a database");
    let (host, port) = address.split_once(':').unwrap_or((address, "3306"));
    let name = name.split('?').next().unwrap_or_default();
    format!("-h {host} -P {port} -u {user} -p{password} {name}")
}

/// MySQL has no type `uuid`, and the examples are about MariaDB.
fn is_mariadb(database: &TestDatabase) -> bool {
    let version = database.sql("SELECT version()").expect("a version");
    let is = version.contains("MariaDB");
    if !is {
        eprintln!("skipped: the server isn't MariaDB");
    }
    is
}

#[test]
fn chinook_from_sqlite() {
    let new = servers::postgres().database("chinook_shop");
    new.sql(&text("chinook/shop.sql")).expect("the new database");
    let mut sample = Sample::new("chinook", "shop", &new);
    let file = sample.project.path("Chinook_Sqlite.sqlite");
    sample.old = format!("sqlite://{}", file.display());
    for sql in ["chinook/few/sqlite.sql", "chinook/few/rows.sql"] {
        run_sql(&sample.old, &text(sql)).expect("the old database");
    }
    let namespaces = [
        "artist", "album", "genre", "media", "employee", "customer", "track", "invoice", "line",
        "playlist",
    ];
    let file = file.display().to_string();
    let compared = |rows: usize| {
        sample.compared("chinook/compare.py", &["shop", &file, &new.url], &namespaces, rows)
    };
    sample.run("move plan shop").exits(0);
    assert_eq!(sample.rows(), 46);
    let tables = ["artists", "albums", "tracks", "invoice_lines", "playlist_tracks", "customers"];
    assert_eq!(sample.counts(&tables), ["4", "4", "6", "6", "7", "4"]);
    compared(46);
    assert_eq!(sample.rows(), 0);

    // One changed, one gone, one new, and one with a fraction that floating point has left.
    let changes = "UPDATE Track SET Name = 'Plover (again)' WHERE TrackId = 1;
        DELETE FROM PlaylistTrack WHERE PlaylistId = 8; INSERT INTO Genre VALUES (9, 'Tide');";
    run_sql(&sample.old, changes).expect("changed");
    assert_eq!(sample.rows(), 5);
    compared(44);
    run_sql(&sample.old, "UPDATE Invoice SET Total = 3.96 + 0.01 WHERE InvoiceId = 3")
        .expect("set");
    let refused = sample.run("move run shop").exits(6);
    assert!(
        refused.all().contains("`total` has more than 2 digits after the point"),
        "{}",
        refused.all()
    );
    let mapping = text("chinook/moves/shop.toml");
    let rounded = mapping.replace("= \"Total\"", "= \"round(Total, 2)\"");
    assert_ne!(mapping, rounded);
    sample.project.write("moves/shop.toml", &rounded);
    assert_eq!(sample.rows(), 1);
    let total =
        new.sql("SELECT total FROM invoices WHERE total > 3 AND total < 4").expect("a total");
    assert_eq!(total.trim(), "3.97");
}

#[test]
fn chinook_from_mariadb() {
    let old = servers::mysql().database("chinook_old");
    if !is_mariadb(&old) {
        return;
    }
    for sql in ["chinook/few/mysql.sql", "chinook/few/rows.sql"] {
        old.sql(&text(sql)).expect("the old database");
    }
    let new = servers::postgres().database("chinook_sales");
    new.sql(&text("chinook/sales.sql")).expect("the new database");
    let mut sample = Sample::new("chinook", "sales", &new);
    sample.old.clone_from(&old.url);
    let login = client(&old);
    let namespaces = ["customer", "employee", "recording", "sale"];
    let compared = |rows: usize| {
        sample.compared("chinook/compare.py", &["sales", &login, &new.url], &namespaces, rows);
    };
    sample.run("move plan sales").exits(0);
    assert_eq!(sample.rows(), 26);
    let tables = ["people", "recordings", "sales", "list_entries"];
    assert_eq!(sample.counts(&tables), ["7", "6", "6", "7"]);
    compared(26);
    assert_eq!(sample.rows(), 0);
    let changes = "UPDATE Album SET Title = 'High Tide' WHERE AlbumId = 1;
        DELETE FROM InvoiceLine WHERE InvoiceLineId = 6; UPDATE Invoice SET InvoiceDate = '2011-01-01' WHERE InvoiceId = 1";
    old.sql(changes).expect("changed");
    // Two recordings, one sale gone, two with another day.
    assert_eq!(sample.rows(), 5);
    compared(25);
}

#[test]
fn northwind_into_mariadb() {
    let new = servers::mysql().database("northwind_new");
    if !is_mariadb(&new) {
        return;
    }
    new.sql(&text("northwind/new.sql")).expect("the new database");
    let old = servers::postgres().database("northwind_old");
    old.sql(&text("northwind/few.sql")).expect("the old database");
    let mut sample = Sample::new("northwind", "trade", &new);
    sample.old.clone_from(&old.url);
    let login = client(&new);
    let namespaces = ["customer", "supplier", "shipper"];
    let compared = |rows: usize| {
        sample.compared("northwind/compare.py", &[&old.url, &login], &namespaces, rows);
    };
    sample.run("move plan trade").exits(0);
    assert_eq!(sample.rows(), 30);
    let tables = ["companies", "products", "orders", "order_lines", "employees"];
    assert_eq!(sample.counts(&tables), ["7", "4", "3", "4", "3"]);
    compared(30);
    assert_eq!(sample.rows(), 0);
    let changes = "UPDATE products SET unit_price = 21.55 WHERE product_id = 11;
        DELETE FROM employee_territories WHERE employee_id = 9;
        INSERT INTO shippers VALUES (3, 'Federal Shipping', NULL)";
    old.sql(changes).expect("changed");
    assert_eq!(sample.rows(), 3);
    compared(30);
}
