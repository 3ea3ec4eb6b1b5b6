//! Which of a query's columns are columns of the table that is walked.

use std::collections::BTreeSet;
use std::ops::Range;

use super::combine::Sums;
use super::meet::Ties;
use super::sources::Named;
use super::{Reader, nulls};
use crate::sql::lex::Kind;

/// So many columns of a GROUP BY are looked at: no server takes many more.
const ITEMS_MAX: usize = 1024;

/// Columns of the table that is walked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Columns {
    /// All of them.
    pub(super) all: bool,
    /// These, folded.
    pub(super) named: BTreeSet<String>,
}

/// What a query gives.
#[derive(Debug, Clone, Default)]
pub(super) struct Output {
    /// Its rows are those of a chunk alone.
    pub(super) confined: bool,
    /// Its rows are those of the table that is walked, all or some, and nothing else.
    pub(super) itself: bool,
    /// Columns that are not listed are what they are called in the table that is walked.
    pub(super) all: bool,
    /// What a column is called, and which of the table's it is.
    pub(super) columns: Vec<(Option<String>, Option<String>)>,
    /// Columns of the table that are one value for each row of the query around it.
    pub(super) bound: Columns,
    /// It has no row twice.
    pub(super) apart: bool,
    /// What each column is, where that is a name.
    pub(super) names: Vec<Option<Vec<String>>>,
    /// Where the queries of its NOT EXISTS and behind its EXCEPT begin.
    pub(super) absent: Vec<usize>,
    /// Columns of the table among its own that may be NULL for all that is read here.
    pub(super) solid: BTreeSet<String>,
    /// It is one row a group, with sums and the like.
    pub(super) sums: Option<Sums>,
    /// By their place, which columns of the table must not be NULL so that it is not; the empty name:
    /// nobody knows.
    pub(super) nulls: Vec<BTreeSet<String>>,
    /// What each column is by its place, where that is a constant.
    pub(super) constants: Vec<Option<String>>,
    /// Its queries of which chunks may give the same row, by their number among the groups.
    pub(super) told: BTreeSet<usize>,
}

impl Output {
    /// The rows of the table itself.
    pub(super) fn itself() -> Self {
        Self { confined: true, all: true, ..Self::default() }
    }

    /// With other names for its columns, as many as there are.
    pub(super) fn renamed(mut self, names: Vec<String>) -> Self {
        if names.is_empty() {
            return self;
        }
        self.itself = false;
        if let Some(sums) = &mut self.sums {
            sums.rename(&names);
        }
        self.columns.resize(names.len().max(self.columns.len()), (None, None));
        for (column, name) in self.columns.iter_mut().zip(names) {
            column.0 = Some(name);
        }
        self
    }

    /// Which of the table's columns a name is.
    pub(super) fn column(&self, name: &str) -> Option<String> {
        match self.columns.iter().find(|(called, _)| called.as_deref() == Some(name)) {
            Some((_, column)) => column.clone(),
            None => self.all.then(|| name.to_owned()),
        }
    }

    /// All that it gives.
    pub(super) fn given(&self) -> Columns {
        let named = self.columns.iter().filter_map(|(_, column)| column.clone());
        Columns { all: self.all, named: named.collect() }
    }

    /// What a UNION of both gives: a column counts if it is the same one in both.
    pub(super) fn united(mut self, other: Self) -> Self {
        self.confined |= other.confined;
        self.itself = false;
        self.apart = false;
        self.absent = Vec::new();
        self.sums = None;
        self.bound = Columns::default();
        self.told.extend(other.told);
        for (place, nulls) in self.nulls.iter_mut().enumerate() {
            nulls.extend(other.nulls.get(place).cloned().unwrap_or_else(nulls::unknown));
        }
        for (place, constant) in self.constants.iter_mut().enumerate() {
            if other.constants.get(place) != Some(&*constant) {
                *constant = None;
            }
        }
        if self.all != other.all {
            // One of them says `*`, and where its columns stand only the catalogue tells: what the
            // other one names may be the same.
            if self.all {
                self.columns = other.columns;
            }
            self.all = false;
            return self;
        }
        for (place, column) in self.columns.iter_mut().enumerate() {
            let same = other.columns.get(place).is_some_and(|(_, theirs)| *theirs == column.1);
            if !same {
                column.1 = None;
            }
        }
        self
    }
}

/// Rows of which only those are taken that a chunk has something for.
#[derive(Debug, Clone, Default)]
pub(super) struct Set {
    /// The columns of the `chunk-by` table that are one value for each of them.
    pub(super) within: Columns,
    /// What of them is compared with those.
    pub(super) by: BTreeSet<String>,
}

/// The rows of a chunk in one query, under the names that they have there.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// By their number among the query's sources.
    pub(super) roots: Vec<usize>,
    /// The same, as they are called.
    pub(super) chunk: Vec<(String, Output)>,
    /// Rows of which only those are taken that a chunk has something for.
    pub(super) sets: Vec<Set>,
    /// Columns that are equal to the table's in each of them.
    pub(super) ties: Ties,
    /// Where the queries of its NOT EXISTS begin.
    pub(super) absent: Vec<usize>,
    /// Names that are not NULL in any row.
    pub(super) filled: Vec<Vec<String>>,
    /// The same of values, as they are written.
    pub(super) filled_values: Vec<String>,
    /// Where the queries of its `EXISTS (…)` open.
    pub(super) exists: Vec<usize>,
    /// What all of the query's sources are called.
    pub(super) names: Vec<String>,
    /// Columns that are equal in every row.
    pub(super) equal: Vec<(Vec<String>, Vec<String>)>,
    /// Columns that joined tables share: `USING (id)`.
    pub(super) shared: BTreeSet<String>,
    /// A NATURAL JOIN may share any.
    pub(super) every_shared: bool,
}

impl Scope {
    pub(super) fn of(entries: &[Named]) -> Self {
        let names = entries.iter().map(|named| named.called.clone()).collect();
        Self { names, ..Self::default() }
    }

    /// Whether the query has rows of a chunk alone.
    pub(super) fn is_confined(&self) -> bool {
        !self.chunk.is_empty() || !self.sets.is_empty()
    }

    /// The queries below of which chunks may give the same row.
    pub(super) fn told(&self) -> BTreeSet<usize> {
        self.chunk.iter().flat_map(|(_, output)| output.told.iter().copied()).collect()
    }

    pub(super) fn add(&mut self, number: usize, called: &str, output: Output) {
        if !self.roots.contains(&number) {
            self.roots.push(number);
            self.chunk.push((called.to_owned(), output));
        }
    }

    fn own(&self, parts: &[String]) -> Option<String> {
        match parts {
            [column] => self.chunk.iter().find_map(|(_, output)| output.column(column)),
            [.., of, column] => {
                let (_, output) = self.chunk.iter().find(|(called, _)| called == of)?;
                output.column(column)
            }
            [] => None,
        }
    }

    /// Which of the table's columns a name is, or is equal to.
    pub(super) fn column(&self, parts: &[String]) -> Option<String> {
        let mut same = vec![parts];
        let mut next = 0;
        while let Some(parts) = same.get(next).copied() {
            let shared = parts.len() > 1
                && parts.last().is_some_and(|name| self.every_shared || self.shared.contains(name));
            let last = parts.len().saturating_sub(1);
            let own = self.own(parts);
            let own = own.or_else(|| shared.then(|| self.own(&parts[last..])).flatten());
            if own.is_some() {
                return own;
            }
            for (one, other) in &self.equal {
                for (mine, partner) in [(one, other), (other, one)] {
                    if mine == parts && !same.contains(&partner.as_slice()) {
                        same.push(partner);
                    }
                }
            }
            next += 1;
        }
        None
    }

    /// The columns that are equal to one of somebody else's.
    fn equal_to(&self, theirs: impl Fn(&[String]) -> bool) -> Columns {
        let mut named = BTreeSet::new();
        for (one, other) in &self.equal {
            for (mine, partner) in [(one, other), (other, one)] {
                if theirs(partner) && !theirs(mine) {
                    named.extend(self.own(mine));
                }
            }
        }
        Columns { all: false, named }
    }

    /// The columns that are one value for each row of the query around it.
    pub(super) fn bound(&self) -> Columns {
        self.equal_to(|parts| {
            parts.len() > 1 && parts.iter().rev().nth(1).is_some_and(|of| !self.names.contains(of))
        })
    }

    /// The columns that are one value for each row of another source.
    /// Of columns that are `changed` it is another one afterwards.
    pub(super) fn bound_to(&self, called: &str, changed: &BTreeSet<String>) -> Columns {
        self.equal_to(|parts| {
            parts.iter().rev().nth(1).is_some_and(|of| of == called)
                && parts.last().is_some_and(|column| !changed.contains(column))
        })
    }

    /// The columns of the table that are the same in two of the sources that a chunk bounds.
    pub(super) fn joined_by(&self, one: usize, other: usize) -> Columns {
        let column = |number: usize, parts: &[String]| -> Option<String> {
            let (called, output) = self.chunk.get(number)?;
            let [.., of, column] = parts else { return None };
            (of == called).then(|| output.column(column)).flatten()
        };
        let mut named = BTreeSet::new();
        for (left, right) in &self.equal {
            for (mine, theirs) in [(left, right), (right, left)] {
                let mine = column(one, mine);
                named.extend(mine.filter(|mine| column(other, theirs).as_ref() == Some(mine)));
            }
        }
        Columns { all: false, named }
    }

    pub(super) fn star(&self, of: Option<&str>) -> Output {
        let mut found = Output::default();
        for (called, output) in &self.chunk {
            if of.is_none_or(|of| of == called) {
                found.all |= output.all;
                found.columns.extend(output.columns.iter().cloned());
            }
        }
        found
    }
}

impl Reader<'_> {
    /// The columns that a list of expressions names; of the GROUP BY, with the select list.
    pub(super) fn listed(
        &self,
        range: Range<usize>,
        scope: &Scope,
        list: &[Range<usize>],
    ) -> Columns {
        let mut found = Columns::default();
        for item in self.items(range).into_iter().take(ITEMS_MAX) {
            if self.source.punct(item.start, b'(') && self.behind(item.start) == item.end {
                let inner = self.listed(self.inside(item.start), scope, &[]);
                found.named.extend(inner.named);
                continue;
            }
            if let Some(parts) = self.only_name(item.clone()) {
                found.named.extend(scope.column(&parts));
                // `SELECT p.id AS post … GROUP BY post`
                let meant = list.iter().take(super::LOOKS_MAX).find_map(|one| {
                    let (name, column) = self.item(one.clone(), scope);
                    (parts.len() == 1 && name.as_ref() == parts.first()).then_some(column)
                });
                found.named.extend(meant.flatten());
            } else if item.len() == 1 {
                let number: Option<usize> = self.source.token_text(item.start).parse().ok();
                let meant = number.and_then(|number| list.get(number.checked_sub(1)?));
                found.named.extend(meant.and_then(|one| self.item(one.clone(), scope).1));
            }
        }
        found
    }

    /// What a select list gives.
    pub(super) fn output(&self, list: &[Range<usize>], scope: &Scope) -> Output {
        let mut found = Output {
            confined: scope.is_confined(),
            bound: scope.bound(),
            absent: scope.absent.clone(),
            told: scope.told(),
            ..Output::default()
        };
        let mut starred = false;
        for item in list {
            let value = self.aliased(item).1;
            found.nulls.push(self.nulls(value.clone(), scope));
            let constant = self.constant(&value);
            if self.source.punct(item.end.saturating_sub(1), b'*') {
                let of = (item.len() > 2).then(|| self.source.cursor(item.start).name()).flatten();
                let star = match &of {
                    Some(name) => scope.star(Some(name.last())),
                    None if item.len() == 1 => scope.star(None),
                    None => continue,
                };
                found.all |= star.all;
                found.columns.extend(star.columns);
                found.names.push(None);
                starred = true;
            } else {
                let (called, column) = self.item(item.clone(), scope);
                // TRUE is a word as well.
                let name = self.value_name(item).filter(|_| constant.is_none());
                if name.as_ref().is_some_and(|name| !scope.filled.contains(name)) {
                    // What is no column of the table, the catalogue knows nothing of.
                    found.solid.insert(column.clone().unwrap_or_default());
                }
                found.names.push(name);
                found.columns.push((called, column));
            }
            found.constants.push(constant);
        }
        if starred {
            // Which place a column has, only the catalogue tells.
            found.nulls = vec![nulls::unknown(); found.nulls.len()];
            found.constants.clear();
        }
        found
    }

    /// The name that is all of an item but for its alias.
    fn value_name(&self, item: &Range<usize>) -> Option<Vec<String>> {
        let mut cursor = self.source.cursor(item.start);
        let name = cursor.name().filter(|_| cursor.at <= item.end)?;
        let (_, _, behind) = self.alias(cursor.at);
        (cursor.at == item.end || behind == item.end).then_some(name.parts)
    }

    /// What an item of a select list is called, and which of the table's columns it is.
    fn item(&self, range: Range<usize>, scope: &Scope) -> (Option<String>, Option<String>) {
        let mut cursor = self.source.cursor(range.start);
        let Some(name) = cursor.name().filter(|_| cursor.at <= range.end) else {
            return (self.called(&range), None);
        };
        if cursor.at == range.end {
            return (Some(name.last().to_owned()), scope.column(&name.parts));
        }
        let (alias, _, behind) = self.alias(cursor.at);
        match alias {
            Some(alias) if behind == range.end => (Some(alias), scope.column(&name.parts)),
            _ => (self.called(&range), None),
        }
    }

    /// `… AS name`, `f(…) name`
    fn called(&self, range: &Range<usize>) -> Option<String> {
        let last = range.end.checked_sub(1).filter(|last| *last > range.start)?;
        let operator =
            matches!(self.source.kind(last - 1), Some(Kind::Punct(byte)) if byte != b')');
        (!operator).then(|| self.source.cursor(last).name())?.map(|name| name.last().to_owned())
    }

    pub(super) fn only_name(&self, range: Range<usize>) -> Option<Vec<String>> {
        let mut cursor = self.source.cursor(range.start);
        let name = cursor.name()?;
        (cursor.at == range.end).then_some(name.parts)
    }
}
