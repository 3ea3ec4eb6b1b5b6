//! The driver through its port, on real files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how a child tells its parent")]

mod chunks;
mod commit;
mod crash;
mod lease;
mod look;
#[cfg(feature = "move")]
mod moves;
mod place;
mod rights;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dunlin_engine::{Claim, Connector, Purpose, ReadRequest, Target};
use dunlin_model::{Lease, LedgerView, Resource};
use dunlin_sqlite::SqliteConnector;
use dunlin_testkit::conformance;
use dunlin_testkit::servers::Product;
use tempfile::TempDir;

/// The suite that every driver passes.
#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    conformance::run(Product::Sqlite, |database| {
        let wait = Duration::from_secs(20);
        Arc::new(SqliteConnector::new(&database.url, Path::new("/"), wait).unwrap())
    })
    .await;
}

const LEDGER: &str = "11111111-1111-4111-8111-111111111111";
const LONG: Duration = Duration::from_secs(600);

/// A folder with a database in it.
struct Scratch {
    folder: TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    fn connector(&self) -> SqliteConnector {
        self.waiting(Duration::from_secs(20))
    }

    fn waiting(&self, busy_timeout: Duration) -> SqliteConnector {
        SqliteConnector::new("sqlite://app.db", self.folder.path(), busy_timeout).unwrap()
    }

    async fn target(&self) -> Box<dyn Target> {
        self.connector().connect(Purpose::Run).await.unwrap()
    }

    /// A connection to a database with a ledger.
    async fn with_ledger(&self) -> Box<dyn Target> {
        let mut target = self.target().await;
        target.create_ledger(LEDGER).await.unwrap();
        target
    }

    /// Another connection, as an application's.
    fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }

    fn sql(&self, sql: &str) {
        self.raw().execute_batch(sql).unwrap();
    }

    fn number(&self, sql: &str) -> i64 {
        self.raw().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Every file in the folder with its bytes' length.
    fn files(&self) -> Vec<(String, u64)> {
        files(self.folder.path())
    }
}

fn files(folder: &Path) -> Vec<(String, u64)> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().to_string_lossy().into_owned(), entry.metadata().unwrap().len())
        })
        .collect();
    found.sort();
    found
}

async fn granted(target: &mut Box<dyn Target>, number: u32) -> Lease {
    let owner = conformance::owner(number);
    match target.claim(&Resource::Schema, &owner, LONG, None).await.unwrap() {
        Claim::Granted(lease) => lease,
        Claim::Held(holder) => panic!("the lease is held: {holder:?}"),
    }
}

async fn ledger(target: &mut Box<dyn Target>) -> LedgerView {
    target.read(&ReadRequest { ledger: true, foreign: None }).await.unwrap().ledger
}
