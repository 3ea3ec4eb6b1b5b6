//! What a lane does about chunks that fail: smaller, later, and down to the row that is at fault.

use std::sync::atomic::Ordering;

use dunlin_model::{Bound, Key, KeyRange, OnError};

use super::{ChunkFailure, Lane, LaneEnd, Suspect, Turn};
use crate::backfill::board::Seat;
use crate::backfill::shared::News;
use crate::steps::backoff;
use crate::{Checkpoint, Chunk, Deed, ErrorKind, Remedy, TargetError};

/// How often a chunk is tried again after locks and deadlocks before the backfill fails: with
/// backoff and shrinking chunks this takes some minutes.
const RETRIES_MAX: u32 = 30;

/// After so many claims without one commit a segment's beginning gets a segment of its own, half as
/// long each time, to find out which row kills its workers.
const APART_AFTER: u32 = 3;

/// After so many a row that stands apart is held to be the killer, and is not tried again.
const KILLER_AFTER: u32 = 16;

impl Lane {
    /// Where claims in a row led to no commit, the first rows get a segment of their own, fewer with
    /// each claim: a worker that died took with it what it knew, and this is kept in the ledger. If
    /// one row alone goes on killing, it is at fault. `Some`: what became of it without a try.
    pub(super) async fn apart(&mut self, seat: &mut Seat) -> Result<Option<Turn>, TargetError> {
        let attempts = seat.segment.attempts;
        let (true, Bound::Key(hi)) = (attempts >= APART_AFTER, seat.segment.hi.clone()) else {
            return Ok(None);
        };
        let from = seat.segment.upto.clone();
        let halvings = (attempts - APART_AFTER + 1).min(63);
        let spacing = (self.shared.chunk_rows() >> halvings).max(1);
        let marks = self.target.walk(&self.shared.work, &from, &hi, spacing, 1).await?;
        let Some(first) = marks.into_iter().next() else { return Ok(None) };
        if first.key != hi {
            self.cut_at(seat, first.key).await?;
            // Claims count for all segments alike, also for those that nobody came to. So a row
            // that has just been set apart is tried, whatever the count says; dying at it leaves
            // the count as it is in the ledger, and the row apart.
            seat.segment.attempts = 0;
            return Ok(None);
        }
        if attempts < KILLER_AFTER || first.rows > 1 {
            return Ok(None);
        }
        let error = TargetError::new(
            ErrorKind::Statement,
            format!("its worker died {attempts} times in a row while it was at this row"),
        );
        let chunk = Chunk {
            checkpoint: Checkpoint::Segment {
                seg: seat.segment.seg,
                from: from.clone(),
                to: Bound::Key(hi.clone()),
                hi: Bound::Key(hi.clone()),
            },
            range: KeyRange::Between { after: from, upto: hi },
            deed: Deed::Statements,
            lock_first: false,
        };
        Ok(Some(self.poison(seat, &chunk, error).await))
    }

    /// After a chunk that was rolled back.
    pub(super) async fn failed(
        &mut self,
        seat: &mut Seat,
        chunk: &Chunk,
        rows: u64,
        error: TargetError,
    ) -> Turn {
        // The next try may be finer.
        seat.walk_again();
        match error.kind {
            ErrorKind::ShapeChanged => return Turn::End(LaneEnd::Shape),
            // Whoever has no room left has not died: taking the segment up anew would count as that,
            // and in the end blame the row that comes next.
            ErrorKind::LockTimeout | ErrorKind::Conflict | ErrorKind::Exhausted => {
                return self.again(error).await;
            }
            // Nothing failed: as many as there is room for.
            ErrorKind::TooManyBytes { fit } if rows > 1 => {
                self.suspect = Some(Suspect { rows: rows.min(fit.saturating_mul(2)) });
                return Turn::Next;
            }
            // Rows came into the range since it was walked.
            ErrorKind::TooManyBytes { .. } => return self.again(error).await,
            ErrorKind::StatementTimeout if rows > 1 => {
                self.suspect = Some(Suspect { rows });
                return self.again(error).await;
            }
            _ => {}
        }
        if error.kind.remedy() == Remedy::Reconnect {
            return Turn::End(LaneEnd::Broken(error));
        }
        if !error.by_row || chunk.range == KeyRange::Nulls {
            let failure = ChunkFailure { error, key: None };
            return Turn::End(LaneEnd::Failed(Box::new(failure)));
        }
        if rows > 1 {
            self.suspect = Some(Suspect { rows });
            return Turn::Next;
        }
        self.poison(seat, chunk, error).await
    }

    /// Before a chunk could begin: a lock that somebody has on the table is waited for as a chunk
    /// waits for it.
    pub(super) async fn unprepared(&mut self, error: TargetError) -> Turn {
        if error.is_passing() {
            self.again(error).await
        } else {
            Turn::End(broken_or_failed(error))
        }
    }

    /// Smaller, later, and with the rows' locks taken without waiting.
    async fn again(&mut self, error: TargetError) -> Turn {
        self.retries += 1;
        if self.retries > RETRIES_MAX {
            let failure = ChunkFailure { error, key: None };
            return Turn::End(LaneEnd::Failed(Box::new(failure)));
        }
        self.lock_first |= error.kind == ErrorKind::Conflict;
        if error.kind == ErrorKind::Exhausted {
            self.shared.set_trouble(Some(error.to_string()));
        } else {
            self.shared.stumble();
        }
        let pause = backoff(self.retries.min(6));
        self.shared.tell(News::Retrying { error, attempt: self.retries + 1, pause });
        self.shared.sleep(pause).await;
        Turn::Next
    }

    /// The key of a range's only row. A range may go further than that: rows behind it are gone.
    async fn only_key(&mut self, range: &KeyRange) -> Option<Key> {
        match range {
            KeyRange::Between { after, upto } => {
                let marks = self.target.walk(&self.shared.work, after, upto, 1, 1).await;
                let first = marks.ok().and_then(|marks| marks.into_iter().next());
                Some(first.map_or_else(|| upto.clone(), |mark| mark.key))
            }
            KeyRange::Keys(keys) => keys.first().cloned(),
            KeyRange::Exactly(_) | KeyRange::Nulls => None,
        }
    }

    /// A row that fails alone.
    async fn poison(&mut self, seat: &mut Seat, chunk: &Chunk, error: TargetError) -> Turn {
        let Checkpoint::Segment { to, .. } = &chunk.checkpoint else {
            let failure = ChunkFailure { error, key: None };
            return Turn::End(LaneEnd::Failed(Box::new(failure)));
        };
        self.suspect = None;
        let full = self.shared.quarantined.load(Ordering::Relaxed) >= self.shared.quarantine_max();
        if self.shared.on_error == OnError::Stop || full {
            let error = if full && self.shared.on_error == OnError::Quarantine {
                error.note("the quarantine is full: so many rows fail that it is not about rows")
            } else {
                error
            };
            let failure = ChunkFailure { error, key: self.only_key(&chunk.range).await };
            return Turn::End(LaneEnd::Failed(Box::new(failure)));
        }
        let aside = Chunk {
            deed: Deed::SetAside { error: error.to_string() },
            lock_first: false,
            ..chunk.clone()
        };
        match self.target.commit_chunk(&self.shared.lease, &self.shared.work, &aside).await {
            Ok(noted) => {
                // Rows may have come into the range since it was walked, or have left it.
                let count = noted.rows.first().copied().flatten().unwrap_or(1);
                self.shared.quarantined.fetch_add(count, Ordering::Relaxed);
                self.advance(seat, to.clone(), &chunk.range);
                seat.walk_again();
                self.shared.tell(News::SetAside { error, count });
                Turn::Next
            }
            Err(error) => self.failed_aside(error).await,
        }
    }

    async fn failed_aside(&mut self, error: TargetError) -> Turn {
        match error.kind.remedy() {
            _ if error.is_passing() => self.again(error).await,
            _ => Turn::End(broken_or_failed(error)),
        }
    }
}

pub(super) fn broken_or_failed(error: TargetError) -> LaneEnd {
    match error.kind {
        ErrorKind::ShapeChanged => LaneEnd::Shape,
        kind if kind.remedy() == Remedy::Reconnect => LaneEnd::Broken(error),
        _ => LaneEnd::Failed(Box::new(ChunkFailure { error, key: None })),
    }
}
