//! A batch's values on their way into SQLite.
//!
//! Booleans are stored as 1 and 0, UUIDs as their 36 characters in lower case, days and times as
//! the texts of [`super::moment`]. SQLite has no NaN (it stores NULL) and no infinite days: rows
//! with such values are refused. So are numbers whose digits a column of numeric affinity would
//! lose.

use std::borrow::Cow;

use arrow::array::{
    Array, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Field, ValueType};
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use super::decimal::{self, Stored};
use super::declared::{Affinity, affinity};
use super::decode::{self, uuid_text};
use super::moment;

/// A value as it is bound.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bound<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
    Blob(&'a [u8]),
}

impl Bound<'_> {
    /// As SQLite gives it back from a column that leaves it as it is.
    pub(super) fn value(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            // An empty slice would be bound as NULL by some ways of asking.
            Self::Blob([]) => ToSqlOutput::Owned(Value::Blob(Vec::new())),
            other => ToSqlOutput::Borrowed(other.value()),
        })
    }
}

/// A batch's column.
pub(super) struct Cells<'a> {
    field: &'a Field,
    affinity: Affinity,
    array: &'a dyn Array,
    values: Values<'a>,
}

enum Values<'a> {
    Boolean(&'a BooleanArray),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    UInt64(&'a UInt64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a Date32Array),
    Time(&'a Time64MicrosecondArray),
    Timestamp(&'a TimestampMicrosecondArray),
    Uuid(&'a FixedSizeBinaryArray),
}

/// The columns of a batch, which must be those fields.
pub(super) fn columns<'a>(
    fields: &[&'a Field],
    rows: &'a RecordBatch,
) -> Result<Vec<Cells<'a>>, TargetError> {
    if fields.len() != rows.num_columns() {
        return Err(TargetError::new(ErrorKind::Bug, "a batch has not the columns it should have"));
    }
    fields.iter().zip(rows.columns()).map(|(field, array)| Cells::new(field, array)).collect()
}

impl<'a> Cells<'a> {
    fn new(field: &'a Field, array: &'a dyn Array) -> Result<Self, TargetError> {
        fn of<'a, T: 'static>(
            array: &'a dyn Array,
            wrap: impl Fn(&'a T) -> Values<'a>,
        ) -> Option<Values<'a>> {
            array.as_any().downcast_ref::<T>().map(wrap)
        }
        let values = of(array, Values::Text)
            .or_else(|| of(array, Values::Int64))
            .or_else(|| of(array, Values::Uuid))
            .or_else(|| of(array, Values::Timestamp))
            .or_else(|| of(array, Values::Boolean))
            .or_else(|| of(array, Values::Float64))
            .or_else(|| of(array, Values::Bytes))
            .or_else(|| of(array, Values::Date))
            .or_else(|| of(array, Values::Time))
            .or_else(|| of(array, Values::Int32))
            .or_else(|| of(array, Values::Int16))
            .or_else(|| of(array, Values::UInt64))
            .or_else(|| of(array, Values::Float32));
        let Some(values) = values else {
            return Err(TargetError::new(
                ErrorKind::Bug,
                format!("column {} can't hold {} in SQLite", field.name, array.data_type()),
            ));
        };
        Ok(Self { field, affinity: affinity(&field.type_name), array, values })
    }

    /// The value of a row; or why it can't be stored, without the value.
    pub(super) fn bound(&self, row: usize) -> Result<Bound<'a>, String> {
        if self.array.is_null(row) {
            return Ok(Bound::Null);
        }
        let bound = match &self.values {
            Values::Boolean(array) => Ok(Bound::Integer(i64::from(array.value(row)))),
            Values::Int16(array) => Ok(Bound::Integer(i64::from(array.value(row)))),
            Values::Int32(array) => Ok(Bound::Integer(i64::from(array.value(row)))),
            Values::Int64(array) => Ok(Bound::Integer(array.value(row))),
            Values::UInt64(array) => i64::try_from(array.value(row))
                .map(Bound::Integer)
                .map_err(|_| "it is larger than SQLite's largest whole number"),
            Values::Float32(array) => real(f64::from(array.value(row))),
            Values::Float64(array) => real(array.value(row)),
            Values::Text(array) => text(&self.field.value_type, self.affinity, array.value(row)),
            Values::Bytes(array) => Ok(Bound::Blob(array.value(row))),
            Values::Date(array) => moment::date_text(array.value(row)).map(owned),
            Values::Time(array) => moment::time_text(array.value(row)).map(owned),
            Values::Timestamp(array) => match self.field.value_type {
                ValueType::TimestampTz => moment::instant_text(array.value(row)).map(owned),
                _ => moment::timestamp_text(array.value(row)).map(owned),
            },
            Values::Uuid(array) => {
                let number = array.value(row).iter().fold(0, |sum, b| sum << 8 | u128::from(*b));
                Ok(owned(uuid_text(number)))
            }
        };
        bound.map_err(|why| format!("column {}: {why}", self.field.name))
    }
}

/// What a column stores for a text.
pub(super) fn text<'a>(
    of: &ValueType,
    affinity: Affinity,
    text: &'a str,
) -> Result<Bound<'a>, &'static str> {
    let as_it_is = Ok(Bound::Text(Cow::Borrowed(text)));
    if *of == ValueType::Uuid {
        let number = decode::parse_uuid(text).map_err(|_| "it is no UUID")?;
        return Ok(owned(uuid_text(number)));
    }
    if affinity != Affinity::Numeric {
        return as_it_is;
    }
    // JSON that is one number, which the column would store as such, and give back in its own form.
    if matches!(of, ValueType::Json { .. }) {
        return match decimal::stored(text) {
            Some(Stored::Integer(number)) if number.to_string() == text => {
                Ok(Bound::Integer(number))
            }
            Some(Stored::Real(number)) if format!("{number:?}") == text => Ok(Bound::Real(number)),
            Some(_) => {
                Err("it is a number alone, whose form SQLite changes here; a column that is \
                            declared TEXT keeps it")
            }
            None => as_it_is,
        };
    }
    match decimal::stored(text) {
        Some(Stored::Integer(number)) => Ok(Bound::Integer(number)),
        Some(Stored::Real(number)) => Ok(Bound::Real(number)),
        Some(Stored::Inexact) => Err("it has more digits than SQLite keeps of a number; a column \
                                      that is declared TEXT keeps them"),
        None if matches!(of, ValueType::Numeric { .. }) => {
            Err("it is no number; SQLite has neither NaN nor infinity")
        }
        None => as_it_is,
    }
}

fn owned<'a>(text: String) -> Bound<'a> {
    Bound::Text(Cow::Owned(text))
}

fn real<'a>(number: f64) -> Result<Bound<'a>, &'static str> {
    if number.is_nan() { Err("SQLite has no NaN") } else { Ok(Bound::Real(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_alone_in_json_keeps_its_form_or_is_refused() {
        let json = ValueType::Json { binary: false };
        let stored = |value| text(&json, Affinity::Numeric, value);
        assert_eq!(stored("5"), Ok(Bound::Integer(5)));
        assert_eq!(stored("1.5"), Ok(Bound::Real(1.5)));
        for changed in ["1.50", "1e2", "-0", "5.0", "12345678901234567890.5"] {
            let kept = text(&json, Affinity::Text, changed);
            assert_eq!(kept, Ok(Bound::Text(changed.into())));
            assert!(stored(changed).is_err(), "{changed}");
        }
        assert_eq!(stored("[1.50]"), Ok(Bound::Text("[1.50]".into())));
    }
}
