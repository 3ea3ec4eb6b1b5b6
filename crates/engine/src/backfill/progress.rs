//! How far it is, how fast, and when it may be done.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back the rate looks: long enough to smooth chunks, short enough to follow the load.
const WINDOW: Duration = Duration::from_secs(30);

/// Rows and rate over a window of time, and an interval for what is left. Pure: time comes in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Rows covered by chunks, with when.
    chunks: VecDeque<(Instant, u64)>,
    began: Option<Instant>,
    /// The slowest and fastest rate seen over whole windows.
    extremes: Option<(f64, f64)>,
}

impl Progress {
    /// Notes a chunk.
    pub(crate) fn observe(&mut self, now: Instant, rows: u64) {
        self.began.get_or_insert(now);
        self.chunks.push_back((now, rows));
        while self.chunks.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.chunks.pop_front();
        }
        if self.chunks.len() >= 3 {
            let rate = self.rate(now);
            let (least, most) = self.extremes.unwrap_or((rate, rate));
            // Extremes fade, so that one bad minute does not widen the interval for hours.
            let least = (least * 0.98 + rate * 0.02).min(rate);
            let most = (most * 0.98 + rate * 0.02).max(rate);
            self.extremes = Some((least, most));
        }
    }

    /// Rows a second over the window.
    pub(crate) fn rate(&self, now: Instant) -> f64 {
        let Some((first, first_rows)) = self.chunks.front() else { return 0.0 };
        let rows: u64 = self.chunks.iter().map(|(_, rows)| rows).sum();
        let since = now.duration_since(*first).as_secs_f64();
        if since < 0.2 {
            // One chunk tells nothing yet about what lies between two.
            return 0.0;
        }
        // The first chunk ended at the window's beginning: its rows took their time before it.
        (rows - first_rows) as f64 / since
    }

    /// Seconds that are left for so many rows, the least and the most that is expected.
    pub(crate) fn left(&self, now: Instant, rows: Option<u64>) -> (u64, u64) {
        let rate = self.rate(now);
        let (Some(rows), true) = (rows, rate > 0.0) else { return (0, 0) };
        let (least, most) = self.extremes.unwrap_or((rate, rate));
        // The server's estimate of rows is itself good to about a tenth.
        let soonest = rows as f64 * 0.9 / most.max(rate);
        let latest = rows as f64 * 1.1 / least.min(rate).max(rate / 10.0);
        (soonest.floor() as u64, (latest.ceil() as u64).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_interval() {
        let mut now = Instant::now();
        let mut progress = Progress::default();
        assert_eq!(progress.left(now, Some(100)), (0, 0));
        for index in 0..20_u64 {
            now += Duration::from_millis(500);
            progress.observe(now, if index % 2 == 0 { 900 } else { 1100 });
        }
        let rate = progress.rate(now);
        assert!((1900.0..2100.0).contains(&rate), "{rate}");
        let (least, most) = progress.left(now, Some(200_000));
        assert!(least <= 100 && (100..160).contains(&most), "{least} {most}");
        assert_eq!(progress.left(now, None), (0, 0));
    }
}
