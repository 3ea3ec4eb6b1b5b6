//! What a database must be able to do so that its tables can be loaded bare.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use dunlin_model::moves::TableName;
use serde::{Deserialize, Serialize};

use super::super::ports::Written;
use crate::TargetError;

/// What is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefinitionKind {
    /// An index that is not unique.
    Index,
    /// A foreign key.
    ForeignKey,
}

/// A part of a table's definition that costs time with every row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// What it is.
    pub kind: DefinitionKind,
    /// Its name.
    pub name: String,
    /// The table that it is of; of a foreign key, the one that refers.
    pub table: TableName,
    /// A foreign key's columns.
    pub columns: Vec<String>,
    /// The table that a foreign key refers to, as SQL.
    pub to: Option<String>,
    /// Its columns that are referred to.
    pub to_columns: Vec<String>,
    /// The statement that drops it.
    pub drop: String,
    /// The statements that make it what it was, in order, whatever the session's settings.
    pub restore: Vec<String>,
    /// Why it stays; `None`: it can be dropped, and be restored exactly.
    #[serde(skip)]
    pub stays: Option<String>,
}

/// What may be dropped of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDefinitions {
    /// The table.
    pub table: TableName,
    /// Why nothing of it may be dropped, and what would change that.
    pub stays: Option<String>,
    /// Tables that refer to it and are none of those that were asked about.
    pub referred_by: Vec<String>,
    /// Its foreign keys and indexes, in the order in which they were made.
    pub definitions: Vec<Definition>,
}

/// A target whose tables can be loaded bare. All but the looks belong to an open transaction: what
/// is done here is done or not done together with the store's entries about it.
#[async_trait]
pub trait BareTarget: Send {
    /// What may be dropped of these tables while all of them are kept; of foreign keys those between
    /// two of them. It looks only.
    async fn definitions(
        &mut self,
        tables: &[TableName],
    ) -> Result<Vec<TableDefinitions>, TargetError>;

    /// Which of these tables this move keeps. It looks only.
    async fn kept(
        &mut self,
        name: &str,
        tables: &[TableName],
    ) -> Result<Vec<TableName>, TargetError>;

    /// Keeps tables: waits for those who write them, and lets nobody but this move's transactions
    /// write them any more, whether we live or not.
    async fn keep(&mut self, name: &str, tables: &[TableName]) -> Result<(), TargetError>;

    /// Lets others write them from the commit on, without waiting for those who only read; what kept
    /// them out may still be there.
    async fn admit(&mut self, name: &str, tables: &[TableName]) -> Result<(), TargetError>;

    /// Lets others write them again, and takes away what kept them out. One that isn't kept stays as it is.
    async fn open(&mut self, name: &str, tables: &[TableName]) -> Result<(), TargetError>;

    /// Whether there is a row.
    async fn has_rows(&mut self, table: &TableName) -> Result<bool, TargetError>;

    /// Empties tables, all at once; nothing is cascaded.
    async fn empty(&mut self, tables: &[TableName]) -> Result<(), TargetError>;

    /// Drops it.
    async fn drop_definition(&mut self, definition: &Definition) -> Result<(), TargetError>;

    /// Makes it what it was. `by_row` in an error means that a row is in its way.
    async fn restore_definition(&mut self, definition: &Definition) -> Result<(), TargetError>;

    /// The keys of rows that a dropped foreign key would refuse, at most so many. `of` has the key's
    /// columns. It looks only.
    async fn orphans(
        &mut self,
        of: &Written,
        key: &Definition,
        limit: u32,
    ) -> Result<RecordBatch, TargetError>;

    /// Has the server count a table anew, which it needs for good plans.
    async fn analyse(&mut self, table: &TableName) -> Result<(), TargetError>;
}
