//! What the ledger keeps of a backfill.

use dunlin_engine::ErrorKind;
use dunlin_model::{
    BackfillRecord, BackfillState, Bound, EntryState, Intent, IntentChange, LedgerEvent, Phase,
    Segment, Wish,
};

use super::super::World;
use super::super::work::{data_version, entry, owner};
use super::super::world::{LONG, granted_on, ledger};
use super::{UnderWay, chunk_of, record_of, resource, segment};

const DOUBLE: &str = "UPDATE posts SET n = n * 2 + 1 WHERE :chunk";

pub(in super::super) async fn a_backfill_is_read_back(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[DOUBLE]).await;
    let record = BackfillRecord {
        round: 3,
        state: BackfillState::Quarantined,
        reason: Some("it's \"waiting\" \\ 鸟".to_owned()),
        row_count_estimate: None,
        rows_before: 1 << 40,
        workers: 4,
        chunk_rows: 5000,
        chunk_ms: 480,
        rows_per_second: 12_345,
        seconds_left: (60, 7200),
        ..record_of(&under_way.work)
    };
    let commits = under_way.lease.commits;
    let entry = entry(data_version(1), EntryState::Running, LedgerEvent::Start);
    under_way
        .target
        .write_backfill(&mut under_way.lease, &record, None, None, Some(&entry))
        .await
        .unwrap();
    assert_eq!(under_way.lease.commits, commits + 1);
    let (stored, segments) = under_way.stored().await;
    assert!(stored.started_at.is_some() && stored.updated_at >= stored.started_at, "{stored:?}");
    let times = (stored.started_at, stored.updated_at);
    assert_eq!(stored, BackfillRecord { started_at: times.0, updated_at: times.1, ..record });
    assert_eq!(segments, [segment(1, Bound::Start, &under_way.hi)], "they stay as they are");
    let view = ledger(&mut under_way.target).await;
    assert_eq!(view.state(data_version(1)), Some(EntryState::Running));
    let all = under_way.target.backfills(None).await.unwrap();
    assert_eq!(all.len(), 1);

    let mut stale = under_way.lease.clone();
    stale.token -= 1;
    let record = record_of(&under_way.work);
    let error =
        under_way.target.write_backfill(&mut stale, &record, None, None, None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
}

pub(in super::super) async fn a_new_pass_begins_anew(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[DOUBLE]).await;
    let mut chunk = under_way.next(5).await;
    chunk.deed = dunlin_engine::Deed::SetAside { error: "it failed".to_owned() };
    under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    assert_eq!(under_way.stored().await.0.quarantined, 5);
    let mut record = record_of(&under_way.work);
    under_way.target.write_backfill(&mut under_way.lease, &record, None, None, None).await.unwrap();
    assert_eq!(under_way.stored().await.0.quarantined, 5, "it is the same pass");

    record.pass = 2;
    under_way.work.pass = 2;
    let segments = [segment(1, Bound::Start, &under_way.hi)];
    under_way
        .target
        .write_backfill(&mut under_way.lease, &record, Some(&segments), None, None)
        .await
        .unwrap();
    let (stored, found) = under_way.stored().await;
    assert_eq!((stored.pass, stored.quarantined), (2, 0));
    assert_eq!(found, segments);
    let table = world.ledger_table("quarantine");
    assert_eq!(world.sql(&format!("SELECT count(*) FROM {table}")).await, "0");

    under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    record.phase = Phase::Undo;
    under_way.target.write_backfill(&mut under_way.lease, &record, None, None, None).await.unwrap();
    let (stored, _) = under_way.stored().await;
    assert_eq!((stored.phase, stored.quarantined), (Phase::Undo, 0));
}

pub(in super::super) async fn a_segment_is_cut_where_it_stands(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[DOUBLE]).await;
    let hi = under_way.hi.clone();
    let first = under_way.key_after(&Bound::Start, 5).await;
    let middle = under_way.key_after(&Bound::Start, 12).await;
    let left = segment(1, Bound::Start, &middle);
    let right = segment(2, Bound::Key(middle.clone()), &hi);
    let mut stale = under_way.lease.clone();
    stale.token -= 1;
    assert!(!under_way.target.cut_segment(&stale, &left, &right).await.unwrap());
    let moved = Segment { upto: Bound::Key(first.clone()), ..left.clone() };
    assert!(!under_way.target.cut_segment(&under_way.lease, &moved, &right).await.unwrap());
    assert_eq!(under_way.stored().await.1, [segment(1, Bound::Start, &hi)], "nothing changed");

    let chunk = under_way.next(5).await;
    under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    assert!(!under_way.target.cut_segment(&under_way.lease, &left, &right).await.unwrap());
    assert!(under_way.target.cut_segment(&under_way.lease, &moved, &right).await.unwrap());
    assert!(!under_way.target.cut_segment(&under_way.lease, &moved, &right).await.unwrap());
    let (_, segments) = under_way.stored().await;
    assert_eq!(segments, [Segment { rows: 5, ..moved }, right]);

    // Who does not know of the cut can't go on; both halves can.
    let from = Bound::Key(first);
    let late = chunk_of(1, &from, &middle, &hi);
    let error =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &late).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
    let halves =
        [chunk_of(1, &from, &middle, &middle), chunk_of(2, &Bound::Key(middle.clone()), &hi, &hi)];
    for chunk in halves {
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    }
    let (_, segments) = under_way.stored().await;
    assert!(segments.iter().all(Segment::is_done), "{segments:?}");
    assert_eq!(world.sql("SELECT sum(n) FROM posts").await, "4220");
}

pub(in super::super) async fn wishes_reach_the_worker(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[DOUBLE]).await;
    let mut person = world.target().await;
    let pause = Intent {
        wish: Wish::Pause,
        by: Some("ann'\"\\".to_owned()),
        workers: Some(4),
        rate: Some(2000),
    };
    assert!(person.wish(&resource(), &pause.clone().into()).await.unwrap());
    let other = dunlin_model::Resource::Data(dunlin_model::Version::new(404).unwrap());
    assert!(!person.wish(&other, &pause.clone().into()).await.unwrap());
    // Each setting by itself, by somebody who knows nothing of the others.
    for change in [
        IntentChange { by: Some("bob".to_owned()), ..IntentChange::default() },
        IntentChange { workers: Some(3), by: Some("bob".to_owned()), ..IntentChange::default() },
        IntentChange { rate: Some(1000), ..IntentChange::default() },
    ] {
        assert!(person.wish(&resource(), &change).await.unwrap());
    }
    let pause = Intent { workers: Some(3), rate: Some(1000), ..pause };
    let chunk = under_way.next(5).await;
    let committed =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    assert_eq!(committed.intent, pause);

    // What is not said stays; a rate of 0 is said.
    let resume = Intent { wish: Wish::Run, by: None, workers: None, rate: Some(0) };
    assert!(person.wish(&resource(), &resume.into()).await.unwrap());
    let record = BackfillRecord {
        state: BackfillState::Paused,
        reason: Some("a person wants it so".to_owned()),
        chunk_ms: 7,
        ..record_of(&under_way.work)
    };
    let intent = under_way.target.report_backfill(&under_way.lease, &record).await.unwrap();
    assert_eq!((intent.wish, intent.workers, intent.rate), (Wish::Run, Some(3), Some(0)));
    let (stored, _) = under_way.stored().await;
    assert_eq!((stored.state, stored.chunk_ms), (BackfillState::Paused, 7));
    assert_eq!(stored.intent.workers, Some(3), "a report leaves wishes alone");

    // Who has lost the lease reports into the void.
    let mut stale = under_way.lease.clone();
    stale.token -= 1;
    let late = BackfillRecord { state: BackfillState::Failed, ..record.clone() };
    let intent = under_way.target.report_backfill(&stale, &late).await.unwrap();
    assert_eq!(intent.workers, Some(3));
    assert_eq!(under_way.stored().await.0.state, BackfillState::Paused);

    // The kill switch that the documentation names.
    let table = world.ledger_table("backfills");
    world.sql(&format!("UPDATE {table} SET intent = 'pause'")).await;
    let intent = under_way.target.report_backfill(&under_way.lease, &record).await.unwrap();
    assert_eq!(intent.wish, Wish::Pause);
    under_way.target.write_backfill(&mut under_way.lease, &record, None, None, None).await.unwrap();
    assert_eq!(under_way.stored().await.0.intent.wish, Wish::Pause, "it is left alone");
    under_way
        .target
        .write_backfill(&mut under_way.lease, &record, None, Some(Wish::Run), None)
        .await
        .unwrap();
    assert_eq!(under_way.stored().await.0.intent.wish, Wish::Run);
}

pub(in super::super) async fn a_ledger_of_format_1_has_no_backfills_and_is_upgraded(world: World) {
    let mut target = world.with_ledger().await;
    let table = |name: &str| world.ledger_table(name);
    world
        .sql(&format!(
            "DROP TABLE {};\nDROP TABLE {};\nDROP TABLE {};\n\
             ALTER TABLE {} DROP COLUMN attempts;\n\
             UPDATE {} SET format = 1, min_reader = 1, min_writer = 1;",
            table("captured"),
            table("quarantine"),
            table("backfills"),
            table("segments"),
            table("meta"),
        ))
        .await;
    assert_eq!(ledger(&mut target).await.format, 1);
    assert!(target.backfills(None).await.unwrap().is_empty());
    assert!(target.quarantine(&resource(), 10).await.unwrap().is_empty());
    let intent = Intent { wish: Wish::Pause, ..Intent::default() };
    assert!(!target.wish(&resource(), &intent.into()).await.unwrap());
    // An image that was rolled back, and one that was not, work side by side.
    let mut lease = granted_on(&mut target, &resource(), &owner(1), LONG).await;
    let running = entry(data_version(1), EntryState::Running, LedgerEvent::Start);
    target.record(&mut lease, &[running]).await.unwrap();

    for _ in 0..2 {
        target.create_ledger("33333333-3333-4333-8333-333333333333").await.unwrap();
        let view = ledger(&mut target).await;
        assert_eq!(view.format, dunlin_model::FORMAT);
        assert_eq!((view.min_reader, view.min_writer), (1, 1));
        assert_eq!(view.id, "11111111-1111-4111-8111-111111111111", "it is the same ledger");
        assert_eq!(view.state(data_version(1)), Some(EntryState::Running));
    }
    super::make_posts(&world).await;
    let work = super::planned(&mut target, "posts", &["id"], &[DOUBLE]).await;
    let hi = target.extent(&work).await.unwrap().hi.unwrap();
    let segments = [segment(1, Bound::Start, &hi)];
    target
        .write_backfill(&mut lease, &record_of(&work), Some(&segments), None, None)
        .await
        .unwrap();
    target.commit_chunk(&lease, &work, &chunk_of(1, &Bound::Start, &hi, &hi)).await.unwrap();
    assert_eq!(world.sql("SELECT sum(n) FROM posts").await, "4220");
}

pub(in super::super) async fn no_ledger_has_no_backfills(world: World) {
    let mut target = world.target().await;
    assert!(target.backfills(None).await.unwrap().is_empty());
    assert!(target.backfills(Some(&resource())).await.unwrap().is_empty());
    assert!(target.quarantine(&resource(), 10).await.unwrap().is_empty());
    assert!(!target.wish(&resource(), &IntentChange::default()).await.unwrap());
    assert_eq!(world.tables().await, "");
}
