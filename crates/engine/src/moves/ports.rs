//! What a move needs of databases.

use std::path::PathBuf;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use dunlin_model::moves::{Catalogue, Field, FileMistake, GuessedColumn, Mapping, TableName};
use dunlin_model::{Dialect, Lease, LeaseHolder};
use tokio::sync::mpsc;

use super::bare::BareTarget;
use super::read_rows::ReadRows;
use super::rights::{Doing, LackedRight};
use crate::{Connector, TargetError};

/// Makes connections for moves.
#[async_trait]
pub trait MoveConnector: Connector {
    /// Opens the database as a source, under one snapshot, to look only.
    async fn source(&self) -> Result<Box<dyn Source>, TargetError>;

    /// The file that is the whole database, by the one path that leads to it; `None`: it is a server.
    fn file(&self) -> Option<PathBuf> {
        None
    }

    /// Connects to it as a target.
    async fn move_target(&self) -> Result<Box<dyn MoveTarget>, TargetError>;
}

/// Opens a source of moves: a database, or something else that has tables.
#[async_trait]
pub trait SourceConnector: Send + Sync {
    /// Where it is, for people; never a password.
    fn place(&self) -> String;

    /// The file that is the whole database, by the one path that leads to it; `None`: it is something
    /// else.
    fn file(&self) -> Option<PathBuf> {
        None
    }

    /// In which SQL it answers queries; `None`: in none.
    fn dialect(&self) -> Option<Dialect> {
        None
    }

    /// Opens it under one snapshot, to look only.
    async fn open(&self) -> Result<Box<dyn Source>, TargetError>;
}

#[async_trait]
impl<T: MoveConnector> SourceConnector for T {
    fn place(&self) -> String {
        self.describe()
    }

    fn file(&self) -> Option<PathBuf> {
        MoveConnector::file(self)
    }

    fn dialect(&self) -> Option<Dialect> {
        Some(Connector::dialect(self))
    }

    async fn open(&self) -> Result<Box<dyn Source>, TargetError> {
        self.source().await
    }
}

/// Where a reader puts what it has read. It waits while the queue is full.
///
/// A value that can't be read is its row's error and no other's: NULL stands for it, and it is told of
/// beside the rows.
pub type Batches = mpsc::Sender<Result<ReadRows, TargetError>>;

/// Rows to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extract {
    /// The table or view; for a query, the name it goes by.
    pub table: TableName,
    /// The query, where it is one.
    pub query: Option<String>,
    /// The columns, in the order that batches have them. In memory they are as
    /// [`super::arrow_type`] says.
    pub fields: Vec<Field>,
    /// The columns that rows are ordered by; empty: any order. Whole numbers, days and times are in
    /// the order of their values; all other types in the order of the bytes of their text, whatever
    /// the collation (`COLLATE "C"`, `BINARY`), so that we and the server agree. NULL comes last.
    pub order: Vec<String>,
    /// Only rows whose columns have these texts; empty: all.
    pub only: Vec<(String, String)>,
    /// A batch has at most about so many bytes, and at least one row.
    pub batch_bytes: usize,
}

/// Old rows that refer to others by a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    /// The table that they refer to.
    pub to: TableName,
    /// Its key: a column of texts.
    pub key: String,
    /// Their own table; for a query, the name it goes by.
    pub from: TableName,
    /// The query, where it is one.
    pub query: Option<String>,
    /// The column by which they refer, of texts as well.
    pub column: String,
}

/// A column of a table, or of a query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ColumnOf {
    /// The table; for a query, the name it goes by.
    pub table: TableName,
    /// The query, where it is one.
    pub query: Option<String>,
    /// Its name.
    pub column: String,
}

/// What the query that [`Source::compared`] gives calls its columns: a value, and what stands for all
/// that are the same.
pub const COMPARED: [&str; 2] = ["dunlin_value", "dunlin_same"];

/// What the query that [`Source::spelt_otherwise`] gives calls its one column, a number.
pub const SPELT_OTHERWISE: &str = "dunlin_rows";

/// A record of a file that could not be read as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Where it stands: `orders.csv:17`.
    pub place: String,
    /// Why, without values.
    pub reason: String,
}

/// Records of one table that could not be read as rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnreadRecords {
    /// How many.
    pub count: u64,
    /// The first of them, in the order of the files.
    pub first: Vec<Unread>,
}

/// A source under one snapshot. All its readers see the same rows.
#[async_trait]
pub trait Source: Send {
    /// Tells a folder of files, before anything else, how the mapping says that they are read.
    /// `false`: it is a database, which knows that itself.
    ///
    /// # Errors
    /// What is said and doesn't fit the files.
    fn files(&mut self, mapping: &Mapping) -> Result<bool, Vec<FileMistake>> {
        let _ = mapping;
        Ok(false)
    }

    /// Tells it, after `files`, what an earlier run took columns to hold that nobody declared: they hold
    /// the same now, whatever most of their records have by now.
    fn remember(&mut self, columns: &[GuessedColumn]) {
        let _ = columns;
    }

    /// What it takes such columns to hold, once it has told its tables.
    fn guessed(&mut self) -> Vec<GuessedColumn> {
        Vec::new()
    }

    /// The records of a table that were no rows, once it has been read.
    async fn unread(&mut self, table: &TableName) -> Result<UnreadRecords, TargetError> {
        let _ = table;
        Ok(UnreadRecords::default())
    }

    /// Its tables and views.
    async fn catalogue(&mut self) -> Result<Catalogue, TargetError>;

    /// The columns of a query's result, under the name that the mapping gives it.
    async fn describe(&mut self, name: &TableName, query: &str) -> Result<Vec<Field>, TargetError>;

    /// How old rows are counted whose reference the database takes for a key that has other bytes: by
    /// this query. `None`: it compares that key by the bytes of its texts alone.
    async fn spelt_otherwise(
        &mut self,
        spelling: &Spelling,
    ) -> Result<Option<String>, TargetError> {
        let _ = spelling;
        Ok(None)
    }

    /// How texts are looked up as the database compares them: by a query that gives each of `values`
    /// together with a text that is one for all of them that the database, by the rules of `key`, takes
    /// for the same value of `key`; NULL where that has none. `None`: it compares bytes, or nobody can tell.
    async fn compared(
        &mut self,
        key: &ColumnOf,
        values: &ColumnOf,
    ) -> Result<Option<String>, TargetError> {
        let _ = (key, values);
        Ok(None)
    }

    /// Opens another reader of the same snapshot, for reading beside this. `None`: it has one
    /// reader only.
    async fn reader(&mut self) -> Result<Option<Box<dyn Source>>, TargetError>;

    /// Reads rows and puts them into the queue, in batches; returns when all are there. A receiver
    /// that is gone ends it without an error.
    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError>;
}

/// A table that a move writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Which.
    pub table: TableName,
    /// The columns that are written, in the order that batches have them, the key's among them.
    pub fields: Vec<Field>,
    /// Which of them are the key, as places in `fields`.
    pub key: Vec<usize>,
    /// Whether the table's own triggers fire.
    pub triggers: bool,
}

impl Written {
    /// The key's columns.
    pub(super) fn key_fields(&self) -> impl Iterator<Item = &Field> {
        self.key.iter().map(|place| &self.fields[*place])
    }
}

/// What became of rows that were to be written. Numbers are places in the batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refused {
    /// Inserted: rows whose key is there already. Updated or deleted: rows that aren't there.
    pub absent_or_there: Vec<u32>,
    /// Rows that the database refuses, with its reason, without values.
    pub rejected: Vec<(u32, String)>,
}

/// An entry of the move's own store: small binary values by area and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The area: `state`, `pack/users`.
    pub area: String,
    /// The number in it.
    pub number: i64,
    /// The value. When put: `None` deletes it.
    pub value: Option<Vec<u8>>,
}

/// Who else needs a ledger than a move, as [`MoveTarget::hold_ledger`] found it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerUse {
    /// Migrations that are recorded, whatever became of them.
    pub migrations: u64,
    /// Leases that have an owner, also those that have expired.
    pub leases: Vec<LeaseHolder>,
}

/// A target of moves: one connection.
///
/// Writes belong to a transaction that `begin` opens and `commit` ends. After an error other than
/// `Lost` nothing of the transaction remains, unless `Refused` tells of single rows: then the
/// transaction goes on without them. After `Lost` its outcome is unknown: connect, claim the lease
/// again, and read the store.
#[async_trait]
pub trait MoveTarget: Send {
    /// Its tables.
    async fn catalogue(&mut self) -> Result<Catalogue, TargetError>;

    /// Whether rows can be written so here by this login, as far as it can be told without writing:
    /// an error says why not. Looks only.
    async fn may_write(&mut self, into: &Written) -> Result<(), TargetError>;

    /// Creates the store's table in the ledger, where it isn't there.
    async fn create_store(&mut self) -> Result<(), TargetError>;

    /// The names of the moves that the store has entries of, sorted. None where there is no store.
    async fn moves(&mut self) -> Result<Vec<String>, TargetError>;

    /// Keeps everybody else from the ledger until the transaction that `begin` opened ends, and tells
    /// who needs it. What others have under way in it is waited for up to the transaction's lock
    /// timeout. From then on `moves` and `stored` tell what nobody can change any more.
    async fn hold_ledger(&mut self, lease: &Lease) -> Result<LedgerUse, TargetError>;

    /// Drops the ledger that `hold_ledger` holds, with all its tables, and ends the transaction: with
    /// the commit, where the database can drop tables in one.
    async fn drop_ledger(&mut self) -> Result<(), TargetError>;

    /// Entries of an area from a number on, in order, at most so many. None where there is no store.
    async fn stored(
        &mut self,
        name: &str,
        area: &str,
        from: i64,
        limit: u32,
    ) -> Result<Vec<Stored>, TargetError>;

    /// Makes this connection one of several that write under one lease at once: from now on its
    /// transactions stand behind a fence of its own, which a new holder of the lease raises together
    /// with the lease's. It is made only while the lease is ours. `None`: there is one writer at a
    /// time here.
    async fn lane(&mut self, lease: &Lease, number: u32) -> Result<Option<Lease>, TargetError> {
        let _ = (lease, number);
        Ok(None)
    }

    /// Begins a transaction behind the lease's fence. Locks are waited for up to `lock_timeout`.
    async fn begin(
        &mut self,
        lease: &Lease,
        lock_timeout: std::time::Duration,
    ) -> Result<(), TargetError>;

    /// Inserts rows, fast: none of their keys is there. `by_row` in an error means that a row is to
    /// blame.
    async fn load(&mut self, into: &Written, rows: &RecordBatch) -> Result<(), TargetError>;

    /// Inserts rows one by one where that is needed: those whose key is there are left as they are
    /// and told of, and those that the database refuses are told with its reason. Each in a
    /// savepoint, or halved, so that the rest goes in.
    async fn insert(&mut self, into: &Written, rows: &RecordBatch) -> Result<Refused, TargetError>;

    /// Updates rows by their key.
    async fn update(&mut self, into: &Written, rows: &RecordBatch) -> Result<Refused, TargetError>;

    /// Deletes rows by their key; `keys` has the key's columns alone, in order. Rows that others refer
    /// to are told as rejected: nothing is cascaded.
    async fn delete(&mut self, from: &Written, keys: &RecordBatch) -> Result<Refused, TargetError>;

    /// Reads rows by their key, all written columns, in any order; with `lock` until the commit.
    async fn fetch(
        &mut self,
        from: &Written,
        keys: &RecordBatch,
        lock: bool,
    ) -> Result<ReadRows, TargetError>;

    /// Finds rows by columns that need not be unique: those of `from.key`. The database compares,
    /// as it would for a unique index: by the column's collation. NULL finds nothing. `values` has
    /// these columns alone, in order. Returns for each row that was found, in any order, its place in
    /// `values`, and the rows, all of `from.fields`. Of rows of one place, two are enough.
    async fn find(
        &mut self,
        from: &Written,
        values: &RecordBatch,
    ) -> Result<(Vec<u32>, RecordBatch), TargetError>;

    /// The texts of values as the database has them once they are stored in a column:
    /// `10.0.0.1` in an `inet`. NULL stays NULL. A value that it refuses is an error with `by_row`.
    async fn normalise(
        &mut self,
        field: &Field,
        values: &[Option<String>],
    ) -> Result<Vec<Option<String>>, TargetError>;

    /// Puts entries into the store, or deletes them.
    async fn put(&mut self, name: &str, entries: &[Stored]) -> Result<(), TargetError>;

    /// Rights that this login lacks for that. Where the database doesn't tell, none.
    async fn lacked_rights(&mut self, doing: Doing<'_>) -> Result<Vec<LackedRight>, TargetError> {
        let _ = doing;
        Ok(Vec::new())
    }

    /// What this login lacks to make the ledger, or to write it where it is there. Where the database
    /// doesn't tell, nothing.
    async fn lacked_for_ledger(&mut self) -> Result<Option<LackedRight>, TargetError> {
        Ok(None)
    }

    /// Sets what the database numbers a column with next to at least `above` + 1. In the transaction
    /// where it can be.
    async fn number_above(
        &mut self,
        table: &TableName,
        column: &str,
        above: i64,
    ) -> Result<(), TargetError>;

    /// Takes `count` numbers of a column that the database numbers, all more than `above`, so that
    /// nobody else gets them. A database without a counter only knows the rows that are there: `above`
    /// is what was taken before and has no row yet.
    async fn take_numbers(
        &mut self,
        table: &TableName,
        column: &str,
        count: u32,
        above: i64,
    ) -> Result<Vec<i64>, TargetError>;

    /// Commits. The lease's commit count moves on success.
    async fn commit(&mut self, lease: &mut Lease) -> Result<(), TargetError>;

    /// Rolls back.
    async fn rollback(&mut self) -> Result<(), TargetError>;

    /// What it can do for tables that are loaded bare; `None`: here nothing is ever dropped.
    fn bare(&mut self) -> Option<&mut dyn BareTarget> {
        None
    }

    /// Reads all rows of a table in batches, in any order (`extract.order` is empty), for comparing.
    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError>;
}
