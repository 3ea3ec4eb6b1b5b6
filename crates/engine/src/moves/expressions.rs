//! What a move needs of expressions.

use std::borrow::Cow;

use arrow::array::{ArrayRef, BooleanArray, UInt32Array};
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::{Expression, Field, OnRowError};

use super::read_rows::ReadRows;
use crate::TargetError;

/// An expression to compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What it is called in the batch that comes of it.
    pub name: String,
    /// The expression.
    pub expression: Expression,
    /// The column it is for: the result gets that column's form in memory. `None`: any type.
    pub column: Option<Field>,
    /// It must be true or false; NULL counts as false.
    pub condition: bool,
    /// Where it fails on a row.
    pub on_error: OnRowError,
}

/// One row for each of these, compiled with the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EachSpec {
    /// Of a list, under this name.
    Element(String, Expression),
    /// Of several sets of named values.
    Case(Vec<Vec<(String, Expression)>>),
}

/// Everything about one rule that is an expression over an old row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expressions {
    /// What they are of, as errors name it: `[into.posts]`.
    pub of: String,
    /// The old row's columns.
    pub fields: Vec<Field>,
    /// No decimal among them has more digits after the point than its type says.
    pub scales_hold: bool,
    /// Named expressions, in order; they may be used in all that follows.
    pub lets: Vec<(String, Expression)>,
    /// Several rows of one.
    pub each: Option<EachSpec>,
    /// Which rows; after `each`.
    pub filter: Option<Expression>,
    /// What is wanted of each row.
    pub outputs: Vec<Output>,
    /// What is wanted after the ids are known: expressions that use `new.column`.
    pub late: Vec<Output>,
    /// The columns that stand behind `new.`, with their types in the target.
    pub new: Vec<Field>,
    /// The zone of timestamps that carry none.
    pub time_zone: String,
}

/// Why an expression can't be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    /// The line of the file, from 1.
    pub line: usize,
    /// What is wrong, with the nearest name where one is unknown.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// An expression that failed on a row, or did what `on_error` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFailure {
    /// The row in the batch that was given.
    pub row: u32,
    /// The output's name.
    pub output: String,
    /// What was done.
    pub on_error: OnRowError,
    /// Why, without values.
    pub reason: String,
}

/// What came of a batch.
#[derive(Debug, Clone)]
pub struct Applied {
    /// A column for each output, in order. Rows that the filter leaves out, that failed or are left
    /// out for an error are not among them.
    pub rows: RecordBatch,
    /// For each of them, the row of the given batch that it came of; it grows or stays.
    pub of: UInt32Array,
    /// For each row of the given batch, whether the filter took at least one of its rows.
    pub taken: BooleanArray,
    /// What failed.
    pub failures: Vec<RowFailure>,
    /// What `each` named for these rows, where `late` needs it; for `late` alone.
    pub named: Vec<Named>,
}

/// A column that `each` named.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its values; NULL where it failed.
    pub values: ArrayRef,
    /// Where it failed, and why, without values.
    pub failures: Vec<(usize, Cow<'static, str>)>,
}

/// Compiled expressions.
pub trait Compiled: Send + Sync {
    /// Which of the old row's columns are used, as places in `fields`, in order. Batches given to
    /// `apply` have these columns alone, in this order.
    fn used(&self) -> &[usize];

    /// Evaluates on a batch. A failure of one row never touches another. What uses a value that could
    /// not be read fails for its row.
    ///
    /// # Errors
    /// Only what is no row's fault: a bug, memory.
    fn apply(&self, batch: &ReadRows) -> Result<Applied, TargetError>;

    /// Evaluates the late outputs: `batch` is what `apply` got, `applied` what it gave, `new` the
    /// columns behind `new.` for each of its rows.
    ///
    /// # Errors
    /// As `apply`. Failures' rows are places in `applied.rows`; the failed outputs are NULL there.
    fn late(
        &self,
        batch: &ReadRows,
        applied: &Applied,
        new: &RecordBatch,
    ) -> Result<(RecordBatch, Vec<RowFailure>), TargetError>;
}

/// Compiles expressions.
pub trait Compiler: Send + Sync {
    /// Parses, checks every type, and compiles.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line.
    fn compile(&self, expressions: &Expressions)
    -> Result<Box<dyn Compiled>, Vec<ExpressionError>>;
}
