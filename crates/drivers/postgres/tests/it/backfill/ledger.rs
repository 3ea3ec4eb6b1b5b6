//! Backfills in the ledger, and ledgers from before there were any.

use dunlin_model::{BackfillState, Bound, Intent, IntentChange, Wish};

use super::plan::{key, planned, record, resource, segment, started};
use crate::world::World;

const ID: &str = "11111111-1111-4111-8111-111111111111";

#[tokio::test(flavor = "multi_thread")]
async fn an_older_ledger_has_none_and_is_brought_up() {
    let world = World::new("backfill_upgrade").await;
    let mut target = world.target().await;
    assert_eq!(target.backfills(None).await, Ok(Vec::new()));
    assert_eq!(target.quarantine(&resource(), 5).await, Ok(Vec::new()));
    assert_eq!(target.wish(&resource(), &IntentChange::default()).await, Ok(false));
    target.create_ledger(ID).await.expect("a ledger");
    world
        .sql(
            "DROP TABLE dunlin.backfills, dunlin.quarantine, dunlin.captured; \
             ALTER TABLE dunlin.segments DROP COLUMN attempts; UPDATE dunlin.meta SET format = 1",
        )
        .await;
    assert_eq!(target.backfills(Some(&resource())).await, Ok(Vec::new()));
    assert_eq!(target.wish(&resource(), &IntentChange::default()).await, Ok(false));
    assert_eq!(target.forget_captured(5).await, Ok(0));
    super::plan::claimed(&mut target, 1).await;
    let (mut a, mut b) = (world.target().await, world.target().await);
    let (first, second) = tokio::join!(a.create_ledger(ID), b.create_ledger(ID));
    first.and(second).expect("both do it");
    let meta = "SELECT format, min_reader, min_writer FROM dunlin.meta";
    assert_eq!(world.sql(meta).await, "3|1|1");
    super::plan::claimed(&mut target, 2).await;
    // One of the format before has no place for new values.
    world
        .sql(
            "ALTER TABLE dunlin.captured DROP COLUMN new_values; \
             CREATE INDEX captured_key ON dunlin.captured USING hash (key); \
             UPDATE dunlin.meta SET format = 2",
        )
        .await;
    target.create_ledger(ID).await.expect("brought up");
    let there = "SELECT (SELECT format FROM dunlin.meta), EXISTS (SELECT FROM pg_attribute WHERE \
         attrelid = 'dunlin.captured'::regclass AND attname = 'new_values'), \
         to_regclass('dunlin.captured_key') IS NULL";
    assert_eq!(world.sql(there).await, "3|t|t");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_back_and_wishes_stay() {
    let world = World::new("backfill_ledger").await;
    world
        .sql("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9)")
        .await;
    let mut target = world.with_ledger().await;
    let work = planned(&mut target, "t", None, &["DELETE FROM t WHERE :chunk"]).await;
    let (mut lease, whole) = started(&mut target, &work).await;
    let wish = Intent { wish: Wish::Pause, by: Some("ann".into()), workers: Some(3), rate: None };
    assert_eq!(target.wish(&resource(), &wish.clone().into()).await, Ok(true));
    let mut said = record(&work);
    said.state = BackfillState::Paused;
    said.reason = Some("it's a wish".into());
    assert_eq!(target.report_backfill(&lease, &said).await, Ok(wish.clone()));
    target.write_backfill(&mut lease, &said, None, None, None).await.expect("a row");
    let (read, segments) = target.backfills(None).await.expect("a ledger").remove(0);
    assert_eq!(read.intent, wish);
    assert!(read.started_at.is_some() && read.updated_at >= read.started_at);
    let plain = |mut r: dunlin_model::BackfillRecord| {
        (r.intent, r.started_at, r.updated_at) = (Intent::default(), None, None);
        r
    };
    assert_eq!(plain(read), plain(said.clone()));
    assert_eq!(segments, std::slice::from_ref(&whole));
    // By hand, and whatever was written.
    world.sql("UPDATE dunlin.backfills SET intent = 'hold on', intent_workers = -1").await;
    let intent = target.report_backfill(&lease, &said).await.expect("an intent");
    assert_eq!((intent.wish, intent.workers), (Wish::Pause, None));

    let mut left = whole.clone();
    left.hi = Bound::Key(key(&["4"]));
    let right = segment(2, left.hi.clone(), whole.hi.clone());
    assert_eq!(target.cut_segment(&lease, &left, &right).await, Ok(true));
    assert_eq!(target.cut_segment(&lease, &left, &right).await, Ok(false));
    let (_, segments) = target.backfills(None).await.expect("a ledger").remove(0);
    assert_eq!(segments, [left, right]);
    let mut old = lease.clone();
    old.token -= 1;
    said.state = BackfillState::Failed;
    target.report_backfill(&old, &said).await.expect("no error");
    assert_eq!(world.sql("SELECT state FROM dunlin.backfills").await, "paused");
}
