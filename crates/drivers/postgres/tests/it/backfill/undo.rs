//! Old values are kept and put back.

use dunlin_engine::UndoSlice;
use dunlin_model::Bound;

use super::plan::{capturing, chunk, key, planned, record, segment, started};
use crate::world::World;

const TABLE: &str = "CREATE TABLE t (id integer PRIMARY KEY, v text, w timestamptz, b bytea, \
     g integer GENERATED ALWAYS AS (id * 2) STORED); INSERT INTO t (id, v, w, b) SELECT g, \
     CASE WHEN g % 3 > 0 THEN 'old' || g END, '0044-03-15 12:00:00+00 BC', '\\x00ff' \
     FROM generate_series(1, 30) AS g";

fn slice(below: Option<u64>, count_max: u64) -> UndoSlice {
    UndoSlice { below, count_max, singly: false }
}

const ALL: &str = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t";

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_undone_except_where_rows_changed_since() {
    let world = World::new("undo_updates").await;
    world.sql(TABLE).await;
    let before = world.sql(ALL).await;
    let mut target = world.with_ledger().await;
    let text = "UPDATE t SET v = 'new', w = now(), b = NULL WHERE :chunk AND id % 2 = 0";
    let work = planned(&mut target, "t", None, &[text]).await;
    let work = capturing(work, &["v", "w", "b"]);
    let (mut lease, whole) = started(&mut target, &work).await;
    for (from, to) in [(Bound::Start, "20"), (Bound::Key(key(&["20"])), "30")] {
        let mut at = whole.clone();
        at.upto = from;
        target.commit_chunk(&lease, &work, &chunk(&at, &key(&[to]))).await.expect("a chunk");
    }
    // Rows that the statement left alone are not kept.
    assert_eq!(world.sql("SELECT count(*) FROM dunlin.captured").await, "15");
    // The same rows once more, in another walk.
    let again = [segment(1, Bound::Start, Bound::Key(key(&["30"])))];
    let row = record(&work);
    target.write_backfill(&mut lease, &row, Some(&again), None, None).await.expect("a row");
    target.commit_chunk(&lease, &work, &chunk(&again[0], &key(&["30"]))).await.expect("a chunk");
    assert_eq!(world.sql("SELECT count(*) FROM dunlin.captured").await, "30");
    world.sql("UPDATE t SET v = 'mine' WHERE id = 4").await;
    let (mut restored, mut passed, mut below) = (0, 0, None);
    loop {
        let undone = target.undo_chunk(&mut lease, &work, slice(below, 7)).await.expect("an undo");
        restored += undone.restored;
        passed += undone.passed;
        below = undone.lowest;
        if !undone.left {
            break;
        }
    }
    assert_eq!((restored, passed), (28, 2));
    assert_eq!(world.sql("SELECT v FROM t WHERE id = 4").await, "mine");
    world
        .sql("UPDATE t SET v = 'old4', w = '0044-03-15 12:00:00+00 BC', b = '\\x00ff' WHERE id = 4")
        .await;
    assert_eq!(world.sql(ALL).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_come_back() {
    let world = World::new("undo_deletes").await;
    world.sql(TABLE).await;
    let before = world.sql(ALL).await;
    let mut target = world.with_ledger().await;
    let work = planned(&mut target, "t", None, &["DELETE FROM t WHERE :chunk AND v IS NULL"]).await;
    let work = capturing(work, &["id", "v", "w", "b", "g"]);
    let (mut lease, whole) = started(&mut target, &work).await;
    target.commit_chunk(&lease, &work, &chunk(&whole, &key(&["30"]))).await.expect("a chunk");
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "20");
    assert_eq!(world.sql("SELECT count(*) FROM dunlin.captured").await, "10");
    world.sql("INSERT INTO t (id, v) VALUES (3, 'mine')").await;
    let undone = target.undo_chunk(&mut lease, &work, slice(None, 100)).await.expect("an undo");
    assert_eq!((undone.restored, undone.passed, undone.left), (9, 1, false));
    assert_eq!(world.sql("SELECT v FROM t WHERE id = 3").await, "mine");
    world
        .sql("UPDATE t SET v = NULL, w = '0044-03-15 12:00:00+00 BC', b = '\\x00ff' WHERE id = 3")
        .await;
    assert_eq!(world.sql(ALL).await, before);
    assert_eq!(target.forget_captured(10).await, Ok(0));
}
