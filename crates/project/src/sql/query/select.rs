//! One SELECT, and several that UNION and the like bring together.

use std::collections::BTreeSet;
use std::ops::Range;

use super::columns::{Columns, Output, Scope};
use super::sources::{Joined, Rows};
use super::spread::{Group, What};
use super::{LOOKS_MAX, Reader, Role};
use crate::sql::confinement::{Leak, SOME};
use crate::sql::lex::Kind;

/// Where the parts of a SELECT stand.
#[derive(Debug, Default)]
struct Parts {
    list: Range<usize>,
    from: Range<usize>,
    /// The FROM with the conditions behind it.
    rows: Range<usize>,
    condition: Range<usize>,
    group: Range<usize>,
    having: Range<usize>,
    window: Range<usize>,
    order: Range<usize>,
}

const UNION: Leak = Leak {
    rule: "chunk-union",
    message: "the other query of the UNION has no `:chunk`, so every chunk would run it",
    help: "give each of them a `:chunk`, or make them statements of their own",
};

const EXCEPT: Leak = Leak {
    rule: "chunk-except",
    message: "`:chunk` stands behind an EXCEPT alone, so every chunk would have the rows of all others",
    help: "put a `:chunk` into the query before the EXCEPT, or write AND NOT EXISTS (…) instead of it",
};

/// Some queries, brought together.
struct United {
    output: Output,
    /// A `:chunk` bounds them, also where it stands in a sub-query of theirs.
    bound: bool,
}

impl Reader<'_> {
    /// Queries with UNION, EXCEPT and INTERSECT between them, or one.
    pub(super) fn union(&mut self, range: Range<usize>, role: Role, depth: usize) -> Output {
        const BETWEEN: [&str; 3] = ["UNION", "EXCEPT", "INTERSECT"];
        let between: Vec<usize> = self
            .flat(range.clone())
            .into_iter()
            .filter(|at| self.source.is_any(*at, &BETWEEN))
            .collect();
        let first = between.first().copied().unwrap_or(range.end);
        let mut united = self.arm(range.start..first, role, depth);
        let mut apart = None;
        for (number, at) in between.iter().copied().enumerate() {
            let end = between.get(number + 1).copied().unwrap_or(range.end);
            let quantified = self.source.is_any(at + 1, &["ALL", "DISTINCT"]);
            let next = self.arm((at + 1 + usize::from(quantified)).min(end)..end, role, depth);
            self.check_bounds(at, united.bound, next.bound);
            let bound = united.bound || next.bound;
            let union = self.source.is(at, "UNION");
            let both = !union && united.output.confined && next.output.confined;
            let output = if union || !united.output.confined || next.output.confined {
                united.output.united(next.output)
            } else {
                // All rows are of the first one.
                let mut output = united.output;
                output.absent.push(at + 1 + usize::from(quantified));
                Output { itself: false, sums: None, ..output }
            };
            if both {
                self.found(What::Except, at, output.given(), role);
            }
            united = United { output, bound };
            // Which of several equal rows are left is a matter of all of them.
            if !union || !self.source.is(at + 1, "ALL") {
                apart = Some(at);
            }
        }
        let mut output = united.output;
        if let Some(at) = apart.filter(|_| output.confined) {
            output.told.insert(self.groups.len());
            self.found(What::Union, at, output.given(), role);
        }
        let last = between.last().copied();
        let all = last.is_some_and(|at| self.source.are(at, &["UNION", "ALL"]));
        if apart.is_some() && !all {
            output.apart = true;
        }
        output
    }

    fn arm(&mut self, range: Range<usize>, role: Role, depth: usize) -> United {
        let output = self.select(range.clone(), role, depth);
        let bound = output.confined;
        United { output, bound }
    }

    /// Whether what stands on both sides of a UNION or an EXCEPT is a chunk's.
    fn check_bounds(&mut self, at: usize, before: bool, behind: bool) {
        let leak = if self.source.is(at, "UNION") && before != behind {
            UNION
        } else if self.source.is(at, "EXCEPT") && behind && !before {
            EXCEPT
        } else {
            return;
        };
        let place = self.places.first().map_or(0, |place| place.start);
        self.leaks.push((leak, place));
    }

    fn select(&mut self, range: Range<usize>, role: Role, depth: usize) -> Output {
        if self.source.punct(range.start, b'(') {
            // `(SELECT …) ORDER BY a`
            return self.query(range.start, role, depth);
        }
        if self.source.is(range.start, "TABLE") {
            return self.table(range, depth);
        }
        if !self.source.is(range.start, "SELECT") {
            self.expressions_in(range, depth);
            return Output::default();
        }
        let outer = std::mem::replace(&mut self.level, range.start);
        let parts = self.parts(range.clone());
        let joined = self.joined(parts.from.clone(), depth);
        let scope = self.bounds(&joined, parts.condition.clone(), range.clone(), depth);
        self.found_sets(&range, &scope, role);
        let (distinct, list) = self.distinct(parts.list.clone());
        let list = self.items(list);
        let mut output = self.output(&list, &scope);
        output.itself = self.is_itself(&range, &parts, &joined, &list);
        self.look(&joined, &scope, &range, &[], 0, &BTreeSet::new());
        output.apart = matches!(distinct, Some((_, None))) || self.gives_groups(&parts, &list);
        let told_from = self.groups.len();
        if scope.is_confined() {
            self.check_limit(&range);
            self.grouped(&parts, &list, &scope, role, &mut output);
            self.windows(&parts, &scope, role);
            match distinct {
                Some((at, None)) => self.found(What::Distinct, at, output.given(), role),
                Some((at, Some(on))) => {
                    let within = self.listed(on, &scope, &list);
                    self.found(What::DistinctOn, at, within, role);
                }
                None => {}
            }
            self.tell(told_from, &mut output);
        }
        self.level = outer;
        output
    }

    /// Notes of which queries chunks may give the same row; and where such rows are counted.
    fn tell(&mut self, from: usize, output: &mut Output) {
        let own = self.groups.iter().enumerate().skip(from);
        let counts = own.clone().any(|(_, group)| group.what.counts());
        let tells = own.filter(|(_, group)| group.what.tells_apart()).map(|(number, _)| number);
        let tells: Vec<usize> = tells.collect();
        if counts {
            for number in std::mem::take(&mut output.told) {
                if let Some(group) = self.groups.get_mut(number) {
                    group.counted = true;
                }
            }
        }
        output.told.extend(tells);
    }

    /// `TABLE posts`: all of its rows and columns.
    fn table(&mut self, range: Range<usize>, depth: usize) -> Output {
        const ENDS: [&str; 5] = ["ORDER", "LIMIT", "OFFSET", "FETCH", "FOR"];
        let ends = |at: &usize| *at > range.start && self.source.is_any(*at, &ENDS);
        let end = self.flat(range.clone()).into_iter().find(ends).unwrap_or(range.end);
        let joined = self.joined(range.start + 1..end, depth);
        let scope = self.bounds(&joined, range.end..range.end, range.clone(), depth);
        self.look(&joined, &scope, &range, &[], 0, &BTreeSet::new());
        if scope.is_confined() {
            self.check_limit(&range);
        }
        Output { confined: scope.is_confined(), told: scope.told(), ..scope.star(None) }
    }

    /// Whether a query gives each of its groups once: all that it groups by is in its list.
    fn gives_groups(&self, parts: &Parts, list: &[Range<usize>]) -> bool {
        !parts.group.is_empty()
            && !self.is_rolled(&parts.group)
            && self.gives(list, &self.items(parts.group.clone()))
    }

    /// `GROUP BY ROLLUP (…)`: rows of more than one group.
    fn is_rolled(&self, group: &Range<usize>) -> bool {
        group.clone().any(|at| self.source.is_any(at, &["ROLLUP", "CUBE", "GROUPING"]))
    }

    /// `SELECT * FROM posts`, with or without a WHERE.
    fn is_itself(
        &self,
        range: &Range<usize>,
        parts: &Parts,
        joined: &Joined,
        list: &[Range<usize>],
    ) -> bool {
        let [only] = joined.entries.as_slice() else { return false };
        let is_walked = match &only.rows {
            Rows::Table(name) => self.is_walked(name) && !only.renamed,
            Rows::Query(output) => output.itself,
            Rows::Other => false,
        };
        let [item] = list else { return false };
        let star = self.source.punct(item.end - 1, b'*')
            && matches!(item.len(), 1 | 3)
            && parts.list.start == range.start + 1
            && item.start == parts.list.start;
        is_walked && star && parts.rows.end == range.end && !self.holds_place(range)
    }

    /// What leaves rows out that nothing comes back to.
    pub(super) fn check_limit(&mut self, range: &Range<usize>) {
        let limits = |at: &usize| {
            let name = *at > range.start && self.source.punct(at - 1, b'.');
            let offset = self.source.is(*at, "OFFSET")
                && (self.source.kind(at + 1) == Some(Kind::Number)
                    || self.source.punct(at + 1, b'(')
                    || self.source.punct(at + 1, b'$'));
            let fetch =
                self.source.is(*at, "FETCH") && self.source.is_any(at + 1, &["FIRST", "NEXT"]);
            !name && (self.source.is(*at, "LIMIT") || offset || fetch)
        };
        if self.flat(range.clone()).iter().any(limits) {
            let place = self.first_place(range);
            self.leak_at(SOME, place);
        }
    }

    pub(super) fn found(&mut self, what: What, at: usize, within: Columns, role: Role) {
        let start = self.source.tokens.get(at).map_or(0, |token| token.start());
        self.found_at(what, start, within, role);
    }

    /// The same, of a byte of the statement.
    pub(super) fn found_at(&mut self, what: What, start: usize, within: Columns, role: Role) {
        let level = self.level;
        if self.groups.len() < LOOKS_MAX {
            self.groups.push(Group { what, level, start, within, role, counted: false });
        }
    }

    /// GROUP BY, and aggregates.
    fn grouped(
        &mut self,
        parts: &Parts,
        list: &[Range<usize>],
        scope: &Scope,
        role: Role,
        output: &mut Output,
    ) {
        let of_list = self.aggregates(parts.list.clone());
        let of_having = self.aggregates(parts.having.clone());
        let aggregate = of_having.or(of_list);
        let what = match aggregate {
            // Which groups there are depends on rows that the chunk does not have.
            _ if !parts.having.is_empty() => What::Having,
            Some(call) if call.extreme => What::Extreme,
            Some(call) if call.list && parts.group.is_empty() => What::List,
            Some(_) => What::Aggregate,
            None => What::Group,
        };
        if parts.group.is_empty() {
            let at = aggregate.map(|call| call.at);
            if let Some(at) = at.or((what == What::Having).then_some(parts.having.start)) {
                // A value for one row of the query around it has that row's key.
                let within =
                    if role == Role::Expression { scope.bound() } else { Columns::default() };
                self.found(what, at, within, role);
            }
            return;
        }
        let rolled = self.is_rolled(&parts.group);
        let within =
            if rolled { Columns::default() } else { self.listed(parts.group.clone(), scope, list) };
        let at = parts.group.start.saturating_sub(2);
        if parts.having.is_empty() && !rolled {
            let grouped = self.items(parts.group.clone());
            output.sums = self.sums(self.level, list, &grouped, scope);
        }
        self.found(what, at, within, role);
    }

    fn windows(&mut self, parts: &Parts, scope: &Scope, role: Role) {
        let mut seen = Vec::new();
        for range in [parts.list.clone(), parts.order.clone()] {
            let over = |at: &usize| self.source.is(*at, "OVER") && !self.source.punct(at - 1, b'.');
            let tokens = self.own_tokens(range.clone());
            let calls = tokens.into_iter().filter(|at| *at > range.start && over(at));
            for at in calls.take(LOOKS_MAX) {
                let group = match self.source.cursor(at + 1).name() {
                    Some(name) => self.named_window(parts.window.clone(), name.last()),
                    None => self.source.punct(at + 1, b'(').then_some(at + 1),
                };
                // A window that is not found is the server's to refuse.
                if let Some(open) = group {
                    seen.push((at, self.partition(open, parts, scope)));
                }
            }
        }
        for (at, within) in seen {
            self.found(What::Window, at, within, role);
        }
    }

    /// Where the parentheses of `WINDOW name AS (…)` open.
    fn named_window(&self, range: Range<usize>, name: &str) -> Option<usize> {
        self.items(range).into_iter().find_map(|item| {
            let mut cursor = self.source.cursor(item.start);
            let same = cursor.name().is_some_and(|found| found.last() == name);
            (same && cursor.eat("AS") && self.source.punct(cursor.at, b'(')).then_some(cursor.at)
        })
    }

    /// The columns of PARTITION BY.
    fn partition(&self, open: usize, parts: &Parts, scope: &Scope) -> Columns {
        const ENDS: [&str; 4] = ["ORDER", "ROWS", "RANGE", "GROUPS"];
        let mut open = open;
        for _ in 0..LOOKS_MAX {
            let inside = self.inside(open);
            let flat = self.flat(inside.clone());
            if let Some(at) = flat.iter().find(|at| self.source.are(**at, &["PARTITION", "BY"])) {
                let behind = |one: &&usize| **one > *at && self.source.is_any(**one, &ENDS);
                let end = flat.iter().find(behind).copied().unwrap_or(inside.end);
                return self.listed(at + 2..end, scope, &[]);
            }
            // `(other ORDER BY a)` begins as the other one does.
            let base = self.source.cursor(inside.start).name();
            let base = base.filter(|_| !self.source.is_any(inside.start, &ENDS));
            match base.and_then(|name| self.named_window(parts.window.clone(), name.last())) {
                Some(other) => open = other,
                None => break,
            }
        }
        Columns::default()
    }

    /// `DISTINCT`, or `DISTINCT ON (…)` with what it names, and the list behind it.
    #[expect(clippy::type_complexity, reason = "the two are read in one go, and used once")]
    fn distinct(
        &self,
        list: Range<usize>,
    ) -> (Option<(usize, Option<Range<usize>>)>, Range<usize>) {
        const BEFORE: [&str; 9] = [
            "ALL",
            "HIGH_PRIORITY",
            "STRAIGHT_JOIN",
            "SQL_SMALL_RESULT",
            "SQL_BIG_RESULT",
            "SQL_BUFFER_RESULT",
            "SQL_NO_CACHE",
            "SQL_CACHE",
            "SQL_CALC_FOUND_ROWS",
        ];
        let mut cursor = self.source.cursor(list.start);
        cursor.skip(&BEFORE);
        let at = cursor.at;
        if !cursor.eat("DISTINCT") && !cursor.eat("DISTINCTROW") {
            return (None, at..list.end.max(at));
        }
        if self.source.is(cursor.at, "ON") && self.source.punct(cursor.at + 1, b'(') {
            let open = cursor.at + 1;
            let begin = self.behind(open);
            return (Some((at, Some(self.inside(open)))), begin..list.end.max(begin));
        }
        cursor.skip(&BEFORE);
        (Some((at, None)), cursor.at..list.end.max(cursor.at))
    }

    fn parts(&self, range: Range<usize>) -> Parts {
        const CLAUSES: [&str; 11] = [
            "FROM", "WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH",
            "FOR", "LOCK",
        ];
        let flat = self.flat(range.clone());
        let is_clause = |at: &usize| {
            let distinct = self.source.is(*at, "FROM") && self.source.is(at - 1, "DISTINCT");
            *at > range.start
                && self.source.is_any(*at, &CLAUSES)
                && !self.source.punct(at - 1, b'.')
                && !distinct
        };
        let cuts: Vec<usize> = flat.into_iter().filter(is_clause).collect();
        let begin = range.start + 1;
        let end_of = |number: usize| cuts.get(number).copied().unwrap_or(range.end);
        let none = range.end..range.end;
        let mut parts = Parts {
            list: begin.min(end_of(0))..end_of(0),
            from: none.clone(),
            rows: none.clone(),
            condition: none.clone(),
            group: none.clone(),
            having: none.clone(),
            window: none.clone(),
            order: none,
        };
        for (number, at) in cuts.iter().enumerate().rev() {
            let word = self.source.word(*at).unwrap_or_default().to_ascii_uppercase();
            let words = if matches!(word.as_str(), "GROUP" | "ORDER") { 2 } else { 1 };
            let end = end_of(number + 1);
            let part = (at + words).min(end)..end;
            match word.as_str() {
                "FROM" => {
                    let rows_end =
                        if self.source.is(end, "WHERE") { end_of(number + 2) } else { end };
                    parts.rows = part.start..rows_end;
                    if rows_end > end {
                        parts.condition = end + 1..rows_end;
                    }
                    parts.from = part;
                }
                // A query of values can have conditions too: SELECT 1 WHERE …
                "WHERE" if parts.rows.is_empty() => {
                    parts.condition = part.clone();
                    parts.rows = part;
                }
                "GROUP" => parts.group = part,
                "HAVING" => parts.having = part,
                "WINDOW" => parts.window = part,
                "ORDER" => parts.order = part,
                _ => {}
            }
        }
        parts
    }
}
