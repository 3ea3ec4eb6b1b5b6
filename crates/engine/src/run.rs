//! The run loop: lease, ledger, plan, steps; and the one way back in after anything broke.
//!
//! After a broken connection, an unknown COMMIT, a lost lease or a restart the loop does the same:
//! connect, claim the lease (which settles what was in doubt), read the ledger, plan again.

mod choice;
mod take;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dunlin_model::{Action, Kind, Lease, MigrationId, Plan, PlannedStep, Resource};
use dunlin_project::plan::Scope;
use tokio::time::sleep;

use crate::events::Event;
use crate::job::{Job, Urgency};
use crate::leases::{Heartbeat, acquire};
use crate::report::{EngineError, Failure, Finished, Report};
use crate::standing::{self, Planning, Request, Standing};
use crate::steps::{Bench, Ended};
use crate::{ErrorKind, Purpose, Remedy, RunRecord, Target, TargetError};

/// Runs what a request asks for on one database. Where nothing is to be done it takes no lease and
/// writes nothing.
///
/// # Errors
/// Whatever kept it from beginning, or made it end; a migration that fails is in the report.
pub async fn run(job: &Job, request: &Request) -> Result<Report, EngineError> {
    let mut report = Report::default();
    run_into(job, request, &mut report).await?;
    Ok(report)
}

/// As [`run`], and what was done before an error is in the report all the same.
///
/// # Errors
/// As [`run`].
pub async fn run_into(
    job: &Job,
    request: &Request,
    report: &mut Report,
) -> Result<(), EngineError> {
    let mut run = Run {
        job,
        request: request.clone(),
        planning: Planning::new(job),
        report,
        chosen: None,
        id: None,
        progressed: Instant::now(),
    };
    let (mut target, standing) = run.begin().await?;
    let plan = run.plan(&standing)?;
    run.report.notices.clone_from(&plan.notices);
    if plan.steps.is_empty() {
        run.report.leave(&plan);
        return Ok(());
    }
    if let Some(reason) = &standing.server.read_only {
        return Err(TargetError::new(ErrorKind::ReadOnly, reason.clone())
            .help("run against the primary, with a login that may write")
            .into());
    }
    let mut known = Some(standing);
    loop {
        let error = match run.attempt(target.as_mut(), known.take()).await {
            Ok(()) => return Ok(()),
            Err(EngineError::Target(error)) if error.kind.remedy() == Remedy::Reconnect => error,
            Err(error) => return Err(error),
        };
        // The old connection goes first: nothing of it may commit behind our back.
        drop(target);
        target = run.reconnect(error).await?;
    }
}

/// The plan that [`run`] would execute now, and where the database stands.
///
/// # Errors
/// As [`run`], before it begins.
pub async fn preview(job: &Job, request: &Request) -> Result<(Standing, Plan), EngineError> {
    let standing = standing::look(job).await?;
    let plan = Planning::new(job).plan(&standing, request)?;
    Ok((standing, plan))
}

/// What became of one step.
enum Turn {
    /// On to the next.
    Next,
    /// The ledger, or what may run, is another: plan again.
    Again(Option<Box<Standing>>),
    /// The run is over.
    Stop,
}

struct Run<'a> {
    job: &'a Job,
    request: Request,
    planning: Planning<'a>,
    report: &'a mut Report,
    /// What the first plan of a request that means certain migrations had.
    chosen: Option<Vec<MigrationId>>,
    /// Set once the ledger has a row for this run.
    id: Option<String>,
    progressed: Instant,
}

impl Run<'_> {
    /// Connects and reads for the first time. A server that is there and only busy (no connection
    /// left, starting) is waited for, and a connection that breaks is made again; one that can't
    /// be reached or refuses us is an error at once: waiting is what `wait` is for.
    async fn begin(&mut self) -> Result<(Box<dyn Target>, Standing), EngineError> {
        let mut target = match self.job.connect(Purpose::Run).await {
            Ok(target) => target,
            Err(EngineError::Target(error)) if error.kind == ErrorKind::Exhausted => {
                self.reconnect(error).await?
            }
            // Once: what closes every connection may be no database at all.
            Err(EngineError::Target(error)) if error.kind == ErrorKind::Lost => {
                self.job.connect(Purpose::Run).await?
            }
            Err(error) => return Err(error),
        };
        loop {
            match standing::read(self.job, target.as_mut()).await {
                Ok(standing) => return Ok((target, standing)),
                Err(EngineError::Target(error)) if error.kind.remedy() == Remedy::Reconnect => {
                    drop(target);
                    target = self.reconnect(error).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Connects again after an error, within a limit of time since the last progress.
    async fn reconnect(&mut self, mut error: TargetError) -> Result<Box<dyn Target>, EngineError> {
        let mut pause = Duration::from_millis(50);
        loop {
            if self.progressed.elapsed() + pause > self.job.limits.reconnect_max {
                return Err(error.into());
            }
            self.job.observer.event(Event::Reconnecting { error: &error, pause });
            tokio::select! {
                () = sleep(pause) => {}
                () = self.job.interrupt.reached(Urgency::Finish) => {
                    return Err(EngineError::Interrupted);
                }
            }
            match self.job.connect(Purpose::Run).await {
                Ok(target) => return Ok(target),
                // Whatever a restarting server says while it restarts: once we had a connection
                // with these settings.
                Err(EngineError::Target(again)) => error = again,
                Err(other) => return Err(other),
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// One attempt: from lease to release.
    async fn attempt(
        &mut self,
        target: &mut dyn Target,
        known: Option<Standing>,
    ) -> Result<(), EngineError> {
        let standing = match known {
            Some(standing) => standing,
            None => standing::read(self.job, target).await?,
        };
        if !standing.ledger.exists() {
            target.create_ledger(&uuid::Uuid::new_v4().to_string()).await?;
        }
        let heartbeat = Heartbeat::start(self.job);
        let mut lease = None;
        if !matches!(self.request, Request::Forward(Scope::Data { .. })) {
            let wait = self.job.limits.lease_wait;
            let held = acquire(self.job, target, &Resource::Schema, wait).await?;
            heartbeat.add(&held);
            lease = Some(held);
        }
        let outcome = self.under_lease(target, &heartbeat, lease.as_mut()).await;
        drop(heartbeat);
        // After these nothing is in doubt, so nobody has to wait for the lease to expire.
        let clean = match &outcome {
            Ok(known) => *known,
            Err(error) => !matches!(error, EngineError::Target(_)),
        };
        if clean {
            if let Some(id) = &self.id {
                let how = if self.report.interrupted {
                    "stopped"
                } else if self.report.failed.is_empty() {
                    "done"
                } else {
                    "failed"
                };
                // Only for people; the migrations' own rows are what counts.
                let _ = target.finish_run(id, how).await;
            }
            for lease in lease.iter().flat_map(Lease::each) {
                // Expiry covers a release that fails.
                let _ = target.release(lease).await;
            }
        }
        outcome.map(|_| ())
    }

    /// Plans under the lease and executes. `false`: the connection is in an unknown state.
    async fn under_lease(
        &mut self,
        target: &mut dyn Target,
        heartbeat: &Heartbeat,
        mut lease: Option<&mut Lease>,
    ) -> Result<bool, EngineError> {
        let mut standing = standing::read(self.job, target).await?;
        'planning: loop {
            let plan = self.plan(&standing)?;
            self.report.leave(&plan);
            if !plan.steps.is_empty() {
                self.note_run(target, &plan, &standing).await?;
            }
            let count = plan.steps.len() + self.report.finished.len();
            for step in &plan.steps {
                if self.job.interrupt.urgency() >= Urgency::Finish {
                    self.report.interrupted = true;
                    return Ok(true);
                }
                let number = self.report.finished.len() + 1;
                let turn = self
                    .take_step(target, heartbeat, &mut lease, &mut standing, step, (number, count))
                    .await?;
                match turn {
                    Turn::Next => {}
                    Turn::Again(fresh) => {
                        if let Some(fresh) = fresh {
                            standing = *fresh;
                        }
                        continue 'planning;
                    }
                    Turn::Stop => return Ok(!self.was_aborted()),
                }
            }
            return Ok(true);
        }
    }

    fn was_aborted(&self) -> bool {
        self.report.interrupted && self.job.interrupt.urgency() >= Urgency::Abort
    }

    async fn note_run(
        &mut self,
        target: &mut dyn Target,
        plan: &Plan,
        standing: &Standing,
    ) -> Result<(), EngineError> {
        if self.id.is_none() {
            let run = RunRecord {
                id: uuid::Uuid::new_v4().to_string(),
                owner: self.job.owner.clone(),
                command: self.job.command.clone(),
                program: self.job.program.clone(),
                passed_over: standing.passed_over(plan),
            };
            target.begin_run(&run).await?;
            self.id = Some(run.id);
        }
        Ok(())
    }

    async fn execute(
        &mut self,
        target: &mut dyn Target,
        lease: &mut Lease,
        standing: &mut Standing,
        step: &PlannedStep,
        (number, count): (usize, usize),
    ) -> Result<Turn, EngineError> {
        let began = Instant::now();
        self.job.observer.event(Event::StepStarted { step, number, count });
        let run = self.id.clone().unwrap_or_default();
        let bench = Bench::new(self.job, &standing.ledger, &run);
        let ended = bench.execute(target, lease, step).await;
        if bench.progressed.load(Ordering::Relaxed) {
            self.progressed = Instant::now();
        }
        match ended? {
            Ended::Well(rows) => {
                let took = began.elapsed();
                self.progressed = Instant::now();
                self.job.observer.event(Event::StepFinished { step, took, rows: &rows });
                self.finished(standing, step, took, rows);
                Ok(Turn::Next)
            }
            Ended::Badly(failure) => self.failed(target, *failure).await,
            Ended::Aborted(failure) => {
                self.report.interrupted = true;
                self.report.failed.push(*failure);
                Ok(Turn::Stop)
            }
        }
    }

    fn finished(
        &mut self,
        standing: &mut Standing,
        step: &PlannedStep,
        took: Duration,
        rows: Vec<Option<u64>>,
    ) {
        let id = step.migration.id;
        let (resets, skipped) = match &step.action {
            Action::Down { resets } => (resets.clone(), None),
            Action::Skip { reason } => (Vec::new(), Some(reason.clone())),
            Action::Up => (Vec::new(), None),
        };
        standing.take_over(step);
        self.report.finished.push(Finished {
            id,
            name: step.migration.name.clone(),
            direction: step.direction(),
            skipped,
            took,
            rows,
            resets,
        });
    }

    /// A failed data migration stays behind and others go on; a failed schema migration, or a
    /// person, ends the run.
    async fn failed(
        &mut self,
        target: &mut dyn Target,
        failure: Failure,
    ) -> Result<Turn, EngineError> {
        let (id, name) = (failure.id, failure.name.clone());
        let interrupted = matches!(failure.cause, crate::report::Cause::Interrupted);
        self.report.failed.push(failure);
        if interrupted {
            self.report.interrupted = true;
            return Ok(Turn::Stop);
        }
        if id.kind == Kind::Schema {
            return Ok(Turn::Stop);
        }
        self.planning.failed.insert(id);
        // The next plan is another one, and passes over what this one meant to run.
        if let Some(run) = self.id.take() {
            target.finish_run(&run, "failed").await?;
        }
        self.job.observer.event(Event::DataFailed { id, name: &name });
        let fresh = standing::read(self.job, target).await?;
        Ok(Turn::Again(Some(Box::new(fresh))))
    }
}
