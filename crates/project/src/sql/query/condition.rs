//! What a condition takes for granted of every row that passes it.
//!
//! `:chunk` bounds a condition where it is one of the parts that all must hold, or where each side
//! of an OR has it so. Anything else that is done with its value (a comparison, a CASE, a function,
//! NOT) lets other rows pass, or none: there it is not taken. Invariants: a part that is given
//! holds for each row that passes; the time is linear in the condition's length.

use std::collections::BTreeSet;
use std::ops::Range;

use dunlin_model::Dialect;

use super::{LOOKS_MAX, Reader};

/// Rows of which a condition takes those that a query has.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Where the query's parentheses open.
    pub(super) open: usize,
    /// `x IN (…)`, and not EXISTS.
    pub(super) by_value: bool,
}

/// Sources that places bound, by their number in the FROM; and the places.
#[derive(Debug, Clone, Default)]
pub(super) struct Bound {
    pub(super) sources: BTreeSet<usize>,
    pub(super) places: Vec<usize>,
}

impl Reader<'_> {
    /// The parts that all hold, parentheses round several of them opened.
    pub(super) fn all_of(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut open = vec![(range, 0_usize)];
        while let Some((range, depth)) = open.pop() {
            if range.is_empty() {
                continue;
            }
            let inside = self.wrapped(&range).filter(|_| depth < LOOKS_MAX);
            if let Some(inside) = inside {
                open.push((inside, depth + 1));
                continue;
            }
            match self.cut(range.clone(), false) {
                Some(parts) if parts.len() > 1 && !self.has_sides(range.clone()) => {
                    open.extend(parts.into_iter().map(|part| (part, depth)));
                }
                _ => found.push(range),
            }
        }
        found.sort_by_key(|part| part.start);
        found
    }

    /// What a part bounds. `resolve` gives the source that a place is about.
    pub(super) fn bound_by(
        &self,
        part: Range<usize>,
        depth: usize,
        resolve: &dyn Fn(usize) -> Option<usize>,
    ) -> Option<Bound> {
        if let Some(place) = self.only_place(&part) {
            let source = resolve(place)?;
            return Some(Bound { sources: BTreeSet::from([source]), places: vec![place] });
        }
        if depth >= LOOKS_MAX || !self.holds_place(&part) {
            return None;
        }
        if let Some(inside) = self.wrapped(&part) {
            return self.bound_by(inside, depth + 1, resolve);
        }
        let sides = self.cut(part.clone(), true)?;
        if sides.len() > 1 {
            let mut all: Option<Bound> = None;
            for side in sides {
                let one = self.bound_by(side, depth + 1, resolve)?;
                match &mut all {
                    Some(all) if all.sources == one.sources => all.places.extend(one.places),
                    Some(_) => return None,
                    None => all = Some(one),
                }
            }
            return all;
        }
        let parts = self.cut(part, false)?;
        if parts.len() < 2 {
            return None;
        }
        let mut all = Bound::default();
        for one in parts {
            if let Some(one) = self.bound_by(one, depth + 1, resolve) {
                all.sources.extend(one.sources);
                all.places.extend(one.places);
            }
        }
        (!all.sources.is_empty()).then_some(all)
    }

    /// `x IN (SELECT …)`, `(x, y) IN (SELECT …)`, `EXISTS (SELECT …)`.
    pub(super) fn member(&self, part: &Range<usize>) -> Option<Member> {
        let flat = self.flat(part.clone());
        let open = flat.last().copied().filter(|open| self.is_query(*open))?;
        if self.behind(open) != part.end {
            return None;
        }
        let before = open.checked_sub(1).filter(|at| *at >= part.start)?;
        if self.source.is(before, "EXISTS") && before == part.start {
            return Some(Member { open, by_value: false });
        }
        let value = part.start..before;
        let is_value = self.source.is(before, "IN")
            && (self.only_name(value.clone()).is_some()
                || (self.source.punct(value.start, b'(') && self.behind(value.start) == value.end));
        is_value.then_some(Member { open, by_value: true })
    }

    /// What stands in the parentheses that are all of a part, if it is a condition.
    fn wrapped(&self, part: &Range<usize>) -> Option<Range<usize>> {
        let whole = self.source.punct(part.start, b'(') && self.behind(part.start) == part.end;
        (whole && !self.is_query(part.start)).then(|| self.inside(part.start))
    }

    /// The place that is all of a part.
    fn only_place(&self, part: &Range<usize>) -> Option<usize> {
        let number = self.place_tokens.binary_search(&part.start).ok()?;
        let last = self.source.tokens.get(part.end.checked_sub(1)?)?;
        (self.places.get(number)?.end == last.end()).then_some(number)
    }

    fn has_sides(&self, range: Range<usize>) -> bool {
        self.cut(range, true).is_none_or(|sides| sides.len() > 1)
    }

    /// Cuts at each OR, or at each AND, outside of parentheses and CASE. `None`: there is an XOR,
    /// which says nothing of either side.
    fn cut(&self, range: Range<usize>, at_or: bool) -> Option<Vec<Range<usize>>> {
        let mut parts = Vec::new();
        let (mut cases, mut betweens) = (0_usize, 0_usize);
        let mut begin = range.start;
        let mut skip = None;
        for at in self.flat(range.clone()) {
            let name = at > range.start && self.source.punct(at - 1, b'.');
            if skip == Some(at) || name {
                continue;
            }
            if self.source.is(at, "CASE") {
                cases += 1;
            } else if self.source.is(at, "END") {
                cases = cases.saturating_sub(1);
            }
            if cases > 0 {
                continue;
            }
            if self.source.is(at, "BETWEEN") {
                betweens += 1;
            } else if self.source.is(at, "XOR") {
                return None;
            } else if self.source.is(at, "OR") || self.is_or(at) {
                betweens = 0;
                if at_or {
                    parts.push(begin..at);
                    let width = if self.source.is(at, "OR") { 1 } else { 2 };
                    begin = at + width;
                    skip = (width == 2).then_some(at + 1);
                }
            } else if self.source.is(at, "AND") {
                if betweens > 0 {
                    betweens -= 1;
                } else if !at_or {
                    parts.push(begin..at);
                    begin = at + 1;
                }
            }
        }
        parts.push(begin..range.end);
        Some(parts)
    }

    /// MySQL's `||`, which is an OR there unless the server is told otherwise.
    fn is_or(&self, at: usize) -> bool {
        self.source.dialect == Dialect::Mysql
            && self.source.punct(at, b'|')
            && self.source.punct(at + 1, b'|')
            && match (self.source.tokens.get(at), self.source.tokens.get(at + 1)) {
                (Some(one), Some(next)) => one.end() == next.start(),
                _ => false,
            }
    }
}
