//! What became of a step whose runner died.
//!
//! Invariants: nothing is compared before the step's connection is gone from the server, also
//! where it is idle: its runner may only be stopped, and would send its statement once it wakes.
//! Where the outcome cannot be known, that is the answer.

use dunlin_engine::{Settled, TargetError, Work};
use dunlin_model::{Restart, StepRecord};

use crate::image::{self, Image};
use crate::judgement::judge;
use crate::target::MysqlTarget;

impl MysqlTarget {
    pub(crate) async fn settle(
        &mut self,
        work: &Work,
        step: &StepRecord,
    ) -> Result<Settled, TargetError> {
        let before = step.image.as_deref().and_then(Image::from_text);
        let old = self.end_step(step, before.as_ref()).await?;
        let Some(statement) = work.statements.get(step.ordinal as usize) else {
            // A program: whether it ran is not to be seen here.
            return Ok(Settled::DidNot);
        };
        let mut evidence = vec![format!("line {}: {}", statement.line, statement.summary(80)), old];
        match &statement.facts.restart {
            Restart::Repeatable => Ok(Settled::DidNot),
            Restart::ByImage { objects } => {
                let database = image::database_at(work, step.ordinal, self.ledger.database());
                let now = image::read(&mut self.session, objects, &database).await?;
                let before = before.map(|image| image.definitions).unwrap_or_default();
                Ok(judge(statement, &before, &now, evidence))
            }
            Restart::Unknowable { reason } => {
                evidence.push(reason.clone());
                Ok(Settled::Unknown { evidence })
            }
            Restart::Transactional => {
                evidence.push(
                    "it was sent outside a transaction, so no ledger row came with its rows"
                        .to_owned(),
                );
                Ok(Settled::Unknown { evidence })
            }
        }
    }
}
