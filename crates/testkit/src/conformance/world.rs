//! What a case works with: a database, ways to it, and a second pair of eyes.

use std::sync::Arc;
use std::time::Duration;

use dunlin_engine::{Claim, Connector, Purpose, ReadRequest, Target};
use dunlin_model::{Lease, LedgerView, Owner, Resource};

use super::Maker;
use crate::servers::{self, Database, Product, TestDatabase};

/// Longer than any case takes.
pub(super) const LONG: Duration = Duration::from_secs(600);
/// Over before anybody can ask.
pub(super) const SHORT: Duration = Duration::from_millis(1);

/// One database, and how to get at it.
pub struct World {
    /// Which product it is on.
    pub product: Product,
    /// `None` only while it is dropped.
    database: Option<Arc<TestDatabase>>,
    make: Arc<Maker>,
}

impl Drop for World {
    fn drop(&mut self) {
        // Dropping a database takes a checkpoint, seconds on a busy disk. On a thread of the
        // runtime's the other cases' proxies would stand still for as long.
        let database = self.database.take();
        drop(tokio::task::spawn_blocking(move || drop(database)));
    }
}

impl World {
    pub(super) async fn new(product: Product, case: &'static str, make: Arc<Maker>) -> Self {
        let database = blocking(move || match product {
            Product::Postgres => servers::postgres().database(case),
            Product::Pgbouncer => servers::pgbouncer().database(case),
            Product::Mysql => servers::mysql().database(case),
            Product::Sqlite => servers::sqlite(case),
        })
        .await;
        Self { product, database: Some(Arc::new(database)), make }
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &TestDatabase {
        self.shared()
    }

    fn shared(&self) -> &Arc<TestDatabase> {
        self.database.as_ref().unwrap()
    }

    /// A connector to it.
    #[must_use]
    pub fn connector(&self) -> Arc<dyn Connector> {
        (self.make)(self.database())
    }

    /// A connector to another URL of the same product (a proxy's, another database's).
    pub(super) fn connector_to(&self, url: String) -> Arc<dyn Connector> {
        let direct_url = self.database().direct_url.as_ref().map(|_| url.clone());
        (self.make)(&Database { product: self.product, url, direct_url })
    }

    /// A connection for running.
    pub async fn target(&self) -> Box<dyn Target> {
        self.connector().connect(Purpose::Run).await.unwrap()
    }

    /// A connection for running, to a database with a ledger.
    pub async fn with_ledger(&self) -> Box<dyn Target> {
        let mut target = self.target().await;
        target.create_ledger("11111111-1111-4111-8111-111111111111").await.unwrap();
        target
    }

    /// What SQL answers through the product's own client.
    pub async fn sql(&self, sql: &str) -> String {
        let (database, sql) = (Arc::clone(self.shared()), sql.to_owned());
        blocking(move || database.sql(&sql).unwrap()).await.trim_end().to_owned()
    }

    /// A table of the ledger, qualified as the product has it.
    #[must_use]
    pub fn ledger_table(&self, name: &str) -> String {
        match self.product {
            Product::Postgres | Product::Pgbouncer => format!("dunlin.{name}"),
            Product::Mysql | Product::Sqlite => format!("dunlin_{name}"),
        }
    }

    /// Every table and view in it, ours too, by name.
    pub(super) async fn tables(&self) -> String {
        self.sql(match self.product {
            Product::Postgres | Product::Pgbouncer => {
                "SELECT table_schema, table_name FROM information_schema.tables \
                 WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
            }
            Product::Mysql => {
                "SELECT table_name FROM information_schema.tables \
                 WHERE table_schema = DATABASE() ORDER BY 1"
            }
            Product::Sqlite => "SELECT name FROM sqlite_master ORDER BY 1",
        })
        .await
    }

    /// A statement that is at work until it is ended; its text can be found by `mark`.
    pub(super) fn endless(&self, mark: &str) -> String {
        match self.product {
            Product::Postgres | Product::Pgbouncer => format!("SELECT pg_sleep(900) /* {mark} */"),
            Product::Mysql => format!("SELECT SLEEP(900) /* {mark} */"),
            Product::Sqlite => format!(
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1e15) \
                 SELECT count(*) FROM c /* {mark} */"
            ),
        }
    }

    /// Waits until a statement with that mark is at work in this database: the same case may run on
    /// the same server at the same time, through a pooler.
    pub(super) async fn until_at_work(&self, mark: &str) {
        let query = match self.product {
            Product::Mysql => format!(
                "SELECT count(*) FROM information_schema.processlist \
                 WHERE db = DATABASE() AND info LIKE '%{mark}%' AND id <> CONNECTION_ID()"
            ),
            _ => format!(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND query LIKE '%{mark}%' AND state = 'active' AND pid <> pg_backend_pid()"
            ),
        };
        while self.sql(&query).await == "0" {}
    }

    /// Waits until somebody sleeps in this database, on the server. Of a message with many
    /// statements PostgreSQL shows only the beginning, and shows it before it has come to the last.
    pub(super) async fn until_asleep(&self) {
        let query = match self.product {
            Product::Mysql => {
                "SELECT count(*) FROM information_schema.processlist \
                 WHERE db = DATABASE() AND state = 'User sleep'"
            }
            _ => {
                "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event = 'PgSleep'"
            }
        };
        while self.sql(query).await == "0" {}
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Claims a lease that must be free to have.
pub(super) async fn granted(target: &mut Box<dyn Target>, owner: &Owner, ttl: Duration) -> Lease {
    granted_on(target, &Resource::Schema, owner, ttl).await
}

/// Claims a lease on a resource that must be free to have.
pub(super) async fn granted_on(
    target: &mut Box<dyn Target>,
    resource: &Resource,
    owner: &Owner,
    ttl: Duration,
) -> Lease {
    match target.claim(resource, owner, ttl, None).await.unwrap() {
        Claim::Granted(lease) => lease,
        Claim::Held(holder) => panic!("the lease is held: {holder:?}"),
    }
}

/// Claims a lease as soon as it has expired.
pub(super) async fn granted_after_expiry(
    target: &mut Box<dyn Target>,
    owner: &Owner,
    ttl: Duration,
) -> Lease {
    loop {
        match target.claim(&Resource::Schema, owner, ttl, None).await.unwrap() {
            Claim::Granted(lease) => return lease,
            Claim::Held(holder) => {
                assert!(holder.remaining_ms <= 1_000, "it was claimed for 1 ms: {holder:?}");
            }
        }
    }
}

/// The ledger as a new reader sees it.
pub(super) async fn ledger(target: &mut Box<dyn Target>) -> LedgerView {
    target.read(&ReadRequest { ledger: true, foreign: None }).await.unwrap().ledger
}
