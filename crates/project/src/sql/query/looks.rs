//! What a statement reads of tables that are written chunk by chunk.
//!
//! Run in one go, a statement sees what was there before it; chunk by chunk it sees what earlier
//! chunks have written. So what is written must not be read of other rows than the chunk's own.
//! Taken are: a row that is tied to the chunk's row by its key; columns that nothing writes; an
//! INSERT that looks whether its row is there, and gives no row twice; and a DELETE of rows that have
//! a better one, where the best one always stays.

use std::collections::BTreeSet;
use std::ops::Range;

use dunlin_model::Dialect;

use super::Reader;
use super::columns::Scope;
use super::meet::{Ties, is_same_table};
use super::sources::{Joined, Rows};
use crate::sql::facts::source::Name;
use crate::sql::lex::Kind;

/// What a query asks for before a row is added: whether there is one like it.
#[derive(Debug, Clone)]
pub(super) struct Absent {
    /// Where the query begins.
    pub(super) start: usize,
    /// Columns of the table, each with what it is compared with; by their place behind an EXCEPT.
    pub(super) pairs: Vec<(String, Option<Vec<String>>)>,
}

/// A table that a query reads.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) table: Vec<String>,
    /// The same as it is written.
    pub(super) written: String,
    /// Its byte in the statement.
    pub(super) start: usize,
    pub(super) kind: LookKind,
    /// The columns that may be read of it, folded; `None`: all.
    pub(super) columns: Option<BTreeSet<String>>,
    /// Columns of it that are equal to columns of the chunk's row.
    pub(super) ties: Ties,
    /// It is asked whether a row is there that is equal in all of these.
    pub(super) absent: Option<Absent>,
    /// The alias of a row that is asked for a better one of its table, in the query in the
    /// parentheses that open here.
    pub(super) better: Option<(String, usize)>,
    /// It is read to add to what is there, in which columns and by which.
    pub(super) adds_up: Option<String>,
}

/// What makes other rows of those that a query reads.
const MORE: [&str; 8] =
    ["GROUP", "HAVING", "LIMIT", "OFFSET", "FETCH", "UNION", "EXCEPT", "INTERSECT"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookKind {
    /// The rows of the chunk.
    Chunk,
    /// The rows that these writes change, by the number of the first, where they are not the chunk's.
    Target(usize, usize),
    Other,
}

impl Look {
    /// Whether it reads a table of other rows than the chunk's.
    pub(super) fn is_other_of(&self, table: &[String]) -> bool {
        self.kind == LookKind::Other && is_same_table(&self.table, table)
    }
}

/// The tables that a statement reads or writes, as they are written.
pub(in crate::sql) fn touched(reader: &Reader<'_>) -> BTreeSet<String> {
    let looks = reader.looks.iter().map(|look| look.written.clone());
    looks.chain(reader.deeds.iter().map(|deed| deed.written.clone())).collect()
}

impl Reader<'_> {
    /// Notes the tables that a query reads. `targets` are those of its sources that it changes; `from`
    /// is the number of its first write, `assigned` the tokens that name what it assigns.
    pub(super) fn look(
        &mut self,
        joined: &Joined,
        scope: &Scope,
        whole: &Range<usize>,
        targets: &[usize],
        from: usize,
        assigned: &BTreeSet<usize>,
    ) {
        let member = self.member_tie(whole);
        let better = self.better(joined, whole);
        let absent = self.absent(joined, whole);
        for (number, named) in joined.entries.iter().enumerate() {
            let Rows::Table(name) = &named.rows else { continue };
            let kind = if scope.roots.contains(&number) {
                LookKind::Chunk
            } else if targets.contains(&number) {
                LookKind::Target(from, self.deeds.len())
            } else {
                LookKind::Other
            };
            let alone = joined.entries.len() == 1;
            let mut ties = self.ties(joined, number, scope);
            ties.extend(member.clone());
            let tied = self.tied(&named.called, alone, &ties, scope);
            let all = named.renamed || self.shares_any(whole);
            let columns = if all { None } else { self.names_of(&named.called, whole, assigned) };
            self.looks.push(Look {
                table: self.table_parts(name),
                written: name.written.clone(),
                start: self.source.tokens.get(whole.start).map_or(0, |token| token.start()),
                kind,
                columns,
                ties: tied,
                absent: absent.clone(),
                better: better.clone(),
                adds_up: None,
            });
        }
    }

    /// Equalities of the rows that count of a source: the query's own, and those of its join.
    fn ties(
        &self,
        joined: &Joined,
        number: usize,
        scope: &Scope,
    ) -> Vec<(Vec<String>, Vec<String>)> {
        let mut ties = scope.equal.clone();
        let outer = joined.outer.iter().filter(|on| on.of.contains(&number));
        for on in joined.inner.iter().chain(outer.map(|on| &on.condition)) {
            let parts = self.all_of(on.clone());
            ties.extend(parts.iter().filter_map(|part| self.equal_columns(part, &joined.entries)));
        }
        ties
    }

    /// A NATURAL JOIN reads columns that nobody names, and TABLE all of them.
    fn shares_any(&self, whole: &Range<usize>) -> bool {
        self.source.is(whole.start, "TABLE")
            || self.flat(whole.clone()).iter().any(|at| self.source.is(*at, "NATURAL"))
    }

    /// `x IN (SELECT y …)`, with NOT or without: only rows with that value count.
    fn member_tie(&self, whole: &Range<usize>) -> Option<(Vec<String>, Vec<String>)> {
        let before = whole.start.checked_sub(2).filter(|at| self.source.is(*at, "IN"))?;
        let not = before.checked_sub(1).filter(|at| self.source.is(*at, "NOT"));
        let end = not.unwrap_or(before);
        let mut begin = end.checked_sub(1)?;
        while begin >= 2 && self.source.punct(begin - 1, b'.') {
            begin -= 2;
        }
        let mut theirs = self.only_name(begin..end)?;
        if let ([_], Some(around)) = (theirs.as_slice(), self.around.last())
            && let [only] = around.names.as_slice()
        {
            theirs.insert(0, only.clone());
        }
        let flat = self.flat(whole.clone());
        let from = flat.into_iter().find(|at| self.source.is(*at, "FROM"))?;
        let mine = self.only_name(whole.start + 1..from)?;
        Some((mine, theirs))
    }

    /// The columns of a source that are equal to columns of the chunk's row.
    pub(super) fn tied(
        &self,
        called: &str,
        alone: bool,
        ties: &[(Vec<String>, Vec<String>)],
        scope: &Scope,
    ) -> Ties {
        let mut found = Ties::new();
        for (one, other) in ties {
            for (mine, theirs) in [(one, other), (other, one)] {
                let is_mine = match mine.as_slice() {
                    [_] => alone,
                    [.., of, _] => of == called,
                    [] => false,
                };
                let [.., of, column] = theirs.as_slice() else { continue };
                if !is_mine || of == called {
                    continue;
                }
                let column = self.of_chunk(of, column, scope);
                found.extend(mine.last().cloned().zip(column));
            }
        }
        found
    }

    /// What a query behind NOT EXISTS or EXCEPT asks for.
    fn absent(&self, joined: &Joined, whole: &Range<usize>) -> Option<Absent> {
        let [only] = joined.entries.as_slice() else { return None };
        let start = whole.start;
        let flat = self.flat(whole.clone());
        let from = flat.iter().copied().find(|at| self.source.is(*at, "FROM"))?;
        let condition = flat.iter().copied().find(|at| self.source.is(*at, "WHERE"));
        let before = start.checked_sub(1)?;
        if self.source.is(before, "EXCEPT") {
            let more = |at: &usize| *at > from && self.source.is_any(*at, &MORE);
            let ends = condition.is_none() && !flat.iter().any(more);
            let items = self.items(start + 1..from);
            let names =
                items.into_iter().map(|item| self.only_name(item)?.pop().map(|n| (n, None)));
            let pairs: Option<Vec<_>> = names.collect();
            return pairs.filter(|_| ends).map(|pairs| Absent { start, pairs });
        }
        let mut pairs = Vec::new();
        for part in self.all_of(condition? + 1..whole.end) {
            let (one, other) = self.equality(part)?;
            let is_mine = |parts: &[String]| match parts {
                [of, _] => *of == only.called,
                _ => false,
            };
            let (mine, theirs) = match (is_mine(&one), is_mine(&other)) {
                (true, false) => (one, other),
                (false, true) => (other, one),
                _ => return None,
            };
            pairs.push((mine.last()?.clone(), Some(theirs)));
        }
        Some(Absent { start, pairs })
    }

    /// Which of the walked table's columns a name is, of the chunk's row here or around.
    fn of_chunk(&self, of: &str, column: &str, scope: &Scope) -> Option<String> {
        let parts = [of.to_owned(), column.to_owned()];
        if scope.names.iter().any(|name| name == of) {
            let own = scope.chunk.iter().any(|(called, _)| called == of);
            return own.then(|| scope.column(&parts)).flatten();
        }
        let around =
            self.around.iter().rev().find(|one| one.names.iter().any(|name| name == of))?;
        let (_, output) = around.roots.iter().find(|(called, _)| called == of)?;
        output.column(column)
    }

    /// The columns that may be read of a source; `None`: all.
    fn names_of(
        &self,
        called: &str,
        whole: &Range<usize>,
        assigned: &BTreeSet<usize>,
    ) -> Option<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut at = whole.start;
        while at < whole.end {
            if let Some(behind) = self.behind_place(at) {
                at = behind;
                continue;
            }
            if self.source.punct(at, b'*') && self.is_star(at, called) {
                return None;
            }
            let word = matches!(self.source.kind(at), Some(Kind::Word | Kind::Quoted));
            let mut cursor = self.source.cursor(at);
            let Some(name) = cursor.name().filter(|_| word) else {
                at += 1;
                continue;
            };
            let read = !assigned.contains(&at) && !self.defined.contains(&at);
            match name.parts.as_slice() {
                // The whole row, as a value.
                [only] if read && only == called => return None,
                [only] if read => {
                    found.insert(only.clone());
                }
                [.., of, column] if read && of == called => {
                    found.insert(column.clone());
                }
                _ => {}
            }
            at = cursor.at.max(at + 1);
        }
        Some(found)
    }

    /// The token behind the `:chunk(p)` that begins here.
    fn behind_place(&self, at: usize) -> Option<usize> {
        let number = self.place_tokens.binary_search(&at).ok()?;
        let end = self.places.get(number)?.end;
        let behind =
            |at: &usize| self.source.tokens.get(*at).is_none_or(|token| token.start() >= end);
        (at + 1..=self.source.len()).find(behind)
    }

    /// `*` or `p.*`, and not `count(*)` or a product.
    fn is_star(&self, at: usize, called: &str) -> bool {
        const NO_VALUE: [&str; 16] = [
            "SELECT",
            "DISTINCT",
            "ALL",
            "RETURNING",
            "FROM",
            "INTO",
            "WHERE",
            "GROUP",
            "ORDER",
            "LIMIT",
            "UNION",
            "EXCEPT",
            "INTERSECT",
            "HAVING",
            "WINDOW",
            "AS",
        ];
        let Some(before) = at.checked_sub(1) else { return false };
        if self.source.punct(before, b'.') {
            let of = before.checked_sub(1).and_then(|at| self.source.cursor(at).name());
            return of.is_none_or(|of| of.parts.first().is_some_and(|of| of == called));
        }
        if self.source.punct(before, b'(') && self.source.punct(at + 1, b')') {
            return false;
        }
        let is_value = |at: usize, bracket: &[u8]| match self.source.kind(at) {
            Some(Kind::Punct(byte)) => bracket.contains(&byte),
            Some(_) => !self.source.is_any(at, &NO_VALUE),
            None => false,
        };
        !(is_value(before, b")]") && is_value(at + 1, b"(-+@:$!~"))
    }

    /// Whether a query asks for a better row: one that is equal in some columns and less or greater
    /// in one.
    fn better(&self, joined: &Joined, whole: &Range<usize>) -> Option<(String, usize)> {
        let [only] = joined.entries.as_slice() else { return None };
        let flat = self.flat(whole.clone());
        let condition = flat.iter().find(|at| self.source.is(**at, "WHERE"))?;
        if flat.iter().any(|at| self.source.is_any(*at, &MORE))
            || self.aggregates(whole.clone()).is_some()
        {
            return None;
        }
        let mut outer: Option<String> = None;
        let mut orders = 0_usize;
        for part in self.all_of(condition + 1..whole.end) {
            let others = self.others_in(&part, &only.called);
            if others.is_empty() {
                if part.clone().any(|at| self.is_query(at)) {
                    return None;
                }
                continue;
            }
            let (mine, sign, theirs) = self.compared(&part, &only.called)?;
            let [of, column] = theirs.as_slice() else { return None };
            if mine != *column || outer.as_ref().is_some_and(|known| known != of) {
                return None;
            }
            outer = Some(of.clone());
            orders += usize::from(sign != b'=');
        }
        let open = whole.start.checked_sub(1)?;
        outer.filter(|_| orders == 1).map(|outer| (outer, open))
    }

    /// Qualifiers in a condition other than this one.
    fn others_in(&self, part: &Range<usize>, called: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut at = part.start;
        while at < part.end {
            let mut cursor = self.source.cursor(at);
            let word = matches!(self.source.kind(at), Some(Kind::Word | Kind::Quoted));
            let Some(name) = cursor.name().filter(|_| word) else {
                at += 1;
                continue;
            };
            if let [.., of, _] = name.parts.as_slice()
                && of != called
            {
                found.insert(of.clone());
            }
            at = cursor.at.max(at + 1);
        }
        found
    }

    /// `b.x = a.x`, `b.x < a.x`: our column, the sign, and theirs.
    fn compared(&self, part: &Range<usize>, called: &str) -> Option<(String, u8, Vec<String>)> {
        let mut cursor = self.source.cursor(part.start);
        let one = cursor.name()?;
        let Some(Kind::Punct(sign @ (b'=' | b'<' | b'>'))) = self.source.kind(cursor.at) else {
            return None;
        };
        cursor.at += 1;
        let other = cursor.name().filter(|_| cursor.at == part.end)?;
        let (mine, theirs) = if one.parts.first().is_some_and(|of| of == called) {
            (one, other)
        } else {
            (other, one)
        };
        match mine.parts.as_slice() {
            [of, column] if of == called => Some((column.clone(), sign, theirs.parts)),
            _ => None,
        }
    }

    /// A table as it is known to other statements.
    pub(super) fn table_parts(&self, name: &Name) -> Vec<String> {
        let mut parts = name.parts.clone();
        if self.source.dialect == Dialect::Sqlite && parts.len() == 2 {
            parts.drain(..1);
        }
        parts
    }
}
