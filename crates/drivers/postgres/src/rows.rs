//! Rows of the simple-query protocol: every value is text, by its place in the SELECT.

use dunlin_engine::{ErrorKind, TargetError};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

/// What one statement of a message returned.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Its rows.
    pub(crate) rows: Vec<SimpleQueryRow>,
    /// The count in its command tag.
    pub(crate) count: u64,
}

/// The answers of a message, a statement each.
pub(crate) fn answers(messages: Vec<SimpleQueryMessage>) -> Vec<Answer> {
    let mut all = Vec::new();
    let mut current = Answer::default();
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => current.rows.push(row),
            SimpleQueryMessage::CommandComplete(count) => {
                current.count = count;
                all.push(std::mem::take(&mut current));
            }
            _ => {}
        }
    }
    all
}

/// A value, or what is wrong with our own query.
pub(crate) fn field(row: &SimpleQueryRow, index: usize) -> Result<Option<&str>, TargetError> {
    row.try_get(index).map_err(|_| bug(&format!("the ledger's answer has no column {index}")))
}

/// A value that is never NULL.
pub(crate) fn required(row: &SimpleQueryRow, index: usize) -> Result<&str, TargetError> {
    field(row, index)?.ok_or_else(|| bug(&format!("column {index} of the ledger's answer is NULL")))
}

/// A whole number that is never NULL.
pub(crate) fn number<T: std::str::FromStr>(
    row: &SimpleQueryRow,
    index: usize,
) -> Result<T, TargetError> {
    required(row, index)?
        .parse()
        .map_err(|_| bug(&format!("column {index} of the ledger's answer is no whole number")))
}

/// A whole number or NULL.
pub(crate) fn optional_number<T: std::str::FromStr>(
    row: &SimpleQueryRow,
    index: usize,
) -> Result<Option<T>, TargetError> {
    field(row, index)?
        .map(|text| {
            text.parse().map_err(|_| {
                bug(&format!("column {index} of the ledger's answer is no whole number"))
            })
        })
        .transpose()
}

/// A boolean that is never NULL.
pub(crate) fn boolean(row: &SimpleQueryRow, index: usize) -> Result<bool, TargetError> {
    Ok(required(row, index)? == "t")
}

/// The only row of one of a message's answers.
pub(crate) fn single(answers: &[Answer], index: usize) -> Result<&SimpleQueryRow, TargetError> {
    answers
        .get(index)
        .and_then(|answer| answer.rows.first())
        .ok_or_else(|| bug("the server's answer has no row where there is always one"))
}

/// Something that should not happen.
pub(crate) fn bug(message: &str) -> TargetError {
    TargetError::new(ErrorKind::Bug, message)
        .help("please report it, with the command and the server's version")
}
