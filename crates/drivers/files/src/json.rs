//! JSON's values as values of columns, with their text as it stands.

use std::borrow::Cow;
use std::fmt;

use dunlin_model::moves::FileType;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::shape::{Column, Holds, Origin};
use crate::value::{self, Value, Why};

/// An object's members in order. One that is there twice is an error: which of them counts, nobody
/// knows.
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads a line.
    pub(crate) fn of(line: &'a str) -> Result<Self, Why> {
        serde_json::from_str(line).map_err(|error| {
            if error.is_eof() {
                "ends in the middle of its JSON"
            } else if error.is_syntax() {
                "holds no JSON"
            } else {
                // The only other one of ours is the next.
                "is no JSON object, or has a name twice"
            }
        })
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    if all.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom("a name twice"));
                    }
                    all.push((name, map.next_value()?));
                }
                Ok(Members(all))
            }
        }
        from.deserialize_map(Object)
    }
}

/// A member's name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Borrowed<'b>(#[serde(borrow)] Cow<'b, str>);
        Ok(Self(Borrowed::deserialize(from)?.0))
    }
}

/// What a value is, as far as columns differ.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    Nothing,
    Boolean,
    /// A whole number of 64 bits.
    Whole,
    Number,
    Text,
    List(Box<Self>),
    /// Objects, lists of lists, and lists of elements that are now this, now that.
    Mixed,
}

impl Seen {
    pub(crate) fn of(raw: &RawValue) -> Self {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'n') => Self::Nothing,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'"') => Self::Text,
            Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(text) {
                Ok(items) => {
                    let item = items.into_iter().map(Self::of).fold(Self::Nothing, Self::with);
                    match item {
                        Self::List(_) | Self::Mixed => Self::Mixed,
                        item => Self::List(Box::new(item)),
                    }
                }
                Err(_) => Self::Mixed,
            },
            Some(b'{') | None => Self::Mixed,
            Some(_) if text.parse::<i64>().is_ok() => Self::Whole,
            Some(_) => Self::Number,
        }
    }

    /// The type of elements; `None`: they have none in common.
    fn item(&self) -> Option<FileType> {
        match self {
            Self::Nothing | Self::Text => Some(FileType::Text),
            Self::Boolean => Some(FileType::Boolean),
            Self::Whole => Some(FileType::Int64),
            // In a list a decimal is its text, and JSON has numbers.
            Self::Number | Self::List(_) | Self::Mixed => None,
        }
    }

    /// What a list holds that holds both.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, one) | (one, Self::Nothing) => one,
            (Self::Whole, Self::Number) | (Self::Number, Self::Whole) => Self::Number,
            (one, other) if one == other => one,
            _ => Self::Mixed,
        }
    }
}

/// How often a member was what, in the records that are looked at. What most of them hold makes the
/// column, so that one odd record changes no other: it is converted, or rejected.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    texts: u64,
    numbers: u64,
    /// Numbers among them that are no whole numbers of 64 bits.
    fractions: u64,
    booleans: u64,
    lists: u64,
    /// What the lists hold.
    items: Option<Seen>,
    mixed: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, seen: Seen) {
        match seen {
            Seen::Nothing => {}
            Seen::Boolean => self.booleans += 1,
            Seen::Whole => self.numbers += 1,
            Seen::Number => {
                self.numbers += 1;
                self.fractions += 1;
            }
            Seen::Text => self.texts += 1,
            Seen::List(item) => {
                self.lists += 1;
                self.items = Some(self.items.take().unwrap_or(Seen::Nothing).with(*item));
            }
            Seen::Mixed => self.mixed += 1,
        }
    }

    /// Whether no record tells what is in it.
    pub(crate) fn is_empty(&self) -> bool {
        let holds_some = self.items.as_ref().is_some_and(|items| *items != Seen::Nothing);
        self.texts + self.numbers + self.booleans + self.mixed == 0 && !holds_some
    }

    /// The column for it. In a key a number is what most of them are as well: another type would be
    /// another key for every row.
    pub(crate) fn holds(&self, is_key: bool) -> Holds {
        let item = self.items.as_ref().and_then(Seen::item);
        let least = if is_key { self.numbers / 2 } else { 0 };
        let number = if self.fractions > least { FileType::Decimal } else { FileType::Int64 };
        // Lists whose elements have no type in common are JSON.
        let (lists, json) =
            if item.is_some() { (self.lists, self.mixed) } else { (0, self.mixed + self.lists) };
        // Of what is as often as another the one that holds more: any number has a text.
        let mut best = (self.texts, Holds::One(FileType::Text));
        for (count, holds) in [
            (self.numbers, Holds::One(number)),
            (self.booleans, Holds::One(FileType::Boolean)),
            (lists, Holds::Many(item.unwrap_or(FileType::Text))),
            (json, Holds::One(FileType::Json)),
        ] {
            if count > best.0 {
                best = (count, holds);
            }
        }
        best.1
    }
}

/// A member as the value of its column.
pub(crate) fn value<'a>(column: &Column, raw: &'a RawValue, comma: bool) -> Result<Value<'a>, Why> {
    let declared = column.origin == Origin::Declared;
    match &column.holds {
        Holds::One(of) => one(of, declared, raw, comma),
        Holds::Many(_) if raw.get() == "null" => Ok(Value::Null),
        Holds::Many(of) => {
            let items: Vec<&RawValue> =
                serde_json::from_str(raw.get()).map_err(|_| "holds no list")?;
            let item = |item: &'a RawValue| one(of, declared, item, comma);
            Ok(Value::List(items.into_iter().map(item).collect::<Result<_, _>>()?))
        }
    }
}

fn one<'a>(
    of: &FileType,
    declared: bool,
    raw: &'a RawValue,
    comma: bool,
) -> Result<Value<'a>, Why> {
    let text = raw.get();
    let first = text.as_bytes().first().copied().unwrap_or(b'n');
    if first == b'n' {
        return Ok(Value::Null);
    }
    if *of == FileType::Json {
        return Ok(Value::Text(Cow::Borrowed(text)));
    }
    // What nobody declared stays apart: "5" is no 5. A number has a text, which is its own spelling.
    let fits = match (of, first) {
        (_, b'{' | b'[') => false,
        _ if declared => true,
        (FileType::Text, _) | (FileType::Boolean, b't' | b'f') => true,
        (FileType::Int64 | FileType::Decimal, b'-' | b'0'..=b'9') => true,
        _ => false,
    };
    if !fits {
        return Err(other_type(of));
    }
    if first == b'"' {
        // A text with half of a surrogate pair is none.
        let content: Cow<'a, str> =
            serde_json::from_str::<Content<'a>>(text).map_err(|_| "holds no text")?.0;
        return match content {
            Cow::Borrowed(content) => value::parse(of, content, comma),
            Cow::Owned(content) => value::parse(of, &content, comma).map(owned),
        };
    }
    value::parse(of, text, false)
}

#[derive(serde::Deserialize)]
struct Content<'a>(#[serde(borrow)] Cow<'a, str>);

fn other_type(of: &FileType) -> Why {
    match of {
        FileType::Text => {
            "holds a list or an object, where most records have text: give its type under `types`"
        }
        FileType::Boolean => {
            "holds something else than true and false, as most records have: give its type under \
             `types`"
        }
        _ => {
            "holds something else than a number, as most records have: give its type under `types`"
        }
    }
}

fn owned(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        Value::Bytes(bytes) => Value::Bytes(bytes),
        Value::Boolean(value) => Value::Boolean(value),
        Value::Number(value) => Value::Number(value),
        Value::Unsigned(value) => Value::Unsigned(value),
        Value::Float(value) => Value::Float(value),
        Value::List(items) => Value::List(items.into_iter().map(owned).collect()),
        Value::Unreadable(why) => Value::Unreadable(why),
        Value::Null => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: &[&str]) -> Holds {
        let raw = |text: &&str| RawValue::from_string((*text).to_owned()).unwrap();
        let mut tally = Tally::default();
        values.iter().map(raw).for_each(|raw| tally.add(Seen::of(&raw)));
        tally.holds(false)
    }

    #[test]
    fn columns_are_what_most_of_their_values_are() {
        assert_eq!(seen(&["null", "1", "-2"]), Holds::One(FileType::Int64));
        assert_eq!(seen(&["1", "2.50"]), Holds::One(FileType::Decimal));
        assert_eq!(seen(&["9223372036854775808"]), Holds::One(FileType::Decimal));
        assert_eq!(seen(&["true", "null"]), Holds::One(FileType::Boolean));
        assert_eq!(seen(&["\"1\"", "1"]), Holds::One(FileType::Text));
        assert_eq!(seen(&["\"a\"", "6", "\"b\""]), Holds::One(FileType::Text));
        assert_eq!(seen(&["1", "\"a\"", "2"]), Holds::One(FileType::Int64));
        assert_eq!(seen(&["\"a\"", "{}", "\"b\""]), Holds::One(FileType::Text));
        assert_eq!(seen(&["{}", "\"a\"", "{}"]), Holds::One(FileType::Json));
        assert_eq!(seen(&["true", "\"yes\"", "false"]), Holds::One(FileType::Boolean));
        assert_eq!(seen(&["[1]", "\"a\"", "[]"]), Holds::Many(FileType::Int64));
        assert_eq!(seen(&["null"]), Holds::One(FileType::Text));
        assert_eq!(seen(&["[]", "[\"a\", null]"]), Holds::Many(FileType::Text));
        assert_eq!(seen(&["[1]", "[2]"]), Holds::Many(FileType::Int64));
        assert_eq!(seen(&["[1]", "[\"a\"]"]), Holds::One(FileType::Json));
        assert_eq!(seen(&["[1]", "[2.5]"]), Holds::One(FileType::Json));
        assert_eq!(seen(&["[9223372036854775808]"]), Holds::One(FileType::Json));
        assert_eq!(seen(&["[[1]]"]), Holds::One(FileType::Json));
        assert_eq!(seen(&["{}"]), Holds::One(FileType::Json));
    }

    #[test]
    fn lines_that_are_no_objects() {
        assert_eq!(Members::of("{\"a\": 1, \"b\": {\"c\": [1, 2]}}").unwrap().0.len(), 2);
        assert_eq!(Members::of("{\"a\": 1").err(), Some("ends in the middle of its JSON"));
        assert_eq!(Members::of("{a: 1}").err(), Some("holds no JSON"));
        for line in ["[1]", "1", "{\"a\": 1, \"\\u0061\": 2}"] {
            let why = Members::of(line).err();
            assert_eq!(why, Some("is no JSON object, or has a name twice"), "{line}");
        }
    }
}
