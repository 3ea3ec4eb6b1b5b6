//! How fast a backfill may go: a fixed rate, and the server's health in zones.
//!
//! Zones after block/spirit, not a switch: below 0.4 of a limit chunks may grow; up to 0.7 they keep
//! their size; from there each chunk is followed by a pause; at the limit they are halved as well;
//! beyond twice the limit work holds until it is better. What could be read once and can't be any
//! more counts as bad: it fails closed.

use std::time::{Duration, Instant};

use crate::Health;

/// Below this share of its limit nothing minds more work.
const GROW_BELOW: f64 = 0.4;

/// From this share on each chunk is followed by a pause.
const SHED_FROM: f64 = 0.7;

/// From this on work holds.
const HOLD_FROM: f64 = 2.0;

/// What chunks tell by themselves counts no more than this, so that it never holds work: only the
/// next chunk can tell that it is better.
const OWN_LOAD_MAX: f64 = 1.5;

/// The longest pause after one chunk.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A reading older than this is stale: several readings have failed in a row.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// A COMMIT that takes so long says that the disk is saturated: an idle one takes 1 to 10 ms.
const COMMIT_LIMIT: Duration = Duration::from_millis(500);

/// So many times the usual time a row says that something else needs the server more. Rows of one
/// table may differ by three or four times by themselves.
const SLOWDOWN_LIMIT: f64 = 8.0;

/// Chunks of fewer rows, or of less time, are mostly their own cost.
const SAMPLE_ROWS_MIN: u64 = 200;
const SAMPLE_TIME_MIN: Duration = Duration::from_millis(20);

/// The signal that says that others wait for our locks, on every database.
const LOCK_WAITS: &str = "lock waits";

/// The share of its usual time that a first chunk gets, and every one while others are at work: 2 of
/// 500 ms. Whoever wants to write a row of the chunk, or to commit behind it, waits for about that
/// long, and whoever commits behind it also for its log, which is the same share of its bytes:
/// `bench impact` measures it.
const SHARE_FIRST: f64 = 0.004;

/// While others are at work each chunk is followed by a pause of so many times its own length, so
/// that of a hundred requests few meet a chunk.
const COMPANY_PAUSE: f64 = 10.0;

/// It is no shorter than this, ten chunks a second: a request that meets a chunk waits for about a
/// flush of the log, however small the chunk is, so what counts is how many chunks there are.
const COMPANY_PAUSE_MIN: Duration = Duration::from_millis(100);

/// It is no longer than this: a chunk that took long waited itself.
const COMPANY_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Others count as at work for so long after they were last seen.
const COMPANY_FOR: Duration = Duration::from_secs(5);

/// At a reading where nobody else is at work it grows by this: eight readings, a second each, to the
/// whole.
const SHARE_GROWTH: f64 = 2.0;

/// At a reading where somebody waits it is cut by this, and never below what chunks begin with.
const SHARE_CUT: f64 = 4.0;

/// Said of chunks that get a share of their time, while nothing else holds them back.
const GENTLE_START: &str = "a gentle start: chunks grow while nobody else is at work";

/// What is done after a chunk.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Advice {
    /// Chunks may grow.
    pub(crate) grow: bool,
    /// Chunks should be halved.
    pub(crate) halve: bool,
    /// No chunk should begin.
    pub(crate) hold: bool,
    /// How long to wait after a chunk that took one second, in seconds.
    pub(crate) pause_share: f64,
}

/// Whether others use the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Company {
    /// Nobody has looked yet.
    Unknown,
    /// So many of their sessions were at work when last seen so; `None`: nobody may know.
    Seen(Instant, Option<u64>),
    /// Nobody else was at work of late.
    None,
}

/// The limits' state. Pure: time comes in.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    minds_health: bool,
    health: Option<(Instant, f64, String)>,
    /// When readings were first asked for; `None` where there are none.
    began: Option<Instant>,
    commit: f64,
    usual: Option<f64>,
    recent: f64,
    halved_at: Option<Instant>,
    /// The share of a chunk's usual time that chunks get.
    time_share: f64,
    /// Chunks get all of it, whatever the readings say.
    full_time: bool,
    company: Company,
    rate: Option<u64>,
    /// When the rows done so far are paid for, at the rate.
    paid_until: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(minds_health: bool, rate: Option<u64>) -> Self {
        Self {
            minds_health,
            health: None,
            began: None,
            commit: 0.0,
            usual: None,
            recent: 0.0,
            halved_at: None,
            time_share: SHARE_FIRST,
            full_time: !minds_health,
            company: Company::Unknown,
            rate,
            paid_until: None,
        }
    }

    /// Another rate; `None`: none.
    pub(crate) fn set_rate(&mut self, rate: Option<u64>) {
        if self.rate != rate {
            self.rate = rate;
            self.paid_until = None;
        }
    }

    pub(crate) fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// When what was done so far is paid for at the rate; `None`: nothing is owed.
    pub(crate) fn paid_until(&self) -> Option<Instant> {
        self.paid_until
    }

    /// Readings are asked for from now on.
    pub(crate) fn expect_readings(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// Takes a health reading over.
    pub(crate) fn read(&mut self, now: Instant, health: &Health) {
        let worst = health.signals.iter().max_by(|a, b| a.load.total_cmp(&b.load));
        let (load, shown) = worst.map_or((0.0, String::new()), |signal| {
            (signal.load, format!("{}: {}", signal.name, signal.shown))
        });
        self.health = Some((now, load, shown));
        self.company = match (health.others, self.company) {
            (Some(0), Company::Seen(at, _)) if now.duration_since(at) < COMPANY_FOR => self.company,
            (Some(0), _) => Company::None,
            (others, _) => Company::Seen(now, others),
        };
        let waited = health.signals.iter().any(|one| one.name == LOCK_WAITS && one.load > 0.0);
        self.time_share = if waited {
            (self.time_share / SHARE_CUT).max(SHARE_FIRST)
        } else if self.company == Company::None {
            (self.time_share * SHARE_GROWTH).min(1.0)
        } else {
            self.time_share.min(SHARE_FIRST)
        };
    }

    /// The share of a chunk's usual time that chunks get. Whoever writes a row of the chunk under way
    /// waits for its end, so chunks begin short, and grow only while nobody else is at work.
    pub(crate) fn time_share(&self) -> f64 {
        if self.full_time { 1.0 } else { self.time_share }
    }

    /// Chunks get all of their time, whoever is at work.
    pub(crate) fn take_full_time(&mut self) {
        self.full_time = true;
    }

    /// Whether chunks get all of their time already.
    pub(crate) fn takes_full_time(&self) -> bool {
        self.time_share() >= 1.0
    }

    /// Whether a reading says that nobody else is at work and nothing minds more of it.
    pub(crate) fn is_alone(health: &Health) -> bool {
        health.others == Some(0) && health.signals.iter().all(|one| one.load < GROW_BELOW)
    }

    /// Learns from a chunk: its time and COMMIT, and rows that it wrote.
    pub(crate) fn observe(&mut self, now: Instant, rows: u64, took: Duration, commit: Duration) {
        self.commit = self.commit * 0.6 + commit.as_secs_f64() * 0.4;
        self.learn_row_time(rows, took.saturating_sub(commit));
        if let Some(rate) = self.rate.filter(|rate| *rate > 0) {
            let cost = Duration::from_secs_f64(rows as f64 / rate as f64);
            // What was not used before is not saved up.
            let start = self
                .paid_until
                .map_or(now, |until| until.max(now.checked_sub(took).unwrap_or(now)));
            self.paid_until = Some(start + cost);
        }
    }

    /// Learns how long a row takes. A chunk's own cost is part of its time: of few rows, or of a
    /// moment, it says nothing about a row, and what was thought before fades.
    fn learn_row_time(&mut self, rows: u64, took: Duration) {
        if rows < SAMPLE_ROWS_MIN || took < SAMPLE_TIME_MIN {
            if let Some(usual) = self.usual {
                self.recent = self.recent * 0.7 + usual * 0.3;
            }
            return;
        }
        let per_row = took.as_secs_f64() / rows as f64;
        self.recent = if self.recent == 0.0 { per_row } else { self.recent * 0.5 + per_row * 0.5 };
        // The usual time follows down at once and up slowly, so that a load that stays becomes
        // usual after a hundred chunks.
        self.usual = Some(match self.usual {
            Some(usual) if self.recent < usual => self.recent,
            Some(usual) => usual * 0.98 + self.recent * 0.02,
            None => self.recent,
        });
    }

    /// The worst load, and what it is.
    pub(crate) fn load(&self, now: Instant) -> (f64, String) {
        if !self.minds_health {
            return (0.0, String::new());
        }
        let mut worst = (0.0, String::new());
        let mut take = |load: f64, what: String| {
            if load > worst.0 {
                worst = (load, what);
            }
        };
        match &self.health {
            Some((at, _, _)) if now.duration_since(*at) > STALE_AFTER => {
                let age = now.duration_since(*at).as_secs();
                take(1.0, format!("the server's health could not be read for {age} s"));
            }
            Some((_, load, shown)) => take(*load, shown.clone()),
            // It could never be read: from the first tries on that is bad, too.
            None if self.began.is_some_and(|at| now.duration_since(at) > STALE_AFTER) => {
                take(1.0, "the server's health could not be read".to_owned());
            }
            None => {}
        }
        let limit = COMMIT_LIMIT.as_secs_f64();
        take(
            (self.commit / limit).min(OWN_LOAD_MAX),
            format!("COMMIT takes {:.0} ms (limit {:.0} ms)", self.commit * 1e3, limit * 1e3),
        );
        if let Some(usual) = self.usual {
            let times = self.recent / usual;
            take(
                (times / SLOWDOWN_LIMIT).min(OWN_LOAD_MAX),
                format!("a row takes {times:.1} times its usual time (limit {SLOWDOWN_LIMIT})"),
            );
        }
        worst
    }

    /// Whether the server is so unwell that no chunk should begin.
    pub(crate) fn must_hold(&self, now: Instant) -> bool {
        self.load(now).0 >= HOLD_FROM
    }

    /// What to do after a chunk. It may be to halve, which is said once a second.
    pub(crate) fn advice(&mut self, now: Instant) -> Advice {
        let (load, _) = self.load(now);
        let halve = load >= 1.0
            && self.halved_at.is_none_or(|at| now.duration_since(at) > Duration::from_secs(1));
        if halve {
            self.halved_at = Some(now);
        }
        let pause_share = if load < SHED_FROM {
            0.0
        } else if load < 1.0 {
            (load - SHED_FROM) / (1.0 - SHED_FROM)
        } else {
            1.0 + load
        };
        Advice { grow: load < GROW_BELOW, halve, hold: load >= HOLD_FROM, pause_share }
    }

    /// How long to wait after a chunk that took so long.
    pub(crate) fn pause(&self, now: Instant, advice: &Advice, took: Duration) -> Duration {
        let for_rate =
            self.paid_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        self.breather(advice, took).max(for_rate)
    }

    /// The same for the server and for others alone, whatever the rate.
    pub(crate) fn breather(&self, advice: &Advice, took: Duration) -> Duration {
        let for_health = took.mul_f64(advice.pause_share.min(20.0)).min(PAUSE_MAX);
        let for_company = took.mul_f64(COMPANY_PAUSE).clamp(COMPANY_PAUSE_MIN, COMPANY_PAUSE_MAX);
        if self.leaves_room() { for_health.max(for_company) } else { for_health }
    }

    /// Whether it makes room for others. Whoever names a rate has decided how much they need.
    fn leaves_room(&self) -> bool {
        self.minds_health && self.rate.is_none() && matches!(self.company, Company::Seen(..))
    }

    /// What holds it back at present, for people; `None`: nothing.
    pub(crate) fn reason(&self, now: Instant) -> Option<String> {
        let (load, shown) = self.load(now);
        if load >= SHED_FROM {
            return Some(shown);
        }
        let rate = self.rate.filter(|rate| *rate > 0);
        if let (Some(rate), true) = (rate, self.paid_until.is_some_and(|until| until > now)) {
            return Some(format!("rate {rate} rows/s"));
        }
        match self.company {
            Company::Seen(_, others) if self.leaves_room() => Some(in_company(others)),
            _ => None,
        }
    }

    /// Why chunks are shorter than they could be where nothing else holds them back; `None`: they are
    /// not.
    pub(crate) fn gentle_start(&self) -> Option<String> {
        (!self.takes_full_time()).then(|| GENTLE_START.to_owned())
    }

    /// At the rate, no chunk should be larger than half a second's worth, or the rate would come in
    /// gusts.
    pub(crate) fn rows_max(&self) -> Option<u64> {
        self.rate.filter(|rate| *rate > 0).map(|rate| (rate / 2).max(1))
    }
}

fn in_company(others: Option<u64>) -> String {
    match others {
        Some(1) => "others at work: 1 session".to_owned(),
        Some(count) => format!("others at work: {count} sessions"),
        None => "others who may be at work: this login may not see them".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Signal;

    fn health(load: f64) -> Health {
        Health {
            others: Some(0),
            signals: vec![Signal { name: "lock waits", load, shown: "some".into() }],
            ..Health::default()
        }
    }

    #[test]
    fn zones() {
        let now = Instant::now();
        let mut pace = Pace::new(true, None);
        for (load, grow, halve, hold) in [
            (0.1, true, false, false),
            (0.5, false, false, false),
            (0.8, false, false, false),
            (1.2, false, true, false),
            (3.0, false, false, true),
        ] {
            pace.read(now, &health(load));
            let advice = pace.advice(now);
            assert_eq!((advice.grow, advice.halve, advice.hold), (grow, halve, hold), "{load}");
            assert_eq!(advice.pause_share > 0.0, load >= 0.7);
            assert_eq!(pace.reason(now).is_some(), load >= 0.7);
        }
    }

    #[test]
    fn small_chunks_do_not_hold_themselves_small() {
        let now = Instant::now();
        let mut pace = Pace::new(true, None);
        for _ in 0..10 {
            pace.observe(now, 10_000, Duration::from_millis(50), Duration::ZERO);
        }
        // Something slows it down, so that chunks become small.
        for _ in 0..5 {
            pace.observe(now, 1_000, Duration::from_millis(50), Duration::ZERO);
        }
        assert!(!pace.advice(now).grow);
        // Then a chunk is nearly nothing but its own cost.
        for _ in 0..10 {
            pace.observe(now, 20, Duration::from_millis(3), Duration::ZERO);
        }
        assert!(pace.advice(now).grow, "{:?}", pace.load(now));
    }

    #[test]
    fn chunks_are_short_while_others_wait_for_them() {
        let now = Instant::now();
        let mut pace = Pace::new(true, None);
        assert_eq!(pace.time_share(), SHARE_FIRST);
        assert_eq!((pace.reason(now), pace.gentle_start()), (None, Some(GENTLE_START.to_owned())));
        for _ in 0..30 {
            pace.read(now, &health(0.0));
        }
        assert_eq!((pace.time_share(), pace.gentle_start()), (1.0, None));
        pace.read(now, &health(0.5));
        assert_eq!(pace.time_share(), 0.25);
        for _ in 0..9 {
            pace.read(now, &health(0.5));
        }
        assert_eq!(pace.time_share(), SHARE_FIRST);
        assert_eq!(Pace::new(false, None).time_share(), 1.0);
    }

    #[test]
    fn others_at_work_are_left_room() {
        let mut now = Instant::now();
        let busy = Health { others: Some(3), ..health(0.0) };
        let hidden = Health { others: None, ..health(0.0) };
        let mut pace = Pace::new(true, None);
        for _ in 0..30 {
            pace.read(now, &health(0.0));
        }
        let alone = pace.advice(now);
        assert_eq!(
            (pace.pause(now, &alone, Duration::from_secs(1)), pace.reason(now)),
            (Duration::ZERO, None)
        );
        for reading in [&busy, &hidden] {
            pace.read(now, reading);
            assert_eq!(pace.time_share(), SHARE_FIRST);
            let advice = pace.advice(now);
            let pause = |took| pace.pause(now, &advice, Duration::from_millis(took)).as_millis();
            assert_eq!([pause(1), pause(20), pause(1_000)], [100, 200, 500]);
            assert!(advice.grow && pace.reason(now).is_some());
        }
        // A moment without them is no end of their work.
        pace.read(now, &health(0.0));
        assert!(pace.reason(now).is_some());
        now += COMPANY_FOR;
        pace.read(now, &health(0.0));
        assert_eq!(pace.reason(now), None);
        assert!(pace.time_share() > SHARE_FIRST);
        let mut paced = Pace::new(true, Some(1_000_000));
        paced.read(now, &busy);
        assert_eq!((paced.leaves_room(), paced.reason(now)), (false, None));
        let mut unminded = Pace::new(false, None);
        unminded.read(now, &busy);
        assert_eq!((unminded.time_share(), unminded.reason(now)), (1.0, None));
    }

    #[test]
    fn a_stale_reading_counts_as_bad() {
        let now = Instant::now();
        let mut pace = Pace::new(true, None);
        pace.read(now, &health(0.0));
        let later = now + Duration::from_secs(30);
        assert!(pace.load(later).0 >= 1.0);
        assert!(pace.load(later).1.contains("30 s"));
        assert_eq!(Pace::new(false, None).load(later).0, 0.0);
    }

    #[test]
    fn what_chunks_tell_slows_down_and_is_forgotten_and_never_holds() {
        let now = Instant::now();
        let mut pace = Pace::new(true, None);
        for _ in 0..10 {
            pace.observe(now, 5_000, Duration::from_millis(20), Duration::from_millis(2));
        }
        assert!(pace.advice(now).grow);
        // One that waited for somebody's row lock, and a COMMIT that waited for the disk.
        pace.observe(now, 5_000, Duration::from_secs(20), Duration::from_secs(10));
        let advice = pace.advice(now);
        assert!(advice.halve && !advice.hold && !advice.grow, "{advice:?}");
        for _ in 0..40 {
            pace.observe(now, 10, Duration::from_millis(5), Duration::from_millis(2));
        }
        let advice = pace.advice(now);
        assert!(advice.grow, "{advice:?} {:?}", pace.load(now));
    }

    #[test]
    fn a_rate_is_kept_and_not_saved_up() {
        let mut now = Instant::now();
        let began = now;
        let mut pace = Pace::new(true, Some(1000));
        let mut rows = 0;
        while rows < 10_000 {
            let took = Duration::from_millis(20);
            now += took;
            rows += 250;
            pace.observe(now, 250, took, Duration::ZERO);
            let advice = pace.advice(now);
            now += pace.pause(now, &advice, took);
        }
        let seconds = now.duration_since(began).as_secs_f64();
        assert!((9.5..10.5).contains(&seconds), "{seconds}");
        now += Duration::from_secs(60);
        pace.observe(now, 1000, Duration::from_millis(20), Duration::ZERO);
        let advice = pace.advice(now);
        assert!(pace.pause(now, &advice, Duration::from_millis(20)) > Duration::from_millis(900));
        assert_eq!(pace.rows_max(), Some(500));
    }
}
