//! Values that could not be read, beside the rows that they stand in: a column of the copy.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray};
use arrow::compute::nullif;
use dunlin_engine::TargetError;
use dunlin_engine::moves::Unreadable;

use crate::fault::bug;
use crate::value::Why;

/// Bytes of one of them in the copy: the column's place, and the reason's number.
const BYTES: usize = 6;

/// A value that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// The row in the batch.
    pub(crate) row: usize,
    /// The column, as a place in the table's.
    pub(crate) place: usize,
    pub(crate) why: Why,
}

/// The reasons that the copy's flaws have, by their numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reasons(Vec<Why>);

impl Reasons {
    fn number(&mut self, why: Why) -> usize {
        self.0.iter().position(|known| *known == why).unwrap_or_else(|| {
            self.0.push(why);
            self.0.len() - 1
        })
    }

    /// The flaws of rows in the copy's own column, for columns at these places: each as often as its
    /// column is wanted, row by row.
    pub(crate) fn read(
        &self,
        flaws: &ArrayRef,
        places: &[usize],
    ) -> Result<Vec<Unreadable>, TargetError> {
        let mut found = Vec::new();
        if flaws.null_count() == flaws.len() {
            return Ok(found);
        }
        let all = flaws.as_binary::<i32>();
        for row in (0..all.len()).filter(|row| all.is_valid(*row)) {
            let first = found.len();
            for flaw in all.value(row).chunks_exact(BYTES) {
                let (place, number) = flaw.split_at(4);
                let place = place.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                let number = usize::from(number[0]) | usize::from(number[1]) << 8;
                let why = *self.0.get(number).ok_or_else(|| bug(&"a flaw without a reason"))?;
                let wanted = places.iter().enumerate().filter(|(_, wanted)| **wanted == place);
                found.extend(wanted.map(|(column, _)| Unreadable { row: row as u32, column, why }));
            }
            found[first..].sort_unstable_by_key(|one| one.column);
        }
        Ok(found)
    }
}

/// The copy's column of flaws, being filled.
#[derive(Default)]
pub(crate) struct Flaws {
    reasons: Reasons,
    column: BinaryBuilder,
    row: Vec<u8>,
}

impl Flaws {
    /// The row that comes next has that one.
    pub(crate) fn note(&mut self, place: usize, why: Why) {
        let number = self.reasons.number(why);
        self.row.extend_from_slice(&(place as u32).to_le_bytes());
        self.row.extend_from_slice(&(number as u16).to_le_bytes());
    }

    /// Ends a row.
    pub(crate) fn end_row(&mut self) {
        if self.row.is_empty() {
            self.column.append_null();
        } else {
            self.column.append_value(&self.row);
            self.row.clear();
        }
    }

    /// Ends the batch; the next begins empty.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        Arc::new(self.column.finish())
    }

    /// The column of a whole batch, in which NULL comes to stand for what could not be read.
    pub(crate) fn of_batch(
        &mut self,
        columns: &mut [ArrayRef],
        count: usize,
        flaws: &mut [Flaw],
    ) -> Result<ArrayRef, TargetError> {
        flaws.sort_by_key(|one| (one.row, one.place));
        for (place, values) in columns.iter_mut().enumerate() {
            let mut bad = vec![false; count];
            let here = flaws.iter().filter(|one| one.place == place);
            let some = here.map(|one| bad[one.row] = true).count() > 0;
            if some {
                *values = nullif(values, &BooleanArray::from(bad)).map_err(|error| bug(&error))?;
            }
        }
        let mut left = flaws.iter().peekable();
        for row in 0..count {
            while let Some(one) = left.next_if(|one| one.row == row) {
                self.note(one.place, one.why);
            }
            self.end_row();
        }
        Ok(self.finish())
    }

    /// All rows have come.
    pub(crate) fn into_reasons(self) -> Reasons {
        self.reasons
    }
}
