//! Rows that are gone from the source and refer to each other in a circle: none can be deleted before
//! the others.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{ArrayRef, new_null_array};
use dunlin_model::moves::{Changed, Field};

use super::arrow_type::arrow_type;
use super::key::RowKey;
use super::pack::{Entry, Pack};
use super::plan::{MovePlan, PlannedRule};
use super::ports::Written;
use super::produce::batch;
use super::report::NoteKind;
use super::session::Session;
use super::settle::{key_batch, pack};
use super::writer::RuleWriter;
use crate::TargetError;

/// So many rows are remembered and deleted together at most: they are in memory, and locked.
pub(super) const HELD_ROWS_MAX: usize = 10_000;

/// How often it is tried without the rows that were refused.
const ROUNDS_MAX: usize = 20;

/// Of each rule, the rows that could not be deleted, since others refer to them: (pack, entry).
type Held = Vec<Vec<(i64, Entry)>>;

/// Deletes rows that only each other refer to: in one transaction their references are set to NULL,
/// and then they go. If one is refused even so, all is taken back, and the others are tried without
/// it.
pub(super) async fn delete_circles(
    plan: &MovePlan,
    session: &mut Session<'_>,
    writers: &mut [RuleWriter<'_>],
) -> Result<(), TargetError> {
    let mut held: Held =
        writers.iter_mut().map(|writer| std::mem::take(&mut writer.held)).collect();
    let may_help = |held: &Held| {
        let rows: usize = held.iter().map(Vec::len).sum();
        let mut rules = held.iter().zip(&plan.rules);
        // A single one may be held by rows that were deleted after it.
        rows > 0 && rules.any(|(held, rule)| !held.is_empty() && !rule.deferred.is_empty())
    };
    for _ in 0..ROUNDS_MAX {
        if session.dry_run || !may_help(&held) {
            return Ok(());
        }
        let mut attempt = 0;
        let refused = loop {
            attempt += 1;
            match try_delete(plan, session, writers, &held).await {
                Ok(refused) => break refused,
                Err(error) => session.failed(error, attempt).await?,
            }
        };
        if refused.is_empty() {
            for (writer, held) in writers.iter_mut().zip(&held) {
                let gone: HashSet<&RowKey> = held.iter().map(|(_, entry)| &entry.old).collect();
                writer.report.deleted += held.len() as u64;
                writer.notes.retain(|note| {
                    note.kind != NoteKind::StillReferenced || !gone.contains(&note.old)
                });
            }
            return Ok(());
        }
        for (rule, held) in held.iter_mut().enumerate() {
            let mut place = 0;
            held.retain(|_| {
                place += 1;
                !refused.contains(&(rule, place - 1))
            });
        }
    }
    Ok(())
}

/// Returns the rows that are refused, as (rule, place); then nothing was done.
async fn try_delete(
    plan: &MovePlan,
    session: &mut Session<'_>,
    writers: &[RuleWriter<'_>],
    held: &Held,
) -> Result<HashSet<(usize, usize)>, TargetError> {
    let mut refused = HashSet::new();
    session.begin().await?;
    for (number, (rule, held)) in plan.rules.iter().zip(held).enumerate() {
        let theirs = changed_meanwhile(rule, session, &writers[number], held).await?;
        refused.extend(theirs.into_iter().map(|place| (number, place)));
        if refused.is_empty() && !held.is_empty() && !rule.deferred.is_empty() {
            let (into, rows) = unlinked(rule, held)?;
            let told = session.target.update(&into, &rows).await?;
            refused.extend(told.rejected.iter().map(|(row, _)| (number, *row as usize)));
        }
    }
    if refused.is_empty() {
        // Children first.
        for &number in plan.passes.iter().rev().flat_map(|pass| pass.rules.iter().rev()) {
            if held[number].is_empty() {
                continue;
            }
            let rule = &plan.rules[number];
            let keys = key_batch(rule, held[number].iter().map(|(_, entry)| &entry.new))?;
            let told = session.target.delete(&rule.written, &keys).await?;
            refused.extend(told.rejected.iter().map(|(row, _)| (number, *row as usize)));
        }
    }
    if !refused.is_empty() {
        session.target.rollback().await?;
        return Ok(refused);
    }
    for (writer, held) in writers.iter().zip(held) {
        forget(session, &writer.area, held).await?;
    }
    session.commit().await?;
    Ok(refused)
}

/// Takes entries out of their packs.
async fn forget(
    session: &mut Session<'_>,
    area: &str,
    held: &[(i64, Entry)],
) -> Result<(), TargetError> {
    let mut packs: BTreeMap<i64, Pack> = BTreeMap::new();
    for (number, _) in held {
        if !packs.contains_key(number) {
            packs.insert(*number, pack(session, area, *number).await?);
        }
    }
    for (number, entry) in held {
        if let Some(pack) = packs.get_mut(number) {
            pack.entries.retain(|known| known != entry);
        }
    }
    let stored: Vec<_> = packs.values().map(|pack| pack.store(area)).collect();
    if stored.is_empty() {
        return Ok(());
    }
    let name = session.name.clone();
    session.target.put(&name, &stored).await
}

/// Rows that the application has changed since they were looked at.
async fn changed_meanwhile(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    writer: &RuleWriter<'_>,
    held: &[(i64, Entry)],
) -> Result<Vec<usize>, TargetError> {
    if held.is_empty() || writer.conflicts.changed_there == Changed::Overwrite {
        return Ok(Vec::new());
    }
    let entries = held.iter().map(|(_, entry)| entry);
    let there = writer.shapes.hashes_there(rule, session, entries).await?;
    let is_theirs = |entry: &Entry| {
        let hash = there.get(&entry.new).copied().flatten();
        entry.hash != 0 && hash.is_some_and(|hash| hash != entry.hash)
    };
    let places = held.iter().enumerate().filter(|(_, (_, entry))| is_theirs(entry));
    Ok(places.map(|(place, _)| place).collect())
}

/// The rows with NULL in the columns that refer to later rows.
fn unlinked(
    rule: &PlannedRule,
    held: &[(i64, Entry)],
) -> Result<(Written, arrow::record_batch::RecordBatch), TargetError> {
    let keys = key_batch(rule, held.iter().map(|(_, entry)| &entry.new))?;
    let written = &rule.written;
    let fields: Vec<Field> = written
        .key
        .iter()
        .chain(&rule.deferred)
        .map(|place| written.fields[*place].clone())
        .collect();
    let null = |place: &usize| -> ArrayRef {
        let of = arrow_type(&written.fields[*place].value_type, true);
        new_null_array(&of, held.len())
    };
    let columns = keys.columns().iter().cloned().chain(rule.deferred.iter().map(null));
    let rows = batch(&fields, columns.collect(), held.len())?;
    let into = Written { fields, key: (0..written.key.len()).collect(), ..written.clone() };
    Ok((into, rows))
}
