//! Captured values, put back.

use std::collections::BTreeSet;
use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError, UndoSlice, Undone, failpoint};
use dunlin_model::{Backfill, Column, KeyRange, Lease};
use rusqlite::{Connection, params_from_iter};
use serde_json::{Map, Value};

use super::capture::{Kept, now, tag};
use super::exact::Exact;
use super::known::{self, Known};
use super::range::{Order, named};
use super::table;
use crate::fault::{self, Outcome};
use crate::ledger::{self, CapturedRow};
use crate::session::Session;

/// Puts the newest captured values back, row by row, and forgets them.
pub(super) fn undo(
    session: &mut Session,
    lease: &Lease,
    ttl: Duration,
    work: &Backfill,
    slice: UndoSlice,
) -> Result<Undone, TargetError> {
    let mut known = session.known.take();
    let undone = session.write(work.lock_timeout, |connection, control| {
        ledger::enter(connection, lease)?;
        let known = known::refreshed(&mut known, connection, work)?;
        failpoint("undo.begun");
        let job = lease.resource.to_string();
        let mut rows = ledger::captured(connection, &job, work.pass, slice.below, slice.count_max)?;
        // A row that was kept twice goes back step by step.
        let mut keys = BTreeSet::new();
        let once = rows.iter().take_while(|row| keys.insert(row.key.clone())).count();
        rows.truncate(once);
        let lowest = rows.last().map(|oldest| oldest.number);
        let mut undone = Undone::default();
        // What is in one's way may be gone with another that is further down, so back and forth.
        loop {
            let tried = rows.len();
            let mut stuck = Vec::new();
            for row in rows {
                if control.is_stopped() {
                    return Err(fault::gone().into());
                }
                if put_back(connection, known, work, &row)? {
                    undone.restored += 1;
                    ledger::uncapture(connection, &job, work.pass, row.number)?;
                } else {
                    stuck.push(row);
                }
            }
            if stuck.is_empty() || stuck.len() == tried {
                undone.passed = stuck.len() as u64;
                break;
            }
            stuck.reverse();
            rows = stuck;
        }
        if let Some(lowest) = lowest {
            undone.left = ledger::has_captured(connection, &job, work.pass, lowest)?;
            undone.lowest = u64::try_from(lowest).ok();
        }
        ledger::count_undone(connection, &job, undone)?;
        ledger::leave(connection, lease, ttl, 0)?;
        failpoint("undo.executed");
        Ok(undone)
    });
    session.known = known;
    failpoint("undo.done");
    undone
}

/// Puts a row's old values back, if it is as the chunk left it; whether it has them.
fn put_back(
    connection: &Connection,
    known: &Known,
    work: &Backfill,
    row: &CapturedRow,
) -> Outcome<bool> {
    let order = &known.order;
    let (tag, old) = decoded(connection, &row.old)?;
    let columns: Vec<String> = old.iter().map(|(column, _)| column.clone()).collect();
    refuse_unlike(&known.stored, work, tag.as_deref(), &columns)?;
    let kept = Kept { columns: &columns, tag };
    if now(connection, order, &row.key, &kept)? != row.new {
        return Ok(false);
    }
    let written = if row.new.is_some() {
        let sets: Vec<String> =
            columns.iter().map(|column| format!("{} = ?", named(column))).collect();
        let sql = format!(
            "UPDATE OR ABORT {} SET {} WHERE {}",
            order.table,
            sets.join(", "),
            order.range(None, &KeyRange::Exactly(row.key.clone()))?
        );
        let values = old.iter().map(|(_, value)| value);
        connection.prepare(&sql)?.execute(params_from_iter(values))
    } else {
        insert(connection, order, row, old)
    };
    match written {
        Ok(_) => Ok(now(connection, order, &row.key, &kept)?.as_ref() == Some(&row.old)),
        // Another row stands in its way by now, or a trigger refuses it. Whatever the table's own
        // clauses say, that one is not deleted for it.
        Err(error) if is_constraint(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Inserts a row that the chunk deleted, with the key that it had.
fn insert(
    connection: &Connection,
    order: &Order,
    row: &CapturedRow,
    mut values: Vec<(String, Exact)>,
) -> rusqlite::Result<usize> {
    let literals = row.key.0.iter().zip(&order.columns);
    for (literal, column) in literals {
        let there = values.iter().any(|(name, _)| name.eq_ignore_ascii_case(&column.name));
        if !there && let Ok(number) = literal.parse() {
            // The number of a row in a table without a key of its own.
            values.push((column.name.clone(), Exact::Integer(number)));
        }
    }
    let names: Vec<String> = values.iter().map(|(name, _)| named(name)).collect();
    let marks = vec!["?"; values.len()].join(", ");
    let sql =
        format!("INSERT OR ABORT INTO {} ({}) VALUES ({marks})", order.table, names.join(", "));
    connection.prepare(&sql)?.execute(params_from_iter(values.iter().map(|(_, value)| value)))
}

fn is_constraint(error: &rusqlite::Error) -> bool {
    fault::extended_code(error).is_some_and(|code| code & 0xff == rusqlite::ffi::SQLITE_CONSTRAINT)
}

/// What is left to undo with, if its first and last rows can be put back.
pub(super) fn kept(connection: &Connection, work: &Backfill) -> Outcome<dunlin_engine::Kept> {
    let job = dunlin_model::Resource::Data(work.id.version).to_string();
    let kept = ledger::kept(connection, &job)?;
    if kept.any {
        let stored = table::stored_columns(connection, &work.table)?;
        for row in ledger::captured_ends(connection, &job)? {
            let (tag, old) = decoded(connection, &row)?;
            let columns: Vec<String> = old.into_iter().map(|(column, _)| column).collect();
            refuse_unlike(&stored, work, tag.as_deref(), &columns)?;
        }
    }
    Ok(kept)
}

/// Refuses values that were kept of columns, or under keys, that have other types by now.
fn refuse_unlike(
    stored: &[Column],
    work: &Backfill,
    kept: Option<&str>,
    columns: &[String],
) -> Outcome<()> {
    if kept.is_none_or(|kept| tag(stored, work, columns).as_deref() == Some(kept)) {
        return Ok(());
    }
    Err(TargetError::captured_unlike(&work.table, columns, "dunlin_captured").into())
}

/// The tag of a row's columns, and their values by name.
type Decoded = (Option<String>, Vec<(String, Exact)>);

fn decoded(connection: &Connection, text: &str) -> Outcome<Decoded> {
    let damaged = || {
        TargetError::new(
            ErrorKind::LedgerFormat,
            "the ledger cannot be understood: the values of a captured row cannot be read",
        )
        .help("was a table whose name begins with dunlin_ changed by hand?")
    };
    let values: Map<String, Value> = serde_json::from_str(text).map_err(|_| damaged())?;
    let mut read = Vec::with_capacity(values.len());
    let mut tag = None;
    for (column, literal) in values {
        let literal = literal.as_str().ok_or_else(damaged)?;
        if column.is_empty() {
            tag = Some(literal.to_owned());
        } else {
            read.push((column, Exact::parse(connection, literal)?));
        }
    }
    Ok((tag, read))
}
