//! Exit codes, and the errors that lead to them.

use std::process::ExitCode;

use dunlin::engine::report::EngineError;
use dunlin::engine::{ErrorKind, TargetError};
use dunlin::model::Diagnostic;

/// How the process ends. `docs/reference/exit-codes.md` documents the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked for is done.
    Done,
    /// Something failed.
    Failed,
    /// Usage or configuration.
    Usage,
    /// Something is pending.
    Pending,
    /// Applied migrations were edited.
    Drift,
    /// Somebody else still holds the lease.
    LeaseHeld,
    /// Rows remain.
    RowsRemain,
    /// A person stopped it.
    Stopped,
}

impl Exit {
    /// Every exit, in the order of the codes.
    pub(crate) const ALL: [Self; 8] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Pending,
        Self::Drift,
        Self::LeaseHeld,
        Self::RowsRemain,
        Self::Stopped,
    ];

    /// What it means, for the reference.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "everything that was asked for is done, or there was nothing to do",
            Self::Failed => "something failed",
            Self::Usage => "usage or configuration: nothing was done",
            Self::Pending => "something is pending",
            Self::Drift => "drift: an applied file was edited",
            Self::LeaseHeld => "somebody else still holds the lease after `--lease-wait`",
            Self::RowsRemain => "rows remain: quarantined, or not proved",
            Self::Stopped => "stopped by a person",
        }
    }

    /// When it happens, for the reference.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Done => {
                "`migrate` that passed a held migration over; `check` with nothing pending"
            }
            Self::Failed => {
                "a statement, a row, a program, a connection; `wait` on a database that doesn't answer in time; `data pause V` where V never ran in chunks"
            }
            Self::Usage => {
                "an unknown option, a key in `dunlin.toml` that doesn't exist, two files of one version, a rollback across a migration without a down; `data status V` where there is no V, `data quarantine retry` of a row that is not in it; `wait --migrated` on files that no run would take"
            }
            Self::Pending => {
                "`check`; `check --data V` where V isn't done; `wait --migrated` that ran out of time while the database answers; `migrate --fail-if-held` with a held migration; `data run V` where V is held; `data run --background --until-idle` where one is held; `redo` of one that is held once it is undone"
            }
            Self::Drift => "`migrate`, `status`, `check`, `wait --migrated`",
            Self::LeaseHeld => "`migrate` beside a long one",
            Self::RowsRemain => {
                "`data run` where every chunk is done and rows are in quarantine, or `done-when` does not hold; `data quarantine retry` where rows failed again; `move run` and `move finish` where a row could not be moved, or is not as it should be; `move verify` where rows differ"
            }
            Self::Stopped => {
                "Ctrl-C, SIGTERM; `data run` or `move run` of one that is, or was, paused or cancelled"
            }
        }
    }

    /// The one that tells more of what is wrong. Stopping comes first, because what was not looked
    /// at is unknown; then what failed, what is refused, and what merely waits.
    pub(crate) fn worse(self, other: Self) -> Self {
        let weight = |exit| match exit {
            Self::Done => 0,
            Self::Pending => 1,
            Self::Drift => 2,
            Self::LeaseHeld => 3,
            Self::RowsRemain => 4,
            Self::Usage => 5,
            Self::Failed => 6,
            Self::Stopped => 7,
        };
        if weight(other) > weight(self) { other } else { self }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Pending => 3,
            Self::Drift => 4,
            Self::LeaseHeld => 5,
            Self::RowsRemain => 6,
            Self::Stopped => 7,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command could not do what it was asked for.
#[derive(Debug)]
pub(crate) enum CliError {
    /// Files or settings, each with its place.
    Diagnostics(Vec<Diagnostic>),
    /// The engine, on one database.
    Engine {
        /// Its name, and where it is.
        database: String,
        /// What it said.
        error: Box<EngineError>,
        /// Something was done before it.
        changed: bool,
    },
    /// Something that a person asked for and can't have.
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The database has no such thing.
    NoSuch {
        /// What there is not.
        message: String,
        /// What to do.
        help: String,
    },
    /// Reading or writing a file of the project.
    File {
        /// What failed, on which file.
        message: String,
    },
}

impl CliError {
    pub(crate) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: Some(help.into()) }
    }

    pub(crate) fn file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::File { message: format!("cannot {action} {}: {error}", path.display()) }
    }

    /// The exit code that this error means.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Diagnostics(_) | Self::Usage { .. } => Exit::Usage,
            Self::File { .. } | Self::NoSuch { .. } => Exit::Failed,
            Self::Engine { error, .. } => match error.as_ref() {
                EngineError::Refused(_) => Exit::Usage,
                EngineError::Drift(_) => Exit::Drift,
                EngineError::LeaseHeld(_) => Exit::LeaseHeld,
                EngineError::Interrupted | EngineError::Told { .. } => Exit::Stopped,
                EngineError::Target(error) => target_exit(error),
            },
        }
    }
}

fn target_exit(error: &TargetError) -> Exit {
    if error.kind == ErrorKind::Refused { Exit::Usage } else { Exit::Failed }
}
