//! Leases beside writers that hold the only right to write.

use std::time::Duration;

use dunlin_engine::{Claim, Connector, ErrorKind, Purpose};
use dunlin_model::Resource;
use dunlin_testkit::conformance::{data_work, owner};

use super::{LONG, Scratch, granted, ledger};

#[tokio::test]
async fn keeping_a_lease_does_not_wait_for_a_long_write() {
    let scratch = Scratch::new();
    let mut target = scratch.with_ledger().await;
    let lease = granted(&mut target, 1).await;
    let mut keeper = scratch.connector().connect(Purpose::Lease).await.unwrap();
    let writer = scratch.raw();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(keeper.keep(&lease, LONG).await.unwrap());
    writer.execute_batch("ROLLBACK").unwrap();
    assert!(keeper.keep(&lease, LONG).await.unwrap());
}

#[tokio::test]
async fn a_commit_extends_the_lease_that_could_not_be_kept_meanwhile() {
    let scratch = Scratch::new();
    let connector = scratch.connector();
    let mut target = connector.connect(Purpose::Run).await.unwrap();
    target.create_ledger(super::LEDGER).await.unwrap();
    let claim = target.claim(&Resource::Schema, &owner(1), LONG, None).await.unwrap();
    let Claim::Granted(mut lease) = claim else { panic!("{claim:?}") };
    scratch.sql("UPDATE dunlin_leases SET expires_at = 1");
    assert!(ledger(&mut target).await.leases[0].remaining_ms < 0);
    target.commit(&mut lease, &data_work(1, &["CREATE TABLE t (a)"])).await.unwrap();
    assert!(ledger(&mut target).await.leases[0].remaining_ms > 500_000);
}

#[tokio::test]
async fn an_expired_holder_that_still_writes_is_held_not_failed() {
    let scratch = Scratch::new();
    let mut first = scratch.with_ledger().await;
    granted(&mut first, 1).await;
    scratch.sql("UPDATE dunlin_leases SET expires_at = 1");
    let writer = scratch.raw();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut second =
        scratch.waiting(Duration::from_millis(20)).connect(Purpose::Run).await.unwrap();
    let claim = second.claim(&Resource::Schema, &owner(2), LONG, None).await.unwrap();
    assert!(matches!(claim, Claim::Held(_)), "{claim:?}");
    // A lease that nobody has cannot be claimed either, but nobody is named for it.
    let free = Resource::Data(dunlin_testkit::conformance::data_version(1).version);
    let error = second.claim(&free, &owner(2), LONG, None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::LockTimeout);
    writer.execute_batch("ROLLBACK").unwrap();
    let claim = second.claim(&Resource::Schema, &owner(2), LONG, None).await.unwrap();
    assert!(matches!(claim, Claim::Granted(_)), "{claim:?}");
}

#[tokio::test]
async fn waiting_for_a_held_lease_takes_no_lock() {
    let scratch = Scratch::new();
    let mut first = scratch.with_ledger().await;
    granted(&mut first, 1).await;
    let writer = scratch.raw();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut second = scratch.waiting(Duration::ZERO).connect(Purpose::Run).await.unwrap();
    let claim = second.claim(&Resource::Schema, &owner(2), LONG, None).await.unwrap();
    assert!(matches!(claim, Claim::Held(_)), "{claim:?}");
}
