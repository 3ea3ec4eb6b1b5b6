//! A mapping's TOML, with the place of everything that is wrong in it.

use std::borrow::Cow;
use std::path::Path;

use dunlin_model::moves::{Expression, Placed};
use dunlin_model::{Diagnostic, Place};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::position::line_and_column;
use crate::suggestion;

/// A value where it stands.
pub(super) type Item<'a, 'i> = &'a Spanned<DeValue<'i>>;

/// A key where it stands.
pub(super) type Key<'i> = Spanned<Cow<'i, str>>;

/// The tables of a mapping whose keys are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Top,
    Ids,
    Conflicts,
    From,
    LookUp,
    Files,
    Into,
    Set,
    Reference,
    LeaveOut,
}

/// The keys of each table, and what the table is called.
const KEYS: &[(Scope, &str, &[&str])] = &[
    (
        Scope::Top,
        "at the top, before any [table]",
        &[
            "source",
            "target",
            "mode",
            "time_zone",
            "id_key",
            "finished",
            "ids",
            "conflicts",
            "files",
            "from",
            "into",
            "leave_out",
        ],
    ),
    (Scope::Ids, "in `ids.NAME = { … }`", &["kind", "headroom", "table", "by", "from"]),
    (
        Scope::Conflicts,
        "under [conflicts]",
        &["changed_there", "deleted_there", "gone_here", "max_deleted"],
    ),
    (
        Scope::From,
        "under [from.NAME]",
        &["table", "query", "key", "unused", "types", "file", "look_up", "let"],
    ),
    (Scope::LookUp, "in `look_up.NAME = { in = … }`", &["in", "of", "by", "take"]),
    (
        Scope::Files,
        "under [files]",
        &["encoding", "delimiter", "quote", "skip", "names", "null", "decimal_comma"],
    ),
    (
        Scope::Into,
        "under [into.NAME]",
        &["table", "from", "makes", "where", "each", "one_per", "duplicates", "triggers", "set"],
    ),
    (Scope::Set, "in `set.COLUMN = { value = … }`", &["value", "on_error"]),
    (Scope::Reference, "in `set.COLUMN = { new = … }`", &["new", "of", "when", "missing"]),
    (Scope::LeaveOut, "under [[leave_out]]", &["from", "where", "because"]),
];

/// The text, and what is wrong in it.
pub(super) struct Document<'a> {
    file: &'a Path,
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    pub(super) errors: Vec<Diagnostic>,
}

impl<'a> Document<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { file, text, lines: std::iter::once(0).chain(newlines).collect(), errors: Vec::new() }
    }

    /// The line of an offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    pub(super) fn placed<T>(&self, value: T, offset: usize) -> Placed<T> {
        Placed { value, line: self.line(offset) }
    }

    pub(super) fn error(
        &mut self,
        rule: &'static str,
        offset: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (line, column) = line_and_column(self.text, offset);
        let place = Place::at(self.file, line, column);
        self.errors.push(Diagnostic::error(rule, message).at(place).help(help));
    }

    /// A key that its table doesn't have.
    pub(super) fn unknown(&mut self, key: &Key<'_>, path: &str, scope: Scope) {
        let written = key.get_ref().as_ref();
        let known = keys(scope);
        let elsewhere: Vec<&str> = KEYS
            .iter()
            .filter(|(_, _, keys)| keys.contains(&written))
            .map(|(_, place, _)| *place)
            .collect();
        let help = match suggestion::nearest(written, known.iter().copied()) {
            None if !elsewhere.is_empty() => {
                format!("`{written}` belongs {}", elsewhere.join(" or "))
            }
            _ => suggestion::help(written, known.iter().copied()),
        };
        self.error("unknown-key", key.span().start, format!("unknown key `{path}{written}`"), help);
    }

    /// A value of another type or form than its key takes.
    pub(super) fn wrong(&mut self, path: &str, value: Item<'_, '_>, message: &str, help: &str) {
        self.error("wrong-value", value.span().start, format!("`{path}`: {message}"), help);
    }

    /// A table in a table.
    pub(super) fn table<'v, 'i>(
        &mut self,
        path: &str,
        value: Item<'v, 'i>,
    ) -> Option<&'v DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let help = format!("write [{path}] on a line of its own");
            self.error("wrong-type", value.span().start, format!("`{path}` is not a table"), help);
        }
        table
    }

    /// The tables of a table of names, such as `[from.NAME]`.
    pub(super) fn tables<'v, 'i>(
        &mut self,
        path: &str,
        value: Item<'v, 'i>,
    ) -> Vec<(&'v Key<'i>, &'v DeTable<'i>)> {
        let Some(names) = value.get_ref().as_table() else {
            let help = format!("write [{path}.NAME] for each");
            self.error("wrong-type", value.span().start, format!("`{path}` is not a table"), help);
            return Vec::new();
        };
        let mut found = Vec::new();
        for (key, value) in names {
            let inner = format!("{path}.{}", key.get_ref());
            match value.get_ref().as_table() {
                Some(_) if key.get_ref().trim().is_empty() => {
                    let help = format!("write [{path}.NAME]");
                    self.error("wrong-name", key.span().start, "the name is empty", help);
                }
                Some(table) => found.push((key, table)),
                None => {
                    let help = format!("`{path}` holds one table for each name: [{path}.NAME]");
                    let message = format!("`{inner}` is not a table");
                    self.error("wrong-type", value.span().start, message, help);
                }
            }
        }
        found
    }

    /// A string that isn't empty, without the blanks around it.
    pub(super) fn text<'v>(
        &mut self,
        path: &str,
        value: Item<'v, '_>,
        example: &str,
    ) -> Option<&'v str> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong(path, value, "it takes a string in quotes", &for_example(path, example));
            return None;
        };
        let text = text.trim();
        if text.is_empty() || text.contains('\0') {
            let message = if text.is_empty() { "it is empty" } else { "it holds a NUL character" };
            self.wrong(path, value, message, &for_example(path, example));
            return None;
        }
        Some(text)
    }

    /// The same, with its line.
    pub(super) fn name(
        &mut self,
        path: &str,
        value: Item<'_, '_>,
        example: &str,
    ) -> Option<Placed<String>> {
        let text = self.text(path, value, example)?.to_owned();
        Some(self.placed(text, value.span().start))
    }

    /// A list of names, or one name.
    pub(super) fn names(
        &mut self,
        path: &str,
        value: Item<'_, '_>,
        example: &str,
    ) -> Vec<Placed<String>> {
        match value.get_ref() {
            DeValue::String(_) => self.name(path, value, example).into_iter().collect(),
            DeValue::Array(items) if !items.is_empty() => {
                items.iter().filter_map(|item| self.name(path, item, example)).collect()
            }
            _ => {
                self.wrong(path, value, "it takes a list of names", &for_example(path, example));
                Vec::new()
            }
        }
    }

    /// SQL over an old row.
    pub(super) fn expression(&mut self, path: &str, value: Item<'_, '_>) -> Option<Expression> {
        let text = match value.get_ref() {
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
                let written = &self.text[value.span()];
                let help = format!("write {} = \"{written}\"", last(path));
                self.wrong(path, value, "an expression stands in quotes", &help);
                return None;
            }
            DeValue::Datetime(_) => {
                let help = format!("for example: {} = \"DATE '2015-01-01'\"", last(path));
                self.wrong(path, value, "an expression stands in quotes", &help);
                return None;
            }
            _ => self.text(path, value, "\"lower(email)\"")?,
        };
        let start = value.span().start;
        let raw = &self.text[start..];
        let mut line = self.line(start);
        // What stands on the next line is said to begin there.
        if raw.starts_with("'''") || raw.starts_with("\"\"\"") {
            let inside = &raw[3..];
            let blanks = &inside[..inside.len() - inside.trim_start().len()];
            line += blanks.matches('\n').count();
        }
        Some(Expression { text: text.to_owned(), line })
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(
        &mut self,
        path: &str,
        value: Item<'_, '_>,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let known = || words.iter().map(|(word, _)| *word);
        let example = format!("\"{}\"", words.first().map_or("", |(word, _)| word));
        let text = self.text(path, value, &example)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let help = match suggestion::nearest(text, known()) {
                Some(near) => {
                    format!("did you mean `{near}`? It takes {}", suggestion::list(known()))
                }
                None => format!("it takes {}", suggestion::list(known())),
            };
            self.wrong(path, value, &format!("`{text}` is not a choice"), &help);
        }
        found
    }

    /// What a table must have and hasn't.
    pub(super) fn missing(&mut self, offset: usize, what: &str, example: &str) {
        self.error("missing-key", offset, what, format!("for example: {example}"));
    }
}

/// Whether some table of a mapping has such a key.
pub(super) fn is_key(name: &str) -> bool {
    KEYS.iter().any(|(_, _, keys)| keys.contains(&name))
}

/// The keys of a table.
pub(super) fn keys(scope: Scope) -> &'static [&'static str] {
    KEYS.iter().find(|(of, _, _)| *of == scope).map_or(&[], |(_, _, keys)| keys)
}

/// A name that expressions can use as it is.
pub(super) fn is_plain(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && characters.all(|c| c.is_alphanumeric() || c == '_')
}

fn for_example(path: &str, example: &str) -> String {
    format!("for example: {} = {example}", last(path))
}

/// A path's last part, as it is written in its table.
fn last(path: &str) -> &str {
    match path.split_once(".set.") {
        Some((_, column)) => &path[path.len() - column.len() - "set.".len()..],
        None => path.rsplit('.').next().unwrap_or(path),
    }
}
