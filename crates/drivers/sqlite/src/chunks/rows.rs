//! Rows on their way through a user's program.

use std::collections::HashMap;
use std::time::Duration;

use dunlin_engine::{Chunk, ErrorKind, Gathered, RowsOutcome, TargetError, failpoint};
use dunlin_model::{Backfill, Column, Key, KeyRange, Lease, Row, RowChange};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};

use super::capture::{Before, by_key};
use super::commit::{finish, key_of};
use super::exact::{self, Exact};
use super::known::{self, Known};
use super::range::{Order, named};
use super::value;
use crate::control::Control;
use crate::fault::{Fault, Outcome};
use crate::ledger;
use crate::session::{Held, Session, Verdict};

/// Reads the rows of a range, in order.
pub(super) fn read(
    session: &mut Session,
    work: &Backfill,
    range: &KeyRange,
) -> Result<Vec<Row>, TargetError> {
    let mut known = session.known.take();
    let control = std::sync::Arc::clone(&session.control);
    let rows = session.read(|connection| {
        let known = known::refreshed(&mut known, connection, work)?;
        rows(connection, &control, work, known, range)
    });
    session.known = known;
    rows
}

/// Reads the rows of a range and keeps everybody else from writing, until the chunk is committed.
pub(super) fn lock(
    session: &mut Session,
    lease: &Lease,
    work: &Backfill,
    chunk: &Chunk,
) -> Result<Vec<Row>, TargetError> {
    let mut known = session.known.take();
    let held = Held { chunk: chunk.clone(), token: lease.token };
    let rows = session.hold(work.lock_timeout, held, |connection, control| {
        ledger::enter_chunk(connection, lease, work.pass, &chunk.checkpoint)?;
        let known = known::refreshed(&mut known, connection, work)?;
        rows(connection, control, work, known, &chunk.range)
    });
    session.known = known;
    rows
}

/// Writes changed rows, and notes rejected ones, with the checkpoint.
pub(super) fn commit(
    session: &mut Session,
    lease: &Lease,
    ttl: Duration,
    work: &Backfill,
    chunk: &Chunk,
    changes: &[RowChange],
    rejected: &[(Key, String)],
) -> Result<RowsOutcome, TargetError> {
    let mut known = session.known.take();
    let held = Held { chunk: chunk.clone(), token: lease.token };
    let ended = session.decide(work.lock_timeout, Some(&held), |connection, control, goes_on| {
        if !goes_on {
            ledger::enter_chunk(connection, lease, work.pass, &chunk.checkpoint)?;
        }
        let known = known::refreshed(&mut known, connection, work)?;
        failpoint("chunk.begun");
        let before =
            Before::of_keys(connection, work, known, changes.iter().map(|change| &change.key))?;
        let missed = write_all(connection, control, known, changes)?;
        if !missed.is_empty() {
            return Ok(Verdict::RollBack(RowsOutcome::Missed(missed)));
        }
        before.keep(connection, lease, work, known)?;
        let job = lease.resource.to_string();
        for (key, reason) in rejected {
            ledger::set_aside(connection, &job, work.pass, key, reason)?;
        }
        let touched = vec![Some(changes.len() as u64)];
        let committed = finish(connection, lease, ttl, &chunk.checkpoint, touched)?;
        Ok(Verdict::Commit(RowsOutcome::Committed(committed)))
    });
    session.known = known;
    let (mut outcome, times) = ended?;
    if let RowsOutcome::Committed(committed) = &mut outcome {
        committed.commit = times.commit;
        committed.held = Some(times.held);
        failpoint("chunk.done");
    }
    Ok(outcome)
}

fn rows(
    connection: &Connection,
    control: &Control,
    work: &Backfill,
    known: &Known,
    range: &KeyRange,
) -> Outcome<Vec<Row>> {
    let order = &known.order;
    let mut sql = format!(
        "SELECT {}{}{} FROM {} {} WHERE ({})",
        order.list(),
        listed(&work.columns),
        listed(&known.stored),
        order.table,
        order.by,
        order.range(None, range)?
    );
    if let Some(filter) = &work.filter {
        sql.push_str(&format!(" AND ({filter}\n)"));
    }
    sql.push(' ');
    sql.push_str(&order.order_by(false));
    let width = order.columns.len();
    let stored = width + work.columns.len();
    control.as_user(Some(work.statement_timeout), || {
        let mut statement = connection.prepare(&sql).map_err(Fault::Query)?;
        let mut found = statement.query([])?;
        let mut rows = Gathered::default();
        while !rows.is_over()
            && let Some(row) = found.next().map_err(Fault::Query)?
        {
            let mut values = Vec::with_capacity(work.columns.len());
            for (place, column) in work.columns.iter().enumerate() {
                values.push(value::to_text(column, &row.get_ref(width + place)?.into()));
            }
            rows.push(Row {
                key: named_key(connection, work, row, width)?,
                version: version(row, stored, known.stored.len())?,
                values,
            });
        }
        Ok(rows.end()?)
    })
}

/// A row's key, which a program can name the row by.
fn named_key(
    connection: &Connection,
    work: &Backfill,
    row: &rusqlite::Row<'_>,
    width: usize,
) -> Outcome<Key> {
    for part in 0..width {
        if row.get_ref(part)? == ValueRef::Null {
            let message =
                format!("{} has rows whose key is NULL, which no program can name", work.table);
            return Err(TargetError::new(ErrorKind::Refused, message)
                .help("name a key without NULLs in `key`, or leave those rows out with `where`")
                .into());
        }
    }
    key_of(connection, row, width)
}

fn listed(columns: &[Column]) -> String {
    columns.iter().map(|column| format!(", {}", named(&column.name))).collect()
}

/// All that a row holds: SQLite has no number for the version of a row.
fn version(row: &rusqlite::Row<'_>, first: usize, count: usize) -> Outcome<String> {
    let mut version = String::new();
    for column in first..first + count {
        Exact::from(row.get_ref(column)?).append_version(&mut version);
    }
    Ok(version)
}

/// Writes the changes; returns the keys of rows that are others by now, or gone.
fn write_all(
    connection: &Connection,
    control: &Control,
    known: &Known,
    changes: &[RowChange],
) -> Outcome<Vec<Key>> {
    let by_name: HashMap<&str, &Column> =
        known.stored.iter().map(|column| (column.name.as_str(), column)).collect();
    let mut missed = Vec::new();
    for change in changes {
        if control.is_stopped() {
            return Err(crate::fault::gone().into());
        }
        let Some(key) = find(connection, known, change)? else {
            missed.push(change.key.clone());
            continue;
        };
        if missed.is_empty() {
            write(connection, &known.order, &by_name, change, key)?;
        }
    }
    Ok(missed)
}

/// The key of a row that is as it was read.
fn find(connection: &Connection, known: &Known, change: &RowChange) -> Outcome<Option<Vec<Exact>>> {
    let order = &known.order;
    exact::checked(&change.key, order.columns.len())?;
    let sql = format!(
        "SELECT NULL{} FROM {} WHERE {}",
        listed(&known.stored),
        order.table,
        by_key(order, &change.key)
    );
    let key = exact::values(connection, &change.key)?;
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(&key))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    if version(row, 1, known.stored.len())? != change.version {
        return Ok(None);
    }
    Ok(Some(key))
}

fn write(
    connection: &Connection,
    order: &Order,
    columns: &HashMap<&str, &Column>,
    change: &RowChange,
    key: Vec<Exact>,
) -> Outcome<()> {
    if change.set.is_empty() {
        return Ok(());
    }
    let mut sets = Vec::with_capacity(change.set.len());
    let mut parameters = Vec::with_capacity(change.set.len() + key.len());
    for (name, text) in &change.set {
        let Some(column) = columns.get(name.as_str()) else {
            return Err(TargetError::new(
                ErrorKind::Refused,
                format!("{} has no column {name} that can be written", order.table),
            )
            .into());
        };
        sets.push(format!("{} = ?", named(name)));
        parameters.push(value::from_text(column, text.as_deref())?);
    }
    parameters.extend(key);
    let sql = format!(
        "UPDATE {} SET {} WHERE {}",
        order.table,
        sets.join(", "),
        by_key(order, &change.key)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.execute(params_from_iter(&parameters)).map_err(Fault::Row)?;
    Ok(())
}
