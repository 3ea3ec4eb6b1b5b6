//! Where a run stops for a moment: what people want of it, how fast it may go, how far it is.
//!
//! Everything that reads or writes for a move passes here: before a chunk's transaction begins, and
//! with each batch that was read. No transaction of the target is open then, so that a run that is
//! held holds up nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dunlin_model::{Intent, Wish};
use tokio::sync::watch;

use super::session::interrupted;
use crate::backfill::{Pace, Progress};
use crate::events::{Event, Observer};
use crate::job::{Interrupt, Job, Urgency};
use crate::report::Cause;
use crate::{ErrorKind, TargetError};

/// How often it is told how far it is; whoever writes a log takes less of it.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// What a run passes through. Its copies are one.
#[derive(Clone)]
pub(super) struct Gate(Arc<Shared>);

struct Shared {
    interrupt: Interrupt,
    observer: Arc<dyn Observer>,
    /// How long a pause may hold the source's snapshot.
    hold: Duration,
    /// Rows a second, as the run was asked for.
    rate: Option<u64>,
    intent: watch::Sender<Intent>,
    pace: Mutex<Pace>,
    course: Mutex<Course>,
    let_go: AtomicBool,
    has_written: AtomicBool,
    has_read: AtomicBool,
}

/// How far it is.
#[derive(Default)]
struct Course {
    phase: String,
    of: Option<String>,
    tables: Vec<Table>,
    held_since: Option<Instant>,
}

struct Table {
    name: String,
    rows: u64,
    estimate: Option<u64>,
    progress: Progress,
    told: Option<Instant>,
}

/// What a run says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) doing: String,
    pub(super) rows: u64,
    pub(super) estimate: Option<u64>,
    pub(super) rate: u64,
    pub(super) left: (u64, u64),
    pub(super) is_held: bool,
}

impl Gate {
    pub(super) fn new(job: &Job, rate: Option<u64>) -> Self {
        let (intent, _) = watch::channel(Intent::default());
        Self(Arc::new(Shared {
            interrupt: job.interrupt.clone(),
            observer: Arc::clone(&job.observer),
            hold: job.limits.hold_snapshot,
            rate,
            intent,
            pace: Mutex::new(Pace::new(false, rate)),
            course: Mutex::new(Course::default()),
            let_go: AtomicBool::new(false),
            has_written: AtomicBool::new(false),
            has_read: AtomicBool::new(false),
        }))
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.0.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.0.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What people want by now.
    pub(super) fn hear(&self, intent: Intent) {
        let rate = intent.rate.or(self.0.rate).filter(|rate| *rate > 0);
        self.pace().set_rate(rate);
        self.0.intent.send_if_modified(|known| {
            let is_new = *known != intent;
            *known = intent;
            is_new
        });
    }

    /// How many workers there are to be, of so many that the run was asked for.
    pub(super) fn workers(&self, asked: u32) -> u32 {
        self.0.intent.borrow().workers.unwrap_or(asked).max(1)
    }

    /// Why a person ended the run, where one did.
    pub(super) fn told(&self) -> Option<Cause> {
        let intent = self.0.intent.borrow();
        match intent.wish {
            Wish::Run => None,
            Wish::Pause => Some(Cause::Paused { by: intent.by.clone() }),
            Wish::Cancel => Some(Cause::Cancelled { by: intent.by.clone() }),
        }
    }

    /// Whether the run gave up its snapshot, since a pause took long.
    pub(super) fn has_let_go(&self) -> bool {
        self.0.let_go.load(Ordering::Relaxed)
    }

    /// Waits until a run that let go may begin again.
    pub(super) async fn resumed(&self) -> Result<(), TargetError> {
        let mut intent = self.0.intent.subscribe();
        tokio::select! {
            // The sender lives as long as we do.
            _ = intent.wait_for(|intent| intent.wish != Wish::Pause) => {}
            () = self.0.interrupt.reached(Urgency::Finish) => return Err(interrupted()),
        }
        self.0.let_go.store(false, Ordering::Relaxed);
        self.course().held_since = None;
        self.check()?;
        self.0.observer.event(Event::MoveResumed);
        Ok(())
    }

    /// Whether a person stopped the run: what holds it may wait.
    pub(super) fn check(&self) -> Result<(), TargetError> {
        if self.0.interrupt.urgency() >= Urgency::Finish {
            return Err(interrupted());
        }
        match self.told() {
            Some(cause @ Cause::Cancelled { .. }) => Err(stopped(&cause)),
            _ => Ok(()),
        }
    }

    /// Goes on, or waits while a person wants it held.
    ///
    /// # Errors
    /// A person stopped it; or it was held for so long that its snapshot must go.
    pub(super) async fn pass(&self) -> Result<(), TargetError> {
        loop {
            self.check()?;
            let Some(cause) = self.told() else { break };
            self.hold(&cause).await?;
        }
        if self.course().held_since.take().is_some() {
            self.0.observer.event(Event::MoveResumed);
        }
        Ok(())
    }

    async fn hold(&self, cause: &Cause) -> Result<(), TargetError> {
        let (since, is_first) = {
            let mut course = self.course();
            let is_first = course.held_since.is_none();
            (*course.held_since.get_or_insert_with(Instant::now), is_first)
        };
        if is_first {
            self.0.observer.event(Event::MovePaused { cause });
        }
        let mut intent = self.0.intent.subscribe();
        tokio::select! {
            _ = intent.wait_for(|intent| intent.wish != Wish::Pause) => Ok(()),
            () = self.0.interrupt.reached(Urgency::Finish) => Err(interrupted()),
            () = tokio::time::sleep(self.0.hold.saturating_sub(since.elapsed())) => {
                self.0.let_go.store(true, Ordering::Relaxed);
                Err(stopped(cause))
            }
        }
    }

    /// Before a transaction that writes: as `pass`, and at the rate.
    pub(super) async fn before_writing(&self) -> Result<(), TargetError> {
        loop {
            self.pass().await?;
            let pause = {
                let (mut pace, now) = (self.pace(), Instant::now());
                let advice = pace.advice(now);
                pace.pause(now, &advice, Duration::ZERO)
            };
            if pause.is_zero() {
                return Ok(());
            }
            let mut intent = self.0.intent.subscribe();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = intent.changed() => {}
                () = self.0.interrupt.reached(Urgency::Finish) => {}
            }
        }
    }

    /// So many rows were written.
    pub(super) fn wrote(&self, rows: u64, took: Duration) {
        if rows > 0 {
            self.0.has_written.store(true, Ordering::Relaxed);
        }
        self.pace().observe(Instant::now(), rows, took, Duration::ZERO);
    }

    /// Whether rows were read.
    pub(super) fn has_read(&self) -> bool {
        self.0.has_read.load(Ordering::Relaxed)
    }

    /// Whether rows were written.
    pub(super) fn has_written(&self) -> bool {
        self.0.has_written.load(Ordering::Relaxed)
    }

    /// Rows of one transaction: fewer at a rate, so that it does not come in gusts.
    pub(super) fn chunk_rows(&self, most: usize) -> usize {
        let at_rate = self.pace().rows_max().and_then(|rows| usize::try_from(rows).ok());
        at_rate.map_or(most, |rows| rows.min(most))
    }

    /// Another phase begins.
    pub(super) fn phase(&self, phase: &str, of: Option<&str>) {
        let mut course = self.course();
        course.phase = phase.to_owned();
        course.of = of.map(str::to_owned);
        course.tables.clear();
        drop(course);
        self.0.observer.event(Event::MovePhase { phase, of });
    }

    /// So many rows more of a table were read in this phase.
    pub(super) fn read(&self, table: &str, rows: u64, estimate: Option<u64>) {
        self.0.has_read.store(true, Ordering::Relaxed);
        let now = Instant::now();
        let mut course = self.course();
        let place = course.tables.iter().position(|one| one.name == table);
        let place = place.unwrap_or_else(|| {
            let (name, progress) = (table.to_owned(), Progress::default());
            course.tables.push(Table { name, rows: 0, estimate, progress, told: None });
            course.tables.len() - 1
        });
        let one = &mut course.tables[place];
        one.rows += rows;
        one.progress.observe(now, rows);
        if one.told.is_some_and(|told| now.duration_since(told) < TELL_EVERY) {
            return;
        }
        one.told = Some(now);
        let (rows, rate) = (one.rows, one.progress.rate(now) as u64);
        let seconds_left = one.progress.left(now, left(one));
        drop(course);
        self.0.observer.event(Event::MoveProgress { table, rows, estimate, rate, seconds_left });
    }

    /// What it does at present.
    pub(super) fn facts(&self) -> Facts {
        let now = Instant::now();
        let course = self.course();
        let doing = match &course.of {
            Some(of) => format!("{} {of}", course.phase),
            None => course.phase.clone(),
        };
        let mut facts = Facts { doing, is_held: course.held_since.is_some(), ..Facts::default() };
        let mut estimate = Some(0_u64);
        for table in &course.tables {
            facts.rows += table.rows;
            facts.rate += table.progress.rate(now) as u64;
            estimate = estimate.zip(table.estimate).map(|(a, b)| a.saturating_add(b));
            let (least, most) = table.progress.left(now, left(table));
            facts.left = (facts.left.0.max(least), facts.left.1.max(most));
        }
        facts.estimate = estimate.filter(|estimate| *estimate > 0);
        facts
    }
}

fn left(table: &Table) -> Option<u64> {
    table.estimate.map(|all| all.saturating_sub(table.rows)).filter(|rows| *rows > 0)
}

fn stopped(cause: &Cause) -> TargetError {
    TargetError::new(ErrorKind::Refused, cause.to_string())
}
