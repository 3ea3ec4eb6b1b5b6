//! What the header of a migration says about how it runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Chunking, Reference};

/// When `migrate` runs data migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataMode {
    /// `migrate` runs schema and data in one order.
    Auto,
    /// Only with `--with-data`, or by `data run`. Where nothing is said.
    #[default]
    Manual,
    /// They are recorded as skipped, with the reason.
    Skip,
}

impl DataMode {
    /// As it is written in `dunlin.toml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
            Self::Skip => "skip",
        }
    }
}

/// What happens to a pending migration with a version below the newest applied one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutOfOrder {
    /// It runs, with a notice.
    #[default]
    Allow,
    /// Nothing runs.
    Error,
}

/// The directives of one migration. `docs/reference/directives.md` is their reference.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Directives {
    /// `no-transaction`: each statement is a journalled step, sent alone.
    pub no_transaction: bool,
    /// `lock-timeout 2s`: how long a statement waits for a lock.
    pub lock_timeout: Option<Duration>,
    /// `statement-timeout 10min`: how long a statement (or the program) may take.
    pub statement_timeout: Option<Duration>,
    /// `after V`: runs only once these are applied.
    pub after: Vec<Reference>,
    /// `requires data V`: this schema migration is held until these data migrations are done.
    pub requires: Vec<Reference>,
    /// `independent-of data V`: not held by these, although it destroys something.
    pub independent_of: Vec<Reference>,
    /// `environments production staging`: skipped elsewhere. Empty: everywhere.
    pub environments: Vec<String>,
    /// `manual`: only ever run by name.
    pub manual: bool,
    /// `disabled "reason"`: not run, and said so.
    pub disabled: Option<String>,
    /// `foreign-keys off` (SQLite): enforcement is off around the transaction, and checked before
    /// its commit.
    pub foreign_keys_off: bool,
    /// `chunk-by posts`: the migration runs chunk by chunk over this table.
    pub chunking: Option<Box<Chunking>>,
    /// `background` (data): `migrate` names it and leaves it to `data run --background`, except
    /// where `data = "auto"`.
    pub background: bool,
    /// `done-when SELECT …` (data): one true value once all is as it should be. Checked in the end;
    /// true before the start, there is nothing to do.
    pub done_when: Option<String>,
    /// The line of the file that it stands on, from 1.
    #[serde(skip)]
    pub done_when_line: Option<usize>,
    /// `keep-output` (programs): the last 64 KiB of output go to the ledger.
    pub keep_output: bool,
}
