//! The texts of values once they are stored.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Field, ValueType};

use super::declared::affinity;
use super::{decode, encode, moment};

/// As a column of that type gives them back: `12.5` for `12.50` in a column that is declared
/// NUMERIC, a UUID in lower case.
pub(super) fn normalise(
    field: &Field,
    values: &[Option<String>],
) -> Result<Vec<Option<String>>, TargetError> {
    let one = |value: &Option<String>| match value {
        Some(text) => stored(field, text).map(Some).map_err(|why| {
            let message = format!("a value for column {}: {why}", field.name);
            let mut told = TargetError::new(ErrorKind::Statement, message);
            told.by_row = true;
            told
        }),
        None => Ok(None),
    };
    values.iter().map(one).collect()
}

fn stored(field: &Field, text: &str) -> Result<String, &'static str> {
    match &field.value_type {
        ValueType::Date => moment::date_text(moment::parse_date(text)?),
        ValueType::Time => moment::time_text(moment::parse_time(text)?),
        ValueType::Timestamp => moment::timestamp_text(moment::parse_timestamp(text)?),
        ValueType::TimestampTz => moment::instant_text(moment::parse_instant(text)?),
        ValueType::Int64 => {
            let number: i64 = text.trim().parse().map_err(|_| "it is no whole number")?;
            Ok(number.to_string())
        }
        ValueType::Boolean | ValueType::Float64 | ValueType::Bytes => Ok(text.to_owned()),
        other => {
            let bound = encode::text(other, affinity(&field.type_name), text)?;
            decode::text(other, bound.value()).map(std::borrow::Cow::into_owned)
        }
    }
}
