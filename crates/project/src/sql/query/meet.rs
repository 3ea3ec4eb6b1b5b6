//! Where statements meet: what one reads or writes and another writes.
//!
//! Run in one go, all of a file's first statement comes before all of its second; chunk by chunk the
//! first statement of a later chunk comes behind the second one of an earlier. That makes no
//! difference where both are about rows of one chunk alone, which the key tells.

use std::collections::BTreeSet;

use dunlin_model::Verb;

use super::Reader;
use super::known::{Cascade, Known};
use super::looks::{Look, LookKind};
use super::nulls::unknown;
use super::spread::Spread;

/// Columns of a table, each with the column of the walked one that it is equal to.
pub(super) type Ties = BTreeSet<(String, String)>;

/// A write.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    pub(super) verb: Verb,
    pub(super) table: Vec<String>,
    /// The same as it is written.
    pub(super) written: String,
    /// Its byte in the statement.
    pub(super) start: usize,
    /// For an UPDATE the columns that it assigns; empty: any.
    pub(super) columns: BTreeSet<String>,
    /// What is changed are the chunk's rows.
    pub(super) own: bool,
    /// What an INSERT adds.
    pub(super) adds: Added,
    /// What its rows are called, and where the queries of its `EXISTS (…)` open.
    pub(super) called: String,
    pub(super) exists: Vec<usize>,
    /// Columns of a changed row that are equal to columns of the chunk's row, before and after.
    pub(super) ties: Ties,
    /// It is one of the WHENs of a MERGE, of which each row has one.
    pub(super) merges: bool,
    /// The foreign key that brings it about.
    pub(super) cascade: Option<String>,
}

/// What an INSERT adds.
#[derive(Debug, Clone, Default)]
pub(super) struct Added {
    /// The columns that it names.
    pub(super) columns: Vec<String>,
    /// What its query gives, where that is a name.
    pub(super) names: Vec<Option<Vec<String>>>,
    /// The same where it is a constant.
    pub(super) constants: Vec<Option<String>>,
    /// Columns of the walked table that are among them, and may be NULL for all that is read here.
    pub(super) solid: BTreeSet<String>,
    /// They are the rows of the walked table as they are.
    pub(super) whole: bool,
    /// No row is given twice.
    pub(super) apart: bool,
    /// Where its NOT EXISTS and EXCEPT begin.
    pub(super) absent: Vec<usize>,
    /// What it does to rows that are there.
    pub(super) over: Over,
    /// Where a row that is there is no error, and which of several comes first tells: columns of the
    /// walked table that all of those share.
    pub(super) first: Option<BTreeSet<String>>,
    /// What it adds up where a row is there, by which columns, in which: in any order it is the same.
    pub(super) adds_up: Option<String>,
}

/// What an INSERT does to rows that are there already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Over {
    /// Nothing.
    #[default]
    No,
    /// It changes the row that has the same values in these columns.
    By(Vec<String>),
    /// It changes or deletes rows that are the same by any unique index.
    Any,
}

impl Deed {
    /// Columns of the walked table that are the same in what is read and what is written.
    fn shared(&self, look: &Ties) -> BTreeSet<String> {
        if self.own {
            // The row itself, whatever else is equal, by what stays as it is.
            let same = look.iter().filter(|(one, other)| one == other);
            return same
                .map(|(one, _)| one.clone())
                .filter(|one| !self.columns.contains(one))
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
        // What is the same in all rows tells none apart.
        let varies = |number: usize| !matches!(added.constants.get(number), Some(Some(_)));
        let names = added.names.iter().enumerate().filter(|(number, _)| varies(*number));
        let each = names.clone().all(|(number, name)| {
            name.as_ref().is_some_and(|name| compared(name, added.columns.get(number)))
        });
        (each && absent.pairs.len() == names.count()).then(|| added.solid.clone())
    }

    /// What a foreign key does where this deletes or changes the rows that it refers to.
    fn taken_along(&self, cascade: &Cascade) -> Option<Self> {
        let assigns = |name: &String| self.columns.is_empty() || self.columns.contains(name);
        let replaces = self.verb == Verb::Insert && self.adds.over == Over::Any;
        let hit = is_same_table(&self.table, &cascade.parent)
            && match cascade.on {
                Verb::Update => self.verb == Verb::Update && cascade.columns.iter().any(assigns),
                _ => self.verb == Verb::Delete || replaces,
            };
        if !hit {
            return None;
        }
        let walked = |column: &String| -> Vec<String> {
            if self.own {
                return vec![column.clone()];
            }
            let ties = self.ties.iter().filter(|(one, _)| one == column);
            ties.map(|(_, other)| other.clone()).collect()
        };
        let changes = |name: &String| {
            cascade.does == Verb::Update && cascade.pairs.iter().any(|(mine, _)| mine == name)
        };
        let pairs = cascade.pairs.iter().filter(|(mine, _)| !changes(mine));
        let columns = match cascade.does {
            Verb::Update => cascade.pairs.iter().map(|(mine, _)| mine.clone()).collect(),
            _ => BTreeSet::new(),
        };
        Some(Self {
            verb: cascade.does,
            table: cascade.child.clone(),
            written: cascade.child.join("."),
            start: self.start,
            columns,
            own: false,
            adds: Added::default(),
            called: String::new(),
            exists: Vec::new(),
            ties: pairs
                .flat_map(|(mine, theirs)| {
                    walked(theirs).into_iter().map(|one| (mine.clone(), one))
                })
                .collect(),
            merges: false,
            cascade: Some(cascade.what.clone()),
        })
    }
}

/// Whether two names can mean one table. Without a schema they may.
pub(super) fn is_same_table(one: &[String], other: &[String]) -> bool {
    let mut pairs = one.iter().rev().zip(other.iter().rev());
    !one.is_empty() && !other.is_empty() && pairs.all(|(one, other)| one == other)
}

/// So many writes of a statement are looked at, with those of foreign keys.
const DEEDS_MAX: usize = 64;

/// What each statement of a file reads or writes of what any of them writes.
pub(in crate::sql) fn meetings(readers: &[Reader<'_>], known: &Known<'_>) -> Vec<(usize, Spread)> {
    let deeds: Vec<Vec<Deed>> = readers.iter().map(|one| all_deeds(&one.deeds, known)).collect();
    let mut found = Vec::new();
    for (number, reader) in readers.iter().enumerate() {
        for look in &reader.looks {
            for (other, writes) in deeds.iter().enumerate() {
                for (deed_number, deed) in writes.iter().enumerate() {
                    let here = (number == other).then_some(deed_number);
                    let same = known.shares(&look.table, &deed.table);
                    let met = meet(look, deed, here, other < number).filter(|_| same);
                    if let Some(met) = met {
                        let of = (number != other).then_some(other);
                        found.push((number, read_spread(look, deed, met, of)));
                    }
                }
            }
        }
        for (at, deed) in deeds.get(number).into_iter().flatten().enumerate() {
            for (other, writes) in deeds.iter().enumerate().take(number + 1) {
                let before = if other == number { at } else { writes.len() };
                for earlier in writes.iter().take(before) {
                    let of = (number != other).then_some(other);
                    let same = known.shares(&deed.table, &earlier.table);
                    let within = clash(deed, earlier, of.is_none()).filter(|_| same);
                    if let Some(within) = within {
                        found.push((number, written_spread(deed, earlier, within, of)));
                    }
                }
            }
        }
    }
    found
}

/// A statement's writes, with what the server and its foreign keys write along with them.
fn all_deeds(deeds: &[Deed], known: &Known<'_>) -> Vec<Deed> {
    let mut found = deeds.to_vec();
    let mut next = 0;
    while let Some(deed) = found.get_mut(next) {
        if deed.verb == Verb::Update && !deed.columns.is_empty() {
            let computed = known.computed(&deed.table, &deed.columns);
            deed.columns.extend(computed);
        }
        if deed.verb == Verb::Insert && deed.adds.columns.is_empty() {
            deed.adds.columns = known.inserted(&deed.table);
            deed.adds.columns.truncate(deed.adds.names.len());
        }
        let deed = deed.clone();
        for cascade in &known.cascades {
            let along = deed.taken_along(cascade);
            if found.len() < DEEDS_MAX {
                found.extend(along);
            }
        }
        next += 1;
    }
    found
}

/// What makes it right to read what is written.
struct Met {
    /// It is the chunk's row if the key is among these columns.
    within: BTreeSet<String>,
    /// That must be so of each unique index.
    every: bool,
    /// Or if these are never NULL.
    solid: Option<BTreeSet<String>>,
}

/// What must be told apart, if what is read may be what is written, of one table. `here` is the write's number in
/// the statement that reads; `later`: the statement that reads comes behind the one that writes.
fn meet(look: &Look, deed: &Deed, here: Option<usize>, later: bool) -> Option<Met> {
    let adds = look.adds_up.is_some() && look.adds_up == deed.adds.adds_up;
    if adds {
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
    let met = |within| Some(Met { within, every: false, solid: None });
    // Whether the key is among them depends on where rows are added, of which the plan tells more.
    let of_key = |within, every| Some(Met { within, every, solid: Some(unknown()) });
    match look.kind {
        LookKind::Chunk if deed.own => None,
        LookKind::Chunk if deed.verb == Verb::Insert => match &deed.adds.over {
            // Rows that are added lie behind the end of the walk: no chunk has them.
            Over::No if !later => None,
            Over::No => met(BTreeSet::new()),
            // Each row finds itself.
            Over::By(_) | Over::Any if deed.adds.whole => None,
            Over::By(columns) => {
                of_key(deed.same().into_iter().filter(|one| columns.contains(one)).collect(), false)
            }
            Over::Any => of_key(deed.same(), true),
        },
        LookKind::Chunk => met(deed.same()),
        LookKind::Target(from, to) if here.is_some_and(|here| (from..to).contains(&here)) => None,
        LookKind::Other if here.is_some() && deed.verb == Verb::Insert => {
            Some(Met { within: deed.shared(&look.ties), every: false, solid: deed.asks(look) })
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

/// What must be told apart if two writes are of the same columns, of which the later one counts.
/// Rows that are added or deleted are what each of them looks for: that is read.
fn clash(one: &Deed, other: &Deed, here: bool) -> Option<BTreeSet<String>> {
    let both = one.verb == Verb::Update && other.verb == Verb::Update;
    let once = here && one.merges && other.merges;
    if once || !both || (one.own && other.own) {
        return None;
    }
    // Of two changes of a row in one statement only one may come about.
    let any = one.columns.is_empty() || other.columns.is_empty() || here;
    if !any && one.columns.is_disjoint(&other.columns) {
        return None;
    }
    Some(match (one.own, other.own) {
        (true, _) => other.same(),
        (_, true) => one.same(),
        _ => one.ties.intersection(&other.ties).map(|(_, column)| column.clone()).collect(),
    })
}

/// `statement 2`, or `the statement itself`, with the foreign key that it is by.
fn by_whom(deed: &Deed, of: Option<usize>) -> String {
    let statement =
        of.map_or_else(|| "this statement".to_owned(), |of| format!("statement {}", of + 1));
    match &deed.cascade {
        Some(key) => format!("{statement} by its {key}"),
        None => statement,
    }
}

fn listed(columns: &BTreeSet<String>) -> String {
    let names: Vec<String> = columns.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

fn read_spread(look: &Look, deed: &Deed, met: Met, of: Option<usize>) -> Spread {
    let columns = match &look.columns {
        Some(read) if deed.verb == Verb::Update => {
            deed.columns.intersection(read).cloned().collect()
        }
        _ => BTreeSet::new(),
    };
    Spread {
        rule: "chunk-reads-written",
        message: format!(
            "this reads rows of `{}`{} which {} writes in other chunks: run at once the statement would see \
             what was there before, and a chunk sees what earlier ones have made of it",
            look.written,
            listed(&columns),
            by_whom(deed, of)
        ),
        help: "tie it to the chunk's row by its whole key, both sides with their alias (t.post_id = \
               p.id), and by the column that the key is written to; or keep what is to be read first, \
               in a column or a table that nothing here writes; in a DELETE of duplicates ask for a \
               better row (EXISTS (… b.link = a.link AND b.id < a.id)); in an INSERT give each row once \
               and compare all of its columns, none of them NULL (SELECT DISTINCT p.tag … AND NOT \
               EXISTS (… t.tag = p.tag)), or leave that to ON CONFLICT DO NOTHING; or make the \
               statement that writes it a migration of its own",
        start: look.start,
        within: met.within,
        every: met.every,
        solid: met.solid,
        caught: Vec::new(),
    }
}

fn written_spread(
    deed: &Deed,
    earlier: &Deed,
    within: BTreeSet<String>,
    of: Option<usize>,
) -> Spread {
    let columns = deed.columns.intersection(&earlier.columns).cloned().collect();
    Spread {
        rule: "chunk-writes-written",
        message: format!(
            "this writes rows of `{}`{} which {} writes as well: run at once the later one counts, and \
             chunk by chunk the earlier one comes once more in each chunk",
            deed.written,
            listed(&columns),
            by_whom(earlier, of)
        ),
        help: "make one statement of the two (SET status = CASE p.kind WHEN 'a' THEN … ELSE … END), make \
               the later one a migration of its own, or tie both to the chunk's row by its whole key and \
               by the same column",
        start: deed.start,
        within,
        every: false,
        solid: None,
        caught: Vec::new(),
    }
}

/// Of each INSERT for which it counts which of several rows comes first: the columns of the walked
/// table that those rows share.
pub(in crate::sql) fn first_counts(reader: &Reader<'_>) -> Vec<BTreeSet<String>> {
    reader.deeds.iter().filter_map(|deed| deed.adds.first.clone()).collect()
}

/// The tables that a statement writes, other than this one, as they are written.
pub(in crate::sql) fn written(reader: &Reader<'_>, table: &[String]) -> BTreeSet<String> {
    let others = reader.deeds.iter().filter(|deed| !is_same_table(&deed.table, table));
    others.map(|deed| deed.written.clone()).collect()
}
