//! Captured values, put back.

use std::time::Duration;

use dunlin_engine::UndoSlice;
use dunlin_model::{Bound, Capture, Verb};
use mysql_async::prelude::Queryable;

use super::{begun, chunk, chunked, number, planned, update};
use crate::support::World;

const TABLE: &str = "CREATE TABLE t (id INT PRIMARY KEY, f FLOAT, g DOUBLE, \
     s VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci, y VARBINARY(9), j JSON, \
     ts TIMESTAMP(6) NULL, e ENUM('a','b'))";

const ROWS: &str = "INSERT INTO t VALUES (1, 0.1, 1e-300, 'ä', x'00ff', '{\"a\": 1}', \
     '2026-01-02 03:04:05.678901', 'b'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
     (3, 3, 3, 'c', '', '[]', NULL, 'a'), (4, 4, 4, 'D', '', '[]', NULL, 'a')";

fn slice(below: Option<u64>, count_max: u64) -> UndoSlice {
    UndoSlice { below, count_max, singly: false }
}

fn capture(columns: &[&str]) -> Option<Capture> {
    let columns = columns.iter().map(|&name| name.to_owned()).collect();
    Some(Capture { columns, keep: Duration::from_secs(3600) })
}

#[tokio::test]
async fn an_update_goes_back_exactly_where_nobody_changed_it_since() {
    let world = World::new("undo").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run(TABLE).await;
    eyes.run(ROWS).await;
    eyes.run("CREATE TABLE was AS SELECT * FROM t").await;
    let text = "UPDATE t SET f = f / 3, g = 7, s = UPPER(s), y = x'01', j = '[2]', ts = NULL, \
                e = 'a' WHERE id <> 4 AND :chunk";
    let mut work = planned(&mut target, vec![update(text)]).await;
    work.capture = capture(&["f", "g", "s", "y", "j", "ts", "e"]);
    let hi = number(4);
    let mut lease = begun(&mut target, &work, hi.clone()).await;
    target.commit_chunk(&lease, &work, &chunk(Bound::Start, &hi, &hi)).await.expect("done");
    // The fourth did not change.
    assert_eq!(eyes.one("SELECT COUNT(*) FROM dunlin_captured").await, "3");
    eyes.run("UPDATE t SET s = 'mine' WHERE id = 3").await;
    let undone = target.undo_chunk(&mut lease, &work, slice(None, 2)).await.expect("undone");
    assert_eq!((undone.restored, undone.passed, undone.left), (1, 1, true));
    let undone =
        target.undo_chunk(&mut lease, &work, slice(undone.lowest, 2)).await.expect("undone");
    assert_eq!((undone.restored, undone.passed, undone.left), (1, 0, false));
    let same = "SELECT COUNT(*) FROM t JOIN was USING (id) WHERE t.f <=> was.f \
                AND t.g <=> was.g AND BINARY t.s <=> BINARY was.s AND t.y <=> was.y \
                AND t.j <=> was.j AND t.ts <=> was.ts AND t.e <=> was.e";
    assert_eq!(eyes.one(same).await, "3");
    assert_eq!(eyes.one("SELECT s FROM t WHERE id = 3").await, "mine");
}

#[tokio::test]
async fn deleted_rows_come_back_unless_their_key_is_taken() {
    let world = World::new("undelete").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run(TABLE).await;
    eyes.run(ROWS).await;
    let text = "DELETE FROM t WHERE :chunk";
    let mut work = planned(&mut target, vec![chunked(text, Some((Verb::Delete, "t")))]).await;
    work.capture = capture(&["id", "f", "g", "s", "y", "j", "ts", "e"]);
    let hi = number(4);
    let mut lease = begun(&mut target, &work, hi.clone()).await;
    target.commit_chunk(&lease, &work, &chunk(Bound::Start, &hi, &hi)).await.expect("done");
    eyes.run("INSERT INTO t (id, s) VALUES (3, 'mine')").await;
    let undone = target.undo_chunk(&mut lease, &work, slice(None, 100)).await.expect("undone");
    assert_eq!((undone.restored, undone.passed, undone.left), (3, 1, false));
    assert_eq!(
        eyes.one("SELECT GROUP_CONCAT(COALESCE(s, '-') ORDER BY id) FROM t").await,
        "ä,-,mine,D"
    );
}

#[tokio::test]
async fn values_are_forgotten_when_their_time_is_over() {
    let world = World::new("forget").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run(TABLE).await;
    eyes.run(ROWS).await;
    let mut work = planned(&mut target, vec![update("UPDATE t SET g = 9 WHERE :chunk")]).await;
    work.capture = capture(&["g"]);
    let hi = number(4);
    let lease = begun(&mut target, &work, hi.clone()).await;
    target.commit_chunk(&lease, &work, &chunk(Bound::Start, &hi, &hi)).await.expect("done");
    assert_eq!(target.forget_captured(10).await.expect("none yet"), 0);
    eyes.run("UPDATE dunlin_captured SET forget_at = UTC_TIMESTAMP(6)").await;
    assert_eq!(target.forget_captured(3).await.expect("some"), 3);
    assert_eq!(target.forget_captured(3).await.expect("the rest"), 1);
}

/// A row that came between what is kept and what is changed would be changed and not kept.
#[tokio::test]
async fn no_row_comes_between_what_is_kept_and_what_is_changed() {
    let world = World::new("between").await;
    let mut target = world.with_ledger().await;
    let (mut eyes, mut holder) = (world.eyes().await, world.eyes().await);
    eyes.run("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    eyes.run("INSERT INTO t VALUES (1, 1), (9, 9)").await;
    eyes.run("CREATE TABLE rates (rate INT)").await;
    eyes.run("INSERT INTO rates VALUES (5)").await;
    eyes.run("SET innodb_lock_wait_timeout = 1").await;
    let text = "UPDATE t SET n = n + (SELECT rate FROM rates) WHERE :chunk";
    let mut work = planned(&mut target, vec![update(text)]).await;
    work.capture = capture(&["n"]);
    let hi = number(9);
    let lease = begun(&mut target, &work, hi.clone()).await;
    // The statement waits for this, and what comes before it in the chunk does not.
    holder.run("LOCK TABLES rates WRITE").await;
    let waits = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{}' \
         AND state LIKE 'Waiting for table metadata lock%'",
        world.name
    );
    let range = chunk(Bound::Start, &hi, &hi);
    let (done, came) = tokio::join!(target.commit_chunk(&lease, &work, &range), async {
        eyes.until(&waits, "1").await;
        let came = eyes.0.query_drop("INSERT INTO t VALUES (5, 5)").await;
        holder.run("UNLOCK TABLES").await;
        came
    });
    done.expect("done");
    came.expect_err("the row waits for the chunk");
    assert_eq!(eyes.one("SELECT COUNT(*) FROM t WHERE n = id + 5").await, "2");
    assert_eq!(eyes.one("SELECT COUNT(*) FROM dunlin_captured").await, "2");
}
