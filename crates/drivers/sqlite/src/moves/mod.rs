//! Moves: the file as a source, under one snapshot, and as a target.
//!
//! A source leaves everything alone, as `look` says. On a file with a rollback journal it holds a
//! lock that lets others read; they can't commit before the move has read its last row. With a
//! write-ahead log nobody waits.

mod catalogue;
mod decimal;
mod declared;
mod decode;
mod encode;
mod moment;
mod normalise;
mod numbers;
mod read;
mod refer;
mod source;
mod spelling;
mod store;
mod target;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use dunlin_engine::TargetError;
use dunlin_engine::moves::{MoveConnector, MoveTarget, Source};

use crate::connector::SqliteConnector;

#[async_trait]
impl MoveConnector for SqliteConnector {
    async fn source(&self) -> Result<Box<dyn Source>, TargetError> {
        Ok(Box::new(source::SqliteSource::open(Arc::clone(self.file())).await?))
    }

    fn file(&self) -> Option<PathBuf> {
        std::fs::canonicalize(&SqliteConnector::file(self).path).ok()
    }

    async fn move_target(&self) -> Result<Box<dyn MoveTarget>, TargetError> {
        let (file, length) = (Arc::clone(self.file()), Arc::clone(self.lease_length()));
        Ok(Box::new(target::SqliteMoveTarget::open(file, length).await?))
    }
}
