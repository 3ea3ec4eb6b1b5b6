//! One worker: takes a segment, and commits chunk after chunk of it over its own connection.

mod failing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dunlin_model::{Bound, Key, KeyRange, Segment};

use self::failing::broken_or_failed;
use super::board::{Offer, Seat, Stretch};
use super::doer::{Doer, Done};
use super::marks::{next_chunk, spacing, walk};
use super::shared::{Order, Shared};
use super::sizer::Sample;
use crate::job::Urgency;
use crate::{Checkpoint, Chunk, Deed, ErrorKind, Target, TargetError, failpoint};

/// How long a lane holds for the server's health before it gives its connection back.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// How a lane ended.
#[derive(Debug)]
pub(crate) enum LaneEnd {
    /// Nothing is left for it, or it was told to leave; its segment is back on the board.
    Left,
    /// The table has another shape than was planned for.
    Shape,
    /// A row, a statement or the program failed.
    Failed(Box<ChunkFailure>),
    /// The connection broke, or the fence was lost: the ledger must be read again.
    Broken(TargetError),
}

/// What failed, and where.
#[derive(Debug, Clone)]
pub(crate) struct ChunkFailure {
    /// Why.
    pub(crate) error: TargetError,
    /// The row's key, where one row alone fails.
    pub(crate) key: Option<Key>,
}

/// Where a failing row is being looked for.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    /// Rows from the checkpoint on among which it is.
    rows: u64,
}

/// One lane.
pub(crate) struct Lane {
    shared: Arc<Shared>,
    number: u32,
    target: Box<dyn Target>,
    doer: Doer,
    suspect: Option<Suspect>,
    retries: u32,
    lock_first: bool,
}

/// What became of one chunk.
enum Turn {
    Next,
    End(LaneEnd),
}

impl Lane {
    pub(crate) fn new(
        shared: Arc<Shared>,
        number: u32,
        target: Box<dyn Target>,
        doer: Doer,
    ) -> Self {
        Self { shared, number, target, doer, suspect: None, retries: 0, lock_first: false }
    }

    /// Works until nothing is left, or until told otherwise.
    pub(crate) async fn run(mut self) -> LaneEnd {
        let end = self.work().await;
        self.doer.end(&self.shared).await;
        end
    }

    async fn work(&mut self) -> LaneEnd {
        loop {
            if self.order() == Order::Leave {
                return LaneEnd::Left;
            }
            match self.shared.board.take() {
                Offer::Nothing => return LaneEnd::Left,
                Offer::Wait => self.shared.board.wait().await,
                Offer::Seat(seat) => {
                    let mut seat = *seat;
                    let end = self.segment(&mut seat).await;
                    if end.is_some() {
                        seat.lay_down();
                    }
                    // Whatever is in doubt about it is settled by the ledger, not by the board.
                    self.shared.board.give_back(seat);
                    if let Some(end) = end {
                        return end;
                    }
                }
            }
        }
    }

    fn order(&self) -> Order {
        if self.shared.job.interrupt.urgency() >= Urgency::Finish {
            return Order::Leave;
        }
        self.shared.order(self.number)
    }

    /// Works on one segment; `None`: it is done.
    async fn segment(&mut self, seat: &mut Seat) -> Option<LaneEnd> {
        self.suspect = None;
        self.retries = 0;
        if seat.segment.attempts > 2 {
            // Its chunks have killed their workers, or much else has: begin small.
            let exponent = (seat.segment.attempts - 2).min(10);
            self.suspect = Some(Suspect { rows: 1_000_u64 >> exponent });
        }
        while !seat.segment.is_done() {
            if self.order() == Order::Leave {
                return Some(LaneEnd::Left);
            }
            let turn = match self.apart(seat).await {
                Ok(None) => self.turn(seat).await,
                Ok(Some(turn)) => turn,
                Err(error) => self.unprepared(error).await,
            };
            match turn {
                Turn::Next => {}
                Turn::End(end) => return Some(end),
            }
        }
        None
    }

    async fn turn(&mut self, seat: &mut Seat) -> Turn {
        if self.shared.board.wants_piece(seat.segment.seg)
            && self.suspect.is_none()
            && let Err(error) = self.cut(seat).await
            && !error.is_passing()
        {
            return Turn::End(broken_or_failed(error));
        }
        let want = self.want();
        if let Err(error) = self.look_ahead(seat, want).await {
            return self.unprepared(error).await;
        }
        let upto = seat.segment.upto.clone();
        let Some(stretch) = seat.next.take().or_else(|| next_chunk(seat, &upto, want)) else {
            return Turn::Next;
        };
        let Stretch { to, range, rows } = stretch;
        if let Some(found) = &mut seat.found {
            found.begin(&range);
        }
        if self.may_work_ahead(seat) {
            self.settle_next(seat, &to, want).await;
        }
        let chunk = Chunk {
            checkpoint: Checkpoint::Segment {
                seg: seat.segment.seg,
                from: upto,
                to: to.clone(),
                hi: seat.segment.hi.clone(),
            },
            range,
            deed: Deed::Statements,
            lock_first: self.lock_first,
        };
        failpoint("chunk.sending");
        let began = Instant::now();
        let done = self.commit(seat, &chunk, &to, want).await;
        match done {
            Ok(done) => {
                failpoint("chunk.committed");
                self.committed(seat, &chunk.range, to, rows, began.elapsed(), done).await
            }
            Err(error) => self.failed(seat, &chunk, rows, error).await,
        }
    }

    async fn commit(
        &mut self,
        seat: &mut Seat,
        chunk: &Chunk,
        to: &Bound,
        want: u64,
    ) -> Result<Done, TargetError> {
        let next = seat.next.as_ref().map(|next| next.range.clone());
        let Self { target, doer, shared, .. } = self;
        let committing = doer.commit(shared, target.as_mut(), chunk, next.as_ref());
        if shared.one_connection() {
            return committing.await;
        }
        // The next chunks' ends are found while this one is at work.
        let (done, walked) = tokio::join!(committing, shared.walk_on(seat, want));
        if walked.is_err() {
            // The next turn walks again, and tells if that fails again.
            seat.walk_again_after(to);
        }
        done
    }

    /// Whether the chunk after this one may be begun early. Not where chunks fail: a chunk that is
    /// halved makes another one of the next. And not before a claim's first commit: what kills its
    /// worker would take the chunk before with it, each time.
    fn may_work_ahead(&self, seat: &Seat) -> bool {
        self.doer.works_ahead()
            && seat.segment.hi != Bound::Nulls
            && self.suspect.is_none()
            && self.retries == 0
            && seat.segment.attempts == 0
            && !self.shared.board.wants_piece(seat.segment.seg)
            && self.order() == Order::Go
    }

    /// Settles what the chunk after the one that ends there is to cover, if that can be told.
    async fn settle_next(&mut self, seat: &mut Seat, to: &Bound, want: u64) {
        // If it can't be walked now, the next turn tells.
        let walked = self.walk_on(seat, want).await;
        let is_fit = |mark: &crate::Mark| mark.rows <= want + want / 4;
        if seat.found.is_some() || (walked.is_ok() && seat.ahead.front().is_some_and(is_fit)) {
            seat.next = next_chunk(seat, to, want);
        }
    }

    /// Rows for the next chunk.
    fn want(&self) -> u64 {
        let size = self.shared.chunk_rows();
        match self.suspect {
            Some(suspect) => size.min((suspect.rows / 2).max(1)),
            None => size,
        }
    }

    /// Sees to it that marks for a chunk of that size lie ahead.
    async fn look_ahead(&mut self, seat: &mut Seat, want: u64) -> Result<(), TargetError> {
        let too_long = match &seat.next {
            Some(next) => next.rows > want + want / 2 || self.suspect.is_some(),
            None => seat.ahead.front().is_some_and(|mark| mark.rows > want + want / 4),
        };
        if too_long {
            seat.walk_again();
        }
        if seat.next.is_some() { Ok(()) } else { self.walk_on(seat, want).await }
    }

    /// Walks until there is a mark, or the segment's end.
    async fn walk_on(&mut self, seat: &mut Seat, want: u64) -> Result<(), TargetError> {
        while seat.ahead.is_empty() && !seat.walked_all() {
            if self.shared.one_connection() {
                let spacing = spacing(want);
                walk(self.target.as_mut(), &self.shared, seat, spacing).await?;
            } else {
                self.shared.walk_on(seat, want).await?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, seat: &mut Seat, to: Bound, range: &KeyRange) {
        seat.segment.upto = to;
        seat.segment.attempts = 0;
        if let Some(found) = &mut seat.found {
            found.done(range);
        }
        self.shared.board.moved(&seat.segment);
    }

    async fn committed(
        &mut self,
        seat: &mut Seat,
        range: &KeyRange,
        to: Bound,
        rows: u64,
        took: Duration,
        done: Done,
    ) -> Turn {
        self.retries = 0;
        self.shared.set_trouble(None);
        let written = done.written.unwrap_or(rows);
        // How many rows have no key is known only now.
        let rows = if to == Bound::Nulls { written } else { rows };
        if let Some(suspect) = &mut self.suspect {
            suspect.rows = suspect.rows.saturating_sub(rows);
            if suspect.rows == 0 {
                self.suspect = None;
            }
        }
        seat.segment.rows += written;
        self.advance(seat, to, range);
        let searching = self.suspect.is_some();
        let took = done.committed.held.unwrap_or(took);
        let pause = self.shared.observe(
            &Sample { rows, took, commit: done.committed.commit, bytes: done.committed.bytes },
            written,
            searching,
        );
        self.shared.hear(&done.committed.intent);
        self.rest(pause).await
    }

    /// Waits as the pace demands, and holds while the server is not well.
    async fn rest(&mut self, pause: Duration) -> Turn {
        if !pause.is_zero() {
            self.shared.sleep(pause).await;
        }
        let began = Instant::now();
        while self.shared.must_hold() {
            if self.order() == Order::Leave || began.elapsed() > HOLD_MAX {
                return Turn::End(LaneEnd::Left);
            }
            self.shared.sleep(Duration::from_millis(500)).await;
        }
        Turn::Next
    }

    /// Gives the far half of a segment to an idle lane.
    async fn cut(&mut self, seat: &mut Seat) -> Result<(), TargetError> {
        let seg = seat.segment.seg;
        let Bound::Key(hi) = seat.segment.hi.clone() else {
            self.shared.board.keep_whole(seg);
            return Ok(());
        };
        let left = match &seat.found {
            Some(found) => Some(found.len()),
            None => self.target.estimate(&self.shared.work, &seat.segment.upto, &hi).await?,
        };
        // Less than four chunks are sooner done than shared.
        if left.is_some_and(|rows| rows < self.shared.chunk_rows().saturating_mul(4)) {
            self.shared.board.keep_whole(seg);
            return Ok(());
        }
        let middle = match &seat.found {
            Some(found) => found.middle(),
            None => {
                let work = &self.shared.work;
                self.target.split(work, &seat.segment.upto, &hi, 2).await?.into_iter().next()
            }
        };
        let Some(middle) = middle else {
            self.shared.board.keep_whole(seg);
            return Ok(());
        };
        self.cut_at(seat, middle).await?;
        failpoint("segment.cut");
        Ok(())
    }

    /// Cuts what is left of a segment in two: the near part stays with this lane.
    async fn cut_at(&mut self, seat: &mut Seat, key: Key) -> Result<(), TargetError> {
        let middle = Bound::Key(key.clone());
        let near = Segment { hi: middle.clone(), ..seat.segment.clone() };
        let far = Segment {
            seg: self.shared.board.next_number(),
            lo: middle.clone(),
            upto: middle,
            hi: seat.segment.hi.clone(),
            rows: 0,
            attempts: 0,
        };
        if !self.target.cut_segment(&self.shared.lease, &near, &far).await? {
            let message = "the segment stands elsewhere than its lane left it";
            return Err(TargetError::new(ErrorKind::Fenced, message));
        }
        seat.segment = near;
        seat.walk_again();
        self.shared.board.moved(&seat.segment);
        let beyond = seat.found.as_mut().and_then(|found| found.cut_behind(&key));
        if beyond.is_none() {
            seat.found = None;
        }
        self.shared.board.add(far, beyond);
        Ok(())
    }
}

impl Seat {
    /// As `walk_again`, from where the chunk under way will leave the checkpoint, or the one that is
    /// settled after it.
    fn walk_again_after(&mut self, to: &Bound) {
        self.ahead.clear();
        self.walked = self.next.as_ref().map_or(to, |next| &next.to).clone();
    }
}
