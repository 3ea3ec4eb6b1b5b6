//! `[rows]` of a program's `.toml`: its rows come from a table, chunk by chunk.

use dunlin_model::{Chunking, Place};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::program::Toml;
use crate::directive::{Said, key_columns};
use crate::suggestion;

/// What `[rows]` says.
#[derive(Debug, Default)]
pub(super) struct Rows {
    table: String,
    key: Vec<String>,
    filter: Option<String>,
    /// The columns that the program gets; empty: all of them.
    pub(super) columns: Vec<String>,
    /// Rows are locked while the program has them.
    pub(super) lock: bool,
    /// Words of the header that say the same, with the places of the values.
    places: Vec<(&'static str, Place)>,
}

impl Rows {
    /// Puts what was said into the header's directives, beside its other words about chunks.
    pub(super) fn direct(&self, said: &mut Said) {
        let chunking =
            said.directives.chunking.get_or_insert_with(|| Box::new(Chunking::by(String::new())));
        chunking.table.clone_from(&self.table);
        chunking.key.clone_from(&self.key);
        chunking.filter.clone_from(&self.filter);
        said.places.extend(self.places.iter().cloned());
    }
}

/// Reads the table `[rows]`, which stands at an offset.
pub(super) fn read(toml: &mut Toml<'_>, offset: usize, table: &DeTable<'_>) -> Option<Rows> {
    let mut rows = Rows::default();
    let mut named = false;
    for (key, value) in table {
        let place = toml.place(value.span().start);
        match key.get_ref().as_ref() {
            "table" => {
                named = true;
                rows.table = string(toml, "table", "\"posts\"", value).unwrap_or_default();
                rows.places.push(("chunk-by", place));
            }
            "key" => {
                rows.key = key_of(toml, value);
                rows.places.push(("chunk-key", place));
            }
            "where" => {
                rows.filter = string(toml, "where", "\"first_name IS NULL\"", value);
                rows.places.push(("chunk-where", place));
            }
            "columns" => rows.columns = names(toml, "columns", value).unwrap_or_default(),
            "lock" => match value.get_ref().as_bool() {
                Some(said) => rows.lock = said,
                None => wrong(toml, value, "`lock` is not `true` or `false`", "lock = true"),
            },
            name => {
                let words = crate::directive::WORDS.iter().map(|word| word.name);
                let known = ["table", "key", "columns", "where", "lock"];
                let help =
                    match (suggestion::nearest(name, known), suggestion::nearest(name, words)) {
                        (None, Some(word)) => format!("`{word}` belongs under [migration]"),
                        _ => suggestion::help(name, known),
                    };
                toml.error(key.span().start, format!("unknown key `rows.{name}`"), help);
            }
        }
    }
    if !named {
        toml.error(offset, "[rows] names no table", "write table = \"posts\" under [rows]");
    }
    Some(rows)
}

fn wrong(toml: &mut Toml<'_>, value: &Spanned<DeValue<'_>>, message: &str, example: &str) {
    toml.error(value.span().start, message, format!("for example: {example}"));
}

fn string(
    toml: &mut Toml<'_>,
    key: &str,
    example: &str,
    value: &Spanned<DeValue<'_>>,
) -> Option<String> {
    let text = value.get_ref().as_str().map(str::trim).filter(|text| !text.is_empty());
    if text.is_none() {
        let message = format!("`{key}` is not a string, or empty");
        wrong(toml, value, &message, &format!("{key} = {example}"));
    }
    text.map(str::to_owned)
}

/// `key = ["tenant_id", "id"]`, or `key = "tenant_id, id"`.
fn key_of(toml: &mut Toml<'_>, value: &Spanned<DeValue<'_>>) -> Vec<String> {
    let Some(text) = value.get_ref().as_str() else {
        return names(toml, "key", value).unwrap_or_default();
    };
    match key_columns(text) {
        Ok(columns) => columns,
        Err(message) => {
            wrong(toml, value, &format!("`key`: {message}"), "key = [\"tenant_id\", \"id\"]");
            Vec::new()
        }
    }
}

fn names(toml: &mut Toml<'_>, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
    let items = value.get_ref().as_array();
    let names: Option<Vec<String>> = items.and_then(|items| {
        let name = |item: &Spanned<DeValue<'_>>| {
            item.get_ref().as_str().map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned)
        };
        items.iter().map(name).collect()
    });
    if names.as_ref().is_none_or(Vec::is_empty) {
        let message = format!("`{key}` is not a list of columns");
        wrong(toml, value, &message, &format!("{key} = [\"id\", \"name\"]"));
        return None;
    }
    names
}
