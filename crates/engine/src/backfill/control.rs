//! What people ask of a backfill from outside: where it stands, to hold, to show its plan, to deal
//! with rows in quarantine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dunlin_model::{
    Access, Backfill, BackfillRecord, Body, Chunking, Intent, IntentChange, Key, KeyRange, Lease,
    MigrationId, Mode, Phase, PlannedStep, Resource, Segment, Table, Version,
};
use tokio::sync::mpsc;

use super::board::Board;
use super::doer::Doer;
use super::pace::Pace;
use super::prepare::{check_numbers, explain, planned};
use super::progress::Progress;
use super::rows::Rows;
use super::shared::{Shared, Sizing, Start};
use super::sizer::{Sizer, Targets};
use super::{Halt, rows_of};
use crate::job::{Job, Urgency};
use crate::leases::{Heartbeat, acquire};
use crate::proof;
use crate::report::{Cause, EngineError};
use crate::standing;
use crate::steps::Bench;
use crate::{
    Checkpoint, Chunk, Deed, ErrorKind, Purpose, Quarantined, Rehearsal, Remedy, Target,
    TargetError,
};

/// How long a person at the terminal waits for a lease before being told who has it.
const LEASE_WAIT: Duration = Duration::from_secs(10);

/// Where the backfills of a database stand. Looks only; a database that is not there has none.
///
/// # Errors
/// The database.
pub async fn standing(
    job: &Job,
    of: Option<Version>,
) -> Result<Vec<(BackfillRecord, Vec<Segment>)>, EngineError> {
    let mut target = match job.connector.connect(Purpose::Look).await {
        Ok(target) => target,
        Err(error) if error.kind == ErrorKind::NoSuchDatabase => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let of = of.map(Resource::Data);
    Ok(target.backfills(of.as_ref()).await?)
}

/// Writes what a person wants of a backfill. `false`: the ledger has no such backfill.
///
/// # Errors
/// The database.
pub async fn intend(
    job: &Job,
    version: Version,
    change: &IntentChange,
) -> Result<bool, EngineError> {
    let mut target = job.connector.connect(Purpose::Lane).await?;
    Ok(target.wish(&Resource::Data(version), change).await?)
}

/// What a backfill would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The table.
    pub table: Table,
    /// What every chunk does.
    pub work: Backfill,
    /// What its header says.
    pub chunking: Chunking,
    /// How the server would reach rows.
    pub access: Vec<Access>,
    /// About how many rows it would walk over, or those that matter where `chunk-where` says which.
    pub row_count_estimate: Option<u64>,
    /// What `done-when` says now; `None`: there is none.
    pub holds: Option<bool>,
    /// Chunks that were tried and rolled back, with the rows that they covered.
    pub tried: Vec<(u64, Result<Rehearsal, TargetError>)>,
}

/// Plans a backfill and changes nothing; with `sample`, runs so many chunks in transactions that are
/// rolled back (triggers fire, and what they do outside the database stays done).
///
/// # Errors
/// The migration is not chunked, or can't be planned; the database.
pub async fn preview(job: &Job, version: Version, sample: u32) -> Result<Preview, EngineError> {
    let id = MigrationId::data(version);
    let step = step_of(job, id, 1)?;
    let purpose = if sample > 0 { Purpose::Lane } else { Purpose::Look };
    let mut target = job.connector.connect(purpose).await?;
    let target = target.as_mut();
    let (table, work, chunking) = planned(job, target, &step.migration, 1).await.map_err(told)?;
    let access =
        explain(target, &work).await.map_err(|error| proof::of_file(&step.migration, error))?;
    let extent = target.extent(&work).await?;
    let row_count_estimate = match &extent.hi {
        Some(hi) => target
            .estimate(&work, &dunlin_model::Bound::Start, hi)
            .await
            .map_err(|error| proof::of_filter(&chunking, error))?,
        None => Some(0),
    };
    let directives = step.migration.directives();
    let holds = match &directives.done_when {
        Some(query) => {
            let asked = target.holds(query).await;
            Some(asked.map_err(|error| proof::of_proof(directives, error))?)
        }
        None => None,
    };
    let mut tried = Vec::new();
    if let (Some(hi), Body::Sql(_)) = (&extent.hi, &step.migration.body) {
        let mut after = dunlin_model::Bound::Start;
        let rows_max = chunking.rows.unwrap_or(200_000).min(200_000);
        let mut rows = rows_max.min(1_000);
        let time = chunking.time;
        let time = time.unwrap_or_else(|| job.limits.chunk_time_on(job.connector.dialect()));
        for _ in 0..sample {
            let marks = target.walk(&work, &after, hi, rows, 1).await?;
            let Some(mark) = marks.into_iter().next().filter(|mark| mark.rows > 0) else { break };
            let range = KeyRange::Between { after, upto: mark.key.clone() };
            let outcome = target.rehearse_chunk(&work, &range).await;
            let took = outcome.as_ref().map_or(Duration::ZERO, |one| one.took);
            let failed = outcome.is_err();
            tried.push((mark.rows, outcome));
            after = dunlin_model::Bound::Key(mark.key);
            if failed {
                break;
            }
            // Towards the size that chunks would have.
            let share = time.as_secs_f64() / took.as_secs_f64().max(0.001);
            rows = ((rows as f64 * share.clamp(0.1, 10.0)) as u64).clamp(1, rows_max);
        }
    }
    Ok(Preview { table, work, chunking, access, row_count_estimate, holds, tried })
}

/// A migration of the folder as a step, for planning it outside a run.
pub(super) fn step_of(job: &Job, id: MigrationId, pass: u32) -> Result<PlannedStep, EngineError> {
    job.folder.ready()?;
    let refused = |message: String, help: &str| {
        EngineError::Target(TargetError::new(ErrorKind::Refused, message).help(help))
    };
    let Some(file) = job.folder.files.get(&id) else {
        return Err(refused(
            format!("there is no data migration {}", id.version),
            "dunlin data status lists those that there are",
        ));
    };
    let migration = file.parse(job.connector.dialect()).map_err(EngineError::Refused)?;
    if migration.chunking().is_none() {
        return Err(refused(
            format!("{id} does not run in chunks"),
            "write `-- dunlin: chunk-by TABLE` in its header, and `:chunk` in its statements",
        ));
    }
    let action = dunlin_model::Action::Up;
    Ok(PlannedStep { action, migration, mode: Mode::Chunked, pass, resume_at: 0 })
}

pub(super) fn told(halt: Halt) -> EngineError {
    match halt {
        Halt::Engine(error) => error,
        Halt::Cause(cause) => match *cause {
            Cause::Refused { diagnostics } => EngineError::Refused(diagnostics),
            Cause::Target(error) | Cause::Chunk { error, .. } => error.into(),
            other => TargetError::new(ErrorKind::Refused, other.to_string()).into(),
        },
    }
}

/// Rows in quarantine, oldest first. Looks only.
///
/// # Errors
/// The database.
pub async fn quarantined(
    job: &Job,
    version: Version,
    count_max: u64,
) -> Result<Vec<Quarantined>, EngineError> {
    let mut target = job.connector.connect(Purpose::Look).await?;
    Ok(target.quarantine(&Resource::Data(version), count_max).await?)
}

/// One backfill held under its lease, for work outside a run.
pub(super) struct Held {
    pub(super) target: Box<dyn Target>,
    pub(super) lease: Lease,
    pub(super) record: BackfillRecord,
    _heartbeat: Heartbeat,
}

impl Held {
    pub(super) async fn take(job: &Job, version: Version) -> Result<Self, EngineError> {
        let mut target = job.connector.connect(Purpose::Run).await?;
        let resource = Resource::Data(version);
        let known = target.backfills(Some(&resource)).await?;
        if known.is_empty() {
            return Err(nothing_known(version));
        }
        let wait = job.limits.lease_wait.min(LEASE_WAIT);
        let lease = acquire(job, target.as_mut(), &resource, wait).await?;
        let heartbeat = Heartbeat::start(job);
        heartbeat.add(&lease);
        // Read again: somebody else may have been at work until now.
        let known = target.backfills(Some(&resource)).await?;
        let Some((record, _)) = known.into_iter().next() else {
            return Err(nothing_known(version));
        };
        Ok(Self { target, lease, record, _heartbeat: heartbeat })
    }

    pub(super) async fn release<T>(
        mut self,
        outcome: Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        // Where the connection is in doubt, so is what it did: expiry covers that.
        let is_in_doubt = matches!(
            &outcome, Err(EngineError::Target(error)) if error.kind.remedy() == Remedy::Reconnect
        );
        if !is_in_doubt {
            // Expiry covers a release that fails.
            let _ = self.target.release(&self.lease).await;
        }
        outcome
    }
}

fn nothing_known(version: Version) -> EngineError {
    TargetError::new(ErrorKind::Refused, format!("data {version} has never run in chunks here"))
        .help(format!("dunlin data run {version} runs it"))
        .into()
}

/// What releasing rows from quarantine came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Released {
    /// Rows that went through.
    pub done: u64,
    /// Rows that failed again and stay, with why.
    pub failed: Vec<(Key, TargetError)>,
    /// Rows that are left in quarantine.
    pub left: u64,
}

/// Tries rows of the quarantine again, all or one.
///
/// # Errors
/// The database, the lease; a row that fails again is in the answer.
pub async fn release(
    job: &Job,
    version: Version,
    key: Option<&Key>,
) -> Result<Released, EngineError> {
    let mut held = Held::take(job, version).await?;
    let outcome = release_rows(job, &mut held, version, key).await;
    held.release(outcome).await
}

async fn release_rows(
    job: &Job,
    held: &mut Held,
    version: Version,
    key: Option<&Key>,
) -> Result<Released, EngineError> {
    let id = MigrationId::data(version);
    let step = step_of(job, id, held.record.pass)?;
    let (table, work, chunking) =
        planned(job, held.target.as_mut(), &step.migration, held.record.pass)
            .await
            .map_err(told)?;
    check_numbers(&held.record, &work, &table)?;
    let of = Resource::Data(version);
    let all = held.target.quarantine(&of, u64::MAX).await?;
    let chosen: Vec<Key> = match key {
        Some(key) if all.iter().any(|row| row.key == *key) => vec![key.clone()],
        Some(_) => {
            return Err(TargetError::new(ErrorKind::Refused, "no such row is in quarantine")
                .help(format!("dunlin data quarantine list {version} shows them"))
                .into());
        }
        None => all.into_iter().map(|row| row.key).collect(),
    };
    let standing = standing::read(job, held.target.as_mut()).await?;
    let bench = Bench::new(job, &standing.ledger, "");
    let mut doer = match &step.migration.body {
        Body::Rows(code) => {
            let variables = bench.variables(&step, &held.lease);
            Doer::Rows(Box::new(Rows::new(code.clone(), variables)))
        }
        Body::Sql(_) | Body::Program(_) => Doer::Statements,
    };
    let shared = alone(job, work, held.lease.clone(), &chunking);
    let mut released = Released::default();
    for key in chosen {
        if job.interrupt.urgency() >= Urgency::Finish {
            break;
        }
        let chunk = Chunk {
            checkpoint: Checkpoint::Released { key: key.clone() },
            range: KeyRange::Exactly(key.clone()),
            deed: Deed::Statements,
            lock_first: false,
        };
        match doer.commit(&shared, held.target.as_mut(), &chunk, None).await {
            Ok(_) => released.done += 1,
            Err(error) if error.kind.remedy() == Remedy::Reconnect => return Err(error.into()),
            Err(error) => released.failed.push((key, error)),
        }
    }
    doer.end(&shared).await;
    released.left = held.target.quarantine(&of, u64::MAX).await?.len() as u64;
    Ok(released)
}

/// What lanes share, for one who works alone.
fn alone(job: &Job, work: Backfill, lease: Lease, chunking: &Chunking) -> Arc<Shared> {
    let (news, _) = mpsc::unbounded_channel();
    let targets = Targets {
        time: job.limits.chunk_time_on(job.connector.dialect()),
        bytes: u64::MAX,
        rows_max: None,
    };
    let start = Start {
        job: job.clone(),
        work,
        lease,
        board: Board::new(&[], BTreeMap::new()),
        // A row that fails here stays where it is.
        on_error: dunlin_model::OnError::Stop,
        quarantined: 0,
        sizing: Sizing {
            sizer: Sizer::new(targets, None),
            pace: Pace::new(false, chunking.rate),
            progress: Progress::default(),
        },
        intent: Intent::default(),
        one_connection: true,
        row_count_estimate: None,
    };
    Arc::new(Shared::new(start, news))
}

/// Takes rows out of quarantine without doing anything to them, all or one; returns how many.
///
/// # Errors
/// The database, the lease.
pub async fn discard(job: &Job, version: Version, key: Option<&Key>) -> Result<u64, EngineError> {
    let mut held = Held::take(job, version).await?;
    let outcome = held.target.discard(&mut held.lease, key).await.map_err(EngineError::from);
    held.release(outcome).await
}

/// Rows done so far, walks before this one included; of an undo, those that it put back.
#[must_use]
pub fn rows_done(record: &BackfillRecord, segments: &[Segment]) -> u64 {
    match record.phase {
        Phase::Forward => record.rows_before + rows_of(segments),
        Phase::Undo => record.rows_before,
    }
}
