//! What became of a step whose runner died.
//!
//! Invariants: nothing is compared before the step's connection is gone from the server, also
//! where it is idle: its runner may only be stopped, and would send its statement once it wakes.
//! Where the outcome cannot be known, that is the answer.

use std::time::Duration;

use dunlin_engine::{ErrorKind, Settled, TargetError, Work};
use dunlin_model::{Restart, StepRecord};

use crate::image::{self, Definition, Image, State};
use crate::process::{self, Process};
use crate::target::MysqlTarget;

/// How long a statement that is still at work may go on before it is ended: most are done by
/// then, and a long one that is ended leaves nothing behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an ended connection may take to be gone: as long as rolling back a copied table takes.
const END: Duration = Duration::from_secs(600);

/// How far two readings of a server's start may be apart and mean the same start: both are
/// differences of times that are cut to seconds.
const SAME_START_SECONDS: i64 = 2;

impl MysqlTarget {
    pub(crate) async fn settle(
        &mut self,
        work: &Work,
        step: &StepRecord,
    ) -> Result<Settled, TargetError> {
        let before = step.image.as_deref().and_then(Image::from_text);
        let old = self.end_old_connection(step, before.as_ref()).await?;
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

    /// Waits for the old statement, or ends it; returns what was found, for a person.
    async fn end_old_connection(
        &mut self,
        step: &StepRecord,
        image: Option<&Image>,
    ) -> Result<String, TargetError> {
        let Some(id) = step.connection.and_then(|id| u64::try_from(id).ok()) else {
            return Ok("the connection it was sent on is not known".to_owned());
        };
        let restarted = image
            .is_some_and(|image| (image.started - self.facts.started).abs() > SAME_START_SECONDS);
        if restarted {
            return Ok("the server was restarted since it was sent".to_owned());
        }
        if id == self.session.id || self.work.as_ref().is_some_and(|work| work.is(id)) {
            return Ok("it was sent on this very connection, which is idle".to_owned());
        }
        if process::find(&mut self.session, id).await?.is_none() {
            return Ok(format!("connection {id}, which it was sent on, is gone"));
        }
        let at_work = process::wait_while(&mut self.session, id, PATIENCE, is_at_work).await?;
        process::kill(&mut self.session, id).await?;
        let left = process::wait_while(&mut self.session, id, END, |_| true).await?;
        if let Some(left) = left {
            return Err(TargetError::new(
                ErrorKind::LockTimeout,
                format!("the earlier run's statement is still being undone on connection {id}"),
            )
            .note(format!("it has been in state `{}` for {} s", left.state, left.seconds))
            .help("run the same command again once it is gone; nothing is lost"));
        }
        Ok(match at_work {
            Some(_) => format!("it was still at work on connection {id}, which was ended"),
            None => format!("connection {id}, which it was sent on, was still open and was ended"),
        })
    }
}

fn is_at_work(process: &Process) -> bool {
    process.command != "Sleep"
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
