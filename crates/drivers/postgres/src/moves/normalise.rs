//! What a value looks like once it is stored.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Field, ValueType};
use tokio_postgres::types::{ToSql, Type};

use super::extract::value_sql;
use super::refused::blamed;
use crate::error::sent_error;
use crate::rows::bug;
use crate::session::Session;

/// The texts of values after a cast to the column's type.
pub(super) async fn normalise(
    session: &Session,
    field: &Field,
    values: &[Option<String>],
) -> Result<Vec<Option<String>>, TargetError> {
    // A cast cuts off what a column refuses; blanks at the end may go.
    let too_long = |limit: u32| {
        let longest =
            values.iter().flatten().map(|text| text.trim_end_matches(' ').chars().count());
        longest.max().is_some_and(|longest| longest > limit as usize)
    };
    if field.max_chars.is_some_and(too_long) {
        let mut error = TargetError::new(
            ErrorKind::Statement,
            format!("a value is too long for `{}`, which is {}", field.name, field.type_name),
        )
        .code("22001");
        error.by_row = true;
        return Err(error);
    }
    let cast = format!("(u.v::{})", field.type_name);
    // A list stays the text of an array.
    let stored = match field.value_type {
        ValueType::List(_) => cast,
        _ => value_sql(&cast, &field.value_type),
    };
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&values, Type::TEXT_ARRAY)];
    let rows = session
        .client()
        .query_typed(
            &format!(
                "SELECT ({stored})::pg_catalog.text FROM ROWS FROM (pg_catalog.unnest($1)) \
                 WITH ORDINALITY AS u(v, o) ORDER BY u.o"
            ),
            &parameters,
        )
        .await
        .map_err(|error| blamed(sent_error(&error)))?;
    rows.iter().map(|row| row.try_get(0).map_err(|_| bug("a value's text is no text"))).collect()
}
