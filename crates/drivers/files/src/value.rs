//! From a text to a value of the type that its column has.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dunlin_model::moves::FileType;
use serde::de::IgnoredAny;

use crate::{moment, number};

/// Why a text is no such value: it follows on the column's name.
pub(crate) type Why = &'static str;

/// A value on its way into a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    /// Whole numbers that fit their column; days, and microseconds.
    Number(i64),
    Unsigned(u64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
    List(Vec<Value<'a>>),
    /// What stands there is no value of its column's type: NULL stands for it in a row.
    Unreadable(Why),
}

/// Reads a text. `comma`: it stands before a number's fraction.
pub(crate) fn parse<'a>(of: &FileType, text: &'a str, comma: bool) -> Result<Value<'a>, Why> {
    if *of == FileType::Text {
        return Ok(Value::Text(Cow::Borrowed(text)));
    }
    let text = text.trim();
    Ok(match of {
        FileType::Text => Value::Text(Cow::Borrowed(text)),
        FileType::Boolean => Value::Boolean(boolean(text)?),
        FileType::Int16 => Value::Number(number::whole::<i16>(text)?.into()),
        FileType::Int32 => Value::Number(number::whole::<i32>(text)?.into()),
        FileType::Int64 => Value::Number(number::whole::<i64>(text)?),
        FileType::UInt64 => Value::Unsigned(number::whole::<u64>(text)?),
        FileType::Float64 => Value::Float(number::float(text, comma)?),
        FileType::Decimal => Value::Text(Cow::Owned(number::decimal(text, comma)?)),
        FileType::Date(format) => Value::Number(moment::day(text, format.as_deref())?),
        FileType::Time(format) => Value::Number(moment::time(text, format.as_deref())?),
        FileType::Timestamp(format) => Value::Number(moment::timestamp(text, format.as_deref())?),
        FileType::TimestampTz(format) => Value::Number(moment::instant(text, format.as_deref())?),
        FileType::Uuid => match uuid::Uuid::try_parse(text) {
            Ok(id) => Value::Text(Cow::Owned(id.to_string())),
            Err(_) => return Err("holds no UUID"),
        },
        FileType::Json => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Value::Text(Cow::Borrowed(text)),
            Err(_) => return Err("holds no JSON"),
        },
        FileType::Hex => {
            let digits = text.strip_prefix("\\x").or_else(|| text.strip_prefix("0x"));
            let bytes = hex::decode(digits.unwrap_or(text));
            Value::Bytes(bytes.map_err(|_| "holds no hexadecimal digits")?)
        }
        FileType::Base64 => Value::Bytes(STANDARD.decode(text).map_err(|_| "holds no base64")?),
    })
}

fn boolean(text: &str) -> Result<bool, Why> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["true", "t", "yes", "y", "1"]) {
        Ok(true)
    } else if is(&["false", "f", "no", "n", "0"]) {
        Ok(false)
    } else {
        Err("holds neither true nor false")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_values() {
        let text = |text: &str| Value::Text(Cow::Owned(text.to_owned()));
        for (of, from, to) in [
            (FileType::Text, " a ", text(" a ")),
            (FileType::Boolean, "Yes", Value::Boolean(true)),
            (FileType::Boolean, "0", Value::Boolean(false)),
            (FileType::Int16, " -32768 ", Value::Number(-32768)),
            (FileType::UInt64, "18446744073709551615", Value::Unsigned(u64::MAX)),
            (FileType::Float64, "1.5", Value::Float(1.5)),
            (FileType::Decimal, "+007.50", text("7.50")),
            (FileType::Json, "{\"a\": [1]}", text("{\"a\": [1]}")),
            (FileType::Hex, "\\xdeAD", Value::Bytes(vec![0xde, 0xad])),
            (FileType::Base64, "3q0=", Value::Bytes(vec![0xde, 0xad])),
            (
                FileType::Uuid,
                "00112233445566778899AABBCCDDEEFF",
                text("00112233-4455-6677-8899-aabbccddeeff"),
            ),
        ] {
            assert_eq!(parse(&of, from, false), Ok(to), "{of:?} {from}");
        }
    }

    #[test]
    fn what_does_not_fit_is_no_value() {
        for (of, texts) in [
            (FileType::Boolean, &["", "maybe", "2"][..]),
            (FileType::Int16, &["", "32768", "1.0", "1e3", "0x1", "--1", "١"]),
            (FileType::UInt64, &["-1", "18446744073709551616"]),
            (FileType::Float64, &["", "1,5", "1e999", "0x1"]),
            (FileType::Decimal, &["", ".", "1.2.3", "1,5", "NaN", "1e99999", "e1"]),
            (FileType::Uuid, &["", "00112233"]),
            (FileType::Json, &["", "{", "{} {}"]),
            (FileType::Hex, &["abc", "xy"]),
            (FileType::Base64, &["@"]),
        ] {
            for text in texts {
                assert!(parse(&of, text, false).is_err(), "{of:?} {text}");
            }
        }
    }
}
