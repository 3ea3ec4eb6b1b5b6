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
use super::sources::{Joined, Named, Rows};
use super::spread::Spread;
use crate::sql::facts::source::Name;
use crate::sql::lex::Kind;

/// A table that a query reads.
#[derive(Debug, Clone)]
pub(super) struct Look {
    table: Vec<String>,
    /// Its byte in the statement.
    start: usize,
    kind: LookKind,
    /// The columns that may be read of it, folded; `None`: all.
    columns: Option<BTreeSet<String>>,
    /// Columns of the table that is walked, of the chunk's row, to which its rows are tied.
    within: BTreeSet<String>,
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
    /// For an UPDATE the columns that it assigns; empty: any.
    pub(super) columns: BTreeSet<String>,
    /// What is changed are the chunk's rows, or new ones.
    pub(super) own: bool,
    /// It adds no row that is there.
    pub(super) looks_first: bool,
    /// What its rows are called, and where the queries of its `EXISTS (…)` open.
    pub(super) called: String,
    pub(super) exists: Vec<usize>,
    /// Columns of the table that is walked in which a changed row is the chunk's.
    pub(super) same: BTreeSet<String>,
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
                    if let Some(within) = meet(look, deed, here) {
                        found.push((number, spread_of(look, within)));
                    }
                }
            }
        }
    }
    found
}

/// The columns that must be the key's, if what is read may be what is written.
fn meet(look: &Look, deed: &Deed, here: Option<usize>) -> Option<BTreeSet<String>> {
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
    match look.kind {
        LookKind::Chunk if deed.own => None,
        LookKind::Chunk => Some(deed.same.clone()),
        LookKind::Target(from, to) if here.is_some_and(|here| (from..to).contains(&here)) => None,
        LookKind::Target(..) => Some(look.within.clone()),
        LookKind::Other => {
            let first = deed.verb == Verb::Insert && deed.looks_first && here.is_some();
            let better = look.better.as_ref().is_some_and(|(of, open)| {
                deed.verb == Verb::Delete
                    && deed.own
                    && here.is_some()
                    && *of == deed.called
                    && deed.exists.contains(open)
            });
            (!first && !better).then(|| look.within.clone())
        }
    }
}

fn spread_of(look: &Look, within: BTreeSet<String>) -> Spread {
    Spread {
        rule: "chunk-reads-written",
        message: "this reads rows which other chunks write: run at once the statement would see what was \
                  there before, and a chunk sees what earlier ones have made of it",
        help: "tie it to the chunk's row by its whole key, both sides with their alias (t.post_id = \
               p.id); or keep what is to be read first, in a column or a table that nothing here \
               writes; in a DELETE of duplicates ask for a better row (EXISTS (… b.link = a.link AND \
               b.id < a.id)); in an INSERT take each row once (SELECT DISTINCT … AND NOT EXISTS (…), \
               or ON CONFLICT DO NOTHING)",
        start: look.start,
        within,
        solid: None,
    }
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
        let ties = self.ties(joined, scope);
        let better = self.better(joined, whole);
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
            let within = self.tied(named, name, alone, &ties, scope);
            let columns = if named.renamed { None } else { self.names_of(&named.called, whole) };
            self.looks.push(Look {
                table: self.table_parts(name),
                start: self.source.tokens.get(whole.start).map_or(0, |token| token.start()),
                kind,
                columns,
                within,
                better: better.clone(),
            });
        }
    }

    /// Equalities of a query's rows: its own, and those of any of its joins.
    fn ties(
        &self,
        joined: &Joined,
        scope: &Scope,
    ) -> Vec<(Vec<String>, Vec<String>)> {
        let mut ties = scope.equal.clone();
        for on in joined.inner.iter().chain(&joined.outer) {
            let parts = self.all_of(on.clone());
            ties.extend(parts.into_iter().filter_map(|part| self.equality(part)));
        }
        ties
    }

    /// The columns of the chunk's row to which a source's rows are tied.
    fn tied(
        &self,
        named: &Named,
        name: &Name,
        alone: bool,
        ties: &[(Vec<String>, Vec<String>)],
        scope: &Scope,
    ) -> BTreeSet<String> {
        let walked = self.is_walked(name);
        let mut within = BTreeSet::new();
        for (one, other) in ties {
            for (mine, theirs) in [(one, other), (other, one)] {
                let is_mine = match mine.as_slice() {
                    [_] => alone,
                    [.., of, _] => *of == named.called,
                    [] => false,
                };
                let [.., of, column] = theirs.as_slice() else { continue };
                if !is_mine || *of == named.called {
                    continue;
                }
                let Some(column) = self.of_chunk(of, column, scope) else { continue };
                if !walked || mine.last() == Some(&column) {
                    within.insert(column);
                }
            }
        }
        within
    }

    /// Which of the walked table's columns a name is, of the chunk's row here or around.
    fn of_chunk(&self, of: &str, column: &str, scope: &Scope) -> Option<String> {
        let parts = [of.to_owned(), column.to_owned()];
        if scope.names.iter().any(|name| name == of) {
            let own = scope.chunk.iter().any(|(called, _)| called == of);
            return own.then(|| scope.column(&parts)).flatten();
        }
        let around = self.around.iter().rev().find(|one| one.names.iter().any(|name| name == of))?;
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
