//! What a run tells while it runs. Subscribers never change the run.

use std::time::Duration;

use dunlin_model::{Backfill, BackfillRecord, LeaseHolder, MigrationId, PlannedStep};

use crate::TargetError;
use crate::report::Cause;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// A move comes to another phase: `deciding`, `loading`, `linking`, `verifying`.
    MovePhase {
        /// Which.
        phase: &'a str,
        /// The source or the rule that it is at.
        of: Option<&'a str>,
    },
    /// How far a move is with a table that it reads in this phase, at most four times a second.
    MoveProgress {
        /// The table.
        table: &'a str,
        /// Rows read so far.
        rows: u64,
        /// About how many there are.
        estimate: Option<u64>,
        /// Rows a second.
        rate: u64,
        /// Seconds that are left, the least and the most that is expected; both 0 where unknown.
        seconds_left: (u64, u64),
    },
    /// A person wants a move to hold, and it does.
    MovePaused {
        /// Who.
        cause: &'a Cause,
    },
    /// It was held for so long that it let the source's snapshot go.
    MoveLetGo,
    /// It goes on.
    MoveResumed,
    /// A move's connection broke; it begins again, and finds unchanged what was committed.
    MoveBroken {
        /// How.
        error: &'a TargetError,
        /// How long it waits.
        pause: Duration,
    },
    /// Another runner holds the lease; told at once, then every ten seconds.
    WaitingForLease {
        /// Who.
        holder: &'a LeaseHolder,
        /// How long so far.
        waited: Duration,
    },
    /// A dead runner's lease was taken over.
    TookOver {
        /// From whom.
        holder: &'a LeaseHolder,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: &'a PlannedStep,
        /// Its place in the plan, from 1.
        number: usize,
        /// How many steps the plan has.
        count: usize,
    },
    /// One statement of a stepwise migration is done.
    StatementDone {
        /// Whose.
        id: MigrationId,
        /// Its place, from 1.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// An earlier attempt's open step was looked up.
    StepSettled {
        /// Whose.
        id: MigrationId,
        /// The statement's place, from 1.
        number: usize,
        /// Whether it had taken effect.
        took_effect: bool,
    },
    /// A step has ended well.
    StepFinished {
        /// Which.
        step: &'a PlannedStep,
        /// How long it took.
        took: Duration,
        /// Rows touched by each statement, where the server says.
        rows: &'a [Option<u64>],
    },
    /// A transaction is tried again.
    Retrying {
        /// Whose.
        id: MigrationId,
        /// After what.
        error: &'a TargetError,
        /// The try that comes, from 2.
        attempt: u32,
        /// After this time.
        pause: Duration,
    },
    /// The connection broke, or the lease was lost; the ledger is read again.
    Reconnecting {
        /// After what.
        error: &'a TargetError,
        /// After this time.
        pause: Duration,
    },
    /// A program whose runner died before its outcome was known runs again with the same key.
    ProgramAgain {
        /// Whose.
        id: MigrationId,
        /// The key.
        key: &'a str,
    },
    /// A line that a program wrote, secrets masked.
    ProgramOutput {
        /// Whose.
        id: MigrationId,
        /// The line, without its end.
        line: &'a str,
    },
    /// Something about a backfill.
    Backfill {
        /// Which.
        id: MigrationId,
        /// What.
        news: BackfillNews<'a>,
    },
    /// A data migration failed; later ones go on.
    DataFailed {
        /// Which.
        id: MigrationId,
        /// Its name.
        name: &'a str,
    },
}

/// Something about a backfill.
#[derive(Debug, Clone)]
pub enum BackfillNews<'a> {
    /// Its chunks begin, or go on.
    Began {
        /// What every chunk does.
        work: &'a Backfill,
        /// Its place in the ledger.
        record: &'a BackfillRecord,
        /// Rows that were done before.
        rows_done: u64,
    },
    /// Nothing is to be done: what is to be true already is.
    HeldBefore,
    /// Transactions that began before are waited for; told every ten seconds.
    WaitingFor {
        /// Who, a line each.
        who: &'a [String],
    },
    /// Few rows match: they were found by one search, and chunks reach no others.
    Found {
        /// How many.
        count: u64,
    },
    /// How far it is; told four times a second.
    Progress {
        /// As the ledger will keep it.
        record: &'a BackfillRecord,
        /// Rows done so far.
        rows_done: u64,
    },
    /// A row went to quarantine.
    SetAside {
        /// Why.
        error: &'a TargetError,
        /// How many rows.
        count: u64,
    },
    /// A signal of the server's health that this login may not read.
    Absent {
        /// Its name.
        name: &'a str,
        /// The GRANT that would help.
        help: &'a str,
    },
    /// What could not be read for now, and counts as bad until it can.
    Unread {
        /// Its name.
        name: &'a str,
        /// Why.
        why: &'a str,
    },
    /// Advice for the people who run the server.
    Advice {
        /// A sentence.
        text: &'a str,
    },
    /// Every row was walked over, and what is to be true is not: the table is walked again.
    Again {
        /// The walk that begins, from 2.
        round: u32,
        /// At most so many.
        most: u32,
    },
    /// The table's shape changed; chunks go on with the new one.
    Reshaped,
}

/// Hears what happens.
pub trait Observer: Send + Sync {
    /// Called in order, on the run's own task: it must not block.
    fn event(&self, event: Event<'_>);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event<'_>) {}
}
