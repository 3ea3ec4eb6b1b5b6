//! A column being filled.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder,
    Int16Builder, Int32Builder, Int64Builder, ListBuilder, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder, UInt64Builder,
};
use dunlin_model::moves::ValueType;

use crate::value::Value;

/// What a value of a fixed width takes, roughly, with its share of the rest.
const FIXED_BYTES: usize = 9;

/// The values of one column, in the form that `arrow_type` gives its type.
pub(crate) enum Cells {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt64(UInt64Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Instant(TimestampMicrosecondBuilder),
    Texts(ListBuilder<StringBuilder>),
    Numbers(ListBuilder<Int64Builder>),
    Booleans(ListBuilder<BooleanBuilder>),
}

impl Cells {
    /// An empty column of such values. Lists are of texts, whole numbers, or booleans.
    pub(crate) fn new(of: &ValueType) -> Self {
        match of {
            ValueType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ValueType::Int16 => Self::Int16(Int16Builder::new()),
            ValueType::Int32 => Self::Int32(Int32Builder::new()),
            ValueType::Int64 => Self::Int64(Int64Builder::new()),
            ValueType::UInt64 => Self::UInt64(UInt64Builder::new()),
            ValueType::Float32 | ValueType::Float64 => Self::Float64(Float64Builder::new()),
            ValueType::Bytes => Self::Bytes(BinaryBuilder::new()),
            ValueType::Date => Self::Date(Date32Builder::new()),
            ValueType::Time => Self::Time(Time64MicrosecondBuilder::new()),
            ValueType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            ValueType::TimestampTz => {
                Self::Instant(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            ValueType::List(item) => match item.as_ref() {
                ValueType::Int64 => Self::Numbers(ListBuilder::new(Int64Builder::new())),
                ValueType::Boolean => Self::Booleans(ListBuilder::new(BooleanBuilder::new())),
                _ => Self::Texts(ListBuilder::new(StringBuilder::new())),
            },
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// Adds a value that `value::parse` made for this column's type. Gives about how many bytes it
    /// takes.
    pub(crate) fn push(&mut self, value: &Value<'_>) -> usize {
        // Whole numbers were checked against their width when they were read.
        let number = || match value {
            Value::Number(number) => Some(*number),
            _ => None,
        };
        match self {
            Self::Boolean(cells) => cells.append_option(boolean(value)),
            Self::Int16(cells) => cells.append_option(number().and_then(|n| n.try_into().ok())),
            Self::Int32(cells) => cells.append_option(number().and_then(|n| n.try_into().ok())),
            Self::Int64(cells) => cells.append_option(number()),
            Self::Date(cells) => cells.append_option(number().and_then(|n| n.try_into().ok())),
            Self::Time(cells) => cells.append_option(number()),
            Self::Timestamp(cells) | Self::Instant(cells) => cells.append_option(number()),
            Self::UInt64(cells) => cells.append_option(match value {
                Value::Unsigned(number) => Some(*number),
                _ => None,
            }),
            Self::Float64(cells) => cells.append_option(match value {
                Value::Float(number) => Some(*number),
                _ => None,
            }),
            Self::Text(cells) => {
                let text = text(value);
                cells.append_option(text);
                return FIXED_BYTES + text.map_or(0, str::len);
            }
            Self::Bytes(cells) => match value {
                Value::Bytes(bytes) => {
                    cells.append_value(bytes);
                    return FIXED_BYTES + bytes.len();
                }
                _ => cells.append_null(),
            },
            Self::Texts(cells) => {
                return list(cells, value, |cells, item| {
                    cells.append_option(text(item));
                    text(item).map_or(0, str::len)
                });
            }
            Self::Numbers(cells) => {
                return list(cells, value, |cells, item| {
                    cells.append_option(match item {
                        Value::Number(number) => Some(*number),
                        _ => None,
                    });
                    0
                });
            }
            Self::Booleans(cells) => {
                return list(cells, value, |cells, item| {
                    cells.append_option(boolean(item));
                    0
                });
            }
        }
        FIXED_BYTES
    }

    /// Ends the batch; the next begins empty.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(cells) => Arc::new(cells.finish()),
            Self::Int16(cells) => Arc::new(cells.finish()),
            Self::Int32(cells) => Arc::new(cells.finish()),
            Self::Int64(cells) => Arc::new(cells.finish()),
            Self::UInt64(cells) => Arc::new(cells.finish()),
            Self::Float64(cells) => Arc::new(cells.finish()),
            Self::Text(cells) => Arc::new(cells.finish()),
            Self::Bytes(cells) => Arc::new(cells.finish()),
            Self::Date(cells) => Arc::new(cells.finish()),
            Self::Time(cells) => Arc::new(cells.finish()),
            Self::Timestamp(cells) | Self::Instant(cells) => Arc::new(cells.finish()),
            Self::Texts(cells) => Arc::new(cells.finish()),
            Self::Numbers(cells) => Arc::new(cells.finish()),
            Self::Booleans(cells) => Arc::new(cells.finish()),
        }
    }
}

fn boolean(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::Boolean(value) => Some(*value),
        _ => None,
    }
}

fn text<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn list<B: ArrayBuilder>(
    cells: &mut ListBuilder<B>,
    value: &Value<'_>,
    mut push: impl FnMut(&mut B, &Value<'_>) -> usize,
) -> usize {
    let Value::List(items) = value else {
        cells.append(false);
        return FIXED_BYTES;
    };
    let bytes: usize = items.iter().map(|item| FIXED_BYTES + push(cells.values(), item)).sum();
    cells.append(true);
    FIXED_BYTES + bytes
}
