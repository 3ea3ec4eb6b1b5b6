//! Keys in Arrow's columns.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringArray, UInt32Array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
};

use dunlin_model::moves::Field;

use super::super::columns::bug;
use super::super::row_hash::{is_filled, without_filling};
use super::{Part, RowKey, Seen, SeenBytes};
use crate::{ErrorKind, TargetError};

/// Columns that hold keys, for reading them row by row.
#[derive(Clone)]
pub(in crate::moves) struct KeyColumns {
    columns: Vec<Parts>,
    rows: usize,
}

#[derive(Clone)]
enum Parts {
    Numbers(PrimitiveArray<Int64Type>),
    Unsigned(PrimitiveArray<UInt64Type>),
    Text(arrow::array::StringArray),
    Bytes(arrow::array::BinaryArray),
    Fixed(arrow::array::FixedSizeBinaryArray),
    Boolean(BooleanArray),
}

impl KeyColumns {
    /// The error says that a column's type can't be a key.
    pub(in crate::moves) fn of(columns: &[ArrayRef]) -> Result<Self, TargetError> {
        let rows = columns.first().map_or(0, |column| column.len());
        let columns = columns.iter().map(parts_of).collect::<Result<_, _>>()?;
        Ok(Self { columns, rows })
    }

    /// Keys of rows in the target, whether they are to be written or were read there: a decimal without the
    /// zeros that its column adds, a `char(n)` without its blanks, so that both are the same.
    pub(in crate::moves) fn of_target<'f>(
        fields: impl Iterator<Item = &'f Field>,
        columns: &[ArrayRef],
    ) -> Result<Self, TargetError> {
        let columns: Vec<ArrayRef> = fields
            .zip(columns)
            .map(|(field, column)| match column.as_string_opt::<i32>() {
                Some(texts) if is_filled(&field.value_type) => {
                    let bare = |text| without_filling(&field.value_type, text);
                    let texts: StringArray = texts.iter().map(|text| text.map(bare)).collect();
                    Arc::new(texts) as ArrayRef
                }
                _ => column.clone(),
            })
            .collect();
        Self::of(&columns)
    }

    pub(in crate::moves) fn len(&self) -> usize {
        self.rows
    }

    /// How many columns a key has.
    pub(in crate::moves) fn parts(&self) -> usize {
        self.columns.len()
    }

    pub(in crate::moves) fn key(&self, row: usize) -> RowKey {
        RowKey(self.columns.iter().map(|column| column.part(row).owned()).collect())
    }

    /// Appends a key as [`RowKey::write`] does, without making one.
    pub(in crate::moves) fn write(&self, row: usize, to: &mut Vec<u8>) {
        self.columns.iter().for_each(|column| column.part(row).write(to));
    }

    /// What [`super::super::key_set::key_hash`] is taken of, without making a key.
    pub(in crate::moves) fn write_plain(&self, row: usize, to: &mut Vec<u8>) {
        self.columns.iter().for_each(|column| column.part(row).write_plain(to));
    }

    /// How a row's key stands to another.
    pub(in crate::moves) fn order(&self, row: usize, other: &RowKey) -> Ordering {
        let parts = self.columns.iter().map(|column| column.part(row));
        parts.cmp(other.0.iter().map(Part::seen))
    }

    /// Whether two rows have one key.
    pub(in crate::moves) fn same(&self, row: usize, other: usize) -> bool {
        self.columns.iter().all(|column| column.part(row) == column.part(other))
    }

    /// How many rows from `from` on have keys up to that one. The keys are in order.
    pub(in crate::moves) fn count_upto(&self, from: usize, upto: &RowKey) -> usize {
        let (mut low, mut high) = (from, self.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.order(middle, upto) == Ordering::Greater {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low - from
    }

    /// The keys of these rows, in that order.
    pub(in crate::moves) fn take(&self, rows: &UInt32Array) -> Result<Self, TargetError> {
        let is_all = rows.len() == self.rows
            && rows.values().iter().enumerate().all(|(place, row)| place == *row as usize);
        if is_all {
            return Ok(self.clone());
        }
        self.map(rows.len(), |column| arrow::compute::take(column, rows, None))
    }

    /// The keys of the rows that are marked.
    pub(in crate::moves) fn filter(&self, keep: &BooleanArray) -> Result<Self, TargetError> {
        self.map(keep.true_count(), |column| arrow::compute::filter(column, keep))
    }

    /// The keys of rows from one on.
    pub(in crate::moves) fn slice(&self, from: usize, rows: usize) -> Result<Self, TargetError> {
        self.map(rows, |column| Ok(column.slice(from, rows)))
    }

    /// One after the other.
    pub(in crate::moves) fn concat(pieces: &[Self]) -> Result<Self, TargetError> {
        let Some(first) = pieces.first() else { return Ok(Self { columns: Vec::new(), rows: 0 }) };
        if pieces.len() == 1 {
            return Ok(first.clone());
        }
        let mut columns = Vec::with_capacity(first.columns.len());
        for place in 0..first.columns.len() {
            let arrays: Vec<ArrayRef> =
                pieces.iter().map(|piece| piece.columns[place].array()).collect();
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            let whole = arrow::compute::concat(&arrays).map_err(|error| bug(&error))?;
            columns.push(parts_of(&whole)?);
        }
        Ok(Self { columns, rows: pieces.iter().map(Self::len).sum() })
    }

    fn map(
        &self,
        rows: usize,
        each: impl Fn(&dyn Array) -> Result<ArrayRef, arrow::error::ArrowError>,
    ) -> Result<Self, TargetError> {
        let one = |parts: &Parts| parts_of(&each(&parts.array()).map_err(|error| bug(&error))?);
        Ok(Self { columns: self.columns.iter().map(one).collect::<Result<_, _>>()?, rows })
    }

    /// The numbers, where the key is one column of numbers.
    pub(in crate::moves) fn numbers(&self) -> Option<&PrimitiveArray<Int64Type>> {
        match self.columns.as_slice() {
            [Parts::Numbers(numbers)] => Some(numbers),
            _ => None,
        }
    }
}

impl Parts {
    #[inline]
    fn part(&self, row: usize) -> Seen<'_> {
        let bytes = |bytes| Seen::Bytes(SeenBytes::There(bytes));
        match self {
            Self::Numbers(array) if array.is_valid(row) => Seen::Number(array.value(row)),
            Self::Unsigned(array) if array.is_valid(row) => {
                let value = array.value(row);
                i64::try_from(value)
                    .map_or_else(|_| Seen::Bytes(SeenBytes::Digits(digits(value))), Seen::Number)
            }
            Self::Text(array) if array.is_valid(row) => bytes(array.value(row).as_bytes()),
            Self::Bytes(array) if array.is_valid(row) => bytes(array.value(row)),
            Self::Fixed(array) if array.is_valid(row) => bytes(array.value(row)),
            Self::Boolean(array) if array.is_valid(row) => Seen::Number(array.value(row).into()),
            _ => Seen::Null,
        }
    }

    fn array(&self) -> ArrayRef {
        match self {
            Self::Numbers(array) => Arc::new(array.clone()),
            Self::Unsigned(array) => Arc::new(array.clone()),
            Self::Text(array) => Arc::new(array.clone()),
            Self::Bytes(array) => Arc::new(array.clone()),
            Self::Fixed(array) => Arc::new(array.clone()),
            Self::Boolean(array) => Arc::new(array.clone()),
        }
    }
}

/// A number's 20 digits.
fn digits(mut number: u64) -> [u8; 20] {
    let mut digits = [b'0'; 20];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}

fn parts_of(column: &ArrayRef) -> Result<Parts, TargetError> {
    fn widened<T: ArrowPrimitiveType>(column: &ArrayRef) -> Parts
    where
        T::Native: Into<i64>,
    {
        Parts::Numbers(column.as_primitive::<T>().unary(Into::into))
    }
    Ok(match column.data_type() {
        DataType::Int16 => widened::<Int16Type>(column),
        DataType::Int32 => widened::<Int32Type>(column),
        DataType::Int64 => Parts::Numbers(column.as_primitive::<Int64Type>().clone()),
        DataType::UInt64 => Parts::Unsigned(column.as_primitive::<UInt64Type>().clone()),
        DataType::Date32 => widened::<Date32Type>(column),
        DataType::Time64(_) => widened::<Time64MicrosecondType>(column),
        DataType::Timestamp(_, _) => widened::<TimestampMicrosecondType>(column),
        DataType::Boolean => Parts::Boolean(column.as_boolean().clone()),
        DataType::Utf8 => Parts::Text(column.as_string::<i32>().clone()),
        DataType::Binary => Parts::Bytes(column.as_binary::<i32>().clone()),
        DataType::FixedSizeBinary(_) => Parts::Fixed(column.as_fixed_size_binary().clone()),
        other => {
            return Err(TargetError::new(
                ErrorKind::Refused,
                format!("a column of type {other} can't be part of a key"),
            ));
        }
    })
}
