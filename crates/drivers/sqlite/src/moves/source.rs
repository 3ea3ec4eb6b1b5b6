//! A file as a source.

use std::sync::Arc;

use async_trait::async_trait;
use dunlin_engine::moves::{Batches, ColumnOf, Extract, Source, Spelling};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Catalogue, Field, TableName};
use rusqlite::Connection;

use super::{catalogue, read, spelling};
use crate::address::DatabaseFile;
use crate::control::Control;
use crate::fault::Outcome;
use crate::look::{self, Snapshot};
use crate::worker::Worker;

/// A file under one snapshot. It has one reader: SQLite can't open a second connection on the
/// snapshot of the first.
pub(super) struct SqliteSource {
    file: Arc<DatabaseFile>,
    worker: Worker<Option<Snapshot>>,
}

impl SqliteSource {
    pub(super) async fn open(file: Arc<DatabaseFile>) -> Result<Self, TargetError> {
        let control = Arc::new(Control::default());
        control.wait_for_locks(file.busy_timeout);
        let mut worker = Worker::new(Arc::clone(&control), None);
        let opened = Arc::clone(&file);
        worker
            .call(move |state| {
                *state = Some(look::snapshot(&opened, &control)?);
                Ok(())
            })
            .await?;
        Ok(Self { file, worker })
    }

    async fn look<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&Connection, &Control) -> Outcome<T> + Send + 'static,
    ) -> Result<T, TargetError> {
        let (file, control) = (Arc::clone(&self.file), Arc::clone(self.worker.control()));
        self.worker
            .call(move |state| {
                let snapshot = state.as_ref().ok_or_else(crate::fault::gone)?;
                let answer = job(&snapshot.connection, &control);
                // Before its words: what was changed meanwhile may look damaged.
                snapshot.check(&file)?;
                answer.map_err(|fault| fault.tell(&file, &control))
            })
            .await
    }
}

#[async_trait]
impl Source for SqliteSource {
    async fn catalogue(&mut self) -> Result<Catalogue, TargetError> {
        self.look(|connection, _| catalogue::catalogue(connection)).await
    }

    async fn describe(&mut self, name: &TableName, query: &str) -> Result<Vec<Field>, TargetError> {
        let (of, query) = (name.clone(), query.to_owned());
        let described = self
            .look(move |connection, control| catalogue::describe(connection, control, &of, &query))
            .await;
        described.map_err(|error| match error.kind {
            ErrorKind::Statement => {
                TargetError { message: format!("the query of {name}: {}", error.message), ..error }
            }
            _ => error,
        })
    }

    async fn spelt_otherwise(
        &mut self,
        spelling: &Spelling,
    ) -> Result<Option<String>, TargetError> {
        let spelling = spelling.clone();
        self.look(move |connection, _| spelling::otherwise(connection, &spelling)).await
    }

    async fn compared(
        &mut self,
        key: &ColumnOf,
        values: &ColumnOf,
    ) -> Result<Option<String>, TargetError> {
        let (key, values) = (key.clone(), values.clone());
        self.look(move |connection, _| spelling::compared(connection, &key, &values)).await
    }

    async fn reader(&mut self) -> Result<Option<Box<dyn Source>>, TargetError> {
        Ok(None)
    }

    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError> {
        let (extract, batches) = (extract.clone(), batches.clone());
        self.look(move |connection, control| {
            let put = |batch| batches.blocking_send(Ok(batch)).is_ok();
            read::read(connection, control, &extract, false, put)
        })
        .await
    }
}
