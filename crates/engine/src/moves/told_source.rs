//! A source whose errors say that they are the source's: a run speaks with two databases.

use async_trait::async_trait;
use dunlin_model::moves::{Catalogue, Field, FileMistake, GuessedColumn, Mapping, TableName};

use super::look_up::Looking;
use super::ports::{Batches, ColumnOf, Extract, Source, Spelling, UnreadRecords};
use super::run::{MoveJob, SOURCE_NOTE};
use crate::TargetError;

struct ToldSource(Box<dyn Source>);

impl MoveJob {
    /// Opens the source.
    pub(super) async fn open_source(&self) -> Result<Box<dyn Source>, TargetError> {
        let source = self.source.open().await.map_err(told)?;
        let source = Looking::over(source, &self.mapping, self.memory_bytes);
        Ok(Box::new(ToldSource(source)))
    }
}

fn told(error: TargetError) -> TargetError {
    error.note(SOURCE_NOTE)
}

#[async_trait]
impl Source for ToldSource {
    fn files(&mut self, mapping: &Mapping) -> Result<bool, Vec<FileMistake>> {
        self.0.files(mapping)
    }

    fn remember(&mut self, columns: &[GuessedColumn]) {
        self.0.remember(columns);
    }

    fn guessed(&mut self) -> Vec<GuessedColumn> {
        self.0.guessed()
    }

    async fn unread(&mut self, table: &TableName) -> Result<UnreadRecords, TargetError> {
        self.0.unread(table).await.map_err(told)
    }

    async fn catalogue(&mut self) -> Result<Catalogue, TargetError> {
        self.0.catalogue().await.map_err(told)
    }

    async fn describe(&mut self, name: &TableName, query: &str) -> Result<Vec<Field>, TargetError> {
        self.0.describe(name, query).await.map_err(told)
    }

    async fn spelt_otherwise(
        &mut self,
        spelling: &Spelling,
    ) -> Result<Option<String>, TargetError> {
        self.0.spelt_otherwise(spelling).await.map_err(told)
    }

    async fn compared(
        &mut self,
        key: &ColumnOf,
        values: &ColumnOf,
    ) -> Result<Option<String>, TargetError> {
        self.0.compared(key, values).await.map_err(told)
    }

    async fn reader(&mut self) -> Result<Option<Box<dyn Source>>, TargetError> {
        let reader = self.0.reader().await.map_err(told)?;
        Ok(reader.map(|reader| Box::new(Self(reader)) as Box<dyn Source>))
    }

    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError> {
        self.0.read(extract, batches).await.map_err(told)
    }
}
