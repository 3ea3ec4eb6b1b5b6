//! A migration's row, and its history.

use dunlin_model::{EntryState, EntryWrite, LedgerEvent, MigrationId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::NOW;
use crate::fault::Outcome;

/// When a migration's statements ran, as far as this transaction knows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attempt {
    /// They began in this transaction.
    Since(i64),
    /// They began when its row says so: its steps were journalled.
    Journalled,
    /// There are none: only its row changes.
    None,
}

/// The times of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Times {
    started_at: Option<i64>,
    finished_at: Option<i64>,
    duration_ms: Option<i64>,
}

struct Stored {
    state: String,
    times: Times,
}

/// The moment, by the clock that the ledger goes by.
pub(crate) fn now(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(&format!("SELECT {NOW}"))?.query_row([], |row| row.get(0))
}

/// Stores a migration's row and what its history says.
pub(crate) fn write(connection: &Connection, write: &EntryWrite, attempt: Attempt) -> Outcome<()> {
    let now = now(connection)?;
    let stored = stored(connection, write.id)?;
    let took_ms = took_ms(stored.as_ref(), attempt, now);
    let times = times(write, stored.as_ref(), attempt, now);
    upsert(connection, write, times)?;
    let duration_ms = match write.event {
        LedgerEvent::Up | LedgerEvent::Down => took_ms,
        _ => None,
    };
    append_history(connection, write, now, duration_ms)
}

fn stored(connection: &Connection, id: MigrationId) -> Outcome<Option<Stored>> {
    let sql = "SELECT state, started_at, finished_at, duration_ms
               FROM dunlin_migrations WHERE kind = ?1 AND version = ?2";
    let read = |row: &Row<'_>| {
        let times =
            Times { started_at: row.get(1)?, finished_at: row.get(2)?, duration_ms: row.get(3)? };
        Ok(Stored { state: row.get(0)?, times })
    };
    Ok(connection
        .prepare_cached(sql)?
        .query_row(params![id.kind.as_str(), id.version.get()], read)
        .optional()?)
}

fn took_ms(stored: Option<&Stored>, attempt: Attempt, now: i64) -> Option<i64> {
    let since = match attempt {
        Attempt::Since(since) => Some(since),
        Attempt::Journalled => stored.and_then(|stored| stored.times.started_at),
        Attempt::None => None,
    };
    // The clock may have been set back meanwhile.
    since.map(|since| (now - since).max(0) / 1000)
}

fn times(write: &EntryWrite, stored: Option<&Stored>, attempt: Attempt, now: i64) -> Times {
    let kept = stored.map(|stored| stored.times).unwrap_or_default();
    let journalled = kept.started_at.or(Some(now));
    match (write.state, write.event) {
        (EntryState::Pending, _) => Times::default(),
        (EntryState::Running, _) => Times { started_at: Some(now), ..Times::default() },
        // The row is about what was run, not about who looked at it since.
        (_, LedgerEvent::Accept | LedgerEvent::Skip | LedgerEvent::Retire) => kept,
        (EntryState::Applied, _) => Times {
            started_at: match attempt {
                Attempt::Since(since) => Some(since),
                Attempt::Journalled => journalled,
                Attempt::None => Some(now),
            },
            finished_at: Some(now),
            duration_ms: took_ms(stored, attempt, now),
        },
        // Its steps began then; an attempt that was rolled back left no trace of when it began.
        (EntryState::Failed, _) if stored.is_some_and(|stored| stored.state == "running") => {
            Times { started_at: journalled, ..Times::default() }
        }
        (EntryState::Failed, _) => Times { started_at: Some(now), ..Times::default() },
        (EntryState::Skipped | EntryState::Retired, _) => kept,
    }
}

fn upsert(connection: &Connection, write: &EntryWrite, times: Times) -> Outcome<()> {
    let sql = "INSERT INTO dunlin_migrations
        (kind, version, name, state, pass, text_checksum, statements_checksum, baseline,
         by_environment, reason, error, started_at, finished_at, duration_ms, run, output, text)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
        ON CONFLICT (kind, version) DO UPDATE SET
         name = excluded.name, state = excluded.state, pass = excluded.pass,
         text_checksum = coalesce(excluded.text_checksum, text_checksum),
         statements_checksum = coalesce(excluded.statements_checksum, statements_checksum),
         baseline = excluded.baseline, by_environment = excluded.by_environment,
         reason = excluded.reason, error = excluded.error, started_at = excluded.started_at,
         finished_at = excluded.finished_at, duration_ms = excluded.duration_ms,
         run = excluded.run, output = excluded.output,
         text = coalesce(excluded.text, text)";
    let checksums = write.content.as_ref().map(|(checksums, _)| checksums);
    connection.prepare_cached(sql)?.execute(params![
        write.id.kind.as_str(),
        write.id.version.get(),
        write.name,
        write.state.as_str(),
        write.pass,
        checksums.map(|checksums| checksums.text.as_str()),
        checksums.map(|checksums| checksums.statements.as_str()),
        write.baseline,
        write.by_environment,
        write.reason,
        write.error,
        times.started_at,
        times.finished_at,
        times.duration_ms,
        write.run,
        write.output,
        write.content.as_ref().map(|(_, text)| text.as_str()),
    ])?;
    Ok(())
}

fn append_history(
    connection: &Connection,
    write: &EntryWrite,
    now: i64,
    duration_ms: Option<i64>,
) -> Outcome<()> {
    let sql = "INSERT INTO dunlin_history
        (number, at, kind, version, name, event, pass, run, reason, error, duration_ms)
        SELECT coalesce(max(number), 0) + 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
        FROM dunlin_history";
    connection.prepare_cached(sql)?.execute(params![
        now,
        write.id.kind.as_str(),
        write.id.version.get(),
        write.name,
        write.event.as_str(),
        write.pass,
        write.run,
        write.reason,
        write.error,
        duration_ms,
    ])?;
    Ok(())
}

/// The row of a migration whose steps begin.
pub(super) fn started(entry: &EntryWrite) -> EntryWrite {
    EntryWrite {
        state: EntryState::Running,
        error: None,
        output: None,
        event: LedgerEvent::Start,
        ..entry.clone()
    }
}

/// Whether the migration's steps of that pass have begun.
pub(super) fn is_running(connection: &Connection, entry: &EntryWrite) -> Outcome<bool> {
    let sql = "SELECT 1 FROM dunlin_migrations
               WHERE kind = ?1 AND version = ?2 AND state = 'running' AND pass = ?3";
    Ok(connection.prepare_cached(sql)?.exists(params![
        entry.id.kind.as_str(),
        entry.id.version.get(),
        entry.pass
    ])?)
}
