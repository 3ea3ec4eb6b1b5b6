//! Puts the values that a backfill captured back, chunk by chunk, and minds the server's health and
//! what people want of it meanwhile, as a walk does.

use std::time::{Duration, Instant};

use dunlin_model::{
    Backfill, BackfillRecord, BackfillState, Capabilities, EntryState, EntryWrite, FORMAT,
    KeyColumn, LedgerEvent, MigrationId, Phase, PlannedStep, Version, Wish,
};
use dunlin_project::backfill::not_restored;

use super::control::{Held, step_of, told};
use super::pace::Pace;
use super::prepare::{check_numbers, laid_out};
use super::progress::Progress;
use super::pulse::Pulse;
use crate::closing::hold_schema;
use crate::events::{BackfillNews, Event};
use crate::job::{Job, Urgency};
use crate::report::{Cause, EngineError};
use crate::{ErrorKind, ReadRequest, Remedy, TargetError, UndoSlice};

/// Rows that one transaction puts back at first, and at most.
const ROWS_FIRST: u64 = 500;
const ROWS_MAX: u64 = 20_000;

/// Rows that one transaction takes on one by one, at most.
const ROWS_SINGLY: u64 = 200;

/// Chunks are not made smaller for the sake of health or company below this: what a transaction costs
/// by itself is most of it then.
const ROWS_MIN: u64 = 100;

/// Nor are they made to take less time than this.
const TIME_MIN: Duration = Duration::from_millis(10);

/// How long it waits at most before it asks again what people want.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long it waits after a chunk that met somebody else's locks.
const CONFLICT_PAUSE: Duration = Duration::from_millis(200);

/// What an undo that is not done is called, in the ledger and to people.
const HALF_UNDONE: &str = "its undo has begun and is not done";

/// The same, where its time was over when it began. The next go knows it by that.
const HALF_UNDONE_LATE: &str = "its undo has begun and is not done; it began when some of its old \
     values may have been forgotten";

/// Why a migration that was undone is skipped; where its time was over when the undo began.
const UNDONE: &str = "its changes were undone";
const UNDONE_LATE: &str = "its changes were undone where their old values had not been forgotten";

/// Whoever forgets what is over may have looked so long before an undo that begins.
const FORGETTING_MAX: Duration = Duration::from_secs(60);

/// How far an undo came, since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Undoing {
    /// Rows that have their old values again.
    pub restored: u64,
    /// Rows that were changed or deleted since, or have something in their way, and were left as they
    /// are. Their old values are kept for as long as the file says: another undo tries again.
    pub changed_since: u64,
    /// When it began, the time for which old values are kept was over for some rows: those whose
    /// values were forgotten stay as they are.
    pub late: bool,
    /// A person stopped it; running it again goes on.
    pub interrupted: bool,
    /// They did so by `data cancel`.
    pub cancelled: bool,
}

/// Puts the values that a backfill captured back, in chunks. Rows that changed since are left as they
/// are and counted. Those that have something in their way are tried again until a whole sweep over
/// them puts none back: another row of the same undo may have to make room. In the end the migration
/// is recorded as skipped: it runs again only by `data rerun`.
///
/// # Errors
/// Nothing was captured, or all of it was forgotten; a trigger would change what goes back; the
/// database, the lease.
pub async fn undo(job: &Job, version: Version) -> Result<Undoing, EngineError> {
    let mut held = Held::take(job, version).await?;
    let outcome = undo_rows(job, &mut held, version).await;
    held.release(outcome).await
}

/// What is refused to a backfill whose undo is half-way.
pub(crate) fn half_undone(version: Version) -> TargetError {
    TargetError::new(ErrorKind::Refused, HALF_UNDONE)
        .help(format!("finish it: dunlin data undo {version}"))
}

async fn undo_rows(job: &Job, held: &mut Held, version: Version) -> Result<Undoing, EngineError> {
    let id = MigrationId::data(version);
    let step = step_of(job, id, held.record.pass)?;
    let target = held.target.as_mut();
    let ledger = target.read(&ReadRequest { ledger: true, foreign: None }).await?.ledger;
    if ledger.format < FORMAT {
        target.create_ledger(&ledger.id).await?;
    }
    let record = Some(&held.record);
    let (table, work, chunking) =
        laid_out(job, target, &step.migration, held.record.pass, record).await.map_err(told)?;
    check_key(&held.record, &work)?;
    check_numbers(&held.record, &work, &table)?;
    let Some(capture) = &work.capture else {
        return Err(TargetError::new(ErrorKind::Refused, "it kept no old values")
            .help("only a backfill with `-- dunlin: undo capture for 14 days` can be undone")
            .into());
    };
    let beside = held.target.beside(&work).await?;
    let refused = not_restored(&step.migration, &work, job.connector.dialect(), &beside);
    if !refused.is_empty() {
        return Err(EngineError::Refused(refused));
    }
    let late = is_late(held, &work, capture.keep).await?;
    let mut pace = Pace::new(job.limits.mind_health, chunking.rate);
    let one_writer = Capabilities::of(job.connector.dialect()).one_writer;
    if one_writer || chunking.time.is_some() {
        // Readings of who waits don't lead it there, or a person said how long.
        pace.take_full_time();
    }
    let usual = job.limits.chunk_time_on(job.connector.dialect());
    let mut way = WayBack {
        job,
        held,
        last_pass: work.pass,
        work,
        late,
        file_rate: chunking.rate,
        time: chunking.time.unwrap_or(usual),
        one_writer,
        pace,
        pulse: Pulse::default(),
        progress: Progress::default(),
        rows: ROWS_FIRST,
        sweep: Sweep::default(),
        left: 0,
        goes_on_at: Instant::now(),
    };
    way.begin(&step).await?;
    let end = way.go().await?;
    way.end(&step, end).await
}

/// Old values are known by their rows' keys: by another key they are those of other rows.
fn check_key(record: &BackfillRecord, work: &Backfill) -> Result<(), TargetError> {
    let names = |key: &[KeyColumn]| {
        key.iter().map(|column| column.name.clone()).collect::<Vec<_>>().join(", ")
    };
    let (then, now) = (names(&record.key), names(&work.key));
    if then == now && record.table == work.table {
        return Ok(());
    }
    Err(TargetError::new(
        ErrorKind::Refused,
        "the table that its chunks walked, or its key, is another than when it ran",
    )
    .note(format!("it ran on {}, by {then}; now it is {}, by {now}", record.table, work.table))
    .help(
        "its old values are kept until their time is over: name that key with `chunk-key`, give the \
         table its name back, or put them back by hand from the ledger's table `captured`",
    ))
}

/// Whether old values may have been forgotten before the undo began. From then on none are.
async fn is_late(held: &mut Held, work: &Backfill, keep: Duration) -> Result<bool, TargetError> {
    if held.record.is_half_undone() {
        let read = held.target.read(&ReadRequest { ledger: true, foreign: None }).await?;
        let entry = read.ledger.entries.get(&held.record.id);
        return Ok(entry.is_some_and(|entry| entry.error.as_deref() == Some(HALF_UNDONE_LATE)));
    }
    let kept = held.target.kept(work).await?;
    let late = kept.age.saturating_add(FORGETTING_MAX) >= keep;
    if late && !kept.any && held.record.phase == Phase::Forward {
        return Err(TargetError::new(ErrorKind::Refused, "its old values are forgotten")
            .help("they were kept for as long as `undo capture` in its file says"));
    }
    Ok(late)
}

/// Why an undo ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing is left to put back.
    Done,
    /// A person stopped the program.
    Interrupted,
    /// A person gave it up.
    Cancelled,
}

/// One way over what is kept, from the newest to the oldest.
#[derive(Debug, Clone, Copy, Default)]
struct Sweep {
    /// Where it is in a pass: all with higher numbers were taken on.
    below: Option<u64>,
    /// Rows that it put back.
    restored: u64,
    /// Rows that it passed over.
    passed: u64,
    /// So many rows are to be taken on one by one, since something was in the way of one of them.
    singly: u64,
    /// Rows of its first chunk, where another sweep was before it.
    began_with: Option<u64>,
}

/// One undo under its lease.
struct WayBack<'a> {
    job: &'a Job,
    held: &'a mut Held,
    /// What was done, with the pass that is being put back.
    work: Backfill,
    /// Its last pass: what older ones kept goes back behind it.
    last_pass: u32,
    /// Old values may have been forgotten before it began.
    late: bool,
    /// The rate that the file asks for.
    file_rate: Option<u64>,
    /// How long a chunk should take.
    time: Duration,
    /// Health is not read there: a reader is in the writer's way.
    one_writer: bool,
    pace: Pace,
    pulse: Pulse,
    progress: Progress,
    /// Rows of the next chunk, the rate aside.
    rows: u64,
    sweep: Sweep,
    /// Rows that were passed over, and were not put back since.
    left: u64,
    /// When the pause after the chunk before is over.
    goes_on_at: Instant,
}

impl WayBack<'_> {
    async fn begin(&mut self, step: &PlannedStep) -> Result<(), EngineError> {
        let record = &mut self.held.record;
        // One that was done begins anew, with what had something in its way then.
        if record.phase == Phase::Forward || record.state == BackfillState::Undone {
            record.phase = Phase::Undo;
            record.rows_before = 0;
        }
        record.row_count_estimate = Some(record.rows_before);
        // Figures of the walk, or of whoever was at work on the undo before.
        record.chunk_rows = 0;
        record.chunk_ms = 0;
        record.rows_per_second = 0;
        record.seconds_left = (0, 0);
        // Who gave up the migration, or an undo before, wants this one. What is held stays held.
        let wish = (record.intent.wish == Wish::Cancel).then_some(Wish::Run);
        record.intent.wish = wish.unwrap_or(record.intent.wish);
        self.refresh();
        // What requires the migration must not run over rows of which some have their old values.
        let half = if self.late { HALF_UNDONE_LATE } else { HALF_UNDONE };
        let begun = entry(step, EntryState::Failed, half);
        let held = &mut *self.held;
        let schema = hold_schema(self.job, held.target.as_mut(), step.migration.id).await?;
        held.lease.beside.extend(schema);
        let (lease, record) = (&mut held.lease, &held.record);
        let written = held.target.write_backfill(lease, record, None, wish, Some(&begun)).await;
        for schema in std::mem::take(&mut held.lease.beside) {
            // Expiry covers a release that fails.
            let _ = held.target.release(&schema).await;
        }
        Ok(written?)
    }

    /// Chunk by chunk, to the end or until a person ends it.
    async fn go(&mut self) -> Result<End, EngineError> {
        loop {
            if self.job.interrupt.urgency() >= Urgency::Finish {
                return Ok(End::Interrupted);
            }
            self.hear().await?;
            let wait = match self.held.record.intent.wish {
                Wish::Cancel => return Ok(End::Cancelled),
                Wish::Pause => {
                    self.pulse.rest();
                    LOOK_EVERY
                }
                Wish::Run => {
                    self.feel().await;
                    self.wait()
                }
            };
            if wait.is_zero() {
                if !self.chunk().await? {
                    return Ok(End::Done);
                }
                continue;
            }
            self.rest(wait.min(LOOK_EVERY)).await;
        }
    }

    /// Reads how the server is, where that is asked for.
    async fn feel(&mut self) {
        let now = Instant::now();
        if !self.job.limits.mind_health || self.one_writer || !self.pulse.is_due(now) {
            return;
        }
        self.pace.expect_readings(now);
        tokio::select! {
            health = self.pulse.read(self.job, &self.work) => {
                if let Some(health) = health {
                    self.pace.read(Instant::now(), &health);
                }
            }
            () = self.job.interrupt.reached(Urgency::Finish) => {}
        }
    }

    /// How long to wait before the next chunk: for the rate, for others, and for the server.
    fn wait(&self) -> Duration {
        let now = Instant::now();
        if self.pace.must_hold(now) {
            return LOOK_EVERY;
        }
        self.goes_on_at.max(self.pace.paid_until().unwrap_or(now)).saturating_duration_since(now)
    }

    /// Waits, but not for a person who wants to stop it.
    async fn rest(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.job.interrupt.reached(Urgency::Finish) => {}
        }
    }

    /// Says how far it is and hears what people want. Before each chunk, as lanes do with theirs.
    async fn hear(&mut self) -> Result<(), EngineError> {
        self.refresh();
        let held = &mut *self.held;
        match held.target.report_backfill(&held.lease, &held.record).await {
            Ok(intent) if intent != held.record.intent => {
                held.record.intent = intent;
                // The answer is a fact by now: whoever waits for it need not wait for a chunk.
                self.refresh();
                let held = &mut *self.held;
                match held.target.report_backfill(&held.lease, &held.record).await {
                    Err(error) if !error.is_passing() => return Err(error.into()),
                    _ => {}
                }
            }
            Ok(_) => {}
            // Somebody has the row locked: the next report tells.
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error.into()),
        }
        let held = &mut *self.held;
        let paused = held.record.intent.wish == Wish::Pause;
        if paused && !held.target.keep(&held.lease, self.job.limits.lease_ttl).await? {
            // No chunk is under way that would tell.
            return Err(TargetError::new(
                ErrorKind::Fenced,
                "somebody else has taken the undo over meanwhile",
            )
            .into());
        }
        self.tell();
        Ok(())
    }

    /// Brings the record up to date.
    fn refresh(&mut self) {
        let now = Instant::now();
        let record = &mut self.held.record;
        self.pace.set_rate(record.intent.rate.or(self.file_rate).filter(|rate| *rate > 0));
        let paused = record.intent.wish == Wish::Pause;
        record.state = if paused { BackfillState::Paused } else { BackfillState::Running };
        record.reason = match (paused, &record.intent.by) {
            (true, Some(by)) => Some(format!("paused by {by}")),
            (true, None) => Some("paused".to_owned()),
            (false, _) => {
                let gentle = || self.pace.gentle_start().filter(|_| self.rows < ROWS_MAX);
                self.pace.reason(now).or_else(gentle)
            }
        };
        record.workers = u32::from(!paused);
        record.rows_per_second = if paused { 0 } else { self.progress.rate(now) as u64 };
    }

    fn tell(&self) {
        let record = &self.held.record;
        let news = BackfillNews::Progress { record, rows_done: record.rows_before };
        self.job.observer.event(Event::Backfill { id: record.id, news });
    }

    /// One chunk. `false`: nothing is left.
    async fn chunk(&mut self) -> Result<bool, EngineError> {
        let slice = self.slice();
        let rows = slice.count_max;
        let began = Instant::now();
        let held = &mut *self.held;
        let undone = match held.target.undo_chunk(&mut held.lease, &self.work, slice).await {
            Ok(undone) => undone,
            Err(error) if error.by_row && !slice.singly => {
                self.sweep.singly = rows;
                return Ok(true);
            }
            Err(error) if error.kind.remedy() == Remedy::RetryTransaction && rows > 1 => {
                self.rows = (rows / 4).max(1);
                self.rest(CONFLICT_PAUSE).await;
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        crate::failpoint("undo.chunk");
        let (now, took) = (Instant::now(), began.elapsed());
        let met = undone.met();
        self.sweep.below = undone.lowest.or(self.sweep.below);
        self.sweep.restored += undone.restored;
        self.sweep.passed += undone.passed;
        self.sweep.singly = self.sweep.singly.saturating_sub(met);
        if self.sweep.began_with.is_some() {
            self.left = self.left.saturating_sub(undone.restored);
        } else {
            self.left += undone.passed;
        }
        self.pace.observe(now, met, took, Duration::ZERO);
        self.progress.observe(now, met);
        let record = &mut held.record;
        record.rows_before += undone.restored;
        record.row_count_estimate = Some(record.rows_before + self.left);
        record.chunk_rows = rows;
        record.chunk_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.adapt(now, slice, took);
        Ok(undone.left || self.older_pass() || self.sweep_again())
    }

    /// Goes on with the pass before this one, if there was one.
    fn older_pass(&mut self) -> bool {
        if self.work.pass <= 1 {
            return false;
        }
        self.work.pass -= 1;
        self.sweep = Sweep { below: None, singly: 0, ..self.sweep };
        true
    }

    /// What the next chunk takes on.
    fn slice(&self) -> UndoSlice {
        let sweep = &self.sweep;
        let singly = sweep.singly > 0;
        let mut rows =
            if singly { sweep.singly.min(ROWS_SINGLY).min(self.rows) } else { self.rows };
        // Rows that can only go back together are not kept apart by a rate, which is paid afterwards.
        if singly || sweep.began_with.is_none() {
            rows = self.pace.rows_max().map_or(rows, |most| rows.min(most));
        }
        UndoSlice { below: sweep.below, count_max: rows, singly }
    }

    /// Begins a sweep over the rows that were passed over, if it may do any good: more of them at once
    /// than before, since some can only go back together.
    fn sweep_again(&mut self) -> bool {
        let over = self.sweep;
        let most = over.passed.min(ROWS_MAX);
        let in_vain = over.restored == 0 && over.began_with.is_some_and(|rows| rows >= most);
        if over.passed == 0 || in_vain {
            return false;
        }
        self.rows = (self.rows.max(over.began_with.unwrap_or(0)) * 4).min(ROWS_MAX);
        self.sweep = Sweep { began_with: Some(self.rows), ..Sweep::default() };
        self.work.pass = self.last_pass;
        true
    }

    /// The next chunk's size, and when it may begin, after one of so many rows.
    fn adapt(&mut self, now: Instant, slice: UndoSlice, took: Duration) {
        let rows = slice.count_max;
        let advice = self.pace.advice(now);
        let target = self.time.mul_f64(self.pace.time_share()).max(TIME_MIN).min(self.time);
        if slice.singly {
            // It tells nothing of chunks.
        } else if advice.halve || took > target {
            // One that is small for another reason is no larger for this.
            self.rows = (rows / 2).max(ROWS_MIN).min(rows);
        } else if advice.grow && took < target / 2 && rows == self.rows {
            self.rows = (self.rows * 2).min(ROWS_MAX);
        }
        let mut pause = self.pace.breather(&advice, took);
        if self.one_writer && self.job.limits.mind_health {
            // Others who wait for the file poll for it: they need gaps to find.
            pause = pause.max(took / 10);
        }
        self.goes_on_at = now + pause;
    }

    /// Leaves it done, or at a place to go on from.
    async fn end(&mut self, step: &PlannedStep, end: End) -> Result<Undoing, EngineError> {
        let record = &mut self.held.record;
        record.state =
            if end == End::Done { BackfillState::Undone } else { BackfillState::Stopped };
        record.reason = (end == End::Cancelled)
            .then(|| Cause::Cancelled { by: record.intent.by.clone() }.to_string());
        record.workers = 0;
        record.rows_per_second = 0;
        let why = if self.late { UNDONE_LATE } else { UNDONE };
        let entry = (end == End::Done).then(|| entry(step, EntryState::Skipped, why));
        let held = &mut *self.held;
        held.target
            .write_backfill(&mut held.lease, &held.record, None, None, entry.as_ref())
            .await?;
        let record = &self.held.record;
        Ok(Undoing {
            restored: record.rows_before,
            changed_since: record.changed_since().unwrap_or(0),
            late: self.late,
            interrupted: end != End::Done,
            cancelled: end == End::Cancelled,
        })
    }
}

/// The migration's row while its undo is under way, and after it.
fn entry(step: &PlannedStep, state: EntryState, text: &str) -> EntryWrite {
    let (text, failed) = (Some(text.to_owned()), state == EntryState::Failed);
    EntryWrite {
        id: step.migration.id,
        name: step.migration.name.clone(),
        state,
        pass: step.pass,
        content: None,
        baseline: false,
        by_environment: false,
        reason: text.clone().filter(|_| !failed),
        error: text.filter(|_| failed),
        output: None,
        event: if failed { LedgerEvent::Fail } else { LedgerEvent::Skip },
        run: String::new(),
    }
}
