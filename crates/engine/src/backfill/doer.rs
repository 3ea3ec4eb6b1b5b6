//! What is done to the rows of a chunk: the file's statements, or a program.

use std::sync::Arc;

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
    /// Whether it can begin with a chunk while the one before is being written.
    pub(crate) fn works_ahead(&self) -> bool {
        match self {
            Self::Statements => false,
            Self::Rows(rows) => rows.works_ahead(),
        }
    }

    /// Does a chunk and commits it with its checkpoint. `next`: what most likely comes after it.
    pub(crate) async fn commit(
        &mut self,
        shared: &Arc<Shared>,
        target: &mut dyn Target,
        chunk: &Chunk,
        next: Option<&KeyRange>,
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
            Self::Rows(rows) => rows.commit(shared, target, chunk, next).await,
        }
    }

    /// Ends what a lane keeps running.
    pub(crate) async fn end(&mut self, shared: &Shared) {
        if let Self::Rows(rows) = self {
            rows.end(shared).await;
        }
    }
}
