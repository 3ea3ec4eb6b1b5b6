//! Whether a value may be NULL.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Reader;
use super::columns::Scope;
use crate::sql::lex::Kind;

/// Functions that give NULL of NULL alone.
const STRICT: [&str; 18] = [
    "ABS",
    "BTRIM",
    "DATE",
    "DATE_TRUNC",
    "DAY",
    "HEX",
    "LENGTH",
    "LOWER",
    "LTRIM",
    "MD5",
    "MONTH",
    "REPLACE",
    "ROUND",
    "RTRIM",
    "SUBSTR",
    "TRIM",
    "UPPER",
    "YEAR",
];

/// Functions that give NULL only if all that they are given is NULL.
const FILLED: [&str; 3] = ["COALESCE", "IFNULL", "CONCAT_WS"];

/// So deep is a value looked into.
const DEPTH_MAX: usize = 8;

/// Nobody knows.
pub(super) fn unknown() -> BTreeSet<String> {
    BTreeSet::from([String::new()])
}

impl Reader<'_> {
    /// Which columns of the walked table must not be NULL so that a value is not.
    pub(super) fn nulls(&self, value: Range<usize>, scope: &Scope) -> BTreeSet<String> {
        self.nulls_in(value, scope, 0)
    }

    fn nulls_in(&self, value: Range<usize>, scope: &Scope, depth: usize) -> BTreeSet<String> {
        if depth > DEPTH_MAX || value.is_empty() {
            return unknown();
        }
        if self.constant(&value).is_some_and(|text| text != "null")
            || scope.filled_values.contains(&self.written(value.clone()))
        {
            return BTreeSet::new();
        }
        if let Some(parts) = self.only_name(value.clone()) {
            if scope.filled.contains(&parts) {
                return BTreeSet::new();
            }
            return scope.column(&parts).map_or_else(unknown, |column| BTreeSet::from([column]));
        }
        let flat = self.flat(value.clone());
        if let Some(at) = self.joint(&flat) {
            let mut found = self.nulls_in(value.start..at, scope, depth + 1);
            let sign = if self.source.punct(at + 1, b'|') { 2 } else { 1 };
            found.extend(self.nulls_in(at + sign..value.end, scope, depth + 1));
            return found;
        }
        let cast = flat
            .iter()
            .find(|at| self.source.punct(**at, b':') && self.source.punct(**at + 1, b':'));
        if let Some(at) = cast {
            let is_type =
                |one: &usize| self.source.word(*one).is_some() || self.source.punct(*one, b'(');
            return match flat.iter().filter(|one| **one > at + 1).all(is_type) {
                true => self.nulls_in(value.start..*at, scope, depth + 1),
                false => unknown(),
            };
        }
        self.nulls_of_call(value, scope, depth)
    }

    /// `lower(a)`, `CAST(a AS text)`, `(a)`
    fn nulls_of_call(&self, value: Range<usize>, scope: &Scope, depth: usize) -> BTreeSet<String> {
        let open = value.start + usize::from(!self.source.punct(value.start, b'('));
        if !self.source.punct(open, b'(') || self.behind(open) != value.end || self.is_query(open) {
            return unknown();
        }
        let inside = self.inside(open);
        let items = self.items(inside.clone());
        if self.source.is_any(value.start, &FILLED) {
            // The one of them for which least is asked.
            let each = items.into_iter().map(|item| self.nulls_in(item, scope, depth + 1));
            return each.min_by_key(|one| (one.contains(""), one.len())).unwrap_or_else(unknown);
        }
        let inner: Vec<Range<usize>> = if self.source.is(value.start, "CAST") {
            let flat = self.flat(inside.clone());
            let cast = flat.into_iter().find(|at| self.source.is(*at, "AS"));
            std::iter::once(inside.start..cast.unwrap_or(inside.start)).collect()
        } else if open == value.start || self.source.is_any(value.start, &STRICT) {
            items
        } else {
            return unknown();
        };
        inner.into_iter().flat_map(|item| self.nulls_in(item, scope, depth + 1)).collect()
    }

    /// Where two values are put together of which neither may be NULL: `+`, `-`, `*`, `||`.
    fn joint(&self, flat: &[usize]) -> Option<usize> {
        let is_sign = |at: &&usize| {
            [b'+', b'-', b'*'].iter().any(|sign| self.source.punct(**at, *sign))
                || (self.source.punct(**at, b'|') && self.source.punct(**at + 1, b'|'))
        };
        let simple = |at: &usize| match self.source.kind(*at) {
            Some(Kind::Punct(byte)) => b".(|+-*".contains(&byte),
            Some(_) => true,
            None => false,
        };
        let at = flat.iter().skip(1).find(is_sign).copied();
        at.filter(|_| flat.iter().all(simple))
    }

    /// A constant as it is written, folded.
    pub(super) fn constant(&self, value: &Range<usize>) -> Option<String> {
        let text = self.source.token_text(value.start);
        let is_one = match self.source.kind(value.start) {
            Some(Kind::Number) => true,
            Some(Kind::Str) => text.starts_with(['\'', '$', 'E', 'e']),
            Some(Kind::Word) => self.source.is_any(value.start, &["NULL", "TRUE", "FALSE"]),
            _ => false,
        };
        (is_one && value.len() == 1).then(|| match self.source.kind(value.start) {
            Some(Kind::Word) => text.to_ascii_lowercase(),
            _ => text.to_owned(),
        })
    }

    /// The tokens of a range, each behind a blank.
    pub(super) fn written(&self, range: Range<usize>) -> String {
        range.flat_map(|at| [" ", self.source.token_text(at)]).collect()
    }
}
