//! Ranges of keys as SQL. The server compares; we only hand its own texts back to it.

use dunlin_model::{Bound, Key, KeyRange};

use super::layout::{KeyPart, Layout};
use crate::quote;

const LESS: usize = 0;
const LESS_OR_EQUAL: usize = 1;
const EQUAL: usize = 2;
const GREATER_OR_EQUAL: usize = 3;
const GREATER: usize = 4;

/// On which side of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// After it in the order of the walk, without the key itself.
    After,
    /// Up to it, with the key itself.
    Upto,
}

impl KeyPart {
    fn term(&self, alias: Option<&str>) -> String {
        let column = self.column(alias);
        match &self.collation {
            Some(collation) => format!("({column} COLLATE {collation})"),
            None => column,
        }
    }

    fn column(&self, alias: Option<&str>) -> String {
        alias.map_or_else(|| self.name.clone(), |alias| format!("{alias}.{}", self.name))
    }

    /// The operator of a side; `strict` leaves the value itself out.
    fn operator(&self, side: Side, strict: bool) -> &str {
        let greater = (side == Side::After) != self.descending;
        &self.operators[match (greater, strict) {
            (true, true) => GREATER,
            (true, false) => GREATER_OR_EQUAL,
            (false, true) => LESS,
            (false, false) => LESS_OR_EQUAL,
        }]
    }
}

impl Layout {
    /// The condition of a range, each column behind the alias if there is one.
    pub(super) fn range(&self, range: &KeyRange, alias: Option<&str>) -> String {
        match range {
            KeyRange::Between { after, upto } => self.between(after, upto, alias),
            KeyRange::Exactly(key) => self.exactly(key, alias),
            KeyRange::Keys(keys) => self.any_of(keys, alias),
            KeyRange::Nulls => self.nulls(alias),
        }
    }

    /// After a place, up to and with a key.
    pub(super) fn between(&self, after: &Bound, upto: &Key, alias: Option<&str>) -> String {
        let upto = self.side(Side::Upto, &self.literals(upto), alias);
        match after {
            Bound::Key(key) => {
                format!("{} AND {upto}", self.side(Side::After, &self.literals(key), alias))
            }
            Bound::Start | Bound::Nulls => upto,
        }
    }

    /// The one row with a key.
    pub(super) fn exactly(&self, key: &Key, alias: Option<&str>) -> String {
        self.equal(&self.literals(key), alias)
    }

    /// The rows with these keys. Planned in no time however many there are, which an OR of a thousand
    /// keys is not.
    fn any_of(&self, keys: &[Key], alias: Option<&str>) -> String {
        match (self.parts.as_slice(), keys) {
            (_, []) => "false".to_owned(),
            (_, [only]) => self.exactly(only, alias),
            // Of arrays there is no array: what looks like one has a dimension more.
            ([part], _) if !part.type_name.ends_with(']') => {
                let texts: Vec<String> =
                    keys.iter().flat_map(|key| &key.0).map(|text| quote::text(text)).collect();
                format!(
                    "{} {} ANY (ARRAY[{}]::{}[])",
                    part.term(alias),
                    part.operators[EQUAL],
                    texts.join(","),
                    part.type_name
                )
            }
            (parts, _) => {
                let names: Vec<String> =
                    (1..=parts.len()).map(|number| format!("dunlin_k{number}")).collect();
                let rows: Vec<String> =
                    keys.iter().map(|key| format!("({})", self.literals(key).join(","))).collect();
                format!(
                    "EXISTS (SELECT FROM (VALUES {}) AS dunlin_keys ({}) WHERE {})",
                    rows.join(","),
                    names.join(", "),
                    self.equal(&names, alias)
                )
            }
        }
    }

    /// Each part equal to an expression.
    pub(super) fn equal(&self, values: &[String], alias: Option<&str>) -> String {
        let terms = self.parts.iter().zip(values);
        let terms: Vec<String> = terms
            .map(|(part, value)| format!("{} {} {value}", part.term(alias), part.operators[EQUAL]))
            .collect();
        terms.join(" AND ")
    }

    /// The rows whose key is NULL. A key of several columns is NULL where one of them is.
    pub(super) fn nulls(&self, alias: Option<&str>) -> String {
        let terms = self.parts.iter().filter(|part| part.nullable);
        let terms: Vec<String> =
            terms.map(|part| format!("{} IS NULL", part.column(alias))).collect();
        if terms.is_empty() { "false".to_owned() } else { terms.join(" OR ") }
    }

    /// A key's texts as literals of its columns' types.
    pub(super) fn literals(&self, key: &Key) -> Vec<String> {
        let parts = self.parts.iter().zip(&key.0);
        parts.map(|(part, text)| format!("{}::{}", quote::text(text), part.type_name)).collect()
    }

    /// One side of a key, given as expressions. Columns that are compared alike become one
    /// comparison of rows, which an index can bound by all of its columns. Others need nested ORs,
    /// behind a bound on the first column that the index can use.
    pub(super) fn side(&self, side: Side, values: &[String], alias: Option<&str>) -> String {
        let Some((first, rest)) = self.parts.split_first() else {
            return "false".to_owned();
        };
        let alike = rest
            .iter()
            .all(|part| part.descending == first.descending && part.operators == first.operators);
        let strict = side == Side::After;
        if alike {
            let terms: Vec<String> = self.parts.iter().map(|part| part.term(alias)).collect();
            let operator = first.operator(side, strict);
            return if rest.is_empty() {
                format!("{} {operator} {}", terms.join(", "), values.join(", "))
            } else {
                format!("({}) {operator} ({})", terms.join(", "), values.join(", "))
            };
        }
        let Some(first_value) = values.first() else {
            return "false".to_owned();
        };
        format!(
            "{} {} {first_value} AND {}",
            first.term(alias),
            first.operator(side, false),
            nested(&self.parts, values, side, alias)
        )
    }

    /// The order of the walk, or against it.
    pub(super) fn order(&self, alias: &str, backwards: bool) -> String {
        let terms = self.parts.iter().map(|part| {
            let operator =
                &part.operators[if part.descending == backwards { LESS } else { GREATER }];
            let nulls = if part.nulls_first == backwards { "LAST" } else { "FIRST" };
            format!("{} USING {operator} NULLS {nulls}", part.term(Some(alias)))
        });
        terms.collect::<Vec<_>>().join(", ")
    }

    /// The key's columns.
    pub(super) fn columns(&self, alias: &str) -> String {
        let all: Vec<String> = self.parts.iter().map(|part| part.column(Some(alias))).collect();
        all.join(", ")
    }

    /// The key's columns as texts.
    pub(super) fn texts(&self, alias: &str) -> String {
        let columns = self.parts.iter().map(|part| format!("{}::text", part.column(Some(alias))));
        columns.collect::<Vec<_>>().join(", ")
    }

    /// A row's key as the ledger stores it.
    pub(super) fn encoded(&self, alias: &str) -> String {
        format!("pg_catalog.array_to_json(ARRAY[{}])::text", self.texts(alias))
    }
}

fn nested(parts: &[KeyPart], values: &[String], side: Side, alias: Option<&str>) -> String {
    let (Some((part, rest)), Some((value, values))) = (parts.split_first(), values.split_first())
    else {
        return "false".to_owned();
    };
    let term = part.term(alias);
    if rest.is_empty() {
        return format!("{term} {} {value}", part.operator(side, side == Side::After));
    }
    format!(
        "({term} {} {value} OR ({term} {} {value} AND {}))",
        part.operator(side, true),
        part.operators[EQUAL],
        nested(rest, values, side, alias)
    )
}
