//! The segments of a walk, and which lane has which. In memory only: the ledger's rows are the truth,
//! and one holder of the lease plans for all lanes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dunlin_model::{Bound, KeyRange, Segment};
use tokio::sync::Notify;

use super::found::Found;
use crate::Mark;

/// What one chunk covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) to: Bound,
    pub(crate) range: KeyRange,
    pub(crate) rows: u64,
}

/// A segment with what has been walked ahead of it.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) segment: Segment,
    /// What the next chunk is to cover, from `segment.upto` or the chunk under way, where that was
    /// settled early.
    pub(crate) next: Option<Stretch>,
    /// Marks after that, in order.
    pub(crate) ahead: VecDeque<Mark>,
    /// Where the walk is: the last mark, or where there is none, what comes before them.
    pub(crate) walked: Bound,
    /// Its rows, where they were found beforehand: then there is nothing to walk.
    pub(crate) found: Option<Found>,
}

impl Seat {
    fn new(segment: Segment, found: Option<Found>) -> Self {
        let walked = segment.upto.clone();
        Self { segment, next: None, ahead: VecDeque::new(), walked, found }
    }

    /// Rows that have been walked and not been done.
    pub(crate) fn rows_ahead(&self) -> u64 {
        self.ahead.iter().map(|mark| mark.rows).sum()
    }

    /// Forgets what was walked: chunks are to be finer than its marks.
    pub(crate) fn walk_again(&mut self) {
        self.next = None;
        self.ahead.clear();
        self.walked = self.segment.upto.clone();
        if let Some(found) = &mut self.found {
            found.again();
        }
    }

    /// Forgets also what was found: it grows old.
    pub(crate) fn lay_down(&mut self) {
        self.found = None;
        self.walk_again();
    }

    /// Whether the walk has come to the segment's end. Rows without a key have no order: there is
    /// nothing to walk.
    pub(crate) fn walked_all(&self) -> bool {
        self.segment.hi == Bound::Nulls || self.found.is_some() || self.walked == self.segment.hi
    }
}

#[derive(Debug, Default)]
struct State {
    free: Vec<Seat>,
    taken: BTreeSet<i64>,
    /// Every segment as it stands.
    positions: BTreeMap<i64, Segment>,
    /// A lane is idle: who has a segment should cut it.
    idle: usize,
    /// Segments that can't be cut any more.
    whole: BTreeSet<i64>,
    next: i64,
}

/// What a lane gets when it asks for work.
pub(crate) enum Offer {
    /// A segment of its own.
    Seat(Box<Seat>),
    /// Nothing is free; others may cut theirs.
    Wait,
    /// Nothing is left at all.
    Nothing,
}

/// The pool of segments.
#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    changed: Notify,
}

impl Board {
    /// `found`: the rows of segments, where they were found beforehand.
    pub(crate) fn new(segments: &[Segment], mut found: BTreeMap<i64, Found>) -> Self {
        let positions: BTreeMap<i64, Segment> =
            segments.iter().map(|segment| (segment.seg, segment.clone())).collect();
        let next = positions.keys().last().map_or(1, |last| last + 1);
        let open = segments.iter().filter(|segment| !segment.is_done());
        let mut free: Vec<Seat> =
            open.map(|segment| Seat::new(segment.clone(), found.remove(&segment.seg))).collect();
        // Taken from the end: lowest numbers first.
        free.reverse();
        let state = State { free, positions, next, ..State::default() };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A segment that nobody has.
    pub(crate) fn take(&self) -> Offer {
        let mut state = self.state();
        if let Some(seat) = state.free.pop() {
            state.taken.insert(seat.segment.seg);
            return Offer::Seat(Box::new(seat));
        }
        if state.taken.is_empty() { Offer::Nothing } else { Offer::Wait }
    }

    /// Waits until something may have changed for an idle lane.
    pub(crate) async fn wait(&self) {
        let changed = self.changed.notified();
        self.state().idle += 1;
        // A time limit covers a notice that came between the look and the wait.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(200), changed).await;
        let mut state = self.state();
        state.idle = state.idle.saturating_sub(1);
    }

    /// Gives a segment back, done or not.
    pub(crate) fn give_back(&self, seat: Seat) {
        let mut state = self.state();
        state.taken.remove(&seat.segment.seg);
        state.positions.insert(seat.segment.seg, seat.segment.clone());
        if !seat.segment.is_done() {
            state.free.push(seat);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Notes how far a segment is.
    pub(crate) fn moved(&self, segment: &Segment) {
        self.state().positions.insert(segment.seg, segment.clone());
    }

    /// Whether an idle lane waits for a piece of this segment.
    pub(crate) fn wants_piece(&self, seg: i64) -> bool {
        let state = self.state();
        state.idle > 0 && state.free.is_empty() && !state.whole.contains(&seg)
    }

    /// This segment is too short to be cut.
    pub(crate) fn keep_whole(&self, seg: i64) {
        self.state().whole.insert(seg);
    }

    /// A number for a new segment.
    pub(crate) fn next_number(&self) -> i64 {
        let mut state = self.state();
        state.next += 1;
        state.next - 1
    }

    /// Adds a piece that was cut off.
    pub(crate) fn add(&self, segment: Segment, found: Option<Found>) {
        let mut state = self.state();
        state.positions.insert(segment.seg, segment.clone());
        state.free.push(Seat::new(segment, found));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Every segment as it stands.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        self.state().positions.values().cloned().collect()
    }

    /// Rows done.
    pub(crate) fn rows(&self) -> u64 {
        self.state().positions.values().map(|segment| segment.rows).sum()
    }

    /// Whether every segment is done.
    pub(crate) fn is_done(&self) -> bool {
        self.state().positions.values().all(Segment::is_done)
    }
}
