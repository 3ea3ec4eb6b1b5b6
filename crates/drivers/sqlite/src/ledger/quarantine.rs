//! Rows that failed and were set aside. Their keys are data, and stand in a column of their own.

use dunlin_engine::Quarantined;
use dunlin_model::{Key, Resource};
use rusqlite::{Connection, params};

use super::{NOW, read, schema};
use crate::fault::Outcome;

/// Notes a row with its error.
pub(crate) fn set_aside(
    connection: &Connection,
    job: &str,
    pass: u32,
    key: &Key,
    error: &str,
) -> Outcome<()> {
    let sql = format!(
        "INSERT INTO dunlin_quarantine (job, pass, number, key, error, at)
         SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?3, ?4, {NOW}
         FROM dunlin_quarantine WHERE job = ?1 AND pass = ?2
         ON CONFLICT (job, pass, key) DO UPDATE SET error = excluded.error, at = excluded.at"
    );
    connection.prepare_cached(&sql)?.execute(params![job, pass, key.encode(), error])?;
    Ok(())
}

/// Takes a row out, which is about to be done; returns how many there were.
pub(super) fn release(connection: &Connection, job: &str, pass: u32, key: &Key) -> Outcome<usize> {
    let sql = "DELETE FROM dunlin_quarantine WHERE job = ?1 AND pass = ?2 AND key = ?3";
    Ok(connection.prepare_cached(sql)?.execute(params![job, pass, key.encode()])?)
}

/// Forgets all rows of earlier passes and phases.
pub(super) fn clear(connection: &Connection, job: &str) -> Outcome<()> {
    connection.prepare_cached("DELETE FROM dunlin_quarantine WHERE job = ?1")?.execute([job])?;
    Ok(())
}

/// Takes rows of the latest pass out; returns how many.
pub(crate) fn discard(connection: &Connection, of: &Resource, key: Option<&Key>) -> Outcome<u64> {
    if !schema::has_backfills(connection)? {
        return Ok(0);
    }
    let sql = "DELETE FROM dunlin_quarantine
               WHERE job = ?1 AND pass = (SELECT pass FROM dunlin_backfills WHERE job = ?1)
                AND (?2 IS NULL OR key = ?2)";
    let gone =
        connection.prepare_cached(sql)?.execute(params![of.to_string(), key.map(Key::encode)])?;
    Ok(gone as u64)
}

/// Rows of the latest pass, in the order in which they came.
pub(crate) fn quarantine(
    connection: &Connection,
    of: &Resource,
    count_max: u64,
) -> Outcome<Vec<Quarantined>> {
    if !read::has_ledger(connection)? || !schema::has_backfills(connection)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT key, error, at FROM dunlin_quarantine
               WHERE job = ?1 AND pass = (SELECT pass FROM dunlin_backfills WHERE job = ?1)
               ORDER BY number LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let limit = i64::try_from(count_max).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![of.to_string(), limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key = Key::decode(&row.get::<_, String>(0)?)
            .ok_or_else(|| read::damaged("a key in quarantine cannot be read"))?;
        found.push(Quarantined { key, error: row.get(1)?, at: row.get(2)? });
    }
    Ok(found)
}
