//! How often a run may lose its connections.

use std::time::Instant;

use super::gate::Gate;
use crate::job::Limits;

/// The connections that a run has lost.
///
/// It gives up once they were lost for as long as `reconnect_max` without getting anywhere. A long run
/// may lose them more than once: rows that were written since are a new beginning, and so is a read that
/// went well for as long; but that only so often, for what it reads may be what breaks the server.
#[derive(Default)]
pub(super) struct Breaks {
    since: Option<Instant>,
    last: Option<Instant>,
    reads: u32,
}

impl Breaks {
    /// Another one. Whether the run may begin again; `gate` is that of the attempt that broke.
    pub(super) fn another(&mut self, limits: &Limits, gate: &Gate) -> bool {
        self.at(Instant::now(), limits, gate.has_written(), gate.has_read())
    }

    fn at(&mut self, now: Instant, limits: &Limits, has_written: bool, has_read: bool) -> bool {
        let went_well = |last: Instant| now.duration_since(last) > limits.reconnect_max;
        if has_written {
            (self.since, self.reads) = (None, 0);
        } else if has_read
            && self.last.is_none_or(went_well)
            && self.reads < limits.attempt_count_max
        {
            self.since = None;
            self.reads += 1;
        }
        self.last = Some(now);
        now.duration_since(*self.since.get_or_insert(now)) <= limits.reconnect_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gets_further_may_break_again() {
        let limits = Limits::default();
        let (begin, long) = (Instant::now(), limits.reconnect_max * 2);
        let at = |times: u32| begin + long * times;
        let mut breaks = Breaks::default();
        assert!(breaks.at(begin, &limits, false, false));
        assert!(!breaks.at(at(1), &limits, false, false), "nothing came of it all the time");
        let mut breaks = Breaks::default();
        for times in 0..100 {
            assert!(breaks.at(at(times), &limits, true, true), "it writes each time");
        }
        // A disk that is full: what it reads is nothing new.
        assert!(breaks.at(at(99) + limits.reconnect_max / 2, &limits, false, true));
        assert!(!breaks.at(at(99) + limits.reconnect_max * 5 / 4, &limits, false, true));
        let mut breaks = Breaks::default();
        let often = (0..).take_while(|times| breaks.at(at(*times), &limits, false, true)).count();
        assert_eq!(often, limits.attempt_count_max as usize, "it reads for long, each time");
    }
}
