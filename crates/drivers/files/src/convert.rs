//! Parquet's types in the forms that rows of moves have.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Field, Schema, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use arrow::error::ArrowError;
use arrow_json::LineDelimitedWriter;
use dunlin_engine::moves::arrow_type;
use dunlin_model::moves::ValueType;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::value::Why;

/// How a column's values become ours.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Conversion {
    /// By Arrow's own conversion; a value that has none is told of.
    Cast(ValueType),
    /// 16 bytes that are a UUID.
    Uuid,
    /// Structures, maps and the like: as JSON.
    Json,
}

/// Values, and the rows whose values have none.
pub(crate) struct Converted {
    pub(crate) values: ArrayRef,
    pub(crate) bad: Vec<(usize, Why)>,
}

impl Conversion {
    pub(crate) fn of(column: &Field) -> Self {
        let extension = column.metadata().get("ARROW:extension:name").map(String::as_str);
        match (extension, column.data_type()) {
            (Some("arrow.uuid"), DataType::FixedSizeBinary(16)) => Self::Uuid,
            (Some("arrow.json"), _) => Self::Cast(ValueType::Json { binary: false }),
            (_, data_type) => of_type(data_type).map_or(Self::Json, Self::Cast),
        }
    }

    pub(crate) fn value_type(&self) -> ValueType {
        match self {
            Self::Cast(of) => of.clone(),
            Self::Uuid => ValueType::Uuid,
            Self::Json => ValueType::Json { binary: false },
        }
    }

    /// The column's type, for people.
    pub(crate) fn type_name(&self, column: &Field) -> String {
        column.data_type().to_string()
    }

    pub(crate) fn apply(&self, values: &ArrayRef) -> Result<Converted, ArrowError> {
        match self {
            Self::Cast(of) => cast(values, of),
            Self::Uuid => {
                let mut texts = StringBuilder::new();
                for value in values.as_fixed_size_binary().iter() {
                    let id = value.and_then(|bytes| uuid::Uuid::from_slice(bytes).ok());
                    texts.append_option(id.map(|id| id.to_string()));
                }
                Ok(Converted { values: Arc::new(texts.finish()), bad: Vec::new() })
            }
            Self::Json => Ok(Converted { values: json(values)?, bad: Vec::new() }),
        }
    }
}

/// The type that Arrow converts such values to; `None`: it has none.
fn of_type(data_type: &DataType) -> Option<ValueType> {
    Some(match data_type {
        DataType::Boolean => ValueType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => ValueType::Int16,
        DataType::Int32 | DataType::UInt16 => ValueType::Int32,
        DataType::Int64 | DataType::UInt32 => ValueType::Int64,
        DataType::UInt64 => ValueType::UInt64,
        DataType::Float16 | DataType::Float32 => ValueType::Float32,
        DataType::Float64 => ValueType::Float64,
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => {
            ValueType::Numeric { scale: (*scale >= 0).then(|| i16::from(*scale)) }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            ValueType::Text { padded: false }
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => ValueType::Bytes,
        DataType::Date32 | DataType::Date64 => ValueType::Date,
        DataType::Time32(_) | DataType::Time64(_) => ValueType::Time,
        DataType::Timestamp(_, None) => ValueType::Timestamp,
        DataType::Timestamp(_, Some(_)) => ValueType::TimestampTz,
        DataType::Dictionary(_, values) => return of_type(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let item = of_type(item.data_type()).filter(|of| is_plain(of, item.data_type()))?;
            ValueType::List(Box::new(item))
        }
        DataType::Duration(_) | DataType::Interval(_) => ValueType::Other,
        _ => return None,
    })
}

/// Whether a list of such values can be converted without a look at each.
fn is_plain(of: &ValueType, data_type: &DataType) -> bool {
    let is_micros = matches!(
        data_type,
        DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Time64(TimeUnit::Microsecond)
    );
    match of {
        ValueType::Timestamp | ValueType::TimestampTz | ValueType::Time => is_micros,
        ValueType::Numeric { .. } | ValueType::List(_) | ValueType::Other => false,
        _ => true,
    }
}

fn cast(values: &ArrayRef, of: &ValueType) -> Result<Converted, ArrowError> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    // Dictionaries first: what is checked are values.
    let values = match values.data_type() {
        DataType::Dictionary(_, inner) => cast_with_options(values, inner, &options)?,
        _ => Arc::clone(values),
    };
    let result = cast_with_options(&values, &arrow_type(of, false), &options)?;
    let mut bad: Vec<(usize, Why)> = Vec::new();
    if result.null_count() > values.null_count() {
        let lost = (0..values.len()).filter(|row| values.is_valid(*row) && result.is_null(*row));
        bad.extend(lost.map(|row| (row, "holds a value that is out of range")));
    }
    let fine = |row: usize, nanoseconds: i64| {
        (nanoseconds % 1_000 != 0).then_some((row, "holds a time finer than microseconds"))
    };
    match values.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = values.as_primitive::<TimestampNanosecondType>();
            bad.extend((0..values.len()).filter_map(|row| {
                values.is_valid(row).then(|| fine(row, values.value(row))).flatten()
            }));
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            let values = values.as_primitive::<Time64NanosecondType>();
            bad.extend((0..values.len()).filter_map(|row| {
                values.is_valid(row).then(|| fine(row, values.value(row))).flatten()
            }));
        }
        _ => {}
    }
    if matches!(of, ValueType::Timestamp | ValueType::TimestampTz) {
        // The ends of the range mean infinity to a move.
        let values = result.as_primitive::<TimestampMicrosecondType>();
        let is_end = |row: &usize| {
            values.is_valid(*row) && [i64::MIN, i64::MAX].contains(&values.value(*row))
        };
        let ends = (0..values.len()).filter(is_end);
        bad.extend(ends.map(|row| (row, "holds a value that is out of range")));
    }
    Ok(Converted { values: result, bad })
}

/// Each value as JSON.
fn json(values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow, default)]
        value: Option<&'a RawValue>,
    }
    let schema = Schema::new(vec![Field::new("value", values.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(values)])?;
    let mut text = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut text);
    writer.write(&batch)?;
    writer.finish()?;
    let mut texts = StringBuilder::new();
    for line in text.split(|byte| *byte == b'\n').take(values.len()) {
        let line: Line<'_> = serde_json::from_slice(line)
            .map_err(|error| ArrowError::JsonError(error.to_string()))?;
        texts.append_option(line.value.map(RawValue::get));
    }
    Ok(Arc::new(texts.finish()))
}
