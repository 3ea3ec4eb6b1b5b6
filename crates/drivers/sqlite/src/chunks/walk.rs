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
    let range = KeyRange::Between { after: after.clone(), upto: upto.clone() };
    Ok(format!(
        "SELECT {} FROM {} {} WHERE {} {} LIMIT 1 OFFSET {}",
        order.list(),
        order.table,
        order.by,
        order.range(None, &range)?,
        order.order_by(false),
        spacing.saturating_sub(1).min(i64::MAX.unsigned_abs())
    ))
}

/// How many rows are left, fewer than the spacing.
fn rest(
    connection: &Connection,
    order: &Order,
    after: &Bound,
    upto: &Key,
    spacing: u64,
) -> Outcome<u64> {
    let range = KeyRange::Between { after: after.clone(), upto: upto.clone() };
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM {} {} WHERE {} LIMIT {})",
        order.table,
        order.by,
        order.range(None, &range)?,
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
