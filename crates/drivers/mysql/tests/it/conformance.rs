//! What every driver must do.

use std::sync::Arc;
use std::time::Duration;

use dunlin_mysql::MysqlConnector;
use dunlin_testkit::conformance;
use dunlin_testkit::servers::{Database, Product};

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_conforms() {
    conformance::run(Product::Mysql, |database: &Database| {
        let direct_url = database.direct_url.as_deref();
        let connector =
            MysqlConnector::new(&database.url, direct_url, &[], Duration::from_secs(10));
        Arc::new(connector.expect("a URL of the suite's"))
    })
    .await;
}
