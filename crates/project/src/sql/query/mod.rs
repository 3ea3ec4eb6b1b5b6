//! The queries of a statement that runs chunk by chunk, and which of them see a chunk alone.
//!
//! A query with `:chunk` among its conditions has the rows of one chunk, and so has each that reads
//! from it. What such a query makes of several rows together (a group, a number in a window, rows
//! that are told apart) is then of that chunk and not of the table: where that is written, every
//! chunk writes a part as if it were all. Invariants: only what is surely wrong is found; a query
//! that has no `:chunk` may do anything; no input makes it panic, and it takes no more than some
//! dozens of looks at a statement. What is left out: what conditions let through
//! ([`super::confinement`]) and functions of people's own, which only the catalogue knows.

mod calls;
mod columns;
mod merge;
mod select;
mod sources;
mod spread;
#[cfg(test)]
mod tests;
mod writes;

use std::ops::Range;

use dunlin_model::{ChunkPlace, Dialect, Statement};

use self::columns::Output;
use self::sources::{Named, Rows};
use self::spread::{Group, Sink};
use super::confinement::Leak;
use super::facts::source::Source;
use super::lex::{Kind, Token};

pub(super) use self::spread::spread;

/// So many pairs of parentheses one in another, and places of one kind, are looked at: people write
/// a few of each, and reading a file must take no more than its length.
const LOOKS_MAX: usize = 64;

const OTHER_TABLE: Leak = Leak {
    rule: "chunk-other-table",
    message: "`:chunk` stands for keys of the `chunk-by` table, and here it would be another one's",
    help: "write `:chunk(…)` with the alias that the `chunk-by` table has in this query, or name \
           this query's table in `chunk-by` (of a view, the table below it)",
};

/// What becomes of a query's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// They are inserted as they are, or thrown away.
    Top,
    /// Another query reads them.
    Derived,
    /// They are compared with something, or are a value.
    Expression,
}

/// A statement as far as it is read.
struct Reader<'a> {
    source: Source<'a>,
    places: &'a [ChunkPlace],
    /// The token with which each place begins.
    place_tokens: Vec<usize>,
    /// The table that is walked, folded.
    table: &'a str,
    /// Where the parenthesis that opens at a token closes.
    close: Vec<usize>,
    /// Sub-queries that were read.
    read: Vec<bool>,
    /// What each WITH around us holds.
    expressions: Vec<(String, Output)>,
    /// The tables of each query around us.
    around: Vec<Vec<Named>>,
    /// Every table that a FROM names, folded.
    tables: Vec<String>,
    groups: Vec<Group>,
    leaks: Vec<(Leak, usize)>,
    sink: Sink,
}

/// What is wrong with where a statement's places stand, and the byte of it.
pub(super) fn leak(
    dialect: Dialect,
    statement: &Statement,
    tokens: &[Token],
    table: &str,
) -> Option<(Leak, usize)> {
    let reader = Reader::read(dialect, statement, tokens, table);
    reader.leaks.first().copied()
}

impl<'a> Reader<'a> {
    fn read(
        dialect: Dialect,
        statement: &'a Statement,
        tokens: &'a [Token],
        table: &'a str,
    ) -> Self {
        let places = statement.facts.chunk_places.as_slice();
        let is_place = |at: &usize| {
            let begins = |token: &Token| {
                places.binary_search_by_key(&token.start(), |place| place.start).is_ok()
            };
            tokens.get(*at).is_some_and(begins)
        };
        let mut reader = Self {
            source: Source { dialect, text: &statement.text, tokens },
            places,
            place_tokens: (0..tokens.len()).filter(is_place).collect(),
            table,
            close: closing(tokens),
            read: vec![false; tokens.len()],
            expressions: Vec::new(),
            around: Vec::new(),
            tables: Vec::new(),
            groups: Vec::new(),
            leaks: Vec::new(),
            sink: Sink::default(),
        };
        reader.level(0..tokens.len(), Role::Top, 0);
        reader
    }

    /// What stands in a pair of parentheses, or the whole statement.
    fn level(&mut self, range: Range<usize>, role: Role, depth: usize) -> Output {
        if depth >= LOOKS_MAX || range.is_empty() {
            return Output::default();
        }
        let known = self.expressions.len();
        let body = self.with(range.clone(), depth)..range.end;
        let output = match self.source.word(body.start).map(str::to_ascii_uppercase).as_deref() {
            Some("INSERT" | "REPLACE") => self.insert(body, depth),
            Some("UPDATE") => self.update(body, depth),
            Some("DELETE") => self.delete(body, depth),
            Some("MERGE") => self.merge(body, depth),
            _ => self.union(body, role, depth),
        };
        self.expressions.truncate(known);
        output
    }

    /// Reads a WITH; gives where the statement behind it begins.
    fn with(&mut self, range: Range<usize>, depth: usize) -> usize {
        if !self.source.is(range.start, "WITH") {
            return range.start;
        }
        let mut at = range.start + 1;
        at += usize::from(self.source.is(at, "RECURSIVE"));
        while at < range.end {
            let (alias, columns, mut behind) = self.alias(at);
            let Some(name) = alias else { break };
            while self.source.is_any(behind, &["AS", "NOT", "MATERIALIZED"]) {
                behind += 1;
            }
            if !self.source.punct(behind, b'(') {
                return behind;
            }
            let output = self.defined(&name, behind, depth);
            self.expressions.push((name, output.renamed(columns)));
            at = self.behind(behind);
            // `SEARCH DEPTH FIRST BY a SET b`, `CYCLE a SET b USING c`
            while self.source.is_any(at, &["SEARCH", "CYCLE"]) {
                let ends = |one: &usize| {
                    self.source.punct(*one, b',')
                        || self.source.is_any(*one, &["SELECT", "INSERT", "UPDATE", "DELETE"])
                };
                at = (at..range.end).find(ends).unwrap_or(range.end);
            }
            if !self.source.punct(at, b',') {
                return at;
            }
            at += 1;
        }
        at
    }

    /// Reads a query of a WITH, which may read itself.
    fn defined(&mut self, name: &str, open: usize, depth: usize) -> Output {
        let inside = self.inside(open);
        let is_name = |at: usize| {
            let found = self.source.cursor(at).name();
            found.is_some_and(|found| found.parts.len() == 1 && found.last() == name)
        };
        let reads_itself = inside.clone().any(|at| {
            at > inside.start
                && (self.source.is_any(at - 1, &["FROM", "JOIN"])
                    || self.source.punct(at - 1, b','))
                && is_name(at)
        });
        if !reads_itself {
            return self.query(open, Role::Derived, depth);
        }
        // What comes of a chunk's rows is the chunk's. Its UNION ends the recursion, and whether it
        // leaves out anything else can't be told.
        let confined = self.holds_place(&inside);
        let itself = Output { confined, ..Output::default() };
        self.expressions.push((name.to_owned(), itself));
        let output = self.query(open, Role::Expression, depth);
        self.expressions.pop();
        output
    }

    /// Reads the query in the parentheses that open here.
    fn query(&mut self, open: usize, role: Role, depth: usize) -> Output {
        if let Some(read) = self.read.get_mut(open) {
            *read = true;
        }
        self.level(self.inside(open), role, depth + 1)
    }

    /// Reads the sub-queries in expressions.
    fn expressions_in(&mut self, range: Range<usize>, depth: usize) {
        let mut at = range.start;
        while at < range.end {
            if self.is_query(at) {
                if self.read.get(at) == Some(&false) {
                    self.query(at, Role::Expression, depth);
                }
                at = self.behind(at);
            } else {
                at += 1;
            }
        }
    }

    /// Whether a query in parentheses begins here.
    fn is_query(&self, at: usize) -> bool {
        const BEGIN: [&str; 4] = ["SELECT", "WITH", "VALUES", "TABLE"];
        if !self.source.punct(at, b'(') {
            return false;
        }
        let inner = (at..self.source.len()).take(LOOKS_MAX);
        let first = inner.take_while(|one| self.source.punct(*one, b'(')).last().unwrap_or(at);
        self.source.is_any(first + 1, &BEGIN)
    }

    /// What is in the parentheses that open here.
    fn inside(&self, open: usize) -> Range<usize> {
        let close = self.close.get(open).copied().unwrap_or(self.source.len());
        (open + 1).min(close)..close
    }

    /// The token behind this one, or behind the parentheses that open here.
    fn behind(&self, at: usize) -> usize {
        match self.close.get(at) {
            Some(close) if self.source.punct(at, b'(') => (close + 1).min(self.source.len()),
            _ => at + 1,
        }
    }

    /// The tokens outside of parentheses, of which the opening ones are given.
    fn flat(&self, range: Range<usize>) -> Vec<usize> {
        let mut found = Vec::new();
        let mut at = range.start;
        while at < range.end {
            found.push(at);
            at = self.behind(at);
        }
        found
    }

    /// The tokens outside of sub-queries.
    fn own_tokens(&self, range: Range<usize>) -> Vec<usize> {
        let mut found = Vec::new();
        let mut at = range.start;
        while at < range.end {
            if self.is_query(at) {
                at = self.behind(at);
            } else {
                found.push(at);
                at += 1;
            }
        }
        found
    }

    /// What stands between the commas of a list.
    fn items(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut begin = range.start;
        for at in self.flat(range.clone()) {
            if self.source.punct(at, b',') {
                found.push(begin..at);
                begin = at + 1;
            }
        }
        found.push(begin..range.end);
        found.retain(|item| !item.is_empty());
        found
    }

    /// Whether a place stands there, at any depth.
    fn holds_place(&self, range: &Range<usize>) -> bool {
        let first = self.place_tokens.partition_point(|at| *at < range.start);
        self.place_tokens.get(first).is_some_and(|at| *at < range.end)
    }

    /// The places outside of sub-queries.
    fn places_in(&self, range: Range<usize>) -> Vec<&'a ChunkPlace> {
        let first = self.place_tokens.partition_point(|at| *at < range.start);
        let behind = self.place_tokens.partition_point(|at| *at < range.end);
        if first >= behind {
            return Vec::new();
        }
        let tokens = self.own_tokens(range);
        let own = |at: &usize| tokens.binary_search(at).is_ok();
        let numbers = (first..behind).filter(|number| own(&self.place_tokens[*number]));
        numbers.filter_map(|number| self.places.get(number)).take(LOOKS_MAX).collect()
    }

    /// The alias of a place, folded.
    fn alias_of(&self, place: &ChunkPlace) -> Option<String> {
        let written = place.alias.as_deref()?;
        super::column_key(self.source.dialect, written)
    }

    /// Whether a name means the table that is walked. Without a schema it may.
    fn is_walked(&self, key: &str) -> bool {
        let last = |name: &'a str| name.rsplit('.').next();
        let whole = key.contains('.') && self.table.contains('.');
        if whole { key == self.table } else { key.rsplit('.').next() == last(self.table) }
    }

    /// Looks whether the places of a query are of the table that is walked. `around` has the
    /// query's own tables in the end.
    fn check_tables(&mut self, range: Range<usize>) {
        for place in self.places_in(range) {
            let alias = self.alias_of(place);
            let mut entries = self.around.iter().rev().flatten();
            let is_other = match &alias {
                // What a sub-query gives may be the table's rows, under whatever name.
                Some(alias) => entries
                    .find(|named| named.called == *alias)
                    .is_some_and(|named| self.is_other(named)),
                // The key may be a column of any of them.
                None => {
                    self.around.iter().any(|one| !one.is_empty())
                        && entries.all(|named| self.is_other(named))
                }
            };
            if is_other {
                self.leaks.push((OTHER_TABLE, place.start));
            }
        }
    }

    fn is_other(&self, named: &Named) -> bool {
        match &named.rows {
            Rows::Table(key) => !self.is_walked(key),
            Rows::Query(_) | Rows::Other => false,
        }
    }
}

/// Where each parenthesis closes; at the end if it never does.
fn closing(tokens: &[Token]) -> Vec<usize> {
    let mut close = vec![tokens.len(); tokens.len()];
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Punct(b'(') => open.push(at),
            Kind::Punct(b')') => {
                if let Some(opened) = open.pop().and_then(|opened: usize| close.get_mut(opened)) {
                    *opened = at;
                }
            }
            _ => {}
        }
    }
    close
}
