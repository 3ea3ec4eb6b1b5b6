//! Where keys begin and end, and the walk along them.

use dunlin_engine::{Extent, Mark};
use dunlin_model::{Backfill, Bound, Key, KeyRange};
use rusqlite::{Connection, OptionalExtension as _};

use super::commit::key_of;
use super::known;
use super::range::{Order, named};
use super::table;
use crate::fault::{Fault, Outcome};

/// The last key, and whether there are rows without one.
pub(super) fn extent(connection: &Connection, work: &Backfill) -> Outcome<Extent> {
    let order = known::order(connection, work)?;
    let hi = end(connection, &order, work, true)?;
    let nulls = match &work.key[..] {
        [column] if column.nullable => {
            let sql = format!(
                "SELECT 1 FROM {} {} WHERE {} IS NULL LIMIT 1",
                order.table,
                order.by,
                named(&column.name)
            );
            connection.prepare_cached(&sql)?.exists([])?
        }
        _ => false,
    };
    Ok(Extent { hi, nulls })
}

/// The first or the last key.
pub(super) fn end(
    connection: &Connection,
    order: &Order,
    work: &Backfill,
    last: bool,
) -> Outcome<Option<Key>> {
    let nullable = match &work.key[..] {
        [column] if column.nullable => format!("WHERE {} IS NOT NULL", named(&column.name)),
        _ => String::new(),
    };
    let sql = format!(
        "SELECT {} FROM {} {} {nullable} {} LIMIT 1",
        order.list(),
        order.table,
        order.by,
        order.order_by(last)
    );
    first_key(connection, &sql, order)
}

/// Marks every `spacing`-th row. SQLite's OFFSET passes over entries of the index without making
/// rows of them: over 3 million rows it takes a seventh of the time that `row_number()` takes, and
/// a fifth of reading the keys one by one. Its work is bounded alike, since each search begins at
/// the mark before.
pub(super) fn walk(
    connection: &Connection,
    work: &Backfill,
    after: &Bound,
    upto: &Key,
    spacing: u64,
    count: u32,
) -> Outcome<Vec<Mark>> {
    let order = known::order(connection, work)?;
    let spacing = spacing.max(1);
    let mut marks = Vec::new();
    let mut from = after.clone();
    for _ in 0..count {
        let sql = step(&order, &from, upto, spacing)?;
        match first_key(connection, &sql, &order)? {
            Some(key) => {
                let ended = key == *upto;
                from = Bound::Key(key.clone());
                marks.push(Mark { key, rows: spacing });
                if ended {
                    break;
                }
            }
            None => {
                let rows = rest(connection, &order, &from, upto, spacing)?;
                marks.push(Mark { key: upto.clone(), rows });
                break;
            }
        }
    }
    Ok(marks)
}

/// The statement that finds the next mark.
pub(super) fn step(order: &Order, after: &Bound, upto: &Key, spacing: u64) -> Outcome<String> {
    Ok(format!(
        "{} {} LIMIT 1 OFFSET {}",
        select(order, &order.list(), after, upto)?,
        order.order_by(false),
        spacing.saturating_sub(1).min(i64::MAX.unsigned_abs())
    ))
}

/// What of the rows between these keys, stretch by stretch of the index: SQLite merges them in its
/// order.
fn select(order: &Order, what: &str, after: &Bound, upto: &Key) -> Outcome<String> {
    let range = KeyRange::Between { after: after.clone(), upto: upto.clone() };
    let stretches: Vec<String> = order
        .stretches(&range)?
        .iter()
        .map(|stretch| format!("SELECT {what} FROM {} {} WHERE {stretch}", order.table, order.by))
        .collect();
    Ok(stretches.join(" UNION ALL "))
}

/// How many rows are left, fewer than the spacing.
fn rest(
    connection: &Connection,
    order: &Order,
    after: &Bound,
    upto: &Key,
    spacing: u64,
) -> Outcome<u64> {
    let sql = format!(
        "SELECT count(*) FROM ({} LIMIT {})",
        select(order, "1", after, upto)?,
        spacing.min(i64::MAX.unsigned_abs())
    );
    let count: i64 = connection.prepare(&sql)?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// About how many rows a stretch has: by the distance of whole numbers, at most as many as ANALYZE
/// counted; else all of the table's. How many of them a filter takes, SQLite can't tell.
pub(super) fn estimate(
    connection: &Connection,
    work: &Backfill,
    after: &Bound,
    upto: &Key,
) -> Outcome<Option<u64>> {
    let order = known::order(connection, work)?;
    if let Some(filter) = &work.filter {
        // What is wrong with it is told before the first chunk.
        let sql = format!("SELECT 1 FROM {} WHERE ({filter}\n)", order.table);
        connection.prepare(&sql).map_err(Fault::Query)?;
        return Ok(None);
    }
    let analyzed = table::analyzed_rows(connection, &work.table)?;
    let whole = *after == Bound::Start;
    if let ([column], [upto]) = (&work.key[..], &upto.0[..]) {
        let from = match after {
            Bound::Key(key) => Some(key.clone()),
            _ => end(connection, &order, work, false)?,
        };
        let low: Option<i64> =
            from.and_then(|key| key.0.first().and_then(|part| part.parse().ok()));
        if let (Some(low), Ok(high)) = (low, upto.parse::<i64>()) {
            let (low, high) = if column.descending { (high, low) } else { (low, high) };
            let rows = high.checked_sub(low).and_then(|rows| u64::try_from(rows).ok());
            let rows = rows.unwrap_or(u64::MAX).saturating_add(u64::from(whole));
            return Ok(Some(analyzed.map_or(rows, |all| rows.min(all))));
        }
    }
    Ok(analyzed.filter(|_| whole))
}

fn first_key(connection: &Connection, sql: &str, order: &Order) -> Outcome<Option<Key>> {
    let width = order.columns.len();
    let found = connection
        .prepare(sql)?
        .query_row([], |row| Ok(key_of(connection, row, width)))
        .optional()?;
    found.transpose()
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::super::range::OrderColumn;
    use super::*;

    fn order(columns: &[(&str, bool, Option<&str>)]) -> Order {
        let columns = columns.iter().map(|&(name, descending, collation)| OrderColumn {
            name: name.to_owned(),
            descending,
            collation: collation.map(str::to_owned),
        });
        Order {
            table: "main.\"t\"".to_owned(),
            by: "INDEXED BY `i`".to_owned(),
            columns: columns.collect(),
        }
    }

    /// All keys in order, as SQLite sorts them without the index.
    fn sorted(connection: &Connection, order: &Order) -> Vec<Key> {
        let sql = format!("SELECT {} FROM t NOT INDEXED {}", order.list(), order.order_by(false));
        let mut statement = connection.prepare(&sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut keys = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            keys.push(key_of(connection, row, order.columns.len()).unwrap_or_else(|_| panic!()));
        }
        keys
    }

    fn found(connection: &Connection, order: &Order, after: &Bound, upto: &Key) -> [u64; 2] {
        let read = |limit| rest(connection, order, after, upto, limit).unwrap_or_else(|_| panic!());
        [read(2), read(1_000)]
    }

    #[test]
    fn steps_are_right_from_and_to_every_key() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (a COLLATE NOCASE NOT NULL, b NOT NULL, c NOT NULL);
                 CREATE UNIQUE INDEX i ON t (a DESC, b COLLATE NOCASE, c DESC);
                 INSERT INTO t WITH a(a) AS (VALUES ('x'), ('X'), (1), (1.0), (X'00')),
                  b(b) AS (VALUES ('y'), ('Y'), (2)), c(c) AS (VALUES (1), (2))
                  SELECT a.a, b.b, c.c + 10 * (a.a IS 'X') + 100 * (b.b IS 'Y')
                  + 1000 * (typeof(a.a) = 'real') FROM a, b, c",
            )
            .unwrap();
        let order = order(&[("a", true, None), ("b", false, Some("NOCASE")), ("c", true, None)]);
        let keys = sorted(&connection, &order);
        assert_eq!(keys.len(), 30);
        for to in 0..keys.len() {
            for from in 0..=to {
                let after = match from.checked_sub(1) {
                    Some(before) => Bound::Key(keys[before].clone()),
                    None => Bound::Start,
                };
                let left = to - from + 1;
                for spacing in [1, 2, 5, left] {
                    let sql = step(&order, &after, &keys[to], spacing as u64)
                        .unwrap_or_else(|_| panic!());
                    let key = first_key(&connection, &sql, &order).unwrap_or_else(|_| panic!());
                    let right = (spacing <= left).then(|| keys[from + spacing - 1].clone());
                    assert_eq!(key, right, "{spacing} from {after:?}: {sql}");
                }
                let counts = found(&connection, &order, &after, &keys[to]);
                assert_eq!(counts, [left.min(2) as u64, left as u64], "{after:?} {:?}", keys[to]);
            }
        }
    }

    #[test]
    fn a_step_reads_its_own_rows_only() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (a INTEGER NOT NULL, b INTEGER NOT NULL);
                 CREATE UNIQUE INDEX i ON t (a DESC, b);
                 INSERT INTO t WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s
                  WHERE n < 2999) SELECT n / 1000, n % 1000 FROM s;
                 ANALYZE",
            )
            .unwrap();
        let order = order(&[("a", true, None), ("b", false, None)]);
        let key = |a: u32, b: u32| Key(vec![a.to_string(), b.to_string()]);
        let cases = [
            (key(2, 900), key(0, 999), key(2, 910)),
            (key(2, 995), key(0, 999), key(1, 5)),
            (key(1, 995), key(0, 900), key(0, 5)),
            (key(0, 900), key(0, 999), key(0, 910)),
        ];
        for (after, upto, right) in cases {
            let sql =
                step(&order, &Bound::Key(after.clone()), &upto, 10).unwrap_or_else(|_| panic!());
            let mut statement = connection.prepare(&sql).unwrap();
            let found: (u32, u32) =
                statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            assert_eq!(key(found.0, found.1), right, "{after:?}");
            let steps = statement.get_status(StatementStatus::VmStep);
            assert!(steps < 1_000, "{steps} steps after {after:?}: {sql}");
        }
    }
}
