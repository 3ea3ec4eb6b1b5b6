//! The texts of values once they are stored.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Field, ValueType};

use super::encode::{other, other_literal};
use super::kind::{base, is_shape, labels};
use super::refused::asked;
use crate::session::Session;

/// As a column of that type gives them back. Values of other types are written in one form only.
pub(super) async fn normalise(
    session: &mut Session,
    field: &Field,
    values: &[Option<String>],
) -> Result<Vec<Option<String>>, TargetError> {
    if field.value_type != ValueType::Other {
        return Ok(values.to_vec());
    }
    let (base, labels) = (base(&field.type_name), labels(&field.type_name));
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        let one = |text: &String| other(&base, &labels, text).map_err(|why| refused(field, why));
        texts.push(value.as_ref().map(one).transpose()?);
    }
    let asks = |text: &String| {
        let literal = other_literal(&base, text);
        match base.as_str() {
            "inet4" | "inet6" => Some(format!("SELECT CAST({literal} AS {base})")),
            shape if is_shape(shape) => Some(format!("SELECT ST_AsText({literal})")),
            _ => None,
        }
    };
    let statements: Vec<String> = texts.iter().flatten().filter_map(asks).collect();
    if statements.is_empty() {
        return Ok(texts);
    }
    let answers = asked(session, statements).await?;
    for (text, answer) in texts.iter_mut().flatten().zip(answers) {
        let stored = answer.rows.first().and_then(|row| row.optional(0));
        // What can't be cast is NULL here; what can't be written is an error.
        *text = stored.ok_or_else(|| refused(field, "the server takes it for no such value"))?;
    }
    Ok(texts)
}

fn refused(field: &Field, why: &str) -> TargetError {
    let message = format!("a value for column {}: {why}", field.name);
    let mut error = TargetError::new(ErrorKind::Statement, message);
    error.by_row = true;
    error
}
