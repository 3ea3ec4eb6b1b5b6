//! The one form in memory of each type of value.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema, TimeUnit};
use dunlin_model::moves::{Field, ValueType};

/// The form in memory. Both sides use it: a source's rows, and the rows for a target.
///
/// Days count from 1970-01-01; `i32::MAX` and `i32::MIN` are PostgreSQL's infinities. Times are
/// microseconds from 1970-01-01 00:00 (UTC for instants); `i64::MAX` and `i64::MIN` are infinities.
/// UUIDs are texts in a source's rows and 16 bytes in a target's: see `target`.
#[must_use]
pub fn arrow_type(of: &ValueType, target: bool) -> DataType {
    match of {
        ValueType::Boolean => DataType::Boolean,
        ValueType::Int16 => DataType::Int16,
        ValueType::Int32 => DataType::Int32,
        ValueType::Int64 => DataType::Int64,
        ValueType::UInt64 => DataType::UInt64,
        ValueType::Float32 => DataType::Float32,
        ValueType::Float64 => DataType::Float64,
        ValueType::Bytes => DataType::Binary,
        ValueType::Date => DataType::Date32,
        ValueType::Time => DataType::Time64(TimeUnit::Microsecond),
        ValueType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ValueType::TimestampTz => {
            DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
        }
        ValueType::Uuid if target => DataType::FixedSizeBinary(16),
        ValueType::Map => map_type(),
        ValueType::List(item) => {
            DataType::List(Arc::new(ArrowField::new("item", arrow_type(item, target), true)))
        }
        ValueType::Uuid
        | ValueType::Numeric { .. }
        | ValueType::Text { .. }
        | ValueType::Json { .. }
        | ValueType::Enum(_)
        | ValueType::Other => DataType::Utf8,
    }
}

fn map_type() -> DataType {
    let entries = DataType::Struct(
        vec![
            ArrowField::new("keys", DataType::Utf8, false),
            ArrowField::new("values", DataType::Utf8, true),
        ]
        .into(),
    );
    DataType::Map(Arc::new(ArrowField::new("entries", entries, false)), false)
}

/// A column in memory.
#[must_use]
pub fn arrow_field(field: &Field, target: bool) -> ArrowField {
    // Always nullable here: a NULL where none may be is an error of that row, told by its key.
    ArrowField::new(&field.name, arrow_type(&field.value_type, target), true)
}

/// A batch's columns.
#[must_use]
pub fn arrow_schema(fields: &[Field], target: bool) -> Schema {
    Schema::new(fields.iter().map(|field| arrow_field(field, target)).collect::<Vec<_>>())
}
