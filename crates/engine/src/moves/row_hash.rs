//! Hashes of rows, and the bytes of values that they are taken of.
//!
//! Two rows have one hash where they have the same columns, and all values are equal as the database sees
//! them: a number's trailing zeros, the order of a JSON object's members and a `char(n)`'s trailing blanks do not count.

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::{Field, ValueType};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128, xxh3_128_with_seed};

use crate::{ErrorKind, TargetError};

/// A row's hash. 0 stands for "not known", and is none.
pub(super) type RowHash = u128;

/// The hash of each row.
pub(super) fn row_hashes(
    fields: &[Field],
    rows: &RecordBatch,
) -> Result<Vec<RowHash>, TargetError> {
    let columns: Vec<Values<'_>> = fields
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| Values::of(&field.value_type, column))
        .collect();
    let mut hashes = Vec::with_capacity(rows.num_rows());
    let mut buffer = Vec::with_capacity(256);
    let names = names_of(fields);
    for row in 0..rows.num_rows() {
        buffer.clear();
        for column in &columns {
            column.append(&mut buffer, row)?;
        }
        hashes.push(xxh3_128_with_seed(&buffer, names).max(1));
    }
    Ok(hashes)
}

/// Tells columns from others that would have the same values: a mapping that comes to write `note` what
/// it wrote `title` makes another row.
fn names_of(fields: &[Field]) -> u64 {
    let names = fields.iter().flat_map(|field| [field.name.as_bytes(), b"\0"]);
    xxh3_64(&names.collect::<Vec<_>>().concat())
}

/// A column whose type is looked at once, and not for each value.
enum Values<'a> {
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Timestamp(&'a TimestampMicrosecondArray),
    Text(&'a ValueType, &'a StringArray),
    Fixed(&'a FixedSizeBinaryArray),
    Other(&'a ValueType, &'a ArrayRef),
}

impl<'a> Values<'a> {
    fn of(of: &'a ValueType, column: &'a ArrayRef) -> Self {
        match column.data_type() {
            DataType::Int32 => Self::Int32(column.as_primitive()),
            DataType::Int64 => Self::Int64(column.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Timestamp(column.as_primitive()),
            DataType::Utf8 => Self::Text(of, column.as_string()),
            DataType::FixedSizeBinary(_) => Self::Fixed(column.as_fixed_size_binary()),
            _ => Self::Other(of, column),
        }
    }

    /// As [`append`] does.
    #[inline]
    fn append(&self, to: &mut Vec<u8>, row: usize) -> Result<(), TargetError> {
        fn number(to: &mut Vec<u8>, number: Option<i64>) {
            match number {
                None => to.push(0),
                Some(number) => {
                    to.push(1);
                    to.extend_from_slice(&number.to_le_bytes());
                }
            }
        }
        match self {
            Self::Int32(values) => {
                number(to, values.is_valid(row).then(|| values.value(row).into()));
            }
            Self::Int64(values) => number(to, values.is_valid(row).then(|| values.value(row))),
            Self::Timestamp(values) => number(to, values.is_valid(row).then(|| values.value(row))),
            Self::Text(of, values) if values.is_valid(row) => {
                to.push(1);
                text(to, of, values.value(row));
            }
            Self::Fixed(values) if values.is_valid(row) => {
                to.push(1);
                bytes(to, values.value(row));
            }
            Self::Text(..) | Self::Fixed(_) => to.push(0),
            Self::Other(of, column) => append(to, of, column, row)?,
        }
        Ok(())
    }
}

/// The hash of some bytes.
pub(super) fn hash(bytes: &[u8]) -> u128 {
    xxh3_128(bytes).max(1)
}

fn append(
    to: &mut Vec<u8>,
    of: &ValueType,
    column: &ArrayRef,
    row: usize,
) -> Result<(), TargetError> {
    if column.is_null(row) {
        to.push(0);
        return Ok(());
    }
    to.push(1);
    let number = |to: &mut Vec<u8>, number: i64| to.extend_from_slice(&number.to_le_bytes());
    match column.data_type() {
        DataType::Boolean => to.push(column.as_boolean().value(row).into()),
        DataType::Int16 => number(to, column.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => number(to, column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => number(to, column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => number(to, column.as_primitive::<UInt64Type>().value(row) as i64),
        DataType::Date32 => number(to, column.as_primitive::<Date32Type>().value(row).into()),
        DataType::Time64(_) => {
            number(to, column.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Timestamp(_, _) => {
            number(to, column.as_primitive::<TimestampMicrosecondType>().value(row));
        }
        DataType::Float32 => float(to, column.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => float(to, column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => text(to, of, column.as_string::<i32>().value(row)),
        DataType::Binary => bytes(to, column.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(_) => bytes(to, column.as_fixed_size_binary().value(row)),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            to.extend_from_slice(&(items.len() as u64).to_le_bytes());
            let item = match of {
                ValueType::List(item) => item.as_ref(),
                _ => &ValueType::Other,
            };
            for place in 0..items.len() {
                append(to, item, &items, place)?;
            }
        }
        DataType::Map(_, _) => map(to, column, row),
        other => {
            return Err(TargetError::new(
                ErrorKind::Bug,
                format!("values of type {other} have no hash"),
            ));
        }
    }
    Ok(())
}

fn float(to: &mut Vec<u8>, value: f64) {
    // One zero, and one NaN: databases don't tell others apart.
    let value = if value == 0.0 { 0.0 } else { value };
    let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    to.extend_from_slice(&bits.to_le_bytes());
}

fn bytes(to: &mut Vec<u8>, value: &[u8]) {
    to.extend_from_slice(&(value.len() as u64).to_le_bytes());
    to.extend_from_slice(value);
}

fn text(to: &mut Vec<u8>, of: &ValueType, value: &str) {
    match of {
        of if is_filled(of) => bytes(to, without_filling(of, value).as_bytes()),
        ValueType::Json { binary: true } => {
            let before = to.len();
            if !json_bytes(to, value) {
                to.truncate(before);
                bytes(to, value.as_bytes());
            }
        }
        _ => bytes(to, value.as_bytes()),
    }
}

/// Whether a column of that type fills its values up.
pub(super) fn is_filled(of: &ValueType) -> bool {
    matches!(of, ValueType::Numeric { .. } | ValueType::Text { padded: true })
}

/// A value's text without what its column fills it up with.
pub(super) fn without_filling<'v>(of: &ValueType, value: &'v str) -> &'v str {
    match of {
        ValueType::Numeric { .. } => plain_number(value),
        ValueType::Text { padded: true } => value.trim_end_matches(' '),
        _ => value,
    }
}

/// A decimal's digits without zeros that say nothing.
fn plain_number(value: &str) -> &str {
    let value = match value.split_once('.') {
        Some(_) => value.trim_end_matches('0').trim_end_matches('.'),
        None => value,
    };
    if value == "-0" { "0" } else { value }
}

/// JSON by its meaning. `false`: it is none.
fn json_bytes(to: &mut Vec<u8>, json: &str) -> bool {
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'{') => {
            // The last of several members with one name counts, as in `jsonb`.
            let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else {
                return false;
            };
            to.push(b'{');
            to.extend_from_slice(&(members.len() as u64).to_le_bytes());
            members.iter().all(|(name, value)| {
                bytes(to, name.as_bytes());
                json_bytes(to, value.get())
            })
        }
        Some(b'[') => {
            let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) else { return false };
            to.push(b'[');
            to.extend_from_slice(&(items.len() as u64).to_le_bytes());
            items.iter().all(|item| json_bytes(to, item.get()))
        }
        Some(b'"') => match serde_json::from_str::<String>(json) {
            Ok(text) => {
                to.push(b'"');
                bytes(to, text.as_bytes());
                true
            }
            Err(_) => false,
        },
        Some(b'-' | b'0'..=b'9') => {
            to.push(b'1');
            json_number(to, json);
            true
        }
        Some(_) => {
            bytes(to, json.as_bytes());
            true
        }
        None => false,
    }
}

/// A number by its value: its sign, its digits from the first to the last that is no zero, and where
/// the point stands. No digit is rounded.
fn json_number(to: &mut Vec<u8>, text: &str) {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (b'-', rest),
        None => (b'+', text),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0');
    let point = exponent.parse::<i64>().unwrap_or(i64::MAX / 2) + whole.len() as i64
        - (digits.len() - significant.len()) as i64;
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        bytes(to, b"0");
        return;
    }
    to.push(sign);
    bytes(to, significant.as_bytes());
    to.extend_from_slice(&point.to_le_bytes());
}

fn map(to: &mut Vec<u8>, column: &ArrayRef, row: usize) {
    let entries = column.as_map().value(row);
    let (keys, values) =
        (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
    let mut places: Vec<usize> = (0..keys.len()).collect();
    places.sort_by_key(|place| keys.value(*place));
    to.extend_from_slice(&(places.len() as u64).to_le_bytes());
    for place in places {
        bytes(to, keys.value(place).as_bytes());
        if values.is_null(place) {
            to.push(0);
        } else {
            to.push(1);
            bytes(to, values.value(place).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(of: &ValueType, value: &str) -> Vec<u8> {
        let mut to = Vec::new();
        text(&mut to, of, value);
        to
    }

    #[test]
    fn what_means_the_same_has_one_hash() {
        let numeric = ValueType::Numeric { scale: None };
        assert_eq!(hash_of(&numeric, "1.50"), hash_of(&numeric, "1.5"));
        assert_eq!(hash_of(&numeric, "-0.00"), hash_of(&numeric, "0"));
        assert_ne!(hash_of(&numeric, "100"), hash_of(&numeric, "1"));
        let json = ValueType::Json { binary: true };
        assert_eq!(
            hash_of(&json, r#"{"b":1, "a":[true]}"#),
            hash_of(&json, r#"{"a":[true],"b":1.0}"#)
        );
        assert_ne!(hash_of(&json, r#"{"a":["b"]}"#), hash_of(&json, r#"{"a":"b"}"#));
        assert_eq!(hash_of(&json, "[100, 0.0]"), hash_of(&json, "[1e2,-0]"));
        assert_ne!(hash_of(&json, "9007199254740993"), hash_of(&json, "9007199254740992"));
        assert_ne!(hash_of(&json, "[10]"), hash_of(&json, "[1]"));
        let text = ValueType::Json { binary: false };
        assert_ne!(hash_of(&text, r#"{"a":1}"#), hash_of(&text, r#"{"a": 1}"#));
    }
}
