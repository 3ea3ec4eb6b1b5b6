//! `dunlin.toml`: databases, environments, defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_model::{DataMode, Diagnostic, HistoryTool, OutOfOrder};

/// One database, with the environment's overrides applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Its name in `[databases.NAME]`; `main` where there is no configuration.
    pub name: String,
    /// `sqlite:…`, `postgres://…`, `mysql://…`, variables expanded. `None`: not set.
    pub url: Option<String>,
    /// Where steps outside transactions go if `url` is a pooler's.
    pub direct_url: Option<String>,
    /// The folder of schema migrations, absolute; `None` where another tool owns the schema.
    pub migrations: Option<PathBuf>,
    /// The folder of data migrations, absolute; `None` where there is none.
    pub data_migrations: Option<PathBuf>,
    /// The tool whose history is read; `None`: found by itself.
    pub schema_history: Option<HistoryTool>,
    /// `schema_history = "none"`: look for no other tool's history.
    pub ignore_history: bool,
    /// When `migrate` runs data migrations.
    pub data: DataMode,
    /// Late-merged files.
    pub out_of_order: OutOfOrder,
    /// How long a statement waits for a lock.
    pub lock_timeout: Duration,
    /// How long a statement may take; `None`: as long as it takes.
    pub statement_timeout: Option<Duration>,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
}

/// A project's settings for one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder of `dunlin.toml`.
    pub root: PathBuf,
    /// `--env` or `DUNLIN_ENV`; there is no default.
    pub environment: Option<String>,
    /// `drop` and `reset` are refused.
    pub protected: bool,
    /// In the order of the file.
    pub databases: Vec<DatabaseSettings>,
}

/// Reads a project's `dunlin.toml`.
///
/// # Errors
/// Unknown keys, wrong types, variables that are not set, an unknown environment: all of them,
/// with line, column and a suggestion.
pub fn read(
    _file: &Path,
    _environment: Option<&str>,
    _variables: &BTreeMap<String, String>,
) -> Result<Settings, Vec<Diagnostic>> {
    Err(Vec::new())
}
