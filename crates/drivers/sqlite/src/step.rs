//! Statements that run as journalled steps of their own.
//!
//! A step outside a transaction is atomic by itself in SQLite; what a dead runner leaves is at
//! most a journal that the next one to open the file rolls back.

use std::time::Duration;

use dunlin_engine::{ErrorKind, Settled, TargetError, Work, failpoint};
use dunlin_model::{Checksums, Direction, EntryWrite, Lease, Restart, StepRecord, StepState};
use rusqlite::Connection;

use crate::fault::Outcome;
use crate::ledger::{self, Attempt, StepRow};
use crate::session::{Primed, Session};
use crate::work;

/// What is needed of a work to run or journal one of its statements.
pub(crate) struct Step {
    row: StepRow,
    /// An earlier step that is done with this one's journal.
    closes: Option<StepRow>,
    /// The statement; `None` for a program.
    text: Option<String>,
    /// Earlier statements of the file that set up the session, with their places.
    session: Vec<(usize, String)>,
    /// Nothing of the file comes after it.
    last: bool,
    entry: EntryWrite,
    resets: Vec<EntryWrite>,
    lock_timeout: Duration,
    statement_timeout: Option<Duration>,
}

impl Step {
    pub(crate) fn of(work: &Work, ordinal: u32) -> Result<Self, TargetError> {
        let index = usize::try_from(ordinal).unwrap_or(usize::MAX);
        let statement = work.statements.get(index);
        if statement.is_none() && (index > 0 || !work.statements.is_empty()) {
            return Err(TargetError::new(
                ErrorKind::Bug,
                format!("{} has no statement {ordinal}", work.entry.id),
            ));
        }
        if work.foreign_keys_off {
            return Err(TargetError::new(
                ErrorKind::Refused,
                "`foreign-keys off` does not go with `no-transaction`: the check of foreign keys \
                 must be able to undo the migration",
            )
            .help("take one of the two directives out of the file"));
        }
        let checksum = match (statement, &work.entry.content) {
            (Some(statement), _) => Checksums::of_bytes(statement.text.as_bytes()),
            (None, Some((checksums, _))) => checksums.text.clone(),
            (None, None) => Checksums::of_bytes(&[]),
        };
        let earlier = work.statements.iter().enumerate().take(index);
        Ok(Self {
            row: StepRow {
                id: work.entry.id,
                direction: work.direction,
                pass: work.entry.pass,
                ordinal,
                checksum,
            },
            closes: None,
            text: statement.map(|statement| statement.text.clone()),
            session: earlier
                .filter(|(_, statement)| statement.facts.changes_session)
                .map(|(place, statement)| (place, statement.text.clone()))
                .collect(),
            last: index + 1 >= work.statements.len(),
            entry: work.entry.clone(),
            resets: work.resets.clone(),
            lock_timeout: work.lock_timeout,
            statement_timeout: work.statement_timeout,
        })
    }

    /// With an earlier step of the same work that its journal closes.
    pub(crate) fn closing(self, work: &Work, earlier: Option<u32>) -> Result<Self, TargetError> {
        let closes = earlier.map(|ordinal| Self::of(work, ordinal)).transpose()?;
        Ok(Self { closes: closes.map(|step| step.row), ..self })
    }

    /// The journal before it: the earlier step done, the migration running.
    fn begin(&self, connection: &Connection) -> Outcome<()> {
        if let Some(earlier) = &self.closes {
            ledger::close_step(connection, earlier, StepState::Done)?;
        }
        ledger::mark_running(connection, &self.entry)
    }

    fn index(&self) -> usize {
        usize::try_from(self.row.ordinal).unwrap_or(usize::MAX)
    }

    fn text(&self) -> Result<&str, TargetError> {
        self.text.as_deref().ok_or_else(|| {
            TargetError::new(ErrorKind::Bug, format!("{} is a program: no SQL", self.row.id))
        })
    }

    /// The migration's row once its last step is done.
    fn finish(&self, connection: &Connection) -> Outcome<()> {
        ledger::write(connection, &self.entry, Attempt::Journalled)?;
        for reset in &self.resets {
            ledger::write(connection, reset, Attempt::None)?;
        }
        ledger::delete_steps(connection, self.row.id)
    }

    /// Makes the session what the statements before this one made it, where the process that ran
    /// them, or the connection, is another one.
    fn prime(&self, session: &mut Session) -> Result<(), TargetError> {
        let here = self.primed(self.index());
        if session.primed() == Some(&here) {
            return Ok(());
        }
        session.end_of_file();
        session.alone(self.lock_timeout, |connection, control| {
            for (index, text) in &self.session {
                work::run_one(connection, control, self.statement_timeout, *index, text)?;
            }
            Ok(())
        })?;
        session.set_primed(here);
        Ok(())
    }

    fn primed(&self, next: usize) -> Primed {
        Primed { id: self.row.id, direction: self.row.direction, next }
    }

    fn ran(&self, session: &mut Session) {
        session.set_primed(self.primed(self.index() + 1));
    }
}

/// Journals that the step is about to run.
pub(crate) fn open(
    session: &mut Session,
    lease: &Lease,
    ttl: Duration,
    step: &Step,
) -> Result<(), TargetError> {
    session.write(step.lock_timeout, |connection, _| {
        ledger::enter(connection, lease)?;
        step.begin(connection)?;
        ledger::open_step(connection, &step.row, lease.token, StepState::Open)?;
        ledger::leave(connection, lease, ttl, 0)
    })?;
    failpoint("step.opened");
    Ok(())
}

/// Runs the statement outside a transaction.
pub(crate) fn send(session: &mut Session, step: &Step) -> Result<Option<u64>, TargetError> {
    step.prime(session)?;
    failpoint("step.sending");
    let text = step.text()?;
    let touched = session.alone(step.lock_timeout, |connection, control| {
        work::run_one(connection, control, step.statement_timeout, step.index(), text)
    })?;
    step.ran(session);
    failpoint("step.executed");
    Ok(touched)
}

/// Journals how the step ended.
pub(crate) fn close(
    session: &mut Session,
    lease: &Lease,
    ttl: Duration,
    step: &Step,
    state: StepState,
) -> Result<(), TargetError> {
    let finished = step.last && state == StepState::Done;
    session.write(step.lock_timeout, |connection, _| {
        ledger::enter(connection, lease)?;
        ledger::close_step(connection, &step.row, state)?;
        if finished {
            step.finish(connection)?;
        }
        ledger::leave(connection, lease, ttl, 0)
    })?;
    failpoint("step.closed");
    if finished {
        session.end_of_file();
    }
    Ok(())
}

/// Runs the statement and journals it in one transaction.
pub(crate) fn commit(
    session: &mut Session,
    lease: &Lease,
    ttl: Duration,
    step: &Step,
) -> Result<Option<u64>, TargetError> {
    step.prime(session)?;
    let text = step.text()?;
    let touched = session.write(step.lock_timeout, |connection, control| {
        ledger::enter(connection, lease)?;
        step.begin(connection)?;
        failpoint("step.sending");
        let limit = step.statement_timeout;
        let touched = work::run_one(connection, control, limit, step.index(), text)?;
        failpoint("step.executed");
        ledger::open_step(connection, &step.row, lease.token, StepState::Done)?;
        if step.last {
            step.finish(connection)?;
        }
        ledger::leave(connection, lease, ttl, touched.unwrap_or(0))?;
        Ok(touched)
    })?;
    step.ran(session);
    failpoint("step.closed");
    if step.last {
        session.end_of_file();
    }
    Ok(touched)
}

/// What became of a step whose runner died. By the time that a lease was claimed nothing of that
/// runner's is under way any more: it would hold the right to write.
pub(crate) fn settle(work: &Work, step: &StepRecord) -> Settled {
    let index = usize::try_from(step.ordinal).unwrap_or(usize::MAX);
    let evidence = match work.statements.get(index).map(|statement| &statement.facts.restart) {
        // In one transaction with its journal row, which says that it is not done.
        Some(Restart::Transactional) => return Settled::DidNot,
        // VACUUM, PRAGMA: again does no harm, and a setting of the session is gone anyhow.
        Some(Restart::Repeatable) => return Settled::DidNot,
        // A program: it runs again under the same key.
        None if work.statements.is_empty() => return Settled::DidNot,
        Some(Restart::Unknowable { reason }) => reason.clone(),
        Some(Restart::ByImage { .. }) => {
            "SQLite keeps no definition from before the statement to compare with".to_owned()
        }
        None => "the file has no such statement any more".to_owned(),
    };
    let direction = match step.direction {
        Direction::Up => "up",
        Direction::Down => "down",
    };
    Settled::Unknown {
        evidence: vec![
            format!("statement {} of {} {direction} was open", step.ordinal + 1, step.id),
            evidence,
        ],
    }
}
