//! Row code: a chunk's rows go to a program, and what it makes of them is written with the checkpoint.
//!
//! Optimistic by default: rows are read unlocked, the program thinks, and only rows that are still as
//! they were read are written. Others are read and sent again. So it does no harm to read a chunk's
//! rows early: while a chunk is written, the program has the rows of the next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dunlin_model::{Key, KeyRange, OnError, Row, RowCode};

use super::doer::Done;
use super::operator::{Errand, Operator};
use super::program::Answers;
use super::shared::{News, Shared};
use crate::ports::bytes_of;
use crate::{
    Chunk, Committed, ErrorKind, GATHERED_BYTES_MAX, Remedy, RowsOutcome, Target, TargetError,
};

/// How often rows that change under the program are read again before the chunk is made smaller.
const MISSES_MAX: u32 = 10;

/// Up to so many missed rows are read one by one; more are read with their whole range.
const READ_SINGLY_MAX: usize = 50;

/// Nobody waits for a program that has no rows locked, so it may take so many times as long as locks
/// may be held: half a second on SQLite, as elsewhere. But no longer: what it has worked out is lost
/// with its process, and more rows change meanwhile.
const THOUGHT_SHARE: u32 = 10;

/// What a lane's program is at.
enum Place {
    /// Nothing.
    Idle(Operator),
    /// A range's rows.
    Away(Errand),
    /// It has answered; nobody has asked for it yet.
    Back(Operator, KeyRange, Result<Answers, TargetError>),
    /// It was lost.
    Lost,
}

/// One lane's row code.
pub(crate) struct Rows {
    locks: bool,
    /// The rows of a chunk that were read last are so large that no more are to be in memory.
    is_large: bool,
    place: Place,
}

impl Rows {
    pub(crate) fn new(code: RowCode, variables: Vec<(String, String)>) -> Self {
        Self {
            locks: code.lock,
            is_large: false,
            place: Place::Idle(Operator::new(code, variables)),
        }
    }

    /// Whether the program may have a chunk's rows before the chunk's turn: rows that it is to have
    /// locked are locked by the chunk's own transaction. Nor beside very large ones.
    pub(crate) fn works_ahead(&self) -> bool {
        !self.locks && !self.is_large
    }

    /// Ends the program. One that is at a chunk's rows gets some time to answer them first: it would
    /// be cut off in the middle of a line.
    pub(crate) async fn end(&mut self, shared: &Shared) {
        let grace = shared.job.limits.grace;
        // Too late, it is ended by being dropped.
        if let Ok(Ok(mut operator)) = tokio::time::timeout(grace, self.operator()).await {
            operator.end().await;
        }
        self.place = Place::Lost;
    }

    /// Does a chunk. `next`: the range of the chunk that most likely follows.
    pub(crate) async fn commit(
        &mut self,
        shared: &Arc<Shared>,
        target: &mut dyn Target,
        chunk: &Chunk,
        next: Option<&KeyRange>,
    ) -> Result<Done, TargetError> {
        let range = match &self.place {
            Place::Away(errand) => Some(&errand.range),
            Place::Back(_, range, _) => Some(range),
            Place::Idle(_) | Place::Lost => None,
        };
        if range != Some(&chunk.range) {
            // Whatever it has is of no use any more.
            let operator = self.operator().await?;
            self.place = Place::Idle(operator);
            let rows = if self.locks {
                target.lock_rows(&shared.lease, &shared.work, chunk).await?
            } else {
                target.read_rows(&shared.work, &chunk.range).await?
            };
            self.send(shared, chunk.range.clone(), rows).await?;
        }
        // Read while the program is at work on this one.
        let next = match next.filter(|_| self.works_ahead()) {
            Some(range) => read_ahead(shared, target, range).await?.map(|rows| (range, rows)),
            None => None,
        };
        self.settle().await?;
        let Place::Back(operator, _, answers) = std::mem::replace(&mut self.place, Place::Lost)
        else {
            return Err(lost());
        };
        self.place = Place::Idle(operator);
        let answers = answers?;
        judge(shared, &answers)?;
        if let Some((range, rows)) = next {
            self.send(shared, range.clone(), rows).await?;
        }
        self.write(shared, target, chunk, answers).await
    }

    /// Writes answers with the checkpoint. Rows that changed meanwhile go to the program once more.
    async fn write(
        &mut self,
        shared: &Arc<Shared>,
        target: &mut dyn Target,
        chunk: &Chunk,
        mut answers: Answers,
    ) -> Result<Done, TargetError> {
        let mut misses = 0;
        loop {
            let outcome = target
                .commit_rows(
                    &shared.lease,
                    &shared.work,
                    chunk,
                    &answers.changes,
                    &answers.rejected,
                )
                .await?;
            let missed = match outcome {
                RowsOutcome::Committed(committed) => {
                    return Ok(done(shared, committed, &answers, self.locks));
                }
                RowsOutcome::Missed(keys) => keys,
            };
            misses += 1;
            if misses > MISSES_MAX {
                return Err(TargetError::new(
                    ErrorKind::Conflict,
                    "rows change faster than the program can handle them",
                )
                .help("set `lock = true` under [rows], or fewer chunk-rows"));
            }
            // First, so that the rows are fresh when the program gets them.
            self.settle().await?;
            let again = read_again(target, shared, chunk, &missed).await?;
            let missed: BTreeSet<&Key> = missed.iter().collect();
            answers.changes.retain(|change| !missed.contains(&change.key));
            answers.rejected.retain(|(key, _)| !missed.contains(key));
            let more = match &mut self.place {
                Place::Idle(operator) | Place::Back(operator, ..) => {
                    operator.transform(shared, &again).await?
                }
                Place::Away(_) | Place::Lost => return Err(lost()),
            };
            answers.changes.extend(more.changes);
            answers.rejected.extend(more.rejected);
            answers.bytes += more.bytes;
            answers.took += more.took;
            judge(shared, &answers)?;
        }
    }

    /// Gives the program rows, and does not wait for its answers.
    async fn send(
        &mut self,
        shared: &Arc<Shared>,
        range: KeyRange,
        rows: Vec<Row>,
    ) -> Result<(), TargetError> {
        self.is_large = rows.iter().map(bytes_of).sum::<usize>() > GATHERED_BYTES_MAX;
        let operator = self.operator().await?;
        self.place = Place::Away(Errand::begin(operator, shared, range, rows));
        // It gets the first of them before the lane goes on: there is one thread for both.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Waits until the program is not at work.
    async fn settle(&mut self) -> Result<(), TargetError> {
        if let Place::Away(errand) = &mut self.place {
            let (operator, answers) = errand.ended().await.ok_or_else(lost)?;
            self.place = Place::Back(operator, errand.range.clone(), answers);
        }
        Ok(())
    }

    /// The operator, once it is not at work; what it brought is dropped.
    async fn operator(&mut self) -> Result<Operator, TargetError> {
        self.settle().await?;
        match std::mem::replace(&mut self.place, Place::Lost) {
            Place::Idle(operator) | Place::Back(operator, ..) => Ok(operator),
            Place::Away(_) | Place::Lost => Err(lost()),
        }
    }
}

fn done(shared: &Shared, committed: Committed, answers: &Answers, locks: bool) -> Done {
    let count = answers.rejected.len() as u64;
    if let Some((_, reason)) = answers.rejected.first() {
        shared.quarantined.fetch_add(count, Ordering::Relaxed);
        shared.tell(News::SetAside { error: rejection(reason), count });
    }
    let held = committed.held.map(|held| sized_by(held, answers.took, locks));
    let committed = Committed { held, bytes: Some(answers.bytes), ..committed };
    Done { committed, written: Some(answers.changes.len() as u64) }
}

/// What the next chunk is sized by, where the time that locks were held is known. The program's time
/// is part of it if it had the rows locked.
fn sized_by(held: Duration, thought: Duration, locks: bool) -> Duration {
    if locks { held } else { held + thought / THOUGHT_SHARE }
}

/// Rejected rows are set aside where the file says so, and end the run elsewhere.
fn judge(shared: &Shared, answers: &Answers) -> Result<(), TargetError> {
    let Some((_, reason)) = answers.rejected.first() else { return Ok(()) };
    let room = shared.quarantine_max().saturating_sub(shared.quarantined.load(Ordering::Relaxed));
    if shared.on_error == OnError::Quarantine && answers.rejected.len() as u64 <= room {
        return Ok(());
    }
    // Chunks are halved until the row stands alone, so that its key can be told.
    Err(rejection(reason))
}

fn rejection(reason: &str) -> TargetError {
    let error =
        TargetError::new(ErrorKind::Statement, format!("the program rejected it: {reason}"));
    TargetError { by_row: true, ..error }
}

fn lost() -> TargetError {
    TargetError::new(ErrorKind::Bug, "what works the row program ended in a panic")
        .help("please report it; running again goes on where it was")
}

/// Reads the rows of the chunk to come. `None`: they can't be read now, which its turn will tell.
async fn read_ahead(
    shared: &Shared,
    target: &mut dyn Target,
    range: &KeyRange,
) -> Result<Option<Vec<Row>>, TargetError> {
    match target.read_rows(&shared.work, range).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if error.kind.remedy() == Remedy::Reconnect => Err(error),
        Err(_) => Ok(None),
    }
}

/// Reads rows that changed under the program once more.
async fn read_again(
    target: &mut dyn Target,
    shared: &Shared,
    chunk: &Chunk,
    missed: &[Key],
) -> Result<Vec<Row>, TargetError> {
    if missed.len() > READ_SINGLY_MAX {
        let missed: BTreeSet<&Key> = missed.iter().collect();
        let rows = target.read_rows(&shared.work, &chunk.range).await?;
        return Ok(rows.into_iter().filter(|row| missed.contains(&row.key)).collect());
    }
    let mut rows: Vec<Row> = Vec::new();
    for key in missed {
        rows.extend(target.read_rows(&shared.work, &KeyRange::Exactly(key.clone())).await?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_counts_by_its_share_unless_it_has_the_rows_locked() {
        let (held, thought) = (Duration::from_millis(20), Duration::from_millis(300));
        assert_eq!(sized_by(held, thought, false), Duration::from_millis(50));
        // Held since the rows were locked, which is before the program had them.
        let held = thought + held;
        assert_eq!(sized_by(held, thought, true), held);
    }
}
