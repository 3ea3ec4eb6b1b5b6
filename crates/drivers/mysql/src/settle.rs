//! What became of a step whose runner died.
//!
//! Invariants: nothing is compared before the step's connection is gone from the server, also
//! where it is idle: its runner may only be stopped, and would send its statement once it wakes.
//! Where the outcome cannot be known, that is the answer.

use dunlin_engine::{Settled, TargetError, Work};
use dunlin_model::{Restart, StepRecord};

use crate::image::{self, Definition, Image, State};
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
                Ok(compared(&before, &now, evidence))
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

fn compared(before: &[Definition], now: &[Definition], mut evidence: Vec<String>) -> Settled {
    let mut changed = false;
    let mut known = !now.is_empty() && before.len() == now.len();
    for (old, new) in before.iter().zip(now) {
        let difference = match (&old.state, &new.state) {
            (State::Hidden, _) | (_, State::Hidden) => {
                known = false;
                "cannot be compared"
            }
            (old, new) if old == new => "unchanged",
            _ => {
                changed = true;
                "changed"
            }
        };
        evidence.push(format!(
            "{}: was {}, is {}: {difference}",
            new.object,
            old.state.describe(),
            new.state.describe()
        ));
    }
    if before.len() != now.len() {
        evidence.push("the journal does not hold the definitions from before it".to_owned());
    }
    // One definition that changed is proof, whatever cannot be seen of others.
    match (changed, known) {
        (true, _) => Settled::TookEffect,
        (false, true) => Settled::DidNot,
        (false, false) => Settled::Unknown { evidence },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(state: State) -> Vec<Definition> {
        vec![Definition { object: "table t".to_owned(), state }]
    }

    #[test]
    fn definitions_decide() {
        let defined = || definition(State::Defined("CREATE TABLE t".to_owned()));
        let absent = || definition(State::Absent);
        assert_eq!(compared(&absent(), &defined(), Vec::new()), Settled::TookEffect);
        assert_eq!(compared(&defined(), &absent(), Vec::new()), Settled::TookEffect);
        assert_eq!(compared(&defined(), &defined(), Vec::new()), Settled::DidNot);
        assert_eq!(compared(&absent(), &absent(), Vec::new()), Settled::DidNot);
    }

    #[test]
    fn what_cannot_be_seen_is_not_guessed() {
        let hidden = definition(State::Hidden);
        for (before, now) in [
            (hidden.clone(), definition(State::Absent)),
            (Vec::new(), definition(State::Absent)),
            (Vec::new(), Vec::new()),
        ] {
            assert!(matches!(compared(&before, &now, Vec::new()), Settled::Unknown { .. }));
        }
    }
}
