//! The fence: the first and the last statement of every fenced transaction.

use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{FORMAT, Lease};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::NOW;
use crate::fault::Outcome;

/// Moves the checkpoint under the lease's token; fails if either is not what we think.
pub(crate) fn enter(connection: &Connection, lease: &Lease) -> Outcome<()> {
    writable(connection)?;
    let sql = "UPDATE dunlin_segments SET upto = ?1
               WHERE job = ?2 AND seg = 0 AND token = ?3 AND upto = ?4";
    let mut statement = connection.prepare_cached(sql)?;
    for lease in lease.each() {
        let moved = statement.execute(params![
            lease.commits.saturating_add(1).to_string(),
            lease.resource.to_string(),
            lease.token,
            lease.commits.to_string(),
        ])?;
        if moved != 1 {
            return Err(fenced(lease).into());
        }
    }
    Ok(())
}

/// Counts the rows, and extends the lease: nobody can keep a lease alive while this transaction
/// holds the only right to write, so it must not have expired when that is given back.
pub(crate) fn leave(
    connection: &Connection,
    lease: &Lease,
    ttl: Duration,
    rows: u64,
) -> Outcome<()> {
    if rows > 0 {
        let sql = "UPDATE dunlin_segments SET rows = rows + ?1 WHERE job = ?2 AND seg = 0";
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        connection.prepare_cached(sql)?.execute(params![rows, lease.resource.to_string()])?;
    }
    extend(connection, lease, ttl)
}

/// Extends the lease within a transaction that commits under it.
pub(super) fn extend(connection: &Connection, lease: &Lease, ttl: Duration) -> Outcome<()> {
    let sql = format!(
        "UPDATE dunlin_leases SET expires_at = max(expires_at, {NOW} + ?1)
         WHERE resource = ?2 AND owner = ?3 AND token = ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    for lease in lease.each() {
        statement.execute(params![
            super::lease::micros(ttl),
            lease.resource.to_string(),
            lease.owner.id,
            lease.token,
        ])?;
    }
    Ok(())
}

/// Whether this program may write the ledger that is there, and the format that it is in.
pub(crate) fn writable(connection: &Connection) -> Outcome<i64> {
    let sql = "SELECT format, min_writer FROM dunlin_meta";
    let found: Option<(i64, i64)> = connection
        .prepare_cached(sql)?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        Some((format, min)) if min > i64::from(FORMAT) => Err(TargetError::new(
            ErrorKind::LedgerFormat,
            format!(
                "the ledger is in format {format} and may only be written by programs of format \
                 {min} or newer; this one is of format {FORMAT}"
            ),
        )
        .help("use a newer dunlin: a newer one has been here")
        .into()),
        Some((format, _)) => Ok(format),
        None => Err(TargetError::new(
            ErrorKind::LedgerFormat,
            "the ledger's table dunlin_meta has lost its row",
        )
        .help("restore it from a backup of the database")
        .into()),
    }
}

pub(super) fn fenced(lease: &Lease) -> TargetError {
    TargetError::new(
        ErrorKind::Fenced,
        format!("the lease on {} is no longer ours: another runner took it over", lease.resource),
    )
    .help("nothing of this transaction was kept; see `dunlin status` for how far the other one is")
}
