//! How many rows the next chunk gets: by the time that chunks take, both ways.
//!
//! After block/spirit's chunk sizer: aim at a time by the 90th percentile of the last chunks, grow by
//! steps, cut hard at once when a chunk takes several times its target. A byte budget is a second
//! limit, for bytes a row are stable where time a row follows the load.

use std::collections::VecDeque;
use std::time::Duration;

/// Chunks that the percentile is taken over: few enough to follow a change of load within seconds.
const SAMPLE_COUNT: usize = 10;

/// What a chunk grows by at most in one step.
const GROWTH_MAX: f64 = 1.5;

/// What it grows by while chunks take less than an eighth of their time: a start, or a filter that
/// takes few rows, must not need twenty steps to find its size.
const GROWTH_FAST: f64 = 4.0;

/// A chunk that takes so many times its target is cut at once.
const CUT_AT: f64 = 5.0;

/// No chunk is larger: a guess that is wrong must not lock a table's whole content.
const ROWS_MAX: u64 = 2_000_000;

/// Time and locks alone make no chunk smaller: what a transaction costs by itself is most of its time
/// then, and fewer rows would only mean more of them.
const ROWS_MIN: f64 = 10.0;

/// So many times more or fewer bytes a row than was thought mean that it is about other rows now: those
/// of a filter that takes few, or the first that it takes all of.
const BYTES_FAR_OFF: f64 = 4.0;

/// Rows of the first chunk: a few milliseconds' worth on any table.
const ROWS_FIRST: u64 = 1_000;

/// Aiming at a share of its time makes a chunk no smaller than this, as long as it takes no more than
/// a tenth of its whole time: on a slow or busy server the share may be less than what a chunk costs
/// without any rows.
const ROWS_AT_A_SHARE: f64 = 100.0;
const SHARE_AT_MOST: f64 = 0.1;

/// Nor does the same share of its bytes. What others write in the same time is counted with what a
/// chunk logs: fewer rows would only have more of that each.
const ROWS_AT_A_SHARE_OF_BYTES: f64 = 50.0;

/// The limits that chunks are sized within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Targets {
    /// The time that a chunk should take.
    pub(crate) time: Duration,
    /// At most so many bytes of rows.
    pub(crate) bytes: u64,
    /// At most so many rows, where a person said so.
    pub(crate) rows_max: Option<u64>,
}

/// What is known of a chunk that was committed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Rows that it covered.
    pub(crate) rows: u64,
    /// How long it took.
    pub(crate) took: Duration,
    /// How long its COMMIT took, of that.
    pub(crate) commit: Duration,
    /// Bytes that were logged or moved for it, if known.
    pub(crate) bytes: Option<u64>,
}

/// Sizes chunks. Pure: time comes in as measured.
#[derive(Debug, Clone)]
pub(crate) struct Sizer {
    targets: Targets,
    /// The share of the target time that is aimed at.
    share: f64,
    rows: f64,
    /// Seconds a row, of the last chunks.
    recent: VecDeque<f64>,
    bytes_per_row: Option<f64>,
    last: Duration,
}

impl Sizer {
    pub(crate) fn new(targets: Targets, row_bytes: Option<u64>) -> Self {
        Self {
            targets,
            share: 1.0,
            rows: ROWS_FIRST as f64,
            recent: VecDeque::with_capacity(SAMPLE_COUNT),
            bytes_per_row: row_bytes.map(|bytes| bytes.max(1) as f64),
            last: Duration::ZERO,
        }
    }

    /// Rows for the next chunk; at least 1.
    pub(crate) fn rows(&self) -> u64 {
        let mut limit = self.targets.rows_max.unwrap_or(ROWS_MAX).min(ROWS_MAX) as f64;
        if let Some(bytes) = self.bytes_per_row {
            let whole = self.targets.bytes as f64 / bytes;
            // Whoever commits behind a chunk waits until its log is on the disk as well as his own.
            limit = limit.min(whole).min((whole * self.share).max(ROWS_AT_A_SHARE_OF_BYTES));
        }
        (self.rows.min(limit).max(1.0)) as u64
    }

    /// Whether the next chunk has all the rows that a person allows one.
    pub(crate) fn is_at_its_most(&self) -> bool {
        self.targets.rows_max.is_some_and(|most| self.rows() >= most)
    }

    /// How long the last chunk took.
    pub(crate) fn last(&self) -> Duration {
        self.last
    }

    /// Aims at this share of the target time from now on, and of the bytes.
    pub(crate) fn aim_at(&mut self, share: f64) {
        self.share = share;
    }

    /// Learns from a committed chunk. `grow`: the server is well enough for more.
    pub(crate) fn observe(&mut self, sample: Sample, grow: bool) {
        self.last = sample.took;
        if sample.rows == 0 {
            return;
        }
        // A COMMIT waits for the disk, however few rows it is for: making chunks smaller shortens
        // the rest only.
        let commit = sample.commit.min(sample.took).as_secs_f64();
        let took = (sample.took.as_secs_f64() - commit).max(1e-6);
        let target = self.time_for_rows(sample.rows, took, commit);
        if let Some(bytes) = sample.bytes {
            let per_row = (bytes as f64 / sample.rows as f64).max(1.0);
            let before = self.bytes_per_row.unwrap_or(per_row);
            let is_far_off = per_row < before / BYTES_FAR_OFF || per_row > before * BYTES_FAR_OFF;
            let weight = if is_far_off { 0.8 } else { 0.3 };
            self.bytes_per_row = Some(before * (1.0 - weight) + per_row * weight);
        }
        if self.recent.len() == SAMPLE_COUNT {
            self.recent.pop_front();
        }
        let per_row = took / sample.rows as f64;
        self.recent.push_back(per_row);
        let size = sample.rows as f64;
        if took >= target * CUT_AT {
            self.recent.clear();
            self.recent.push_back(per_row);
            self.rows = (size * target / took).min(self.rows).max(ROWS_MIN);
            return;
        }
        if took > target * 1.5 {
            // One that is too long is answered at once; the percentile would wait for company.
            self.rows = (size * target / took).min(self.rows).max(ROWS_MIN);
            return;
        }
        let wanted = target / percentile_90(&self.recent);
        if wanted < self.rows {
            self.rows = wanted.max(self.rows / 2.0);
        } else if grow && size >= self.rows * 0.5 {
            // Growth counts only where the chunk was of the size that we asked for.
            let most = if took < target / 8.0 { GROWTH_FAST } else { GROWTH_MAX };
            self.rows = wanted.min(self.rows * most).min(ROWS_MAX as f64);
        }
        self.rows = self.rows.max(ROWS_MIN);
    }

    /// The time that the rows of a chunk should take, COMMIT apart.
    fn time_for_rows(&self, rows: u64, took: f64, commit: f64) -> f64 {
        let whole = self.targets.time.as_secs_f64();
        let target = (whole * self.share).max(1e-3);
        let floor = (took / rows as f64 * ROWS_AT_A_SHARE).min(whole * SHARE_AT_MOST);
        (target - commit).max(target / 2.0).max(floor.min(whole))
    }

    /// Halves: a chunk met a lock, or the server is not well.
    pub(crate) fn halve(&mut self) {
        self.rows = (self.rows.min(self.rows() as f64) / 2.0).max(ROWS_MIN);
    }
}

fn percentile_90(samples: &VecDeque<f64>) -> f64 {
    let mut sorted: Vec<f64> = samples.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() * 9).div_ceil(10).saturating_sub(1);
    sorted.get(index).copied().unwrap_or(1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: Targets =
        Targets { time: Duration::from_millis(500), bytes: 64 << 20, rows_max: None };

    fn run(sizer: &mut Sizer, seconds_per_row: f64, chunks: usize) -> Vec<u64> {
        let mut sizes = Vec::new();
        for _ in 0..chunks {
            let rows = sizer.rows();
            sizes.push(rows);
            let took = Duration::from_secs_f64(0.001 + rows as f64 * seconds_per_row);
            sizer.observe(Sample { rows, took, commit: Duration::ZERO, bytes: None }, true);
        }
        sizes
    }

    #[test]
    fn finds_its_size_in_a_few_chunks() {
        let mut sizer = Sizer::new(TARGETS, None);
        let sizes = run(&mut sizer, 3.5e-6, 12);
        let found = *sizes.last().unwrap() as f64 * 3.5e-6;
        assert!((0.4..0.6).contains(&found), "{sizes:?}");
        assert!(sizes.windows(2).all(|pair| pair[1] as f64 <= pair[0] as f64 * 4.01), "{sizes:?}");
    }

    #[test]
    fn follows_a_change_of_load_within_one_chunk() {
        let mut sizer = Sizer::new(TARGETS, None);
        run(&mut sizer, 3.5e-6, 20);
        let slow = run(&mut sizer, 35e-6, 2);
        assert!((slow[1] as f64) * 35e-6 < 0.75, "{slow:?}");
        let before = sizer.rows();
        let fast = run(&mut sizer, 3.5e-6, 12);
        assert!(*fast.last().unwrap() > before * 5, "{before} {fast:?}");
    }

    #[test]
    fn a_slow_disk_makes_no_chunk_tiny() {
        let mut sizer = Sizer::new(TARGETS, None);
        sizer.aim_at(0.02);
        let commit = Duration::from_millis(12);
        for _ in 0..20 {
            let rows = sizer.rows();
            let took = commit + Duration::from_secs_f64(rows as f64 * 10e-6);
            sizer.observe(Sample { rows, took, commit, bytes: None }, true);
        }
        // Half of the 10 ms are for rows.
        assert!((400..600).contains(&sizer.rows()), "{}", sizer.rows());
    }

    #[test]
    fn a_share_of_the_time_leaves_a_chunk_some_rows() {
        // A chunk costs 20 ms here without a single row, and its rows 10 us each.
        let mut sizer = Sizer::new(TARGETS, None);
        sizer.aim_at(0.004);
        for _ in 0..30 {
            let rows = sizer.rows();
            let took = Duration::from_secs_f64(0.02 + rows as f64 * 10e-6);
            sizer.observe(Sample { rows, took, commit: Duration::ZERO, bytes: None }, true);
        }
        assert!((90..110).contains(&sizer.rows()), "{}", sizer.rows());
        // Rows of 10 ms each: a tenth of the whole time is all they get.
        let mut sizer = Sizer::new(TARGETS, None);
        sizer.aim_at(0.004);
        let mut rows = 0;
        for _ in 0..30 {
            rows = sizer.rows();
            let took = Duration::from_secs_f64(rows as f64 * 10e-3);
            sizer.observe(Sample { rows, took, commit: Duration::ZERO, bytes: None }, true);
        }
        assert!((4..=10).contains(&rows), "{rows}");
    }

    #[test]
    fn a_share_is_one_of_bytes_as_well() {
        let targets = Targets { bytes: 8 << 20, ..TARGETS };
        let sized = |share: f64, bytes_per_row: u64| {
            let mut sizer = Sizer::new(targets, None);
            sizer.aim_at(share);
            for _ in 0..30 {
                let rows = sizer.rows();
                let took = Duration::from_secs_f64(rows as f64 * 1e-6);
                let bytes = Some(rows * bytes_per_row);
                sizer.observe(Sample { rows, took, commit: Duration::ZERO, bytes }, true);
            }
            sizer.rows()
        };
        // 32 KiB of log for whoever commits behind it, rather than 2 ms of rows.
        assert_eq!(sized(0.004, 400), 83);
        assert!((300..400).contains(&sized(0.016, 400)), "{}", sized(0.016, 400));
        assert!(sized(1.0, 400) > 20_000, "{}", sized(1.0, 400));
        // Others log megabytes meanwhile.
        assert_eq!(sized(0.004, 20_000), 50);
        // But no more than what a chunk may have in any case.
        assert_eq!(sized(0.004, 1 << 20), 8);
    }

    #[test]
    fn bytes_and_rows_are_limits() {
        let mut sizer = Sizer::new(Targets { bytes: 1 << 20, ..TARGETS }, Some(1024));
        run(&mut sizer, 1e-7, 20);
        assert_eq!(sizer.rows(), 1024);
        // A filter takes hardly any row: the table's average must not hold chunks small for long,
        // and where it takes all of them again that shows at once.
        let mut sizer = Sizer::new(Targets { bytes: 1 << 20, ..TARGETS }, Some(1024));
        let chunk = |sizer: &mut Sizer, bytes_per_row: u64| {
            let rows = sizer.rows();
            let took = Duration::from_secs_f64(rows as f64 * 1e-7);
            let bytes = Some(rows * bytes_per_row);
            sizer.observe(Sample { rows, took, commit: Duration::ZERO, bytes }, true);
            rows
        };
        for _ in 0..8 {
            chunk(&mut sizer, 0);
        }
        assert!(chunk(&mut sizer, 0) > 400_000, "{}", sizer.rows());
        chunk(&mut sizer, 1024);
        assert!(sizer.rows() < 1_500, "{}", sizer.rows());
        let mut sizer = Sizer::new(Targets { rows_max: Some(10), ..TARGETS }, None);
        run(&mut sizer, 1e-7, 20);
        assert_eq!(sizer.rows(), 10);
        for _ in 0..10 {
            sizer.halve();
        }
        assert_eq!(sizer.rows(), 10);
    }
}
