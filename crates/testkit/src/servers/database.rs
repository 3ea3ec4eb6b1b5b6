//! A database for one test.

use std::path::PathBuf;

use super::client::{self, Address};
use super::{ClientError, Product, Server, ServerError, Visitor, dump};

/// A database that is looked at through its product's own client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Which product; for pgbouncer, `url` goes through it.
    pub product: Product,
    /// Its URL, with the password.
    pub url: String,
    /// For pgbouncer: the URL that goes past it.
    pub direct_url: Option<String>,
}

impl Database {
    /// Feeds SQL to the client on one connection and returns what it prints: bare rows, one a
    /// line, columns apart by `|` (by a tab for MySQL).
    pub fn sql(&self, sql: &str) -> Result<String, ClientError> {
        client::run_sql(self.past_poolers(), sql)
    }

    /// A session of the client's that stays open, past poolers.
    ///
    /// # Panics
    /// If the client cannot be started.
    #[must_use]
    pub fn visitor(&self) -> Visitor {
        Visitor::at(self.past_poolers())
    }

    /// The definitions in it, without our own, as the product's own dump tool writes them, and
    /// without what differs between two equal databases (counters).
    pub fn schema_dump(&self) -> Result<String, ClientError> {
        dump::definitions(self.past_poolers())
    }

    /// The rows of all tables but ours, each as one `INSERT` in a line, sorted.
    pub fn rows_dump(&self) -> Result<Vec<String>, ClientError> {
        dump::rows(self.past_poolers())
    }

    fn past_poolers(&self) -> &str {
        self.direct_url.as_deref().unwrap_or(&self.url)
    }
}

/// A database that is dropped with this value. It derefs to [`Database`].
#[derive(Debug)]
pub struct TestDatabase {
    /// Its URL, with the password.
    pub url: String,
    /// Its name, or file.
    pub name: String,
    database: Database,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// On a server; the maintenance URL drops it.
    Server { maintenance_url: String },
    /// A file; the folder goes with it.
    Folder { folder: tempfile::TempDir },
}

impl std::ops::Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

impl TestDatabase {
    pub(super) fn create(server: &Server, name: &str) -> Result<Self, ServerError> {
        let name = unique(name);
        let maintenance_url = server.direct_url.as_ref().unwrap_or(&server.url).clone();
        let create = match server.product {
            Product::Mysql => format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4"),
            // template0 has no sessions that could be in the way of a copy.
            _ => format!("CREATE DATABASE \"{name}\" TEMPLATE template0"),
        };
        client::run_sql(&maintenance_url, &create)?;
        let url = Address::parse(&server.url)?.of_database(&name).url();
        let direct_url = match &server.direct_url {
            Some(direct) => Some(Address::parse(direct)?.of_database(&name).url()),
            None => None,
        };
        let database = Database { product: server.product, url: url.clone(), direct_url };
        Ok(Self { url, name, database, place: Place::Server { maintenance_url } })
    }

    /// The folder of an SQLite database; `None` elsewhere.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Server { .. } => None,
            Place::Folder { folder } => Some(folder.path().to_owned()),
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Place::Server { maintenance_url } = &self.place else { return };
        let drop = match self.database.product {
            Product::Mysql => format!("DROP DATABASE IF EXISTS `{}`", self.name),
            _ => format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name),
        };
        // A database that stays behind goes with its server.
        let _ = client::run_sql(maintenance_url, &drop);
    }
}

/// A new SQLite database in a folder of its own; the file is made by whoever writes first.
///
/// # Panics
/// If no folder can be made in the temporary folder.
#[must_use]
pub fn sqlite(name: &str) -> TestDatabase {
    let folder = match tempfile::Builder::new().prefix("dunlin-sqlite-").tempdir() {
        Ok(folder) => folder,
        Err(error) => panic!("cannot make a folder for a SQLite database: {error}"),
    };
    let file = folder.path().join(format!("{}.db", plain(name)));
    let url = format!("sqlite://{}", file.display());
    let database = Database { product: Product::Sqlite, url: url.clone(), direct_url: None };
    TestDatabase {
        url,
        name: file.display().to_string(),
        database,
        place: Place::Folder { folder },
    }
}

/// A name that no other test has, also in another process, and that needs no quoting.
fn unique(name: &str) -> String {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(10).collect();
    format!("t_{}_{}", plain(name), random.to_lowercase())
}

fn plain(name: &str) -> String {
    // 40: MySQL and PostgreSQL allow names of 63 or 64 bytes.
    name.chars()
        .take(40)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect()
}
