//! Keys: read from the server, given back to the server, never compared by us.
//!
//! Collations, uuid order and numeric forms differ between servers and from ours, so all that a
//! client may do with a key is to hand it back. Equality of the same server's own text is the one
//! exception: it tells whether a segment has reached its end.

use serde::{Deserialize, Serialize};

/// One row's key: a text for each key column, in a form of its driver's that reads back as exactly
/// the value that it was (PostgreSQL: the type's own text; MySQL and MariaDB: hexadecimal bytes of
/// texts and binaries, numbers and times as they print; SQLite: the value as a SQL literal).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub Vec<String>);

impl Key {
    /// As the ledger stores it: a JSON list of texts.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::Value::from(self.0.clone()).to_string()
    }

    /// From the ledger's text; `None` if it is no key.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let parts: Vec<String> = serde_json::from_str(text).ok()?;
        (!parts.is_empty()).then_some(Self(parts))
    }
}

/// A place in a table's key order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// Before every key.
    Start,
    /// At a key.
    Key(Key),
    /// The rows whose (only) key column is NULL, which no range of keys holds.
    Nulls,
}

impl Bound {
    /// As the ledger stores it: `[]`, a JSON list of texts, or `null`.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Start => "[]".to_owned(),
            Self::Key(key) => key.encode(),
            Self::Nulls => "null".to_owned(),
        }
    }

    /// From the ledger's text; `None` if it is no bound.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        match text {
            "[]" => Some(Self::Start),
            "null" => Some(Self::Nulls),
            _ => Key::decode(text).map(Self::Key),
        }
    }
}

/// One column of the key that a table is walked by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyColumn {
    /// Its name, unquoted.
    pub name: String,
    /// Its type in the server's words, without a length: `bigint`, `character varying`.
    pub type_name: String,
    /// The walk goes from high to low in this column.
    pub descending: bool,
    /// It may be NULL. Only a key of one column may be: its NULL rows are a chunk of their own.
    pub nullable: bool,
}

/// The rows that a chunk covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyRange {
    /// After one place, up to and with a key.
    Between {
        /// Where it begins; the key itself is not in it. Never [`Bound::Nulls`].
        after: Bound,
        /// Where it ends; the key itself is in it.
        upto: Key,
    },
    /// The one row with this key.
    Exactly(Key),
    /// The rows with these keys, in the order of the walk; none at all may be meant.
    Keys(Vec<Key>),
    /// The rows whose key is NULL.
    Nulls,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_read_back() {
        for bound in [
            Bound::Start,
            Bound::Nulls,
            Bound::Key(Key(vec!["1".into()])),
            Bound::Key(Key(vec![String::new(), "a\"\\\u{0}ä".into()])),
        ] {
            assert_eq!(Bound::decode(&bound.encode()), Some(bound));
        }
        assert_eq!(Bound::decode("17"), None);
        assert_eq!(Key::decode("[]"), None);
    }
}
