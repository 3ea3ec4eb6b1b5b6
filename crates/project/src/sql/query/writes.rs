//! UPDATE and DELETE: what they read, and how what they write meets what is there.

use std::collections::BTreeSet;
use std::ops::Range;

use dunlin_model::{Dialect, Verb};

use super::columns::{Columns, Output, Scope};
use super::meet::{Added, Deed};
use super::sources::{Joined, Named, Rows};
use super::spread::{Combined, What};
use super::{Reader, Role};
use crate::sql::confinement::Leak;

/// What becomes of a row that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twice {
    /// It stays: IGNORE.
    Left,
    /// The new one takes its place: REPLACE.
    Replaced,
}

/// An UPDATE or a DELETE.
struct Change {
    verb: Verb,
    /// The sources that it changes, by their number.
    targets: Vec<usize>,
    /// The columns that it assigns.
    columns: BTreeSet<String>,
    /// It does the same to a row however often.
    constant: bool,
    /// Its assignments.
    assigned: Range<usize>,
}

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

const REPLACES: Leak = Leak {
    rule: "chunk-replaces",
    message: "OR REPLACE deletes the rows that are in the way of an UPDATE, and they may lie in other \
              chunks, which would do something with them before or would miss them",
    help: "delete the rows that would be in the way in a migration before this one, and leave OR REPLACE \
           out",
};

/// Words that end the list of an UPDATE's or a DELETE's tables.
const ENDS_TABLES: [&str; 4] = ["WHERE", "RETURNING", "ORDER", "LIMIT"];

impl Reader<'_> {
    /// Passes words like IGNORE and `OR REPLACE`; what becomes of a row that is there already.
    pub(super) fn modifiers(&self, at: usize) -> (usize, Option<Twice>) {
        let mut cursor = self.source.cursor(at);
        let mut twice = self.source.is(at - 1, "REPLACE").then_some(Twice::Replaced);
        if cursor.eat("OR") {
            if cursor.is("IGNORE") {
                twice = Some(Twice::Left);
            } else if cursor.is("REPLACE") {
                twice = Some(Twice::Replaced);
            }
            cursor.at += 1;
        }
        while self.source.is_any(cursor.at, &BEFORE_TABLE) {
            if cursor.is("IGNORE") {
                twice = Some(Twice::Left);
            }
            cursor.at += 1;
        }
        (cursor.at, twice)
    }

    pub(super) fn update(&mut self, range: Range<usize>, depth: usize) -> Output {
        let (at, twice) = self.modifiers(range.start + 1);
        if twice == Some(Twice::Replaced) {
            let place = self.first_place(&range);
            self.leak_at(REPLACES, place);
        }
        let flat = self.flat(at..range.end);
        let Some(set) = flat.iter().copied().find(|at| self.source.is(*at, "SET")) else {
            self.expressions_in(range, depth);
            self.unbound = true;
            return Output::default();
        };
        let mut joined = self.joined(at..set, depth);
        let own = joined.entries.len();
        let distinct = |at: usize| self.source.is(at - 1, "DISTINCT");
        let from = flat
            .iter()
            .copied()
            .find(|at| *at > set && self.source.is(*at, "FROM") && !distinct(*at));
        if let Some(from) = from {
            let read = self.joined(from + 1..self.end_of_tables(from, range.end), depth);
            joined = joined.and(read);
        }
        let assigned = self.end_of_assignments(set + 1..range.end);
        let items = self.items(assigned.clone());
        let targets = self.assigned_in(&items, &joined, own);
        let columns = items.iter().flat_map(|item| self.columns_of(item)).collect();
        let constant = items.iter().all(|item| self.is_constant(item));
        let change = Change { verb: Verb::Update, targets, columns, constant, assigned };
        self.changed(joined, &change, range, depth)
    }

    pub(super) fn delete(&mut self, range: Range<usize>, depth: usize) -> Output {
        let flat = self.flat(range.clone());
        let from = flat.iter().copied().find(|at| self.source.is(*at, "FROM"));
        let Some(from) = from else {
            self.expressions_in(range, depth);
            self.unbound = true;
            return Output::default();
        };
        let joins = |at: usize| self.source.punct(at + 1, b'(') && !self.is_query(at + 1);
        let using = flat
            .iter()
            .copied()
            .find(|at| *at > from && self.source.is(*at, "USING") && !joins(*at));
        let mysql = self.source.dialect == Dialect::Mysql;
        let (first, _) = self.modifiers(range.start + 1);
        // MySQL: `DELETE p FROM posts p JOIN …`, `DELETE FROM p USING posts p JOIN …`
        let listed = match using {
            _ if !mysql => None,
            _ if first <= from && self.source.kind(first).is_some() && first < from => {
                Some(first..from)
            }
            Some(using) => Some(from + 1..using),
            None => None,
        };
        let mut joined = match using {
            Some(_) if mysql => Joined::default(),
            Some(using) => self.joined(from + 1..using, depth),
            None => self.joined(from + 1..self.end_of_tables(from, range.end), depth),
        };
        if let Some(using) = using {
            let read = self.joined(using + 1..self.end_of_tables(using, range.end), depth);
            joined = joined.and(read);
        }
        let targets = match listed {
            Some(listed) => self.listed_in(listed, &joined),
            None => vec![0],
        };
        let assigned = range.end..range.end;
        let columns = BTreeSet::new();
        let change = Change { verb: Verb::Delete, targets, columns, constant: true, assigned };
        self.changed(joined, &change, range, depth)
    }

    /// The sources that a MySQL DELETE names; all of them where that can't be told.
    fn listed_in(&mut self, range: Range<usize>, joined: &Joined) -> Vec<usize> {
        let mut found = Vec::new();
        for item in self.items(range) {
            let name = self.source.cursor(item.start).name();
            self.defined.extend(item.clone());
            let is_it =
                |named: &Named| name.as_ref().is_some_and(|name| name.last() == named.called);
            match joined.entries.iter().position(is_it) {
                Some(number) => found.push(number),
                None => return (0..joined.entries.len()).collect(),
            }
        }
        found
    }

    /// The sources whose columns are assigned. MySQL takes several tables there.
    fn assigned_in(&self, items: &[Range<usize>], joined: &Joined, own: usize) -> Vec<usize> {
        if own == 1 {
            return vec![0];
        }
        let mut found = BTreeSet::new();
        for item in items {
            let name = self.source.cursor(item.start).name();
            let of = name.as_ref().and_then(|name| name.parts.iter().rev().nth(1));
            match joined.entries.iter().position(|named| Some(&named.called) == of) {
                Some(number) => found.insert(number),
                None => return (0..own).collect(),
            };
        }
        found.into_iter().collect()
    }

    /// The tokens that name what is assigned.
    pub(super) fn assigned_tokens(&self, assigned: Range<usize>) -> BTreeSet<usize> {
        let named = |item: Range<usize>| match self.source.punct(item.start, b'(') {
            true => self.inside(item.start),
            false => item.start..item.start + 1,
        };
        self.items(assigned).into_iter().flat_map(named).collect()
    }

    /// The columns that an assignment names.
    pub(super) fn columns_of(&self, item: &Range<usize>) -> Vec<String> {
        let mut cursor = self.source.cursor(item.start);
        let names = if cursor.eat_punct(b'(') {
            cursor.names()
        } else {
            cursor.name().into_iter().collect()
        };
        let mysql = self.source.dialect == Dialect::Mysql;
        // Elsewhere `a.b` is a field of the column `a`.
        let column = |name: &crate::sql::facts::source::Name| {
            if mysql { name.parts.last().cloned() } else { name.parts.first().cloned() }
        };
        names.iter().filter_map(column).collect()
    }

    /// Looks at the conditions and values of an UPDATE or a DELETE; gives what it returns.
    fn changed(
        &mut self,
        joined: Joined,
        change: &Change,
        range: Range<usize>,
        depth: usize,
    ) -> Output {
        let flat = self.flat(range.clone());
        let begins = |word: &str| {
            let is_word = |at: &&usize| {
                **at >= change.assigned.end.min(range.end) && self.source.is(**at, word)
                    || change.verb == Verb::Delete && self.source.is(**at, word)
            };
            flat.iter().find(is_word).copied()
        };
        let returning = begins("RETURNING");
        let condition = match begins("WHERE") {
            Some(at) => {
                let ends = |one: &&usize| {
                    **one > at && self.source.is_any(**one, &["RETURNING", "ORDER", "LIMIT"])
                };
                at + 1..flat.iter().find(ends).copied().unwrap_or(range.end)
            }
            None => range.end..range.end,
        };
        let scope = self.bounds(&joined, condition.clone(), range.clone(), depth);
        self.check_sets(&range, &scope);
        self.sink.writes = true;
        if scope.is_confined() {
            self.check_limit(&range);
            self.rewritten(&joined, &scope, change, &condition, returning.is_some(), &range);
        } else {
            self.unbound = true;
        }
        let first = self.deeds.len();
        for target in &change.targets {
            let Some(named) = joined.entries.get(*target) else { continue };
            let Rows::Table(name) = &named.rows else { continue };
            let own = scope.roots.contains(target);
            let mut ties = self.tied(&named.called, false, &scope.equal, &scope);
            if joined.entries.len() == 1 {
                ties.extend(scope.ties.iter().cloned());
            }
            // Of a column that is assigned it is another row's afterwards.
            ties.retain(|(mine, _)| !change.columns.contains(mine));
            self.deeds.push(Deed {
                verb: change.verb,
                table: self.table_parts(name),
                written: name.written.clone(),
                start: self.source.tokens.get(range.start).map_or(0, |token| token.start()),
                columns: change.columns.clone(),
                own,
                called: named.called.clone(),
                exists: scope.exists.clone(),
                ties,
                adds: Added::default(),
                merges: false,
                cascade: None,
            });
        }
        let assigned = self.assigned_tokens(change.assigned.clone());
        self.look(&joined, &scope, &range, &change.targets, first, &assigned);
        match returning {
            Some(at) => self.output(&self.items(at + 1..range.end), &scope),
            None => Output::default(),
        }
    }

    /// Rows that are changed and are not the chunk's own: each must be of one chunk, or it must not
    /// matter how often it is changed.
    fn rewritten(
        &mut self,
        joined: &Joined,
        scope: &Scope,
        change: &Change,
        condition: &Range<usize>,
        returns: bool,
        range: &Range<usize>,
    ) {
        let others: Vec<&Named> = change
            .targets
            .iter()
            .filter(|target| !scope.roots.contains(target))
            .filter_map(|target| joined.entries.get(*target))
            .collect();
        let place = self.first_place(range);
        let start = self.places.get(place).map_or(0, |place| place.start);
        for named in others {
            let is_walked = match &named.rows {
                Rows::Table(name) => self.is_walked(name),
                Rows::Query(_) | Rows::Other => true,
            };
            // A row that is changed twice is returned twice.
            let again = change.constant
                && change.targets.len() == 1
                && !is_walked
                && (change.verb == Verb::Delete || !returns);
            let adds = !is_walked && !returns;
            if again || (adds && self.update_adds(named, scope, change, condition)) {
                continue;
            }
            let within = match scope.sets.as_slice() {
                [] => scope.bound_to(&named.called, &change.columns),
                [set] if joined.entries.len() == 1 && set.by.is_disjoint(&change.columns) => {
                    set.within.clone()
                }
                _ => Columns::default(),
            };
            self.found_at(What::Rewrite, start, within, Role::Top);
        }
    }

    /// Whether an UPDATE adds the parts of a sum to what is there.
    fn update_adds(
        &mut self,
        named: &Named,
        scope: &Scope,
        change: &Change,
        condition: &Range<usize>,
    ) -> bool {
        let Some((called, sums)) = self.sums_of(scope) else { return false };
        let targets = [named.called.clone()];
        let adds = change.targets.len() == 1
            && self.groups_of(sums, called, &named.called, scope)
            && self.minds_no_part(condition.clone(), sums)
            && self.minds_none_of(condition.clone(), &change.columns)
            && self.all_add(change.assigned.clone(), sums, called, &targets).is_some();
        if adds {
            let combined = Combined { solid: sums.solid.clone(), caught: Vec::new() };
            self.sink.combined.insert(sums.start, combined);
        }
        adds
    }

    fn end_of_tables(&self, from: usize, end: usize) -> usize {
        let ends = |at: &usize| self.source.is_any(*at, &ENDS_TABLES);
        self.flat(from..end).into_iter().find(ends).unwrap_or(end)
    }

    /// The assignments that begin here, up to the clause behind them.
    pub(super) fn end_of_assignments(&self, range: Range<usize>) -> Range<usize> {
        const ENDS: [&str; 7] = ["WHERE", "RETURNING", "ORDER", "LIMIT", "WHEN", "FROM", "ON"];
        let distinct = |at: usize| self.source.is(at - 1, "DISTINCT");
        // `CASE WHEN …` stands in a value.
        let mut cases = 0_usize;
        for at in self.flat(range.clone()) {
            if self.source.punct(at - 1, b'.') {
                continue;
            }
            if self.source.is(at, "CASE") {
                cases += 1;
            } else if self.source.is(at, "END") {
                cases = cases.saturating_sub(1);
            } else if cases == 0 && self.source.is_any(at, &ENDS) && !distinct(at) {
                return range.start..at;
            }
        }
        range
    }
}
