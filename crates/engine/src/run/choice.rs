//! Which migrations a request means: what its first plan had, whatever happens after that.

use dunlin_model::{Action, MigrationId, Plan};
use dunlin_project::plan::{RollbackScope, Scope};

use super::Run;
use crate::report::EngineError;
use crate::standing::{Request, Standing};

impl Run<'_> {
    /// Plans what is left of the request. What a request that counts or goes back means is settled
    /// by its first plan: after a COMMIT whose answer was lost, or after somebody else did a part of
    /// it, counting again would take one more.
    pub(super) fn plan(&mut self, standing: &Standing) -> Result<Plan, EngineError> {
        let Some(chosen) = &self.chosen else {
            let request = self.request.clone();
            let plan = self.planning.plan(standing, &request)?;
            if is_bounded(&request) {
                self.chosen = Some(plan.steps.iter().map(|step| step.migration.id).collect());
            }
            return Ok(plan);
        };
        let chosen = chosen.clone();
        match &self.request {
            Request::Back(_) => {
                let request = Request::Back(RollbackScope::Exactly(chosen));
                self.planning.plan(standing, &request)
            }
            Request::Forward(scope) => {
                let scope = scope.clone();
                self.plan_within(standing, scope, &chosen)
            }
        }
    }

    /// So many as are left, and none that the first plan did not have.
    fn plan_within(
        &mut self,
        standing: &Standing,
        scope: Scope,
        chosen: &[MigrationId],
    ) -> Result<Plan, EngineError> {
        let done = self.report.finished.iter().filter(|f| f.skipped.is_none()).count()
            + self.report.failed.len();
        let Some(count) = step_count(&scope) else {
            return self.planning.plan(standing, &Request::Forward(scope));
        };
        let plan =
            self.planning.plan(standing, &counted(scope.clone(), count.saturating_sub(done)))?;
        // What comes behind one that nobody meant may need that one.
        let within = plan.steps.iter().take_while(|step| chosen.contains(&step.migration.id));
        let kept = within.filter(|step| step.action == Action::Up).count();
        if kept == plan.steps.iter().filter(|step| step.action == Action::Up).count() {
            return Ok(plan);
        }
        self.planning.plan(standing, &counted(scope, kept))
    }
}

/// Whether the request means certain migrations, and not whatever there is to do.
fn is_bounded(request: &Request) -> bool {
    match request {
        Request::Forward(scope) => step_count(scope).is_some(),
        Request::Back(_) => true,
    }
}

fn step_count(scope: &Scope) -> Option<usize> {
    let (Scope::Migrate { step_count, .. } | Scope::Data { step_count, .. }) = scope;
    *step_count
}

fn counted(mut scope: Scope, count: usize) -> Request {
    let (Scope::Migrate { step_count, .. } | Scope::Data { step_count, .. }) = &mut scope;
    *step_count = Some(count);
    Request::Forward(scope)
}
