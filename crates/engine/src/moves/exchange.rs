//! Rows that stand in each other's way: two that swap a unique value, or a row that takes the value
//! which another one gives up in the same run.
//!
//! Databases compare row by row, so one after the other such updates are refused for ever. Here they
//! are done together: in one transaction all of these rows first give their values up, then each gets
//! its new one. If one is refused even so, all is taken back, and the others are tried without it.
//! What rows of several kinds or of several rules have to do with it is a knot's.

use std::collections::{BTreeMap, HashSet};

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::{Changed, Field};

use super::columns::bug;
use super::key::RowKey;
use super::notes::take_back;
use super::pack::{Entry, Pack};
use super::parked::{Way, holds_any, parked_values};
use super::plan::PlannedRule;
use super::ports::{Refused, Written};
use super::produce::batch;
use super::report::NoteKind;
use super::session::Session;
use super::settle::pack;
use super::writer::RuleWriter;
use crate::TargetError;

/// So many rows are remembered and done together at most: they are in memory, and locked.
pub(super) const EXCHANGE_ROWS_MAX: usize = 10_000;

/// How often it is tried without the rows that were refused.
const ROUNDS_MAX: usize = 20;

/// A changed row that the database refused.
pub(super) struct Change {
    /// The row as it should be.
    pub(super) row: RecordBatch,
    /// Its entry as it is.
    pub(super) before: Entry,
    /// And as it becomes.
    pub(super) after: Entry,
    /// Why it was refused.
    pub(super) reason: String,
}

impl Change {
    /// What was told of it.
    pub(super) fn told(&self) -> (&RowKey, &str) {
        (&self.after.old, &self.reason)
    }
}

/// Does what it can of a rule's refused changes, and leaves the others.
pub(super) async fn exchange(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
) -> Result<(), TargetError> {
    let parked = parked(rule);
    if parked.is_empty() || session.dry_run {
        return Ok(());
    }
    let mut changes = std::mem::take(&mut writer.refused);
    let mut others = Vec::new();
    for _ in 0..ROUNDS_MAX {
        if changes.len() < 2 {
            break;
        }
        let mut attempt = 0;
        let refused = loop {
            attempt += 1;
            match try_exchange(rule, session, writer, &changes, &parked).await {
                Ok(refused) => break refused,
                Err(error) => session.failed(error, attempt).await?,
            }
        };
        if refused.is_empty() {
            writer.report.updated += changes.len() as u64;
            take_back(&mut writer.notes, NoteKind::Rejected, changes.iter().map(Change::told));
            writer.refused = others;
            return Ok(());
        }
        let places = changes.into_iter().enumerate();
        let (out, left): (Vec<_>, Vec<_>) = places.partition(|(place, _)| refused.contains(place));
        others.extend(out.into_iter().map(|(_, change)| change));
        changes = left.into_iter().map(|(_, change)| change).collect();
    }
    others.append(&mut changes);
    writer.refused = others;
    Ok(())
}

/// A column of each unique index that a value can be given up in, as places in the written fields.
fn parked(rule: &PlannedRule) -> Vec<usize> {
    let mut places: Vec<usize> = Vec::new();
    for index in &rule.unique {
        let fields = &rule.written.fields;
        let nullable = index.iter().find(|place| fields[**place].nullable);
        let other = index.iter().find(|place| holds_any(&fields[**place]));
        if let Some(place) = nullable.or(other)
            && !places.contains(place)
        {
            places.push(*place);
        }
    }
    places
}

/// Returns the rows that are refused; then nothing was done.
async fn try_exchange(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    writer: &RuleWriter<'_>,
    changes: &[Change],
    parked: &[usize],
) -> Result<HashSet<usize>, TargetError> {
    let Some(first) = changes.first() else { return Ok(HashSet::new()) };
    let rows = changes.iter().map(|change| &change.row);
    let rows = concat_batches(&first.row.schema(), rows).map_err(|error| bug(&error))?;
    session.begin().await?;
    let refused = changed_meanwhile(rule, session, writer, changes).await?;
    if !refused.is_empty() {
        session.target.rollback().await?;
        return Ok(refused);
    }
    for (into, rows) in [given_up(rule, &rows, parked)?, (rule.written.clone(), rows)] {
        let refused = session.target.update(&into, &rows).await?;
        let refused = places(&refused);
        if !refused.is_empty() {
            session.target.rollback().await?;
            return Ok(refused);
        }
    }
    let mut packs: BTreeMap<i64, Pack> = BTreeMap::new();
    for change in changes {
        let number = writer.pack_of(&change.before.old)?;
        let pack = match packs.entry(number) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(open) => {
                open.insert(pack(session, &writer.area, number).await?)
            }
        };
        for entry in pack.entries.iter_mut().filter(|entry| **entry == change.before) {
            *entry = change.after.clone();
        }
    }
    let stored: Vec<_> = packs.values().map(|pack| pack.store(&writer.area)).collect();
    let name = session.name.clone();
    session.target.put(&name, &stored).await?;
    crate::failpoint("move.written");
    session.commit().await?;
    Ok(HashSet::new())
}

/// Rows that the application has changed since they were compared.
async fn changed_meanwhile(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    writer: &RuleWriter<'_>,
    changes: &[Change],
) -> Result<HashSet<usize>, TargetError> {
    let entries = changes.iter().map(|change| &change.before);
    let there = writer.shapes.hashes_there(rule, session, entries).await?;
    let overwrites = writer.conflicts.changed_there == Changed::Overwrite;
    let is_theirs = |entry: &Entry| match there.get(&entry.new) {
        None => true,
        Some(hash) => !overwrites && entry.hash != 0 && hash.is_some_and(|hash| hash != entry.hash),
    };
    let places = changes.iter().enumerate().filter(|(_, change)| is_theirs(&change.before));
    Ok(places.map(|(place, _)| place).collect())
}

fn places(refused: &Refused) -> HashSet<usize> {
    let rejected = refused.rejected.iter().map(|(row, _)| row);
    refused.absent_or_there.iter().chain(rejected).map(|row| *row as usize).collect()
}

/// The rows with their unique values given up.
fn given_up(
    rule: &PlannedRule,
    rows: &RecordBatch,
    parked: &[usize],
) -> Result<(Written, RecordBatch), TargetError> {
    let written = &rule.written;
    let key = written.key.iter().map(|place| rows.column(*place).clone());
    let values = parked.iter().map(|place| {
        let field = &written.fields[*place];
        let way = if field.nullable { Way::Null } else { Way::Any };
        parked_values(field, way, rows.column(*place))
    });
    let fields: Vec<Field> =
        written.key.iter().chain(parked).map(|place| written.fields[*place].clone()).collect();
    let rows = batch(&fields, key.chain(values).collect(), rows.num_rows())?;
    let into = Written { fields, key: (0..written.key.len()).collect(), ..written.clone() };
    Ok((into, rows))
}
