//! What is done to the rows of a chunk: the file's statements, or a program.

use dunlin_model::KeyRange;

use super::rows::Rows;
use super::shared::Shared;
use crate::{Chunk, Committed, Target, TargetError};

/// What a committed chunk came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) committed: Committed,
    /// Rows written, where that is known.
    pub(crate) written: Option<u64>,
}

/// Does one lane's chunks.
pub(crate) enum Doer {
    /// The statements of a file, on the server.
    Statements,
    /// Row code: a program of this lane's own.
    Rows(Box<Rows>),
}

impl Doer {
    /// Does a chunk and commits it with its checkpoint.
    pub(crate) async fn commit(
        &mut self,
        shared: &Shared,
        target: &mut dyn Target,
        chunk: &Chunk,
    ) -> Result<Done, TargetError> {
        match self {
            Self::Statements => {
                let committed = target.commit_chunk(&shared.lease, &shared.work, chunk).await?;
                let written = committed.rows.first().copied().flatten();
                let written = if chunk.range == KeyRange::Nulls {
                    Some(written.unwrap_or_default())
                } else {
                    written
                };
                Ok(Done { committed, written })
            }
            Self::Rows(rows) => rows.commit(shared, target, chunk).await,
        }
    }

    /// Ends what a lane keeps running.
    pub(crate) async fn end(&mut self) {
        if let Self::Rows(rows) = self {
            rows.end().await;
        }
    }
}
