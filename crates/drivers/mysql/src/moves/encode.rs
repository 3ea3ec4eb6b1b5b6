//! A batch's values as SQL.
//!
//! Invariant: a literal is stored as exactly the value that it was made of, or refused. The server
//! takes some values and stores others without a word, even in strict mode: finer times are cut,
//! texts lose trailing blanks, a year of two digits gets a century, the text `2` is the second
//! label of an `enum`. Such values are refused here.

use std::fmt::Write as _;

use arrow::array::{
    Array, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
};
use dunlin_engine::TargetError;
use dunlin_model::moves::{Field, ValueType};

use super::decode::uuid_text;
use super::kind::{base, is_shape, labels, size};
use super::{bug, moment};

/// A batch's column.
pub(super) struct Cells<'a> {
    field: &'a Field,
    base: String,
    /// Of an `enum` or a `set`.
    labels: Vec<String>,
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
        return Err(bug("a batch has not the columns it should have"));
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
            let (name, held) = (&field.name, array.data_type());
            return Err(bug(format!("column {name} can't hold {held} in MySQL")));
        };
        let base = base(&field.type_name);
        let listed = matches!(base.as_str(), "enum" | "set");
        let labels = if listed { labels(&field.type_name) } else { Vec::new() };
        Ok(Self { field, base, labels, array, values })
    }

    /// The value of a row as SQL; or why it can't be stored, without the value.
    pub(super) fn literal(&self, row: usize) -> Result<String, String> {
        if self.array.is_null(row) {
            if !self.field.nullable {
                // The server would put a number or the present moment into some columns.
                return Err(format!("column {} cannot be NULL", self.field.name));
            }
            return Ok("NULL".to_owned());
        }
        self.given(row).map_err(|why| format!("column {}: {why}", self.field.name))
    }

    fn given(&self, row: usize) -> Result<String, &'static str> {
        let digits = size(&self.field.type_name).unwrap_or(0);
        let quoted = |text: String| format!("'{text}'");
        match &self.values {
            Values::Boolean(array) => Ok(i32::from(array.value(row)).to_string()),
            Values::Int16(array) => match array.value(row) {
                1..=99 if self.base == "year" => Err("a year of two digits"),
                number => Ok(number.to_string()),
            },
            Values::Int32(array) => Ok(array.value(row).to_string()),
            Values::Int64(array) => Ok(array.value(row).to_string()),
            Values::UInt64(array) => Ok(array.value(row).to_string()),
            Values::Float32(array) => real(f64::from(array.value(row))),
            Values::Float64(array) => real(array.value(row)),
            Values::Text(array) => self.text(array.value(row)),
            Values::Bytes(array) => self.bytes(array.value(row)),
            Values::Date(array) => moment::date_text(array.value(row)).map(quoted),
            Values::Time(array) => moment::time_text(array.value(row), digits).map(quoted),
            Values::Timestamp(array) => {
                moment::timestamp_text(array.value(row), digits).map(quoted)
            }
            Values::Uuid(array) => Ok(quoted(uuid_text(array.value(row)))),
        }
    }

    fn text(&self, text: &str) -> Result<String, &'static str> {
        match &self.field.value_type {
            ValueType::Numeric { scale } => number(text, *scale),
            ValueType::Text { padded } => {
                let text = if *padded { text.trim_end_matches(' ') } else { text };
                let limit = self.field.max_chars.and_then(|limit| usize::try_from(limit).ok());
                if limit.is_some_and(|limit| text.len() > limit && text.chars().count() > limit) {
                    return Err("the text is longer than the column keeps");
                }
                Ok(text_literal(text))
            }
            ValueType::Enum(_) => {
                if self.labels.iter().any(|label| label == text) {
                    Ok(text_literal(text))
                } else {
                    Err("it is none of the column's labels")
                }
            }
            ValueType::Other => {
                let stored = other(&self.base, &self.labels, text)?;
                let bits = size(&self.field.type_name).unwrap_or(1);
                if self.base == "bit" && u32::try_from(stored.len()) != Ok(bits) {
                    return Err("it has not as many bits as the column, which would fill it up");
                }
                Ok(other_literal(&self.base, &stored))
            }
            _ => Ok(text_literal(text)),
        }
    }

    fn bytes(&self, bytes: &[u8]) -> Result<String, &'static str> {
        let fixed = self.base == "binary";
        let length = size(&self.field.type_name).unwrap_or(1);
        if fixed && u32::try_from(bytes.len()) != Ok(length) {
            return Err("it has not as many bytes as the column, which would fill it up");
        }
        Ok(bytes_literal(bytes))
    }
}

/// Bytes.
pub(super) fn bytes_literal(bytes: &[u8]) -> String {
    let mut literal = String::with_capacity(bytes.len() * 2 + 3);
    hexadecimal(&mut literal, bytes);
    literal
}

/// What a column of a type that travels as text stores for one.
pub(super) fn other(base: &str, labels: &[String], text: &str) -> Result<String, &'static str> {
    match base {
        "bit" => {
            if text.is_empty() || !text.bytes().all(|digit| matches!(digit, b'0' | b'1')) {
                return Err("it is no row of bits, as in 00101");
            }
            Ok(text.to_owned())
        }
        "set" => {
            let given: Vec<&str> = text.split(',').filter(|label| !label.is_empty()).collect();
            if !given.iter().all(|given| labels.iter().any(|label| label == given)) {
                return Err("it has what is none of the column's labels");
            }
            let kept = labels.iter().map(String::as_str).filter(|label| given.contains(label));
            Ok(kept.collect::<Vec<_>>().join(","))
        }
        _ => Ok(text.to_owned()),
    }
}

/// Its literal.
pub(super) fn other_literal(base: &str, text: &str) -> String {
    match base {
        "bit" => format!("b'{text}'"),
        base if is_shape(base) => format!("ST_GeomFromText({})", text_literal(text)),
        _ => text_literal(text),
    }
}

/// A text, in a form that means the same under any `sql_mode`.
pub(super) fn text_literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() * 2 + 12);
    literal.push_str("_utf8mb4 ");
    hexadecimal(&mut literal, text.as_bytes());
    literal
}

fn hexadecimal(to: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    to.push_str("x'");
    for byte in bytes {
        to.push(DIGITS[usize::from(byte >> 4)]);
        to.push(DIGITS[usize::from(byte & 15)]);
    }
    to.push('\'');
}

fn real(number: f64) -> Result<String, &'static str> {
    if !number.is_finite() {
        return Err("MySQL has neither NaN nor infinity");
    }
    let mut literal = String::new();
    // Writing to a String cannot fail.
    let _ = write!(literal, "{number:e}");
    Ok(literal)
}

/// A decimal with no more digits after the point than the column keeps.
fn number(text: &str, scale: Option<i16>) -> Result<String, &'static str> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return Err("it is no number; MySQL has neither NaN nor infinity");
    }
    let kept = fraction.trim_end_matches('0');
    let fits = scale.and_then(|scale| usize::try_from(scale).ok());
    if fits.is_some_and(|fits| kept.len() > fits) {
        return Err("it has more digits after the point than the column keeps");
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    let point = if kept.is_empty() { "" } else { "." };
    Ok(format!("{sign}{whole}{point}{kept}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits_or_are_refused() {
        assert_eq!(number("-12.500", Some(1)).unwrap(), "-12.5");
        assert_eq!(number("007", None).unwrap(), "007");
        assert_eq!(number("1.0", Some(0)).unwrap(), "1");
        for bad in ["1.25", "NaN", "", "-", "1e5", ".5", "1.2.3", "1 OR 1", "١"] {
            assert!(number(bad, Some(1)).is_err(), "{bad}");
        }
        assert_eq!(real(1.5).unwrap(), "1.5e0");
        assert!(real(f64::NAN).is_err() && real(f64::INFINITY).is_err());
    }

    #[test]
    fn sets_are_put_in_order() {
        let labels = ["a", "b", "2"].map(str::to_owned);
        assert_eq!(other("set", &labels, "b,a,b").unwrap(), "a,b");
        assert_eq!(other("set", &labels, "").unwrap(), "");
        assert!(other("set", &labels, "3").is_err());
        assert_eq!(other("bit", &[], "00101").unwrap(), "00101");
        for bad in ["", "5", "1 OR 1"] {
            assert!(other("bit", &[], bad).is_err(), "{bad}");
        }
    }
}
