//! One table's values, and how tables lie over one another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_model::{DataMode, Diagnostic, HistoryTool, OutOfOrder, Place};

use super::variable::Expanded;
use super::{
    BackfillSettings, DEFAULT_CONNECT_TIMEOUT, DEFAULT_DATA_MIGRATIONS, DEFAULT_DATABASE,
    DEFAULT_LOCK_TIMEOUT, DEFAULT_MIGRATIONS, DEFAULT_WORKERS, DatabaseSettings, Settings,
    Throttle,
};
use crate::suggestion;

/// What `schema_history` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum History {
    Of(HistoryTool),
    Ignored,
}

/// The values that one table sets.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) url: Option<Expanded>,
    pub(super) direct_url: Option<Expanded>,
    pub(super) migrations: Option<PathBuf>,
    pub(super) data_migrations: Option<PathBuf>,
    pub(super) schema_history: Option<History>,
    pub(super) data: Option<DataMode>,
    pub(super) out_of_order: Option<OutOfOrder>,
    pub(super) lock_timeout: Option<Duration>,
    pub(super) statement_timeout: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) protected: Option<bool>,
    pub(super) replica_urls: Option<Vec<Expanded>>,
    pub(super) throttle: Option<Throttle>,
    pub(super) chunk_time: Option<Duration>,
    pub(super) workers: Option<u32>,
}

impl Layer {
    /// These values where they are set, else the ones below.
    pub(super) fn over(self, below: &Layer) -> Self {
        let below = below.clone();
        Self {
            url: self.url.or(below.url),
            direct_url: self.direct_url.or(below.direct_url),
            migrations: self.migrations.or(below.migrations),
            data_migrations: self.data_migrations.or(below.data_migrations),
            schema_history: self.schema_history.or(below.schema_history),
            data: self.data.or(below.data),
            out_of_order: self.out_of_order.or(below.out_of_order),
            lock_timeout: self.lock_timeout.or(below.lock_timeout),
            statement_timeout: self.statement_timeout.or(below.statement_timeout),
            connect_timeout: self.connect_timeout.or(below.connect_timeout),
            protected: self.protected.or(below.protected),
            replica_urls: self.replica_urls.or(below.replica_urls),
            throttle: self.throttle.or(below.throttle),
            chunk_time: self.chunk_time.or(below.chunk_time),
            workers: self.workers.or(below.workers),
        }
    }

    /// The settings of a database, with defaults where nothing is said.
    pub(super) fn resolve(self, root: &Path, name: &str, is_only: bool) -> DatabaseSettings {
        let default =
            |folder: &str| if is_only { root.join(folder) } else { root.join(folder).join(name) };
        let owner = match self.schema_history {
            Some(History::Of(tool)) => Some(tool),
            Some(History::Ignored) | None => None,
        };
        // The other tool's own folder may well be called `migrations`: only a named one is ours.
        let migrations = match &self.migrations {
            Some(named) => Some(root.join(named)),
            None => owner.is_none().then(|| default(DEFAULT_MIGRATIONS)),
        };
        let data_migrations = match &self.data_migrations {
            Some(named) => root.join(named),
            None => default(DEFAULT_DATA_MIGRATIONS),
        };
        let (url, url_missing) = split(self.url);
        let (direct_url, direct_url_missing) = split(self.direct_url);
        let (replica_urls, replica_urls_missing): (Vec<_>, Vec<_>) =
            self.replica_urls.into_iter().flatten().map(|url| split(Some(url))).unzip();
        DatabaseSettings {
            name: name.to_owned(),
            url,
            url_missing,
            direct_url,
            direct_url_missing,
            replica_urls: replica_urls.into_iter().flatten().collect(),
            replica_urls_missing: replica_urls_missing.into_iter().flatten().collect(),
            migrations_named: self.migrations.is_some(),
            migrations,
            data_migrations_named: self.data_migrations.is_some(),
            data_migrations: Some(data_migrations),
            schema_history: owner,
            ignore_history: self.schema_history == Some(History::Ignored),
            data: self.data.unwrap_or_default(),
            out_of_order: self.out_of_order.unwrap_or_default(),
            lock_timeout: self.lock_timeout.unwrap_or(DEFAULT_LOCK_TIMEOUT),
            statement_timeout: self.statement_timeout,
            connect_timeout: self.connect_timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            backfill: BackfillSettings {
                throttle: self.throttle.unwrap_or_default(),
                chunk_time: self.chunk_time,
                workers: self.workers.unwrap_or(DEFAULT_WORKERS),
            },
        }
    }
}

fn split(url: Option<Expanded>) -> (Option<String>, Option<String>) {
    match url {
        None => (None, None),
        // A URL that is one empty variable is not set either.
        Some(Expanded::Text(text)) => (Some(text).filter(|text| !text.trim().is_empty()), None),
        Some(Expanded::Unset(name)) => (None, Some(name)),
    }
}

/// A whole file's values.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) top: Layer,
    pub(super) databases: Vec<(String, Layer)>,
    pub(super) environments: Vec<(String, Environment)>,
}

/// One environment's values.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) all: Layer,
    pub(super) databases: BTreeMap<String, Layer>,
}

impl Document {
    /// What holds in one environment: its word on a database, then its own, then the database's,
    /// then the top's.
    pub(super) fn settings(
        mut self,
        file: &Path,
        root: &Path,
        environment: Option<&str>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Settings, Vec<Diagnostic>> {
        let environments: Vec<String> =
            self.environments.iter().map(|(name, _)| name.clone()).collect();
        let mut chosen = Environment::default();
        if let Some(wanted) = environment {
            match self.environments.iter().position(|(name, _)| name == wanted) {
                Some(index) => chosen = self.environments.swap_remove(index).1,
                None => return Err(vec![unknown_environment(file, wanted, &environments)]),
            }
        }
        if self.databases.is_empty() {
            let url = match variables.get("DATABASE_URL") {
                Some(url) => Expanded::Text(url.clone()),
                None => Expanded::Unset("DATABASE_URL".to_owned()),
            };
            let layer = Layer { url: Some(url), ..Layer::default() };
            self.databases.push((DEFAULT_DATABASE.to_owned(), layer));
        }
        let is_only = self.databases.len() == 1;
        let databases = self
            .databases
            .into_iter()
            .map(|(name, layer)| {
                let own = chosen.databases.remove(&name).unwrap_or_default();
                let all = own.over(&chosen.all).over(&layer).over(&self.top);
                all.resolve(root, &name, is_only)
            })
            .collect();
        let protected = chosen.all.protected.or(self.top.protected).unwrap_or(false);
        Ok(Settings {
            root: root.to_owned(),
            environment: environment.map(str::to_owned),
            environments,
            protected,
            databases,
        })
    }
}

fn unknown_environment(file: &Path, wanted: &str, known: &[String]) -> Diagnostic {
    let names = || known.iter().map(String::as_str);
    let help = match suggestion::nearest(wanted, names()) {
        Some(near) => format!("did you mean `{near}`? Known are {}", suggestion::list(names())),
        None if known.is_empty() => format!("the file has none: add [environments.{wanted}]"),
        None => format!("known are {}; or add [environments.{wanted}]", suggestion::list(names())),
    };
    Diagnostic::error("unknown-environment", format!("unknown environment `{wanted}`"))
        .at(Place::file(file))
        .help(help)
}
