//! Evaluating a rule on a batch.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::{filter, take};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use dunlin_engine::moves::{Applied, Compiled, Named, ReadRows, RowFailure};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::OnRowError;

use crate::cast::{merged, uuid_texts};
use crate::compile::{Rule, Target};
use crate::expand::expand;
use crate::frame::{Column, Frame, count};
use crate::reason::{Failures, Reason};

/// What failures of the filter and of `each` are reported under.
const WHERE: &str = "where";
const EACH: &str = "each";

const REPORT: &str = "this is a bug: please report it with the mapping";

/// Rows with all their outputs.
struct Outcome<'a> {
    rows: Rc<Frame<'a>>,
    /// For each, the row of the given batch.
    of: UInt32Array,
    taken: BooleanArray,
    columns: Vec<ArrayRef>,
    /// Which of them remain; `None`: all.
    kept: Option<BooleanArray>,
    failures: Vec<RowFailure>,
}

impl Compiled for Rule {
    fn used(&self) -> &[usize] {
        &self.used
    }

    fn apply(&self, batch: &ReadRows) -> Result<Applied, TargetError> {
        self.whole(|| self.applied(batch))
    }

    fn late(
        &self,
        batch: &ReadRows,
        applied: &Applied,
        new: &RecordBatch,
    ) -> Result<(RecordBatch, Vec<RowFailure>), TargetError> {
        self.whole(|| self.late_rows(batch, applied, new))
    }
}

fn batch_of(
    outputs: &[Target],
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<_> = outputs
        .iter()
        .map(|output| Field::new(&output.name, output.data_type.clone(), true))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

impl Rule {
    /// What is done to all rows of a batch at once.
    fn whole<T>(&self, work: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, TargetError> {
        // Arrow panics where values have no room together.
        let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(ArrowError::ComputeError("evaluating them failed on a batch of rows".to_owned()))
        });
        done.map_err(|error| self.broken(&error))
    }

    /// What is no row's fault.
    fn broken(&self, error: &ArrowError) -> TargetError {
        let of = &self.of;
        let (kind, why, help) = match error {
            ArrowError::MemoryError(_) | ArrowError::OffsetOverflowError(_) => {
                let why = match error {
                    ArrowError::MemoryError(why) => why.as_str(),
                    _ => "the values of one batch of rows are larger than 2 GiB together",
                };
                (ErrorKind::Refused, why, "make the values shorter: left(x, 1000)")
            }
            // Arrow's messages of these kinds name types and counts, and no values.
            ArrowError::ComputeError(why)
            | ArrowError::SchemaError(why)
            | ArrowError::InvalidArgumentError(why) => (ErrorKind::Bug, why.as_str(), REPORT),
            _ => (ErrorKind::Bug, "an internal error", REPORT),
        };
        let message = format!("expressions of {of} can't be evaluated: {why}");
        TargetError::new(kind, message).help(help)
    }

    fn applied(&self, batch: &ReadRows) -> Result<Applied, ArrowError> {
        let outcome = self.outcome(batch)?;
        let named = self.named(&outcome)?;
        let Outcome { mut of, taken, mut columns, kept, failures, .. } = outcome;
        if let Some(kept) = &kept {
            let remaining = |array: &ArrayRef| filter(array, kept);
            columns = columns.iter().map(remaining).collect::<Result<_, _>>()?;
            of = filter(&of, kept)?.as_primitive().clone();
        }
        let rows = batch_of(&self.outputs, columns, of.len())?;
        Ok(Applied { rows, of, taken, failures, named })
    }

    /// The old rows. A value that could not be read has failed.
    fn base<'a>(&'a self, read: &'a ReadRows) -> Result<Rc<Frame<'a>>, ArrowError> {
        let batch = &read.rows;
        if batch.num_columns() != self.used.len() {
            return Err(ArrowError::InvalidArgumentError(format!(
                "the batch has {} columns, and {} are used",
                batch.num_columns(),
                self.used.len()
            )));
        }
        let frame = Frame::of_old(batch.num_rows(), self.width, &self.lets, &read.worked_out);
        let schema = batch.schema();
        for (column, (place, values)) in self.used.iter().zip(batch.columns()).enumerate() {
            let unreadable = read.unreadable.iter().filter(|one| one.column == column);
            let failed = unreadable.map(|one| {
                let reason = format!("uses `{}`, which {}", schema.field(column).name(), one.why);
                (one.row as usize, Reason::Owned(reason))
            });
            let failures: Failures = failed.collect();
            frame.set(*place, Column { values: Arc::clone(values), failures });
        }
        Ok(Rc::new(frame))
    }

    fn outcome<'a>(&'a self, batch: &'a ReadRows) -> Result<Outcome<'a>, ArrowError> {
        let given = batch.count();
        let expanded = expand(self, self.base(batch)?)?;
        let mut failures: Vec<RowFailure> = expanded
            .failures
            .into_iter()
            .map(|(row, reason)| failure(count(row), EACH, OnRowError::Error, reason))
            .collect();
        let mut taken = vec![false; given];
        for failure in &failures {
            set(&mut taken, failure.row);
        }
        let of = expanded.of.unwrap_or_else(|| (0..count(given)).collect());
        let (rows, of) = self.filtered(expanded.rows, of, &mut taken, &mut failures)?;
        for row in of.values() {
            set(&mut taken, *row);
        }
        let mut columns = Vec::with_capacity(self.outputs.len());
        let mut failed = Vec::new();
        for output in &self.outputs {
            let column = self.output(&rows, output)?;
            columns.push(column.values);
            failed.push(column.failures);
        }
        let kept = self.judge(&failed, &of, &mut failures);
        failures.sort_by_key(|failure| failure.row);
        Ok(Outcome { rows, of, taken: taken.into(), columns, kept, failures })
    }

    fn filtered<'a>(
        &self,
        rows: Rc<Frame<'a>>,
        of: UInt32Array,
        taken: &mut [bool],
        failures: &mut Vec<RowFailure>,
    ) -> Result<(Rc<Frame<'a>>, UInt32Array), ArrowError> {
        let Some(condition) = &self.filter else { return Ok((rows, of)) };
        let column = rows.evaluate(condition)?;
        for (at, reason) in column.failures {
            let row = of.value(at);
            // It is accounted for: as a failure.
            set(taken, row);
            failures.push(failure(row, WHERE, OnRowError::Error, reason));
        }
        let truth = column.values.as_boolean();
        if truth.null_count() == 0 && truth.true_count() == rows.rows {
            return Ok((rows, of));
        }
        let places: UInt32Array = truth
            .iter()
            .enumerate()
            .filter(|(_, truth)| *truth == Some(true))
            .map(|(at, _)| count(at))
            .collect();
        let of = take(&of, &places, None)?.as_primitive().clone();
        Ok((Rc::new(Frame::of(&rows, places)), of))
    }

    /// An output's values, fitted to their column.
    fn output(&self, rows: &Frame<'_>, output: &Target) -> Result<Column, ArrowError> {
        let column = rows.evaluate(&output.program)?;
        if output.condition && column.values.null_count() > 0 {
            let truth = column.values.as_boolean();
            let values: BooleanArray =
                truth.iter().map(|truth| Some(truth.unwrap_or_default())).collect();
            return Ok(Column { values: Arc::new(values), failures: column.failures });
        }
        let Some(fit) = &output.fit else { return Ok(column) };
        let (values, more) = fit.apply(&column.values, &self.zone)?;
        // A value that failed is NULL: that it mustn't be is not its reason.
        Ok(Column { values, failures: merged(column.failures, more) })
    }

    /// Which rows remain, and what is reported of the others.
    fn judge(
        &self,
        failed: &[Failures],
        of: &UInt32Array,
        failures: &mut Vec<RowFailure>,
    ) -> Option<BooleanArray> {
        if failed.iter().all(Vec::is_empty) {
            return None;
        }
        let rows_of = |wanted: OnRowError| -> HashSet<usize> {
            let columns = self.outputs.iter().zip(failed);
            let columns = columns.filter(|(output, _)| output.on_error == wanted);
            columns.flat_map(|(_, failed)| failed.iter().map(|(row, _)| *row)).collect()
        };
        let rejected = rows_of(OnRowError::Error);
        let left_out = rows_of(OnRowError::LeaveOut);
        for (output, failed) in self.outputs.iter().zip(failed) {
            for (at, reason) in failed {
                // What became of the row is told once: an error hides that it was left out, and
                // both hide a NULL that nobody will see.
                let told = match output.on_error {
                    OnRowError::Error => true,
                    OnRowError::LeaveOut => !rejected.contains(at),
                    OnRowError::Null => !rejected.contains(at) && !left_out.contains(at),
                };
                if told {
                    let row = of.value(*at);
                    failures.push(failure(row, &output.name, output.on_error, reason.clone()));
                }
            }
        }
        if rejected.is_empty() && left_out.is_empty() {
            return None;
        }
        let remains = |at: usize| !rejected.contains(&at) && !left_out.contains(&at);
        Some((0..of.len()).map(|at| Some(remains(at))).collect())
    }

    /// What `each` named for the rows that remain, where late outputs use it: which element or case
    /// a row is of can't be told from the old row.
    fn named(&self, outcome: &Outcome<'_>) -> Result<Vec<Named>, ArrowError> {
        if !self.late_uses_each {
            return Ok(Vec::new());
        }
        let remains = |at: &u32| outcome.kept.as_ref().is_none_or(|kept| kept.value(*at as usize));
        let places: UInt32Array = (0..count(outcome.of.len())).filter(remains).collect();
        let rows = Frame::of(&outcome.rows, places);
        (self.each_from..self.new_from)
            .map(|place| rows.column(place))
            .map(|column| column.map(|Column { values, failures }| Named { values, failures }))
            .collect()
    }

    fn late_rows(
        &self,
        batch: &ReadRows,
        applied: &Applied,
        new: &RecordBatch,
    ) -> Result<(RecordBatch, Vec<RowFailure>), ArrowError> {
        let rows = Frame::of(&self.base(batch)?, applied.of.clone());
        for (place, named) in applied.named.iter().enumerate() {
            let Named { values, failures } = named.clone();
            rows.set(self.each_from + place, Column { values, failures });
        }
        if rows.rows != new.num_rows() || new.num_columns() != self.new {
            return Err(ArrowError::InvalidArgumentError(format!(
                "there are {} rows, and {} new ones of {} columns",
                rows.rows,
                new.num_rows(),
                new.num_columns()
            )));
        }
        for (place, values) in new.columns().iter().enumerate() {
            let values = match values.data_type() {
                DataType::FixedSizeBinary(16) => uuid_texts(values.as_fixed_size_binary()),
                _ => Arc::clone(values),
            };
            rows.set(self.new_from + place, Column { values, failures: Failures::new() });
        }
        let mut columns = Vec::with_capacity(self.late.len());
        let mut failures = Vec::new();
        for output in &self.late {
            let column = self.output(&rows, output)?;
            for (at, reason) in column.failures {
                failures.push(failure(count(at), &output.name, output.on_error, reason));
            }
            columns.push(column.values);
        }
        failures.sort_by_key(|failure| failure.row);
        Ok((batch_of(&self.late, columns, rows.rows)?, failures))
    }
}

fn set(rows: &mut [bool], row: u32) {
    if let Some(slot) = rows.get_mut(row as usize) {
        *slot = true;
    }
}

fn failure(row: u32, output: &str, on_error: OnRowError, reason: Reason) -> RowFailure {
    RowFailure { row, output: output.to_owned(), on_error, reason: reason.into_owned() }
}
