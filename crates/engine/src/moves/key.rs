//! Keys of rows, old and new, as values of ours.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, BooleanBuilder, FixedSizeBinaryBuilder,
    PrimitiveArray, StringBuilder, UInt32Array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
};
use std::cmp::Ordering;
use std::sync::Arc;

use super::columns::bug;
use crate::{ErrorKind, TargetError};

/// One column of a key. Whole numbers, days and times are numbers; all else is its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    /// A number. Those without a sign that are too large are their 20 digits, which come after all
    /// numbers, and among each other in their order.
    Number(i64),
    /// A text's bytes, or bytes.
    Bytes(Box<[u8]>),
    /// NULL. It comes last.
    Null,
}

/// A key: its columns' parts in order. Keys are ordered as a source orders rows: see
/// [`super::Extract::order`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RowKey(pub(super) Vec<Part>);

impl RowKey {
    /// The number, where it is one number.
    #[must_use]
    pub(super) fn number(&self) -> Option<i64> {
        match self.0.as_slice() {
            [Part::Number(number)] => Some(*number),
            _ => None,
        }
    }

    /// For people and for files: the parts with commas between them. Bytes that are no text are
    /// hexadecimal.
    #[must_use]
    pub(super) fn text(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(Part::text).collect();
        parts.join(",")
    }

    /// Appends what [`super::key_set::key_hash`] is taken of.
    pub(super) fn write_plain(&self, to: &mut Vec<u8>) {
        self.0.iter().for_each(|part| part.seen().write_plain(to));
    }

    /// Appends it in a form that `read` understands.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        for part in &self.0 {
            part.write(to);
        }
    }

    /// Reads a key of so many parts.
    pub(super) fn read(from: &mut &[u8], parts: usize) -> Option<Self> {
        (0..parts).map(|_| Part::read(from)).collect::<Option<Vec<_>>>().map(Self)
    }
}

impl Part {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Null => "NULL".to_owned(),
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if !text.contains(['\0']) => text.to_owned(),
                _ => hex::encode(bytes),
            },
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        self.seen().write(to);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        Seen::read(from).map(Seen::owned)
    }

    fn seen(&self) -> Seen<'_> {
        match self {
            Self::Number(number) => Seen::Number(*number),
            Self::Bytes(bytes) => Seen::Bytes(SeenBytes::There(bytes)),
            Self::Null => Seen::Null,
        }
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Appends a number, seven bits a byte.
pub(super) fn write_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Reads a number that `write_varint` wrote.
pub(super) fn read_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Columns that hold keys, for reading them row by row.
#[derive(Clone)]
pub(super) struct KeyColumns {
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
    pub(super) fn of(columns: &[ArrayRef]) -> Result<Self, TargetError> {
        let rows = columns.first().map_or(0, |column| column.len());
        let columns = columns.iter().map(parts_of).collect::<Result<_, _>>()?;
        Ok(Self { columns, rows })
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// How many columns a key has.
    pub(super) fn parts(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn key(&self, row: usize) -> RowKey {
        RowKey(self.columns.iter().map(|column| column.part(row).owned()).collect())
    }

    /// Appends a key as [`RowKey::write`] does, without making one.
    pub(super) fn write(&self, row: usize, to: &mut Vec<u8>) {
        self.columns.iter().for_each(|column| column.part(row).write(to));
    }

    /// What [`super::key_set::key_hash`] is taken of, without making a key.
    pub(super) fn write_plain(&self, row: usize, to: &mut Vec<u8>) {
        self.columns.iter().for_each(|column| column.part(row).write_plain(to));
    }

    /// How a row's key stands to another.
    pub(super) fn order(&self, row: usize, other: &RowKey) -> Ordering {
        let parts = self.columns.iter().map(|column| column.part(row));
        parts.cmp(other.0.iter().map(Part::seen))
    }

    /// Whether two rows have one key.
    pub(super) fn same(&self, row: usize, other: usize) -> bool {
        self.columns.iter().all(|column| column.part(row) == column.part(other))
    }

    /// How many rows from `from` on have keys up to that one. The keys are in order.
    pub(super) fn count_upto(&self, from: usize, upto: &RowKey) -> usize {
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
    pub(super) fn take(&self, rows: &UInt32Array) -> Result<Self, TargetError> {
        let is_all = rows.len() == self.rows
            && rows.values().iter().enumerate().all(|(place, row)| place == *row as usize);
        if is_all {
            return Ok(self.clone());
        }
        self.map(rows.len(), |column| arrow::compute::take(column, rows, None))
    }

    /// The keys of the rows that are marked.
    pub(super) fn filter(&self, keep: &BooleanArray) -> Result<Self, TargetError> {
        self.map(keep.true_count(), |column| arrow::compute::filter(column, keep))
    }

    /// The keys of rows from one on.
    pub(super) fn slice(&self, from: usize, rows: usize) -> Result<Self, TargetError> {
        self.map(rows, |column| Ok(column.slice(from, rows)))
    }

    /// One after the other.
    pub(super) fn concat(pieces: &[Self]) -> Result<Self, TargetError> {
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
    pub(super) fn numbers(&self) -> Option<&PrimitiveArray<Int64Type>> {
        match self.columns.as_slice() {
            [Parts::Numbers(numbers)] => Some(numbers),
            _ => None,
        }
    }
}

/// One column of a key, where it stands. It is ordered as [`Part`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Seen<'a> {
    Number(i64),
    Bytes(SeenBytes<'a>),
    Null,
}

/// Bytes that stand somewhere, or digits that stand nowhere else.
#[derive(Debug, Clone, Copy)]
enum SeenBytes<'a> {
    There(&'a [u8]),
    Digits([u8; 20]),
}

impl SeenBytes<'_> {
    fn get(&self) -> &[u8] {
        match self {
            Self::There(bytes) => bytes,
            Self::Digits(digits) => digits,
        }
    }
}

impl PartialEq for SeenBytes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for SeenBytes<'_> {}

impl PartialOrd for SeenBytes<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SeenBytes<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.get().cmp(other.get())
    }
}

impl Seen<'_> {
    fn owned(self) -> Part {
        match self {
            Self::Number(number) => Part::Number(number),
            Self::Bytes(bytes) => Part::Bytes(bytes.get().into()),
            Self::Null => Part::Null,
        }
    }

    fn write(self, to: &mut Vec<u8>) {
        match self {
            Self::Null => to.push(0),
            Self::Number(number) => {
                to.push(1);
                write_varint(to, zigzag(number));
            }
            Self::Bytes(bytes) => {
                to.push(2);
                write_varint(to, bytes.get().len() as u64);
                to.extend_from_slice(bytes.get());
            }
        }
    }

    fn write_plain(self, to: &mut Vec<u8>) {
        match self {
            Self::Null => to.push(0),
            Self::Number(number) => {
                to.push(1);
                to.extend_from_slice(&number.to_le_bytes());
            }
            Self::Bytes(bytes) => {
                to.push(2);
                to.extend_from_slice(&(bytes.get().len() as u64).to_le_bytes());
                to.extend_from_slice(bytes.get());
            }
        }
    }

    fn read<'b>(from: &mut &'b [u8]) -> Option<Seen<'b>> {
        let (&tag, rest) = from.split_first()?;
        *from = rest;
        match tag {
            0 => Some(Seen::Null),
            1 => Some(Seen::Number(unzigzag(read_varint(from)?))),
            2 => {
                let length = usize::try_from(read_varint(from)?).ok()?;
                let (bytes, rest) = from.split_at_checked(length)?;
                *from = rest;
                Some(Seen::Bytes(SeenBytes::There(bytes)))
            }
            _ => None,
        }
    }
}

/// Passes over a key that was written, of so many parts: its bytes.
pub(super) fn skip_key<'b>(from: &mut &'b [u8], parts: usize) -> Option<&'b [u8]> {
    let start = *from;
    for _ in 0..parts {
        Seen::read(from)?;
    }
    start.get(..start.len() - from.len())
}

/// From a key that was written to what [`super::key_set::key_hash`] is taken of.
pub(super) fn plain_of_written(mut key: &[u8], to: &mut Vec<u8>) {
    while let Some(part) = Seen::read(&mut key) {
        part.write_plain(to);
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

/// Makes columns of these types out of keys.
pub(super) fn columns_of<'a>(
    types: &[DataType],
    keys: impl Iterator<Item = &'a RowKey> + Clone,
) -> Result<Vec<ArrayRef>, TargetError> {
    types.iter().enumerate().map(|(place, of)| column_of(of, keys.clone(), place)).collect()
}

fn column_of<'a>(
    of: &DataType,
    keys: impl Iterator<Item = &'a RowKey>,
    place: usize,
) -> Result<ArrayRef, TargetError> {
    let parts = keys.map(|key| key.0.get(place).unwrap_or(&Part::Null));
    let number = |part: &Part| match part {
        Part::Number(number) => Some(*number),
        _ => None,
    };
    let bytes = |part: &'a Part| match part {
        Part::Bytes(bytes) => Some(bytes.as_ref()),
        _ => None,
    };
    let wrong = || TargetError::new(ErrorKind::Bug, format!("a key is not of type {of}"));
    Ok(match of {
        DataType::Boolean => {
            let mut builder = BooleanBuilder::new();
            parts.for_each(|part| builder.append_option(number(part).map(|n| n != 0)));
            Arc::new(builder.finish())
        }
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            for part in parts {
                let text = bytes(part).map(std::str::from_utf8).transpose().map_err(|_| wrong())?;
                builder.append_option(text);
            }
            Arc::new(builder.finish())
        }
        DataType::Binary => {
            let mut builder = BinaryBuilder::new();
            parts.for_each(|part| builder.append_option(bytes(part)));
            Arc::new(builder.finish())
        }
        DataType::FixedSizeBinary(width) => {
            let mut builder = FixedSizeBinaryBuilder::new(*width);
            for part in parts {
                match bytes(part) {
                    Some(bytes) => builder.append_value(bytes).map_err(|_| wrong())?,
                    None => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        DataType::UInt64 => {
            let digits = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
            let unsigned = |part: &Part| match part {
                Part::Number(number) => u64::try_from(*number).ok(),
                Part::Bytes(bytes) => digits(bytes),
                Part::Null => None,
            };
            Arc::new(parts.map(unsigned).collect::<PrimitiveArray<UInt64Type>>())
        }
        other => {
            let numbers: PrimitiveArray<Int64Type> = parts.map(number).collect();
            // Through numbers of its own width: a day is 32 bits, an instant 64.
            let narrow = match other {
                DataType::Date32 => DataType::Int32,
                _ => DataType::Int64,
            };
            let numbers = arrow::compute::cast(&numbers, &narrow).map_err(|_| wrong())?;
            arrow::compute::cast(&numbers, other).map_err(|_| wrong())?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_there_and_back() {
        let key = RowKey(vec![
            Part::Number(i64::MIN),
            Part::Number(-1),
            Part::Bytes(b"\0a,".as_slice().into()),
            Part::Null,
        ]);
        let mut bytes = Vec::new();
        key.write(&mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(RowKey::read(&mut rest, 4), Some(key));
        assert!(rest.is_empty());
        for cut in 0..bytes.len() {
            assert_eq!(RowKey::read(&mut &bytes[..cut], 4), None, "{cut}");
        }
    }

    #[test]
    fn columns_tell_what_keys_tell() {
        let numbers: ArrayRef =
            Arc::new(PrimitiveArray::<Int64Type>::from(vec![Some(-3), Some(7), Some(7), None]));
        let unsigned: ArrayRef =
            Arc::new(PrimitiveArray::<UInt64Type>::from(vec![1, 2, u64::MAX, u64::MAX]));
        let columns = KeyColumns::of(&[numbers, unsigned]).unwrap();
        let keys: Vec<RowKey> = (0..4).map(|row| columns.key(row)).collect();
        for (row, key) in keys.iter().enumerate() {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            columns.write(row, &mut one);
            key.write(&mut other);
            assert_eq!(one, other);
            assert_eq!(skip_key(&mut one.as_slice(), 2), Some(other.as_slice()));
            let mut plain = Vec::new();
            plain_of_written(&one, &mut plain);
            (one, other) = (Vec::new(), Vec::new());
            columns.write_plain(row, &mut one);
            key.write_plain(&mut other);
            assert_eq!((&one, &one), (&other, &plain));
            for (place, than) in keys.iter().enumerate() {
                assert_eq!(columns.order(row, than), key.cmp(than));
                assert_eq!(columns.same(row, place), key == than);
            }
            assert_eq!(columns.count_upto(0, key), keys.iter().filter(|k| *k <= key).count());
        }
        let twice = KeyColumns::concat(&[columns.clone(), columns.slice(1, 2).unwrap()]).unwrap();
        assert_eq!((twice.len(), twice.key(5)), (6, keys[2].clone()));
        let some = twice.take(&UInt32Array::from(vec![5, 0])).unwrap();
        assert_eq!((some.key(0), some.key(1)), (keys[2].clone(), keys[0].clone()));
        let marked = BooleanArray::from(vec![false, true]);
        assert_eq!(some.filter(&marked).unwrap().key(0), keys[0]);
    }

    #[test]
    fn numbers_without_a_sign_keep_their_order() {
        let all = [0, 7, i64::MAX as u64, i64::MAX as u64 + 1, 10_u64.pow(19), u64::MAX];
        let column: ArrayRef = Arc::new(PrimitiveArray::<UInt64Type>::from(all.to_vec()));
        let read = KeyColumns::of(std::slice::from_ref(&column)).unwrap();
        let keys: Vec<RowKey> = (0..all.len()).map(|row| read.key(row)).collect();
        assert!(keys.is_sorted());
        assert_eq!(columns_of(&[DataType::UInt64], keys.iter()).unwrap(), [column]);
    }

    #[test]
    fn columns_come_of_keys_and_keys_of_columns() {
        let keys = [
            RowKey(vec![Part::Number(7), Part::Bytes(b"x".as_slice().into())]),
            RowKey(vec![Part::Number(-7), Part::Null]),
        ];
        let types = [DataType::Date32, DataType::Utf8];
        let columns = columns_of(&types, keys.iter()).unwrap();
        let read = KeyColumns::of(&columns).unwrap();
        assert_eq!((0..read.len()).map(|row| read.key(row)).collect::<Vec<_>>(), keys);
    }
}
