//! Runs a move: reads and plans, takes the lease, and begins again where a connection broke.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dunlin_model::moves::{Mapping, Placed, TableName};
use dunlin_model::{Diagnostic, Lease, Place, Resource};

use super::breaks::Breaks;
use super::control::{Control, ending, told_to_stop};
use super::course::Course;
use super::expressions::Compiler;
use super::fixed::fix;
use super::gate::Gate;
use super::gated::Gated;
use super::lanes::Lanes;
use super::look::never_ran;
use super::plan::{MovePlan, PlannedSource};
use super::planned::planned;
use super::ports::{MoveConnector, MoveTarget, Source, SourceConnector};
use super::report::MoveReport;
use super::rights;
use super::session::Session;
use super::spelling;
use super::state::{AREA, MoveState};
use crate::events::Event;
use crate::job::{Job, Urgency};
use crate::leases::{Heartbeat, acquire};
use crate::report::{Cause, EngineError};
use crate::{ErrorKind, Purpose, ReadRequest, Remedy, Target, TargetError};

/// What errors of the source's side carry as a note.
pub const SOURCE_NOTE: &str = "the move's source";

/// How many connections write to the target at once where nothing else is said: one is at work in
/// the server while the other's rows are made and sent.
pub const WORKERS: u32 = 2;
/// How long the end of a run waits to give its lease back: it expires by itself.
const RELEASE_MAX: Duration = Duration::from_secs(3);

/// How long a run waits before it begins again: longer each time that nothing came of it.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What a run may take in memory, where nothing is said: it shall not matter on the smallest of
/// servers, whatever the tables.
pub const MEMORY_BYTES: usize = 256 << 20;

/// One move, and how to run it.
#[derive(Clone)]
pub struct MoveJob {
    /// The target's job: its connector leads to the target.
    pub job: Job,
    /// The mapping.
    pub mapping: Mapping,
    /// Where rows come from.
    pub source: Arc<dyn SourceConnector>,
    /// Where they go.
    pub target: Arc<dyn MoveConnector>,
    /// Compiles expressions.
    pub compiler: Arc<dyn Compiler>,
    /// The secret of derived ids, where the environment has it.
    pub secret: Option<[u8; 32]>,
    /// Write nothing, and count what would be.
    pub dry_run: bool,
    /// With it: show what some rows have and would get.
    pub show_values: bool,
    /// Compare every row in the end.
    pub verify: bool,
    /// What a run may take in memory, about, in bytes: [`MEMORY_BYTES`] where nothing is said.
    pub memory_bytes: usize,
    /// Close the move after a run that is verified.
    pub finish: bool,
    /// How many connections write to the target at once, where it can take more than one.
    pub workers: u32,
    /// Rows that may be written a second; `None`: as many as come.
    pub rate: Option<u64>,
}

/// Runs the move. After a broken connection it does what it does at its start: connect, claim, read,
/// compare; what was committed is found unchanged.
///
/// # Errors
/// What is wrong with the mapping; the databases'; a lease that is held.
pub async fn run(move_job: &MoveJob) -> Result<MoveReport, EngineError> {
    let began = Instant::now();
    let mut breaks = Breaks::default();
    let (mut has_connected, mut pause) = (false, PAUSE_MIN);
    loop {
        let gate = Gate::new(&move_job.job, move_job.rate);
        let error = match attempt(move_job, &gate, &mut has_connected).await {
            Ok(mut report) => {
                report.total_ms = millis(began);
                return Ok(report);
            }
            Err(error) => error,
        };
        if move_job.job.interrupt.urgency() >= Urgency::Finish {
            return Err(EngineError::Interrupted);
        }
        let EngineError::Target(error) = error else { return Err(error) };
        // What nobody ever reached was not lost.
        let was_there = has_connected || error.kind == ErrorKind::Lost;
        let is_passing = error.kind.remedy() == Remedy::Reconnect && was_there;
        if !is_passing || !breaks.another(&move_job.job.limits, &gate) {
            return Err(error.into());
        }
        pause = match gate.has_read() || gate.has_written() {
            true => PAUSE_MIN,
            false => PAUSE_MAX.min(pause * 2),
        };
        let pause = pause.mul_f64(1.0 + fastrand::f64() / 2.0);
        move_job.job.observer.event(Event::MoveBroken { error: &error, pause });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = move_job.job.interrupt.reached(Urgency::Finish) => {
                return Err(EngineError::Interrupted);
            }
        }
    }
}

/// Plans, and says what is wrong. It looks only.
///
/// # Errors
/// As `run`.
pub async fn prepare(
    move_job: &MoveJob,
) -> Result<(MovePlan, Vec<Diagnostic>, Box<dyn Source>), EngineError> {
    let mut source = move_job.open_source().await?;
    let mut target = move_job.target.move_target().await?;
    let (plan, mut warnings) = planned(move_job, source.as_mut(), target.as_mut()).await?;
    warnings.extend(spelling::check(&plan, source.as_mut()).await?);
    let stored = target.stored(&move_job.mapping.name, AREA, 0, 1).await?;
    if let Some(stored) = stored.first() {
        let mut state = MoveState::read(stored)?;
        state.fix(&move_job.mapping)?;
        fix(&mut state, &plan, target.as_mut()).await?;
    }
    Ok((plan, warnings, source))
}

async fn attempt(
    move_job: &MoveJob,
    gate: &Gate,
    has_connected: &mut bool,
) -> Result<MoveReport, EngineError> {
    let job = &move_job.job;
    if let Some(finished) = &move_job.mapping.finished {
        return Err(EngineError::Refused(vec![over(&move_job.mapping, finished)]));
    }
    let mut source = move_job.open_source().await?;
    let mut target = move_job.target.move_target().await?;
    *has_connected = true;
    let (plan, mut warnings) = planned(move_job, source.as_mut(), target.as_mut()).await?;
    let name = &move_job.mapping.name;
    if move_job.dry_run {
        warnings.extend(spelling::check(&plan, source.as_mut()).await?);
        let lease = no_lease(job, name);
        let (mut state, secret) = state(move_job, target.as_mut()).await?;
        fix(&mut state, &plan, target.as_mut()).await?;
        state.shape(&plan, state.runs + 1);
        let mut session =
            Session::new(job, target, lease, name, state.runs + 1, true, gate.clone());
        session.show_values = move_job.show_values;
        let mut source = Gated::new(source, gate.clone(), &estimates(&plan));
        let mut report =
            Course { move_job, plan: &plan, session, state, secret }.run(&mut source).await?;
        report.warnings = warnings;
        return Ok(report);
    }
    rights::check(&plan, target.as_mut()).await?;
    let mut ledger = job.connect(Purpose::Run).await?;
    if !has_ledger(ledger.as_mut()).await? {
        ledger.create_ledger(&uuid::Uuid::new_v4().to_string()).await?;
    }
    target.create_store().await?;
    drop(source);
    drop(target);
    loop {
        let done = held(move_job, ledger.as_mut(), gate).await;
        if !gate.has_let_go() {
            return done;
        }
        job.observer.event(Event::MoveLetGo);
        ledger = job.connect(Purpose::Run).await?;
    }
}

/// Whether there is a whole ledger: a run that died while it made one may have left tables alone, where
/// each of them is a transaction of its own.
async fn has_ledger(ledger: &mut dyn Target) -> Result<bool, TargetError> {
    if !ledger.probe(&[]).await?.ledger {
        return Ok(false);
    }
    Ok(ledger.read(&ReadRequest { ledger: true, foreign: None }).await?.ledger.exists())
}

/// A mapping says that its ledger is gone.
fn over(mapping: &Mapping, finished: &Placed<String>) -> Diagnostic {
    let message = format!(
        "the move {} was finished on {}, and its ledger dropped: it would know no row as its own",
        mapping.name, finished.value
    );
    let mut diagnostic = Diagnostic::error("finished", message);
    diagnostic.place = Some(Place::line(mapping.file.clone(), finished.line));
    diagnostic.help = Some("for another, empty database take this line out".to_owned());
    diagnostic
}

/// One go under the lease. A person who paused it for long is waited for before it is given back.
async fn held(
    move_job: &MoveJob,
    ledger: &mut dyn Target,
    gate: &Gate,
) -> Result<MoveReport, EngineError> {
    let job = &move_job.job;
    let resource = Resource::Move(move_job.mapping.name.clone());
    let mut lease = acquire(job, ledger, &resource, job.limits.lease_wait).await?;
    let heartbeat = Heartbeat::start(job);
    heartbeat.add(&lease);
    let mut control = None;
    let done = tokio::select! {
        done = under_lease(move_job, ledger, &mut lease, gate, &mut control) => done,
        // Connections that are dropped roll back what is open.
        () = job.interrupt.reached(Urgency::Abort) => Err(EngineError::Interrupted),
    };
    // What a person wants ends it as an error of the target, on its way through everything.
    let done = done.map_err(|error| match gate.told() {
        _ if !is_refused(&error) => error,
        _ if job.interrupt.urgency() >= Urgency::Finish => EngineError::Interrupted,
        Some(cause @ Cause::Cancelled { .. }) => told_to_stop(cause, &move_job.mapping.name),
        _ => error,
    });
    let is_broken = matches!(&done, Err(EngineError::Target(error)) if error.kind.remedy() == Remedy::Reconnect);
    if gate.has_let_go() {
        gate.resumed().await?;
    }
    heartbeat.remove(&resource);
    if !is_broken {
        // The server may take its time to roll back what was dropped in its middle.
        let ending = async {
            if let Some(control) = control {
                let (state, reason) = ending(&done);
                control.end(ledger, &lease, gate, state, reason).await;
            }
            release(ledger, &lease).await;
        };
        let _ = tokio::time::timeout(RELEASE_MAX, ending).await;
    }
    done
}

fn is_refused(error: &EngineError) -> bool {
    matches!(error, EngineError::Target(error) if error.kind == ErrorKind::Refused)
}

/// About how many rows each source has.
pub(super) fn estimates(plan: &MovePlan) -> Vec<(TableName, u64)> {
    let of = |source: &PlannedSource| {
        Some((source.relation.name.clone(), source.relation.row_count_estimate?))
    };
    plan.sources.iter().filter_map(of).collect()
}

pub(super) async fn release(ledger: &mut dyn Target, lease: &Lease) {
    // It expires by itself, if this fails.
    let _ = ledger.release(lease).await;
}

/// Under the lease everything is read anew: a snapshot from before it may be older than what another
/// run has written meanwhile.
async fn under_lease(
    move_job: &MoveJob,
    ledger: &mut dyn Target,
    lease: &mut Lease,
    gate: &Gate,
    control: &mut Option<Control>,
) -> Result<MoveReport, EngineError> {
    let mut target = move_job.target.move_target().await?;
    let mut source = move_job.open_source().await?;
    let (plan, mut warnings) = planned(move_job, source.as_mut(), target.as_mut()).await?;
    warnings.extend(spelling::check(&plan, source.as_mut()).await?);
    let plan = &plan;
    let (mut state, secret) = state(move_job, target.as_mut()).await?;
    let mut entries = fix(&mut state, plan, target.as_mut()).await?;
    state.runs += 1;
    state.verified = false;
    *control = Some(Control::begin(move_job, state.runs, ledger, lease, gate).await?);
    state.shape(plan, state.runs);
    let (job, name) = (&move_job.job, &plan.mapping.name);
    let mut session =
        Session::new(job, target, lease.clone(), name, state.runs, false, gate.clone());
    entries.push(state.store()?);
    session.put(&entries).await?;
    let workers = gate.workers(move_job.workers);
    session.lanes = Lanes::open(move_job.target.as_ref(), &mut session, workers).await?;
    let mut source = Gated::new(source, gate.clone(), &estimates(plan));
    let course = Course { move_job, plan, session, state, secret };
    let mut report = course.run(&mut source).await?;
    report.warnings = warnings;
    Ok(report)
}

/// Allows runs of a finished move again, and notes why.
///
/// # Errors
/// It is not finished; the databases'; a lease that is held.
pub async fn reopen(move_job: &MoveJob, because: &str) -> Result<(), EngineError> {
    let (job, name) = (&move_job.job, &move_job.mapping.name);
    let mut target = move_job.target.move_target().await?;
    // Whoever has nothing to open again waits for no lease.
    finished_state(target.as_mut(), name).await?;
    let held = lease_of(job, name).await?;
    let done = reopen_held(job, target, &held.lease, name, because).await;
    held.release().await;
    done
}

/// Under the lease the state is read again: others may have opened the move and run it meanwhile.
async fn reopen_held(
    job: &Job,
    mut target: Box<dyn MoveTarget>,
    lease: &Lease,
    name: &str,
    because: &str,
) -> Result<(), EngineError> {
    let mut state = finished_state(target.as_mut(), name).await?;
    state.reopen(because);
    let entry = state.store()?;
    let gate = Gate::new(job, None);
    let mut session = Session::new(job, target, lease.clone(), name, state.runs, false, gate);
    Ok(session.put(&[entry]).await?)
}

async fn finished_state(target: &mut dyn MoveTarget, name: &str) -> Result<MoveState, TargetError> {
    let stored = target.stored(name, AREA, 0, 1).await?;
    let state = MoveState::read(stored.first().ok_or_else(|| never_ran(name))?)?;
    if state.finished {
        return Ok(state);
    }
    let message = format!("the move {name} is not finished: it may run");
    Err(TargetError::new(ErrorKind::Refused, message))
}

/// The lease of a move, held for something short of a run.
pub(super) struct Held {
    pub(super) lease: Lease,
    ledger: Box<dyn Target>,
    heartbeat: Heartbeat,
}

/// Takes it.
pub(super) async fn lease_of(job: &Job, name: &str) -> Result<Held, EngineError> {
    let mut ledger = job.connect(Purpose::Run).await?;
    let resource = Resource::Move(name.to_owned());
    let lease = acquire(job, ledger.as_mut(), &resource, job.limits.lease_wait).await?;
    let heartbeat = Heartbeat::start(job);
    heartbeat.add(&lease);
    Ok(Held { lease, ledger, heartbeat })
}

impl Held {
    /// Extends it no more.
    pub(super) fn let_expire(&self) {
        self.heartbeat.remove(&self.lease.resource);
    }

    /// Gives it back.
    pub(super) async fn release(mut self) {
        self.heartbeat.remove(&self.lease.resource);
        release(self.ledger.as_mut(), &self.lease).await;
    }
}

pub(super) fn no_lease(job: &Job, name: &str) -> Lease {
    Lease {
        resource: Resource::Move(name.to_owned()),
        owner: job.owner.clone(),
        token: 0,
        commits: 0,
        seg: 0,
        beside: Vec::new(),
    }
}

pub(super) async fn state(
    move_job: &MoveJob,
    target: &mut dyn MoveTarget,
) -> Result<(MoveState, [u8; 32]), EngineError> {
    let given = move_job.secret.as_ref();
    let stored = target.stored(&move_job.mapping.name, AREA, 0, 1).await?;
    let (mut state, secret) = match stored.first() {
        Some(stored) => {
            let state = MoveState::read(stored)?;
            let secret = state.secret(given)?;
            (state, secret)
        }
        None => MoveState::first(&move_job.mapping, given),
    };
    if state.finished {
        let name = &move_job.mapping.name;
        return Err(TargetError::new(ErrorKind::Refused, format!("the move {name} is finished"))
            .help(format!("to run it once more: dunlin move reopen {name} --because \"…\""))
            .into());
    }
    state.fix(&move_job.mapping)?;
    Ok((state, secret))
}

/// Milliseconds since then.
pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applications run what they embed as tasks of their own.
    #[test]
    fn a_run_may_be_a_task() {
        fn is_task<T: Send>(_: T) {}
        let _ = |job: &MoveJob| {
            is_task(run(job));
            is_task(super::super::compare(job, 1, false));
        };
    }
}
