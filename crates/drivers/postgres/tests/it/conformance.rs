//! The suite that every driver passes, directly and through pgbouncer in transaction mode.

use std::sync::Arc;
use std::time::Duration;

use dunlin_engine::Connector;
use dunlin_postgres::PostgresConnector;
use dunlin_testkit::conformance;
use dunlin_testkit::servers::{Database, Product};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

fn connector(database: &Database) -> Arc<dyn Connector> {
    let made = PostgresConnector::new(&database.url, None, CONNECT_TIMEOUT);
    Arc::new(made.expect("a URL of the test servers"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn directly() {
    conformance::run(Product::Postgres, connector).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn through_pgbouncer() {
    conformance::run(Product::Pgbouncer, connector).await;
}
