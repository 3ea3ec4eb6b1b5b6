//! Waiting for locks, bounded, and saying who is in the way.

use std::time::Duration;

use dunlin_engine::ErrorKind;
use dunlin_testkit::conformance::data_work;

use crate::world::{World, claimed, outside, work};

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_timeout_names_the_blocker_without_its_values() {
    let world = World::new("locks_named").await;
    world.sql("CREATE TABLE posts (title text)").await;
    let blocker = world.bystander().await;
    blocker
        .batch_execute(
            "SET application_name = 'rails console'; BEGIN; \
             UPDATE posts SET title = 'secret' WHERE title = $$secret$$",
        )
        .await
        .expect("a transaction");
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    let before = lease.clone();
    let mut alter = data_work(1, &["ALTER TABLE posts ADD COLUMN n integer"]);
    alter.lock_timeout = Duration::from_secs(3);
    let error = target.commit(&mut lease, &alter).await.expect_err("it is locked");
    assert_eq!((error.kind, error.statement), (ErrorKind::LockTimeout, Some(0)));
    let notes = error.notes.join("\n");
    for part in
        ["blocked by pid ", " on posts", "application rails console", "since ", "UPDATE posts"]
    {
        assert!(notes.contains(part), "{part} is not in {notes}");
    }
    assert!(!notes.contains("secret"), "{notes}");
    assert_eq!(lease, before);
    blocker.batch_execute("ROLLBACK").await.expect("the end of it");
    target.commit(&mut lease, &alter).await.expect("now it can");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_outside_transactions_waits_no_longer_than_it_may() {
    let world = World::new("locks_step").await;
    world.sql("CREATE TABLE t (a integer)").await;
    let blocker = world.bystander().await;
    blocker.batch_execute("BEGIN; LOCK TABLE t IN EXCLUSIVE MODE").await.expect("a lock");
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    let build = outside("CREATE INDEX", "CREATE INDEX CONCURRENTLY i ON t (a)", "t");
    let mut work = work(1, vec![build]);
    work.lock_timeout = Duration::from_secs(2);
    target.open_step(&mut lease, &work, 0, None).await.expect("journal");
    let error = target.send_step(&lease, &work, 0).await.expect_err("it is locked");
    assert_eq!((error.kind, error.statement), (ErrorKind::LockTimeout, Some(0)), "{error:?}");
    assert!(error.notes.iter().any(|note| note.contains("blocked by pid")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_can_be_tried_again() {
    let world = World::new("locks_deadlock").await;
    world.sql("CREATE TABLE a (n integer); CREATE TABLE b (n integer)").await;
    let other = world.bystander().await;
    other.batch_execute("SET deadlock_timeout = '1h'; BEGIN; LOCK TABLE b").await.expect("a lock");
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    let mut deadly = data_work(1, &["LOCK TABLE a", "LOCK TABLE b"]);
    deadly.lock_timeout = Duration::from_secs(60);
    let (ours, ()) = tokio::join!(target.commit(&mut lease, &deadly), async {
        world
            .until(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'b'::regclass",
                "1",
            )
            .await;
        // It waits for us and we for it; the server ends us, whose patience is shorter.
        other.batch_execute("LOCK TABLE a; COMMIT").await.expect("its locks");
    });
    assert_eq!(ours.expect_err("a deadlock").kind, ErrorKind::Conflict);
    target.commit(&mut lease, &deadly).await.expect("now it can");
}
