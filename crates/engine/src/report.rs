//! How a run ended.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use dunlin_model::{
    Deferred, Diagnostic, Direction, Held, Key, LeaseHolder, MigrationId, Plan, Statement,
};
use dunlin_project::plan::{Drift, Refusal};

use crate::TargetError;

/// A migration that this run brought to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Which.
    pub id: MigrationId,
    /// Its name.
    pub name: String,
    /// Up or down.
    pub direction: Direction,
    /// Set where it was recorded as skipped, with the reason.
    pub skipped: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// Rows that each statement touched, where the server says.
    pub rows: Vec<Option<u64>>,
    /// Data migrations that became pending again with it.
    pub resets: Vec<MigrationId>,
}

/// Why a migration did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The database said so.
    Target(TargetError),
    /// The program ended otherwise than with exit code 0.
    Program {
        /// What it was: "exit code 3", "killed by signal 9", "took longer than 10min".
        ending: String,
    },
    /// It cannot be known whether a statement of an earlier attempt took effect.
    Unknown {
        /// What is known, a line each.
        evidence: Vec<String>,
    },
    /// It was stopped by a person.
    Interrupted,
    /// The plan of its chunks was refused.
    Refused {
        /// Why, with places in the file.
        diagnostics: Vec<Diagnostic>,
    },
    /// A chunk failed, or the next one could not be made; those before it are done and kept.
    Chunk {
        /// Why.
        error: TargetError,
        /// The row's key, where one row alone fails. It is data: for the person at the terminal,
        /// never for logs and ledger.
        key: Option<Key>,
    },
    /// Every chunk is done, and rows remain in quarantine.
    RowsRemain {
        /// How many.
        count: u64,
    },
    /// It ran to its end, and `done-when` does not hold.
    NotProved {
        /// How often every row was walked over; 0 for what does not run in chunks: of SQL nothing
        /// remains then.
        rounds: u32,
    },
    /// A person paused it.
    Paused {
        /// Who, if that is known.
        by: Option<String>,
    },
    /// A person gave it up.
    Cancelled {
        /// Who, if that is known.
        by: Option<String>,
    },
}

/// For the ledger and for logs: without keys.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |by: &Option<String>| by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
        match self {
            Self::Target(error) | Self::Chunk { error, .. } => error.fmt(f),
            Self::Program { ending } => f.write_str(ending),
            Self::Unknown { .. } => f.write_str("its outcome is unknown"),
            Self::Interrupted => f.write_str("stopped by a person"),
            Self::Refused { diagnostics } => f.write_str(&list(diagnostics)),
            Self::RowsRemain { count: 1 } => f.write_str("1 row is in quarantine"),
            Self::RowsRemain { count } => write!(f, "{count} rows are in quarantine"),
            Self::NotProved { rounds: 0 } => {
                f.write_str("it ran to its end, and done-when does not hold")
            }
            Self::NotProved { rounds: 1 } => {
                f.write_str("every row was walked over, and done-when does not hold")
            }
            Self::NotProved { rounds } => {
                write!(f, "every row was walked over {rounds} times, and done-when does not hold")
            }
            Self::Paused { by: who } => write!(f, "paused{}", by(who)),
            Self::Cancelled { by: who } => write!(f, "cancelled{}", by(who)),
        }
    }
}

/// A migration that failed in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub id: MigrationId,
    /// Its name.
    pub name: String,
    /// Up or down.
    pub direction: Direction,
    /// Its file.
    pub file: PathBuf,
    /// The statement, with its place in the file, where one is to blame.
    pub statement: Option<Statement>,
    /// The statement's number, from 1.
    pub number: Option<usize>,
    /// Why.
    pub cause: Cause,
    /// How many of its statements are known to have taken effect and are kept; 0 where all of it
    /// was rolled back.
    pub kept: usize,
}

/// What a run did to one database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Migrations that it brought to their end, in order.
    pub finished: Vec<Finished>,
    /// Migrations that failed, in order.
    pub failed: Vec<Failure>,
    /// What waits for something.
    pub held: Vec<Held>,
    /// What is pending and was left alone.
    pub deferred: Vec<Deferred>,
    /// Notices of planning.
    pub notices: Vec<Diagnostic>,
    /// A person stopped it.
    pub interrupted: bool,
}

impl Report {
    /// Takes over what a plan leaves undone.
    pub(crate) fn leave(&mut self, plan: &Plan) {
        self.held.clone_from(&plan.held);
        self.deferred.clone_from(&plan.deferred);
    }
}

/// Why a run could not begin, or had to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Files, settings or the request are wrong.
    #[error("{}", list(.0))]
    Refused(Vec<Diagnostic>),
    /// Applied migrations were edited.
    #[error("{}", edited(.0.len()))]
    Drift(Vec<Drift>),
    /// The database.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Somebody else still held the lease when `lease_wait` was over.
    #[error("{} (process {}) still holds the lease on {}", .0.owner.host, .0.owner.pid, .0.resource)]
    LeaseHeld(LeaseHolder),
    /// A person stopped it while it waited.
    #[error("stopped while waiting")]
    Interrupted,
    /// A person paused a move, or cancelled it.
    #[error("{cause}")]
    Told {
        /// What was wanted, and by whom.
        cause: Cause,
        /// What to do.
        help: String,
    },
}

fn edited(count: usize) -> String {
    match count {
        1 => "1 applied migration was edited".to_owned(),
        _ => format!("{count} applied migrations were edited"),
    }
}

fn list(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl From<Refusal> for EngineError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Diagnostics(diagnostics) => Self::Refused(diagnostics),
            Refusal::Drift(drift) => Self::Drift(drift),
        }
    }
}
