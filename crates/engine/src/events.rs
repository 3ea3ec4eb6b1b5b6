//! What a run tells while it runs. Subscribers never change the run.

use std::time::Duration;

use dunlin_model::{LeaseHolder, MigrationId, PlannedStep};

use crate::TargetError;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event<'a> {
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
    /// A data migration failed; later ones go on.
    DataFailed {
        /// Which.
        id: MigrationId,
        /// Its name.
        name: &'a str,
    },
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
