//! Old values that are kept, so that a backfill can be undone.

use std::time::Duration;

use dunlin_engine::{Kept, Undone};
use dunlin_model::Key;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{NOW, lease, read, schema};
use crate::fault::Outcome;

/// One row as a chunk found it, and as it left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CapturedRow {
    pub(crate) number: i64,
    pub(crate) key: Key,
    /// JSON: column and SQL literal.
    pub(crate) old: String,
    /// The same afterwards; `None`: the chunk deleted the row.
    pub(crate) new: Option<String>,
}

/// Keeps rows, in their order; their numbers are given here.
pub(crate) fn capture(
    connection: &Connection,
    job: &str,
    pass: u32,
    keep: Duration,
    rows: &[CapturedRow],
) -> Outcome<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "SELECT coalesce(max(number), 0) FROM dunlin_captured WHERE job = ?1 AND pass = ?2";
    let last: i64 =
        connection.prepare_cached(sql)?.query_row(params![job, pass], |row| row.get(0))?;
    let forget_at = super::now(connection)?.saturating_add(lease::micros(keep));
    let sql =
        "INSERT INTO dunlin_captured (job, pass, number, key, old_values, new_values, forget_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut statement = connection.prepare_cached(sql)?;
    for (number, row) in (last.saturating_add(1)..).zip(rows) {
        let key = row.key.encode();
        statement.execute(params![job, pass, number, key, row.old, row.new, forget_at])?;
    }
    Ok(())
}

/// The newest rows of a pass below a number.
pub(crate) fn captured(
    connection: &Connection,
    job: &str,
    pass: u32,
    below: Option<u64>,
    count_max: u64,
) -> Outcome<Vec<CapturedRow>> {
    let sql = "SELECT number, key, old_values, new_values FROM dunlin_captured WHERE job = ?1 AND pass = ?2
               AND number < ?3 ORDER BY number DESC LIMIT ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let most = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let below = most(below.unwrap_or(u64::MAX));
    let mut rows = statement.query(params![job, pass, below, most(count_max)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key = Key::decode(&row.get::<_, String>(1)?)
            .ok_or_else(|| read::damaged("the key of a captured row cannot be read"))?;
        found.push(CapturedRow { number: row.get(0)?, key, old: row.get(2)?, new: row.get(3)? });
    }
    Ok(found)
}

/// The old values of the oldest and of the newest row.
pub(crate) fn captured_ends(connection: &Connection, job: &str) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for order in ["pass, number", "pass DESC, number DESC"] {
        let sql = format!(
            "SELECT old_values FROM dunlin_captured WHERE job = ?1 ORDER BY {order} LIMIT 1"
        );
        let row = connection.prepare_cached(&sql)?.query_row([job], |row| row.get(0));
        found.extend(row.optional()?);
    }
    Ok(found)
}

/// Forgets one row of a pass.
pub(crate) fn uncapture(connection: &Connection, job: &str, pass: u32, number: i64) -> Outcome<()> {
    let sql = "DELETE FROM dunlin_captured WHERE job = ?1 AND pass = ?2 AND number = ?3";
    connection.prepare_cached(sql)?.execute(params![job, pass, number])?;
    Ok(())
}

/// Whether a pass has rows below a number.
pub(crate) fn has_captured(
    connection: &Connection,
    job: &str,
    pass: u32,
    below: i64,
) -> Outcome<bool> {
    let sql = "SELECT 1 FROM dunlin_captured WHERE job = ?1 AND pass = ?2 AND number < ?3";
    Ok(connection.prepare_cached(sql)?.exists(params![job, pass, below])?)
}

/// How far the undo is, in the transaction of what it did: a death can't make the two differ.
pub(crate) fn count_undone(connection: &Connection, job: &str, undone: Undone) -> Outcome<()> {
    let sql = "UPDATE dunlin_backfills SET rows_before = rows_before + ?1 WHERE job = ?2";
    let restored = i64::try_from(undone.restored).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.execute(params![restored, job])?;
    Ok(())
}

/// What is left to undo with.
pub(crate) fn kept(connection: &Connection, job: &str) -> Outcome<Kept> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM dunlin_captured AS c WHERE c.job = b.job),
          ({NOW} - b.started_at) / 1000000 FROM dunlin_backfills AS b WHERE b.job = ?1"
    );
    let found = connection.prepare_cached(&sql)?.query_row([job], |row| {
        let seconds = row.get::<_, i64>(1)?.max(0).unsigned_abs();
        Ok(Kept { any: row.get(0)?, age: Duration::from_secs(seconds) })
    });
    Ok(found.optional()?.unwrap_or_default())
}

/// Forgets rows whose time is over, but not from under an undo that has begun: it would take what is
/// gone for done. Returns how many.
pub(crate) fn forget(connection: &Connection, count_max: u64) -> Outcome<u64> {
    if !read::has_ledger(connection)? || !schema::has_backfills(connection)? {
        return Ok(0);
    }
    let sql = format!(
        "DELETE FROM dunlin_captured WHERE (job, pass, number) IN
         (SELECT job, pass, number FROM dunlin_captured WHERE forget_at <= {NOW}
          AND job NOT IN
           (SELECT job FROM dunlin_backfills WHERE phase = 'undo' AND state <> 'undone')
          ORDER BY forget_at LIMIT ?1)"
    );
    let limit = i64::try_from(count_max).unwrap_or(i64::MAX);
    Ok(connection.prepare_cached(&sql)?.execute([limit])? as u64)
}
