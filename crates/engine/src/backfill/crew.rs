//! Leads the lanes of one walk: starts and ends them, minds the server's health and what people want,
//! and tells how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dunlin_model::{BackfillRecord, BackfillState, Bound, RowCode, Wish};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};

use super::doer::Doer;
use super::lane::{ChunkFailure, Lane, LaneEnd};
use super::pulse::Pulse;
use super::rows::Rows;
use super::shared::{News, Shared};
use crate::events::{BackfillNews, Event};
use crate::job::Urgency;
use crate::{ErrorKind, Purpose, Remedy, Stopper, Target, TargetError};

/// How often the crew looks around.
const TICK: Duration = Duration::from_millis(250);

/// How often it writes to the ledger how far it is, and reads what people want.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// The same while it is paused: then only this tells it to go on.
const REPORT_PAUSED: Duration = Duration::from_millis(500);

/// How often it asks the server what is left.
const ESTIMATE_EVERY: Duration = Duration::from_secs(10);

/// How long it makes do with the lanes that it has, where the server takes no further connection.
const STAFF_AGAIN: Duration = Duration::from_secs(5);

/// How a walk ended.
pub(crate) enum WalkEnd {
    /// Every segment is done.
    Done,
    /// A person stopped the program; every chunk is committed.
    Interrupted,
    /// A person wanted out at once.
    Aborted,
    /// A person gave it up.
    Cancelled,
    /// The table has another shape.
    Shape,
    /// A row or a statement failed.
    Failed(Box<ChunkFailure>),
}

/// What a crew works with beside what the lanes share.
pub(crate) struct Crew<'a> {
    pub(crate) shared: Arc<Shared>,
    /// The run's own connection: idle otherwise, and kept alive by its reports.
    pub(crate) target: &'a mut dyn Target,
    pub(crate) record: BackfillRecord,
    /// Workers that file and settings ask for.
    pub(crate) workers: u32,
    /// The rate that the file asks for.
    pub(crate) rate: Option<u64>,
    /// Row code, and the variables that its programs get.
    pub(crate) code: Option<(RowCode, Vec<(String, String)>)>,
    /// A connection that the first lane may have.
    pub(crate) spare: Option<Box<dyn Target>>,
    /// Rows of this walk in all, where they were found beforehand.
    pub(crate) found: Option<u64>,
}

/// The lanes at work, by their numbers.
#[derive(Default)]
struct Lanes {
    tasks: JoinSet<LaneEnd>,
    present: BTreeMap<u32, (Id, Arc<dyn Stopper>)>,
    /// When the server had no connection left for another one, and since when it has had none.
    refused_at: Option<Instant>,
    refused_since: Option<Instant>,
}

impl Lanes {
    /// The next lane's end; never, where there is none.
    async fn ended(&mut self) -> Option<Result<LaneEnd, tokio::task::JoinError>> {
        let end = self.tasks.join_next_with_id().await?;
        let id = match &end {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        self.present.retain(|_, (present, _)| *present != id);
        Some(end.map(|(_, end)| end))
    }
}

struct Watch {
    pulse: Pulse,
    reported_at: Instant,
    estimated_at: Option<Instant>,
    left: Option<u64>,
}

impl Crew<'_> {
    /// Walks until the end, or until something ends it.
    pub(crate) async fn walk(
        &mut self,
        mut news: mpsc::UnboundedReceiver<News>,
    ) -> Result<(WalkEnd, BackfillRecord), TargetError> {
        let mut lanes = Lanes::default();
        let mut watch = Watch {
            pulse: Pulse::default(),
            reported_at: Instant::now(),
            estimated_at: None,
            left: self.record.row_count_estimate,
        };
        let mut ended: Option<WalkEnd> = None;
        let interrupt = self.shared.job.interrupt.clone();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if ended.is_none() {
                tokio::select! {
                    staffed = self.staff(&mut lanes) => staffed?,
                    () = interrupt.reached(Urgency::Abort) => {}
                }
            }
            if lanes.tasks.is_empty() {
                if let Some(end) = ended {
                    return Ok((end, self.record.clone()));
                }
                if self.shared.board.is_done() {
                    return Ok((WalkEnd::Done, self.record.clone()));
                }
            }
            tokio::select! {
                Some(end) = lanes.ended() => {
                    if let Some(end) = self.lane_ended(end, &mut ended)? {
                        return Err(end);
                    }
                }
                Some(news) = news.recv() => self.tell(news),
                _ = tick.tick() => {
                    // A server that does not answer must not keep a person waiting.
                    tokio::select! {
                        looked = self.look(&mut watch) => looked?,
                        () = interrupt.reached(Urgency::Abort) => {}
                    }
                    if ended.is_none() {
                        ended = self.person();
                    }
                }
                () = interrupt.reached(Urgency::Abort) => {
                    for (_, stopper) in lanes.present.values() {
                        stopper.stop().await;
                    }
                    lanes.tasks.abort_all();
                    return Ok((WalkEnd::Aborted, self.record.clone()));
                }
                () = interrupt.reached(Urgency::Finish), if ended.is_none() => {
                    // Lanes see it by themselves after their chunk.
                    ended = Some(WalkEnd::Interrupted);
                }
            }
        }
    }

    fn paused(&self) -> bool {
        self.shared.intent().wish == Wish::Pause
    }

    /// What a person wants that ends this walk. A pause holds it here, whoever waits for the run:
    /// going on must not need a new start.
    fn person(&self) -> Option<WalkEnd> {
        (self.shared.intent().wish == Wish::Cancel).then_some(WalkEnd::Cancelled)
    }

    /// As many lanes as are wanted.
    async fn staff(&mut self, lanes: &mut Lanes) -> Result<(), TargetError> {
        if self.shared.board.is_done()
            || self.shared.intent().wish != Wish::Run
            || self.shared.must_hold()
        {
            return Ok(());
        }
        let wanted = self.wanted();
        self.shared.allow(wanted);
        if lanes.refused_at.is_some_and(|at| at.elapsed() < STAFF_AGAIN) {
            return Ok(());
        }
        // A lane's number is its place: those that are told to leave are the highest.
        for number in 0..wanted {
            if lanes.present.contains_key(&number) {
                continue;
            }
            let connected = match self.spare.take() {
                Some(target) => Ok(target),
                None => self.shared.job.connector.connect(Purpose::Lane).await,
            };
            let target = match connected {
                Ok(target) => target,
                // Fewer lanes than were asked for are slower, and no failure. None at all is one, in the
                // end; but whoever takes the segments up anew for it seems to have died at them.
                Err(error) if error.kind == ErrorKind::Exhausted => {
                    let now = Instant::now();
                    let since = *lanes.refused_since.get_or_insert(now);
                    let longest = self.shared.job.limits.reconnect_max;
                    if lanes.present.is_empty() && now.duration_since(since) > longest {
                        return Err(error);
                    }
                    lanes.refused_at = Some(now);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            lanes.refused_at = None;
            lanes.refused_since = None;
            let stopper = target.stopper();
            let doer = match &self.code {
                None => Doer::Statements,
                Some((code, variables)) => {
                    Doer::Rows(Box::new(Rows::new(code.clone(), variables.clone())))
                }
            };
            let lane = Lane::new(Arc::clone(&self.shared), number, target, doer);
            let task = lanes.tasks.spawn(lane.run());
            lanes.present.insert(number, (task.id(), stopper));
        }
        Ok(())
    }

    fn wanted(&self) -> u32 {
        if self.shared.one_connection() {
            return 1;
        }
        let segments = self.shared.board.segments();
        let open = segments.iter().filter(|s| !s.is_done()).count();
        let wanted = self.shared.intent().workers.unwrap_or(self.workers);
        let wanted = self.shared.work.workers(wanted);
        // One segment can feed more lanes than one by being cut, a stretch of NULLs can't.
        let cuttable = segments.iter().any(|s| !s.is_done() && s.hi != Bound::Nulls);
        if cuttable { wanted } else { wanted.min(u32::try_from(open).unwrap_or(1)) }
    }

    /// Takes a lane's end in. `Some`: the whole run must look at the ledger again.
    fn lane_ended(
        &self,
        end: Result<LaneEnd, tokio::task::JoinError>,
        ended: &mut Option<WalkEnd>,
    ) -> Result<Option<TargetError>, TargetError> {
        let end = end.map_err(|_| {
            TargetError::new(crate::ErrorKind::Bug, "a worker of the backfill ended in a panic")
                .help("please report it; running again goes on where it was")
        })?;
        match end {
            LaneEnd::Left => {}
            LaneEnd::Shape => {
                ended.get_or_insert(WalkEnd::Shape);
            }
            LaneEnd::Failed(failure) => {
                if !matches!(ended, Some(WalkEnd::Failed(_))) {
                    *ended = Some(WalkEnd::Failed(failure));
                }
            }
            LaneEnd::Broken(error) => return Ok(Some(error)),
        }
        if ended.is_some() {
            self.shared.allow(0);
        }
        Ok(None)
    }

    fn tell(&self, news: News) {
        let id = self.shared.work.id;
        let observer = &self.shared.job.observer;
        match news {
            News::Retrying { error, attempt, pause } => {
                observer.event(Event::Retrying { id, error: &error, attempt, pause });
            }
            News::SetAside { error, count } => {
                let news = BackfillNews::SetAside { error: &error, count };
                observer.event(Event::Backfill { id, news });
            }
        }
    }

    /// Looks around: health, the ledger, how far it is.
    async fn look(&mut self, watch: &mut Watch) -> Result<(), TargetError> {
        let now = Instant::now();
        let paused = self.paused();
        if self.shared.job.limits.mind_health
            && !paused
            && !self.shared.one_connection()
            && watch.pulse.is_due(now)
        {
            self.shared.sizing().pace.expect_readings(now);
            if let Some(health) = watch.pulse.read(&self.shared.job, &self.shared.work).await {
                self.shared.read_health(&health);
            }
        }
        self.apply_rate();
        self.refresh(now, watch);
        let every = if paused { REPORT_PAUSED } else { REPORT_EVERY };
        if now.duration_since(watch.reported_at) >= every {
            watch.reported_at = now;
            self.estimate(now, watch).await?;
            match self.target.report_backfill(&self.shared.lease, &self.record).await {
                Ok(intent) => self.shared.hear(&intent),
                // Somebody has the row locked. Chunks tell what people want as well, and the next
                // report tells the rest.
                Err(error) if error.is_passing() => {}
                Err(error) => return Err(error),
            }
            if (paused || self.shared.must_hold())
                && !self.target.keep(&self.shared.lease, self.shared.job.limits.lease_ttl).await?
            {
                // No chunk is under way that would tell.
                return Err(TargetError::new(
                    crate::ErrorKind::Fenced,
                    "somebody else has taken the backfill over meanwhile",
                ));
            }
            if paused {
                self.shared.rest_scout().await;
                watch.pulse.rest();
            }
        }
        let news = BackfillNews::Progress {
            record: &self.record,
            rows_done: self.record.rows_before + self.shared.board.rows(),
        };
        self.shared.job.observer.event(Event::Backfill { id: self.shared.work.id, news });
        Ok(())
    }

    fn apply_rate(&self) {
        let rate = self.shared.intent().rate.or(self.rate).filter(|rate| *rate > 0);
        self.shared.set_rate(rate);
    }

    /// What is left, by the server's statistics.
    async fn estimate(&mut self, now: Instant, watch: &mut Watch) -> Result<(), TargetError> {
        if watch.estimated_at.is_some_and(|at| now.duration_since(at) < ESTIMATE_EVERY) {
            return Ok(());
        }
        watch.estimated_at = Some(now);
        if let Some(found) = self.found {
            watch.left = Some(found.saturating_sub(self.shared.board.rows()));
            return Ok(());
        }
        let mut left = Some(0_u64);
        for segment in self.shared.board.segments() {
            let (false, Bound::Key(hi)) = (segment.is_done(), &segment.hi) else { continue };
            let rows = match self.target.estimate(&self.shared.work, &segment.upto, hi).await {
                Ok(rows) => rows,
                Err(error) if error.kind.remedy() == Remedy::Reconnect => return Err(error),
                // Only for people. What is wrong with the table, chunks will tell.
                Err(_) => None,
            };
            left = left.zip(rows).map(|(sum, rows)| sum.saturating_add(rows));
        }
        watch.left = left;
        Ok(())
    }

    /// Brings the record up to date.
    fn refresh(&mut self, now: Instant, watch: &mut Watch) {
        let intent = self.shared.intent();
        let reason = self.shared.reason(now);
        let sizing = self.shared.sizing();
        let rate = sizing.progress.rate(now);
        let since = watch.estimated_at.map_or(0.0, |at| now.duration_since(at).as_secs_f64());
        let left = watch.left.map(|rows| rows.saturating_sub((rate * since) as u64));
        self.record.state =
            if intent.wish == Wish::Pause { BackfillState::Paused } else { BackfillState::Running };
        self.record.reason = match (intent.wish, &intent.by) {
            (Wish::Pause, Some(by)) => Some(format!("paused by {by}")),
            (Wish::Pause, None) => Some("paused".to_owned()),
            _ => reason,
        };
        let rows = sizing.sizer.rows();
        self.record.chunk_rows = sizing.pace.rows_max().map_or(rows, |most| rows.min(most));
        self.record.chunk_ms = u64::try_from(sizing.sizer.last().as_millis()).unwrap_or(u64::MAX);
        self.record.rows_per_second = rate as u64;
        self.record.seconds_left = sizing.progress.left(now, left);
        drop(sizing);
        self.record.workers = if intent.wish == Wish::Run { self.wanted() } else { 0 };
        self.record.quarantined = self.shared.quarantined.load(Ordering::Relaxed);
        self.record.intent = intent;
    }
}
