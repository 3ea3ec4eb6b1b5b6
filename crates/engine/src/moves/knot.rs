//! Knots: rows that wait for each other, so that one after the other none of them can be done.
//!
//! A new row wants the unique value of a row that is gone; that one can't be deleted as long as others
//! refer to it; and those are to refer to the new row. Or: rows that are gone refer to each other in a
//! circle. Or: rows pass a value on that an index over an expression keeps apart.
//!
//! They are done in one transaction: rows that are gone, and rows that change, first give up what
//! others may want; then the new ones come, the others change, and what is gone is deleted. If one is
//! refused even so, all is taken back, and the others are tried without it. So a row that stays has
//! the values that it had, whoever dies in the middle has changed nothing, and nobody ever sees a
//! value that was given up.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, HashSet};

use arrow::array::{Array, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::Changed;

use super::chunk::{Postponed, without_deferred};
use super::columns::bug;
use super::exchange::Change;
use super::key::RowKey;
use super::notes::take_back;
use super::pack::{Entry, Pack};
use super::parked::{Way, parked_values, ways};
use super::plan::{MovePlan, PlannedRule};
use super::ports::{Refused, Written};
use super::produce::batch;
use super::report::{Note, NoteKind};
use super::session::Session;
use super::settle::{key_batch, pack};
use super::writer::RuleWriter;
use crate::TargetError;

/// So many rows of each kind, of a rule, are remembered and done together at most: they are in memory,
/// and locked.
pub(super) const KNOT_ROWS_MAX: usize = 10_000;

/// So many new rows of a rule are tried a second time at the end of its pass, at most.
const LATE_ROWS_MAX: usize = 1_000;

/// How often it is tried without the rows that were refused.
const ROUNDS_MAX: usize = 30;

/// A row that is gone, and that others still refer to.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// The pack that its entry is in.
    pub(super) pack: i64,
    pub(super) entry: Entry,
    /// Why it could not be deleted.
    pub(super) reason: String,
}

impl Held {
    /// What is told of it.
    pub(super) fn note(&self) -> Note {
        let (old, reason) = (self.entry.old.clone(), self.reason.clone());
        Note { old, kind: NoteKind::StillReferenced, reason }
    }
}

/// What of a rule could not be done row by row.
#[derive(Default)]
struct Undone {
    /// Rows that are gone, and that others refer to.
    held: Vec<Held>,
    /// Changed rows that were refused.
    changes: Vec<Change>,
    /// New rows that were refused.
    newcomers: Vec<Postponed>,
}

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Held,
    Change,
    Newcomer,
}

/// Rows that were refused: rule, kind, place.
type Refusals = HashSet<(usize, Kind, usize)>;

impl Undone {
    fn of(writer: &mut RuleWriter<'_>) -> Self {
        Self {
            held: std::mem::take(&mut writer.held),
            changes: std::mem::take(&mut writer.refused),
            newcomers: std::mem::take(&mut writer.kept_out),
        }
    }

    fn held_alone(&self) -> Self {
        Self { held: self.held.clone(), changes: Vec::new(), newcomers: Vec::new() }
    }

    /// Rows that may want another's value.
    fn wanting(&self) -> usize {
        self.changes.len() + self.newcomers.len()
    }

    fn without(&mut self, rule: usize, refused: &Refusals) {
        let stays = |kind: Kind| {
            let mut place = 0;
            move || {
                place += 1;
                !refused.contains(&(rule, kind, place - 1))
            }
        };
        let mut held = stays(Kind::Held);
        self.held.retain(|_| held());
        let mut changes = stays(Kind::Change);
        self.changes.retain(|_| changes());
        let mut newcomers = stays(Kind::Newcomer);
        self.newcomers.retain(|_| newcomers());
    }
}

/// Does together what could not be done row by row. Whether that came to anything.
pub(super) async fn untie(
    plan: &MovePlan,
    session: &mut Session<'_>,
    writers: &mut [RuleWriter<'_>],
) -> Result<bool, TargetError> {
    let all: Vec<Undone> = writers.iter_mut().map(Undone::of).collect();
    if session.dry_run {
        return Ok(false);
    }
    // Where those who want values spoil it, what is gone may still go.
    let is_mixed = all.iter().any(|undone| undone.wanting() > 0);
    let alone = is_mixed.then(|| all.iter().map(Undone::held_alone).collect());
    for mut undone in std::iter::once(all).chain(alone) {
        if untied(plan, session, writers, &mut undone, may_help).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// New rows of a pass that wanted what another of its rows gave up only later: once more, before rows
/// of later passes refer to them. The others stay refused until all is loaded.
pub(super) async fn insert_late(
    plan: &MovePlan,
    session: &mut Session<'_>,
    writers: &mut [RuleWriter<'_>],
    rules: &[usize],
) -> Result<(), TargetError> {
    // What stood in their way still does, where no row was changed.
    if session.dry_run || rules.iter().all(|rule| writers[*rule].report.updated == 0) {
        return Ok(());
    }
    let mut undone: Vec<Undone> = plan.rules.iter().map(|_| Undone::default()).collect();
    for &rule in rules {
        // So many were hardly in the way of each other.
        if writers[rule].kept_out.len() > LATE_ROWS_MAX {
            continue;
        }
        // Others wait for what comes in later passes.
        let (waiting, open) = std::mem::take(&mut writers[rule].kept_out)
            .into_iter()
            .partition(|newcomer| has_deferred(&plan.rules[rule], &newcomer.row));
        (writers[rule].kept_out, undone[rule].newcomers) = (waiting, open);
    }
    let asked: Vec<Vec<Postponed>> = undone.iter().map(|one| one.newcomers.clone()).collect();
    let any = |_: &MovePlan, undone: &[Undone]| undone.iter().any(|one| one.wanting() > 0);
    let came = untied(plan, session, writers, &mut undone, any).await?;
    for ((writer, asked), undone) in writers.iter_mut().zip(asked).zip(undone) {
        let done = undone.newcomers.into_iter().filter(|_| came);
        let done: HashSet<_> = done.map(|one| (one.entry.old, one.entry.new)).collect();
        let is_open = |one: &Postponed| {
            done.is_empty() || !done.contains(&(one.entry.old.clone(), one.entry.new.clone()))
        };
        writer.kept_out.extend(asked.into_iter().filter(is_open));
    }
    Ok(())
}

/// Whether a row refers to one that comes later.
fn has_deferred(rule: &PlannedRule, row: &RecordBatch) -> bool {
    rule.deferred.iter().any(|field| row.column(*field).null_count() == 0)
}

/// `is_worth`: whether those that are left are to be tried. Left are the rows that were done.
async fn untied(
    plan: &MovePlan,
    session: &mut Session<'_>,
    writers: &mut [RuleWriter<'_>],
    undone: &mut [Undone],
    is_worth: impl Fn(&MovePlan, &[Undone]) -> bool,
) -> Result<bool, TargetError> {
    for _ in 0..ROUNDS_MAX {
        if !is_worth(plan, undone) {
            return Ok(false);
        }
        let mut attempt = 0;
        let refused = loop {
            attempt += 1;
            let knot = Knot { plan, writers: &*writers, undone };
            match knot.try_untie(session).await {
                Ok(refused) => break refused,
                // Only the end of the transaction told: which row it was, nobody can say.
                Err(error) if error.by_row => {
                    session.target.rollback().await?;
                    return Ok(false);
                }
                Err(error) => session.failed(error, attempt).await?,
            }
        };
        if refused.is_empty() {
            let rows = |undone: &Undone| (undone.held.len() + undone.wanting()) as u64;
            session.wrote(undone.iter().map(rows).sum());
            writers.iter_mut().zip(&*undone).for_each(|(writer, undone)| done(writer, undone));
            return Ok(true);
        }
        for (rule, undone) in undone.iter_mut().enumerate() {
            undone.without(rule, &refused);
        }
    }
    Ok(false)
}

/// Whether rows are left that can wait for each other.
fn may_help(plan: &MovePlan, undone: &[Undone]) -> bool {
    let same_table = |rule: &PlannedRule| {
        let table = rule.written.table.clone();
        let rules = plan.rules.iter().zip(undone);
        rules.filter(move |(other, _)| other.written.table == table).map(|(_, undone)| undone)
    };
    plan.rules.iter().zip(undone).any(|(rule, own)| {
        let wanting: usize = same_table(rule).map(Undone::wanting).sum();
        // Rows that change give theirs up; a new one has none.
        let gives_and_takes = !own.changes.is_empty() && wanting > 1;
        // One row that is held by itself may be held by rows that were deleted after it.
        let is_held = !own.held.is_empty() && (wanting > 0 || !rule.deferred.is_empty());
        gives_and_takes || is_held
    })
}

/// Counts what was done.
fn done(writer: &mut RuleWriter<'_>, undone: &Undone) {
    writer.report.deleted += undone.held.len() as u64;
    writer.report.updated += undone.changes.len() as u64;
    writer.report.inserted += undone.newcomers.len() as u64;
    let held = undone.held.iter().map(|held| (&held.entry.old, held.reason.as_str()));
    take_back(&mut writer.notes, NoteKind::StillReferenced, held);
    let newcomers = undone.newcomers.iter().filter_map(Postponed::told);
    let written = undone.changes.iter().map(Change::told).chain(newcomers);
    take_back(&mut writer.notes, NoteKind::Rejected, written);
}

/// Rows that are tried together.
struct Knot<'k, 'a> {
    plan: &'k MovePlan,
    writers: &'k [RuleWriter<'a>],
    undone: &'k [Undone],
}

impl Knot<'_, '_> {
    /// Returns the rows that are refused; then nothing was done.
    async fn try_untie(&self, session: &mut Session<'_>) -> Result<Refusals, TargetError> {
        session.begin().await?;
        let mut refused = self.theirs(session).await?;
        if refused.is_empty() {
            self.give_up(session).await?;
            refused = self.insert(session).await?;
        }
        if refused.is_empty() {
            refused = self.update(session).await?;
        }
        if refused.is_empty() {
            refused = self.delete(session).await?;
        }
        if !refused.is_empty() {
            session.target.rollback().await?;
            return Ok(refused);
        }
        for rule in 0..self.plan.rules.len() {
            self.store(session, rule).await?;
        }
        crate::failpoint("move.untied");
        session.commit().await?;
        Ok(refused)
    }

    /// The rules with something to do, in the order of their passes.
    fn in_order(&self) -> impl DoubleEndedIterator<Item = (usize, &PlannedRule, &Undone)> {
        let rules = self.plan.passes.iter().flat_map(|pass| &pass.rules);
        rules.map(|&rule| (rule, &*self.plan.rules[rule], &self.undone[rule]))
    }

    /// Rows that the application has changed since they were looked at, or deleted.
    async fn theirs(&self, session: &mut Session<'_>) -> Result<Refusals, TargetError> {
        let mut theirs = Refusals::new();
        for (number, rule, undone) in self.in_order() {
            if undone.held.is_empty() && undone.changes.is_empty() {
                continue;
            }
            let writer = &self.writers[number];
            let overwrites = writer.conflicts.changed_there == Changed::Overwrite;
            let held = undone.held.iter().map(|held| &held.entry);
            let entries = held.chain(undone.changes.iter().map(|change| &change.before));
            let there = writer.shapes.hashes_there(rule, session, entries).await?;
            let is_other = |entry: &Entry| {
                let hash = there.get(&entry.new).copied().flatten();
                !overwrites && entry.hash != 0 && hash.is_some_and(|hash| hash != entry.hash)
            };
            for (place, held) in undone.held.iter().enumerate() {
                if is_other(&held.entry) {
                    theirs.insert((number, Kind::Held, place));
                }
            }
            for (place, change) in undone.changes.iter().enumerate() {
                let before = &change.before;
                if is_other(before) || !there.contains_key(&before.new) {
                    theirs.insert((number, Kind::Change, place));
                }
            }
        }
        Ok(theirs)
    }

    /// Rows give up what others may want, and what they refer to. Column by column, so that one that
    /// can't be given up keeps its value, and no other does.
    async fn give_up(&self, session: &mut Session<'_>) -> Result<(), TargetError> {
        for (_, rule, undone) in self.in_order() {
            let table = &rule.written.table;
            let is_wanted = self
                .plan
                .rules
                .iter()
                .zip(self.undone)
                .any(|(other, undone)| other.written.table == *table && undone.wanting() > 0);
            let held = undone.held.iter().map(|held| &held.entry.new);
            let changes = undone.changes.iter().map(|change| &change.before.new);
            let keys: Vec<&RowKey> = held.chain(changes).collect();
            if keys.is_empty() {
                continue;
            }
            let keys = key_batch(rule, keys.iter().copied())?;
            let rows = session.target.fetch(&rule.written, &keys, false).await?.rows;
            for place in 0..rule.written.fields.len() {
                let ways = ways_of(rule, place, is_wanted);
                give_up_column(rule, session, &rows, place, &ways).await?;
            }
        }
        Ok(())
    }

    async fn insert(&self, session: &mut Session<'_>) -> Result<Refusals, TargetError> {
        let mut refused = Refusals::new();
        for (number, rule, undone) in self.in_order() {
            let rows = undone.newcomers.iter().map(|newcomer| &newcomer.row);
            let Some(rows) = joined(rows)? else { continue };
            let first = without_deferred(rule, &rows)?;
            let told = session.target.insert(&rule.written, &first).await?;
            refused.extend(places(&told).map(|place| (number, Kind::Newcomer, place)));
        }
        Ok(refused)
    }

    /// Changed rows, and what new ones refer to in columns that had to wait.
    async fn update(&self, session: &mut Session<'_>) -> Result<Refusals, TargetError> {
        let mut refused = Refusals::new();
        for (number, rule, undone) in self.in_order() {
            let changes = undone.changes.iter().enumerate();
            let changes = changes.map(|(place, change)| (Kind::Change, place, &change.row));
            let newcomers = undone.newcomers.iter().enumerate();
            let newcomers = newcomers.map(|(place, one)| (Kind::Newcomer, place, &one.row));
            let all: Vec<_> =
                changes.chain(newcomers.filter(|(_, _, row)| has_deferred(rule, row))).collect();
            let Some(rows) = joined(all.iter().map(|(_, _, row)| *row))? else { continue };
            let told = session.target.update(&rule.written, &rows).await?;
            refused.extend(places(&told).map(|place| (number, all[place].0, all[place].1)));
        }
        Ok(refused)
    }

    /// Children first; within a table as often as it helps.
    async fn delete(&self, session: &mut Session<'_>) -> Result<Refusals, TargetError> {
        let mut refused = Refusals::new();
        for (number, rule, undone) in self.in_order().rev() {
            let mut left: Vec<usize> = (0..undone.held.len()).collect();
            loop {
                let count = left.len();
                if count == 0 {
                    break;
                }
                let keys =
                    key_batch(rule, left.iter().map(|place| &undone.held[*place].entry.new))?;
                let told = session.target.delete(&rule.written, &keys).await?;
                left = told.rejected.iter().map(|(row, _)| left[*row as usize]).collect();
                if left.len() == count {
                    break;
                }
            }
            refused.extend(left.into_iter().map(|place| (number, Kind::Held, place)));
        }
        Ok(refused)
    }

    /// Writes the packs of a rule's rows.
    async fn store(&self, session: &mut Session<'_>, rule: usize) -> Result<(), TargetError> {
        let (writer, undone) = (&self.writers[rule], &self.undone[rule]);
        let mut packs: BTreeMap<i64, Pack> = BTreeMap::new();
        let held = undone.held.iter().map(|held| Ok(held.pack));
        let changes = undone.changes.iter().map(|change| writer.pack_of(&change.before.old));
        let newcomers = undone.newcomers.iter().map(|one| writer.pack_of(&one.entry.old));
        for number in held.chain(changes).chain(newcomers) {
            if let Slot::Vacant(open) = packs.entry(number?) {
                let number = *open.key();
                open.insert(pack(session, &writer.area, number).await?);
            }
        }
        for held in &undone.held {
            if let Some(pack) = packs.get_mut(&held.pack) {
                pack.entries.retain(|known| *known != held.entry);
            }
        }
        for change in &undone.changes {
            if let Some(pack) = packs.get_mut(&writer.pack_of(&change.before.old)?) {
                let entries = pack.entries.iter_mut().filter(|entry| **entry == change.before);
                entries.for_each(|entry| *entry = change.after.clone());
            }
        }
        for newcomer in &undone.newcomers {
            if let Some(pack) = packs.get_mut(&writer.pack_of(&newcomer.entry.old)?) {
                pack.entries.push(newcomer.entry.clone());
            }
        }
        packs.values_mut().for_each(|pack| pack.entries.sort_by(|a, b| a.old.cmp(&b.old)));
        let stored: Vec<_> = packs.values().map(|pack| pack.store(&writer.area)).collect();
        if stored.is_empty() {
            return Ok(());
        }
        let name = session.name.clone();
        session.target.put(&name, &stored).await
    }
}

/// How a column's values are given up. A reference that has to be there stays.
fn ways_of(rule: &PlannedRule, place: usize, is_wanted: bool) -> Vec<Way> {
    let is_reference = rule.layout.references.iter().any(|one| one.field == place);
    let field = &rule.written.fields[place];
    if rule.written.key.contains(&place) || (!is_reference && !is_wanted) {
        return Vec::new();
    }
    match is_reference {
        true => Some(Way::Null).filter(|_| field.nullable).into_iter().collect(),
        false => ways(field),
    }
}

async fn give_up_column(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    rows: &RecordBatch,
    place: usize,
    ways: &[Way],
) -> Result<(), TargetError> {
    let written = &rule.written;
    let columns = written.key.iter().copied().chain([place]);
    let fields: Vec<_> = columns.clone().map(|place| written.fields[place].clone()).collect();
    let into = Written { key: (0..written.key.len()).collect(), fields, ..written.clone() };
    let columns: Vec<usize> = columns.collect();
    let were = rows.column(place);
    let mut left: Vec<u32> = (0..).zip(0..rows.num_rows()).map(|(row, _)| row).collect();
    left.retain(|row| were.is_valid(*row as usize));
    for way in ways {
        if left.is_empty() {
            return Ok(());
        }
        let some = take_record_batch(rows, &UInt32Array::from(left.clone()));
        let some = some.and_then(|some| some.project(&columns)).map_err(|error| bug(&error))?;
        let (last, key) = (written.key.len(), &some.columns()[..written.key.len()]);
        let parked = parked_values(&into.fields[last], *way, some.column(last));
        let given = key.iter().cloned().chain([parked]).collect();
        let given = batch(&into.fields, given, some.num_rows())?;
        let told = session.target.update(&into, &given).await?;
        left = told.rejected.iter().map(|(row, _)| left[*row as usize]).collect();
    }
    Ok(())
}

/// Rows as one batch; `None`: there are none.
fn joined<'r>(
    rows: impl Iterator<Item = &'r RecordBatch> + Clone,
) -> Result<Option<RecordBatch>, TargetError> {
    let Some(first) = rows.clone().next() else { return Ok(None) };
    concat_batches(&first.schema(), rows).map(Some).map_err(|error| bug(&error))
}

/// All rows that were refused, whatever for.
fn places(refused: &Refused) -> impl Iterator<Item = usize> {
    let rejected = refused.rejected.iter().map(|(row, _)| row);
    refused.absent_or_there.iter().chain(rejected).map(|row| *row as usize)
}
