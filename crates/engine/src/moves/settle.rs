//! After all rows are loaded: rows that changed their place among the packs, and rows that are gone.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::record_batch::RecordBatch;
use dunlin_model::moves::{Changed, Gone, TableName};

use super::arrow_type::arrow_type;
use super::chunk::Postponed;
use super::columns::bug;
use super::key::{KeyColumns, RowKey, columns_of};
use super::key_set::{KeySet, key_hash, written_key_hash};
use super::knot::KNOT_ROWS_MAX;
use super::pack::{Entry, Pack, each_entry};
use super::plan::{MovePlan, PlannedRule};
use super::ports::Written;
use super::produce::batch;
use super::report::{Note, NoteKind};
use super::session::Session;
use super::shapes::Shapes;
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

/// Rows whose key was there: those that another old row left are taken over, others are told.
pub(super) async fn take_over(
    plan: &MovePlan,
    session: &mut Session<'_>,
    writers: &mut [RuleWriter<'_>],
) -> Result<(), TargetError> {
    for place in 0..writers.len() {
        let mut stuck = Vec::new();
        for postponed in std::mem::take(&mut writers[place].postponed) {
            let from = (0..writers.len()).find_map(|other| {
                if plan.rules[other].written.table != plan.rules[place].written.table {
                    return None;
                }
                let gone = &writers[other].gone;
                gone.iter()
                    .position(|(_, entry)| entry.new == postponed.entry.new)
                    .map(|found| (other, found))
            });
            match from {
                Some((other, found)) => {
                    let (pack, gone) = writers[other].gone.swap_remove(found);
                    let from = (writers[other].area.clone(), pack, gone);
                    adopt(&plan.rules[place], session, &mut writers[place], from, &postponed)
                        .await?;
                }
                None => stuck.push(postponed),
            }
        }
        let notes = told_stuck(plan, place, session, writers, stuck).await?;
        writers[place].notes.extend(notes);
    }
    Ok(())
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
        others().flat_map(|(writer, _)| &writer.gone).map(|(_, entry)| &entry.new).collect();
    let mut keys: HashSet<u128> = stuck.iter().map(|one| key_hash(&one.entry.new)).collect();
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
    let there = if gone.is_empty() {
        vec![None; stuck.len()]
    } else {
        let keys: Vec<&RowKey> = stuck.iter().map(|one| &one.entry.new).collect();
        keys_there(planned, session, &keys).await?
    };
    let mut notes = Vec::with_capacity(stuck.len());
    for (one, there) in stuck.into_iter().zip(there) {
        let (old, new) = (one.entry.old, one.entry.new);
        let (kind, reason) = if own.contains(&key_hash(&new)) {
            (NoteKind::AlreadyThere, ANOTHERS)
        } else if there.is_some_and(|there| gone.contains(&there)) {
            // It is tried again once that one is deleted.
            (
                NoteKind::Rejected,
                "a row that is gone from the source has its key, as the target compares",
            )
        } else {
            (NoteKind::AlreadyThere, STRANGERS)
        };
        notes.push(Note { old, kind, reason: reason.to_owned() });
    }
    Ok(notes)
}

/// The key that the row of each of these keys has in the target, which need not tell two keys apart by
/// every letter.
async fn keys_there(
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

async fn adopt(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
    from: (String, i64, Entry),
    postponed: &Postponed,
) -> Result<(), TargetError> {
    let to = (writer.area.clone(), writer.pack_of(&postponed.entry.old)?);
    let mut attempt = 0;
    loop {
        attempt += 1;
        match try_adopt(rule, session, &to, &from, postponed).await {
            Ok(()) => {
                writer.report.updated += 1;
                return Ok(());
            }
            Err(error) if error.by_row && !session.within => {
                session.target.rollback().await?;
                let (old, reason) = (postponed.entry.old.clone(), error.message);
                writer.notes.push(Note { old, kind: NoteKind::Rejected, reason });
                return Ok(());
            }
            Err(error) => session.failed(error, attempt).await?,
        }
    }
}

async fn try_adopt(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    (area, number): &(String, i64),
    (from_area, from_number, gone): &(String, i64, Entry),
    postponed: &Postponed,
) -> Result<(), TargetError> {
    session.begin().await?;
    let refused = session.target.update(&rule.written, &postponed.row).await?;
    if let Some((_, reason)) = refused.rejected.first() {
        let error = TargetError::new(ErrorKind::Statement, reason.clone());
        return Err(TargetError { by_row: true, ..error });
    }
    let mut left = pack(session, from_area, *from_number).await?;
    left.entries.retain(|entry| entry != gone);
    let name = session.name.clone();
    session.target.put(&name, &[left.store(from_area)]).await?;
    let mut joined = pack(session, area, *number).await?;
    joined.entries.push(postponed.entry.clone());
    joined.entries.sort_by(|a, b| a.old.cmp(&b.old));
    session.target.put(&name, &[joined.store(area)]).await?;
    session.commit().await
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

/// Refuses to delete too much: a source that is empty by mistake must not empty a table.
pub(super) fn check_deletions(
    plan: &MovePlan,
    writers: &[RuleWriter<'_>],
) -> Result<(), TargetError> {
    let conflicts = plan.mapping.conflicts;
    if conflicts.gone_here == Gone::Keep {
        return Ok(());
    }
    let percent = conflicts.max_deleted_percent.map_or(MAX_DELETED_PERCENT, u64::from);
    let mut tables: BTreeMap<&TableName, (u64, u64)> = BTreeMap::new();
    for (writer, rule) in writers.iter().zip(&plan.rules).filter(|(one, _)| !one.unread.is_any()) {
        let (gone, all) = tables.entry(&rule.written.table).or_default();
        let is_gone = |(_, entry): &&(i64, Entry)| !writer.unread.has(&entry.old);
        *gone += writer.gone.iter().filter(is_gone).count() as u64 + writer.deleted_before;
        *all += writer.gone.len() as u64 + writer.deleted_before + writer.report.rows;
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
    Err(TargetError::new(
        ErrorKind::Statement,
        format!(
            "{gone} of {all} rows of {table} are gone from the source, which is more than the \
             {percent}% that one run may delete{others}: none was deleted"
        ),
    )
    .help(format!(
        "if the source is whole, let one run do it: `dunlin move run {name} --max-deleted {enough}%`"
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
        writer.notes.extend(gone.into_iter().map(|(_, entry)| Note {
            old: entry.old,
            kind: NoteKind::Kept,
            reason: reason.to_owned(),
        }));
        return Ok(());
    }
    // Those that were told of as rejected stay as they are.
    gone.retain(|(_, entry)| !writer.unread.has(&entry.old));
    if session.dry_run {
        writer.report.deleted += gone.len() as u64;
        return Ok(());
    }
    gone.sort_by_key(|(number, _)| *number);
    let mut left = HashSet::new();
    if let Some(adopted) = &writer.adopted {
        left = left_to_others(plan, number, session, &gone).await?;
        keep_adopted(adopted, &left, &mut gone, &mut writer.notes)?;
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
                &left,
            )
            .await
            {
                Ok((deleted, notes)) => {
                    session.wrote(deleted);
                    writer.report.deleted += deleted;
                    hold(&mut writer.held, some, &notes);
                    writer.notes.extend(notes);
                    break;
                }
                Err(error) => session.failed(error, attempt).await?,
            }
        }
    }
    Ok(())
}

/// Remembers the rows that others still refer to.
fn hold(held: &mut Vec<(i64, Entry)>, some: &[(i64, Entry)], notes: &[Note]) {
    let is_held = |old: &RowKey| {
        notes.iter().any(|note| note.kind == NoteKind::StillReferenced && note.old == *old)
    };
    if !notes.is_empty() {
        let room = KNOT_ROWS_MAX.saturating_sub(held.len());
        let found = some.iter().filter(|(_, entry)| is_held(&entry.old));
        held.extend(found.take(room).cloned());
    }
}

/// Of rows that are gone from the source those that another old row has taken over, and that stay.
async fn left_to_others(
    plan: &MovePlan,
    number: usize,
    session: &mut Session<'_>,
    gone: &[(i64, Entry)],
) -> Result<HashSet<RowKey>, TargetError> {
    let mut left = HashSet::new();
    if gone.is_empty() {
        return Ok(left);
    }
    let by_new: HashMap<u128, &RowKey> =
        gone.iter().map(|(_, entry)| (key_hash(&entry.new), &entry.new)).collect();
    let own: HashSet<(u128, u128)> =
        gone.iter().map(|(_, entry)| (key_hash(&entry.new), key_hash(&entry.old))).collect();
    let table = &plan.rules[number].written.table;
    for (place, other) in plan.rules.iter().enumerate() {
        if other.written.table != *table {
            continue;
        }
        each_stored(session, &pack_area(&other.rule.name), |stored| {
            let mut buffer = Vec::new();
            each_entry(stored, |entry| {
                let hash = written_key_hash(entry.new, &mut buffer);
                if let Some(new) = by_new.get(&hash)
                    && (place != number
                        || !own.contains(&(hash, written_key_hash(entry.old, &mut buffer))))
                {
                    left.insert((*new).clone());
                }
            })
        })
        .await?;
    }
    Ok(left)
}

/// Rows that were there before the move stay, whatever becomes of the old ones.
fn keep_adopted(
    adopted: &KeySet,
    left: &HashSet<RowKey>,
    gone: &mut Vec<(i64, Entry)>,
    notes: &mut Vec<Note>,
) -> Result<(), TargetError> {
    let mut rest = Vec::with_capacity(gone.len());
    for (number, entry) in gone.drain(..) {
        if adopted.contains(&entry.new)? && !left.contains(&entry.new) {
            notes.push(Note {
                old: entry.old,
                kind: NoteKind::Kept,
                reason: "gone from the source; it was there before the move: kept".to_owned(),
            });
        } else {
            rest.push((number, entry));
        }
    }
    *gone = rest;
    Ok(())
}

async fn try_delete(
    rule: &PlannedRule,
    shapes: &Shapes,
    changed_there: Changed,
    session: &mut Session<'_>,
    area: &str,
    some: &[(i64, Entry)],
    left: &HashSet<RowKey>,
) -> Result<(u64, Vec<Note>), TargetError> {
    session.begin().await?;
    let there = shapes.hashes_there(rule, session, some.iter().map(|(_, entry)| entry)).await?;
    let mut notes = Vec::new();
    let (mut drop_entries, mut delete): (Vec<&Entry>, Vec<&Entry>) = (Vec::new(), Vec::new());
    for (_, entry) in some {
        // Another old row has its new one by now.
        match there.get(&entry.new).filter(|_| !left.contains(&entry.new)) {
            None => drop_entries.push(entry),
            Some(hash)
                if entry.hash == 0
                    || hash.is_none_or(|hash| hash == entry.hash)
                    || changed_there == Changed::Overwrite =>
            {
                delete.push(entry);
            }
            Some(_) if changed_there == Changed::Stop => {
                return Err(TargetError::new(
                    ErrorKind::Statement,
                    format!(
                        "the application changed a row of {} that is gone from the source",
                        rule.written.table
                    ),
                )
                .help(
                    "the mapping says `stop`: look at it, or choose another word under [conflicts]",
                ));
            }
            Some(_) => notes.push(Note {
                old: entry.old.clone(),
                kind: NoteKind::ChangedThere,
                reason: "gone from the source, but the application has changed it: kept".to_owned(),
            }),
        }
    }
    let keys = key_batch(rule, delete.iter().map(|entry| &entry.new))?;
    let mut deleted = delete.len() as u64;
    if !delete.is_empty() {
        let refused = session.target.delete(&rule.written, &keys).await?;
        deleted -= (refused.rejected.len() + refused.absent_or_there.len()) as u64;
        let kept: HashMap<u32, String> = refused.rejected.into_iter().collect();
        for (row, entry) in delete.into_iter().enumerate() {
            match kept.get(&(row as u32)) {
                Some(reason) => notes.push(Note {
                    old: entry.old.clone(),
                    kind: NoteKind::StillReferenced,
                    reason: reason.clone(),
                }),
                None => drop_entries.push(entry),
            }
        }
    }
    let mut packs: BTreeMap<i64, Pack> = BTreeMap::new();
    for (number, _) in some {
        if !packs.contains_key(number) {
            packs.insert(*number, pack(session, area, *number).await?);
        }
    }
    for pack in packs.values_mut() {
        pack.entries.retain(|entry| !drop_entries.contains(&entry));
    }
    let stored: Vec<_> = packs.values().map(|pack| pack.store(area)).collect();
    let name = session.name.clone();
    session.target.put(&name, &stored).await?;
    session.commit().await?;
    Ok((deleted, notes))
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
