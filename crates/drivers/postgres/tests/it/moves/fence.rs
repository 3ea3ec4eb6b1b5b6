//! The transaction: its fence, its store, and deaths in the middle.

use std::sync::Arc;

use arrow::array::Int32Array;
use arrow::record_batch::RecordBatch;
use dunlin_engine::ErrorKind;
use dunlin_engine::moves::{MoveConnector, MoveTarget, Stored, Written, arrow_schema};
use dunlin_model::Lease;

use super::{begun, claimed, relation, written};
use crate::world::{LONG, World};

const TABLE: &str = "CREATE TABLE t (id integer PRIMARY KEY)";

fn rows(into: &Written, ids: &[i32]) -> RecordBatch {
    let schema = Arc::new(arrow_schema(&into.fields, true));
    RecordBatch::try_new(schema, vec![Arc::new(Int32Array::from(ids.to_vec()))]).expect("a batch")
}

fn entry(area: &str, number: i64, value: Option<&[u8]>) -> Stored {
    Stored { area: area.to_owned(), number, value: value.map(<[u8]>::to_vec) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_writes_nothing() {
    let world = World::new("moves_fence").await;
    world.sql(TABLE).await;
    let mut ledger = world.with_ledger().await;
    let mut old = claimed(&mut ledger, 1).await;
    let new = claimed(&mut ledger, 2).await;
    assert!(new.token > old.token);
    let mut target = world.connector.move_target().await.expect("a connection");
    target.create_store().await.expect("a store");
    let error = target.begin(&old, LONG).await.expect_err("it is lost");
    assert_eq!(error.kind, ErrorKind::Fenced);
    let error = target.put("queue", &[entry("state", 1, Some(b"x"))]).await.expect_err("no place");
    assert_eq!(error.kind, ErrorKind::Bug);
    // A commit count that is behind is no licence either.
    let mut behind = new.clone();
    target.begin(&new, LONG).await.expect("a transaction");
    let mut next = new.clone();
    target.commit(&mut next).await.expect("a commit");
    assert_eq!(next.commits, new.commits + 1);
    behind.commits = new.commits;
    let error = target.begin(&behind, LONG).await.expect_err("somebody else was at work");
    assert_eq!(error.kind, ErrorKind::Fenced);
    old.token = new.token;
    assert_eq!(world.sql("SELECT count(*) FROM dunlin.moves_store").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_store_commit_together_through_a_pooler() {
    let world = World::behind_pgbouncer("moves_store").await;
    world.sql(TABLE).await;
    let (mut target, mut lease) = begun(&world).await;
    let catalogue = target.catalogue().await.expect("a catalogue");
    let into = written(&relation(&catalogue, "t"));
    target.load(&into, &rows(&into, &[1, 2])).await.expect("COPY");
    let large = vec![7; 3_000_000];
    let entries = [
        entry("pack/t", 5, Some(b"gone")),
        entry("pack/t", 5, None),
        entry("pack/t", -1, Some(b"")),
        entry("pack/t", 1, Some(&large)),
        entry("pack/t", 2, Some(&large)),
        entry("pack/t", 3, Some(&large)),
        entry("state", 0, Some(b"old")),
        entry("state", 0, Some(b"new")),
    ];
    target.put("queue", &entries).await.expect("entries");
    target.commit(&mut lease).await.expect("a commit");
    let numbers = |found: &[Stored]| found.iter().map(|entry| entry.number).collect::<Vec<_>>();
    let found = target.stored("queue", "pack/t", i64::MIN, 3).await.expect("entries");
    assert_eq!(numbers(&found), [-1, 1, 2]);
    assert_eq!(found[1].value.as_deref(), Some(large.as_slice()));
    assert_eq!(numbers(&target.stored("queue", "pack/t", 3, 9).await.expect("entries")), [3]);
    let state = target.stored("queue", "state", 0, 9).await.expect("entries");
    assert_eq!(state[0].value.as_deref(), Some(b"new".as_slice()));
    assert!(target.stored("other", "state", 0, 9).await.expect("entries").is_empty());

    target.begin(&lease, LONG).await.expect("a transaction");
    target.load(&into, &rows(&into, &[3])).await.expect("COPY");
    target.put("queue", &[entry("state", 0, None)]).await.expect("entries");
    assert!(target.stored("queue", "state", 0, 9).await.expect("entries").is_empty());
    target.rollback().await.expect("a rollback");
    assert_eq!(target.stored("queue", "state", 0, 9).await.expect("entries").len(), 1);
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "2");
    let left =
        "SELECT current_setting('session_replication_role') || current_setting('row_security')";
    assert_eq!(world.sql(left).await, "originon");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_created_once_however_many_try() {
    let world = World::new("moves_race").await;
    drop(world.with_ledger().await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let connector = Arc::clone(&world.connector);
        tasks.spawn(async move {
            connector.move_target().await.expect("a connection").create_store().await
        });
    }
    for done in tasks.join_all().await {
        done.expect("a store");
    }
    let storage = "SELECT attstorage FROM pg_attribute WHERE attname = 'value' \
                   AND attrelid = 'dunlin.moves_store'::regclass";
    assert_eq!(world.sql(storage).await, "e");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_dies_in_the_middle_is_lost_and_leaves_nothing() {
    let world = World::new("moves_killed").await;
    world.sql(TABLE).await;
    let (mut target, lease) = begun(&world).await;
    let catalogue = target.catalogue().await.expect("a catalogue");
    let into = written(&relation(&catalogue, "t"));
    target.load(&into, &rows(&into, &[1])).await.expect("COPY");
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE application_name LIKE 'dunlin/move/%' AND datname = current_database()";
    assert_eq!(world.sql(kill).await, "1");
    let error = target.load(&into, &rows(&into, &[2])).await.expect_err("it is gone");
    assert_eq!(error.kind, ErrorKind::Lost, "{error:?}");
    let mut next = world.connector.move_target().await.expect("a connection");
    let mut lease = lease;
    next.begin(&lease, LONG).await.expect("the same lease, since nothing was committed");
    next.load(&into, &rows(&into, &[1, 2])).await.expect("COPY");
    next.commit(&mut lease).await.expect("a commit");
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_waited_for_no_longer_than_said() {
    let world = World::new("moves_locked").await;
    world.sql(TABLE).await;
    world.sql("INSERT INTO t VALUES (1)").await;
    let (mut target, lease) = begun(&world).await;
    target.rollback().await.expect("a rollback");
    let into = written(&relation(&target.catalogue().await.expect("a catalogue"), "t"));
    let other = world.bystander().await;
    other.batch_execute("BEGIN; SELECT FROM t WHERE id = 1 FOR UPDATE").await.expect("a lock");
    target.begin(&lease, std::time::Duration::from_millis(200)).await.expect("a transaction");
    let error = target.fetch(&into, &rows(&into, &[1]), true).await.expect_err("it is locked");
    assert_eq!(error.kind, ErrorKind::LockTimeout, "{error:?}");
    other.batch_execute("ROLLBACK").await.expect("the end of it");
    target.begin(&lease, LONG).await.expect("a transaction");
    assert_eq!(
        target.fetch(&into, &rows(&into, &[1, 9, 1]), true).await.expect("rows").rows.num_rows(),
        1
    );
}

/// Another connection that writes under a lease.
async fn lane(world: &World, lease: &Lease, number: u32) -> (Box<dyn MoveTarget>, Lease) {
    let mut target = world.connector.move_target().await.expect("a connection");
    let lane = target.lane(lease, number).await.expect("a fence");
    (target, lane.expect("there can be several"))
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_commit_side_by_side_and_are_lost_with_the_lease() {
    let world = World::new("moves_lanes").await;
    world.sql(TABLE).await;
    let mut ledger = world.with_ledger().await;
    let lease = claimed(&mut ledger, 1).await;
    let (mut one, mut first) = lane(&world, &lease, 1).await;
    let (mut two, mut second) = lane(&world, &lease, 2).await;
    let into = written(&relation(&one.catalogue().await.expect("a catalogue"), "t"));
    one.begin(&first, LONG).await.expect("a transaction");
    two.begin(&second, LONG).await.expect("another one beside it");
    one.load(&into, &rows(&into, &[1])).await.expect("COPY");
    two.load(&into, &rows(&into, &[2])).await.expect("COPY");
    two.commit(&mut second).await.expect("a commit");
    one.commit(&mut first).await.expect("a commit");
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "2");
    // The lease's own fence is none of theirs.
    one.begin(&lease, LONG).await.expect("a transaction");
    one.rollback().await.expect("a rollback");
    // A later run takes the fence up where it stands.
    let (mut again, third) = lane(&world, &lease, 1).await;
    assert_eq!(third.commits, first.commits);
    again.begin(&third, LONG).await.expect("a transaction");
    again.rollback().await.expect("a rollback");

    let new = claimed(&mut ledger, 2).await;
    for (target, lane) in [(&mut one, &first), (&mut two, &second)] {
        let error = target.begin(lane, LONG).await.expect_err("it went with the lease");
        assert_eq!(error.kind, ErrorKind::Fenced);
    }
    for number in [1, 3] {
        let error = one.lane(&lease, number).await.expect_err("the lease is lost");
        assert_eq!(error.kind, ErrorKind::Fenced);
    }
    assert_eq!(lane(&world, &new, 1).await.1.commits, first.commits);
}
