//! Which rows of a query are a chunk's.

use std::ops::Range;

use super::columns::{Output, Scope, Set};
use super::condition::{Bound, Member};
use super::sources::{Joined, Named, Rows};
use super::spread::What;
use super::{Around, LOOKS_MAX, Reader, Role};
use crate::sql::confinement::Leak;
use crate::sql::lex::Kind;

const OTHER_TABLE: Leak = Leak {
    rule: "chunk-other-table",
    message: "`:chunk` stands for keys of the `chunk-by` table, and here it would be another one's",
    help: "write `:chunk(…)` with the alias that the `chunk-by` table has in this query, or name \
           this query's table in `chunk-by` (of a view, the table below it)",
};

const OTHER_ROWS: Leak = Leak {
    rule: "chunk-sub-query",
    message: "`:chunk` stands for keys of the `chunk-by` table, and here it would be those of a \
              sub-query's rows, which may be others",
    help: "put `:chunk` into the WHERE of that sub-query (or of the WITH), where the `chunk-by` table \
           is read",
};

const WHICH: Leak = Leak {
    rule: "chunk-other-table",
    message: "the `chunk-by` table stands here more than once, and `:chunk` does not say which is meant",
    help: "write `:chunk(…)` with the alias of the one whose rows the chunk has",
};

const OUTER: Leak = Leak {
    rule: "chunk-outer-join",
    message: "`:chunk` bounds the side of an outer join that may be missing: every chunk would have \
              the rows of the other side, or none would",
    help: "let the `chunk-by` table be the side that is kept (FROM posts p LEFT JOIN … WHERE \
           :chunk(p)), or make it an inner join",
};

const TWICE: Leak = Leak {
    rule: "chunk-twice",
    message: "both the rows and a sub-query about them are bound by `:chunk`, and what belongs \
              together may lie in two chunks",
    help: "leave `:chunk` out of the sub-query: it then sees the whole table",
};

const SAMPLE: Leak = Leak {
    rule: "chunk-limit",
    message: "a TABLESAMPLE leaves rows of the chunk out, and nothing comes back to them",
    help: "remove it",
};

const VALUE: Leak = Leak {
    rule: "chunk-in-value",
    message: "`:chunk` stands in a sub-query that makes a value, which would be of the chunk's rows \
              alone",
    help: "leave `:chunk` out of the sub-query, which then sees the whole table, and write AND :chunk \
           in the WHERE of the statement",
};

impl Reader<'_> {
    /// Reads what a query takes its rows from: `joined` with its `condition`; `from` has all of its
    /// tokens, `whole` those of the query. Sub-queries in it are read.
    pub(super) fn bounds(
        &mut self,
        joined: &Joined,
        condition: Range<usize>,
        whole: Range<usize>,
        depth: usize,
    ) -> Scope {
        let entries = joined.entries.as_slice();
        let mut scope = Scope::of(entries);
        for (number, named) in entries.iter().enumerate() {
            if let Rows::Query(output) = &named.rows
                && output.confined
            {
                scope.add(number, &named.called, Output::clone(output));
            }
        }
        let mut parts = self.all_of(condition);
        if !joined.is_outer() {
            parts.extend(joined.inner.iter().flat_map(|on| self.all_of(on.clone())));
        }
        self.place(entries, &parts, &mut scope);
        for part in &parts {
            scope.equal.extend(self.equal_columns(part, entries));
            scope.absent.extend(self.absence(part));
            scope.filled.extend(self.filled(part));
            scope.filled_values.extend(self.filled_value(part));
        }
        if !joined.is_outer() {
            scope.every_shared = whole.clone().any(|at| self.source.is(at, "NATURAL"));
            scope.shared = self.shared(whole.clone());
        }
        self.check_roots(entries, &whole, &scope);
        let roots = scope.chunk.clone();
        self.around.push(Around { names: scope.names.clone(), roots });
        for part in &parts {
            let Some(member) = self.member(part) else { continue };
            if self.read.get(member.open) != Some(&false) {
                continue;
            }
            let output = self.query(member.open, Role::Expression, depth);
            if !member.by_value {
                scope.exists.push(member.open);
            }
            if output.confined {
                let value = part.start..member.open.saturating_sub(1);
                let value = self.only_name(value).filter(|_| member.by_value);
                if let (Some(name), [(_, Some(column))]) = (value, output.columns.as_slice()) {
                    scope.ties.extend(name.last().map(|name| (name.clone(), column.clone())));
                }
                let within = if member.by_value { output.given() } else { output.bound };
                let by = self.compared_in(part, &member, &scope.names);
                scope.sets.push(Set { within, by });
            }
        }
        self.expressions_in(whole, depth);
        self.around.pop();
        scope
    }

    /// Finds the places that bound these sources.
    pub(super) fn place(&mut self, entries: &[Named], parts: &[Range<usize>], scope: &mut Scope) {
        let bounds: Vec<Bound> = {
            let resolve = |place| self.resolve(place, entries).ok();
            parts.iter().filter_map(|part| self.bound_by(part.clone(), 0, &resolve)).collect()
        };
        for bound in bounds {
            for place in bound.places {
                if let Some(admitted) = self.admitted.get_mut(place) {
                    *admitted = true;
                }
            }
            for number in bound.sources {
                if let Some(named) = entries.get(number) {
                    scope.add(number, &named.called, Output::itself());
                }
            }
        }
        for part in parts {
            for place in self.own_places(part.clone()) {
                if let Err(leak) = self.resolve(place, entries) {
                    self.leak_at(leak, place);
                }
            }
        }
    }

    /// The source that a place is about.
    fn resolve(&self, place: usize, entries: &[Named]) -> Result<usize, Leak> {
        let alias = self.places.get(place).and_then(|place| place.alias.as_deref());
        let fits = |named: &Named| match &named.rows {
            Rows::Table(name) => self.is_walked(name) && !named.renamed,
            Rows::Query(output) => output.itself,
            Rows::Other => false,
        };
        let numbers: Vec<usize> = match alias {
            Some(written) => {
                let alias = crate::sql::column_key(self.source.dialect, written);
                let named = |named: &Named| Some(&named.called) == alias.as_ref();
                (0..entries.len()).filter(|at| entries.get(*at).is_some_and(named)).collect()
            }
            None => (0..entries.len()).filter(|at| entries.get(*at).is_some_and(fits)).collect(),
        };
        match numbers.as_slice() {
            [only] if entries.get(*only).is_some_and(fits) => Ok(*only),
            [only] => match entries.get(*only).map(|named| &named.rows) {
                Some(Rows::Table(_)) => Err(OTHER_TABLE),
                _ => Err(OTHER_ROWS),
            },
            [] if entries.iter().any(|named| matches!(named.rows, Rows::Query(_))) => {
                Err(OTHER_ROWS)
            }
            [] => Err(OTHER_TABLE),
            _ => Err(WHICH),
        }
    }

    fn check_roots(&mut self, entries: &[Named], whole: &Range<usize>, scope: &Scope) {
        if !scope.is_confined() {
            return;
        }
        let missing = |number: &usize| entries.get(*number).is_some_and(|named| named.missing);
        let place = self.first_place(whole);
        if scope.roots.iter().any(missing) {
            self.leak_at(OUTER, place);
        }
        let flat = self.flat(whole.clone());
        if flat.iter().any(|at| self.source.is(*at, "TABLESAMPLE")) {
            self.leak_at(SAMPLE, place);
        }
        let start = self.places.get(place).map_or(0, |place| place.start);
        for number in 1..scope.chunk.len() {
            let within = scope.joined_by(0, number);
            self.found_at(What::Join, start, within, Role::Top);
        }
    }

    /// What was read of conditions that a chunk bounds through a sub-query.
    pub(super) fn check_sets(&mut self, whole: &Range<usize>, scope: &Scope) {
        if scope.sets.len() + scope.chunk.len() > 1 && !scope.sets.is_empty() {
            let place = self.first_place(whole);
            self.leak_at(TWICE, place);
        }
    }

    /// Reads the sub-queries in expressions: none of them may be a chunk's.
    pub(super) fn expressions_in(&mut self, range: Range<usize>, depth: usize) {
        let mut at = range.start;
        while at < range.end {
            if !self.is_query(at) {
                at += 1;
                continue;
            }
            if self.read.get(at) == Some(&false) {
                let output = self.query(at, Role::Expression, depth);
                if output.confined {
                    let place = self.first_place(&self.inside(at));
                    self.leak_at(VALUE, place);
                }
            }
            at = self.behind(at);
        }
    }

    /// `a.x = b.y`, if that is all of a part.
    pub(super) fn equality(&self, part: Range<usize>) -> Option<(Vec<String>, Vec<String>)> {
        // In places a string can be a name; here it is a value.
        let is_value = |at: usize| self.source.kind(at) == Some(Kind::Str);
        let mut cursor = self.source.cursor(part.start);
        let one = cursor.name().filter(|_| !is_value(part.start))?;
        if !cursor.eat_punct(b'=') || is_value(cursor.at) {
            return None;
        }
        let other = cursor.name()?;
        (cursor.at == part.end).then_some((one.parts, other.parts))
    }

    /// The same, if both are of one kind, as far as is known: a text that is compared with a number may
    /// be equal to the same one as another text is.
    pub(super) fn equal_columns(
        &self,
        part: &Range<usize>,
        entries: &[Named],
    ) -> Option<(Vec<String>, Vec<String>)> {
        let (one, other) = self.equality(part.clone())?;
        let kind = |parts: &[String]| {
            let of = parts.iter().rev().nth(1);
            let mut named = entries.iter().filter(|named| of.is_none_or(|of| *of == named.called));
            let (only, more) = (named.next(), named.next());
            match (only.map(|named| &named.rows), more) {
                (Some(Rows::Table(name)), None) => self.known.kind(&name.parts, parts.last()?),
                _ => None,
            }
        };
        let differ = matches!((kind(&one), kind(&other)), (Some(a), Some(b)) if a != b);
        (!differ).then_some((one, other))
    }

    /// The columns of these sources that a query in a condition is compared with.
    fn compared_in(
        &self,
        part: &Range<usize>,
        member: &Member,
        names: &[String],
    ) -> std::collections::BTreeSet<String> {
        let range = if member.by_value { part.start..member.open } else { part.clone() };
        let of_ours = |at: usize| {
            let name = self.source.cursor(at).name()?;
            let ours = match name.parts.as_slice() {
                [_] => member.by_value,
                [.., of, _] => names.contains(of),
                [] => false,
            };
            name.parts.last().cloned().filter(|_| ours)
        };
        range.filter_map(of_ours).collect()
    }

    /// Where the query of a `NOT EXISTS (SELECT …)` begins.
    fn absence(&self, part: &Range<usize>) -> Option<usize> {
        let open = part.start + 2;
        let whole = self.source.are(part.start, &["NOT", "EXISTS"])
            && self.is_query(open)
            && self.behind(open) == part.end;
        whole.then_some(open + 1)
    }

    /// `a.x IS NOT NULL`
    fn filled(&self, part: &Range<usize>) -> Option<Vec<String>> {
        let mut cursor = self.source.cursor(part.start);
        let name = cursor.name()?;
        let filled = cursor.eat_all(&["IS", "NOT", "NULL"]) && cursor.at == part.end;
        filled.then_some(name.parts)
    }

    /// `x ->> 'a' IS NOT NULL`, as it is written.
    fn filled_value(&self, part: &Range<usize>) -> Option<String> {
        let end = part.end.checked_sub(3).filter(|end| *end > part.start)?;
        self.source.are(end, &["IS", "NOT", "NULL"]).then(|| self.written(part.start..end))
    }

    /// The columns of `JOIN … USING (id)`.
    fn shared(&self, range: Range<usize>) -> std::collections::BTreeSet<String> {
        let is_list = |at: &usize| {
            self.source.is(*at, "USING")
                && self.source.punct(at + 1, b'(')
                && !self.is_query(at + 1)
        };
        let lists = self.flat(range).into_iter().filter(is_list).take(LOOKS_MAX);
        let names = lists.flat_map(|at| self.source.cursor(at + 2).names());
        names.map(|name| name.last().to_owned()).collect()
    }

    /// The first place in a range, else the statement's.
    pub(super) fn first_place(&self, range: &Range<usize>) -> usize {
        let first = self.place_tokens.partition_point(|at| *at < range.start);
        let inside = self.place_tokens.get(first).is_some_and(|at| *at < range.end);
        if inside { first } else { 0 }
    }

    pub(super) fn leak_at(&mut self, leak: Leak, place: usize) {
        let start = self.places.get(place).map_or(0, |place| place.start);
        if self.leaks.len() < LOOKS_MAX {
            self.leaks.push((leak, start));
        }
    }

    /// Sets of rows that a chunk bounds: in a query, each row must have one chunk.
    pub(super) fn found_sets(&mut self, whole: &Range<usize>, scope: &Scope, role: Role) {
        self.check_sets(whole, scope);
        let place = self.first_place(whole);
        let start = self.places.get(place).map_or(0, |place| place.start);
        for set in &scope.sets {
            self.found_at(What::Set, start, set.within.clone(), role);
        }
    }
}
