//! `[files]`, and `file` and `types` of a source: how files are written, and what they hold.

use dunlin_model::moves::{DeclaredType, ENCODINGS, FILE_TYPES, FileOptions, FileType, Placed};
use toml::de::DeValue;

use super::document::{Document, Item, Scope};
use crate::suggestion;

/// What stands for a type with a format.
const TYPE_EXAMPLE: &str = "types = { id = \"int64\", born = \"date %d.%m.%Y\" }";

/// `[files]`, or `file = { … }`.
pub(super) fn options(
    document: &mut Document<'_>,
    path: &str,
    value: Item<'_, '_>,
) -> Option<Placed<FileOptions>> {
    let table = document.table(path, value)?;
    let mut options = FileOptions::default();
    for (key, value) in table {
        let inner = format!("{path}.{}", key.get_ref());
        match key.get_ref().as_ref() {
            "encoding" => options.encoding = encoding(document, &inner, value),
            "delimiter" => options.delimiter = character(document, &inner, value, "\";\""),
            "quote" => {
                options.quote = match value.get_ref().as_str() {
                    Some("") => Some(None),
                    _ => character(document, &inner, value, "\"'\"").map(Some),
                };
            }
            "skip" => {
                let number = value.get_ref().as_integer().and_then(|n| n.to_string().parse().ok());
                options.skip = number;
                if number.is_none() {
                    let help = "for example: skip = 3";
                    document.wrong(&inner, value, "it takes a number of lines", help);
                }
            }
            "names" => {
                let names = document.names(&inner, value, "[\"id\", \"name\"]");
                options.names = Some(names.into_iter().map(|name| name.value).collect());
            }
            "null" => options.null = nulls(document, &inner, value),
            "decimal_comma" => {
                options.decimal_comma = value.get_ref().as_bool();
                if options.decimal_comma.is_none() {
                    document.wrong(&inner, value, "it takes true or false", "decimal_comma = true");
                }
            }
            _ => document.unknown(key, &format!("{path}."), Scope::Files),
        }
    }
    let quote = options.quote.unwrap_or(Some(b'"'));
    if quote.is_some() && quote == options.delimiter {
        let message = "fields can't be quoted by what stands between them";
        document.wrong(path, value, message, "take another `quote`, or \"\" for none");
    }
    Some(document.placed(options, value.span().start))
}

fn encoding(document: &mut Document<'_>, path: &str, value: Item<'_, '_>) -> Option<String> {
    let written = document.text(path, value, "\"latin1\"")?.to_ascii_lowercase();
    let name = match written.as_str() {
        "utf8" => "utf-8",
        "utf16" => "utf-16",
        "cp1252" | "ansi" => "windows-1252",
        "latin-1" => "latin1",
        other => other,
    };
    if ENCODINGS.contains(&name) {
        return Some(name.to_owned());
    }
    let help = match suggestion::nearest(name, ENCODINGS.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it takes {}", suggestion::list(ENCODINGS.iter().copied())),
    };
    document.wrong(path, value, &format!("there is no encoding `{written}`"), &help);
    None
}

/// One ASCII character that can't be part of a line's end.
fn character(
    document: &mut Document<'_>,
    path: &str,
    value: Item<'_, '_>,
    example: &str,
) -> Option<u8> {
    let found = match value.get_ref().as_str().map(str::as_bytes) {
        Some(&[byte]) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Some(byte),
        _ => None,
    };
    if found.is_none() {
        let name = path.rsplit('.').next().unwrap_or(path);
        let help = format!("for example: {name} = {example}");
        document.wrong(path, value, "it takes one ASCII character", &help);
    }
    found
}

/// A list of texts, which may be empty, as they may be themselves.
fn nulls(document: &mut Document<'_>, path: &str, value: Item<'_, '_>) -> Option<Vec<String>> {
    let texts: Option<Vec<String>> = match value.get_ref() {
        DeValue::String(text) => Some(vec![text.to_string()]),
        DeValue::Array(items) => {
            items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
        }
        _ => None,
    };
    if texts.is_none() {
        let help = "for example: null = [\"\", \"NULL\"]; with null = [] nothing is NULL";
        document.wrong(path, value, "it takes a list of texts", help);
    }
    texts
}

/// `types = { id = "int64", born = "date %d.%m.%Y" }`.
pub(super) fn types(
    document: &mut Document<'_>,
    path: &str,
    value: Item<'_, '_>,
) -> Vec<DeclaredType> {
    let Some(table) = value.get_ref().as_table() else {
        document.wrong(path, value, "it takes a type for each column", TYPE_EXAMPLE);
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, value) in table {
        let column = key.get_ref().to_string();
        let line = document.line(key.span().start);
        let file_type = file_type(document, &format!("{path}.{column}"), value);
        found.extend(file_type.map(|file_type| DeclaredType { column, file_type, line }));
    }
    found
}

fn file_type(document: &mut Document<'_>, path: &str, value: Item<'_, '_>) -> Option<FileType> {
    let text = document.text(path, value, "\"int64\"")?;
    let (word, format) = match text.split_once(char::is_whitespace) {
        Some((word, format)) => (word, Some(format.trim())),
        None => (text, None),
    };
    let known = || FILE_TYPES.iter().map(|(word, _)| *word);
    let Some((_, plain)) = FILE_TYPES.iter().find(|(known, _)| *known == word) else {
        let near = suggestion::nearest(word, known());
        let help = match near {
            Some(near) => format!("did you mean `{near}`? It takes {}", suggestion::list(known())),
            None => format!("it takes {}", suggestion::list(known())),
        };
        document.wrong(path, value, &format!("`{word}` is not a type"), &help);
        return None;
    };
    let Some(format) = format else { return Some(plain.clone()) };
    let with = plain.with_format(format).filter(|_| format.contains('%'));
    if with.is_none() {
        let help = "formats are for date, time, timestamp and timestamptz, as in strftime: \
                    \"date %d.%m.%Y\"";
        document.wrong(path, value, &format!("`{format}` is no format of `{word}`"), help);
    }
    with
}
