//! The tables and sub-queries that a query reads, by the names that it knows them by, and how they
//! are joined.

use std::ops::Range;

use dunlin_model::Dialect;

use super::columns::Output;
use super::{LOOKS_MAX, Reader, Role};
use crate::sql::facts::source::{NO_ALIAS, Name};

/// What a name in a FROM stands for.
#[derive(Debug, Clone)]
pub(super) enum Rows {
    /// A table or view, as it is written.
    Table(Name),
    /// A sub-query, or a WITH's.
    Query(Box<Output>),
    /// A function, and what else gives rows.
    Other,
}

/// One entry of a FROM.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) called: String,
    pub(super) rows: Rows,
    /// An outer join keeps rows of the others to which it has none.
    pub(super) missing: bool,
    /// Its columns have other names than its own.
    pub(super) renamed: bool,
}

/// A FROM, an UPDATE's tables, or a USING.
#[derive(Debug, Clone, Default)]
pub(super) struct Joined {
    pub(super) entries: Vec<Named>,
    /// Conditions that hold for all rows.
    pub(super) inner: Vec<Range<usize>>,
    /// Conditions that only say what is joined with what.
    pub(super) outer: Vec<On>,
}

/// The condition of an outer join.
#[derive(Debug, Clone)]
pub(super) struct On {
    pub(super) condition: Range<usize>,
    /// The entries of which it leaves rows out, by their number.
    pub(super) of: Range<usize>,
}

/// How an entry is joined with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Comma,
    Inner,
    Left,
    Right,
    Full,
}

/// So many of the sub-queries of a WITH are looked through for a name.
const EXPRESSIONS_MAX: usize = 1024;

/// Words in front of JOIN.
const BEFORE_JOIN: [&str; 7] = ["NATURAL", "LEFT", "RIGHT", "FULL", "OUTER", "INNER", "CROSS"];

impl Joined {
    /// With the entries of another list, all of which are joined with these.
    pub(super) fn and(mut self, other: Self) -> Self {
        let before = self.entries.len();
        self.entries.extend(other.entries);
        self.inner.extend(other.inner);
        self.outer.extend(
            other
                .outer
                .into_iter()
                .map(|on| On { of: on.of.start + before..on.of.end + before, ..on }),
        );
        self
    }

    /// Whether some rows can be without a partner.
    pub(super) fn is_outer(&self) -> bool {
        !self.outer.is_empty() || self.entries.iter().any(|named| named.missing)
    }

    fn lose(&mut self, range: Range<usize>) {
        for named in self.entries.get_mut(range).into_iter().flatten() {
            named.missing = true;
        }
    }
}

impl Reader<'_> {
    /// The entries of a FROM, an UPDATE's tables, or a USING.
    pub(super) fn joined(&mut self, range: Range<usize>, depth: usize) -> Joined {
        let mut found = Joined::default();
        // Where the entries begin that a join has on its left.
        let mut left = 0;
        let mut how = How::Comma;
        let mut nested = false;
        let mut at = range.start;
        while at < range.end {
            if self.source.is_any(at, &["ONLY", "LATERAL"]) {
                at += 1;
                continue;
            }
            let before = found.entries.len();
            at = if self.source.punct(at, b'(') {
                self.group(at, depth, &mut found)
            } else {
                self.entry(at, range.end, &mut found)
            };
            let behind = found.entries.len();
            match how {
                // SQLite joins from left to right, whatever stands between.
                How::Comma if self.source.dialect != Dialect::Sqlite => left = before,
                How::Comma | How::Inner => {}
                How::Left => found.lose(before..behind),
                How::Right => found.lose(left..before),
                How::Full => found.lose(left..behind),
            }
            let (next, joins) = self.next_entry(at..range.end);
            let begin = joins.map_or(next, |_| self.before_join(at, next));
            let conditions = self.conditions(at..begin.max(at));
            nested |= conditions.len() > 1;
            let of = match how {
                How::Comma | How::Inner => None,
                How::Left => Some(before..behind),
                How::Right => Some(left..before),
                // Of neither side is any row left out.
                How::Full => Some(0..0),
            };
            match of {
                None => found.inner.extend(conditions),
                Some(of) => found.outer.extend(
                    conditions.into_iter().map(|condition| On { condition, of: of.clone() }),
                ),
            }
            how = joins.unwrap_or(How::Comma);
            at = next + 1;
        }
        if nested && found.is_outer() {
            // `a LEFT JOIN b JOIN c ON … ON …`: which ON is whose is the server's to say.
            let all = found.entries.len();
            found.lose(0..all);
            let inner = std::mem::take(&mut found.inner).into_iter();
            found.outer.iter_mut().for_each(|on| on.of = 0..0);
            found.outer.extend(inner.map(|condition| On { condition, of: 0..0 }));
        }
        found
    }

    /// The comma or JOIN before the next entry, and how it is joined.
    fn next_entry(&self, range: Range<usize>) -> (usize, Option<How>) {
        for at in self.flat(range.clone()) {
            if self.source.punct(at, b',') {
                return (at, None);
            }
            let name = at > range.start && self.source.punct(at - 1, b'.');
            if !name && self.source.is_any(at, &["JOIN", "STRAIGHT_JOIN"]) {
                let begin = self.before_join(range.start, at);
                let has = |word: &str| (begin..at).any(|one| self.source.is(one, word));
                let how = match () {
                    () if has("FULL") => How::Full,
                    () if has("LEFT") => How::Left,
                    () if has("RIGHT") => How::Right,
                    () => How::Inner,
                };
                return (at, Some(how));
            }
        }
        (range.end, None)
    }

    /// Where the words in front of a JOIN begin.
    fn before_join(&self, from: usize, join: usize) -> usize {
        let mut begin = join;
        while begin > from && self.source.is_any(begin - 1, &BEFORE_JOIN) {
            begin -= 1;
        }
        begin
    }

    /// The conditions of an ON, or of several one behind the other.
    fn conditions(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let is_on = |at: &usize| {
            self.source.is(*at, "ON") && !(*at > range.start && self.source.punct(*at - 1, b'.'))
        };
        let on: Vec<usize> = self.flat(range.clone()).into_iter().filter(is_on).collect();
        let end = |number: usize| on.get(number + 1).copied().unwrap_or(range.end);
        on.iter().enumerate().map(|(number, at)| at + 1..end(number)).collect()
    }

    /// `(SELECT …) s`, or `(a JOIN b ON …)`.
    fn group(&mut self, open: usize, depth: usize, found: &mut Joined) -> usize {
        let inside = self.inside(open);
        let behind = self.behind(open);
        if self.is_query(open) {
            let output = self.query(open, Role::Derived, depth);
            let (alias, columns, at) = self.alias(behind);
            self.defined.extend(behind..at);
            let called = alias.unwrap_or_default();
            let rows = Rows::Query(Box::new(output.renamed(columns)));
            found.entries.push(Named { called, rows, missing: false, renamed: false });
            return at;
        }
        if depth < LOOKS_MAX {
            let inner = self.joined(inside, depth + 1);
            *found = std::mem::take(found).and(inner);
        }
        // An alias of the whole would hide what is in it.
        let (alias, _, at) = self.alias(behind);
        if alias.is_some() {
            let all = found.entries.len();
            found.lose(0..all);
            found.outer.iter_mut().for_each(|on| on.of = 0..0);
        }
        at
    }

    fn entry(&mut self, at: usize, end: usize, found: &mut Joined) -> usize {
        let mut cursor = self.source.cursor(at);
        let Some(name) = cursor.name() else { return at + 1 };
        cursor.eat_punct(b'*');
        if self.source.punct(cursor.at, b'(') {
            let (alias, _, behind) = self.alias(self.behind(cursor.at));
            self.defined.extend(self.behind(cursor.at)..behind);
            let called = alias.unwrap_or_else(|| name.last().to_owned());
            let rows = Rows::Other;
            found.entries.push(Named { called, rows, missing: false, renamed: false });
            return behind;
        }
        let (alias, columns, behind) =
            if cursor.at < end { self.alias(cursor.at) } else { (None, Vec::new(), cursor.at) };
        self.defined.extend(at..behind);
        let renamed = !columns.is_empty();
        let own = (name.parts.len() == 1).then(|| self.expression(name.last())).flatten();
        let called = alias.unwrap_or_else(|| name.last().to_owned());
        let rows = match own {
            Some(output) => Rows::Query(Box::new(output.renamed(columns))),
            None => Rows::Table(name),
        };
        found.entries.push(Named { called, rows, missing: false, renamed });
        behind
    }

    /// What a WITH of this name holds.
    fn expression(&self, name: &str) -> Option<Output> {
        let near = self.expressions.iter().rev().take(EXPRESSIONS_MAX);
        let found = near.into_iter().find(|(known, _)| known == name)?;
        Some(found.1.clone())
    }

    /// An alias with the new names of columns, and what comes behind it.
    pub(super) fn alias(&self, at: usize) -> (Option<String>, Vec<String>, usize) {
        let mut cursor = self.source.cursor(at);
        let said = cursor.eat("AS");
        let is_alias = said
            || self.source.kind(at) == Some(crate::sql::lex::Kind::Quoted)
            || (self.source.word(at).is_some() && !self.source.is_any(at, &NO_ALIAS));
        if !is_alias {
            return (None, Vec::new(), at);
        }
        let alias = cursor.name().map(|name| name.last().to_owned());
        if alias.is_none() || !self.source.punct(cursor.at, b'(') {
            return (alias, Vec::new(), cursor.at);
        }
        let mut list = self.source.cursor(cursor.at + 1);
        let columns = list.names().iter().map(|name| name.last().to_owned()).collect();
        (alias, columns, self.behind(cursor.at))
    }
}
