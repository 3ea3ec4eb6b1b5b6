//! Room for the next batch's values: as much as this one's took, and a little more. A builder that
//! begins with none grows by copying all that it has, again and again with every batch.

use arrow::array::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, Date32Builder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow::datatypes::DataType;

use super::decode::Column;

/// An empty column like this one, which is of this type; `None`: this one may be used again.
pub(super) fn like(column: &Column, data_type: &DataType) -> Option<Column> {
    let text = |from: &StringBuilder| {
        StringBuilder::with_capacity(more(from.len()), more(from.values_slice().len()))
    };
    Some(match column {
        Column::Boolean(from) => Column::Boolean(BooleanBuilder::with_capacity(more(from.len()))),
        Column::Int16(from) => Column::Int16(Int16Builder::with_capacity(more(from.len()))),
        Column::Int32(from) => Column::Int32(Int32Builder::with_capacity(more(from.len()))),
        Column::Int64(from) => Column::Int64(Int64Builder::with_capacity(more(from.len()))),
        Column::UInt64(from) => Column::UInt64(UInt64Builder::with_capacity(more(from.len()))),
        Column::Float32(from) => Column::Float32(Float32Builder::with_capacity(more(from.len()))),
        Column::Float64(from) => Column::Float64(Float64Builder::with_capacity(more(from.len()))),
        Column::Numeric(from) => Column::Numeric(text(from)),
        Column::Text(from) => Column::Text(text(from)),
        Column::UuidText(from) => Column::UuidText(text(from)),
        Column::Uuid(from) => {
            Column::Uuid(FixedSizeBinaryBuilder::with_capacity(more(from.len()), 16))
        }
        Column::Bytes(from) => {
            let bytes = more(from.values_slice().len());
            Column::Bytes(BinaryBuilder::with_capacity(more(from.len()), bytes))
        }
        Column::Date(from) => Column::Date(Date32Builder::with_capacity(more(from.len()))),
        Column::Time(from) => {
            Column::Time(Time64MicrosecondBuilder::with_capacity(more(from.len())))
        }
        Column::Timestamp(from) => {
            let next = TimestampMicrosecondBuilder::with_capacity(more(from.len()));
            Column::Timestamp(next.with_data_type(data_type.clone()))
        }
        Column::Map(_) | Column::List(_) => return None,
    })
}

/// The next batch has about as many.
fn more(count: usize) -> usize {
    count + count / 16
}
