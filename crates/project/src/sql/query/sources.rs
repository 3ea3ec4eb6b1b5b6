//! The tables and sub-queries that a query reads, by the names that it knows them by.

use std::ops::Range;

use super::columns::Output;
use super::{Reader, Role};
use crate::sql::facts::source::NO_ALIAS;

/// What a name in a FROM stands for.
#[derive(Debug, Clone)]
pub(super) enum Rows {
    /// A table or view, folded as in [`dunlin_model::Facts::tables`].
    Table(String),
    /// A sub-query, or a WITH's.
    Query(Output),
    /// A function, and what else gives rows.
    Other,
}

/// One entry of a FROM.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) called: String,
    pub(super) rows: Rows,
}

/// So many of the sub-queries of a WITH are looked through for a name.
const EXPRESSIONS_MAX: usize = 1024;

impl Reader<'_> {
    /// The entries of a FROM, an UPDATE's tables, or a USING.
    pub(super) fn sources(&mut self, range: Range<usize>, depth: usize) -> Vec<Named> {
        let mut found = Vec::new();
        let mut at = range.start;
        let mut expects = true;
        while at < range.end {
            if !expects {
                expects = self.source.punct(at, b',')
                    || self.source.is_any(at, &["JOIN", "STRAIGHT_JOIN"]);
                at = self.behind(at);
                continue;
            }
            if self.source.is_any(at, &["ONLY", "LATERAL"]) {
                at += 1;
                continue;
            }
            expects = false;
            at = if self.source.punct(at, b'(') {
                self.group(at, depth, &mut found)
            } else {
                self.entry(at, range.end, &mut found)
            };
        }
        found
    }

    /// `(SELECT …) s`, or `(a JOIN b ON …)`.
    fn group(&mut self, open: usize, depth: usize, found: &mut Vec<Named>) -> usize {
        let inside = self.inside(open);
        let behind = self.behind(open);
        if self.is_query(open) {
            let output = self.query(open, Role::Derived, depth);
            let (alias, columns, at) = self.alias(behind);
            if let Some(called) = alias {
                found.push(Named { called, rows: Rows::Query(output.renamed(columns)) });
            }
            return at;
        }
        if depth < super::LOOKS_MAX {
            found.extend(self.sources(inside, depth + 1));
        }
        behind
    }

    fn entry(&mut self, at: usize, end: usize, found: &mut Vec<Named>) -> usize {
        let mut cursor = self.source.cursor(at);
        let Some(name) = cursor.name() else { return at + 1 };
        cursor.eat_punct(b'*');
        if self.source.punct(cursor.at, b'(') {
            let (alias, _, behind) = self.alias(self.behind(cursor.at));
            let called = alias.unwrap_or_else(|| name.last().to_owned());
            found.push(Named { called, rows: Rows::Other });
            return behind;
        }
        let (alias, columns, behind) =
            if cursor.at < end { self.alias(cursor.at) } else { (None, Vec::new(), cursor.at) };
        let own = (name.parts.len() == 1).then(|| self.expression(name.last())).flatten();
        let rows = match own {
            Some(output) => Rows::Query(output.renamed(columns)),
            None => {
                let key = name.key(self.source.dialect);
                self.tables.push(key.clone());
                Rows::Table(key)
            }
        };
        found.push(Named { called: alias.unwrap_or_else(|| name.last().to_owned()), rows });
        behind
    }

    /// What a WITH of this name holds.
    fn expression(&self, name: &str) -> Option<Output> {
        let near = self.expressions.iter().rev().take(EXPRESSIONS_MAX);
        let found = near.into_iter().find(|(known, _)| known == name)?;
        Some(found.1.clone())
    }

    /// An alias with the new names of columns, and what comes behind it.
    pub(super) fn alias(&self, at: usize) -> (Option<String>, Vec<String>, usize) {
        let mut cursor = self.source.cursor(at);
        let said = cursor.eat("AS");
        let is_alias = said
            || self.source.kind(at) == Some(crate::sql::lex::Kind::Quoted)
            || (self.source.word(at).is_some() && !self.source.is_any(at, &NO_ALIAS));
        if !is_alias {
            return (None, Vec::new(), at);
        }
        let alias = cursor.name().map(|name| name.last().to_owned());
        if alias.is_none() || !self.source.punct(cursor.at, b'(') {
            return (alias, Vec::new(), cursor.at);
        }
        let mut list = self.source.cursor(cursor.at + 1);
        let columns = list.names().iter().map(|name| name.last().to_owned()).collect();
        (alias, columns, self.behind(cursor.at))
    }
}
