//! Rows for programs.

use dunlin_engine::{ErrorKind, RowsOutcome, Target};
use dunlin_model::{Backfill, Bound, KeyRange, RowChange};

use super::plan::{chunk, key, planned, resource, started};
use crate::world::World;

async fn rows_of_all(target: &mut Box<dyn Target>) -> Backfill {
    let mut work = planned(target, "t", None, &[]).await;
    let table = target.table("t").await.expect("a catalogue").expect("a table");
    work.columns = table.columns;
    work
}

#[tokio::test(flavor = "multi_thread")]
async fn values_travel_there_and_back_exactly() {
    let world = World::new("rows_exact").await;
    world
        .sql(
            "SET datestyle = 'SQL, DMY'; CREATE TABLE t (id bigint PRIMARY KEY, i integer, f float8, \
             r real, b boolean, y bytea, n numeric, s timestamptz, d date, j jsonb, a text[], x text); \
             INSERT INTO t VALUES (9007199254740993, -5, 0.1::float8 + 0.2, 'Infinity', true, \
             '\\xdeadbeef00', 'NaN', '0044-03-15 12:00:00.000001+00 BC', 'infinity', '{\"a\": [1]}', \
             '{\"q\\\"\", NULL}', E'tab\\t\\\\ \"quoted\" ''ä'''), (2, NULL, NULL, NULL, NULL, NULL, \
             NULL, NULL, NULL, NULL, NULL, NULL)",
        )
        .await;
    let before = world.sql("SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t").await;
    let mut target = world.with_ledger().await;
    let work = rows_of_all(&mut target).await;
    let (lease, whole) = started(&mut target, &work).await;
    let hi = key(&["9007199254740993"]);
    let chunk = chunk(&whole, &hi);
    let rows = target.read_rows(&work, &chunk.range).await.expect("rows");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].values[1..], vec![None; 11][..]);
    let shown: Vec<&str> = rows[1].values.iter().flatten().map(String::as_str).collect();
    assert_eq!(
        shown[1..6],
        ["-5", "0.30000000000000004", "Infinity", "true", "deadbeef00"],
        "{shown:?}"
    );
    // Everything is swapped out and written back as it was read.
    let changes: Vec<RowChange> = rows
        .iter()
        .map(|row| RowChange {
            key: row.key.clone(),
            version: row.version.clone(),
            set: work
                .columns
                .iter()
                .zip(&row.values)
                .skip(1)
                .map(|(column, value)| (column.name.clone(), value.clone()))
                .collect(),
        })
        .collect();
    let done = target.commit_rows(&lease, &work, &chunk, &changes, &[]).await.expect("a commit");
    assert!(matches!(done, RowsOutcome::Committed(done) if done.rows == [Some(2)]));
    assert_eq!(world.sql("SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rows_are_missed_and_nothing_is_written() {
    let world = World::new("rows_missed").await;
    world
        .sql("CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 9) AS g")
        .await;
    let mut target = world.with_ledger().await;
    let work = rows_of_all(&mut target).await;
    let (lease, whole) = started(&mut target, &work).await;
    let chunk = chunk(&whole, &key(&["9"]));
    let rows = target.read_rows(&work, &chunk.range).await.expect("rows");
    let change = |index: usize| RowChange {
        key: rows[index].key.clone(),
        version: rows[index].version.clone(),
        set: vec![("v".into(), Some(format!("new {index}")))],
    };
    world.sql("UPDATE t SET v = 'mine' WHERE id = 3; DELETE FROM t WHERE id = 5").await;
    let all: Vec<RowChange> = (0..8).map(change).collect();
    let outcome = target.commit_rows(&lease, &work, &chunk, &all, &[]).await.expect("an outcome");
    let RowsOutcome::Missed(mut missed) = outcome else { panic!("written: {outcome:?}") };
    missed.sort();
    assert_eq!(missed, [key(&["3"]), key(&["5"])]);
    assert_eq!(world.sql("SELECT count(*) FROM t WHERE v LIKE 'new%'").await, "0");
    let rest: Vec<RowChange> = [0, 1, 3].map(change).into();
    let rejected = [(key(&["9"]), "no name".to_owned())];
    let done = target.commit_rows(&lease, &work, &chunk, &rest, &rejected).await.expect("written");
    assert!(matches!(done, RowsOutcome::Committed(_)));
    assert_eq!(world.sql("SELECT count(*) FROM t WHERE v LIKE 'new%'").await, "3");
    assert_eq!(target.quarantine(&resource(), 9).await.expect("a list")[0].key, key(&["9"]));
    let mut lease = lease;
    assert_eq!(target.discard(&mut lease, None).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_rows_are_released_by_any_other_call() {
    let world = World::new("rows_locked").await;
    world.sql("CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'x'), (2, 'y')").await;
    let mut target = world.with_ledger().await;
    let work = rows_of_all(&mut target).await;
    let (lease, whole) = started(&mut target, &work).await;
    let chunk = chunk(&whole, &key(&["2"]));
    let locked = "SELECT count(*) FROM (SELECT FROM t FOR UPDATE SKIP LOCKED) AS x";
    let rows = target.lock_rows(&lease, &work, &chunk).await.expect("rows");
    assert_eq!(rows.len(), 2);
    assert_eq!(world.sql(locked).await, "0");
    target.backfills(None).await.expect("another call");
    assert_eq!(world.sql(locked).await, "2");
    let rows = target.lock_rows(&lease, &work, &chunk).await.expect("rows");
    let changes = [RowChange {
        key: rows[0].key.clone(),
        version: rows[0].version.clone(),
        set: vec![("v".into(), None)],
    }];
    let done = target.commit_rows(&lease, &work, &chunk, &changes, &[]).await.expect("a commit");
    assert!(matches!(done, RowsOutcome::Committed(_)));
    assert_eq!(world.sql("SELECT count(*) FROM t WHERE v IS NULL").await, "1");
    let error = target.lock_rows(&lease, &work, &chunk).await.expect_err("it is done");
    assert_eq!(error.kind, ErrorKind::Fenced);
    assert_eq!(
        target.read_rows(&work, &KeyRange::Exactly(key(&["2"]))).await.expect("rows").len(),
        1
    );
    assert!(matches!(whole.lo, Bound::Start));
}

/// One statement a batch: ten thousand rows are a matter of a second even in a debug build.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_are_one_statement() {
    let world = World::new("rows_many").await;
    world
        .sql("CREATE TABLE t (id bigint PRIMARY KEY, v text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 20000) AS g; ANALYZE t")
        .await;
    let mut target = world.with_ledger().await;
    let work = rows_of_all(&mut target).await;
    let (lease, whole) = started(&mut target, &work).await;
    let chunk = chunk(&whole, &key(&["10000"]));
    let rows = target.read_rows(&work, &chunk.range).await.expect("rows");
    let changes: Vec<RowChange> = rows
        .into_iter()
        .map(|row| RowChange {
            set: vec![("v".into(), Some(format!("v{}", row.key.0[0])))],
            key: row.key,
            version: row.version,
        })
        .collect();
    target.commit_rows(&lease, &work, &chunk, &changes, &[]).await.expect("a commit");
    assert_eq!(world.sql("SELECT count(*) FROM t WHERE v = 'v' || id").await, "10000");
}
