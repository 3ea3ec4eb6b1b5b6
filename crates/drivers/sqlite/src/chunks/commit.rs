//! One chunk: its checkpoint and what it does, in one transaction.

use std::time::{Duration, Instant};

use dunlin_engine::{Checkpoint, Chunk, Committed, Deed, Rehearsal, TargetError, failpoint};
use dunlin_model::{Backfill, Key, KeyRange, Lease};
use rusqlite::Connection;

use super::capture::Before;
use super::exact::Exact;
use super::known::{self, Known};
use super::range::{Order, Ranged, in_file};
use crate::control::Control;
use crate::fault::Outcome;
use crate::ledger;
use crate::session::{Session, Verdict};
use crate::work::run_one;

/// Runs a chunk and moves its checkpoint.
pub(super) fn commit(
    session: &mut Session,
    lease: &Lease,
    ttl: Duration,
    work: &Backfill,
    chunk: &Chunk,
) -> Result<Committed, TargetError> {
    let mut known = session.known.take();
    let mut ranged = Vec::new();
    let ended = session.decide(work.lock_timeout, None, |connection, control, _| {
        ledger::enter_chunk(connection, lease, work.pass, &chunk.checkpoint)?;
        // Before the statements: those of a table that has changed would fail for other reasons.
        let known = known::refreshed(&mut known, connection, work)?;
        failpoint("chunk.begun");
        let rows = match &chunk.deed {
            Deed::Statements => {
                ranged = Ranged::all(work, &known.order, &chunk.range)?;
                let before = Before::of(connection, control, work, known, &chunk.range)?;
                let rows = run_all(connection, control, work, &ranged)?;
                before.keep(connection, lease, work, known)?;
                rows
            }
            Deed::SetAside { error } => {
                set_aside(connection, lease, work, &known.order, &chunk.range, error)?;
                Vec::new()
            }
        };
        finish(connection, lease, ttl, &chunk.checkpoint, rows).map(Verdict::Commit)
    });
    session.known = known;
    if ended.is_ok() {
        failpoint("chunk.done");
    }
    session.end_of_file();
    let (committed, times) = ended.map_err(|error| in_file(error, &ranged))?;
    Ok(Committed { commit: times.commit, held: Some(times.held), ..committed })
}

/// Ends a chunk's transaction, up to the COMMIT.
pub(super) fn finish(
    connection: &Connection,
    lease: &Lease,
    ttl: Duration,
    checkpoint: &Checkpoint,
    rows: Vec<Option<u64>>,
) -> Outcome<Committed> {
    let first = rows.first().copied().flatten().unwrap_or(0);
    let intent = ledger::advance(connection, lease, ttl, checkpoint, first)?;
    failpoint("chunk.executed");
    Ok(Committed { rows, held: None, commit: Duration::ZERO, bytes: None, intent })
}

/// Runs a chunk's statements and rolls them back.
pub(super) fn rehearse(
    session: &mut Session,
    work: &Backfill,
    range: &KeyRange,
) -> Result<Rehearsal, TargetError> {
    let mut known: Option<Known> = None;
    let mut ranged = Vec::new();
    let begun = Instant::now();
    let rehearsed = session.rehearse(work.lock_timeout, |connection, control| {
        let known = known::refreshed(&mut known, connection, work)?;
        ranged = Ranged::all(work, &known.order, range)?;
        let rows = run_all(connection, control, work, &ranged)?;
        Ok(Rehearsal {
            rows,
            took: begun.elapsed(),
            locks: vec!["the whole file, for writing".to_owned()],
            triggers: triggers(connection, work)?,
            ..Rehearsal::default()
        })
    });
    session.end_of_file();
    rehearsed.map_err(|error| in_file(error, &ranged))
}

fn run_all(
    connection: &Connection,
    control: &Control,
    work: &Backfill,
    ranged: &[Ranged],
) -> Outcome<Vec<Option<u64>>> {
    let limit = Some(work.statement_timeout);
    let run = |(index, statement): (usize, &Ranged)| {
        if control.is_stopped() {
            return Err(crate::fault::gone().into());
        }
        run_one(connection, control, limit, index, &statement.text)
    };
    ranged.iter().enumerate().map(run).collect()
}

fn set_aside(
    connection: &Connection,
    lease: &Lease,
    work: &Backfill,
    order: &Order,
    range: &KeyRange,
    error: &str,
) -> Outcome<()> {
    let job = lease.resource.to_string();
    for key in keys(connection, order, range)? {
        ledger::set_aside(connection, &job, work.pass, &key, error)?;
    }
    Ok(())
}

/// The keys of a range's rows, in order.
fn keys(connection: &Connection, order: &Order, range: &KeyRange) -> Outcome<Vec<Key>> {
    let sql = format!(
        "SELECT {} FROM {} {} WHERE {} {}",
        order.list(),
        order.table,
        order.by,
        order.range(None, range)?,
        order.order_by(false)
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(key_of(connection, row, order.columns.len())?);
    }
    Ok(found)
}

/// The key in the first columns of a row.
pub(super) fn key_of(
    connection: &Connection,
    row: &rusqlite::Row<'_>,
    width: usize,
) -> Outcome<Key> {
    let parts = (0..width).map(|column| Exact::from(row.get_ref(column)?).literal(connection));
    Ok(Key(parts.collect::<Outcome<_>>()?))
}

/// Triggers of the tables that the statements write. SQLite does not tell which of them fired.
fn triggers(connection: &Connection, work: &Backfill) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    let sql = "SELECT name || ' on ' || tbl_name FROM sqlite_schema
               WHERE type = 'trigger' AND lower(tbl_name) = lower(?1) ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    for write in work.statements.iter().filter_map(|statement| statement.facts.writes.as_ref()) {
        let named = statement.query_map([&write.table], |row| row.get(0))?;
        for trigger in named {
            let trigger: String = trigger?;
            if !found.contains(&trigger) {
                found.push(trigger);
            }
        }
    }
    Ok(found)
}
