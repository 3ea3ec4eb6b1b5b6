//! What differs between databases, as data.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The SQL dialect that a file is split and read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// The name that people know it by.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL/MariaDB",
            Self::Sqlite => "SQLite",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title())
    }
}

/// What a database can do, where it decides how steps run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// The dialect of its files.
    pub dialect: Dialect,
    /// Whether definitions are part of a transaction: a schema migration and its ledger row then
    /// commit together; otherwise each statement is a journalled step.
    pub transactional_ddl: bool,
    /// Whether a statement can be stopped by the server after a time, and lock waits bounded.
    pub timeouts: bool,
    /// Whether a run makes the database where there is none: one that is not there yet is then
    /// an empty one.
    pub made_by_run: bool,
    /// Whether the whole database takes one writer at a time: a second connection of ours would
    /// only be in its way.
    pub one_writer: bool,
    /// A table's pages can be sampled, so that cutting a stretch of keys into thousands of parts costs
    /// no more than into two.
    pub samples_pages: bool,
    /// Rows that a statement will take can be found beforehand by a query that locks nothing: behind
    /// a barrier it sees every row that must not be missed. Where there is no barrier, statements
    /// themselves wait for such rows, and a query would pass over them.
    pub finds_rows: bool,
}

impl Capabilities {
    /// What every server of that dialect that we support can do.
    #[must_use]
    pub fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Postgres => Self {
                dialect,
                transactional_ddl: true,
                timeouts: true,
                made_by_run: false,
                one_writer: false,
                samples_pages: true,
                finds_rows: true,
            },
            Dialect::Mysql => Self {
                dialect,
                transactional_ddl: false,
                timeouts: true,
                made_by_run: false,
                one_writer: false,
                samples_pages: false,
                finds_rows: false,
            },
            Dialect::Sqlite => Self {
                dialect,
                transactional_ddl: true,
                timeouts: false,
                made_by_run: true,
                one_writer: true,
                samples_pages: false,
                finds_rows: false,
            },
        }
    }
}
