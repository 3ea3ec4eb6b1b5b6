//! Arrow values as texts that the server reads: for parameters, and for COPY of types that have no
//! binary form of ours.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use dunlin_engine::TargetError;

use super::calendar::{date_text, time_text, timestamp_text};
use super::decode::uuid_text;
use crate::rows::bug;

/// The texts of a column's values.
pub(super) fn texts(column: &dyn Array) -> Result<Vec<Option<String>>, TargetError> {
    (0..column.len()).map(|row| text(column, row)).collect()
}

/// The text of one value.
pub(super) fn text(column: &dyn Array, row: usize) -> Result<Option<String>, TargetError> {
    if column.is_null(row) {
        return Ok(None);
    }
    let text = match column.data_type() {
        DataType::Boolean => if column.as_boolean().value(row) { "t" } else { "f" }.to_owned(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Float32 => float(column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => bytes(column.as_binary::<i32>().value(row)),
        DataType::Date32 => date_text(column.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => {
            time_text(column.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => timestamp_text(
            column.as_primitive::<TimestampMicrosecondType>().value(row),
            zone.is_some(),
        ),
        DataType::FixedSizeBinary(16) => {
            let raw = column.as_fixed_size_binary().value(row);
            uuid_text(raw.try_into().map_err(|_| bug("a UUID has another size than 16 bytes"))?)
        }
        DataType::List(_) => list(column.as_list::<i32>().value(row).as_ref())?,
        DataType::Map(_, _) => {
            let entries = column.as_map().value(row);
            map(entries.column(0).as_ref(), entries.column(1).as_ref())?
        }
        other => return Err(bug(&format!("rows for a target hold {other}"))),
    };
    Ok(Some(text))
}

/// The shortest text that is read as the same number.
fn float(value: impl Into<f64> + std::fmt::Display + Copy) -> String {
    let wide: f64 = value.into();
    if wide.is_nan() {
        "NaN".to_owned()
    } else if wide.is_infinite() {
        if wide > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        value.to_string()
    }
}

fn bytes(value: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + 2 * value.len());
    text.push_str("\\x");
    for byte in value {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

/// An array of the server's, from texts.
pub(super) fn array<'a>(items: impl Iterator<Item = Option<&'a str>>) -> String {
    let mut out = String::from("{");
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(',');
        }
        match item {
            Some(item) => push_quoted(&mut out, item),
            None => out.push_str("NULL"),
        }
    }
    out.push('}');
    out
}

fn list(items: &dyn Array) -> Result<String, TargetError> {
    let items = texts(items)?;
    Ok(array(items.iter().map(Option::as_deref)))
}

fn map(keys: &dyn Array, values: &dyn Array) -> Result<String, TargetError> {
    let mut out = String::new();
    for row in 0..keys.len() {
        if row > 0 {
            out.push(',');
        }
        push_quoted(&mut out, &text(keys, row)?.unwrap_or_default());
        out.push_str("=>");
        match text(values, row)? {
            Some(value) => push_quoted(&mut out, &value),
            None => out.push_str("NULL"),
        }
    }
    Ok(out)
}
