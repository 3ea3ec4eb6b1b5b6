//! From arguments, environment and `dunlin.toml` to the databases that a command works on.
//!
//! The only place that reads the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dunlin::engine::events::Observer;
use dunlin::engine::files::Files;
use dunlin::engine::job::{Interrupt, Job, Limits};
use dunlin::engine::owner::this_process;
use dunlin::engine::report::EngineError;
use dunlin::engine::{Connector, TargetError};
use dunlin::model::{Capabilities, Owner};
use dunlin::project::plan::Policy;
use dunlin::project::settings::{self, DatabaseSettings, Settings, Throttle};
use dunlin::{ConnectOptions, connector};

use crate::args::Global;
use crate::exit::CliError;
use crate::interrupt;

/// The configuration file's name.
pub(crate) const FILE: &str = "dunlin.toml";

/// What every command starts from.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) global: Global,
    pub(crate) interrupt: Interrupt,
    pub(crate) owner: Owner,
    lease_ttl: Option<Duration>,
    user: Option<String>,
    /// The secret of derived ids, as the environment has it.
    #[cfg(feature = "move")]
    pub(crate) move_key: Option<String>,
}

impl Context {
    /// Finds and reads the settings: `--database-url` or `--config` or a `dunlin.toml` here or
    /// above, or `DATABASE_URL`.
    pub(crate) fn load(global: &Global) -> Result<Self, CliError> {
        let variables = environment_variables();
        let settings = find_settings(global, &variables)?;
        let lease_ttl = test_lease_ttl(&variables);
        let user = ["USER", "LOGNAME"].iter().find_map(|name| variables.get(*name).cloned());
        let interrupt = interrupt::listen();
        let owner = this_process();
        Ok(Self {
            settings,
            global: global.clone(),
            interrupt,
            owner,
            lease_ttl,
            user,
            #[cfg(feature = "move")]
            move_key: variables.get(dunlin::engine::moves::KEY_VARIABLE).cloned(),
        })
    }

    /// Who is at this terminal, for people who look at the ledger.
    pub(crate) fn person(&self) -> String {
        let Owner { host, pid, .. } = &self.owner;
        match self.user.as_deref().filter(|user| !user.is_empty()) {
            Some(user) => format!("{user}@{host} (process {pid})"),
            // A container's process has a number where it has no name.
            None => format!("uid {}@{host} (process {pid})", rustix::process::getuid().as_raw()),
        }
    }

    /// The databases that `--database` chooses: all where it is not given.
    pub(crate) fn databases(&self) -> Result<Vec<&DatabaseSettings>, CliError> {
        let Some(name) = &self.global.database else {
            // Folders of files are for moves to read.
            let all = self.settings.databases.iter();
            let is_database = |one: &&DatabaseSettings| {
                one.url().ok().is_none_or(|url| settings::files_folder(url).is_none())
            };
            return Ok(all.filter(is_database).collect());
        };
        match self.settings.databases.iter().find(|database| database.name == *name) {
            Some(database) => Ok(vec![database]),
            None => Err(CliError::usage(
                format!("there is no database `{name}`"),
                format!("there is: {}", self.names()),
            )),
        }
    }

    /// The one database of a command that must not guess.
    pub(crate) fn only_database(&self, command: &str) -> Result<&DatabaseSettings, CliError> {
        match self.databases()?[..] {
            [database] => Ok(database),
            _ => Err(CliError::usage(
                format!("`{command}` works on one database, and there are several"),
                format!("name it with --database: {}", self.names()),
            )),
        }
    }

    fn names(&self) -> String {
        let names: Vec<&str> =
            self.settings.databases.iter().map(|database| database.name.as_str()).collect();
        names.join(", ")
    }

    /// The driver for a database.
    pub(crate) fn connector(
        &self,
        database: &DatabaseSettings,
    ) -> Result<Arc<dyn Connector>, CliError> {
        let url = database
            .url()
            .map_err(|message| CliError::usage(message, "set it, or give --database-url"))?;
        connector(&ConnectOptions {
            url: url.to_owned(),
            direct_url: database.direct_url.clone(),
            replica_urls: database.replica_urls.clone(),
            root: self.settings.root.clone(),
            connect_timeout: database.connect_timeout,
        })
        .map_err(|error| engine_error(&database.name, error.into()))
    }

    /// The migration files of a database, read while a server is asked. Where a run makes the
    /// database, they are read first: nothing is made for files that are wrong.
    fn files(
        &self,
        database: &DatabaseSettings,
        connector: &dyn Connector,
    ) -> Result<Files, CliError> {
        let root = self.settings.root.clone();
        if Capabilities::of(connector.dialect()).made_by_run {
            return Ok(database.read_folder(&root).map_err(CliError::Diagnostics)?.into());
        }
        let database = database.clone();
        Ok(Files::reading(move || database.read_folder(&root)))
    }

    /// Everything that a run on a database needs.
    pub(crate) fn job(
        &self,
        database: &DatabaseSettings,
        command: &str,
        observer: Arc<dyn Observer>,
    ) -> Result<Job, CliError> {
        let connector = self.connector(database)?;
        let folder = self.files(database, connector.as_ref())?;
        let limits = self.limits(database);
        Ok(Job {
            database: database.name.clone(),
            connector,
            folder,
            schema_history: database.schema_history,
            ignore_history: database.ignore_history,
            policy: Policy {
                environment: self.settings.environment.clone(),
                environments: self.settings.environments.clone(),
                data: database.data,
                with_data: false,
                out_of_order: database.out_of_order,
            },
            limits,
            owner: self.owner.clone(),
            command: command.to_owned(),
            program: format!("dunlin {}", env!("CARGO_PKG_VERSION")),
            observer,
            interrupt: self.interrupt.clone(),
        })
    }

    fn limits(&self, database: &DatabaseSettings) -> Limits {
        let defaults = Limits::default();
        let backfill = &database.backfill;
        Limits {
            lock_timeout: database.lock_timeout,
            statement_timeout: database.statement_timeout,
            lease_ttl: self.lease_ttl.unwrap_or(defaults.lease_ttl),
            chunk_time: backfill.chunk_time,
            workers: backfill.workers,
            mind_health: backfill.throttle == Throttle::Mild,
            ..defaults
        }
    }

    /// A command that continues with the same environment and database.
    pub(crate) fn again(&self, database: &str, command: &str) -> String {
        let mut line = format!("dunlin {command}");
        if let Some(environment) = &self.settings.environment {
            line.push_str(&format!(" --env {environment}"));
        }
        if self.global.database.is_some() || self.settings.databases.len() > 1 {
            line.push_str(&format!(" --database {database}"));
        }
        if self.global.database_url.is_some() {
            // The URL may hold a password.
            line.push_str(" --database-url …");
        }
        for (flag, value) in [
            ("--migrations", &self.global.migrations),
            ("--data-migrations", &self.global.data_migrations),
            ("--config", &self.global.config),
        ] {
            if let Some(value) = value {
                line.push_str(&format!(" {flag} {}", value.display()));
            }
        }
        line
    }
}

/// An engine's error on a database.
pub(crate) fn engine_error(database: &str, error: EngineError) -> CliError {
    CliError::Engine { database: database.to_owned(), error: Box::new(error), changed: false }
}

/// A driver's error on a database.
pub(crate) fn target_error(database: &str, error: TargetError) -> CliError {
    engine_error(database, error.into())
}

/// The settings of a command that works on files alone: no URL is asked for.
pub(crate) fn settings_without_url(global: &Global) -> Result<Settings, CliError> {
    let here = current_folder()?;
    let mut found = match settings_file(global, &here)? {
        Some(file) => settings::read(&file, global.env.as_deref(), &environment_variables())
            .map_err(CliError::Diagnostics)?,
        None => Settings::without_file(&here, global.env.as_deref(), None, None, None),
    };
    override_with_flags(&mut found, global, &here)?;
    Ok(found)
}

fn environment_variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn current_folder() -> Result<PathBuf, CliError> {
    std::env::current_dir()
        .map_err(|error| CliError::file("find", Path::new("the current folder"), &error))
}

fn find_settings(
    global: &Global,
    variables: &BTreeMap<String, String>,
) -> Result<Settings, CliError> {
    let here = current_folder()?;
    let environment = global.env.as_deref();
    let mut found = match settings_file(global, &here)? {
        Some(file) => {
            settings::read(&file, environment, variables).map_err(CliError::Diagnostics)?
        }
        None => {
            let url =
                global.database_url.clone().or_else(|| variables.get("DATABASE_URL").cloned());
            let Some(url) = url else {
                return Err(CliError::usage(
                    "there is no dunlin.toml here or above, and no database is named",
                    "run `dunlin init`, or give --database-url URL (or set DATABASE_URL)",
                ));
            };
            Settings::without_file(&here, environment, Some(url), None, None)
        }
    };
    override_with_flags(&mut found, global, &here)?;
    Ok(found)
}

/// The `dunlin.toml` that is meant, if one is.
fn settings_file(global: &Global, here: &Path) -> Result<Option<PathBuf>, CliError> {
    match &global.config {
        Some(file) if file.is_file() => Ok(Some(file.clone())),
        Some(file) => Err(CliError::usage(
            format!("there is no file {}", file.display()),
            "give the path of a dunlin.toml, or run `dunlin init`",
        )),
        None if global.database_url.is_some() => Ok(None),
        None => Ok(here.ancestors().map(|folder| folder.join(FILE)).find(|file| file.is_file())),
    }
}

/// Flags win over the file, where one database is meant.
fn override_with_flags(
    settings: &mut Settings,
    global: &Global,
    here: &Path,
) -> Result<(), CliError> {
    let overrides = global.database_url.is_some()
        || global.migrations.is_some()
        || global.data_migrations.is_some();
    if !overrides {
        return Ok(());
    }
    let several = settings.databases.len() > 1;
    let chosen = settings.databases.iter_mut().find(|database| {
        !several || global.database.as_ref().is_some_and(|name| *name == database.name)
    });
    let Some(database) = chosen else {
        return Err(CliError::usage(
            "--database-url, --migrations and --data-migrations are for one database, and dunlin.toml has several",
            "name it with --database",
        ));
    };
    if let Some(url) = &global.database_url {
        database.url = Some(url.clone());
        database.direct_url = None;
        database.replica_urls.clear();
    }
    let absolute = |folder: &PathBuf| Some(here.join(folder));
    if let Some(folder) = &global.migrations {
        database.migrations = absolute(folder);
        database.migrations_named = true;
    }
    if let Some(folder) = &global.data_migrations {
        database.data_migrations = absolute(folder);
        database.data_migrations_named = true;
    }
    Ok(())
}

/// A shorter lease, so that tests need not wait for one: development builds only.
fn test_lease_ttl(variables: &BTreeMap<String, String>) -> Option<Duration> {
    if !cfg!(debug_assertions) {
        return None;
    }
    variables.get("DUNLIN_LEASE_TTL_MS")?.parse().ok().map(Duration::from_millis)
}
