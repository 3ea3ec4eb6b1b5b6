//! SQLite's values on their way into batches.
//!
//! SQLite lets any column hold any value. One that doesn't fit its column's declared type is told of
//! as one that can't be read; it never becomes NULL, 0, or an empty text for anybody who uses it.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, FixedSizeBinaryBuilder, Float64Builder,
    Int64Builder, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Field, ValueType};
use rusqlite::types::ValueRef;

use super::decimal;
use super::moment::{self, Why};

/// The largest whole number below which a floating-point number has every one.
const FLOAT_WHOLE_MAX: u64 = 1 << 53;

/// A column of the batch that is being filled.
pub(super) struct Column {
    value_type: ValueType,
    /// Rows are ordered by it.
    ordered: bool,
    cells: Cells,
}

enum Cells {
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Uuid(FixedSizeBinaryBuilder),
}

impl Column {
    /// An empty column, in the form that a source's or a target's batches have.
    pub(super) fn new(field: &Field, ordered: bool, target: bool) -> Result<Self, TargetError> {
        let cells = match &field.value_type {
            ValueType::Boolean => Cells::Boolean(BooleanBuilder::new()),
            ValueType::Int64 => Cells::Int64(Int64Builder::new()),
            ValueType::Float64 => Cells::Float64(Float64Builder::new()),
            ValueType::Bytes => Cells::Bytes(BinaryBuilder::new()),
            ValueType::Date => Cells::Date(Date32Builder::new()),
            ValueType::Time => Cells::Time(Time64MicrosecondBuilder::new()),
            ValueType::Timestamp => Cells::Timestamp(TimestampMicrosecondBuilder::new()),
            ValueType::TimestampTz => {
                Cells::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            ValueType::Uuid if target => Cells::Uuid(FixedSizeBinaryBuilder::new(16)),
            ValueType::Uuid
            | ValueType::Numeric { .. }
            | ValueType::Text { .. }
            | ValueType::Json { .. }
            | ValueType::Other => Cells::Text(StringBuilder::new()),
            other => {
                return Err(TargetError::new(
                    ErrorKind::Bug,
                    format!("SQLite has no values of the type {other:?}: column {}", field.name),
                ));
            }
        };
        Ok(Self { value_type: field.value_type.clone(), ordered, cells })
    }

    /// Adds a value, or nothing where it doesn't fit; tells about how many bytes it takes.
    pub(super) fn push(&mut self, value: ValueRef<'_>) -> Result<usize, Why> {
        let null = value == ValueRef::Null;
        match &mut self.cells {
            Cells::Boolean(cells) if null => cells.append_null(),
            Cells::Boolean(cells) => cells.append_value(boolean(value)?),
            Cells::Int64(cells) if null => cells.append_null(),
            Cells::Int64(cells) => cells.append_value(integer(value)?),
            Cells::Float64(cells) if null => cells.append_null(),
            Cells::Float64(cells) => cells.append_value(float(value)?),
            Cells::Bytes(cells) if null => cells.append_null(),
            Cells::Bytes(cells) => {
                let ValueRef::Blob(bytes) = value else {
                    return Err("holds no bytes (a BLOB)");
                };
                cells.append_value(bytes);
                return Ok(bytes.len());
            }
            Cells::Date(cells) if null => cells.append_null(),
            Cells::Date(cells) => cells.append_value(moment::parse_date(moment_text(value)?)?),
            Cells::Time(cells) if null => cells.append_null(),
            Cells::Time(cells) => cells.append_value(moment::parse_time(moment_text(value)?)?),
            Cells::Timestamp(cells) if null => cells.append_null(),
            Cells::Timestamp(cells) => {
                let text = moment_text(value)?;
                cells.append_value(match self.value_type {
                    ValueType::Timestamp => moment::parse_timestamp(text)?,
                    _ => moment::parse_instant(text)?,
                });
            }
            Cells::Uuid(cells) if null => cells.append_null(),
            Cells::Uuid(cells) => {
                let bytes = uuid(value)?.to_be_bytes();
                cells.append_value(bytes).map_err(|_| "holds no UUID")?;
            }
            Cells::Text(cells) if null => cells.append_null(),
            Cells::Text(cells) => {
                if self.ordered && matches!(value, ValueRef::Real(_)) {
                    return Err("holds a number with a fraction, by which rows can't be ordered");
                }
                let text = text(&self.value_type, value)?;
                cells.append_value(&text);
                return Ok(text.len());
            }
        }
        Ok(16)
    }

    /// Ends the batch; the next begins empty.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match &mut self.cells {
            Cells::Boolean(cells) => Arc::new(cells.finish()),
            Cells::Int64(cells) => Arc::new(cells.finish()),
            Cells::Float64(cells) => Arc::new(cells.finish()),
            Cells::Text(cells) => Arc::new(cells.finish()),
            Cells::Bytes(cells) => Arc::new(cells.finish()),
            Cells::Date(cells) => Arc::new(cells.finish()),
            Cells::Time(cells) => Arc::new(cells.finish()),
            Cells::Timestamp(cells) => Arc::new(cells.finish()),
            Cells::Uuid(cells) => Arc::new(cells.finish()),
        }
    }
}

/// A value's text, in columns whose values travel as texts.
pub(super) fn text<'a>(of: &ValueType, value: ValueRef<'a>) -> Result<Cow<'a, str>, Why> {
    match of {
        ValueType::Uuid => Ok(Cow::Owned(uuid_text(uuid(value)?))),
        ValueType::Numeric { scale } => numeric(value, *scale).map(Cow::Owned),
        _ => match value {
            ValueRef::Text(bytes) => utf8(bytes).map(Cow::Borrowed),
            ValueRef::Integer(number) => Ok(Cow::Owned(number.to_string())),
            ValueRef::Real(number) => Ok(Cow::Owned(format!("{number:?}"))),
            ValueRef::Blob(_) => Err("holds bytes (a BLOB) and no text"),
            ValueRef::Null => Err("holds NULL"),
        },
    }
}

/// A UUID as its 8-4-4-4-12 digits.
pub(super) fn uuid_text(number: u128) -> String {
    let digits = format!("{number:032x}");
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

/// A UUID of 36 characters.
pub(super) fn parse_uuid(text: &str) -> Result<u128, Why> {
    let at = |place: usize| [8, 13, 18, 23].contains(&place);
    let formed = text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(place, byte)| if at(place) { byte == b'-' } else { byte.is_ascii_hexdigit() });
    if !formed {
        return Err("holds no UUID");
    }
    u128::from_str_radix(&text.replace('-', ""), 16).map_err(|_| "holds no UUID")
}

fn utf8(bytes: &[u8]) -> Result<&str, Why> {
    std::str::from_utf8(bytes).map_err(|_| "holds a text that is not UTF-8")
}

fn boolean(value: ValueRef<'_>) -> Result<bool, Why> {
    match value {
        ValueRef::Integer(0) | ValueRef::Text(b"f" | b"false") => Ok(false),
        ValueRef::Integer(1) | ValueRef::Text(b"t" | b"true") => Ok(true),
        _ => Err("holds neither true nor false (1 or 0)"),
    }
}

fn integer(value: ValueRef<'_>) -> Result<i64, Why> {
    match value {
        ValueRef::Integer(number) => Ok(number),
        _ => Err("holds no whole number"),
    }
}

fn float(value: ValueRef<'_>) -> Result<f64, Why> {
    match value {
        ValueRef::Real(number) => Ok(number),
        #[expect(clippy::cast_precision_loss, reason = "only those that are exact")]
        ValueRef::Integer(number) if number.unsigned_abs() <= FLOAT_WHOLE_MAX => Ok(number as f64),
        _ => Err("holds no floating-point number"),
    }
}

fn numeric(value: ValueRef<'_>, scale: Option<i16>) -> Result<String, Why> {
    let digits = match value {
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) if number.is_finite() => decimal::real_text(number),
        ValueRef::Text(bytes) => match utf8(bytes)? {
            text if decimal::is_plain(text) => text.to_owned(),
            _ => return Err("holds no number"),
        },
        _ => return Err("holds no number"),
    };
    Ok(decimal::padded(digits, scale))
}

fn uuid(value: ValueRef<'_>) -> Result<u128, Why> {
    match value {
        ValueRef::Text(bytes) => parse_uuid(utf8(bytes)?),
        ValueRef::Blob(bytes) => {
            let bytes: [u8; 16] = bytes.try_into().map_err(|_| "holds no UUID")?;
            Ok(u128::from_be_bytes(bytes))
        }
        _ => Err("holds no UUID"),
    }
}

fn moment_text(value: ValueRef<'_>) -> Result<&str, Why> {
    match value {
        ValueRef::Text(bytes) => utf8(bytes),
        _ => Err("holds a number or bytes where a day or a time is declared"),
    }
}
