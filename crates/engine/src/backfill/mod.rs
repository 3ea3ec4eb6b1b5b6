//! Backfills: data migrations that run chunk by chunk while the application runs.
//!
//! Under the lease on `data/V`: look at the table, plan, wait for what was under way, cut the keys
//! into segments, walk them with one or more lanes, prove, record. A run that comes later, after a
//! death or not, finds the segments in the ledger and goes on there; it does nothing else.
//!
//! Invariants: a chunk's effect and its checkpoint are one transaction; keys are compared by the
//! server alone; every wait has a limit and a reason that is told. What is left out: SQL.

mod barrier;
mod board;
mod control;
mod crew;
mod doer;
mod found;
mod lane;
mod marks;
mod operator;
mod others;
mod pace;
mod prepare;
mod program;
mod progress;
mod pulse;
mod rows;
mod shared;
mod sizer;
mod undo;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dunlin_model::{
    BackfillRecord, BackfillState, Body, Bound, Capabilities, Checksums, EntryState, EntryWrite,
    Lease, LedgerEvent, ONE_AFTER_THE_OTHER, Phase, PlannedStep, Resource, Segment, Wish,
};
use tokio::sync::mpsc;

use self::barrier::wait_behind;
use self::board::Board;
pub use self::control::{
    Preview, Released, discard, intend, preview, quarantined, release, rows_done, standing,
};
use self::crew::{Crew, WalkEnd};
use self::found::Found;
use self::lane::ChunkFailure;
pub(crate) use self::pace::Pace;
use self::prepare::{Prepared, prepare, segments};
pub(crate) use self::progress::Progress;
use self::shared::{Shared, Sizing, Start};
use self::sizer::{Sizer, Targets};
pub(crate) use self::undo::half_undone;
pub use self::undo::{Undoing, undo};
use crate::events::{BackfillNews, Event};
use crate::job::Urgency;
use crate::proof;
use crate::report::{Cause, EngineError};
use crate::steps::{Bench, Ended, failure};
use crate::{ErrorKind, GATHERED_BYTES_MAX, Remedy, Target, TargetError, Work};

/// Rows of one chunk of row code: they are in our memory twice, as they were read and as they are to be
/// written, and more of them gain nothing.
const ROW_CODE_ROWS_MAX: u64 = 5_000;

/// Captured values that one run forgets: so many at once, so often.
const FORGET_ROWS: u64 = 5_000;
const FORGET_BATCHES: u32 = 20;

/// A walk that lasted so long had a server that worked, whatever it waited for.
const LONG_WALK: Duration = Duration::from_secs(60);

/// Runs a chunked step from wherever the ledger says that it is, to its end.
pub(crate) async fn run(
    bench: &Bench<'_>,
    target: &mut dyn Target,
    lease: &mut Lease,
    step: &PlannedStep,
    work: Work,
) -> Result<Ended, EngineError> {
    let mut course = Course { bench, target, lease, step, entry: work.entry };
    match course.run().await {
        Ok(None) => Ok(Ended::Well(vec![course.rows().await])),
        Ok(Some(ended)) => Ok(ended),
        Err(Halt::Engine(error)) => Err(error),
        Err(Halt::Cause(cause)) => Ok(course.end_badly(*cause).await),
    }
}

/// Why a course stops short.
pub(crate) enum Halt {
    /// The run must look at the ledger again, or end.
    Engine(EngineError),
    /// The migration fails with this.
    Cause(Box<Cause>),
}

impl From<TargetError> for Halt {
    /// An error outside chunks: of the connection, or of what was asked.
    fn from(error: TargetError) -> Self {
        match error.kind.remedy() {
            Remedy::Reconnect | Remedy::ReportBug => Self::Engine(error.into()),
            _ => Self::Cause(Box::new(Cause::Target(error))),
        }
    }
}

impl From<Cause> for Halt {
    fn from(cause: Cause) -> Self {
        Self::Cause(Box::new(cause))
    }
}

/// One backfill under its lease.
struct Course<'a> {
    bench: &'a Bench<'a>,
    target: &'a mut dyn Target,
    lease: &'a mut Lease,
    step: &'a PlannedStep,
    /// The migration's row once it is done.
    entry: EntryWrite,
}

impl<'a> Course<'a> {
    /// `None`: done and recorded.
    async fn run(&mut self) -> Result<Option<Ended>, Halt> {
        let job = self.bench.job;
        if self.bench.ledger.format < dunlin_model::FORMAT {
            self.target.create_ledger(&self.bench.ledger.id).await?;
        }
        self.forget_captured().await;
        let recorded = self.recorded();
        let Some(mut prepared) =
            prepare(job, self.target, self.lease, self.step, &self.entry, recorded).await?
        else {
            // What is to be true already is.
            self.tell(BackfillNews::HeldBefore);
            self.target.record(self.lease, std::slice::from_ref(&self.entry)).await?;
            // Rows of earlier passes are not this one's.
            return Ok(Some(Ended::Well(Vec::new())));
        };
        loop {
            let rows_done = rows_done(&prepared.record, &prepared.segments);
            self.tell(BackfillNews::Began {
                work: &prepared.work,
                record: &prepared.record,
                rows_done,
            });
            match self.walk(&mut prepared).await? {
                WalkEnd::Done => {}
                WalkEnd::Shape => {
                    prepared = self.reshape(prepared).await?;
                    continue;
                }
                WalkEnd::Interrupted => {
                    self.stop(&mut prepared, BackfillState::Stopped, None).await?;
                    let failed = failure(self.step, None, Cause::Interrupted, 0);
                    return Ok(Some(Ended::Badly(Box::new(failed))));
                }
                WalkEnd::Aborted => {
                    let failed = failure(self.step, None, Cause::Interrupted, 0);
                    return Ok(Some(Ended::Aborted(Box::new(failed))));
                }
                WalkEnd::Cancelled => {
                    let cause = Cause::Cancelled { by: prepared.record.intent.by.clone() };
                    self.stop(&mut prepared, BackfillState::Cancelled, Some(&cause)).await?;
                    return Err(cause.into());
                }
                WalkEnd::Failed(failed) => {
                    return Err(self.failed(&mut prepared, *failed).await?.into());
                }
            }
            if self.finish(&mut prepared).await? {
                return Ok(None);
            }
        }
    }

    /// The text that the ledger has of the migration.
    fn recorded(&self) -> Option<&'a Checksums> {
        self.bench.ledger.entries.get(&self.step.migration.id)?.checksums.as_ref()
    }

    /// Forgets old values of any backfill whose time is over: some at each run, so that no run is
    /// held up by them. What fails is left for the next.
    async fn forget_captured(&mut self) {
        for _ in 0..FORGET_BATCHES {
            match self.target.forget_captured(FORGET_ROWS).await {
                Ok(count) if count == FORGET_ROWS => {}
                _ => return,
            }
        }
    }

    fn tell(&self, news: BackfillNews<'_>) {
        let id = self.step.migration.id;
        self.bench.job.observer.event(Event::Backfill { id, news });
    }

    /// Walks what is left of the segments.
    async fn walk(&mut self, prepared: &mut Prepared) -> Result<WalkEnd, Halt> {
        let job = self.bench.job;
        let chunking = prepared.chunking.clone();
        let capabilities = Capabilities::of(job.connector.dialect());
        let one_connection = capabilities.one_writer;
        let usual = job.limits.chunk_time_on(job.connector.dialect());
        let is_rows = matches!(self.step.migration.body, Body::Rows(_));
        // The program has the next chunk's rows while one is written: memory is for both.
        let share = if is_rows { 2 } else { 1 };
        let bytes =
            (chunking.bytes).unwrap_or(job.limits.chunk_bytes_on(job.connector.dialect()) / share);
        let targets = Targets {
            time: chunking.time.unwrap_or(usual),
            bytes: if is_rows { bytes.min(GATHERED_BYTES_MAX as u64) } else { bytes },
            rows_max: chunking.rows.or(is_rows.then_some(ROW_CODE_ROWS_MAX)),
        };
        let mut pace = Pace::new(job.limits.mind_health, chunking.rate);
        if one_connection || chunking.time.is_some() {
            // Readings of who waits don't lead it there, or a person said how long.
            pace.take_full_time();
        }
        let sizing = Sizing {
            sizer: Sizer::new(targets, prepared.row_bytes),
            pace,
            progress: Progress::default(),
        };
        // How many rows may be set aside does not depend on how they are found.
        let row_count_estimate = prepared.record.row_count_estimate;
        let (found, spare) = self.search(prepared, &sizing.pace).await?;
        let found_rows = found
            .as_ref()
            .map(|found| rows_of(&prepared.segments) + found.values().map(Found::len).sum::<u64>());
        let (news, heard) = mpsc::unbounded_channel();
        let start = Start {
            job: job.clone(),
            work: prepared.work.clone(),
            lease: self.lease.clone(),
            board: Board::new(&prepared.segments, found.unwrap_or_default()),
            on_error: chunking.on_error,
            quarantined: prepared.record.quarantined,
            sizing,
            intent: prepared.record.intent.clone(),
            one_connection,
            row_count_estimate,
        };
        let shared = Arc::new(Shared::new(start, news));
        let code = match &self.step.migration.body {
            Body::Rows(code) => Some((code.clone(), self.bench.variables(self.step, self.lease))),
            Body::Sql(_) | Body::Program(_) => None,
        };
        let workers = job.limits.workers_for(&chunking);
        if prepared.work.in_order && workers > 1 {
            self.tell(BackfillNews::Advice { text: ONE_AFTER_THE_OTHER });
        }
        let mut crew = Crew {
            shared: Arc::clone(&shared),
            target: &mut *self.target,
            record: prepared.record.clone(),
            workers,
            rate: chunking.rate,
            code,
            spare,
            found: found_rows,
        };
        let began = Instant::now();
        let walked = crew.walk(heard).await;
        // The board's copy is right unless something broke, and then the ledger is read.
        let segments = shared.board.segments();
        let held = shared.intent().wish == Wish::Pause || shared.must_hold();
        if held || segments != prepared.segments || began.elapsed() > LONG_WALK {
            self.bench.progressed.store(true, Ordering::Relaxed);
        }
        prepared.segments = segments;
        let (end, record) = walked?;
        prepared.record = record;
        Ok(end)
    }

    /// Looks for the rows beforehand, where they are few, and says so; and the connection that found
    /// them.
    async fn search(
        &self,
        prepared: &mut Prepared,
        pace: &Pace,
    ) -> Result<(Option<BTreeMap<i64, Found>>, Option<Box<dyn Target>>), Halt> {
        let Some((found, target)) = found::search(self.bench.job, prepared, pace).await? else {
            return Ok((None, None));
        };
        let count = found.values().map(Found::len).sum();
        self.tell(BackfillNews::Found { count });
        if prepared.segments.iter().all(|one| one.is_done() || one.hi != Bound::Nulls) {
            prepared.record.row_count_estimate = Some(rows_of(&prepared.segments) + count);
        }
        Ok((Some(found), Some(target)))
    }

    /// After the last chunk. `true`: done and recorded; `false`: the table is walked again.
    async fn finish(&mut self, prepared: &mut Prepared) -> Result<bool, Halt> {
        crate::failpoint("backfill.walked");
        let of = Resource::Data(self.step.migration.id.version);
        let known = self.target.backfills(Some(&of)).await?;
        let quarantined = known.first().map_or(0, |(record, _)| record.quarantined);
        if quarantined > 0 {
            let cause = Cause::RowsRemain { count: quarantined };
            let state = BackfillState::Quarantined;
            self.stop(prepared, state, Some(&cause)).await?;
            return Err(cause.into());
        }
        if let Some(query) = &self.step.migration.directives().done_when {
            if let Some(barrier) = self.target.barrier().await? {
                wait_behind(self.bench.job, self.target, self.step, &barrier).await?;
            }
            let directives = self.step.migration.directives();
            let held = self.target.holds(query).await;
            if !held.map_err(|error| proof::of_proof(directives, error))? {
                return self.not_proved(prepared).await;
            }
        }
        prepared.record.state = BackfillState::Done;
        prepared.record.reason = None;
        prepared.record.workers = 0;
        prepared.record.seconds_left = (0, 0);
        self.target
            .write_backfill(self.lease, &prepared.record, None, None, Some(&self.entry))
            .await?;
        crate::failpoint("backfill.done");
        Ok(true)
    }

    async fn not_proved(&mut self, prepared: &mut Prepared) -> Result<bool, Halt> {
        let most = prepared.chunking.rounds;
        if prepared.record.round >= most {
            let cause = Cause::NotProved { rounds: prepared.record.round };
            self.stop(prepared, BackfillState::Failed, Some(&cause)).await?;
            return Err(cause.into());
        }
        prepared.record.round += 1;
        prepared.record.rows_before += rows_of(&prepared.segments);
        self.tell(BackfillNews::Again { round: prepared.record.round, most });
        let workers = self.bench.job.limits.workers_for(&prepared.chunking);
        let workers = prepared.work.workers(workers);
        prepared.segments = segments(self.target, &prepared.work, workers).await?;
        let (record, cut) = (&prepared.record, &prepared.segments);
        self.target.write_backfill(self.lease, record, Some(cut), None, None).await?;
        Ok(false)
    }

    /// The table changed its shape: the same walk goes on if it still can.
    async fn reshape(&mut self, prepared: Prepared) -> Result<Prepared, Halt> {
        let recorded = self.recorded();
        let job = self.bench.job;
        let again = prepare(job, self.target, self.lease, self.step, &self.entry, recorded).await?;
        let again = again.unwrap_or_else(|| prepared.clone());
        if again.work.shape == prepared.work.shape && again.segments == prepared.segments {
            // Whoever says so twice of one shape would say so for ever.
            return Err(TargetError::new(
                ErrorKind::Conflict,
                "the table's shape is said to have changed, and reads as before",
            )
            .help("run it again once nobody alters the table")
            .into());
        }
        self.tell(BackfillNews::Reshaped);
        Ok(again)
    }

    /// Leaves an orderly place to go on from.
    async fn stop(
        &mut self,
        prepared: &mut Prepared,
        state: BackfillState,
        cause: Option<&Cause>,
    ) -> Result<(), Halt> {
        prepared.record.state = state;
        prepared.record.reason = cause.map(ToString::to_string);
        prepared.record.workers = 0;
        prepared.record.rows_per_second = 0;
        prepared.record.seconds_left = (0, 0);
        let entry = cause.map(|cause| EntryWrite {
            state: EntryState::Failed,
            event: LedgerEvent::Fail,
            error: Some(cause.to_string()),
            ..self.entry.clone()
        });
        self.target
            .write_backfill(self.lease, &prepared.record, None, None, entry.as_ref())
            .await?;
        Ok(())
    }

    async fn failed(
        &mut self,
        prepared: &mut Prepared,
        failed: ChunkFailure,
    ) -> Result<Cause, Halt> {
        let interrupted = self.bench.job.interrupt.urgency() >= Urgency::Finish
            && failed.error.kind.remedy() == Remedy::RetryTransaction;
        if interrupted {
            self.stop(prepared, BackfillState::Stopped, None).await?;
            return Ok(Cause::Interrupted);
        }
        let cause = Cause::Chunk { error: failed.error, key: failed.key };
        self.stop(prepared, BackfillState::Failed, Some(&cause)).await?;
        Ok(cause)
    }

    /// Rows that were written in all, for the report.
    async fn rows(&mut self) -> Option<u64> {
        let of = Resource::Data(self.step.migration.id.version);
        match self.target.backfills(Some(&of)).await {
            Ok(known) => {
                Some(known.first().map_or(0, |(record, segments)| rows_done(record, segments)))
            }
            // Only for people: the migration is recorded.
            Err(_) => None,
        }
    }

    /// A failed migration, noted in the ledger unless it is there already.
    async fn end_badly(&mut self, cause: Cause) -> Ended {
        let begun = self.leave_record(&cause).await;
        let cause = match cause {
            // What its chunks have done is kept, whatever stands in the way of the next.
            Cause::Target(error) if begun => Cause::Chunk { error, key: None },
            other => other,
        };
        let noted = !begun && !matches!(cause, Cause::Target(_));
        if !noted {
            self.bench.note_failure(self.target, self.lease, self.step, &cause, None).await;
        }
        let index = match &cause {
            Cause::Chunk { error, .. } | Cause::Target(error) => error.statement,
            _ => None,
        };
        Ended::Badly(Box::new(failure(self.step, index, cause, 0)))
    }

    /// Writes why this pass does not go on, where it has begun and its end is not recorded: what
    /// it finds before it walks, or between two walks. Says whether it wrote. Best effort, as is
    /// noting the failure.
    async fn leave_record(&mut self, cause: &Cause) -> bool {
        let (state, reason) = match cause {
            Cause::Target(_) | Cause::Refused { .. } => {
                (BackfillState::Failed, Some(cause.to_string()))
            }
            Cause::Interrupted => (BackfillState::Stopped, None),
            _ => return false,
        };
        let of = Resource::Data(self.step.migration.id.version);
        let known =
            self.target.backfills(Some(&of)).await.ok().and_then(|all| all.into_iter().next());
        let Some((mut record, _)) = known else { return false };
        let goes_on = match record.state {
            BackfillState::Running | BackfillState::Paused => true,
            BackfillState::Stopped | BackfillState::Failed => state == BackfillState::Failed,
            _ => false,
        };
        if record.pass != self.step.pass || record.phase != Phase::Forward || !goes_on {
            return false;
        }
        record.state = state;
        record.reason = reason;
        record.workers = 0;
        record.rows_per_second = 0;
        record.seconds_left = (0, 0);
        let written = self.target.write_backfill(self.lease, &record, None, None, None).await;
        written.is_ok()
    }
}

/// A record for a pass that begins.
pub(crate) fn new_record(
    step: &PlannedStep,
    work: &dunlin_model::Backfill,
    estimate: Option<u64>,
) -> BackfillRecord {
    BackfillRecord {
        id: step.migration.id,
        pass: step.pass,
        phase: Phase::Forward,
        round: 1,
        table: work.table.clone(),
        key: work.key.clone(),
        shape: work.shape.clone(),
        state: BackfillState::Running,
        reason: None,
        row_count_estimate: estimate,
        rows_before: 0,
        workers: 0,
        chunk_rows: 0,
        chunk_ms: 0,
        rows_per_second: 0,
        seconds_left: (0, 0),
        intent: dunlin_model::Intent::default(),
        quarantined: 0,
        started_at: None,
        updated_at: None,
    }
}

/// Rows that a backfill's segments have done.
pub(crate) fn rows_of(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.rows).sum()
}
