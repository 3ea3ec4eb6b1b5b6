//! INSERT, UPDATE and DELETE: what they read, and how what they write meets what is there.

use std::ops::Range;

use super::columns::Output;
use super::sources::Named;
use super::{Reader, Role};
use crate::sql::lex::Kind;

/// Words between a verb and its table.
const BEFORE_TABLE: [&str; 9] = [
    "LOW_PRIORITY",
    "HIGH_PRIORITY",
    "DELAYED",
    "QUICK",
    "IGNORE",
    "OVERWRITE",
    "INTO",
    "FROM",
    "ONLY",
];

/// Words that end the list of an UPDATE's or a DELETE's tables.
const ENDS_TABLES: [&str; 4] = ["WHERE", "RETURNING", "ORDER", "LIMIT"];

impl Reader<'_> {
    /// Passes words like IGNORE and `OR REPLACE`; whether they say what to do with rows that are
    /// there.
    pub(super) fn modifiers(&self, at: usize) -> (usize, bool) {
        let mut cursor = self.source.cursor(at);
        let mut skips = self.source.is(at - 1, "REPLACE");
        if cursor.eat("OR") {
            skips |= cursor.is("IGNORE") || cursor.is("REPLACE");
            cursor.at += 1;
        }
        skips |= cursor.is("IGNORE");
        cursor.skip(&BEFORE_TABLE);
        (cursor.at, skips)
    }

    pub(super) fn insert(&mut self, range: Range<usize>, depth: usize) -> Output {
        const QUERY: [&str; 4] = ["SELECT", "WITH", "VALUES", "TABLE"];
        let (at, skips) = self.modifiers(range.start + 1);
        let mut cursor = self.source.cursor(at);
        let Some(target) = cursor.name() else { return Output::default() };
        let alias = cursor.eat("AS").then(|| cursor.name()).flatten();
        let flat = self.flat(cursor.at..range.end);
        let begins = |at: &&usize| self.source.is_any(**at, &QUERY) || self.is_query(**at);
        let begin = flat.iter().find(begins).copied().unwrap_or(range.end);
        let ends = |at: &&usize| {
            **at > begin
                && (self.source.is(**at, "RETURNING")
                    || (self.source.is(**at, "ON")
                        && self.source.is_any(**at + 1, &["CONFLICT", "DUPLICATE"])))
        };
        let end = flat.iter().find(ends).copied().unwrap_or(range.end);
        let before = self.tables.len();
        self.level(begin..end, Role::Top, depth + 1);
        let key = target.key(self.source.dialect);
        let reads = self.tables.iter().skip(before).filter(|table| **table == key).count();
        // A query that looks at what is there may leave out what an earlier chunk has added.
        let looks = reads > usize::from(self.is_walked(&key));
        let conflicts = self.source.is(end, "ON");
        self.sink.writes = true;
        self.sink.skips |= skips || conflicts || looks;
        self.sink.inserts |= !(skips || conflicts || looks);
        let names: Vec<String> = [Some(&target), alias.as_ref()]
            .into_iter()
            .flatten()
            .map(|n| n.last().to_owned())
            .collect();
        for at in self.flat(end..range.end) {
            if self.source.are(at, &["DO", "UPDATE", "SET"])
                || self.source.are(at, &["DUPLICATE", "KEY", "UPDATE"])
            {
                self.assignments(at + 3..range.end, &names);
            }
        }
        self.expressions_in(end..range.end, depth);
        // Which of the rows were added, and with what keys, is not read.
        Output::default()
    }

    pub(super) fn update(&mut self, range: Range<usize>, depth: usize) -> Output {
        let (at, _) = self.modifiers(range.start + 1);
        let flat = self.flat(at..range.end);
        let Some(set) = flat.iter().copied().find(|at| self.source.is(*at, "SET")) else {
            self.expressions_in(range, depth);
            return Output::default();
        };
        let mut sources = self.sources(at..set, depth);
        let targets: Vec<String> =
            sources.iter().take(1).map(|named| named.called.clone()).collect();
        let distinct = |at: usize| self.source.is(at - 1, "DISTINCT");
        let from = flat
            .iter()
            .copied()
            .find(|at| *at > set && self.source.is(*at, "FROM") && !distinct(*at));
        if let Some(from) = from {
            sources.extend(self.sources(from + 1..self.end_of_tables(from, range.end), depth));
        }
        self.sink.writes = true;
        self.assignments(set + 1..range.end, &targets);
        self.changed(sources, range, depth)
    }

    pub(super) fn delete(&mut self, range: Range<usize>, depth: usize) -> Output {
        let flat = self.flat(range.clone());
        let from = flat.iter().copied().find(|at| self.source.is(*at, "FROM"));
        let Some(from) = from else {
            self.expressions_in(range, depth);
            return Output::default();
        };
        let joins = |at: usize| self.source.punct(at + 1, b'(') && !self.is_query(at + 1);
        let using = flat
            .iter()
            .copied()
            .find(|at| *at > from && self.source.is(*at, "USING") && !joins(*at));
        let mut sources = match using {
            // MySQL: `DELETE FROM p USING posts p`, where the first one is only a name.
            Some(_) if self.source.dialect == dunlin_model::Dialect::Mysql => Vec::new(),
            Some(using) => self.sources(from + 1..using, depth),
            None => self.sources(from + 1..self.end_of_tables(from, range.end), depth),
        };
        if let Some(using) = using {
            sources.extend(self.sources(using + 1..self.end_of_tables(using, range.end), depth));
        }
        self.sink.writes = true;
        self.changed(sources, range, depth)
    }

    /// Looks at the conditions and values of an UPDATE or a DELETE; gives what it returns.
    fn changed(&mut self, sources: Vec<Named>, range: Range<usize>, depth: usize) -> Output {
        let flat = self.flat(range.clone());
        let returning = flat.into_iter().find(|at| self.source.is(*at, "RETURNING"));
        let scope = self.scope(&sources, range.clone());
        self.around.push(sources);
        self.check_tables(range.clone());
        self.expressions_in(range.clone(), depth);
        self.around.pop();
        match returning {
            Some(at) => self.output(&self.items(at + 1..range.end), &scope),
            None => Output::default(),
        }
    }

    fn end_of_tables(&self, from: usize, end: usize) -> usize {
        let ends = |at: &usize| self.source.is_any(*at, &ENDS_TABLES);
        self.flat(from..end).into_iter().find(ends).unwrap_or(end)
    }

    /// Notes whether one of the assignments that begin here adds to what is there.
    pub(super) fn assignments(&mut self, range: Range<usize>, targets: &[String]) {
        const ENDS: [&str; 7] = ["WHERE", "RETURNING", "ORDER", "LIMIT", "WHEN", "FROM", "ON"];
        let flat = self.flat(range.clone());
        let distinct = |at: usize| self.source.is(at - 1, "DISTINCT");
        // `CASE WHEN …` stands in a value.
        let mut cases = 0_usize;
        let mut end = range.end;
        for at in flat {
            if self.source.is(at, "CASE") {
                cases += 1;
            } else if self.source.is(at, "END") {
                cases = cases.saturating_sub(1);
            } else if cases == 0 && self.source.is_any(at, &ENDS) && !distinct(at) {
                end = at;
                break;
            }
        }
        for item in self.items(range.start..end) {
            let mut cursor = self.source.cursor(item.start);
            let columns = if cursor.eat_punct(b'(') { cursor.names() } else { Vec::new() };
            let column = if columns.is_empty() { cursor.name() } else { None };
            for column in columns.iter().chain(&column) {
                self.sink.combines |=
                    self.reads_itself(cursor.at..item.end, &column.parts, targets);
            }
        }
    }

    /// Whether a value is made from the column that it goes into.
    fn reads_itself(&self, range: Range<usize>, column: &[String], targets: &[String]) -> bool {
        let Some((name, of)) = column.split_last() else { return false };
        let mut at = range.start;
        while at < range.end {
            // MySQL: the new value.
            if self.is_query(at)
                || (self.source.is(at, "VALUES") && self.source.punct(at + 1, b'('))
            {
                at = self.behind(at + usize::from(!self.source.punct(at, b'(')));
                continue;
            }
            let mut cursor = self.source.cursor(at);
            let word = matches!(self.source.kind(at), Some(Kind::Word | Kind::Quoted));
            let Some(found) = word.then(|| cursor.name()).flatten() else {
                at += 1;
                continue;
            };
            let ours = match found.parts.as_slice() {
                [.., table, _] => Some(table) == of.last() || targets.contains(table),
                _ => true,
            };
            if found.last() == name && ours {
                return true;
            }
            at = cursor.at;
        }
        false
    }
}
