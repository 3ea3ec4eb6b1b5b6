//! What the lanes of one walk share: the plan, the board, the pace, and what people want.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dunlin_model::{Backfill, Intent, Lease, OnError, Wish};
use tokio::sync::{Notify, mpsc};

use super::board::{Board, Seat};
use super::marks::{spacing, walk};
use super::pace::Pace;
use super::progress::Progress;
use super::sizer::{Sample, Sizer};
use crate::job::{Job, Urgency};
use crate::{Health, Purpose, Remedy, Target, TargetError};

/// A chunk that took no longer gains nothing by being halved; pauses relieve the server.
const SHORT: Duration = Duration::from_millis(5);

/// Something that a lane has to tell.
#[derive(Debug)]
pub(crate) enum News {
    /// A chunk is tried again.
    Retrying { error: TargetError, attempt: u32, pause: Duration },
    /// Rows went to quarantine.
    SetAside { error: TargetError, count: u64 },
}

/// What a lane is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The next chunk.
    Go,
    /// Give the segment back and end.
    Leave,
}

/// The parts that change while chunks are made.
#[derive(Debug)]
pub(crate) struct Sizing {
    pub(crate) sizer: Sizer,
    pub(crate) pace: Pace,
    pub(crate) progress: Progress,
}

#[derive(Debug)]
struct Orders {
    /// Lanes with this number and above leave.
    lanes: u32,
    intent: Intent,
}

/// Shared by the lanes of one walk.
pub(crate) struct Shared {
    pub(crate) job: Job,
    pub(crate) work: Backfill,
    pub(crate) lease: Lease,
    pub(crate) board: Board,
    pub(crate) on_error: OnError,
    /// Rows in quarantine.
    pub(crate) quarantined: AtomicU64,
    pub(crate) news: mpsc::UnboundedSender<News>,
    sizing: Mutex<Sizing>,
    orders: Mutex<Orders>,
    orders_changed: Notify,
    /// What the server has run out of, as long as no chunk was committed since.
    trouble: Mutex<Option<String>>,
    /// Walks ahead for all lanes; `None` until it is needed, and after it broke.
    scout: tokio::sync::Mutex<Option<Box<dyn Target>>>,
    one_connection: bool,
    row_count_estimate: Option<u64>,
}

/// What a walk begins with.
pub(crate) struct Start {
    pub(crate) job: Job,
    pub(crate) work: Backfill,
    pub(crate) lease: Lease,
    pub(crate) board: Board,
    pub(crate) on_error: OnError,
    pub(crate) quarantined: u64,
    pub(crate) sizing: Sizing,
    pub(crate) intent: Intent,
    pub(crate) one_connection: bool,
    pub(crate) row_count_estimate: Option<u64>,
}

impl Shared {
    pub(crate) fn new(start: Start, news: mpsc::UnboundedSender<News>) -> Self {
        Self {
            job: start.job,
            work: start.work,
            lease: start.lease,
            board: start.board,
            on_error: start.on_error,
            quarantined: AtomicU64::new(start.quarantined),
            news,
            sizing: Mutex::new(start.sizing),
            orders: Mutex::new(Orders { lanes: u32::MAX, intent: start.intent }),
            orders_changed: Notify::new(),
            trouble: Mutex::new(None),
            scout: tokio::sync::Mutex::new(None),
            one_connection: start.one_connection,
            row_count_estimate: start.row_count_estimate,
        }
    }

    pub(crate) fn sizing(&self) -> MutexGuard<'_, Sizing> {
        self.sizing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database has one writer at a time, and a reader in its way: walks and chunks share a
    /// connection.
    pub(crate) fn one_connection(&self) -> bool {
        self.one_connection
    }

    /// At most so many rows may be set aside: more mean that it is not about rows, and halving
    /// would cost more than the work.
    pub(crate) fn quarantine_max(&self) -> u64 {
        let share = self.row_count_estimate.unwrap_or_default() / 100;
        self.job.limits.quarantine_max.max(share)
    }

    /// What lane number so-and-so is to do.
    pub(crate) fn order(&self, number: u32) -> Order {
        let orders = self.orders();
        if orders.intent.wish != Wish::Run || number >= orders.lanes {
            return Order::Leave;
        }
        Order::Go
    }

    /// Lanes from that number on leave.
    pub(crate) fn allow(&self, lanes: u32) {
        let mut orders = self.orders();
        // Said again and again; who waits for the rate's sake must not be woken by it.
        if orders.lanes == lanes {
            return;
        }
        orders.lanes = lanes;
        drop(orders);
        self.orders_changed.notify_waiters();
    }

    /// The rate from now on. What was waited for at the one before is over.
    pub(crate) fn set_rate(&self, rate: Option<u64>) {
        let mut sizing = self.sizing();
        if sizing.pace.rate() == rate {
            return;
        }
        sizing.pace.set_rate(rate);
        drop(sizing);
        self.orders_changed.notify_waiters();
    }

    /// What people want by now.
    pub(crate) fn hear(&self, intent: &Intent) {
        let mut orders = self.orders();
        if orders.intent == *intent {
            return;
        }
        orders.intent = intent.clone();
        drop(orders);
        self.orders_changed.notify_waiters();
    }

    /// What people were last heard to want.
    pub(crate) fn intent(&self) -> Intent {
        self.orders().intent.clone()
    }

    /// Waits, unless somebody wants something meanwhile.
    pub(crate) async fn sleep(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.job.interrupt.reached(Urgency::Finish) => {}
            () = self.orders_changed.notified() => {}
        }
    }

    /// Rows for the next chunk, by time, bytes and rate.
    pub(crate) fn chunk_rows(&self) -> u64 {
        let sizing = self.sizing();
        let rows = sizing.sizer.rows();
        sizing.pace.rows_max().map_or(rows, |most| rows.min(most))
    }

    /// Learns from a committed chunk; how long to wait after it.
    pub(crate) fn observe(&self, sample: &Sample, written: u64, searching: bool) -> Duration {
        let now = Instant::now();
        let mut sizing = self.sizing();
        sizing.progress.observe(now, sample.rows);
        sizing.pace.observe(now, written, sample.took, sample.commit);
        let advice = sizing.pace.advice(now);
        let share = sizing.pace.time_share();
        sizing.sizer.aim_at(share);
        if !searching {
            sizing.sizer.observe(*sample, advice.grow);
        }
        if advice.halve && sample.took > SHORT {
            sizing.sizer.halve();
        }
        let pause = sizing.pace.pause(now, &advice, sample.took);
        if self.one_connection && self.job.limits.mind_health {
            // Others who wait for the file poll for it: they need gaps to find.
            return pause.max(sample.took / 10);
        }
        pause
    }

    /// A chunk met a lock, or took too long.
    pub(crate) fn stumble(&self) {
        self.sizing().sizer.halve();
    }

    /// Notes what the server has run out of, or that it has not any more.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// What holds the work up at present, for people; `None`: nothing.
    pub(crate) fn reason(&self, now: Instant) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sizing = self.sizing();
        // Chunks that are as large as a person allows are not short for that.
        let gentle = || sizing.pace.gentle_start().filter(|_| !sizing.sizer.is_at_its_most());
        trouble.or_else(|| sizing.pace.reason(now)).or_else(gentle)
    }

    /// Whether the server is so unwell that no chunk should begin.
    pub(crate) fn must_hold(&self) -> bool {
        self.sizing().pace.must_hold(Instant::now())
    }

    pub(crate) fn read_health(&self, health: &Health) {
        self.sizing().pace.read(Instant::now(), health);
    }

    pub(crate) fn tell(&self, news: News) {
        // Nobody listens any more only when the walk is over.
        let _ = self.news.send(news);
    }

    /// Walks ahead over the scout's connection, unless enough lies ahead.
    pub(crate) async fn walk_on(&self, seat: &mut Seat, want: u64) -> Result<(), TargetError> {
        if seat.walked_all() || seat.rows_ahead() > want + want / 2 {
            return Ok(());
        }
        let mut scout = self.scout.lock().await;
        let mut fresh = false;
        loop {
            let target = match scout.as_mut() {
                Some(target) => target,
                None => {
                    fresh = true;
                    scout.insert(self.job.connector.connect(Purpose::Lane).await?)
                }
            };
            match walk(target.as_mut(), self, seat, spacing(want)).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if error.kind.remedy() == Remedy::Reconnect {
                        *scout = None;
                        // Idle for long it may have been closed; a fresh one has no excuse.
                        if !fresh {
                            continue;
                        }
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Lets the scout's connection go: nothing will be walked for a while.
    pub(crate) async fn rest_scout(&self) {
        *self.scout.lock().await = None;
    }
}
