//! What a statement reads of tables that are written chunk by chunk.
//!
//! Run in one go, a statement sees what was there before it; chunk by chunk it sees what earlier
//! chunks have written. So what is written must not be read of other rows than the chunk's own.
//! Taken are: a row that is tied to the chunk's row by its key; columns that nothing writes; an
//! INSERT that looks whether its row is there, and gives no row twice; and a DELETE of rows that have
//! a better one, where the best one always stays.

use std::collections::BTreeSet;
use std::ops::Range;

use dunlin_model::{Dialect, Verb};

use super::Reader;
use super::columns::Scope;
use super::sources::{Joined, Rows};
use super::spread::Spread;
use crate::sql::facts::source::Name;
use crate::sql::lex::Kind;

/// Columns of a table, each with the column of the walked one that it is equal to.
pub(super) type Ties = BTreeSet<(String, String)>;

/// What a query asks for before a row is added: whether there is one like it.
#[derive(Debug, Clone)]
struct Absent {
    /// Where the query begins.
    start: usize,
    /// Columns of the table, each with what it is compared with; by their place behind an EXCEPT.
    pairs: Vec<(String, Option<Vec<String>>)>,
}

/// A table that a query reads.
#[derive(Debug, Clone)]
pub(super) struct Look {
    table: Vec<String>,
    /// Its byte in the statement.
    start: usize,
    kind: LookKind,
    /// The columns that may be read of it, folded; `None`: all.
    columns: Option<BTreeSet<String>>,
    /// Columns of it that are equal to columns of the chunk's row.
    ties: Ties,
    /// It is asked whether a row is there that is equal in all of these.
    absent: Option<Absent>,
    /// The alias of a row that is asked for a better one of its table, in the query in the
    /// parentheses that open here.
    better: Option<(String, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LookKind {
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

/// A write.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    pub(super) verb: Verb,
    pub(super) table: Vec<String>,
    /// The same as it is written.
    pub(super) written: String,
    /// For an UPDATE the columns that it assigns; empty: any.
    pub(super) columns: BTreeSet<String>,
    /// What is changed are the chunk's rows, or new ones.
    pub(super) own: bool,
    /// What an INSERT adds.
    pub(super) adds: Added,
    /// What its rows are called, and where the queries of its `EXISTS (…)` open.
    pub(super) called: String,
    pub(super) exists: Vec<usize>,
    /// Columns of a changed row that are equal to columns of the chunk's row.
    pub(super) ties: Ties,
}

/// What an INSERT adds.
#[derive(Debug, Clone, Default)]
pub(super) struct Added {
    /// The columns that it names.
    pub(super) columns: Vec<String>,
    /// What its query gives, where that is a name.
    pub(super) names: Vec<Option<Vec<String>>>,
    /// Columns of the walked table that are among them, and may be NULL for all that is read here.
    pub(super) solid: BTreeSet<String>,
    /// No row is given twice.
    pub(super) apart: bool,
    /// Where its NOT EXISTS and EXCEPT begin.
    pub(super) absent: Vec<usize>,
}

impl Deed {
    /// Columns of the walked table that are the same in what is read and what is written.
    fn shared(&self, look: &Ties) -> BTreeSet<String> {
        if self.own && self.verb != Verb::Insert {
            // The row itself, whatever else is equal.
            return look
                .iter()
                .filter(|(one, other)| one == other)
                .map(|(one, _)| one.clone())
                .collect();
        }
        self.ties.intersection(look).map(|(_, column)| column.clone()).collect()
    }

    /// The same where the chunk's own row is read.
    fn same(&self) -> BTreeSet<String> {
        self.ties.iter().filter(|(one, other)| one == other).map(|(one, _)| one.clone()).collect()
    }

    /// Whether an INSERT that asks first adds each row once, in whatever chunk; gives the columns that
    /// must not be NULL for that.
    fn asks(&self, look: &Look) -> Option<BTreeSet<String>> {
        let absent = look.absent.as_ref()?;
        let added = &self.adds;
        if !added.apart || !added.absent.contains(&absent.start) {
            return None;
        }
        let by_place = absent.pairs.iter().all(|(_, theirs)| theirs.is_none());
        if by_place {
            let columns: Vec<&String> = absent.pairs.iter().map(|(mine, _)| mine).collect();
            let same =
                added.columns.is_empty() || added.columns.iter().collect::<Vec<_>>() == columns;
            return (same && columns.len() == added.names.len()).then(BTreeSet::new);
        }
        let compared = |name: &Vec<String>, column: Option<&String>| {
            absent.pairs.iter().any(|(mine, theirs)| {
                column.is_none_or(|column| column == mine)
                    && theirs.as_ref().is_some_and(|theirs| theirs.last() == name.last())
            })
        };
        let each = added.names.iter().enumerate().all(|(number, name)| {
            name.as_ref().is_some_and(|name| compared(name, added.columns.get(number)))
        });
        (each && absent.pairs.len() == added.names.len()).then(|| added.solid.clone())
    }
}

/// Whether two names can mean one table. Without a schema they may.
pub(super) fn is_same_table(one: &[String], other: &[String]) -> bool {
    let mut pairs = one.iter().rev().zip(other.iter().rev());
    !one.is_empty() && !other.is_empty() && pairs.all(|(one, other)| one == other)
}

/// What each statement of a file reads of what any of them writes.
pub(in crate::sql) fn meetings(readers: &[Reader<'_>]) -> Vec<(usize, Spread)> {
    let mut found = Vec::new();
    for (number, reader) in readers.iter().enumerate() {
        for look in &reader.looks {
            for (other, writer) in readers.iter().enumerate() {
                for (deed_number, deed) in writer.deeds.iter().enumerate() {
                    let here = (number == other).then_some(deed_number);
                    if let Some(met) = meet(look, deed, here) {
                        found.push((number, spread_of(look, met)));
                    }
                }
            }
        }
    }
    found
}

/// What must be told apart, if what is read may be what is written.
fn meet(look: &Look, deed: &Deed, here: Option<usize>) -> Option<Met> {
    if !is_same_table(&look.table, &deed.table) {
        return None;
    }
    let touched = match (&look.columns, deed.verb) {
        (Some(read), Verb::Update) => {
            deed.columns.is_empty() || deed.columns.iter().any(|column| read.contains(column))
        }
        _ => true,
    };
    if !touched {
        return None;
    }
    let met = |within| Some(Met { within, solid: None });
    match look.kind {
        LookKind::Chunk if deed.own => None,
        LookKind::Chunk => met(deed.same()),
        LookKind::Target(from, to) if here.is_some_and(|here| (from..to).contains(&here)) => None,
        LookKind::Other if here.is_some() && deed.verb == Verb::Insert => {
            Some(Met { within: deed.shared(&look.ties), solid: deed.asks(look) })
        }
        LookKind::Other if here.is_some() && deed.verb == Verb::Delete && deed.own => {
            let better = look
                .better
                .as_ref()
                .is_some_and(|(of, open)| *of == deed.called && deed.exists.contains(open));
            if better { None } else { met(deed.shared(&look.ties)) }
        }
        LookKind::Target(..) | LookKind::Other => met(deed.shared(&look.ties)),
    }
}

/// What makes it right to read what is written.
struct Met {
    /// It is the chunk's row if the key is among these columns.
    within: BTreeSet<String>,
    /// Or if these are never NULL.
    solid: Option<BTreeSet<String>>,
}

fn spread_of(look: &Look, met: Met) -> Spread {
    Spread {
        rule: "chunk-reads-written",
        message: "this reads rows which other chunks write: run at once the statement would see what was \
                  there before, and a chunk sees what earlier ones have made of it",
        help: "tie it to the chunk's row by its whole key, both sides with their alias (t.post_id = \
               p.id), and by the column that the key is written to; or keep what is to be read first, \
               in a column or a table that nothing here writes; in a DELETE of duplicates ask for a \
               better row (EXISTS (… b.link = a.link AND b.id < a.id)); in an INSERT give each row once \
               and compare all of its columns, none of them NULL (SELECT DISTINCT p.tag … AND NOT \
               EXISTS (… t.tag = p.tag)), or leave that to ON CONFLICT DO NOTHING",
        start: look.start,
        within: met.within,
        solid: met.solid,
    }
}

/// The tables that a statement writes, other than this one, as they are written.
pub(in crate::sql) fn written(reader: &Reader<'_>, table: &[String]) -> BTreeSet<String> {
    let others = reader.deeds.iter().filter(|deed| !is_same_table(&deed.table, table));
    others.map(|deed| deed.written.clone()).collect()
}

impl Reader<'_> {
    /// Notes the tables that a query reads. `targets` are those of its sources that it changes; `from`
    /// is the number of its first write.
    pub(super) fn look(
        &mut self,
        joined: &Joined,
        scope: &Scope,
        whole: &Range<usize>,
        targets: &[usize],
        from: usize,
    ) {
        let mut ties = self.ties(joined, scope);
        ties.extend(self.member_tie(whole));
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
            let tied = self.tied(&named.called, alone, &ties, scope);
            let columns = if named.renamed { None } else { self.names_of(&named.called, whole) };
            self.looks.push(Look {
                table: self.table_parts(name),
                start: self.source.tokens.get(whole.start).map_or(0, |token| token.start()),
                kind,
                columns,
                ties: tied,
                absent: absent.clone(),
                better: better.clone(),
            });
        }
    }

    /// Equalities of a query's rows: its own, and those of any of its joins.
    fn ties(&self, joined: &Joined, scope: &Scope) -> Vec<(Vec<String>, Vec<String>)> {
        let mut ties = scope.equal.clone();
        for on in joined.inner.iter().chain(&joined.outer) {
            let parts = self.all_of(on.clone());
            ties.extend(parts.into_iter().filter_map(|part| self.equality(part)));
        }
        ties
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
            let ends = from + 1 < whole.end && condition.is_none();
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
    fn names_of(&self, called: &str, whole: &Range<usize>) -> Option<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut at = whole.start;
        while at < whole.end {
            if self.source.punct(at, b'*') && self.is_star(at, called) {
                return None;
            }
            let word = matches!(self.source.kind(at), Some(Kind::Word | Kind::Quoted));
            let mut cursor = self.source.cursor(at);
            let Some(name) = cursor.name().filter(|_| word) else {
                at += 1;
                continue;
            };
            let behind = cursor.at;
            match name.parts.as_slice() {
                [only] if only == called => {
                    let before = at.checked_sub(1).and_then(|at| self.source.kind(at));
                    let is_row = matches!(before, Some(Kind::Punct(_)));
                    if is_row && !self.source.punct(behind, b'.') {
                        return None;
                    }
                }
                [only] if !self.is_assigned(at, behind) => {
                    found.insert(only.clone());
                }
                [.., of, column] if of == called => {
                    found.insert(column.clone());
                }
                _ => {}
            }
            at = behind.max(at + 1);
        }
        Some(found)
    }

    /// `*` or `p.*`, and not `count(*)` or a product.
    fn is_star(&self, at: usize, called: &str) -> bool {
        let Some(before) = at.checked_sub(1) else { return false };
        if self.source.punct(before, b'.') {
            let of = before.checked_sub(1).and_then(|at| self.source.cursor(at).name());
            return of.is_none_or(|of| of.parts.first().is_some_and(|of| of == called));
        }
        self.source.is_any(before, &["SELECT", "DISTINCT", "ALL", "RETURNING"])
            || self.source.punct(before, b',')
    }

    /// `SET a = …`, `, a = …`
    fn is_assigned(&self, at: usize, behind: usize) -> bool {
        let begins = at
            .checked_sub(1)
            .is_some_and(|at| self.source.is(at, "SET") || self.source.punct(at, b','));
        begins && self.source.punct(behind, b'=')
    }

    /// Whether a query asks for a better row: one that is equal in some columns and less or greater
    /// in one.
    fn better(&self, joined: &Joined, whole: &Range<usize>) -> Option<(String, usize)> {
        const MORE: [&str; 8] =
            ["GROUP", "HAVING", "LIMIT", "OFFSET", "FETCH", "UNION", "EXCEPT", "INTERSECT"];
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
