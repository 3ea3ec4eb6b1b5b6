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
    /// A person stopped it.
    Stopped,
}

impl Exit {
    /// Every exit, in the order of the codes.
    pub(crate) const ALL: [Self; 7] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Pending,
        Self::Drift,
        Self::LeaseHeld,
        Self::Stopped,
    ];

    /// What it means, for the reference.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "everything that was asked for is done",
            Self::Failed => "something failed: a migration, a connection, a file",
            Self::Usage => "usage, configuration, or files that can't be run as they are",
            Self::Pending => {
                "something is pending (`check`, `wait`), or held (`migrate --fail-if-held`)"
            }
            Self::Drift => "drift: a file was edited after it was applied",
            Self::LeaseHeld => "somebody else still held the lease after `--lease-wait`",
            Self::Stopped => "stopped by a person: Ctrl-C or SIGTERM",
        }
    }

    /// What to do about it, for the reference.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Done => "nothing",
            Self::Failed => {
                "the last lines say what, where, what is kept, and the command that goes on"
            }
            Self::Usage => "correct what the message names: nothing was run",
            Self::Pending => "run it, or wait",
            Self::Drift => "restore the file, or `dunlin accept VERSION --because \"…\"`",
            Self::LeaseHeld => "wait for it, or give more time; nothing was changed",
            Self::Stopped => "run the same command again: it goes on where it stopped",
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Pending => 3,
            Self::Drift => 4,
            Self::LeaseHeld => 5,
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
    },
    /// Something that a person asked for and can't have.
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
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
            Self::File { .. } => Exit::Failed,
            Self::Engine { error, .. } => match error.as_ref() {
                EngineError::Refused(_) => Exit::Usage,
                EngineError::Drift(_) => Exit::Drift,
                EngineError::LeaseHeld(_) => Exit::LeaseHeld,
                EngineError::Interrupted => Exit::Stopped,
                EngineError::Target(error) => target_exit(error),
            },
        }
    }
}

fn target_exit(error: &TargetError) -> Exit {
    if error.kind == ErrorKind::Refused { Exit::Usage } else { Exit::Failed }
}
