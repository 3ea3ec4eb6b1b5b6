//! Directives as the keys of a `.toml`'s `[migration]`.

use std::path::Path;

use dunlin_model::Diagnostic;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::words::Word;
use super::{Reader, Said, Subject, Token, tokens};
use crate::position::line_and_column;

/// Reads the keys of `[migration]` of a program's `.toml`.
///
/// # Errors
/// Every unknown key and wrong value, with line and column.
pub(crate) fn of_table(
    file: &Path,
    text: &str,
    table: &DeTable<'_>,
    subject: Subject,
) -> Result<Said, Vec<Diagnostic>> {
    let mut reader = Reader::new(file, subject);
    for (key, value) in table {
        let word = token_at(text, key.get_ref(), key.span().start);
        let Some(known) = reader.admit(&word) else { continue };
        match values(text, known, value) {
            Ok(Some(lists)) => {
                for list in lists {
                    reader.set(known, &word, &list);
                }
            }
            Ok(None) => {}
            Err(message) => {
                let at = token_at(text, key.get_ref(), value.span().start);
                let help = format!("for example: {}", example(known));
                reader.error(
                    "malformed-directive",
                    &at,
                    format!("`{}`: {message}", known.name),
                    help,
                );
            }
        }
    }
    reader.finish()
}

/// The values of one key, a list for each time that the word would be written in a comment. `None`
/// where a flag is `false`.
fn values(
    text: &str,
    known: &Word,
    value: &Spanned<DeValue<'_>>,
) -> Result<Option<Vec<Vec<Token>>>, String> {
    let start = value.span().start;
    match (known.value, value.get_ref()) {
        ("", DeValue::Boolean(said)) => Ok(said.then(|| vec![Vec::new()])),
        ("", _) => Err("it takes `true` or `false`".to_owned()),
        (_, DeValue::String(said)) if known.takes_sql() => {
            Ok(Some(vec![vec![token_at(text, said, start)]]))
        }
        (_, DeValue::Array(items)) if is_list(known) => {
            let mut lists = Vec::new();
            for item in items.iter() {
                lists.push(one(text, known, item)?);
            }
            if !known.repeats {
                lists = vec![lists.concat()];
            }
            Ok(Some(lists))
        }
        (_, DeValue::String(said)) if known.value.starts_with('"') => {
            let mut token = token_at(text, said, start);
            token.quoted = true;
            Ok(Some(vec![vec![token]]))
        }
        _ => Ok(Some(vec![one(text, known, value)?])),
    }
}

fn one(text: &str, known: &Word, value: &Spanned<DeValue<'_>>) -> Result<Vec<Token>, String> {
    let start = value.span().start;
    let (line, column) = line_and_column(text, start);
    match value.get_ref() {
        DeValue::String(said) => {
            let mut found = tokens(said, line, column).map_err(|(_, message)| message)?;
            // Escapes make columns inside the string uncertain: its start is exact.
            for token in &mut found {
                token.column = column;
            }
            Ok(found)
        }
        DeValue::Integer(number) if is_list(known) || known.value == "N" => {
            Ok(vec![token_at(text, &number.to_string(), start)])
        }
        _ if is_list(known) => Err("it takes a list of strings".to_owned()),
        _ if known.value == "N" => Err("it takes a number".to_owned()),
        _ => Err("it takes a string".to_owned()),
    }
}

fn is_list(known: &Word) -> bool {
    known.value.ends_with('…')
}

fn example(known: &Word) -> String {
    let rest = known.example[known.name.len()..].trim();
    match (rest, is_list(known)) {
        ("", _) => format!("{} = true", known.name),
        (_, true) => format!("{} = [\"{rest}\"]", known.name),
        (_, false) if known.value == "N" => format!("{} = {rest}", known.name),
        (_, false) if rest.starts_with('"') => format!("{} = {rest}", known.name),
        (_, false) => format!("{} = \"{rest}\"", known.name),
    }
}

fn token_at(text: &str, written: &str, offset: usize) -> Token {
    let (line, column) = line_and_column(text, offset);
    Token { text: written.to_owned(), quoted: false, line, column }
}
