//! INSERT: what it adds, and what it does to rows that are there already.

use std::collections::BTreeSet;
use std::ops::Range;

use dunlin_model::Verb;

use super::columns::{Output, Scope};
use super::combine::{Part, Sums};
use super::known::Caught;
use super::looks::{Look, LookKind};
use super::meet::{Added, Deed, Over, Ties};
use super::spread::Combined;
use super::writes::Twice;
use super::{Reader, Role};
use crate::sql::facts::source::Name;

/// The parts of an INSERT.
struct Insert {
    target: Name,
    /// What its table is called.
    names: Vec<String>,
    /// The columns that it names.
    columns: Vec<String>,
    /// Its query.
    query: Range<usize>,
    /// From the ON CONFLICT on.
    conflict: Range<usize>,
    returning: Option<usize>,
    there: There,
}

/// What it does where a row is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
struct There {
    does: Does,
    /// The columns by which the row is found, where the statement says so.
    by: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Does {
    /// It fails.
    Fail,
    /// The row stays.
    Keep,
    /// The new one takes its place.
    Replace,
    /// Columns are assigned: DO UPDATE SET, ON DUPLICATE KEY UPDATE; from here on.
    Set(Range<usize>),
    /// Several of these, or only for some of the rows.
    Several,
}

impl Reader<'_> {
    pub(super) fn insert(&mut self, range: Range<usize>, depth: usize) -> Output {
        let Some(insert) = self.insert_parts(&range) else { return Output::default() };
        let before = self.looks.len();
        let output = self.level(insert.query.clone(), Role::Top, depth + 1);
        if !output.confined {
            self.unbound = true;
        }
        let parts = self.table_parts(&insert.target);
        let sums = output.sums.as_ref().filter(|_| insert.returning.is_none());
        let sums = sums.filter(|sums| {
            let conflict = insert.conflict.clone();
            self.upsert_adds(sums, &insert.names, &insert.columns, conflict)
        });
        if let Some(sums) = sums {
            let caught = vec![caught_groups(&insert, &parts, sums)];
            let combined = Combined { solid: sums.solid.clone(), caught };
            self.sink.combined.insert(sums.start, combined);
        }
        let finds = match &insert.there.does {
            Does::Keep | Does::Replace => true,
            Does::Set(set) => self.takes_over(set.clone(), &insert, &output),
            Does::Fail | Does::Several => false,
        };
        let looks =
            output.apart && self.looks.iter().skip(before).any(|look| look.is_other_of(&parts));
        self.sink.writes = true;
        self.sink.inserts |= !(finds || looks);
        if finds && !looks {
            self.sink.caught.push(caught(&insert, &parts, &output));
        }
        let adds_up = sums.map(|sums| {
            let parts: Vec<Part> = sums.columns.iter().map(|(_, part)| *part).collect();
            format!("{:?}", (&insert.columns, parts, &insert.there.by))
        });
        let deed = self.inserted(&range, &insert, &output, adds_up);
        self.look_for_there(&insert, &deed);
        self.deeds.push(deed);
        self.expressions_in(insert.query.end..range.end, depth);
        let Some(at) = insert.returning else { return Output::default() };
        let given = output.columns.into_iter().map(|(_, column)| column);
        let named = insert.columns.into_iter().map(Some).zip(given).collect();
        let rows =
            Output { confined: true, columns: named, told: output.told, ..Output::default() };
        let mut scope = Scope::default();
        scope.add(0, insert.target.last(), rows);
        self.output(&self.items(at + 1..range.end), &scope)
    }

    fn insert_parts(&self, range: &Range<usize>) -> Option<Insert> {
        const QUERY: [&str; 4] = ["SELECT", "WITH", "VALUES", "TABLE"];
        let (at, twice) = self.modifiers(range.start + 1);
        let mut cursor = self.source.cursor(at);
        let target = cursor.name()?;
        let alias = cursor.eat("AS").then(|| cursor.name()).flatten();
        let flat = self.flat(cursor.at..range.end);
        let begins = |at: &&usize| self.source.is_any(**at, &QUERY) || self.is_query(**at);
        let begin = flat.iter().find(begins).copied().unwrap_or(range.end);
        let columns: Vec<String> = if self.source.punct(cursor.at, b'(') && cursor.at < begin {
            let names = self.source.cursor(cursor.at + 1).names();
            names.iter().map(|name| name.last().to_owned()).collect()
        } else {
            Vec::new()
        };
        let ends = |at: &&usize| {
            **at > begin && (self.source.is(**at, "RETURNING") || self.is_conflict(**at))
        };
        let end = flat.iter().find(ends).copied().unwrap_or(range.end);
        let returning =
            flat.iter().copied().find(|at| *at >= end && self.source.is(*at, "RETURNING"));
        let conflict = end..returning.unwrap_or(range.end);
        let there = self.there(conflict.clone(), twice);
        let names = [Some(&target), alias.as_ref()].into_iter().flatten();
        let names = names.map(|name| name.last().to_owned()).collect();
        Some(Insert { target, names, columns, query: begin..end, conflict, returning, there })
    }

    fn is_conflict(&self, at: usize) -> bool {
        self.source.is(at, "ON") && self.source.is_any(at + 1, &["CONFLICT", "DUPLICATE"])
    }

    /// What an ON CONFLICT or ON DUPLICATE KEY says, or else a word before.
    fn there(&self, conflict: Range<usize>, twice: Option<Twice>) -> There {
        let by_word = match twice {
            Some(Twice::Left) => Does::Keep,
            Some(Twice::Replaced) => Does::Replace,
            None => Does::Fail,
        };
        let flat = self.flat(conflict.clone());
        let of_clause = |does| There { does, by: None };
        if flat.is_empty() {
            return of_clause(by_word);
        }
        if self.source.are(conflict.start + 1, &["DUPLICATE", "KEY", "UPDATE"]) {
            return of_clause(Does::Set(conflict.start + 4..conflict.end));
        }
        let open = conflict.start + 2;
        let clauses = flat.iter().filter(|at| self.is_conflict(**at)).count();
        let does = flat.iter().copied().find(|at| self.source.is(*at, "DO"));
        // An index with a WHERE finds some of the rows alone.
        let partial =
            |does: usize| flat.iter().any(|at| *at < does && self.source.is(*at, "WHERE"));
        let Some(does) = does.filter(|does| clauses == 1 && !partial(*does)) else {
            return of_clause(Does::Several);
        };
        let by = self.source.punct(open, b'(').then(|| {
            let items = self.items(self.inside(open));
            let names = items.into_iter().map(|item| self.only_name(item)?.pop());
            names.collect::<Option<Vec<String>>>()
        });
        let does = if self.source.is(does + 1, "NOTHING") {
            Does::Keep
        } else {
            Does::Set((does + 3).min(conflict.end)..conflict.end)
        };
        There { does, by: by.flatten() }
    }

    /// Whether an upsert puts the new values in the place of those that are there: then the row is the
    /// same whether it was there or not.
    fn takes_over(&self, set: Range<usize>, insert: &Insert, output: &Output) -> bool {
        let is_new = |item: &Range<usize>| {
            let Some(equals) = item.clone().find(|at| self.source.punct(*at, b'=')) else {
                return false;
            };
            let Some(column) = self.only_name(item.start..equals).and_then(|mut one| one.pop())
            else {
                return false;
            };
            let value = equals + 1..item.end;
            let of_call = self.source.is(value.start, "VALUES")
                && self.source.punct(value.start + 1, b'(')
                && self.behind(value.start + 1) == value.end;
            let given = if of_call {
                self.only_name(self.inside(value.start + 1))
            } else {
                let excluded = self.only_name(value.clone());
                excluded.filter(|parts| {
                    parts.len() == 2 && parts.first().is_some_and(|of| of == "excluded")
                })
            };
            if let Some(parts) = given {
                return parts.last() == Some(&column);
            }
            let place = insert.columns.iter().position(|name| *name == column);
            let inserted = place.and_then(|place| output.constants.get(place)?.clone());
            inserted.is_some() && inserted == self.constant(&value)
        };
        let free = !self.flat(set.clone()).iter().any(|at| self.source.is(*at, "WHERE"));
        free && self.items(set).iter().all(is_new)
    }

    fn inserted(
        &self,
        range: &Range<usize>,
        insert: &Insert,
        output: &Output,
        adds_up: Option<String>,
    ) -> Deed {
        let over = match (&insert.there.does, &insert.there.by) {
            (Does::Fail | Does::Keep, _) => Over::No,
            (Does::Set(_), Some(by)) => Over::By(by.clone()),
            (Does::Set(_) | Does::Replace | Does::Several, _) => Over::Any,
        };
        let ties: Ties = insert
            .columns
            .iter()
            .zip(&output.columns)
            .filter_map(|(name, (_, column))| Some((name.clone(), column.clone()?)))
            .collect();
        let first = adds_up.is_none().then(|| first_counts(insert, output, &ties)).flatten();
        Deed {
            verb: Verb::Insert,
            table: self.table_parts(&insert.target),
            written: insert.target.written.clone(),
            start: self.source.tokens.get(range.start).map_or(0, |token| token.start()),
            columns: BTreeSet::new(),
            own: false,
            called: insert.target.last().to_owned(),
            exists: Vec::new(),
            ties,
            adds: Added {
                columns: insert.columns.clone(),
                names: output.names.clone(),
                constants: output.constants.clone(),
                solid: output.solid.clone(),
                whole: insert.columns.is_empty() && output.all && output.names.as_slice() == [None],
                apart: output.apart,
                absent: output.absent.clone(),
                over,
                first,
                adds_up,
            },
            merges: false,
            cascade: None,
        }
    }

    /// Whether a row is there already is read as well.
    fn look_for_there(&mut self, insert: &Insert, deed: &Deed) {
        if insert.there.does == Does::Fail {
            return;
        }
        let named = |at: usize| self.source.cursor(at).name().and_then(|mut name| name.parts.pop());
        let columns = insert.there.by.as_ref().map(|by| {
            let read = insert.conflict.clone().filter_map(named);
            by.iter().cloned().chain(read).collect()
        });
        let number = self.deeds.len();
        self.looks.push(Look {
            table: deed.table.clone(),
            written: deed.written.clone(),
            start: deed.start,
            kind: LookKind::Target(number, number + 1),
            columns,
            ties: deed.ties.clone(),
            absent: None,
            better: None,
            adds_up: deed.adds.adds_up.clone(),
        });
    }
}

/// Which of several rows comes first counts where more is written than what they are found by. The
/// columns of the walked table that those rows share; where the statement doesn't say by which columns
/// rows are found, that is not known.
fn first_counts(insert: &Insert, output: &Output, ties: &Ties) -> Option<BTreeSet<String>> {
    if insert.there.does == Does::Fail {
        return None;
    }
    let Some(by) = &insert.there.by else { return Some(BTreeSet::new()) };
    let is_same = |(place, name): (usize, &String)| {
        by.contains(name) || output.constants.get(place).is_some_and(Option::is_some)
    };
    let named = !insert.columns.is_empty();
    if named && insert.columns.iter().enumerate().all(is_same) {
        return None;
    }
    Some(ties.iter().filter(|(name, _)| by.contains(name)).map(|(_, one)| one.clone()).collect())
}

/// What finds the rows of an INSERT that are there already.
fn caught(insert: &Insert, table: &[String], output: &Output) -> Caught {
    let columns = insert.columns.iter().cloned().map(Some).chain(std::iter::repeat(None));
    let given = columns.zip(output.nulls.iter().cloned()).collect();
    Caught { table: table.to_vec(), by: insert.there.by.clone(), given, index: true }
}

/// The same of the groups of a sum: what they share finds them.
fn caught_groups(insert: &Insert, table: &[String], sums: &Sums) -> Caught {
    let columns = insert.columns.iter().cloned().map(Some).chain(std::iter::repeat(None));
    let given = columns.zip(sums.nulls.iter().cloned()).zip(&sums.columns);
    let shared = given.map(|((name, nulls), (_, part))| match part {
        Part::Shared => (name, nulls),
        // No index that has a sum finds the group.
        _ => (Some(String::new()), nulls),
    });
    Caught {
        table: table.to_vec(),
        by: insert.there.by.clone(),
        given: shared.collect(),
        index: true,
    }
}
