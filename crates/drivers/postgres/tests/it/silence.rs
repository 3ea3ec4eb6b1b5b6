//! Sockets that are open and through which nothing passes.

use std::time::Duration;

use dunlin_engine::{Connector, ErrorKind, Purpose};
use dunlin_postgres::PostgresConnector;
use dunlin_testkit::conformance::data_work;
use dunlin_testkit::proxy::{Proxy, Weather};

use crate::world::{World, claimed};

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_answer_cannot_come_is_given_up() {
    let world = World::new("silence_statement").await;
    drop(world.with_ledger().await);
    let proxy = Proxy::in_front_of(world.url()).await.expect("a proxy");
    let url = proxy.through(world.url());
    let connector = PostgresConnector::new(&url, None, Duration::from_secs(2)).expect("a URL");
    let mut target = connector.connect(Purpose::Run).await.expect("a connection");
    let mut lease = claimed(&mut target, 1).await;
    let slow = data_work(1, &["CREATE TABLE t (n integer)", "SELECT pg_sleep(1)"]);
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1)%' \
         AND pid <> pg_backend_pid() AND datname = current_database()";
    let (outcome, ()) = tokio::join!(target.commit(&mut lease, &slow), async {
        world.until(asleep, "1").await;
        proxy.weather(Weather { blackhole: true, ..Weather::default() });
    });
    assert_eq!(outcome.expect_err("no answer").kind, ErrorKind::Lost);
    drop(target);
    // Another runner is not held up by what is left of it.
    let mut next = world.target().await;
    let mut lease = claimed(&mut next, 2).await;
    next.commit(&mut lease, &slow).await.expect("another runner does it");
}
