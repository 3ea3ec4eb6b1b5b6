//! The journal of steps.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Direction, EntryWrite, MigrationId, StepState};
use rusqlite::{Connection, params};

use super::{Attempt, NOW, entry};
use crate::fault::Outcome;

/// The key and checksum of a step.
#[derive(Debug, Clone)]
pub(crate) struct StepRow {
    pub(crate) id: MigrationId,
    pub(crate) direction: Direction,
    pub(crate) pass: u32,
    pub(crate) ordinal: u32,
    pub(crate) checksum: String,
}

impl StepRow {
    fn name(&self) -> String {
        format!("step {} of {}", self.ordinal.saturating_add(1), self.id)
    }
}

/// Makes the migration's row `running`, unless this pass of it is.
pub(crate) fn mark_running(connection: &Connection, work: &EntryWrite) -> Outcome<()> {
    if entry::is_running(connection, work)? {
        return Ok(());
    }
    entry::write(connection, &entry::started(work), Attempt::None)
}

/// Journals that a step is about to run: `open`, or `done` where it ran in this transaction.
pub(crate) fn open_step(
    connection: &Connection,
    step: &StepRow,
    token: i64,
    state: StepState,
) -> Outcome<()> {
    let sql = format!(
        "INSERT INTO dunlin_steps
         (kind, version, direction, pass, ordinal, checksum, state, token, opened_at, closed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, {NOW}, CASE ?7 WHEN 'open' THEN NULL ELSE {NOW} END)
         ON CONFLICT (kind, version, direction, pass, ordinal) DO UPDATE SET
          checksum = excluded.checksum, state = excluded.state, token = excluded.token,
          opened_at = excluded.opened_at, closed_at = excluded.closed_at
         WHERE state <> 'done'"
    );
    let written = connection.prepare_cached(&sql)?.execute(params![
        step.id.kind.as_str(),
        step.id.version.get(),
        step.direction.as_str(),
        step.pass,
        step.ordinal,
        step.checksum,
        state.as_str(),
        token,
    ])?;
    if written == 1 {
        return Ok(());
    }
    let message = format!("{} is done already and was about to run again", step.name());
    Err(TargetError::new(ErrorKind::Bug, message).into())
}

/// Journals how an open step ended.
pub(crate) fn close_step(connection: &Connection, step: &StepRow, state: StepState) -> Outcome<()> {
    let sql = format!(
        "UPDATE dunlin_steps SET state = ?6, closed_at = {NOW} WHERE kind = ?1 AND version = ?2
          AND direction = ?3 AND pass = ?4 AND ordinal = ?5 AND state <> 'done'"
    );
    let written = connection.prepare_cached(&sql)?.execute(params![
        step.id.kind.as_str(),
        step.id.version.get(),
        step.direction.as_str(),
        step.pass,
        step.ordinal,
        state.as_str(),
    ])?;
    if written == 1 {
        return Ok(());
    }
    let message = format!("{} is not open and was about to be closed", step.name());
    Err(TargetError::new(ErrorKind::Bug, message).into())
}

/// Forgets the steps of a finished migration.
pub(crate) fn delete_steps(connection: &Connection, id: MigrationId) -> Outcome<()> {
    let sql = "DELETE FROM dunlin_steps WHERE kind = ?1 AND version = ?2";
    connection.prepare_cached(sql)?.execute(params![id.kind.as_str(), id.version.get()])?;
    Ok(())
}
