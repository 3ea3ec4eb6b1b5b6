//! Backfills as the ledger keeps them.

use dunlin_model::{Bound, FORMAT, Intent, IntentChange, Wish};

use super::{begun, number, numbers, planned, resource, segment};
use crate::support::{LEDGER_ID, World, view};

#[tokio::test]
async fn a_backfill_reads_back_and_takes_wishes() {
    let (_world, mut target) = numbers("record", 10).await;
    assert!(target.backfills(None).await.expect("none").is_empty());
    let wish =
        Intent { wish: Wish::Pause, by: Some("ann".to_owned()), workers: Some(4), rate: None };
    assert!(!target.wish(&resource(), &wish.clone().into()).await.expect("no backfill"));
    let work = planned(&mut target, Vec::new()).await;
    let lease = begun(&mut target, &work, number(100)).await;
    assert!(target.wish(&resource(), &wish.clone().into()).await.expect("wished"));
    let said = target.report_backfill(&lease, &super::record(&work)).await.expect("said");
    assert_eq!(said, wish);
    let more = Intent { wish: Wish::Run, by: None, workers: None, rate: Some(9) };
    assert!(target.wish(&resource(), &more.into()).await.expect("wished"));
    let (read, segments) = target.backfills(Some(&resource())).await.expect("read").remove(0);
    assert_eq!((read.intent.workers, read.intent.rate), (Some(4), Some(9)));
    let mut expected = super::record(&work);
    expected.intent = read.intent.clone();
    (expected.started_at, expected.updated_at) = (read.started_at, read.updated_at);
    assert_eq!(read, expected);
    assert!(read.started_at.is_some());
    assert_eq!(segments.len(), 1);

    let whole = &segments[0];
    let mut left = whole.clone();
    left.hi = Bound::Key(number(50));
    let right = segment(2, left.hi.clone(), whole.hi.clone());
    assert!(target.cut_segment(&lease, &left, &right).await.expect("cut"));
    assert!(!target.cut_segment(&lease, &left, &right).await.expect("stands elsewhere"));
    let (_, segments) = target.backfills(None).await.expect("read").remove(0);
    assert_eq!(segments, [left, right]);
}

#[tokio::test]
async fn a_ledger_of_the_first_format_is_brought_up() {
    let world = World::new("upgrade").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    for statement in [
        "DROP TABLE dunlin_backfills, dunlin_quarantine, dunlin_captured",
        "ALTER TABLE dunlin_segments DROP COLUMN attempts, MODIFY lo VARBINARY(3072) NULL, \
         MODIFY upto VARBINARY(3072) NOT NULL, MODIFY hi VARBINARY(3072) NOT NULL",
        "UPDATE dunlin_meta SET format = 1",
    ] {
        eyes.run(statement).await;
    }
    assert!(target.backfills(None).await.expect("none").is_empty());
    assert!(!target.wish(&resource(), &IntentChange::default()).await.expect("none"));
    assert!(target.quarantine(&resource(), 5).await.expect("none").is_empty());
    assert_eq!(target.forget_captured(5).await.expect("none"), 0);
    let lease = super::data_lease(&mut target, 1).await;
    target.release(&lease).await.expect("released");
    let upgrades = (0..8).map(|_| {
        let connector = world.connector();
        async move {
            use dunlin_engine::{Connector as _, Purpose};
            let mut target = connector.connect(Purpose::Run).await.expect("connected");
            target.create_ledger(LEDGER_ID).await.expect("upgraded");
        }
    });
    crate::support::all(upgrades).await;
    assert_eq!(view(&mut target).await.format, FORMAT);
    super::data_lease(&mut target, 1).await;
    let wide = "SELECT GROUP_CONCAT(character_maximum_length) FROM information_schema.columns \
                WHERE table_schema = DATABASE() AND table_name = 'dunlin_segments' \
                AND column_name IN ('lo', 'upto', 'hi')";
    assert_eq!(eyes.one(wide).await, "8192,8192,8192");
}
