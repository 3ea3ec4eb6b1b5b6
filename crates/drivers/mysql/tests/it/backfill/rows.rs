//! Rows that go through programs.

use dunlin_engine::{RowsOutcome, Target};
use dunlin_model::{Backfill, Bound, Key, KeyRange, RowChange};

use super::{begun, chunk, number, numbers, planned};
use crate::support::World;

async fn with_columns(target: &mut Box<dyn Target>) -> Backfill {
    let table = target.table("t").await.expect("looked").expect("a table");
    let mut work = super::plan(&table, Vec::new());
    work.columns = table.columns;
    work
}

#[tokio::test]
async fn values_of_every_type_come_back_as_they_went() {
    let world = World::new("values").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run(
        "CREATE TABLE t (id VARCHAR(20) CHARACTER SET latin1 PRIMARY KEY, b BIGINT UNSIGNED, \
         d DECIMAL(40,10), f FLOAT, g DOUBLE, s TEXT CHARACTER SET latin1, u TEXT CHARACTER SET utf8mb4, y BLOB, \
         e ENUM('x','y'), z SET('p','q'), w BIT(33), dt DATETIME(6), ts TIMESTAMP(6) NULL, \
         tm TIME(6), j JSON, k YEAR)",
    )
    .await;
    eyes.run(
        "INSERT INTO t VALUES ('ä', 18446744073709551615, 123456789012345678901234567890.0123456789, \
         0.1, 1e-300, 'ä''\\\\', '😀\\n', x'00ff', 'y', 'p,q', b'100000000000000000000000000000001', \
         '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', '-12:00:00.5', '{\"a\": [1]}', 2024), \
         ('n', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    .await;
    let work = with_columns(&mut target).await;
    let hi = target.extent(&work).await.expect("an extent").hi.expect("rows");
    let range = KeyRange::Between { after: Bound::Start, upto: hi.clone() };
    let before = target.read_rows(&work, &range).await.expect("read");
    assert_eq!(before.len(), 2);
    let full = before.iter().find(|row| row.values[1].is_some()).expect("the full one");
    assert_eq!(full.values[0].as_deref(), Some("ä"));
    assert_eq!(full.values[7].as_deref(), Some("00ff"));
    // Both rows become NULL but for their key, then what they were.
    let lease = begun(&mut target, &work, hi.clone()).await;
    let sums = "CHECKSUM TABLE t";
    let sum = |row: Option<(String, String)>| row.map(|(_, sum)| sum);
    let was = {
        use mysql_async::prelude::Queryable as _;
        sum(eyes.0.query_first(sums).await.expect("a sum"))
    };
    let set = |values: &[Option<String>]| {
        work.columns.iter().zip(values).skip(1).map(|(c, v)| (c.name.clone(), v.clone())).collect()
    };
    let nothing = vec![None; work.columns.len()];
    let change = |row: &dunlin_model::Row, values: &[Option<String>]| RowChange {
        key: row.key.clone(),
        version: row.version.clone(),
        set: set(values),
    };
    let mut whole = chunk(Bound::Start, &hi, &hi);
    let empty: Vec<_> = before.iter().map(|row| change(row, &nothing)).collect();
    let aside = [(hi.clone(), "to be released".to_owned())];
    let outcome = target.commit_rows(&lease, &work, &whole, &empty, &aside).await.expect("written");
    assert!(matches!(outcome, RowsOutcome::Committed(_)), "{outcome:?}");
    let emptied = target.read_rows(&work, &range).await.expect("read");
    let back: Vec<_> =
        before.iter().zip(&emptied).map(|(old, now)| change(now, &old.values)).collect();
    // The checkpoint has moved: the same rows once more, with the release of one.
    whole.checkpoint = dunlin_engine::Checkpoint::Released { key: hi.clone() };
    target.commit_rows(&lease, &work, &whole, &back, &[]).await.expect("written");
    let is = {
        use mysql_async::prelude::Queryable as _;
        sum(eyes.0.query_first(sums).await.expect("a sum"))
    };
    assert_eq!(was, is);
    let after = target.read_rows(&work, &range).await.expect("read");
    assert_eq!(before, after);
}

#[tokio::test]
async fn rows_that_changed_meanwhile_are_missed_and_nothing_is_written() {
    let (world, mut target) = numbers("missed", 50).await;
    let mut eyes = world.eyes().await;
    let work = with_columns(&mut target).await;
    let hi = number(500);
    let lease = begun(&mut target, &work, hi.clone()).await;
    let whole = chunk(Bound::Start, &hi, &hi);
    let rows = target.read_rows(&work, &whole.range).await.expect("read");
    eyes.run("UPDATE t SET s = 'new' WHERE id = 30").await;
    eyes.run("DELETE FROM t WHERE id = 40").await;
    let change = |row: &dunlin_model::Row| RowChange {
        key: row.key.clone(),
        version: row.version.clone(),
        set: vec![("v".to_owned(), Some("-1".to_owned()))],
    };
    let changes: Vec<_> = rows.iter().map(change).collect();
    let outcome = target.commit_rows(&lease, &work, &whole, &changes, &[]).await.expect("answered");
    assert_eq!(outcome, RowsOutcome::Missed(vec![number(30), number(40)]));
    assert_eq!(eyes.one("SELECT COUNT(*) FROM t WHERE v = -1").await, "0");
    let rows = target.read_rows(&work, &whole.range).await.expect("read");
    let mut changes: Vec<_> = rows.iter().map(change).collect();
    changes.truncate(10);
    let rejected: Vec<(Key, String)> = vec![(number(500), "no".to_owned())];
    let outcome =
        target.commit_rows(&lease, &work, &whole, &changes, &rejected).await.expect("written");
    assert!(matches!(outcome, RowsOutcome::Committed(_)), "{outcome:?}");
    assert_eq!(eyes.one("SELECT COUNT(*) FROM t WHERE v = -1").await, "10");
    assert_eq!(target.quarantine(&lease.resource, 9).await.expect("read")[0].key, number(500));
}

#[tokio::test]
async fn locked_rows_stay_locked_until_they_are_written_or_let_go() {
    let (world, mut target) = numbers("locked", 50).await;
    let mut eyes = world.eyes().await;
    eyes.run("SET SESSION innodb_lock_wait_timeout = 1").await;
    let work = with_columns(&mut target).await;
    let hi = number(500);
    let lease = begun(&mut target, &work, hi.clone()).await;
    let whole = chunk(Bound::Start, &hi, &hi);
    let rows = target.lock_rows(&lease, &work, &whole).await.expect("locked");
    use mysql_async::prelude::Queryable as _;
    let refused = eyes.0.query_drop("UPDATE t SET v = 0 WHERE id = 10").await;
    assert!(refused.is_err());
    target.quarantine(&lease.resource, 1).await.expect("another call");
    eyes.run("UPDATE t SET v = 0 WHERE id = 10").await;
    let again = target.lock_rows(&lease, &work, &whole).await.expect("locked");
    assert_eq!(rows.len(), again.len());
    let changes: Vec<_> = again
        .iter()
        .map(|row| RowChange {
            key: row.key.clone(),
            version: row.version.clone(),
            set: vec![("v".to_owned(), Some("9".to_owned()))],
        })
        .collect();
    let outcome = target.commit_rows(&lease, &work, &whole, &changes, &[]).await.expect("written");
    assert!(matches!(outcome, RowsOutcome::Committed(_)), "{outcome:?}");
    assert_eq!(eyes.one("SELECT COUNT(*) FROM t WHERE v = 9").await, "50");
    let _ = planned(&mut target, Vec::new()).await;
}
