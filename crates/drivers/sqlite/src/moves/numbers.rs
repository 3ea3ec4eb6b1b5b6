//! The numbers that SQLite gives to new rows.
//!
//! With AUTOINCREMENT they stand in `sqlite_sequence`, where numbers that were taken stay taken.
//! Without it the next number is always one above the largest rowid: who takes some says above which
//! they must be, and they are sure only until others write. One that somebody else used after all is
//! found by its key, when its row is inserted.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::TableName;
use rusqlite::{Connection, OptionalExtension as _};

use super::catalogue::{is_numbered, qualified};
use crate::fault::{Fault, Outcome};
use crate::ledger::quoted;

/// Has the next number be above one. Without AUTOINCREMENT there is nothing to set.
pub(super) fn above(
    connection: &Connection,
    table: &TableName,
    column: &str,
    above: i64,
) -> Outcome<()> {
    if has_sequence(connection, table, column)? {
        set(connection, table, above.max(last(connection, table)?))?;
    }
    Ok(())
}

/// Takes numbers above one.
pub(super) fn take(
    connection: &Connection,
    table: &TableName,
    column: &str,
    count: u32,
    above: i64,
) -> Outcome<Vec<i64>> {
    let sequence = has_sequence(connection, table, column)?;
    let mut highest = highest(connection, table, column)?.max(above);
    if sequence {
        highest = highest.max(last(connection, table)?);
    }
    let Some(end) = highest.checked_add(i64::from(count)) else {
        let message = format!("{table} has no numbers left: a row has the largest that there is");
        return Err(TargetError::new(ErrorKind::Unsupported, message).into());
    };
    if sequence {
        set(connection, table, end)?;
    }
    Ok((highest + 1..=end).collect())
}

/// Whether the column is AUTOINCREMENT.
pub(super) fn has_sequence(
    connection: &Connection,
    table: &TableName,
    column: &str,
) -> Outcome<bool> {
    let (.., autoincrement) = connection
        .column_metadata(Some("main"), table.name.as_str(), column)
        .map_err(Fault::Query)?;
    Ok(autoincrement)
}

fn highest(connection: &Connection, table: &TableName, column: &str) -> Outcome<i64> {
    if !is_numbered(connection, &table.name, column)? {
        let message = format!("{table}.{column} is no column that SQLite numbers");
        return Err(TargetError::new(ErrorKind::Refused, message)
            .help("only an INTEGER PRIMARY KEY is")
            .into());
    }
    let sql = format!("SELECT max({}) FROM {}", quoted(column), qualified(table)?);
    let highest: Option<i64> = connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
    Ok(highest.unwrap_or(0).max(0))
}

fn last(connection: &Connection, table: &TableName) -> Outcome<i64> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = ?1 COLLATE NOCASE";
    let found = connection
        .prepare_cached(sql)?
        .query_row([&table.name], |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    Ok(found.flatten().unwrap_or(0))
}

fn set(connection: &Connection, table: &TableName, number: i64) -> Outcome<()> {
    let sql = "UPDATE sqlite_sequence SET seq = ?2 WHERE name = ?1 COLLATE NOCASE";
    let updated = connection.prepare_cached(sql)?.execute((&table.name, number))?;
    if updated == 0 {
        // The name as the schema has it: SQLite looks it up so.
        let sql = "INSERT INTO sqlite_sequence (name, seq)
                   SELECT name, ?2 FROM sqlite_schema
                   WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
        connection.prepare_cached(sql)?.execute((&table.name, number))?;
    }
    Ok(())
}
