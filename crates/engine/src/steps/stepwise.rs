//! A migration whose statements are steps of their own, each journalled before and after.

use dunlin_model::{Lease, PlannedStep, Restart, StepRecord, StepState};
use dunlin_project::sql::lost;

use super::{Bench, Ended, failure};
use crate::events::Event;
use crate::job::Urgency;
use crate::report::{Cause, EngineError};
use crate::{ErrorKind, Remedy, Settled, Target, TargetError, Work};

impl Bench<'_> {
    pub(super) async fn stepwise(
        &self,
        target: &mut dyn Target,
        lease: &mut Lease,
        step: &PlannedStep,
        work: &Work,
    ) -> Result<Ended, EngineError> {
        let count = work.statements.len();
        if count == 0 {
            return self.one_transaction(target, lease, step, work).await;
        }
        let first = (step.resume_at as usize).min(count);
        if first == count {
            // What it stopped at has been taken out of the file, and all that is left is done: only
            // the migration's own row is missing.
            let rows_alone = Work { statements: Vec::new(), ..work.clone() };
            return match self.one_transaction(target, lease, step, &rows_alone).await? {
                Ended::Well(_) => Ok(Ended::Well(vec![None; count])),
                other => Ok(other),
            };
        }
        let mut rows = vec![None; first];
        let mut owed = None;
        // What comes before the first statement that is sent here ran in a session that is gone.
        let mut takes_over = true;
        for index in first..count {
            if self.job.interrupt.urgency() >= Urgency::Finish {
                pay(target, lease, work, &mut owed).await?;
                let failed = failure(step, Some(index), Cause::Interrupted, index);
                return Ok(Ended::Badly(Box::new(failed)));
            }
            if let Some(open) = self.open_step(step, ordinal(index)) {
                pay(target, lease, work, &mut owed).await?;
                match self.settle(target, lease, step, work, open).await? {
                    Ok(true) => {
                        rows.push(None);
                        self.tell_done(step, index, count);
                        continue;
                    }
                    Ok(false) => {}
                    Err(ended) => return Ok(ended),
                }
            }
            if std::mem::take(&mut takes_over)
                && let Some(error) = self.lost_with_its_session(work, index)
            {
                return self.fail(target, lease, step, error, index).await;
            }
            match self.one_statement(target, lease, step, work, index, &mut owed).await? {
                Ok(touched) => rows.push(touched),
                Err(ended) => return Ok(ended),
            }
            self.tell_done(step, index, count);
        }
        Ok(Ended::Well(rows))
    }

    fn tell_done(&self, step: &PlannedStep, index: usize, count: usize) {
        let id = step.migration.id;
        self.job.observer.event(Event::StatementDone { id, number: index + 1, count });
    }

    /// Refuses to go on with statements that read what an earlier session had, and that another one
    /// would compute anew, over what has changed since, or not find at all.
    fn lost_with_its_session(&self, work: &Work, resume_at: usize) -> Option<TargetError> {
        let lost = lost(self.job.connector.dialect(), &work.statements, resume_at)?;
        let (reader, from, what) = (lost.reader + 1, lost.from + 1, lost.what);
        let message = format!(
            "statement {reader} takes over {what} from statement {from}, which ran in a session \
             that is gone: it would be another value now, or none"
        );
        Some(
            TargetError::new(ErrorKind::Refused, message)
                .note(format!(
                    "to go on: write what it needs into the file before statement {reader} (a SET \
                     with the value that it had, the temporary table once more)"
                ))
                .note(format!(
                    "or do the rest by hand, and take it out of the file: the next run then records \
                     the {resume_at} that ran as all of it"
                ))
                .help("only what comes after the statements that ran may be changed in the file")
                .in_statement(lost.reader),
        )
    }

    async fn one_statement(
        &self,
        target: &mut dyn Target,
        lease: &mut Lease,
        step: &PlannedStep,
        work: &Work,
        index: usize,
        owed: &mut Option<u32>,
    ) -> Result<Result<Option<u64>, Ended>, EngineError> {
        let mut attempt = 1;
        loop {
            let stopper = target.stopper();
            let sending = self.send(target, lease, work, index, owed);
            let outcome = tokio::select! {
                outcome = sending => outcome,
                () = self.job.interrupt.reached(Urgency::Abort) => {
                    stopper.stop().await;
                    let failed = failure(step, Some(index), Cause::Interrupted, index);
                    return Ok(Err(Ended::Aborted(Box::new(failed))));
                }
            };
            let error = match outcome {
                Ok(touched) => return Ok(Ok(touched)),
                Err(error) => error,
            };
            if error.kind.remedy() != Remedy::Reconnect {
                // Whatever comes next may take long, or not come at all.
                pay(target, lease, work, owed).await?;
            }
            if !self.try_again(step, &error, &mut attempt).await {
                let error = error.in_statement(index);
                return self.fail(target, lease, step, error, index).await.map(Err);
            }
        }
    }

    /// Finds out what became of a step of an earlier runner, and journals it if it is done. Says
    /// whether it is.
    async fn settle(
        &self,
        target: &mut dyn Target,
        lease: &mut Lease,
        step: &PlannedStep,
        work: &Work,
        open: &StepRecord,
    ) -> Result<Result<bool, Ended>, EngineError> {
        let index = open.ordinal as usize;
        let mut attempt = 1;
        let settled = loop {
            match target.settle_step(lease, work, open).await {
                Ok(settled) => break settled,
                // What is left of it may be locked by somebody else for a while.
                Err(error) if self.try_again(step, &error, &mut attempt).await => {}
                Err(error) => {
                    let error = error.in_statement(index);
                    return self.fail(target, lease, step, error, index).await.map(Err);
                }
            }
        };
        match settled {
            Settled::TookEffect => {
                self.tell_settled(step, index, true);
                target.close_step(lease, work, open.ordinal, StepState::Done).await?;
                Ok(Ok(true))
            }
            Settled::DidNot => {
                self.tell_settled(step, index, false);
                Ok(Ok(false))
            }
            Settled::Unknown { evidence } => {
                let failed = failure(step, Some(index), Cause::Unknown { evidence }, index);
                Ok(Err(Ended::Badly(Box::new(failed))))
            }
        }
    }

    /// Sends one statement: with its journal row in one transaction where that is possible,
    /// otherwise journalled before and after.
    ///
    /// `owed` is a step that took effect and is still open in the journal: its close goes with the
    /// next journal, which saves a commit for each definition. That costs no knowledge. A step is
    /// owed only where the driver promised, when it opened it, that the catalogue will tell for
    /// certain that it took effect. No other statement takes effect while it is open: the next one
    /// that runs by itself is sent after the journal that closes this one; and one that runs in a
    /// transaction closes it in that transaction, or is rolled back and leaves it as it was. So a
    /// death at any point leaves what one right behind the owed statement leaves, and that is
    /// settled in the same way: its connection is ended first, and then its definition, which
    /// nothing of ours has touched since, differs from the one that was noted.
    async fn send(
        &self,
        target: &mut dyn Target,
        lease: &mut Lease,
        work: &Work,
        index: usize,
        owed: &mut Option<u32>,
    ) -> Result<Option<u64>, TargetError> {
        let number = ordinal(index);
        let facts = &work.statements[index].facts;
        if facts.restart == Restart::Transactional && facts.outside_transaction.is_none() {
            let touched = target.commit_step(lease, work, number, *owed).await?;
            *owed = None;
            return Ok(touched);
        }
        let may_wait = target.open_step(lease, work, number, *owed).await?;
        *owed = None;
        match target.send_step(lease, work, number).await {
            Ok(touched) if may_wait && index + 1 < work.statements.len() => {
                *owed = Some(number);
                Ok(touched)
            }
            Ok(touched) => {
                target.close_step(lease, work, number, StepState::Done).await?;
                Ok(touched)
            }
            Err(error) if error.kind.remedy() == Remedy::Reconnect => Err(error),
            Err(error) => {
                target.close_step(lease, work, number, StepState::Failed).await?;
                Err(error)
            }
        }
    }

    fn tell_settled(&self, step: &PlannedStep, index: usize, took_effect: bool) {
        let id = step.migration.id;
        self.job.observer.event(Event::StepSettled { id, number: index + 1, took_effect });
    }
}

/// Journals a step as done whose close was to go with the next one.
async fn pay(
    target: &mut dyn Target,
    lease: &mut Lease,
    work: &Work,
    owed: &mut Option<u32>,
) -> Result<(), TargetError> {
    if let Some(number) = *owed {
        target.close_step(lease, work, number, StepState::Done).await?;
        *owed = None;
    }
    Ok(())
}

fn ordinal(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
