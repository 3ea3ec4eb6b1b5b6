//! A source whose rows pass the gate: with each batch a person is heard, and it is told how far it is.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use dunlin_model::moves::{Catalogue, Field, FileMistake, GuessedColumn, Mapping, TableName};
use tokio::sync::mpsc;

use super::gate::Gate;
use super::ports::{Batches, ColumnOf, Extract, Source, Spelling, UnreadRecords};
use super::read_rows::ReadRows;
use crate::TargetError;

/// About how many rows each table has.
pub(super) type Estimates = Arc<HashMap<TableName, u64>>;

/// A source behind the gate.
pub(super) struct Gated {
    source: Box<dyn Source>,
    gate: Gate,
    estimates: Estimates,
}

impl Gated {
    pub(super) fn new(source: Box<dyn Source>, gate: Gate, catalogue: &[(TableName, u64)]) -> Self {
        let estimates = Arc::new(catalogue.iter().cloned().collect());
        Self { source, gate, estimates }
    }
}

#[async_trait]
impl Source for Gated {
    fn files(&mut self, mapping: &Mapping) -> Result<bool, Vec<FileMistake>> {
        self.source.files(mapping)
    }

    fn remember(&mut self, columns: &[GuessedColumn]) {
        self.source.remember(columns);
    }

    fn guessed(&mut self) -> Vec<GuessedColumn> {
        self.source.guessed()
    }

    async fn unread(&mut self, table: &TableName) -> Result<UnreadRecords, TargetError> {
        self.source.unread(table).await
    }

    async fn catalogue(&mut self) -> Result<Catalogue, TargetError> {
        self.source.catalogue().await
    }

    async fn describe(&mut self, name: &TableName, query: &str) -> Result<Vec<Field>, TargetError> {
        self.source.describe(name, query).await
    }

    async fn spelt_otherwise(
        &mut self,
        spelling: &Spelling,
    ) -> Result<Option<String>, TargetError> {
        self.source.spelt_otherwise(spelling).await
    }

    async fn compared(
        &mut self,
        key: &ColumnOf,
        values: &ColumnOf,
    ) -> Result<Option<String>, TargetError> {
        self.source.compared(key, values).await
    }

    async fn reader(&mut self) -> Result<Option<Box<dyn Source>>, TargetError> {
        let (gate, estimates) = (self.gate.clone(), Arc::clone(&self.estimates));
        let reader = self.source.reader().await?;
        Ok(reader.map(|source| Box::new(Self { source, gate, estimates }) as Box<dyn Source>))
    }

    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError> {
        let (own, mut received) = mpsc::channel(1);
        let Self { source, gate, estimates } = self;
        let reading = async move {
            let read = source.read(extract, &own).await;
            drop(own);
            read
        };
        let table = extract.table.to_string();
        let estimate = estimates.get(&extract.table).copied();
        // It owns the queue's end: where a person stops the run, the reader finds nobody there.
        let passing = async move {
            while let Some(batch) = received.recv().await {
                gate.pass().await?;
                let Ok(batch) = batch else {
                    // Nobody there: whoever has gone has a reason of its own.
                    let _ = batches.send(batch).await;
                    continue;
                };
                gate.read(&table, batch.count() as u64, estimate);
                for piece in pieces(&batch, gate.chunk_rows(usize::MAX)) {
                    if batches.send(Ok(piece)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        };
        let (read, passed) = tokio::join!(reading, passing);
        passed.and(read)
    }
}

/// A batch in pieces of at most so many rows; at least one.
fn pieces(batch: &ReadRows, most: usize) -> impl Iterator<Item = ReadRows> {
    let rows = batch.count();
    (0..rows.max(1)).step_by(most.max(1)).map(move |from| batch.slice(from, most.min(rows - from)))
}
