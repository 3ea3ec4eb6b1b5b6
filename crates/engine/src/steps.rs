//! One step of a plan, executed: in one transaction, statement by statement, or as a program.
//!
//! An error of this module's functions means that the run must look at the ledger again or end;
//! a failed migration is a value.

mod stepwise;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dunlin_model::{
    Action, BackfillState, Diagnostic, Direction, EntryState, EntryWrite, Kind, Lease, LedgerEvent,
    LedgerView, MigrationId, Mode, Place, PlannedStep, Resource, Segment, StepRecord, StepState,
};

use crate::events::Event;
use crate::job::{Job, Urgency};
use crate::proof;
use crate::report::{Cause, EngineError, Failure};
use crate::{ErrorKind, Remedy, Target, TargetError, Work};

/// How a step ended.
pub(crate) enum Ended {
    /// With rows touched by each statement.
    Well(Vec<Option<u64>>),
    /// It failed; nothing of an undecided transaction remains.
    Badly(Box<Failure>),
    /// A person wanted out at once: the connection is in an unknown state.
    Aborted(Box<Failure>),
}

/// What executing a step needs beside the connection.
pub(crate) struct Bench<'a> {
    pub(crate) job: &'a Job,
    pub(crate) ledger: &'a LedgerView,
    pub(crate) run: &'a str,
    /// Set when a step that goes on for long has come further: what breaks then is no reason to
    /// give up.
    pub(crate) progressed: AtomicBool,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(job: &'a Job, ledger: &'a LedgerView, run: &'a str) -> Self {
        Self { job, ledger, run, progressed: AtomicBool::new(false) }
    }
}

impl Bench<'_> {
    /// Executes one step under its lease.
    pub(crate) async fn execute(
        &self,
        target: &mut dyn Target,
        lease: &mut Lease,
        step: &PlannedStep,
    ) -> Result<Ended, EngineError> {
        let work = self.work(step);
        if let Action::Skip { .. } = step.action {
            target.record(lease, &[work.entry]).await?;
            return Ok(Ended::Well(Vec::new()));
        }
        if let Some(failed) = self.half_done_in_chunks(target, step).await? {
            return Ok(Ended::Badly(Box::new(failed)));
        }
        let held = match self.holds_before(target, step).await? {
            Ok(held) => held,
            Err(error) => return self.fail(target, lease, step, error, 0).await,
        };
        if held {
            target.record(lease, std::slice::from_ref(&work.entry)).await?;
            return Ok(Ended::Well(Vec::new()));
        }
        match target.preflight(&work).await {
            Ok(()) => {}
            Err(error) => return self.fail(target, lease, step, error, 0).await,
        }
        match step.mode {
            Mode::OneTransaction => self.proved_transaction(target, lease, step, work).await,
            Mode::Stepwise if step.migration.directives().done_when.is_some() => {
                let error = TargetError::new(
                    ErrorKind::Refused,
                    "`done-when` is checked in the migration's own transaction, and its statements \
                     do not run in one",
                )
                .help("move what can't run in a transaction to a schema migration");
                self.fail(target, lease, step, error, 0).await
            }
            Mode::Stepwise => self.stepwise(target, lease, step, &work).await,
            Mode::Program => self.program(target, lease, step, work).await,
            Mode::Chunked => crate::backfill::run(self, target, lease, step, work).await,
        }
    }

    /// Refuses to run a migration in another way than by chunks where some of its chunks are done: it
    /// would do their rows once more. What the ledger says of it stays as it is.
    async fn half_done_in_chunks(
        &self,
        target: &mut dyn Target,
        step: &PlannedStep,
    ) -> Result<Option<Failure>, EngineError> {
        let id = step.migration.id;
        // A pass that has left no row of its own has done no chunk.
        let begun = self.ledger.entries.get(&id).is_some_and(|entry| entry.started_at.is_some());
        if !begun
            || id.kind != Kind::Data
            || step.mode == Mode::Chunked
            || step.action != Action::Up
        {
            return Ok(None);
        }
        let known = target.backfills(Some(&Resource::Data(id.version))).await?;
        let Some((record, _)) = known.into_iter().find(|(record, segments)| {
            record.pass == step.pass
                && record.state != BackfillState::Undone
                && segments.iter().any(Segment::has_begun)
        }) else {
            return Ok(None);
        };
        let file = step.file();
        let message = format!(
            "{id} stopped half-way: rows of {} were done in chunks, and otherwise than in chunks they \
             would be done once more",
            record.table
        );
        let found = Diagnostic::error("edited-half-way", message).at(Place::file(file)).help(format!(
            "put {} back as it was until it is done; or, with it as it was, `dunlin data rerun {}` \
             makes it begin anew, in whatever way",
            file.display(),
            id.version
        ));
        Ok(Some(failure(step, None, Cause::Refused { diagnostics: vec![found] }, 0)))
    }

    /// Whether what a data migration is to bring about is already so: then it is done at once. A
    /// backfill looks itself, for one that has begun is not done because it looks so.
    async fn holds_before(
        &self,
        target: &mut dyn Target,
        step: &PlannedStep,
    ) -> Result<Result<bool, TargetError>, EngineError> {
        let query = &step.migration.directives().done_when;
        let (Action::Up, Some(query)) = (&step.action, query) else { return Ok(Ok(false)) };
        if step.mode == Mode::Chunked || self.ledger.steps.iter().any(|s| s.id == step.migration.id)
        {
            return Ok(Ok(false));
        }
        match target.holds(query).await {
            Ok(holds) => {
                if holds {
                    let id = step.migration.id;
                    let news = crate::events::BackfillNews::HeldBefore;
                    self.job.observer.event(Event::Backfill { id, news });
                }
                Ok(Ok(holds))
            }
            Err(error) if error.kind.remedy() == Remedy::Reconnect => Err(error.into()),
            // It is no question, now or later: better told before all of the work than after it.
            Err(error) if error.kind == ErrorKind::Refused => {
                Ok(Err(proof::of_proof(step.migration.directives(), error)))
            }
            // The tables that it asks for may be made by the migration itself.
            Err(_) => Ok(Ok(false)),
        }
    }

    /// What is sent to the driver: statements and the rows that belong to them.
    pub(crate) fn work(&self, step: &PlannedStep) -> Work {
        let migration = &step.migration;
        let directives = match (&step.action, &migration.down) {
            (Action::Down { .. }, Some(down)) => &down.directives,
            _ => migration.directives(),
        };
        let resets = match &step.action {
            Action::Down { resets } => resets.iter().map(|id| self.reset(*id)).collect(),
            Action::Up | Action::Skip { .. } => Vec::new(),
        };
        Work {
            direction: step.direction(),
            statements: step.statements().to_vec(),
            entry: self.entry(step),
            resets,
            lock_timeout: directives.lock_timeout.unwrap_or(self.job.limits.lock_timeout),
            statement_timeout: directives.statement_timeout.or(self.job.limits.statement_timeout),
            foreign_keys_off: directives.foreign_keys_off,
        }
    }

    fn entry(&self, step: &PlannedStep) -> EntryWrite {
        let migration = &step.migration;
        let (state, event, pass, reason) = match &step.action {
            Action::Up => (EntryState::Applied, LedgerEvent::Up, step.pass, None),
            // The pass stays: steps are found again by it when a way back stops half-way.
            Action::Down { .. } => (EntryState::Pending, LedgerEvent::Down, step.pass, None),
            Action::Skip { reason } => {
                (EntryState::Skipped, LedgerEvent::Skip, step.pass, Some(reason.clone()))
            }
        };
        let content = (step.direction() == Direction::Up)
            .then(|| (migration.checksums.clone(), migration.text.clone()));
        EntryWrite {
            id: migration.id,
            name: migration.name.clone(),
            state,
            pass,
            content,
            baseline: false,
            by_environment: state == EntryState::Skipped,
            reason,
            error: None,
            output: None,
            event,
            run: self.run.to_owned(),
        }
    }

    fn reset(&self, id: MigrationId) -> EntryWrite {
        let known = self.ledger.entries.get(&id);
        let file = self.job.folder.files.get(&id);
        let name = known.map(|entry| &entry.name).or_else(|| file.map(|file| &file.name));
        EntryWrite {
            id,
            name: name.cloned().unwrap_or_default(),
            state: EntryState::Pending,
            pass: known.map_or(1, |entry| entry.pass.saturating_add(1)),
            content: None,
            baseline: false,
            by_environment: false,
            reason: None,
            error: None,
            output: None,
            event: LedgerEvent::Reset,
            run: self.run.to_owned(),
        }
    }

    /// In one transaction, with the proof as its last statement where the header has one.
    async fn proved_transaction(
        &self,
        target: &mut dyn Target,
        lease: &mut Lease,
        step: &PlannedStep,
        mut work: Work,
    ) -> Result<Ended, EngineError> {
        let query = step.migration.directives().done_when.as_deref();
        let (Action::Up, Some(query)) = (&step.action, query) else {
            return self.one_transaction(target, lease, step, &work).await;
        };
        let dialect = self.job.connector.dialect();
        let count = work.statements.len();
        work.statements.push(proof::statement(dialect, query));
        let mut ended = self.one_transaction(target, lease, step, &work).await?;
        match &mut ended {
            Ended::Well(rows) => rows.truncate(count),
            Ended::Badly(failed) => {
                if let Cause::Target(error) = &failed.cause
                    && proof::is_refusal(dialect, error, count)
                {
                    let cause = Cause::NotProved { rounds: 0 };
                    self.note_failure(target, lease, step, &cause, None).await;
                    failed.cause = cause;
                    failed.number = None;
                } else if let Cause::Target(error) = &failed.cause
                    && error.statement == Some(count)
                {
                    let error = proof::of_proof(step.migration.directives(), error.clone());
                    let cause = Cause::Target(error);
                    self.note_failure(target, lease, step, &cause, None).await;
                    failed.cause = cause;
                    failed.number = None;
                }
            }
            Ended::Aborted(_) => {}
        }
        Ok(ended)
    }

    async fn one_transaction(
        &self,
        target: &mut dyn Target,
        lease: &mut Lease,
        step: &PlannedStep,
        work: &Work,
    ) -> Result<Ended, EngineError> {
        let mut attempt = 1;
        loop {
            let stopper = target.stopper();
            let outcome = tokio::select! {
                outcome = target.commit(lease, work) => outcome,
                () = self.job.interrupt.reached(Urgency::Abort) => {
                    stopper.stop().await;
                    return Ok(Ended::Aborted(Box::new(failure(step, None, Cause::Interrupted, 0))));
                }
            };
            match outcome {
                Ok(rows) => return Ok(Ended::Well(rows)),
                Err(error) if self.try_again(step, &error, &mut attempt).await => {}
                Err(error) => return self.fail(target, lease, step, error, 0).await,
            }
        }
    }

    /// Pauses before another try, if there is to be one.
    async fn try_again(&self, step: &PlannedStep, error: &TargetError, attempt: &mut u32) -> bool {
        if error.kind.remedy() != Remedy::RetryTransaction
            || *attempt >= self.job.limits.attempt_count_max
        {
            return false;
        }
        *attempt += 1;
        let pause = backoff(*attempt);
        let id = step.migration.id;
        self.job.observer.event(Event::Retrying { id, error, attempt: *attempt, pause });
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.job.interrupt.reached(Urgency::Finish) => false,
        }
    }

    pub(crate) fn open_step(&self, step: &PlannedStep, number: u32) -> Option<&StepRecord> {
        self.ledger.steps.iter().find(|record| {
            record.id == step.migration.id
                && record.direction == step.direction()
                && record.pass == step.pass
                && record.ordinal == number
                && record.state == StepState::Open
        })
    }

    /// Turns a database's error into a failed migration, or hands it on where the run must look
    /// at the ledger again.
    async fn fail(
        &self,
        target: &mut dyn Target,
        lease: &mut Lease,
        step: &PlannedStep,
        error: TargetError,
        kept: usize,
    ) -> Result<Ended, EngineError> {
        match error.kind.remedy() {
            Remedy::Reconnect | Remedy::ReportBug => return Err(error.into()),
            Remedy::RetryTransaction | Remedy::FixInput | Remedy::AskOperator => {}
        }
        if error.kind == ErrorKind::LedgerFormat {
            return Err(error.into());
        }
        let index = error.statement;
        let interrupted = self.job.interrupt.urgency() >= Urgency::Finish
            && error.kind.remedy() == Remedy::RetryTransaction;
        let cause = if interrupted { Cause::Interrupted } else { Cause::Target(error) };
        self.note_failure(target, lease, step, &cause, None).await;
        Ok(Ended::Badly(Box::new(failure(step, index, cause, kept))))
    }

    /// Notes a failure in the ledger, for `status`. Best effort: the migration is pending in any
    /// case, and the person at the terminal is told.
    pub(crate) async fn note_failure(
        &self,
        target: &mut dyn Target,
        lease: &mut Lease,
        step: &PlannedStep,
        cause: &Cause,
        output: Option<String>,
    ) {
        let message = cause.to_string();
        let mut entry = self.entry(step);
        entry.event = LedgerEvent::Fail;
        entry.error = Some(message);
        entry.output = output;
        entry.pass = step.pass;
        if step.mode == Mode::Chunked {
            // The ledger keeps the text that a part of the rows has been through.
            entry.content = None;
        }
        // A failed way down leaves the migration applied.
        if step.direction() == Direction::Up {
            entry.state = EntryState::Failed;
        } else {
            entry.state = EntryState::Applied;
        }
        let _ = target.record(lease, &[entry]).await;
    }
}

/// 0.2 s, doubled each time up to 8 s, and up to half as much again at random so that two who met
/// do not meet again.
pub(crate) fn backoff(attempt: u32) -> Duration {
    let millis = 100_u64.saturating_mul(1 << attempt.min(10)).min(8_000);
    Duration::from_millis(millis + fastrand::u64(0..=millis / 2))
}

pub(crate) fn failure(
    step: &PlannedStep,
    index: Option<usize>,
    cause: Cause,
    kept: usize,
) -> Failure {
    Failure {
        id: step.migration.id,
        name: step.migration.name.clone(),
        direction: step.direction(),
        file: step.file().clone(),
        statement: index.and_then(|index| step.statements().get(index)).cloned(),
        number: index.map(|index| index + 1),
        cause,
        kept,
    }
}
