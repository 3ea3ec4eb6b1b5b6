//! Where a database stands, for `status`, `check` and `wait`.

use dunlin::engine::job::Job;
use dunlin::engine::report::EngineError;
use dunlin::engine::standing::{Planning, Request, Standing, look};
use dunlin::model::{Deferral, Diagnostic, MigrationId, Plan};
use dunlin::project::plan::{Drift, Row, Scope, drift, overview};

/// What is known of a database by looking.
pub(crate) struct Overview {
    pub(crate) standing: Standing,
    pub(crate) rows: Vec<Row>,
    pub(crate) drifted: Vec<Drift>,
    /// Why there is no plan, if the files are wrong.
    pub(crate) diagnostics: Vec<Diagnostic>,
    plan: Option<Plan>,
}

impl Overview {
    /// The rows that are still to be run: not those that this environment would skip, nor those
    /// that only ever run by name.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Row> {
        let passed_over: Vec<MigrationId> = self
            .plan
            .iter()
            .flat_map(|plan| {
                let skips = plan
                    .steps
                    .iter()
                    .filter(|step| matches!(step.action, dunlin::model::Action::Skip { .. }))
                    .map(|step| step.migration.id);
                let by_name = plan
                    .deferred
                    .iter()
                    .filter(|deferred| deferred.why == Deferral::ByName)
                    .map(|deferred| deferred.id);
                skips.chain(by_name)
            })
            .collect();
        self.rows.iter().filter(move |row| {
            let id = MigrationId { version: row.version, kind: row.kind };
            row.status.is_open() && !passed_over.contains(&id)
        })
    }
}

/// Looks.
pub(crate) async fn overview_of(job: &Job) -> Result<Overview, EngineError> {
    let standing = look(job).await?;
    let mut planning = Planning::new(job);
    let request = Request::Forward(Scope::Migrate { to: None, step_count: None });
    let (plan, diagnostics) = match planning.plan(&standing, &request) {
        Ok(plan) => (Some(plan), Vec::new()),
        Err(EngineError::Refused(diagnostics)) => (None, diagnostics),
        Err(EngineError::Drift(_)) => (None, Vec::new()),
        Err(error) => return Err(error),
    };
    let inputs = planning.inputs(&standing);
    let drifted = drift(&inputs);
    let rows = overview(&inputs, plan.as_ref(), &drifted);
    Ok(Overview { standing, rows, drifted, diagnostics, plan })
}
