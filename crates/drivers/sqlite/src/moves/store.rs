//! A move's own store.

use dunlin_engine::moves::{LedgerUse, Stored};
use dunlin_engine::{ErrorKind, TargetError};
use rusqlite::{Connection, params};

use crate::fault::Outcome;
use crate::ledger;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS dunlin_moves_store (
  name TEXT NOT NULL,           -- the move
  area TEXT NOT NULL,           -- what the entry is about: state, pack/users
  number INTEGER NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (name, area, number)
) STRICT, WITHOUT ROWID";

/// Creates the table, where a ledger is.
pub(super) fn create(connection: &Connection) -> Outcome<()> {
    if !ledger::has_ledger(connection)? {
        let message = "there is no ledger that a move's store could stand in";
        return Err(TargetError::new(ErrorKind::Bug, message).into());
    }
    ledger::writable(connection)?;
    Ok(connection.execute_batch(TABLE)?)
}

/// What a ledger consists of; views first.
const LEDGER: [(&str, &str); 12] = [
    ("VIEW", "data_migrations"),
    ("TABLE", "moves_store"),
    ("TABLE", "captured"),
    ("TABLE", "quarantine"),
    ("TABLE", "backfills"),
    ("TABLE", "runs"),
    ("TABLE", "segments"),
    ("TABLE", "leases"),
    ("TABLE", "steps"),
    ("TABLE", "history"),
    ("TABLE", "migrations"),
    ("TABLE", "meta"),
];

/// The moves that have entries.
pub(super) fn names(connection: &Connection) -> Outcome<Vec<String>> {
    if !exists(connection)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT DISTINCT name FROM dunlin_moves_store ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// Who needs the ledger, in the transaction that is open: it has the only right to write.
pub(super) fn hold_ledger(connection: &Connection) -> Outcome<LedgerUse> {
    let view = ledger::view(connection)?;
    Ok(LedgerUse { migrations: view.entries.len() as u64, leases: view.leases })
}

/// Drops the ledger, in the transaction that is open.
pub(super) fn drop_ledger(connection: &Connection) -> Outcome<()> {
    // A statement that is kept for later would hold its table.
    connection.flush_prepared_statement_cache();
    for (kind, name) in LEDGER {
        connection.execute_batch(&format!("DROP {kind} IF EXISTS dunlin_{name}"))?;
    }
    Ok(())
}

/// Entries of an area from a number on.
pub(super) fn stored(
    connection: &Connection,
    name: &str,
    area: &str,
    from: i64,
    limit: u32,
) -> Outcome<Vec<Stored>> {
    if !exists(connection)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT number, value FROM dunlin_moves_store
               WHERE name = ?1 AND area = ?2 AND number >= ?3 ORDER BY number LIMIT ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let entries = statement.query_map(params![name, area, from, limit], |row| {
        Ok(Stored { area: area.to_owned(), number: row.get(0)?, value: Some(row.get(1)?) })
    })?;
    Ok(entries.collect::<rusqlite::Result<_>>()?)
}

/// Puts entries, or deletes those without a value.
pub(super) fn put(connection: &Connection, name: &str, entries: &[Stored]) -> Outcome<()> {
    let put = "INSERT INTO dunlin_moves_store (name, area, number, value) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (name, area, number) DO UPDATE SET value = excluded.value";
    let delete = "DELETE FROM dunlin_moves_store WHERE name = ?1 AND area = ?2 AND number = ?3";
    for entry in entries {
        match &entry.value {
            Some(value) => connection.prepare_cached(put)?.execute(params![
                name,
                entry.area,
                entry.number,
                value
            ])?,
            None => connection.prepare_cached(delete)?.execute(params![
                name,
                entry.area,
                entry.number
            ])?,
        };
    }
    Ok(())
}

fn exists(connection: &Connection) -> Outcome<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'dunlin_moves_store'";
    Ok(connection.prepare_cached(sql)?.exists([])?)
}
