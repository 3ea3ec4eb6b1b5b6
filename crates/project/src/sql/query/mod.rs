//! The queries of a statement that runs chunk by chunk: whether each row that it takes has one chunk.
//!
//! A query is *bound* where a `:chunk` is among the conditions that all of its rows pass, or where it
//! reads from a bound query by an inner join: its rows are then those of the chunks, each in one of
//! them. Every write must be bound, and every `:chunk` must bind something; else the statement is
//! refused. What a bound query makes of several rows together (a group, a number in a window, rows
//! that are told apart) is of its chunk and not of the table: [`spread`] says which columns must tell
//! the chunks apart for that, and the catalogue whether they do. Invariants: what is not known to be
//! right is refused, but for functions of people's own, which only the catalogue knows; a query that
//! has no `:chunk` may do anything; no input makes it panic, and it takes no more than some dozens of
//! looks at a statement.

mod bounds;
mod calls;
mod columns;
mod combine;
mod condition;
mod insert;
mod known;
mod looks;
mod meet;
mod merge;
mod nulls;
mod select;
mod sources;
mod spread;
#[cfg(test)]
mod tests;
mod writes;

use std::collections::BTreeSet;
use std::ops::Range;

use dunlin_model::{ChunkPlace, Dialect, Statement};

use self::columns::Output;
use self::looks::Look;
use self::meet::Deed;
use self::spread::{Group, Sink};
use super::confinement::Leak;
use super::facts::source::{Name, Source};
use super::lex::{Kind, Token};

pub(crate) use self::known::{Cascade, Caught, Known};
pub(super) use self::looks::touched;
pub(super) use self::meet::{first_counts, meetings, written};
pub(crate) use self::spread::Spread;
pub(super) use self::spread::spread;

/// So many pairs of parentheses one in another, and places of one kind, are looked at: people write
/// a few of each, and reading a file must take no more than its length.
const LOOKS_MAX: usize = 64;

const PLACE: Leak = Leak {
    rule: "chunk-place",
    message: "`:chunk` does not stand where it bounds the rows of a query",
    help: "write it as a condition of its own, joined by AND, into the WHERE of the query that reads the \
           `chunk-by` table: WHERE (a OR b) AND :chunk",
};

const UNBOUND: Leak = Leak {
    rule: "chunk-unbound",
    message: "this part of the statement has no `:chunk`, so every chunk would do it again",
    help: "give each UPDATE, DELETE and INSERT of the statement a `:chunk` of its own, let it read from \
           what the others return, or make it a migration of its own",
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

/// A query around the one that is read.
#[derive(Debug)]
struct Around {
    /// What its sources are called.
    names: Vec<String>,
    /// Those of them that a chunk bounds.
    roots: Vec<(String, Output)>,
}

/// A statement as far as it is read.
pub(in crate::sql) struct Reader<'a> {
    source: Source<'a>,
    places: &'a [ChunkPlace],
    /// The token with which each place begins.
    place_tokens: Vec<usize>,
    /// Which of the places bound something.
    admitted: Vec<bool>,
    /// The table that is walked, folded; with its schema where that is known.
    table: &'a [String],
    /// Where the parenthesis that opens at a token closes.
    close: Vec<usize>,
    /// Sub-queries that were read.
    read: Vec<bool>,
    /// What each WITH around us holds.
    expressions: Vec<(String, Output)>,
    around: Vec<Around>,
    /// Tokens that say what a query's sources are called.
    defined: BTreeSet<usize>,
    /// What the catalogue tells.
    known: &'a Known<'a>,
    /// The first token of the query that is read.
    level: usize,
    /// Something is written that no chunk bounds.
    unbound: bool,
    groups: Vec<Group>,
    leaks: Vec<(Leak, usize)>,
    sink: Sink,
    deeds: Vec<Deed>,
    looks: Vec<Look>,
}

/// What is wrong with where a statement's places stand, and the byte of it.
pub(in crate::sql) fn leak(reader: &Reader<'_>) -> Option<(Leak, usize)> {
    reader.leaks.first().copied()
}

impl<'a> Reader<'a> {
    pub(super) fn read(
        dialect: Dialect,
        statement: &'a Statement,
        tokens: &'a [Token],
        table: &'a [String],
        known: &'a Known<'a>,
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
            admitted: vec![false; places.len()],
            table,
            close: closing(tokens),
            read: vec![false; tokens.len()],
            expressions: Vec::new(),
            around: Vec::new(),
            defined: BTreeSet::new(),
            known,
            level: 0,
            unbound: false,
            groups: Vec::new(),
            leaks: Vec::new(),
            sink: Sink::default(),
            deeds: Vec::new(),
            looks: Vec::new(),
        };
        let output = reader.level(0..tokens.len(), Role::Top, 0);
        reader.sink.calls = (0..tokens.len()).any(|at| reader.is_other_call(at));
        if let Some(place) = reader.admitted.iter().position(|admitted| !admitted) {
            reader.leak_at(PLACE, place);
        }
        if reader.unbound || (!reader.sink.writes && !output.confined) {
            reader.leak_at(UNBOUND, 0);
        }
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
            let output = self.defined(&name, &columns, behind, depth);
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
    fn defined(&mut self, name: &str, columns: &[String], open: usize, depth: usize) -> Output {
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
        // What comes of a chunk's rows is the chunk's; the first query says under which names.
        let flat = self.flat(inside.clone());
        let union = flat.into_iter().find(|at| self.source.is(*at, "UNION"));
        let first = inside.start..union.unwrap_or(inside.end);
        let (groups, looks, leaks) = (self.groups.len(), self.looks.len(), self.leaks.len());
        let itself = self.level(first, Role::Derived, depth + 1).renamed(columns.to_vec());
        // It is read once more below, with the rest.
        self.groups.truncate(groups);
        self.looks.truncate(looks);
        self.leaks.truncate(leaks);
        self.forget(&inside);
        self.expressions.push((
            name.to_owned(),
            Output { itself: false, sums: None, told: BTreeSet::new(), ..itself },
        ));
        let output = self.query(open, Role::Derived, depth);
        self.expressions.pop();
        output
    }

    /// Lets sub-queries be read again.
    fn forget(&mut self, range: &Range<usize>) {
        if let Some(read) = self.read.get_mut(range.clone()) {
            read.fill(false);
        }
    }

    /// Reads the query in the parentheses that open here.
    fn query(&mut self, open: usize, role: Role, depth: usize) -> Output {
        if let Some(read) = self.read.get_mut(open) {
            *read = true;
        }
        self.level(self.inside(open), role, depth + 1)
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

    /// The places outside of sub-queries, by their number.
    fn own_places(&self, range: Range<usize>) -> Vec<usize> {
        let first = self.place_tokens.partition_point(|at| *at < range.start);
        let behind = self.place_tokens.partition_point(|at| *at < range.end);
        if first >= behind {
            return Vec::new();
        }
        let tokens = self.own_tokens(range);
        let own = |number: &usize| {
            self.place_tokens.get(*number).is_some_and(|at| tokens.binary_search(at).is_ok())
        };
        (first..behind).filter(own).take(LOOKS_MAX).collect()
    }

    /// Whether a name means the table that is walked. Without a schema it may.
    fn is_walked(&self, name: &Name) -> bool {
        meet::is_same_table(&name.parts, self.table)
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
