//! What people want of a run that is under way, and what it says of itself: in the row of the ledger
//! that backfills have, under the name of the move, so that the kill switch is one for both.

use std::time::{Duration, Instant};

use dunlin_model::{
    BackfillRecord, BackfillState, FORMAT, Intent, IntentChange, Lease, LeaseHolder, MigrationId,
    Phase, Resource, Version,
};
use tokio::task::JoinHandle;

use super::gate::Gate;
use super::run::MoveJob;
use crate::job::Job;
use crate::report::{Cause, EngineError};
use crate::{Purpose, ReadRequest, Remedy, Target, TargetError};

/// How often it is heard what people want.
const HEAR_EVERY: Duration = Duration::from_millis(500);

/// How often it is told how far the run is.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// Listens beside a run, on a connection of its own that is opened only once a run takes longer
/// than a moment. Dropped, it stops.
pub(super) struct Control {
    task: JoinHandle<()>,
    record: BackfillRecord,
}

impl Control {
    /// Notes in the ledger that the run begins, and listens from now on.
    pub(super) async fn begin(
        move_job: &MoveJob,
        run: u32,
        ledger: &mut dyn Target,
        lease: &mut Lease,
        gate: &Gate,
    ) -> Result<Self, EngineError> {
        bring_up(ledger).await?;
        let found = ledger.backfills(Some(&lease.resource)).await?;
        if let Some((known, _)) = found.first() {
            gate.hear(known.intent.clone());
            if let Some(cause) = gate.told() {
                return Err(told_to_stop(cause, &move_job.mapping.name));
            }
        }
        let record = new_record(move_job, run);
        ledger.write_backfill(lease, &record, None, None, None).await?;
        let task =
            tokio::spawn(listen(move_job.job.clone(), lease.clone(), record.clone(), gate.clone()));
        Ok(Self { task, record })
    }

    /// Notes how the run ended. What it says is for people: that it can't be said is no failure.
    pub(super) async fn end(
        self,
        ledger: &mut dyn Target,
        lease: &Lease,
        gate: &Gate,
        state: BackfillState,
        reason: Option<String>,
    ) {
        self.task.abort();
        let mut record = told(&self.record, gate);
        record.state = state;
        record.reason = reason;
        record.workers = 0;
        record.seconds_left = (0, 0);
        let _ = ledger.report_backfill(lease, &record).await;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A ledger of an older format lacks the table.
async fn bring_up(ledger: &mut dyn Target) -> Result<(), TargetError> {
    let read = ledger.read(&ReadRequest { ledger: true, foreign: None }).await?;
    if read.ledger.format < FORMAT {
        ledger.create_ledger(&read.ledger.id).await?;
    }
    Ok(())
}

fn new_record(move_job: &MoveJob, run: u32) -> BackfillRecord {
    let mapping = &move_job.mapping;
    BackfillRecord {
        id: MigrationId::data(Version::ZERO),
        pass: run,
        phase: Phase::Forward,
        round: 1,
        table: format!("{} -> {}", mapping.source.value, mapping.target.value),
        key: Vec::new(),
        shape: String::new(),
        state: BackfillState::Running,
        reason: None,
        row_count_estimate: None,
        rows_before: 0,
        workers: move_job.workers,
        chunk_rows: 0,
        chunk_ms: 0,
        rows_per_second: 0,
        seconds_left: (0, 0),
        intent: Intent::default(),
        quarantined: 0,
        started_at: None,
        updated_at: None,
    }
}

/// The record, with what the run says of itself by now.
fn told(record: &BackfillRecord, gate: &Gate) -> BackfillRecord {
    let facts = gate.facts();
    let (state, reason) = match gate.told() {
        Some(cause) if facts.is_held => (BackfillState::Paused, cause.to_string()),
        _ => (BackfillState::Running, facts.doing),
    };
    BackfillRecord {
        state,
        reason: Some(reason).filter(|reason| !reason.is_empty()),
        workers: gate.workers(record.workers),
        rows_before: facts.rows,
        row_count_estimate: facts.estimate,
        rows_per_second: facts.rate,
        seconds_left: facts.left,
        ..record.clone()
    }
}

async fn listen(job: Job, lease: Lease, record: BackfillRecord, gate: Gate) {
    let mut target: Option<Box<dyn Target>> = None;
    let mut reported = Instant::now();
    loop {
        tokio::time::sleep(HEAR_EVERY).await;
        // What fails is tried again at the next turn; that a run can't be heard of does not stop it.
        let connection = match &mut target {
            Some(connection) => connection,
            None => match job.connector.connect(Purpose::Lane).await {
                Ok(connection) => target.insert(connection),
                Err(_) => continue,
            },
        };
        let heard = if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            connection.report_backfill(&lease, &told(&record, &gate)).await.map(Some)
        } else {
            let found = connection.backfills(Some(&lease.resource)).await;
            found.map(|found| found.into_iter().next().map(|(record, _)| record.intent))
        };
        match heard {
            Ok(Some(intent)) => gate.hear(intent),
            Ok(None) => {}
            Err(error) if error.kind.remedy() == Remedy::Reconnect => target = None,
            Err(_) => {}
        }
    }
}

/// What the ledger says of a move's latest run.
#[derive(Debug, Clone, PartialEq)]
pub struct UnderWay {
    /// What its runner last said, and what people want of it. Its rows, rate and time left are of
    /// what it read in the phase that its reason names.
    pub record: BackfillRecord,
    /// Who holds its lease, if somebody does.
    pub holder: Option<LeaseHolder>,
}

/// What the ledger says of a move's latest run; `None`: nothing. Looks only.
///
/// # Errors
/// The database's.
pub async fn under_way(job: &Job, name: &str) -> Result<Option<UnderWay>, EngineError> {
    let mut target = job.connect(Purpose::Look).await?;
    if !target.probe(&[]).await?.ledger {
        return Ok(None);
    }
    let resource = Resource::Move(name.to_owned());
    let found = target.backfills(Some(&resource)).await?;
    let Some((record, _)) = found.into_iter().next() else { return Ok(None) };
    let read = target.read(&ReadRequest { ledger: true, foreign: None }).await?;
    let resource = resource.to_string();
    let held = |holder: &LeaseHolder| {
        holder.resource == resource
            && holder.remaining_ms > 0
            && !crate::owner::is_known_dead(&holder.owner)
    };
    Ok(Some(UnderWay { record, holder: read.ledger.leases.into_iter().find(held) }))
}

/// Writes what a person wants of a move. `false`: it has never run here.
///
/// # Errors
/// The database's.
pub async fn intend(job: &Job, name: &str, change: &IntentChange) -> Result<bool, EngineError> {
    let mut target = job.connect(Purpose::Lane).await?;
    Ok(target.wish(&Resource::Move(name.to_owned()), change).await?)
}

/// The end of a run that a person wanted to hold or to stop.
pub(super) fn told_to_stop(cause: Cause, name: &str) -> EngineError {
    let help = format!("`dunlin move resume {name}` lets it run again; what is written stays");
    EngineError::Told { cause, help }
}

/// How a run ended, for the ledger.
pub(super) fn ending(
    done: &Result<super::report::MoveReport, EngineError>,
) -> (BackfillState, Option<String>) {
    match done {
        Ok(report) if report.problems.is_empty() => (BackfillState::Done, None),
        Ok(report) => (BackfillState::Quarantined, report.problems.first().cloned()),
        Err(EngineError::Told { cause: cause @ Cause::Cancelled { .. }, .. }) => {
            (BackfillState::Cancelled, Some(cause.to_string()))
        }
        Err(EngineError::Interrupted) => {
            (BackfillState::Stopped, Some("stopped by a person".to_owned()))
        }
        Err(error @ EngineError::Told { .. }) => (BackfillState::Stopped, Some(error.to_string())),
        Err(error) => (BackfillState::Failed, Some(error.to_string())),
    }
}
