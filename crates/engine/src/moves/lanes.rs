//! Several connections that write one run's chunks at once, each behind a fence of its own.
//!
//! The run's own session reads packs, and writes what has to come in an order. Chunks that only
//! insert have none among themselves: each goes to whichever lane is free.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::chunk::{Chunk, ChunkWriter, Outcome, Rows};
use super::ports::MoveConnector;
use super::session::Session;
use crate::{ErrorKind, TargetError};

/// The lanes of a run. Dropping it with the tasks ends what they are at: nothing of it stays.
pub(super) struct Lanes {
    /// Lanes that are free, or the error that ended one.
    idle: mpsc::Receiver<Result<Session<'static>, TargetError>>,
    back: mpsc::Sender<Result<Session<'static>, TargetError>>,
}

/// Chunks of one rule that are being written. `None`: it failed, and the lanes know why.
pub(super) type Tasks = JoinSet<Option<Outcome>>;

impl Lanes {
    /// Opens as many as are wanted, or as the server takes. `None`: the target has one writer, or no
    /// connection to spare; the run's own session then writes everything.
    pub(super) async fn open(
        connector: &dyn MoveConnector,
        session: &mut Session<'_>,
        count: u32,
    ) -> Result<Option<Self>, TargetError> {
        let count = count.max(1);
        let (back, idle) = mpsc::channel(count as usize);
        for number in 1..=count {
            let target = match connector.move_target().await {
                Err(error) if error.kind == ErrorKind::Exhausted => break,
                target => target?,
            };
            let mut lane = session.beside(target);
            let Some(lease) = lane.target.lane(&session.lease, number).await? else { break };
            lane.lease = lease;
            // There is room for all of them.
            let _ = back.try_send(Ok(lane));
        }
        let is_any = back.capacity() < count as usize;
        Ok(is_any.then_some(Self { idle, back }))
    }

    /// Gives a chunk to a lane, once one is free.
    pub(super) async fn write(
        &mut self,
        tasks: &mut Tasks,
        writer: ChunkWriter,
        rows: Arc<Rows>,
        chunk: Chunk,
    ) -> Result<(), TargetError> {
        let mut lane = self.next().await?;
        let back = self.back.clone();
        tasks.spawn(async move {
            let (lane, outcome) = match writer.write(&mut lane, &rows, &chunk).await {
                Ok(outcome) => (Ok(lane), Some(outcome)),
                Err(error) => (Err(error), None),
            };
            // Nobody is there to take it: the run is over.
            let _ = back.send(lane).await;
            outcome
        });
        Ok(())
    }

    /// A lane for something else, until it is given back.
    pub(super) async fn lend(&mut self) -> Result<Session<'static>, TargetError> {
        self.next().await
    }

    pub(super) fn give_back(&self, lane: Session<'static>) {
        // There is room for all of them.
        let _ = self.back.try_send(Ok(lane));
    }

    /// Why a chunk was not written.
    pub(super) async fn failure(&mut self) -> TargetError {
        loop {
            if let Err(error) = self.next().await {
                return error;
            }
        }
    }

    async fn next(&mut self) -> Result<Session<'static>, TargetError> {
        match self.idle.recv().await {
            Some(lane) => lane,
            None => Err(TargetError::new(ErrorKind::Bug, "no lane is left")),
        }
    }
}

impl Session<'_> {
    /// The same run on another connection.
    fn beside(&self, target: Box<dyn super::ports::MoveTarget>) -> Session<'static> {
        let job = Cow::Owned(self.job.clone().into_owned());
        let (lease, name) = (self.lease.clone(), &self.name);
        Session::of(job, target, lease, name, self.run, self.dry_run, self.gate.clone())
    }
}
