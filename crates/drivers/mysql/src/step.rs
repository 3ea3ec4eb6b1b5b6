//! Journalled steps: opened, sent alone, closed.
//!
//! Invariants: a statement is only sent after its journal row has committed, on the connection
//! that the row names; the row holds the definitions from before it.

use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError, Work, failpoint};
use dunlin_model::{Lease, StepState};

use crate::image::{self, Image};
use crate::target::MysqlTarget;
use crate::transaction::is_last;
use crate::work::{StepKey, WorkSession, no_such_statement};

impl MysqlTarget {
    pub(crate) async fn journal_open(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        closes: Option<u32>,
    ) -> Result<bool, TargetError> {
        let (connection, image) = match work.statements.get(ordinal as usize) {
            Some(statement) => {
                let mut session = self.take_work().await?;
                let prepared = session.prepare(work, ordinal).await;
                let connection = session.session.id;
                self.concluded(session, prepared).await?;
                let database = image::database_at(work, ordinal, self.ledger.database());
                let objects = image::objects(statement);
                let definitions = image::read(&mut self.session, objects, &database).await?;
                (connection, Image { started: self.facts.started, definitions })
            }
            // A program: it runs beside our connections, and nothing is compared.
            None if work.statements.is_empty() => {
                (self.session.id, Image { started: self.facts.started, definitions: Vec::new() })
            }
            None => return Err(no_such_statement(ordinal as usize)),
        };
        let key = StepKey::new(work, ordinal, lease.token);
        let opened = self.ledger.open_step(&key, connection, &image.to_text());
        let other = match closes {
            Some(closes) => self.closed_row(lease, work, closes),
            None => self.ledger.running(&work.entry),
        };
        self.fenced(lease, &[opened, other]).await?;
        failpoint("step.opened");
        let statement = work.statements.get(ordinal as usize);
        Ok(statement.is_some_and(|statement| image.will_tell(&statement.facts.verb)))
    }

    pub(crate) async fn send(
        &mut self,
        lease: &Lease,
        work: &Work,
        ordinal: u32,
    ) -> Result<Option<u64>, TargetError> {
        let mut session = self.take_work().await?;
        let result = send_on(&mut session, lease, work, ordinal).await;
        self.concluded(session, result).await
    }

    pub(crate) async fn journal_closed(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        state: StepState,
    ) -> Result<(), TargetError> {
        let writes = if state == StepState::Done && is_last(work, ordinal) {
            if let Some(session) = &mut self.work {
                session.finish();
            }
            self.finished_rows(work, Duration::ZERO)
        } else {
            let key = StepKey::new(work, ordinal, lease.token);
            vec![self.ledger.close_step(&key, state)]
        };
        self.fenced(lease, &writes).await?;
        failpoint("step.closed");
        Ok(())
    }

    /// What journals a step as done together with the next one. The migration's row is `running`
    /// by then.
    pub(crate) fn closed_row(&self, lease: &Lease, work: &Work, ordinal: u32) -> String {
        self.ledger.close_step(&StepKey::new(work, ordinal, lease.token), StepState::Done)
    }
}

/// The mark that a step's statement carries, so that a successor finds it among the server's
/// processes. It stands before the statement: what is stored of a view, routine or trigger
/// begins at its own first word.
pub(crate) fn mark(resource: &str, ordinal: u32, token: i64) -> String {
    format!("/* dunlin {resource} {ordinal} {token} */")
}

async fn send_on(
    session: &mut WorkSession,
    lease: &Lease,
    work: &Work,
    ordinal: u32,
) -> Result<Option<u64>, TargetError> {
    let index = ordinal as usize;
    let statement = work.statements.get(index).ok_or_else(|| no_such_statement(index))?;
    session.prepare(work, ordinal).await?;
    session.set_timeouts(work).await?;
    let mark = mark(&lease.resource.to_string(), ordinal, lease.token);
    failpoint("step.sending");
    let sent = session.execute(work, index, &format!("{mark} {}", statement.text)).await;
    failpoint("step.executed");
    match sent {
        Ok(effect) if effect.in_transaction => {
            // A file that turned autocommit off: the step is journalled as done only once
            // it is committed.
            session.session.run("COMMIT").await?;
            Ok(effect.rows)
        }
        Ok(effect) => Ok(effect.rows),
        Err(error) if error.kind == ErrorKind::Lost => Err(error),
        Err(error) => Err(session.session.rolled_back(error).await),
    }
}
