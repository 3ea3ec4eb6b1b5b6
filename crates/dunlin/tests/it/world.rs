//! A project in a folder of its own, with a SQLite database.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dunlin::engine::amend::{Amended, Amendment, amend};
use dunlin::engine::events::{Event, Observer};
use dunlin::engine::job::{Interrupt, Job, Limits};
use dunlin::engine::owner::this_process;
use dunlin::engine::report::{EngineError, Report};
use dunlin::engine::run::{preview, run};
use dunlin::engine::standing::{Planning, Request, look};
use dunlin::model::{DataMode, MigrationId, Plan, Version};
use dunlin::project::folder;
use dunlin::project::plan::{Policy, RollbackScope, Row, Scope, drift, overview};
use dunlin::{ConnectOptions, connector};

pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) policy: Policy,
    pub(crate) output: Arc<Mutex<Vec<String>>>,
}

struct Lines(Arc<Mutex<Vec<String>>>);

impl Observer for Lines {
    fn event(&self, event: Event<'_>) {
        if let Event::ProgramOutput { line, .. } = event {
            self.0.lock().unwrap().push(line.to_owned());
        }
    }
}

pub(crate) fn version(number: i64) -> Version {
    Version::new(number).unwrap()
}

pub(crate) fn schema(number: i64) -> MigrationId {
    MigrationId::schema(version(number))
}

pub(crate) fn data(number: i64) -> MigrationId {
    MigrationId::data(version(number))
}

impl World {
    /// Data migrations run in one order with schema migrations.
    pub(crate) fn auto() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("migrations")).unwrap();
        fs::create_dir(folder.path().join("data_migrations")).unwrap();
        let policy = Policy { data: DataMode::Auto, ..Policy::default() };
        Self { folder, policy, output: Arc::default() }
    }

    /// Data migrations run only when asked for.
    pub(crate) fn manual() -> Self {
        let mut world = Self::auto();
        world.policy.data = DataMode::Manual;
        world
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn schema(&self, name: &str, text: &str) -> &Self {
        fs::write(self.path().join("migrations").join(name), text).unwrap();
        self
    }

    pub(crate) fn data(&self, name: &str, text: &str) -> &Self {
        fs::write(self.path().join("data_migrations").join(name), text).unwrap();
        self
    }

    pub(crate) fn program(&self, name: &str, text: &str) -> &Self {
        use std::os::unix::fs::PermissionsExt;
        self.data(name, text);
        let path = self.path().join("data_migrations").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    pub(crate) fn remove(&self, path: &str) -> &Self {
        fs::remove_file(self.path().join(path)).unwrap();
        self
    }

    pub(crate) fn job(&self) -> Result<Job, EngineError> {
        let folder = folder::read(
            self.path(),
            Some(&self.path().join("migrations")),
            Some(&self.path().join("data_migrations")),
        )
        .map_err(EngineError::Refused)?;
        let connector = connector(&ConnectOptions {
            url: "sqlite://app.db".to_owned(),
            direct_url: None,
            replica_urls: Vec::new(),
            root: self.path().to_owned(),
            connect_timeout: Duration::from_secs(10),
        })?;
        Ok(Job {
            database: "app".to_owned(),
            connector,
            folder: folder.into(),
            schema_history: None,
            ignore_history: false,
            policy: self.policy.clone(),
            limits: Limits::default(),
            owner: this_process(),
            command: "test".to_owned(),
            program: "test".to_owned(),
            observer: Arc::new(Lines(Arc::clone(&self.output))),
            interrupt: Interrupt::never(),
        })
    }

    pub(crate) async fn forward(&self, scope: Scope) -> Result<Report, EngineError> {
        run(&self.job()?, &Request::Forward(scope)).await
    }

    pub(crate) async fn migrate(&self) -> Report {
        self.try_migrate().await.unwrap()
    }

    pub(crate) async fn try_migrate(&self) -> Result<Report, EngineError> {
        self.forward(Scope::Migrate { to: None, step_count: None }).await
    }

    pub(crate) async fn run_data(&self, versions: &[i64]) -> Result<Report, EngineError> {
        let versions = versions.iter().map(|number| version(*number)).collect();
        self.forward(Scope::Data { versions, step_count: None, background_only: false }).await
    }

    pub(crate) async fn rollback(&self, scope: RollbackScope) -> Result<Report, EngineError> {
        run(&self.job()?, &Request::Back(scope)).await
    }

    pub(crate) async fn plan(&self) -> Plan {
        let scope = Scope::Migrate { to: None, step_count: None };
        preview(&self.job().unwrap(), &Request::Forward(scope)).await.unwrap().1
    }

    pub(crate) async fn amend(&self, amendment: Amendment) -> Result<Amended, EngineError> {
        amend(&self.job()?, &amendment).await
    }

    /// `kind version status` of each migration.
    pub(crate) async fn status(&self) -> Vec<String> {
        self.rows()
            .await
            .iter()
            .map(|row| format!("{} {} {}", row.kind, row.version, row.status.as_str()))
            .collect()
    }

    pub(crate) async fn rows(&self) -> Vec<Row> {
        let job = self.job().unwrap();
        let standing = look(&job).await.unwrap();
        let mut planning = Planning::new(&job);
        let request = Request::Forward(Scope::Migrate { to: None, step_count: None });
        let plan = planning.plan(&standing, &request).ok();
        let inputs = planning.inputs(&standing);
        overview(&inputs, plan.as_ref(), &drift(&inputs))
    }

    /// The only value of a query, read by SQLite's own library.
    pub(crate) fn value(&self, sql: &str) -> String {
        let database = rusqlite::Connection::open(self.path().join("app.db")).unwrap();
        database
            .query_row(sql, [], |row| {
                row.get::<_, rusqlite::types::Value>(0).map(|value| match value {
                    rusqlite::types::Value::Null => "null".to_owned(),
                    rusqlite::types::Value::Integer(number) => number.to_string(),
                    rusqlite::types::Value::Text(text) => text,
                    other => format!("{other:?}"),
                })
            })
            .unwrap()
    }

    pub(crate) fn execute(&self, sql: &str) {
        let database = rusqlite::Connection::open(self.path().join("app.db")).unwrap();
        database.execute_batch(sql).unwrap();
    }
}

/// `kind version` of what finished, in order.
pub(crate) fn finished(report: &Report) -> Vec<String> {
    report.finished.iter().map(|one| one.id.to_string()).collect()
}

/// `kind version` of what is held, in order.
pub(crate) fn held(report: &Report) -> Vec<String> {
    report.held.iter().map(|one| one.id.to_string()).collect()
}

/// The rules of a refusal's diagnostics.
pub(crate) fn rules(error: EngineError) -> Vec<&'static str> {
    match error {
        EngineError::Refused(diagnostics) => {
            diagnostics.iter().map(|diagnostic| diagnostic.rule).collect()
        }
        other => panic!("not a refusal: {other}"),
    }
}
