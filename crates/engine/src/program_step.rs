//! A migration that is a program: at least once, under a key that its retries keep.

use dunlin_model::{Body, Lease, PlannedStep, StepState};

use crate::events::Event;
use crate::program;
use crate::proof;
use crate::report::{Cause, EngineError};
use crate::steps::{Bench, Ended, failure};
use crate::{ErrorKind, Target, TargetError, Work};

impl Bench<'_> {
    /// Runs a migration that is a program, journalled before and after.
    pub(crate) async fn program(
        &self,
        target: &mut dyn Target,
        lease: &mut Lease,
        step: &PlannedStep,
        mut work: Work,
    ) -> Result<Ended, EngineError> {
        let Body::Program(program) = &step.migration.body else {
            let error = TargetError::new(ErrorKind::Bug, "a program step without a program");
            return Err(error.into());
        };
        let id = step.migration.id;
        let key = self.idempotency_key(step);
        if self.open_step(step, 0).is_some() {
            self.job.observer.event(Event::ProgramAgain { id, key: &key });
        }
        target.open_step(lease, &work, 0, None).await?;
        crate::failpoint("program.opened");
        let variables = self.variables(step, lease);
        let variables: Vec<(&str, String)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let root = self.job.folder.files.get(&id).map(|file| file.root.clone()).unwrap_or_default();
        let ran =
            program::run(self.job, id, program, &root, &variables, work.statement_timeout).await;
        crate::failpoint("program.ended");
        if program.directives.keep_output {
            work.entry.output = Some(ran.output);
        }
        match ran.ending {
            Ok(()) => {
                if let Some(query) = &step.migration.directives().done_when
                    && !target
                        .holds(query)
                        .await
                        .map_err(|error| proof::of_proof(step.migration.directives(), error))?
                {
                    target.close_step(lease, &work, 0, StepState::Failed).await?;
                    let cause = Cause::NotProved { rounds: 0 };
                    self.note_failure(target, lease, step, &cause, work.entry.output.clone()).await;
                    return Ok(Ended::Badly(Box::new(failure(step, None, cause, 0))));
                }
                target.close_step(lease, &work, 0, StepState::Done).await?;
                Ok(Ended::Well(Vec::new()))
            }
            Err(why) => {
                target.close_step(lease, &work, 0, StepState::Failed).await?;
                let cause = match why {
                    program::Failed::Ended(ending) => Cause::Program { ending },
                    program::Failed::Interrupted => Cause::Interrupted,
                };
                self.note_failure(target, lease, step, &cause, work.entry.output.clone()).await;
                Ok(Ended::Badly(Box::new(failure(step, None, cause, 0))))
            }
        }
    }

    fn environment(&self) -> &str {
        self.job.policy.environment.as_deref().unwrap_or_default()
    }

    /// What retries of a program keep, and another pass, database or environment does not share.
    fn idempotency_key(&self, step: &PlannedStep) -> String {
        let environment = self.environment();
        format!(
            "dunlin:{}:{}:data/{}:{}",
            self.ledger.id,
            if environment.is_empty() { "none" } else { environment },
            step.migration.id.version,
            step.pass
        )
    }

    /// What a program learns through its environment.
    pub(crate) fn variables(&self, step: &PlannedStep, lease: &Lease) -> Vec<(String, String)> {
        [
            ("DUNLIN_DATABASE_URL", self.job.connector.url()),
            ("DUNLIN_ENV", self.environment().to_owned()),
            ("DUNLIN_VERSION", step.migration.id.version.to_string()),
            ("DUNLIN_IDEMPOTENCY_KEY", self.idempotency_key(step)),
            ("DUNLIN_FENCE", lease.token.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}
