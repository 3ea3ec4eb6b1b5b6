//! The server's texts on their way into batches.
//!
//! A value that has no place in memory (a zero date, a text that is no UTF-8) is told of as one that
//! can't be read; it never becomes NULL, 0, or an empty text for anybody who uses it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, FixedSizeBinaryBuilder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use dunlin_engine::TargetError;
use dunlin_model::moves::{Field, ValueType};

use super::bug;
use super::moment::{self, Why};

/// A column of the batch that is being filled.
pub(super) enum Column {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Uuid(FixedSizeBinaryBuilder),
}

/// Runs something on whichever builder it is.
macro_rules! any {
    ($column:expr, $cells:ident => $do:expr) => {
        match $column {
            Column::Boolean($cells) => $do,
            Column::Int16($cells) => $do,
            Column::Int32($cells) => $do,
            Column::Int64($cells) => $do,
            Column::UInt64($cells) => $do,
            Column::Float32($cells) => $do,
            Column::Float64($cells) => $do,
            Column::Text($cells) => $do,
            Column::Bytes($cells) => $do,
            Column::Date($cells) => $do,
            Column::Time($cells) => $do,
            Column::Timestamp($cells) => $do,
            Column::Uuid($cells) => $do,
        }
    };
}

impl Column {
    /// An empty column, in the form that a source's or a target's batches have.
    pub(super) fn new(field: &Field, target: bool) -> Result<Self, TargetError> {
        Ok(match &field.value_type {
            ValueType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ValueType::Int16 => Self::Int16(Int16Builder::new()),
            ValueType::Int32 => Self::Int32(Int32Builder::new()),
            ValueType::Int64 => Self::Int64(Int64Builder::new()),
            ValueType::UInt64 => Self::UInt64(UInt64Builder::new()),
            ValueType::Float32 => Self::Float32(Float32Builder::new()),
            ValueType::Float64 => Self::Float64(Float64Builder::new()),
            ValueType::Bytes => Self::Bytes(BinaryBuilder::new()),
            ValueType::Date => Self::Date(Date32Builder::new()),
            ValueType::Time => Self::Time(Time64MicrosecondBuilder::new()),
            ValueType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            ValueType::TimestampTz => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            ValueType::Uuid if target => Self::Uuid(FixedSizeBinaryBuilder::new(16)),
            ValueType::Uuid
            | ValueType::Numeric { .. }
            | ValueType::Text { .. }
            | ValueType::Json { .. }
            | ValueType::Enum(_)
            | ValueType::Other => Self::Text(StringBuilder::new()),
            other @ (ValueType::Map | ValueType::List(_)) => {
                return Err(bug(format!(
                    "MySQL has no values of the type {other:?}: column {}",
                    field.name
                )));
            }
        })
    }

    /// Adds NULL.
    pub(super) fn push_null(&mut self) {
        any!(self, cells => cells.append_null());
    }

    /// Adds a value, or nothing where it has no place; tells about how many bytes it takes.
    pub(super) fn push(&mut self, value: Option<&[u8]>) -> Result<usize, Why> {
        let Some(bytes) = value else {
            self.push_null();
            return Ok(1);
        };
        if let Self::Bytes(cells) = self {
            cells.append_value(bytes);
            return Ok(bytes.len());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "holds a text that is no valid UTF-8")?;
        match self {
            Self::Boolean(cells) => cells.append_value(match text {
                "0" => false,
                "1" => true,
                _ => {
                    return Err(
                        "holds a number other than 0 and 1, where a tinyint(1) is a truth \
                                 value: read it by a query with CAST(… AS SIGNED)",
                    );
                }
            }),
            Self::Int16(cells) => cells.append_value(parsed(text)?),
            Self::Int32(cells) => cells.append_value(parsed(text)?),
            Self::Int64(cells) => cells.append_value(parsed(text)?),
            Self::UInt64(cells) => cells.append_value(parsed(text)?),
            // The text is that of a double, which has each of them.
            #[expect(clippy::cast_possible_truncation, reason = "it was widened by the server")]
            Self::Float32(cells) => cells.append_value(parsed::<f64>(text)? as f32),
            Self::Float64(cells) => cells.append_value(parsed(text)?),
            Self::Date(cells) => cells.append_value(moment::parse_date(text)?),
            Self::Time(cells) => cells.append_value(moment::parse_time(text)?),
            Self::Timestamp(cells) => cells.append_value(moment::parse_timestamp(text)?),
            Self::Uuid(cells) => {
                let bytes = parse_uuid(text).ok_or("holds no UUID")?;
                cells.append_value(bytes).map_err(|_| "holds no UUID")?;
            }
            Self::Text(cells) => {
                cells.append_value(text);
                return Ok(text.len() + 4);
            }
            Self::Bytes(_) => {}
        }
        Ok(8)
    }

    /// Ends the batch; the next begins empty.
    pub(super) fn finish(&mut self) -> ArrayRef {
        any!(self, cells => Arc::new(cells.finish()))
    }
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Why> {
    text.parse().map_err(|_| "holds a number that its type has no place for")
}

/// A UUID of 36 characters.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.split('-').collect();
    if text.len() != 36 || digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

/// A UUID as its 8-4-4-4-12 digits.
pub(super) fn uuid_text(bytes: &[u8]) -> String {
    let number = bytes.iter().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
    let digits = format!("{number:032x}");
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}
