//! After all rows are loaded: rows that changed their place among the packs, and rows that are gone.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use dunlin_model::moves::{Changed, Gone, TableName};

use super::arrow_type::arrow_type;
use super::chunk::{Outcome, Postponed};
use super::columns::bug;
use super::gone::{GoneEntry, find_gone};
use super::key::{KeyColumns, RowKey, columns_of};
use super::key_set::{KeySet, key_hash, written_key_hash};
use super::knot::{Held, KNOT_ROWS_MAX};
use super::pack::{ADOPTED, Entry, Pack, each_entry};
use super::plan::{MovePlan, PlannedRule};
use super::ports::Written;
use super::produce::batch;
use super::report::{Note, NoteKind};
use super::row_hash::RowHash;
use super::session::Session;
use super::shapes::Shapes;
use super::update::Updates;
use super::verify::each_stored;
use super::writer::{RuleWriter, pack_area};
use crate::{ErrorKind, TargetError};

/// Rows that are deleted in one transaction.
const DELETE_ROWS: usize = 1_000;

/// Keys that are looked for at once.
const FOUND_AT_ONCE: usize = 500;

/// A table with fewer rows may lose as many as it likes.
const SMALL_TABLE_ROWS: u64 = 100;

/// What may be deleted of a table in one run where the mapping doesn't say: in hundredths.
const MAX_DELETED_PERCENT: u64 = 10;

/// What is told of a row whose key a row of somebody else has.
pub(super) const STRANGERS: &str = "a row with its key is there that the move did not write";

/// What is told of a row whose key another row of the move has.
const ANOTHERS: &str = "another old row became the row with its key";

/// The same, where the two keys are one only as the target compares them: by a collation.
const ANOTHERS_AS_COMPARED: &str =
    "another old row became the row with its key, as the target compares";

/// Rows whose key was there: those that another old row left are taken over, others are told.
pub(super) async fn take_over(
    plan: &MovePlan,
    session: &mut Session<'_>,
    writers: &mut [RuleWriter<'_>],
) -> Result<(), TargetError> {
    for place in 0..writers.len() {
        let mut stuck = Vec::new();
        for postponed in std::mem::take(&mut writers[place].postponed) {
            match left(plan, place, writers, &postponed.entry.new) {
                Some((other, found)) => {
                    let entry = writers[other].gone.swap_remove(found);
                    if session.dry_run {
                        writers[place].report.updated += 1;
                        continue;
                    }
                    let from = Left {
                        rule: &plan.rules[other],
                        shapes: Arc::clone(&writers[other].shapes),
                        area: writers[other].area.clone(),
                        pack: writers[other].pack_of(&entry.old)?,
                        entry,
                        is_own: other == place,
                    };
                    adopt(session, &mut writers[place], from, postponed).await?;
                }
                None => stuck.push(postponed),
            }
        }
        let notes = told_stuck(plan, place, session, writers, stuck).await?;
        writers[place].notes.extend(notes);
    }
    Ok(())
}

/// The entry of the old row that left the row of that key: whose writer has it, and where. What an old
/// row became that can't be read this time stays.
fn left(
    plan: &MovePlan,
    rule: usize,
    writers: &[RuleWriter<'_>],
    new: &RowKey,
) -> Option<(usize, usize)> {
    let table = &plan.rules[rule].written.table;
    let others = (0..writers.len()).filter(|other| plan.rules[*other].written.table == *table);
    others.into_iter().find_map(|other| {
        let RuleWriter { gone, unread, .. } = &writers[other];
        let found = gone.iter().position(|entry| entry.new == *new && !unread.names(&entry.old));
        found.map(|found| (other, found))
    })
}

/// Why rows can't be inserted, since others of their keys are there.
pub(super) async fn told_stuck(
    plan: &MovePlan,
    rule: usize,
    session: &mut Session<'_>,
    writers: &[RuleWriter<'_>],
    stuck: Vec<Postponed>,
) -> Result<Vec<Note>, TargetError> {
    if stuck.is_empty() {
        return Ok(Vec::new());
    }
    let planned = &plan.rules[rule];
    let others = || {
        let rules = writers.iter().zip(&plan.rules);
        rules.filter(|(_, other)| other.written.table == planned.written.table)
    };
    let gone: HashSet<&RowKey> =
        others().flat_map(|(writer, _)| &writer.gone).map(|entry| &entry.new).collect();
    let wanted: Vec<&RowKey> = stuck.iter().map(|one| &one.entry.new).collect();
    let there = keys_there(planned, session, &wanted).await?;
    let mut keys: HashSet<u128> =
        wanted.into_iter().chain(there.iter().flatten()).map(key_hash).collect();
    let mut own = HashSet::new();
    for (_, other) in others() {
        each_stored(session, &pack_area(&other.rule.name), |stored| {
            let mut buffer = Vec::new();
            each_entry(stored, |entry| {
                own.extend(keys.take(&written_key_hash(entry.new, &mut buffer)))
            })
        })
        .await?;
    }
    let mut notes = Vec::with_capacity(stuck.len());
    for (one, there) in stuck.into_iter().zip(there) {
        let (old, new) = (one.entry.old, one.entry.new);
        let is_gone = there.as_ref().is_some_and(|there| gone.contains(there));
        let is_own = there.is_some_and(|there| own.contains(&key_hash(&there)));
        let (kind, reason) = if own.contains(&key_hash(&new)) {
            (NoteKind::AlreadyThere, ANOTHERS)
        } else if is_gone {
            // It is tried again once that one is deleted.
            (
                NoteKind::Rejected,
                "a row that is gone from the source has its key, as the target compares",
            )
        } else if is_own {
            (NoteKind::AlreadyThere, ANOTHERS_AS_COMPARED)
        } else {
            (NoteKind::AlreadyThere, STRANGERS)
        };
        notes.push(Note { old, kind, reason: reason.to_owned() });
    }
    Ok(notes)
}

/// The key that the row of each of these keys has in the target, which need not tell two keys apart by
/// every letter.
pub(super) async fn keys_there(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    keys: &[&RowKey],
) -> Result<Vec<Option<RowKey>>, TargetError> {
    let written = &rule.written;
    let fields: Vec<_> = written.key.iter().map(|place| written.fields[*place].clone()).collect();
    let only = Written { key: (0..fields.len()).collect(), fields, ..written.clone() };
    let mut all = Vec::with_capacity(keys.len());
    for some in keys.chunks(FOUND_AT_ONCE) {
        let values = key_batch(rule, some.iter().copied())?;
        let (places, found) = session.target.find(&only, &values).await?;
        let found = session.normalise(&only.fields, found).await?;
        let found = KeyColumns::of_target(only.key_fields(), found.columns())?;
        let mut there = vec![None; some.len()];
        for (row, place) in places.into_iter().enumerate() {
            there[place as usize] = Some(found.key(row));
        }
        all.append(&mut there);
    }
    Ok(all)
}

/// A row that an old one left.
struct Left<'p> {
    rule: &'p PlannedRule,
    shapes: Arc<Shapes>,
    /// Where its entry is.
    area: String,
    pack: i64,
    entry: Entry,
    /// The same rule has its heir.
    is_own: bool,
}

impl Left<'_> {
    /// Its entry as that of its heir.
    async fn before(&self, session: &mut Session<'_>, heir: &RowKey) -> Result<Entry, TargetError> {
        let mut before = self.entry.held_by(heir);
        if !self.is_own && before.run != ADOPTED {
            // Another rule may write other columns: whether the row is as that one left it is told by
            // its own, and then all of the heir's are written.
            let there = self.shapes.hashes_there(self.rule, session, [&before].into_iter()).await?;
            let as_left = |hash: &Option<RowHash>| hash.is_none_or(|hash| hash == before.hash);
            if there.get(&before.new).is_some_and(as_left) {
                before.hash = 0;
            }
        }
        Ok(before)
    }
}

/// An old row comes to the row that another has left: as with any changed row, what the application
/// made of it is judged first.
async fn adopt(
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
    from: Left<'_>,
    postponed: Postponed,
) -> Result<(), TargetError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match try_adopt(session, writer, &from, &postponed).await {
            Ok(outcome) => {
                session.wrote(outcome.updated);
                writer.written(outcome);
                return Ok(());
            }
            // Only the end of the transaction told.
            Err(error) if error.by_row && !session.within => {
                session.target.rollback().await?;
                let (old, reason) = (postponed.entry.old, error.message);
                writer.notes.push(Note { old, kind: NoteKind::Rejected, reason });
                return Ok(());
            }
            Err(error) => session.failed(error, attempt).await?,
        }
    }
}

async fn try_adopt(
    session: &mut Session<'_>,
    writer: &RuleWriter<'_>,
    from: &Left<'_>,
    Postponed { row, entry: after, .. }: &Postponed,
) -> Result<Outcome, TargetError> {
    let mut outcome = Outcome::default();
    session.begin().await?;
    let before = from.before(session, &after.old).await?;
    let updates = Updates { wanted: row.clone(), entries: vec![(before, after.clone())] };
    writer.chunks().update_all(session, &updates, &mut outcome).await?;
    let mut left = pack(session, &from.area, from.pack).await?;
    left.entries.retain(|entry| *entry != from.entry);
    let name = session.name.clone();
    session.target.put(&name, &[left.store(&from.area)]).await?;
    let mut entries = vec![after.clone()];
    outcome.correct_entries(&mut entries);
    for entry in entries {
        let number = writer.pack_of(&entry.old)?;
        let mut joined = pack(session, &writer.area, number).await?;
        joined.entries.push(entry);
        joined.entries.sort_by(|a, b| a.old.cmp(&b.old));
        session.target.put(&name, &[joined.store(&writer.area)]).await?;
    }
    session.commit().await?;
    Ok(outcome)
}

pub(super) async fn pack(
    session: &mut Session<'_>,
    area: &str,
    number: i64,
) -> Result<Pack, TargetError> {
    let stored = session.target.stored(&session.name, area, number, 1).await?;
    match stored.first().filter(|stored| stored.number == number) {
        Some(stored) => Pack::read(stored),
        None => Err(TargetError::new(
            ErrorKind::LedgerFormat,
            format!("entry {number} of {area} is gone from the move's store"),
        )),
    }
}

/// Refuses to delete too much: a source that is empty by mistake must not empty a table. What is gone
/// is known only once all is compared, and the rows that differ are written meanwhile.
pub(super) fn check_deletions(
    plan: &MovePlan,
    writers: &[RuleWriter<'_>],
    has_written: bool,
) -> Result<(), TargetError> {
    let conflicts = plan.mapping.conflicts;
    if conflicts.gone_here == Gone::Keep {
        return Ok(());
    }
    let percent = conflicts.max_deleted_percent.map_or(MAX_DELETED_PERCENT, u64::from);
    let mut tables: BTreeMap<&TableName, (u64, u64)> = BTreeMap::new();
    for (writer, rule) in writers.iter().zip(&plan.rules).filter(|(one, _)| !one.unread.is_any()) {
        let (gone, all) = tables.entry(&rule.written.table).or_default();
        let is_gone = |entry: &&Entry| !writer.unread.has(&entry.old);
        *gone += writer.gone.iter().filter(is_gone).count() as u64 + writer.deleted_before;
        *all += writer.known;
    }
    tables.retain(|_, (gone, all)| *all > SMALL_TABLE_ROWS && *gone * 100 > *all * percent);
    let Some((table, (gone, all))) = tables.first_key_value() else { return Ok(()) };
    let others = match tables.len() - 1 {
        0 => String::new(),
        1 => ", and too many of another table".to_owned(),
        count => format!(", and too many of {count} other tables"),
    };
    // So much that all of them get through.
    let enough =
        tables.values().map(|(gone, all)| (gone * 100).div_ceil(*all)).max().unwrap_or(100);
    let name = &plan.mapping.name;
    let besides = if has_written { "; what is new or changed stays written" } else { "" };
    Err(TargetError::new(
        ErrorKind::Statement,
        format!(
            "{gone} of the {all} rows that earlier runs left in {table} come of no old row any \
             more, which is more than the {percent}% that one run may delete{others}: none was \
             deleted{besides}"
        ),
    )
    .help(format!(
        "if the source is whole, and the mapping gives rows the keys that it should, let one run do it: `dunlin move run {name} --max-deleted {enough}%`"
    )))
}

/// Deletes what is gone from the source.
pub(super) async fn delete_gone(
    plan: &MovePlan,
    number: usize,
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
) -> Result<(), TargetError> {
    let mut gone = std::mem::take(&mut writer.gone);
    let conflicts = plan.mapping.conflicts;
    if conflicts.gone_here == Gone::Keep || writer.unread.is_any() {
        let reason = if writer.unread.is_any() {
            "gone, and kept: a record that can't be read may be it"
        } else {
            "gone from the source, and kept"
        };
        writer.notes.extend(gone.into_iter().map(|entry| Note {
            old: entry.old,
            kind: NoteKind::Kept,
            reason: reason.to_owned(),
        }));
        return Ok(());
    }
    // Those that were told of as rejected stay as they are.
    gone.retain(|entry| !writer.unread.has(&entry.old));
    let mut gone = find_gone(plan, number, session, gone).await?;
    if let Some(adopted) = &writer.adopted {
        keep_adopted(adopted, &mut gone, &mut writer.notes)?;
    }
    if session.dry_run {
        return writer.rehearse_deletions(&gone);
    }
    let rule = &plan.rules[number];
    for some in gone.chunks(session.gate.chunk_rows(DELETE_ROWS)) {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match try_delete(
                rule,
                &writer.shapes,
                conflicts.changed_there,
                session,
                &writer.area,
                some,
            )
            .await
            {
                Ok(done) => {
                    session.wrote(done.deleted);
                    writer.report.deleted += done.deleted;
                    writer.notes.extend(done.notes);
                    writer.notes.extend(done.held.iter().map(Held::note));
                    let room = KNOT_ROWS_MAX.saturating_sub(writer.held.len());
                    writer.held.extend(done.held.into_iter().take(room));
                    break;
                }
                Err(error) => session.failed(error, attempt).await?,
            }
        }
    }
    Ok(())
}

/// Rows that were there before the move stay, whatever becomes of the old ones.
fn keep_adopted(
    adopted: &KeySet,
    gone: &mut Vec<GoneEntry>,
    notes: &mut Vec<Note>,
) -> Result<(), TargetError> {
    let mut rest = Vec::with_capacity(gone.len());
    for one in gone.drain(..) {
        if adopted.contains(&one.entry.new)? && !one.is_shared {
            notes.push(Note {
                old: one.entry.old,
                kind: NoteKind::Kept,
                reason: "gone from the source; it was there before the move: kept".to_owned(),
            });
        } else {
            rest.push(one);
        }
    }
    *gone = rest;
    Ok(())
}

/// What became of rows that are gone.
#[derive(Default)]
struct Deletion {
    deleted: u64,
    notes: Vec<Note>,
    held: Vec<Held>,
}

async fn try_delete(
    rule: &PlannedRule,
    shapes: &Shapes,
    changed_there: Changed,
    session: &mut Session<'_>,
    area: &str,
    some: &[GoneEntry],
) -> Result<Deletion, TargetError> {
    session.begin().await?;
    let there = shapes.hashes_there(rule, session, some.iter().map(|one| &one.entry)).await?;
    let mut done = Deletion::default();
    let (mut drop_entries, mut delete): (Vec<&GoneEntry>, Vec<&GoneEntry>) = Default::default();
    for one in some {
        let entry = &one.entry;
        // Another old row has its new one by now.
        match there.get(&entry.new).filter(|_| !one.is_shared) {
            None => drop_entries.push(one),
            Some(hash)
                if entry.hash == 0
                    || hash.is_none_or(|hash| hash == entry.hash)
                    || changed_there == Changed::Overwrite =>
            {
                delete.push(one);
            }
            Some(_) if changed_there == Changed::Stop => {
                return Err(stop_at_gone(rule));
            }
            Some(_) => done.notes.push(gone_and_changed(entry)),
        }
    }
    let keys = key_batch(rule, delete.iter().map(|one| &one.entry.new))?;
    if !delete.is_empty() {
        let refused = session.target.delete(&rule.written, &keys).await?;
        let kept = refused.rejected.len() + refused.absent_or_there.len();
        done.deleted = (delete.len() - kept) as u64;
        let mut kept: HashMap<u32, String> = refused.rejected.into_iter().collect();
        for (row, one) in (0..).zip(delete) {
            match kept.remove(&row) {
                Some(reason) => {
                    done.held.push(Held { pack: one.pack, entry: one.entry.clone(), reason });
                }
                None => drop_entries.push(one),
            }
        }
    }
    let mut packs: BTreeMap<i64, Pack> = BTreeMap::new();
    for one in drop_entries {
        let pack = match packs.entry(one.pack) {
            Slot::Occupied(known) => known.into_mut(),
            Slot::Vacant(open) => open.insert(pack(session, area, one.pack).await?),
        };
        pack.entries.retain(|entry| *entry != one.entry);
    }
    let stored: Vec<_> = packs.values().map(|pack| pack.store(area)).collect();
    let name = session.name.clone();
    session.target.put(&name, &stored).await?;
    session.commit().await?;
    Ok(done)
}

/// The mapping says to stop at a row that the application changed, and that is gone.
pub(super) fn stop_at_gone(rule: &PlannedRule) -> TargetError {
    TargetError::new(
        ErrorKind::Statement,
        format!(
            "the application changed a row of {} that is gone from the source",
            rule.written.table
        ),
    )
    .help("the mapping says `stop`: look at it, or choose another word under [conflicts]")
}

/// What is told of a row that is gone, and that the application changed.
pub(super) fn gone_and_changed(entry: &Entry) -> Note {
    Note {
        old: entry.old.clone(),
        kind: NoteKind::ChangedThere,
        reason: "gone from the source, but the application has changed it: kept".to_owned(),
    }
}

/// The keys of rows as a batch.
pub(super) fn key_batch<'k>(
    rule: &PlannedRule,
    keys: impl Iterator<Item = &'k RowKey> + Clone,
) -> Result<RecordBatch, TargetError> {
    let fields: Vec<_> =
        rule.written.key.iter().map(|place| rule.written.fields[*place].clone()).collect();
    let types: Vec<_> = fields.iter().map(|field| arrow_type(&field.value_type, true)).collect();
    let count = keys.clone().count();
    batch(&fields, columns_of(&types, keys)?, count).map_err(|error| match error.kind {
        ErrorKind::Bug => error,
        _ => bug(&arrow::error::ArrowError::ComputeError(error.message)),
    })
}
