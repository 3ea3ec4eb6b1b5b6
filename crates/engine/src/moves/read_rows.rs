//! Rows as they were read, with the values among them that could not be.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::Field;

use super::columns::bug;
use super::row_hash::{RowHash, row_hashes};
use crate::{ErrorKind, TargetError};

/// A value that could not be read. NULL stands for it in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable {
    /// The row in the batch.
    pub row: u32,
    /// The column's place in the batch.
    pub column: usize,
    /// Why, without the value, as it goes on behind a column's name: `holds a zero date`.
    pub why: &'static str,
}

/// Rows as they were read.
#[derive(Debug, Clone)]
pub struct ReadRows {
    /// The rows.
    pub rows: RecordBatch,
    /// Values among them that could not be read, row by row.
    pub unreadable: Vec<Unreadable>,
    /// What was worked out of these rows before.
    pub worked_out: WorkedOut,
}

impl From<RecordBatch> for ReadRows {
    fn from(rows: RecordBatch) -> Self {
        Self::new(rows, Vec::new())
    }
}

/// What several rules need of the same rows, such as a mapping's named expressions: worked out by the
/// first of them, for all. A compiler keeps in it what it likes, under keys of its own; copies are one.
#[derive(Clone, Default)]
pub struct WorkedOut(Arc<Mutex<HashMap<(u64, usize), Kept>>>);

type Kept = Arc<dyn Any + Send + Sync>;

impl WorkedOut {
    /// What was kept under a key.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self, key: (u64, usize)) -> Option<Arc<T>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()?;
        kept.downcast().ok()
    }

    /// Keeps something that is about all of the rows.
    pub fn keep<T: Any + Send + Sync>(&self, key: (u64, usize), what: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(what));
    }
}

impl fmt::Debug for WorkedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkedOut").finish_non_exhaustive()
    }
}

impl ReadRows {
    /// Rows of which nothing was worked out yet. `unreadable`: row by row.
    #[must_use]
    pub fn new(rows: RecordBatch, unreadable: Vec<Unreadable>) -> Self {
        Self { rows, unreadable, worked_out: WorkedOut::default() }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.num_rows()
    }

    /// Some of them that stand side by side.
    #[must_use]
    pub fn slice(&self, from: usize, count: usize) -> Self {
        let place = |one: &Unreadable| (one.row as usize).checked_sub(from);
        let unreadable = self.unreadable.iter().filter_map(|one| {
            let row = place(one).filter(|row| *row < count)?;
            Some(Unreadable { row: row as u32, ..*one })
        });
        Self::new(self.rows.slice(from, count), unreadable.collect())
    }

    /// The rows, where each value of theirs was read.
    ///
    /// # Errors
    /// One was not; `by_row` in it.
    pub fn whole(self, table: &str) -> Result<RecordBatch, TargetError> {
        let Some(one) = self.unreadable.first() else { return Ok(self.rows) };
        let schema = self.rows.schema();
        let message = format!("{table}.{} {}", schema.field(one.column).name(), one.why);
        let error = TargetError::new(ErrorKind::Refused, message).help("repair such rows");
        Err(TargetError { by_row: true, ..error })
    }

    /// Some of their columns.
    pub(super) fn project(&self, places: &[usize]) -> Result<Self, TargetError> {
        let rows = self.rows.project(places).map_err(|error| bug(&error))?;
        let mut unreadable = Vec::new();
        if !self.unreadable.is_empty() {
            for (column, place) in places.iter().enumerate() {
                let found = self.unreadable.iter().filter(|one| one.column == *place);
                unreadable.extend(found.map(|one| Unreadable { column, ..*one }));
            }
            unreadable.sort_unstable_by_key(|one| (one.row, one.column));
        }
        Ok(Self { rows, unreadable, worked_out: self.worked_out.clone() })
    }

    /// Those of the rows that stay.
    pub(super) fn filter(self, keep: &BooleanArray) -> Result<Self, TargetError> {
        let rows = filter_record_batch(&self.rows, keep).map_err(|error| bug(&error))?;
        let mut places = Vec::with_capacity(keep.len());
        let mut next = 0;
        for row in 0..keep.len() {
            places.push(keep.value(row).then_some(next));
            next += u32::from(keep.value(row));
        }
        let unreadable = self.unreadable.into_iter().filter_map(|one| {
            let row = places.get(one.row as usize).copied().flatten()?;
            Some(Unreadable { row, ..one })
        });
        Ok(Self::new(rows, unreadable.collect()))
    }

    /// The places of rows of which something could not be read.
    pub(super) fn flawed(&self) -> HashSet<u32> {
        self.unreadable.iter().map(|one| one.row).collect()
    }

    /// The hash of each row. That of a row that was not read whole is not known, and equals none.
    pub(super) fn hashes(&self, fields: &[Field]) -> Result<Vec<RowHash>, TargetError> {
        let mut hashes = row_hashes(fields, &self.rows)?;
        for one in &self.unreadable {
            if let Some(hash) = hashes.get_mut(one.row as usize) {
                *hash = 0;
            }
        }
        Ok(hashes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    const WHY: &str = "holds nothing that is known";

    fn read() -> ReadRows {
        let column = |from: i64| Arc::new(Int64Array::from_iter(from..from + 4)) as ArrayRef;
        let rows = RecordBatch::try_from_iter([("a", column(0)), ("b", column(10))]).unwrap();
        let flaw = |row, column| Unreadable { row, column, why: WHY };
        ReadRows::new(rows, vec![flaw(1, 1), flaw(2, 0), flaw(2, 1)])
    }

    fn places(read: &ReadRows) -> Vec<(u32, usize)> {
        read.unreadable.iter().map(|one| (one.row, one.column)).collect()
    }

    #[test]
    fn flaws_go_with_their_rows() {
        assert_eq!(places(&read().slice(1, 2)), [(0, 1), (1, 0), (1, 1)]);
        assert_eq!(places(&read().slice(3, 1)), []);
        assert_eq!(places(&read().project(&[1]).unwrap()), [(1, 0), (2, 0)]);
        assert_eq!(places(&read().project(&[1, 0]).unwrap()), [(1, 0), (2, 0), (2, 1)]);
        let kept = read().filter(&BooleanArray::from(vec![true, false, true, true])).unwrap();
        assert_eq!(places(&kept), [(1, 0), (1, 1)]);
        assert_eq!(kept.rows.column(0).as_primitive::<Int64Type>().values(), &[0, 2, 3]);
        let error = read().whole("t").unwrap_err();
        assert!(error.by_row);
        assert_eq!(error.message, format!("t.b {WHY}"));
    }
}
