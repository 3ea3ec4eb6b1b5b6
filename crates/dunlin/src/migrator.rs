//! Migrations from inside an application.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dunlin_engine::events::{Observer, Silent};
use dunlin_engine::job::{Interrupt, Job, Limits};
use dunlin_engine::owner::this_process;
use dunlin_engine::report::{EngineError, Report};
use dunlin_engine::run::run;
use dunlin_engine::standing::Request;
use dunlin_model::DataMode;
use dunlin_project::folder;
use dunlin_project::plan::{Policy, Scope};

use crate::{ConnectOptions, connector};

/// Runs an application's own migrations, at its start or from a command of its own. Any number of
/// instances may do so at once: one works, the others wait and find nothing to do.
///
/// ```no_run
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let report = dunlin::Migrator::new("sqlite://app.db").migrations("migrations").migrate().await?;
/// assert!(report.failed.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Migrator {
    url: String,
    migrations: Option<PathBuf>,
    data_migrations: Option<PathBuf>,
    policy: Policy,
    limits: Limits,
    observer: Arc<dyn Observer>,
}

impl Migrator {
    /// For the database at a URL. Relative SQLite paths start from the present folder.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            migrations: None,
            data_migrations: None,
            policy: Policy { data: DataMode::Auto, ..Policy::default() },
            limits: Limits::default(),
            observer: Arc::new(Silent),
        }
    }

    /// The folder of schema migrations.
    #[must_use]
    pub fn migrations(mut self, folder: impl AsRef<Path>) -> Self {
        self.migrations = Some(folder.as_ref().to_owned());
        self
    }

    /// The folder of data migrations.
    #[must_use]
    pub fn data_migrations(mut self, folder: impl AsRef<Path>) -> Self {
        self.data_migrations = Some(folder.as_ref().to_owned());
        self
    }

    /// Environment, data mode, late-merged files. By default data migrations run in one order
    /// with schema migrations.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Limits other than the defaults.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Who hears what happens.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Runs what is pending.
    ///
    /// # Errors
    /// As [`dunlin_engine::run::run`]; a migration that fails is in the report.
    pub async fn migrate(&self) -> Result<Report, EngineError> {
        let root = PathBuf::from(".");
        let folder =
            folder::read(&root, self.migrations.as_deref(), self.data_migrations.as_deref())
                .map_err(EngineError::Refused)?;
        let connector = connector(&ConnectOptions {
            url: self.url.clone(),
            direct_url: None,
            replica_urls: Vec::new(),
            root,
            connect_timeout: Duration::from_secs(10),
        })?;
        let job = Job {
            database: "main".to_owned(),
            connector,
            folder: folder.into(),
            schema_history: None,
            ignore_history: false,
            policy: self.policy.clone(),
            limits: self.limits.clone(),
            owner: this_process(),
            command: "migrate".to_owned(),
            program: format!("library {}", env!("CARGO_PKG_VERSION")),
            observer: Arc::clone(&self.observer),
            interrupt: Interrupt::never(),
        };
        run(&job, &Request::Forward(Scope::Migrate { to: None, step_count: None })).await
    }
}
