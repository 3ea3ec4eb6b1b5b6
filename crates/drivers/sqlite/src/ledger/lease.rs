//! Leases: heartbeat and takeover.

use std::time::Duration;

use dunlin_engine::Claim;
use dunlin_model::{Lease, LeaseHolder, Owner, Resource};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{NOW, fence};
use crate::fault::Outcome;

/// The first format whose segments count their claims.
const FORMAT_WITH_ATTEMPTS: i64 = 2;

/// Who holds the lease, if somebody else does and it can't be claimed yet.
pub(crate) fn claimable(
    connection: &Connection,
    resource: &Resource,
    owner: &Owner,
    displace: Option<&str>,
) -> Outcome<Option<LeaseHolder>> {
    let held = holder(connection, resource)?;
    Ok(held.filter(|holder| {
        holder.remaining_ms > 0
            && holder.owner.id != owner.id
            && Some(holder.owner.id.as_str()) != displace
    }))
}

/// Claims the lease in the transaction that is open. Since that one holds the only right to
/// write, every transaction of an older holder has ended, and the raised token of the segments
/// refuses all that it may still begin.
pub(crate) fn claim(
    connection: &Connection,
    resource: &Resource,
    owner: &Owner,
    ttl: Duration,
    displace: Option<&str>,
) -> Outcome<Claim> {
    let format = fence::writable(connection)?;
    if let Some(holder) = claimable(connection, resource, owner, displace)? {
        return Ok(Claim::Held(holder));
    }
    let name = resource.to_string();
    let sql = format!(
        "INSERT INTO dunlin_leases (resource, owner, host, pid, identity, token, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, 1, {NOW} + ?6)
         ON CONFLICT (resource) DO UPDATE SET owner = excluded.owner, host = excluded.host,
          pid = excluded.pid, identity = excluded.identity, token = token + 1,
          expires_at = excluded.expires_at
         RETURNING token"
    );
    let token: i64 = connection.prepare_cached(&sql)?.query_row(
        params![name, owner.id, owner.host, owner.pid, owner.identity, micros(ttl)],
        |row| row.get(0),
    )?;
    let sql = "INSERT INTO dunlin_segments (job, seg, upto, token, rows) VALUES (?1, 0, '0', ?2, 0)
               ON CONFLICT (job, seg) DO UPDATE SET token = excluded.token
               RETURNING CAST(upto AS INTEGER)";
    let commits: i64 =
        connection.prepare_cached(sql)?.query_row(params![name, token], |row| row.get(0))?;
    // A ledger of format 1 has no column for attempts, and no segments but 0.
    if format >= FORMAT_WITH_ATTEMPTS {
        let sql = "UPDATE dunlin_segments SET token = ?2, attempts = attempts + 1
                   WHERE job = ?1 AND seg > 0";
        connection.prepare_cached(sql)?.execute(params![name, token])?;
    }
    let (resource, owner) = (resource.clone(), owner.clone());
    let beside = Vec::new();
    Ok(Claim::Granted(Lease { resource, owner, token, commits, seg: 0, beside }))
}

/// Extends the lease, if it is still ours.
pub(crate) fn keep(connection: &Connection, lease: &Lease, ttl: Duration) -> Outcome<bool> {
    let sql = format!(
        "UPDATE dunlin_leases SET expires_at = {NOW} + ?1
         WHERE resource = ?2 AND owner = ?3 AND token = ?4"
    );
    let kept = connection.prepare_cached(&sql)?.execute(params![
        micros(ttl),
        lease.resource.to_string(),
        lease.owner.id,
        lease.token
    ])?;
    Ok(kept == 1)
}

/// Gives the lease back, if it is still ours. The token stays, for the next one to exceed.
pub(crate) fn release(connection: &Connection, lease: &Lease) -> Outcome<()> {
    let sql = "UPDATE dunlin_leases
               SET owner = NULL, host = NULL, pid = NULL, identity = NULL, expires_at = 0
               WHERE resource = ?1 AND owner = ?2 AND token = ?3";
    connection.prepare_cached(sql)?.execute(params![
        lease.resource.to_string(),
        lease.owner.id,
        lease.token
    ])?;
    Ok(())
}

/// All leases that have an owner.
pub(super) fn all(connection: &Connection) -> Outcome<Vec<LeaseHolder>> {
    let mut statement = connection.prepare_cached(&select(""))?;
    let rows = statement.query_map([], read_holder)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

/// Whose the lease is, expired or not.
pub(crate) fn holder(connection: &Connection, resource: &Resource) -> Outcome<Option<LeaseHolder>> {
    Ok(connection
        .prepare_cached(&select("AND resource = ?1"))?
        .query_row([resource.to_string()], read_holder)
        .optional()?)
}

fn select(condition: &str) -> String {
    format!(
        "SELECT resource, owner, host, pid, identity, token, (expires_at - {NOW}) / 1000
         FROM dunlin_leases WHERE owner IS NOT NULL {condition} ORDER BY resource"
    )
}

fn read_holder(row: &Row<'_>) -> rusqlite::Result<LeaseHolder> {
    let owner =
        Owner { id: row.get(1)?, host: row.get(2)?, pid: row.get(3)?, identity: row.get(4)? };
    Ok(LeaseHolder { resource: row.get(0)?, owner, token: row.get(5)?, remaining_ms: row.get(6)? })
}
