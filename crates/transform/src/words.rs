//! What people call types, and names that are nearly right.

use arrow::datatypes::DataType;
use dunlin_model::moves::{Field, ValueType};

/// A type in plain words.
pub(crate) fn type_name(of: &DataType) -> String {
    match of {
        DataType::Null => "NULL".to_owned(),
        DataType::Boolean => "true or false".to_owned(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            format!("a whole number of {} bits", bits(of))
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            format!("a whole number of {} bits without a sign", bits(of))
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            format!("a floating-point number of {} bits", bits(of))
        }
        of if of.is_decimal() => "a decimal".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "bytes".to_owned(),
        DataType::Date32 | DataType::Date64 => "a day".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "a time of day".to_owned(),
        DataType::Timestamp(_, None) => "a time without a zone".to_owned(),
        DataType::Timestamp(_, Some(_)) => "an instant".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "an interval".to_owned(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => format!("a list of {}", type_name(item.data_type())),
        DataType::Map(..) => "a map".to_owned(),
        DataType::Struct(_) => "a record".to_owned(),
        _ => "a value of another kind".to_owned(),
    }
}

fn bits(of: &DataType) -> usize {
    of.primitive_width().unwrap_or(0) * 8
}

/// A column's type, as its database calls it.
pub(crate) fn column_type(field: &Field) -> String {
    if field.type_name.is_empty() {
        value_type(&field.value_type).to_owned()
    } else {
        field.type_name.clone()
    }
}

fn value_type(of: &ValueType) -> &'static str {
    match of {
        ValueType::Boolean => "true or false",
        ValueType::Int16 | ValueType::Int32 | ValueType::Int64 | ValueType::UInt64 => {
            "a whole number"
        }
        ValueType::Float32 | ValueType::Float64 => "a floating-point number",
        ValueType::Numeric { .. } => "a decimal",
        ValueType::Text { .. } => "text",
        ValueType::Bytes => "bytes",
        ValueType::Date => "a day",
        ValueType::Time => "a time of day",
        ValueType::Timestamp => "a time without a zone",
        ValueType::TimestampTz => "an instant",
        ValueType::Uuid => "a UUID",
        ValueType::Json { .. } => "JSON",
        ValueType::Map => "a map",
        ValueType::List(_) => "a list",
        ValueType::Enum(_) => "one of its labels",
        ValueType::Other => "a type of the server's own",
    }
}

/// The SQL name of the type to cast to, for a column.
pub(crate) fn cast_target(of: &ValueType) -> Option<String> {
    Some(match of {
        ValueType::Boolean => "BOOLEAN".to_owned(),
        ValueType::Int16 => "SMALLINT".to_owned(),
        ValueType::Int32 => "INT".to_owned(),
        ValueType::Int64 => "BIGINT".to_owned(),
        ValueType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        ValueType::Float32 => "REAL".to_owned(),
        ValueType::Float64 => "DOUBLE PRECISION".to_owned(),
        ValueType::Numeric { scale } => format!("DECIMAL(38, {})", scale.unwrap_or(10).max(0)),
        ValueType::Text { .. } | ValueType::Enum(_) | ValueType::Other | ValueType::Uuid => {
            "TEXT".to_owned()
        }
        ValueType::Date => "DATE".to_owned(),
        ValueType::Time => "TIME".to_owned(),
        ValueType::Timestamp => "TIMESTAMP".to_owned(),
        ValueType::TimestampTz => "TIMESTAMPTZ".to_owned(),
        ValueType::Bytes => "BYTEA".to_owned(),
        ValueType::Json { .. } | ValueType::Map | ValueType::List(_) => return None,
    })
}

/// DataFusion's words for types in a message, in plain words.
pub(crate) fn plain(message: &str) -> String {
    let mut text = message.to_owned();
    for (theirs, ours) in [
        ("Timestamp(Microsecond, None)", "a time without a zone"),
        ("Timestamp(Microsecond, Some(\"UTC\"))", "an instant"),
        ("Timestamp(µs, \"UTC\")", "an instant"),
        ("Timestamp(µs)", "a time without a zone"),
        ("Utf8View", "text"),
        ("LargeUtf8", "text"),
        ("Utf8", "text"),
        ("Boolean", "true or false"),
        ("UInt64", "a whole number"),
        ("Int64", "a whole number"),
        ("Int32", "a whole number"),
        ("Int16", "a whole number"),
        ("Float64", "a floating-point number"),
        ("Float32", "a floating-point number"),
        ("Date32", "a day"),
        ("Binary", "bytes"),
    ] {
        text = text.replace(theirs, ours);
    }
    for theirs in ["Decimal32(", "Decimal64(", "Decimal128(", "Decimal256("] {
        while let Some((before, after)) = text.split_once(theirs) {
            let after = after.split_once(')').map_or("", |(_, after)| after);
            text = format!("{before}a decimal{after}");
        }
    }
    text
}

/// The nearest of some names, where one is near.
pub(crate) fn nearest<'a>(name: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    among
        .map(|other| (strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase()), other))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other)
}
