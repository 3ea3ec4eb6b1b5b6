//! Work on batches of rows, on other threads while the next ones are read.
//!
//! What is read, worked out and compared takes a processor each: read in this task, worked out in
//! others on the runtime's threads, several batches at once, and given back in the order in which they
//! were read. A batch takes some milliseconds, so whatever else these threads are for, such as
//! heartbeats, waits no longer than that. They are the runtime's own rather than those for what
//! blocks, since every thread keeps memory for itself.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use super::read_rows::ReadRows;
use crate::{ErrorKind, TargetError};

/// Batches that are worked on at once, at most: each is in memory with what it becomes.
const AT_ONCE_MAX: usize = 4;

/// What is done with a batch.
type Work<T> = dyn Fn(ReadRows) -> Result<T, TargetError> + Send + Sync;

/// Batches under way.
pub(super) struct Ahead<T> {
    received: mpsc::Receiver<Result<ReadRows, TargetError>>,
    work: Arc<Work<T>>,
    under_way: VecDeque<JoinHandle<Result<T, TargetError>>>,
    at_once: usize,
    /// No batch comes any more; perhaps since reading failed.
    ended: bool,
    failed: Option<TargetError>,
}

impl<T: Send + 'static> Ahead<T> {
    /// Does this with each batch that comes out of the queue.
    pub(super) fn new(
        received: mpsc::Receiver<Result<ReadRows, TargetError>>,
        work: impl Fn(ReadRows) -> Result<T, TargetError> + Send + Sync + 'static,
    ) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            received,
            work: Arc::new(work),
            under_way: VecDeque::new(),
            at_once: processors.clamp(2, AT_ONCE_MAX),
            ended: false,
            failed: None,
        }
    }

    /// What came of the next batch; `None`: that was all.
    ///
    /// # Errors
    /// The reader's, behind what was read before; the work's. Nothing comes after one.
    pub(super) async fn next(&mut self) -> Result<Option<T>, TargetError> {
        loop {
            let has_room = !self.ended && self.under_way.len() < self.at_once;
            if !has_room && self.under_way.is_empty() {
                return self.failed.take().map_or(Ok(None), Err);
            }
            let (received, under_way) = (&mut self.received, &mut self.under_way);
            tokio::select! {
                biased;
                batch = received.recv(), if has_room => self.begin(batch),
                done = first(under_way) => return self.done(done).map(Some),
            }
        }
    }

    fn begin(&mut self, batch: Option<Result<ReadRows, TargetError>>) {
        match batch {
            Some(Ok(batch)) => {
                let work = Arc::clone(&self.work);
                self.under_way.push_back(tokio::spawn(async move { work(batch) }));
            }
            Some(Err(error)) => (self.ended, self.failed) = (true, Some(error)),
            None => self.ended = true,
        }
    }

    fn done(&mut self, done: Result<Result<T, TargetError>, JoinError>) -> Result<T, TargetError> {
        let done = done.unwrap_or_else(|error| {
            Err(TargetError::new(ErrorKind::Bug, format!("rows were not worked out: {error}")))
        });
        if done.is_err() {
            self.under_way.clear();
            self.ended = true;
            // Whoever reads finds nobody there.
            self.received.close();
        }
        done
    }
}

/// The oldest of them, once it is done. Waits for ever where there is none.
async fn first<T>(
    under_way: &mut VecDeque<JoinHandle<Result<T, TargetError>>>,
) -> Result<Result<T, TargetError>, JoinError> {
    match under_way.front_mut() {
        Some(oldest) => {
            let done = oldest.await;
            under_way.pop_front();
            done
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use arrow::record_batch::RecordBatch;

    use super::*;

    fn batch(number: i64) -> ReadRows {
        let column: arrow::array::ArrayRef = Arc::new(Int64Array::from(vec![number]));
        RecordBatch::try_from_iter([("n", column)]).unwrap().into()
    }

    fn number(batch: &ReadRows) -> i64 {
        batch.rows.column(0).as_primitive::<Int64Type>().value(0)
    }

    #[tokio::test]
    async fn results_come_in_the_order_of_the_batches() {
        let (batches, received) = mpsc::channel(2);
        let sending = async move {
            for n in 0..100 {
                batches.send(Ok(batch(n))).await.unwrap();
            }
            batches.send(Err(TargetError::new(ErrorKind::Lost, "gone"))).await.unwrap();
        };
        let taking = async move {
            let mut ahead = Ahead::new(received, |batch| Ok(2 * number(&batch)));
            for n in 0..100 {
                assert_eq!(ahead.next().await.unwrap(), Some(2 * n));
            }
            assert_eq!(ahead.next().await.unwrap_err().kind, ErrorKind::Lost);
            assert_eq!(ahead.next().await.unwrap(), None);
        };
        tokio::join!(sending, taking);
    }

    #[tokio::test]
    async fn whoever_reads_is_told_that_the_work_failed() {
        let (batches, received) = mpsc::channel(1);
        let sending = async move {
            let mut sent = 0;
            while batches.send(Ok(batch(sent))).await.is_ok() {
                sent += 1;
            }
            sent
        };
        let taking = async move {
            let work = |batch: ReadRows| match number(&batch) {
                0..3 => Ok(()),
                3 => Err(TargetError::new(ErrorKind::Statement, "no")),
                _ => panic!("this is no bug of the test"),
            };
            let mut ahead = Ahead::new(received, work);
            for _ in 0..3 {
                assert_eq!(ahead.next().await.unwrap(), Some(()));
            }
            assert_eq!(ahead.next().await.unwrap_err().kind, ErrorKind::Statement);
            assert_eq!(ahead.next().await.unwrap(), None);
        };
        let (sent, ()) = tokio::join!(sending, taking);
        assert!(sent >= 4);
    }
}
