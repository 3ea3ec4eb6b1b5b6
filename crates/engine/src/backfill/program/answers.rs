//! What a row program answers, judged line by line.
//!
//! Everything that it writes is checked against the chunk that it was given. What is wrong is told
//! without a value: a program's words may be a row's.

use std::collections::HashMap;
use std::fmt;

use dunlin_model::{Column, Key, Row, RowChange};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::values::read_value;
use super::wire::Shape;

/// How much of a reason is kept: it goes to a ledger's column, for people.
const REASON_CHARS_MAX: usize = 1000;

/// How many column names are listed where none is near: more are no help.
const NAMES_SHOWN_MAX: usize = 12;

const FORMS: &str = "is no answer: one is {\"key\":[…],\"set\":{…}}, or \
                     {\"key\":[…],\"reject\":\"…\"}, or the chunk's own line given back";

/// What a line was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// About a row.
    Answer,
    /// The end of the chunk.
    End,
}

/// The answers to one chunk, as they come in.
pub(super) struct Collector<'a> {
    shape: &'a Shape,
    chunk: u64,
    rows: &'a [Row],
    places: HashMap<&'a Key, usize>,
    answered: Vec<bool>,
    pub(super) changes: Vec<RowChange>,
    pub(super) rejected: Vec<(Key, String)>,
}

impl<'a> Collector<'a> {
    /// The error says why this chunk can't be given to a program.
    pub(super) fn new(shape: &'a Shape, chunk: u64, rows: &'a [Row]) -> Result<Self, String> {
        let mut places = HashMap::with_capacity(rows.len());
        for (place, row) in rows.iter().enumerate() {
            if places.insert(&row.key, place).is_some() {
                return Err("two rows of a chunk have one key, so that an answer would be for \
                            either: row code needs a key that is unique (`chunk-key`)"
                    .to_owned());
            }
        }
        Ok(Self {
            shape,
            chunk,
            rows,
            places,
            answered: vec![false; rows.len()],
            changes: Vec::new(),
            rejected: Vec::new(),
        })
    }

    /// Takes a line without its end. The error says what is wrong with it: `line 3 of its output …`.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<Heard, String> {
        let text = std::str::from_utf8(line)
            .map_err(|error| format!("is not UTF-8, from byte {}", error.valid_up_to() + 1))?;
        let line: Line<'_> = serde_json::from_str(text).map_err(|error| explain(text, &error))?;
        if !text.trim_start().starts_with('{') {
            // A list of the members' values would have been read as well.
            return Err(FORMS.to_owned());
        }
        match line {
            Line { key: None, set: None, reject: None, chunk: Some(chunk) } => self.end(chunk),
            Line { key: Some(key), set: Some(set), reject: None, chunk: None } => {
                self.change(key, set)
            }
            Line { key: Some(key), set: None, reject: Some(reason), chunk: None } => {
                let (key, _) = self.row_of(key)?;
                self.rejected.push((key, reason_of(&reason)));
                Ok(Heard::Answer)
            }
            Line { key: Some(_), set: Some(_), reject: Some(_), .. } => {
                Err("has both `set` and `reject`: a row is changed or rejected".to_owned())
            }
            _ => Err(FORMS.to_owned()),
        }
    }

    fn end(&self, chunk: u64) -> Result<Heard, String> {
        if chunk == self.chunk {
            Ok(Heard::End)
        } else {
            let due = self.chunk;
            Err(format!("ends chunk {chunk}, but it has chunk {due}: give its line back as it is"))
        }
    }

    fn change(&mut self, key: Key, fields: Fields<'_>) -> Result<Heard, String> {
        let (key, place) = self.row_of(key)?;
        let mut set: Vec<(String, Option<String>)> = Vec::with_capacity(fields.0.len());
        for (name, value) in fields.0 {
            let column = self.shape.settable(&name)?;
            if set.iter().any(|(other, _)| *other == column.name) {
                return Err(format!("sets `{}` twice", column.name));
            }
            set.push((column.name.clone(), read_value(column, value.get())?));
        }
        if !set.is_empty() {
            self.changes.push(RowChange { key, version: self.rows[place].version.clone(), set });
        }
        Ok(Heard::Answer)
    }

    fn row_of(&mut self, key: Key) -> Result<(Key, usize), String> {
        let Some(&place) = self.places.get(&key) else {
            return Err(format!(
                "has a key that no row of chunk {} has: give `key` back unchanged, before the \
                 chunk's end",
                self.chunk
            ));
        };
        if std::mem::replace(&mut self.answered[place], true) {
            return Err("is a second answer for one row".to_owned());
        }
        Ok((key, place))
    }
}

impl Shape {
    /// The column of that name, if a program may set it.
    fn settable(&self, name: &str) -> Result<&Column, String> {
        if let Some(key) = self.key_names.iter().find(|key| *key == name) {
            return Err(format!(
                "sets `{key}`, which is part of the key: rows can't change their place in the walk"
            ));
        }
        match self.known.iter().find(|column| column.name == name) {
            Some(Column { generated: true, .. }) => {
                Err(format!("sets `{name}`, which is generated: only the server can"))
            }
            Some(column) => Ok(column),
            None => Err(self.unknown(name)),
        }
    }

    /// An unknown name is only told where it is nearly a known one: it may be a row's value.
    fn unknown(&self, name: &str) -> String {
        let known = || {
            self.known
                .iter()
                .filter(|column| !column.generated && !self.key_names.contains(&column.name))
                .map(|column| column.name.as_str())
        };
        let near = known()
            .map(|column| {
                (strsim::osa_distance(&name.to_lowercase(), &column.to_lowercase()), column)
            })
            .filter(|(distance, column)| *distance <= (column.chars().count() / 3).max(1))
            .min_by_key(|(distance, _)| *distance);
        if let Some((_, column)) = near {
            return format!(
                "sets `{name}`, which the table does not have: did you mean `{column}`?"
            );
        }
        let mut names: Vec<String> =
            known().take(NAMES_SHOWN_MAX).map(|name| format!("`{name}`")).collect();
        if known().count() > NAMES_SHOWN_MAX {
            names.push("…".to_owned());
        }
        format!(
            "sets a column that the table does not have; it has {}",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        )
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(default)]
    key: Option<Key>,
    #[serde(default, borrow)]
    set: Option<Fields<'a>>,
    #[serde(default)]
    reject: Option<String>,
    #[serde(default)]
    chunk: Option<u64>,
}

/// Columns and what they are set to, each value as it was written.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(map.size_hint().unwrap_or(4));
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Why a line could not be read, in words of our own: the parser's may quote it.
fn explain(text: &str, error: &serde_json::Error) -> String {
    if text.trim().is_empty() {
        return "is empty: every line is one JSON value".to_owned();
    }
    if !error.is_data() {
        return format!(
            "is not JSON, at byte {}; standard output is for answers alone, messages go to \
             standard error",
            error.column()
        );
    }
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else {
        return FORMS.to_owned();
    };
    let is = |name: &str, fits: fn(&serde_json::Value) -> bool| value.get(name).is_none_or(fits);
    if !is("key", |key| {
        key.as_array().is_some_and(|parts| parts.iter().all(serde_json::Value::is_string))
    }) {
        "has a `key` that is not a list of strings: give it back as it came".to_owned()
    } else if !is("set", serde_json::Value::is_object) {
        "has a `set` that is not an object of columns".to_owned()
    } else if !is("reject", serde_json::Value::is_string) {
        "has a `reject` that is not a string: it is the reason, for people".to_owned()
    } else if !is("chunk", serde_json::Value::is_u64) {
        "has a `chunk` that is not a number: give its line back as it is".to_owned()
    } else {
        FORMS.to_owned()
    }
}

fn reason_of(text: &str) -> String {
    let mut reason: String = text
        .chars()
        .take(REASON_CHARS_MAX)
        .map(|c| if c == '\0' { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(REASON_CHARS_MAX).is_some() {
        reason.push('…');
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::super::tests::{backfill, row};
    use super::*;

    type Taken = (Vec<RowChange>, Vec<(Key, String)>, Heard);

    fn take(lines: &[&str]) -> Result<Taken, String> {
        let shape = Shape::of(&backfill());
        let rows = [row("1"), row("2")];
        let mut collector = Collector::new(&shape, 7, &rows)?;
        let mut last = Heard::Answer;
        for line in lines {
            last = collector.take(line.as_bytes())?;
        }
        Ok((collector.changes, collector.rejected, last))
    }

    fn set(fields: &str) -> Result<Vec<(String, Option<String>)>, String> {
        let (mut changes, ..) = take(&[&format!(r#"{{"key":["1"],"set":{fields}}}"#)])?;
        Ok(changes.pop().map(|change| change.set).unwrap_or_default())
    }

    #[test]
    fn values_keep_their_digits_and_get_their_drivers_form() {
        let set = set(r#"{"title":0.1, "views" : 9007199254740993,"small":"-5","ratio":1e400,
            "shown":false,"raw":"AP8Q"}"#)
        .unwrap();
        let set: Vec<(&str, Option<&str>)> =
            set.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(
            set,
            [
                ("title", Some("0.1")),
                ("views", Some("9007199254740993")),
                ("small", Some("-5")),
                ("ratio", Some("1e400")),
                ("shown", Some("false")),
                ("raw", Some("00ff10")),
            ]
        );
    }

    #[test]
    fn texts_are_unescaped_and_null_is_null() {
        let set = set(r#"{"title":"\u00e4\n\ud83d\ude00","views":null}"#).unwrap();
        assert_eq!(
            set,
            [("title".to_owned(), Some("ä\n😀".to_owned())), ("views".to_owned(), None)]
        );
    }

    #[test]
    fn answers_carry_the_version_that_was_read() {
        let (changes, rejected, last) = take(&[
            r#"{"set":{"title":"x"},"key":["2"]}"#,
            r#"{"key":["1"],"reject":"no name"}"#,
            r#"{"chunk":7}"#,
        ])
        .unwrap();
        assert_eq!(changes[0].key, Key(vec!["2".into()]));
        assert_eq!(changes[0].version, "v2");
        assert_eq!(rejected, [(Key(vec!["1".into()]), "no name".to_owned())]);
        assert_eq!(last, Heard::End);
    }

    #[test]
    fn nothing_set_is_no_change() {
        let (changes, ..) = take(&[r#"{"key":["1"],"set":{}}"#]).unwrap();
        assert_eq!(changes, []);
    }

    #[test]
    fn what_is_wrong_is_told_without_values() {
        for (lines, told) in [
            (vec![r#"{"key":["secret"],"set":{}}"#], "has a key that no row of chunk 7 has"),
            (
                vec![r#"{"key":["1"],"set":{}}"#, r#"{"key":["1"],"reject":"secret"}"#],
                "is a second answer for one row",
            ),
            (vec![r#"{"key":[1],"set":{}}"#], "has a `key` that is not a list of strings"),
            (vec![r#"{"key":"secret","set":{}}"#], "has a `key` that is not a list of strings"),
            (vec![r#"{"key":["1"],"set":["secret"]}"#], "has a `set` that is not an object"),
            (vec![r#"{"key":["1"],"reject":17}"#], "has a `reject` that is not a string"),
            (vec![r#"{"key":["1"],"sett":{"secret":1}}"#], "is no answer"),
            (vec![r#"{"key":["1"]}"#], "is no answer"),
            (vec![r#"["secret"]"#], "is no answer"),
            (vec![r#"[["1"],{"title":"secret"},null,null]"#], "is no answer"),
            (vec![r#"{"key":["1"],"set":{},"reject":"secret"}"#], "has both `set` and `reject`"),
            (vec![r#"{"key":["1"],"set":{"title":"secret}"#], "is not JSON, at byte 36"),
            (vec!["secret"], "is not JSON, at byte 1"),
            (vec![""], "is empty"),
            (vec![r#"{"chunk":6}"#], "ends chunk 6, but it has chunk 7"),
            (vec![r#"{"chunk":"7"}"#], "has a `chunk` that is not a number"),
        ] {
            let error = take(&lines).unwrap_err();
            assert!(error.starts_with(told), "{lines:?}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let error = {
            let shape = Shape::of(&backfill());
            let rows = [row("1")];
            let mut collector = Collector::new(&shape, 7, &rows).unwrap();
            collector.take(b"{\"key\":[\"\xff\"]}").unwrap_err()
        };
        assert_eq!(error, "is not UTF-8, from byte 10");
    }

    #[test]
    fn columns_that_cant_be_set_are_named() {
        for (fields, told) in [
            (
                r#"{"titel":1}"#,
                "sets `titel`, which the table does not have: did you mean `title`?",
            ),
            (
                r#"{"Ada Lovelace":1}"#,
                "sets a column that the table does not have; it has `title`,",
            ),
            (r#"{"id":"2"}"#, "sets `id`, which is part of the key"),
            (r#"{"slug":"a"}"#, "sets `slug`, which is generated"),
            (r#"{"title":"a","title":"b"}"#, "sets `title` twice"),
            (r#"{"small":1.0}"#, "sets `small` (integer) to a number with a fraction"),
            (r#"{"small":"one"}"#, "sets `small` (integer) to a string that is none"),
            (r#"{"shown":1}"#, "sets `shown` (boolean) to a number: it takes true or false"),
            (r#"{"title":true}"#, "sets `title` (text) to a boolean"),
            (r#"{"title":{"a":1}}"#, "sets `title` (text) to an object (JSON is set as a string"),
            (r#"{"title":"\ud800"}"#, "sets `title` (text) to a string with a broken escape"),
            (r#"{"raw":"not base64!"}"#, "sets `raw` (bytea) to a string that is none"),
        ] {
            let error = set(fields).unwrap_err();
            assert!(error.starts_with(told), "{fields}: {error}");
            assert!(!error.contains("Ada"), "{error}");
        }
    }

    #[test]
    fn long_reasons_are_cut() {
        let line = format!(r#"{{"key":["1"],"reject":"{}"}}"#, "ä".repeat(5000));
        let (_, rejected, _) = take(&[&line]).unwrap();
        assert_eq!(rejected[0].1.chars().count(), REASON_CHARS_MAX + 1);
    }

    #[test]
    fn keys_that_are_not_unique_are_refused() {
        let shape = Shape::of(&backfill());
        let rows = [row("1"), row("1")];
        assert!(Collector::new(&shape, 1, &rows).is_err());
    }
}
