//! What can go wrong with a database, grouped by what is to be done about it.

use std::fmt;

/// What kind of failure a database reported, in every driver's terms alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No server answered: refused, unknown host, no route, timed out.
    Unreachable,
    /// TLS was asked for and could not be had, or the certificate is not to be trusted.
    Tls,
    /// Wrong user or password.
    Authentication,
    /// The server has no such database, or there is no such file.
    NoSuchDatabase,
    /// The login may not do this.
    Permission,
    /// The server takes no writes: a standby, `read_only`, a file without write permission.
    ReadOnly,
    /// The server is too old, or of a kind or setting that we refuse.
    Unsupported,
    /// A lock was not had within `lock_timeout`; or SQLite stayed busy.
    LockTimeout,
    /// The server stopped a statement that took longer than allowed.
    StatementTimeout,
    /// Deadlock or serialization failure: the whole transaction can be tried again.
    Conflict,
    /// Too many connections, the server is starting or shutting down, disk full: later.
    Exhausted,
    /// The connection broke. If a COMMIT was under way its outcome is unknown.
    Lost,
    /// The fencing token is no longer ours: somebody took the lease over.
    Fenced,
    /// The ledger is in a format that this program may not read or write.
    LedgerFormat,
    /// The server refused a statement of the user's.
    Statement,
    /// The rows of a chunk are more than are taken into memory at a time; the first `fit` are not.
    TooManyBytes {
        /// At least one.
        fit: u64,
    },
    /// The table that a backfill walks has another shape than it was planned for.
    ShapeChanged,
    /// A statement cannot be run this way: what must be done first is in the message.
    Refused,
    /// Something that should not happen.
    Bug,
}

/// What the reader, or the run loop, must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Try the whole transaction again, soon, a bounded number of times.
    RetryTransaction,
    /// Connect again and read the ledger before anything else.
    Reconnect,
    /// Stop: files or settings must change.
    FixInput,
    /// Stop: somebody with rights on the server must act.
    AskOperator,
    /// Stop: a defect of ours.
    ReportBug,
}

impl ErrorKind {
    /// The one place where failures are mapped to what is done about them.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        match self {
            Self::LockTimeout | Self::Conflict | Self::TooManyBytes { .. } => {
                Remedy::RetryTransaction
            }
            Self::Lost | Self::Exhausted | Self::Unreachable | Self::Fenced => Remedy::Reconnect,
            Self::NoSuchDatabase
            | Self::Authentication
            | Self::Tls
            | Self::LedgerFormat
            | Self::StatementTimeout
            | Self::Statement
            | Self::ShapeChanged
            | Self::Refused => Remedy::FixInput,
            Self::Permission | Self::ReadOnly | Self::Unsupported => Remedy::AskOperator,
            Self::Bug => Remedy::ReportBug,
        }
    }
}

/// A failure that a database or its connection reported.
///
/// Neither message, help nor notes ever hold row values or secrets: drivers leave out a server's
/// DETAIL and every URL's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetError {
    /// Its kind.
    pub kind: ErrorKind,
    /// The server's own words, or ours, without a full stop.
    pub message: String,
    /// The server's code: an SQLSTATE, a MySQL number, an SQLite extended code.
    pub code: Option<String>,
    /// What to do next.
    pub help: Option<String>,
    /// More facts, a line each: who blocks, since when.
    pub notes: Vec<String>,
    /// The index of the statement that failed, where it was one of the user's.
    pub statement: Option<usize>,
    /// A value or a constraint is to blame, so that another row might pass: a duplicate key, a
    /// number out of range, a check, an exception that a trigger raised.
    pub by_row: bool,
    /// It ended the transaction that it ran in, so that what it and those before it changed may be
    /// committed.
    pub may_be_kept: bool,
    /// The offset in characters from 0 within that statement where the server points to.
    pub offset: Option<usize>,
}

impl TargetError {
    /// An error of a kind with its message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
            help: None,
            notes: Vec::new(),
            statement: None,
            by_row: false,
            may_be_kept: false,
            offset: None,
        }
    }

    /// Old values can't be put back: they were kept of columns, or under keys of `table`, that have other
    /// types by now. `captured` is the ledger's table that has them.
    pub fn captured_unlike(table: &str, columns: &[String], captured: &str) -> Self {
        let message = format!(
            "columns of {table} have another type than when their old values were kept, or are gone"
        );
        let kept = columns.join(", ");
        Self::new(ErrorKind::Refused, message)
            .note(format!("old values are kept of {kept}; the key may be meant as well"))
            .help(format!(
                "nothing was put back and nothing forgotten: change the types back, undo, and change \
                 them again; or put the values back by hand, from {captured}"
            ))
    }

    /// Nothing is wrong but the moment: a lock, a deadlock, a server that was slow, or that has no room
    /// or no connection left for now.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::LockTimeout
                | ErrorKind::Conflict
                | ErrorKind::StatementTimeout
                | ErrorKind::Exhausted
        )
    }

    /// The same error with what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same error with the server's code.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The same error with another line of facts.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The same error, of that statement of the user's.
    #[must_use]
    pub fn in_statement(mut self, index: usize) -> Self {
        self.statement = Some(index);
        self
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(code) = &self.code {
            write!(f, " ({code})")?;
        }
        Ok(())
    }
}

impl std::error::Error for TargetError {}
