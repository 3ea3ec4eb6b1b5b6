//! Sums of parts: groups that lie in several chunks, each of which adds its part to what is there.
//!
//! A count, a sum, a least and a greatest value can be made of those of parts, and nothing else that
//! is known here can. What a statement does with them is taken only in these shapes: `n = t.n +
//! excluded.n`, and GREATEST or LEAST of the two; coalesce(…, 0) round either of them.

use std::collections::BTreeSet;
use std::ops::Range;

use dunlin_model::Dialect;

use super::columns::{Output, Scope};
use super::{LOOKS_MAX, Reader};
use crate::sql::lex::Kind;

/// What a column of a grouped query is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The same in all rows of the group.
    Shared,
    /// count(…), sum(…)
    Sum,
    /// min(…)
    Least,
    /// max(…)
    Greatest,
}

/// A query that gives one row a group, of columns that can be put together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// The query's first token.
    pub(super) start: usize,
    /// What each column is called, and what it is.
    pub(super) columns: Vec<(Option<String>, Part)>,
    /// Columns of the table that must not be NULL, or a part could be NULL where the whole is not.
    pub(super) solid: BTreeSet<String>,
    /// By place, which columns of the table must not be NULL so that what the group shares is not.
    pub(super) nulls: Vec<BTreeSet<String>>,
}

impl Sums {
    pub(super) fn rename(&mut self, names: &[String]) {
        for (column, name) in self.columns.iter_mut().zip(names) {
            column.0 = Some(name.clone());
        }
    }

    fn named(&self, name: &str) -> Option<Part> {
        let mut found = self.columns.iter().filter(|(called, _)| called.as_deref() == Some(name));
        let part = found.next().map(|(_, part)| *part);
        part.filter(|_| found.next().is_none())
    }

    fn of_many(&self) -> impl Iterator<Item = &(Option<String>, Part)> {
        self.columns.iter().filter(|(_, part)| *part != Part::Shared)
    }

    fn shared(&self) -> usize {
        self.columns.iter().filter(|(_, part)| *part == Part::Shared).count()
    }
}

impl Reader<'_> {
    /// The columns of a grouped query, if its parts can be put together. `grouped` are the items of
    /// its GROUP BY.
    pub(super) fn sums(
        &self,
        start: usize,
        list: &[Range<usize>],
        grouped: &[Range<usize>],
        scope: &Scope,
    ) -> Option<Sums> {
        let mut sums = Sums { start, ..Sums::default() };
        for (number, item) in list.iter().enumerate() {
            let (name, value) = self.aliased(item);
            let group = self.is_grouped(&value, number, name.as_deref(), grouped);
            let part = match group {
                true => Part::Shared,
                false => self.part(&value, scope, &mut sums.solid)?,
            };
            sums.columns.push((name, part));
            sums.nulls.push(self.nulls(value, scope));
        }
        // A group that is not given can't be told from another one.
        self.gives(list, grouped).then_some(sums)
    }

    /// Whether each item of a GROUP BY is in the list.
    pub(super) fn gives(&self, list: &[Range<usize>], grouped: &[Range<usize>]) -> bool {
        let list: Vec<_> = list.iter().take(LOOKS_MAX).map(|item| self.aliased(item)).collect();
        grouped.iter().take(LOOKS_MAX + 1).all(|group| {
            list.iter().enumerate().any(|(number, (name, value))| {
                let group = std::slice::from_ref(group);
                self.is_grouped(value, number, name.as_deref(), group)
            })
        })
    }

    /// An item of a list without its alias.
    pub(super) fn aliased(&self, item: &Range<usize>) -> (Option<String>, Range<usize>) {
        let Some(last) = item.end.checked_sub(1).filter(|last| *last > item.start) else {
            let name = self.source.cursor(item.start).name();
            return (name.map(|name| name.last().to_owned()), item.clone());
        };
        if let Some(parts) = self.only_name(item.clone()) {
            return (parts.last().cloned(), item.clone());
        }
        let is_name = matches!(self.source.kind(last), Some(Kind::Word | Kind::Quoted));
        let behind = last - usize::from(self.source.is(last - 1, "AS"));
        let ends_value = self.source.punct(behind.saturating_sub(1), b')')
            || matches!(
                self.source.kind(behind.saturating_sub(1)),
                Some(Kind::Word | Kind::Quoted)
            );
        if is_name && ends_value && behind > item.start {
            let name = self.source.cursor(last).name().map(|name| name.last().to_owned());
            return (name, item.start..behind);
        }
        // `count(*)` is called by its function where nothing else is said.
        let name = self.source.cursor(item.start).name().map(|name| name.last().to_owned());
        (name, item.clone())
    }

    fn is_grouped(
        &self,
        value: &Range<usize>,
        number: usize,
        name: Option<&str>,
        grouped: &[Range<usize>],
    ) -> bool {
        let own = self.only_name(value.clone());
        grouped.iter().any(|group| {
            if group.len() == 1 && self.source.token_text(group.start).parse() == Ok(number + 1) {
                return self.aggregates(value.clone()).is_none();
            }
            let Some(parts) = self.only_name(group.clone()) else {
                return self.written(group.clone()) == self.written(value.clone());
            };
            match &own {
                Some(own) => parts.last() == own.last(),
                // A column comes before what an item of the list is called.
                None => {
                    parts.len() == 1
                        && parts.first().map(String::as_str) == name
                        && !self.is_named_in(value.clone(), &parts)
                        && self.aggregates(value.clone()).is_none()
                }
            }
        })
    }

    /// Whether a value may be made of the column of this name.
    fn is_named_in(&self, value: Range<usize>, parts: &[String]) -> bool {
        value.into_iter().any(|at| {
            let word = matches!(self.source.kind(at), Some(Kind::Word | Kind::Quoted));
            let name = self.source.cursor(at).name().filter(|_| word);
            name.is_some_and(|name| name.parts.last() == parts.last())
        })
    }

    /// What an aggregate that is all of a value makes of several rows.
    fn part(
        &self,
        value: &Range<usize>,
        scope: &Scope,
        solid: &mut BTreeSet<String>,
    ) -> Option<Part> {
        let open = value.start + 1;
        if !self.source.punct(open, b'(') {
            return None;
        }
        let behind = self.behind(open);
        if behind != value.end && !self.is_count_with_more(value.start, behind..value.end) {
            return None;
        }
        let inside = self.inside(open);
        let words = ["DISTINCT", "ORDER", "SEPARATOR"];
        if self.flat(inside.clone()).iter().any(|at| self.source.is_any(*at, &words)) {
            return None;
        }
        let function = self.source.word(value.start)?.to_ascii_uppercase();
        let part = match function.as_str() {
            "COUNT" => return Some(Part::Sum),
            "TOTAL" if self.source.dialect == Dialect::Sqlite => return Some(Part::Sum),
            "SUM" => Part::Sum,
            "MIN" => Part::Least,
            "MAX" => Part::Greatest,
            _ => return None,
        };
        // GREATEST and LEAST pass over NULLs on PostgreSQL, as max and min do.
        let passes = part != Part::Sum && self.source.dialect == Dialect::Postgres;
        let of_number = inside.len() == 1 && self.source.kind(inside.start) == Some(Kind::Number);
        if passes || of_number || self.is_filled(&inside) {
            return Some(part);
        }
        solid.insert(scope.column(&self.only_name(inside)?)?);
        Some(part)
    }

    /// `count(*) FILTER (WHERE …)::int`: a count as well, of whole numbers.
    fn is_count_with_more(&self, call: usize, more: Range<usize>) -> bool {
        const WHOLE: [&str; 5] = ["INT", "INTEGER", "BIGINT", "INT4", "INT8"];
        let filter =
            self.source.is(more.start, "FILTER") && self.source.punct(more.start + 1, b'(');
        let at = if filter { self.behind(more.start + 1) } else { more.start };
        let cast = self.source.punct(at, b':')
            && self.source.punct(at + 1, b':')
            && self.source.is_any(at + 2, &WHOLE);
        let end = if cast { at + 3 } else { at };
        self.source.is(call, "COUNT") && end == more.end
    }

    /// `coalesce(x, 0)`
    pub(super) fn is_filled(&self, value: &Range<usize>) -> bool {
        let call = self.source.is_any(value.start, &["COALESCE", "IFNULL"])
            && self.source.punct(value.start + 1, b'(')
            && self.behind(value.start + 1) == value.end;
        let last = value.end.saturating_sub(2);
        call && self.source.kind(last) == Some(Kind::Number)
    }

    /// Whether an INSERT's upsert puts the parts of its query together. `names` are its table's,
    /// `columns` what it names, `from` where the ON CONFLICT begins.
    pub(super) fn upsert_adds(
        &self,
        sums: &Sums,
        names: &[String],
        columns: &[String],
        conflict: Range<usize>,
    ) -> bool {
        let flat = self.flat(conflict.clone());
        let set = flat.iter().copied().find(|at| {
            self.source.are(*at, &["DO", "UPDATE", "SET"])
                || self.source.are(*at, &["DUPLICATE", "KEY", "UPDATE"])
        });
        let Some(set) = set else { return false };
        if flat.iter().any(|at| *at > set && self.source.is(*at, "WHERE")) {
            return false;
        }
        if self.source.punct(conflict.start + 2, b'(') {
            let of = self.items(self.inside(conflict.start + 2));
            if of.len() != sums.shared() || !self.source.is(self.behind(conflict.start + 2), "DO") {
                return false;
            }
        }
        let items = self.items(set + 3..conflict.end);
        let mut added = BTreeSet::new();
        for item in &items {
            let Some(column) = self.source.cursor(item.start).name() else { return false };
            let expected = if columns.is_empty() {
                // All of one kind: whichever it is.
                let mut parts = sums.of_many().map(|(_, part)| *part);
                let first = parts.next();
                first.filter(|first| parts.all(|part| part == *first))
            } else {
                let place = columns.iter().position(|name| name == column.last());
                place.and_then(|place| Some(sums.columns.get(place)?.1))
            };
            let is_new = |name: &[String]| {
                name.last().map(String::as_str) == Some(column.last())
                    && name.first().is_some_and(|of| of == "excluded")
            };
            if !expected.is_some_and(|part| self.adds(item, part, names, &is_new)) {
                return false;
            }
            added.insert(column.last().to_owned());
        }
        added.len() == sums.of_many().count()
    }

    /// Whether each assignment of an UPDATE or a MERGE is of a constant or adds a part; gives the
    /// names of the parts that are added.
    pub(super) fn all_add(
        &self,
        assignments: Range<usize>,
        sums: &Sums,
        called: &str,
        targets: &[String],
    ) -> Option<BTreeSet<String>> {
        let mut added = BTreeSet::new();
        for item in self.items(assignments) {
            if self.is_constant(&item) {
                continue;
            }
            let new = sums.of_many().find(|(name, part)| {
                let is_new = |parts: &[String]| {
                    parts.last() == name.as_ref()
                        && (parts.len() == 1
                            || parts.iter().rev().nth(1).is_some_and(|of| of == called))
                };
                self.adds(&item, *part, targets, &is_new)
            });
            added.insert(new?.0.clone()?);
        }
        Some(added)
    }

    /// Whether none of a condition's names is a part of a sum.
    pub(super) fn minds_no_part(&self, range: Range<usize>, sums: &Sums) -> bool {
        let is_part = |at: usize| {
            let name = self.source.cursor(at).name();
            name.is_some_and(|name| {
                sums.named(name.last()).is_some_and(|part| part != Part::Shared)
            })
        };
        !range.into_iter().any(is_part)
    }

    /// Whether none of a condition's names is one of these columns.
    pub(super) fn minds_none_of(&self, range: Range<usize>, columns: &BTreeSet<String>) -> bool {
        let is_one = |at: usize| {
            let name = self.source.cursor(at).name();
            name.is_some_and(|name| columns.contains(name.last()))
        };
        !range.into_iter().any(is_one)
    }

    /// Whether an INSERT's values are what the groups share, the parts that are added, and constants.
    pub(super) fn minds_only(
        &self,
        range: Range<usize>,
        sums: &Sums,
        added: &BTreeSet<String>,
    ) -> bool {
        let flat = self.flat(range.clone());
        let Some(values) = flat.iter().find(|at| self.source.is(**at, "VALUES")) else {
            return false;
        };
        let items = self.items(self.inside(values + 1));
        items.iter().all(|item| match self.only_name(item.clone()) {
            Some(parts) => parts.last().is_some_and(|name| {
                sums.named(name).is_some_and(|part| part == Part::Shared || added.contains(name))
            }),
            None => {
                item.len() == 1
                    && matches!(self.source.kind(item.start), Some(Kind::Number | Kind::Str))
            }
        })
    }

    /// Whether each of a sum's groups is of one row of another source.
    pub(super) fn groups_of(&self, sums: &Sums, called: &str, target: &str, scope: &Scope) -> bool {
        let is_tied = |name: &String| {
            scope.equal.iter().any(|(one, other)| {
                [(one, other), (other, one)].iter().any(|(mine, theirs)| {
                    mine.len() == 2
                        && mine.first().is_some_and(|of| of == called)
                        && mine.last() == Some(name)
                        && theirs.len() == 2
                        && theirs.first().is_some_and(|of| of == target)
                })
            })
        };
        let mut shared = sums.columns.iter().filter(|(_, part)| *part == Part::Shared);
        shared.all(|(name, _)| name.as_ref().is_some_and(is_tied))
    }

    /// `a = 1`
    pub(super) fn is_constant(&self, item: &Range<usize>) -> bool {
        let Some(equals) = (item.clone()).find(|at| self.source.punct(*at, b'=')) else {
            return false;
        };
        let mut value = equals + 1..item.end;
        if value.len() == 2 && self.source.punct(value.start, b'-') {
            value.start += 1;
        }
        let words = ["NULL", "TRUE", "FALSE", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME"];
        match self.source.kind(value.start) {
            Some(Kind::Number) => value.len() == 1,
            // Where a quoted name may be a string, it may be a name.
            Some(Kind::Str) => {
                value.len() == 1
                    && self.source.token_text(value.start).starts_with(['\'', '$', 'E', 'e'])
            }
            Some(Kind::Word) if value.len() == 1 => self.source.is_any(value.start, &words),
            Some(Kind::Word) => {
                value.len() == 3
                    && self.source.is(value.start, "NOW")
                    && self.source.punct(value.start + 1, b'(')
            }
            _ => false,
        }
    }

    /// `column = column + new`, `column = greatest(column, new)`
    fn adds(
        &self,
        item: &Range<usize>,
        part: Part,
        targets: &[String],
        is_new: &dyn Fn(&[String]) -> bool,
    ) -> bool {
        let mut cursor = self.source.cursor(item.start);
        let Some(column) = cursor.name() else { return false };
        if !cursor.eat_punct(b'=') {
            return false;
        }
        let value = cursor.at..item.end;
        let sides = match part {
            Part::Shared => return false,
            Part::Sum => {
                let plus = self.flat(value.clone());
                let mut plus = plus.into_iter().filter(|at| self.source.punct(*at, b'+'));
                match (plus.next(), plus.next()) {
                    (Some(at), None) => vec![value.start..at, at + 1..value.end],
                    _ => return false,
                }
            }
            Part::Least | Part::Greatest => {
                let words: &[&str] =
                    if part == Part::Least { &["LEAST", "MIN"] } else { &["GREATEST", "MAX"] };
                let call = self.source.is_any(value.start, words)
                    && self.source.punct(value.start + 1, b'(')
                    && self.behind(value.start + 1) == value.end;
                if !call {
                    return false;
                }
                self.items(self.inside(value.start + 1))
            }
        };
        let [one, other] = sides.as_slice() else { return false };
        let is_own = |range: &Range<usize>| {
            self.filled_name(range).is_some_and(|parts| {
                let of = parts.iter().rev().nth(1);
                parts.last().map(String::as_str) == Some(column.last())
                    && of.is_none_or(|of| targets.contains(of))
            })
        };
        let is_added = |range: &Range<usize>| {
            let given = self.source.is(range.start, "VALUES")
                && self.source.punct(range.start + 1, b'(')
                && self.behind(range.start + 1) == range.end
                && self
                    .only_name(self.inside(range.start + 1))
                    .is_some_and(|parts| parts.last().map(String::as_str) == Some(column.last()));
            given || self.filled_name(range).is_some_and(|parts| is_new(&parts))
        };
        (is_own(one) && is_added(other)) || (is_own(other) && is_added(one))
    }

    /// A name, or `coalesce(name, 0)`.
    fn filled_name(&self, range: &Range<usize>) -> Option<Vec<String>> {
        if self.is_filled(range) {
            let first = self.items(self.inside(range.start + 1)).into_iter().next()?;
            return self.only_name(first);
        }
        self.only_name(range.clone())
    }

    /// A source of an UPDATE or a MERGE that is a sum.
    pub(super) fn sums_of<'o>(&self, scope: &'o Scope) -> Option<(&'o str, &'o Sums)> {
        let [(called, Output { sums: Some(sums), .. })] = scope.chunk.as_slice() else {
            return None;
        };
        scope.sets.is_empty().then_some((called.as_str(), sums))
    }
}
