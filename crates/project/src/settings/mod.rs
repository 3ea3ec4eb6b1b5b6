//! `dunlin.toml`: databases, environments, defaults.
//!
//! Invariants: an unknown key is an error with a suggestion; every error is found, with line and
//! column; no message quotes a URL. What is left out: the process's environment, which the caller
//! passes in, and connecting.

mod keys;
mod layer;
mod reader;
mod reference;
mod template;
mod url;
mod variable;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_model::{DataMode, Diagnostic, HistoryTool, OutOfOrder, Place};

use crate::folder::{self, Folder};

pub use reference::{json_schema, reference};
pub use template::template;
pub use url::{check_url, files_folder};

/// The database's name where there is no configuration.
pub const DEFAULT_DATABASE: &str = "main";

/// The folder of schema migrations where nothing is said.
pub const DEFAULT_MIGRATIONS: &str = "migrations";

/// The folder of data migrations where nothing is said.
pub const DEFAULT_DATA_MIGRATIONS: &str = "data_migrations";

/// How long a statement waits for a lock where nothing is said: long enough for ordinary
/// transactions to end, short enough that what queues behind a waiting DDL statement is not felt
/// as an outage.
pub const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long making a connection may take where nothing is said: longer than a lost packet is sent
/// again, shorter than anyone waits.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many chunks of a backfill run at once where nothing is said: one is gentle, and as fast as
/// one statement over the whole table.
pub const DEFAULT_WORKERS: u32 = 1;

/// Whether a backfill slows down for the database's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Throttle {
    /// It gives way before others feel it.
    #[default]
    Mild,
    /// Only a header's `rate` bounds it.
    Off,
}

/// How backfills run where their headers do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackfillSettings {
    /// Whether they slow down for the database's health.
    pub throttle: Throttle,
    /// How long a chunk should take; `None`: what suits the database (500 ms, on SQLite 50 ms).
    pub chunk_time: Option<Duration>,
    /// So many chunks at once.
    pub workers: u32,
}

/// One database, with the environment's overrides applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Its name in `[databases.NAME]`; `main` where there is no configuration.
    pub name: String,
    /// `sqlite:…`, `postgres://…`, `mysql://…`, variables expanded. `None`: not set.
    pub url: Option<String>,
    /// The variable that `url` needs and that is not set; `url` is `None` then.
    pub url_missing: Option<String>,
    /// Where steps outside transactions go if `url` is a pooler's.
    pub direct_url: Option<String>,
    /// The variable that `direct_url` needs and that is not set; `direct_url` is `None` then.
    pub direct_url_missing: Option<String>,
    /// Its replicas, whose lag slows backfills down.
    pub replica_urls: Vec<String>,
    /// The variables that `replica_urls` needs and that are not set; their entries are left out.
    pub replica_urls_missing: Vec<String>,
    /// The folder of schema migrations, absolute; `None` where another tool owns the schema.
    pub migrations: Option<PathBuf>,
    /// `migrations` was named, and so must be there; a default folder may be missing.
    pub migrations_named: bool,
    /// The folder of data migrations, absolute; `None` where there is none.
    pub data_migrations: Option<PathBuf>,
    /// `data_migrations` was named, and so must be there; a default folder may be missing.
    pub data_migrations_named: bool,
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
    /// How backfills run.
    pub backfill: BackfillSettings,
}

impl DatabaseSettings {
    /// Its URL, or a sentence that says what is missing.
    ///
    /// # Errors
    /// No URL is set, or it needs a variable that is not set.
    pub fn url(&self) -> Result<&str, String> {
        match (&self.url, &self.url_missing) {
            (Some(url), _) => Ok(url),
            (None, Some(variable)) => Err(format!(
                "the URL of database `{}` needs the variable {variable}, which is not set",
                self.name
            )),
            (None, None) => Err(format!(
                "database `{}` has no URL: set `url` under [databases.{}] in dunlin.toml, or pass \
                 --database-url",
                self.name, self.name
            )),
        }
    }

    /// Its migrations. A default folder that isn't there is an empty one.
    ///
    /// # Errors
    /// As [`folder::read`].
    pub fn read_folder(&self, root: &Path) -> Result<Folder, Vec<Diagnostic>> {
        let there = |folder: &Option<PathBuf>, named: bool| {
            folder.clone().filter(|folder| named || folder.exists())
        };
        folder::read(
            root,
            there(&self.migrations, self.migrations_named).as_deref(),
            there(&self.data_migrations, self.data_migrations_named).as_deref(),
        )
    }
}

/// A project's settings for one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder of `dunlin.toml`.
    pub root: PathBuf,
    /// `--env` or `DUNLIN_ENV`; there is no default.
    pub environment: Option<String>,
    /// Every `[environments.NAME]`, in the order of the file; empty where there is no file.
    pub environments: Vec<String>,
    /// `drop` and `reset` are refused.
    pub protected: bool,
    /// In the order of the file.
    pub databases: Vec<DatabaseSettings>,
}

impl Settings {
    /// Settings for flags alone: one database, and the default folders where none are named.
    #[must_use]
    pub fn without_file(
        root: &Path,
        environment: Option<&str>,
        url: Option<String>,
        migrations: Option<&Path>,
        data_migrations: Option<&Path>,
    ) -> Self {
        let layer = layer::Layer {
            migrations: migrations.map(Path::to_owned),
            data_migrations: data_migrations.map(Path::to_owned),
            ..layer::Layer::default()
        };
        let mut database = layer.resolve(root, DEFAULT_DATABASE, true);
        database.url = url;
        Self {
            root: root.to_owned(),
            environment: environment.map(str::to_owned),
            environments: Vec::new(),
            protected: false,
            databases: vec![database],
        }
    }

    /// The database of that name.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<&DatabaseSettings> {
        self.databases.iter().find(|database| database.name == name)
    }
}

/// Reads a project's `dunlin.toml`.
///
/// # Errors
/// Unknown keys, wrong types, an unknown environment: all of them, with line, column and a
/// suggestion. A variable that is not set is no error here, but in the database's `url_missing`:
/// the others can be used without it.
pub fn read(
    file: &Path,
    environment: Option<&str>,
    variables: &BTreeMap<String, String>,
) -> Result<Settings, Vec<Diagnostic>> {
    let unreadable = |error: std::io::Error| {
        vec![
            Diagnostic::error("unreadable-file", format!("cannot read the file: {error}"))
                .at(Place::file(file)),
        ]
    };
    let text = fs::read_to_string(file).map_err(unreadable)?;
    let absolute = std::path::absolute(file).map_err(unreadable)?;
    let root = absolute.parent().unwrap_or(Path::new("/"));
    parse(file, root, &text, environment, variables)
}

/// Reads the text of a `dunlin.toml` that stands in `root`; `file` is for messages.
///
/// # Errors
/// As [`read`].
pub fn parse(
    file: &Path,
    root: &Path,
    text: &str,
    environment: Option<&str>,
    variables: &BTreeMap<String, String>,
) -> Result<Settings, Vec<Diagnostic>> {
    let text = text.trim_start_matches('\u{feff}');
    let document = reader::read(file, text, variables)?;
    document.settings(file, root, environment, variables)
}
