//! What one transaction writes of a rule: new rows, changed rows, and the packs that tell of them.
//! It is complete in itself, so that any connection of the run can write it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, new_null_array};
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::Conflicts;

use super::columns::bug;
use super::exchange::Change;
use super::key::{KeyColumns, RowKey};
use super::knot::KNOT_ROWS_MAX;
use super::pack::{ADOPTED, Entry, KeyedRows, Pack};
use super::plan::PlannedRule;
use super::ports::Stored;
use super::produce::batch;
use super::report::{Note, NoteKind};
use super::row_hash::RowHash;
use super::session::Session;
use super::shapes::Shapes;
use crate::TargetError;

/// From how many rows on inserting begins with the fast way.
const LOAD_FROM: usize = 50;

/// Rows with all that is known about them, in the order of old keys.
pub(super) struct Rows {
    pub(super) batch: RecordBatch,
    pub(super) old: KeyColumns,
    pub(super) new: KeyColumns,
    pub(super) hashes: Vec<RowHash>,
    /// Of the rows as they go in at first, where some columns are to come later.
    pub(super) first_hashes: Option<Vec<RowHash>>,
    /// Which of them were there before the move; `None`: none.
    pub(super) adopted: Option<Vec<bool>>,
}

impl Rows {
    /// The entry of a row that was there before the move, as if what there should be had been written
    /// long ago: what stands there instead is then the application's.
    pub(super) fn adopted(&self, place: usize) -> Option<Entry> {
        let is_adopted = self.adopted.as_ref().is_some_and(|adopted| adopted[place]);
        is_adopted.then(|| Entry {
            old: self.old.key(place),
            new: self.new.key(place),
            hash: self.hashes[place],
            run: ADOPTED,
        })
    }

    /// The entry of a row, once a run has written all of it.
    pub(super) fn entry(&self, place: usize, run: u32) -> Entry {
        let (old, new) = (self.old.key(place), self.new.key(place));
        Entry { old, new, hash: self.hashes[place], run }
    }

    /// By their keys, with these hashes.
    pub(super) fn keyed<'a>(&'a self, hashes: &'a [RowHash]) -> KeyedRows<'a> {
        KeyedRows { old: &self.old, new: &self.new, hashes }
    }
}

/// A row that could not be inserted: its key is there, or the database refuses it.
#[derive(Clone)]
pub(super) struct Postponed {
    pub(super) row: RecordBatch,
    pub(super) entry: Entry,
    /// Why the database refuses it; `None`: its key is there.
    pub(super) refused: Option<String>,
}

impl Postponed {
    /// What was told of it, where it was refused.
    pub(super) fn told(&self) -> Option<(&RowKey, &str)> {
        Some((&self.entry.old, self.refused.as_deref()?))
    }
}

/// What a chunk does.
#[derive(Default)]
pub(super) struct Chunk {
    /// Places of rows.
    pub(super) inserts: Vec<u32>,
    /// Places of rows, with the entry as it was.
    pub(super) updates: Vec<(u32, Entry)>,
    /// Packs by their numbers: of one that was compared and then joined by new rows the last counts.
    pub(super) puts: BTreeMap<i64, Stored>,
    pub(super) unchanged: u64,
}

impl Chunk {
    pub(super) fn put(&mut self, stored: Stored) {
        self.puts.insert(stored.number, stored);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inserts.is_empty() && self.updates.is_empty() && self.puts.is_empty()
    }
}

/// What a committed chunk came to.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) unchanged: u64,
    pub(super) postponed: Vec<Postponed>,
    pub(super) notes: Vec<Note>,
    /// Changed rows that were refused.
    pub(super) refused: Vec<Change>,
    /// New rows that were refused; not all, if they are many.
    pub(super) kept_out: Vec<Postponed>,
    /// Rows that are not ours after all, by their old and their new key: the hashes of their entries.
    /// A pack may hold another entry of that new key: of the old row that had it before, whose place
    /// the new one is yet to take. And one of both keys: of several rows that one old row comes to, the
    /// first is written.
    pub(super) without: HashMap<(RowKey, RowKey), Vec<RowHash>>,
    /// Entries that stay as they were, by the row's old and new key.
    pub(super) instead: HashMap<(RowKey, RowKey), Entry>,
}

impl Outcome {
    fn leave(&mut self, keys: (RowKey, RowKey), hash: RowHash) {
        self.without.entry(keys).or_default().push(hash);
    }

    pub(super) fn correct_entries(&self, entries: &mut Vec<Entry>) {
        let keys = |entry: &Entry| (entry.old.clone(), entry.new.clone());
        // By their hash, and one that was only begun by its keys alone; the last of them first.
        let mut left = self.without.clone();
        for by_hash in [true, false] {
            if left.is_empty() {
                break;
            }
            let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
            for entry in entries.drain(..).rev() {
                let hashes = left.get_mut(&keys(&entry));
                let place = hashes.as_ref().and_then(|hashes| match by_hash {
                    true => hashes.iter().position(|hash| *hash == entry.hash),
                    false => hashes.len().checked_sub(1),
                });
                match (hashes, place) {
                    (Some(hashes), Some(place)) => {
                        hashes.remove(place);
                    }
                    _ => kept.push(entry),
                }
            }
            kept.reverse();
            *entries = kept;
            left.retain(|_, hashes| !hashes.is_empty());
        }
        for entry in entries {
            if let Some(other) = self.instead.get(&keys(entry)) {
                *entry = other.clone();
            }
        }
    }

    /// A pack with what really came of its rows.
    fn correct(&self, stored: &Stored) -> Result<Stored, TargetError> {
        if self.without.is_empty() && self.instead.is_empty() {
            return Ok(stored.clone());
        }
        let mut pack = Pack::read(stored)?;
        self.correct_entries(&mut pack.entries);
        Ok(pack.store(&stored.area))
    }
}

/// Writes chunks of one rule.
pub(super) struct ChunkWriter {
    pub(super) rule: Arc<PlannedRule>,
    pub(super) conflicts: Conflicts,
    pub(super) shapes: Arc<Shapes>,
    /// Columns that refer to rows that come later are written now.
    pub(super) everything: bool,
}

impl ChunkWriter {
    /// Writes a chunk; after an error that may pass, again.
    pub(super) async fn write(
        &self,
        session: &mut Session<'_>,
        rows: &Rows,
        chunk: &Chunk,
    ) -> Result<Outcome, TargetError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.try_write(session, rows, chunk, false).await {
                Err(error) if error.by_row => {
                    // A row is to blame: once more, slowly, to find which.
                    session.target.rollback().await?;
                    match self.try_write(session, rows, chunk, true).await {
                        Ok(outcome) => return Ok(written(session, outcome)),
                        Err(error) => session.failed(error, attempt).await?,
                    }
                }
                Ok(outcome) => return Ok(written(session, outcome)),
                Err(error) => session.failed(error, attempt).await?,
            }
        }
    }

    async fn try_write(
        &self,
        session: &mut Session<'_>,
        rows: &Rows,
        chunk: &Chunk,
        slowly: bool,
    ) -> Result<Outcome, TargetError> {
        let mut outcome = Outcome::default();
        session.begin().await?;
        self.apply(session, rows, chunk, slowly, &mut outcome).await?;
        crate::failpoint("move.written");
        session.commit().await?;
        Ok(outcome)
    }

    /// Writes a chunk and its packs in the transaction that is open.
    pub(super) async fn apply(
        &self,
        session: &mut Session<'_>,
        rows: &Rows,
        chunk: &Chunk,
        slowly: bool,
        outcome: &mut Outcome,
    ) -> Result<(), TargetError> {
        self.insert(session, rows, chunk, slowly, outcome).await?;
        if !chunk.updates.is_empty() {
            self.update(session, rows, chunk, outcome).await?;
        }
        let packs: Result<Vec<_>, _> =
            chunk.puts.values().map(|stored| outcome.correct(stored)).collect();
        let name = session.name.clone();
        session.target.put(&name, &packs?).await
    }

    async fn insert(
        &self,
        session: &mut Session<'_>,
        rows: &Rows,
        chunk: &Chunk,
        slowly: bool,
        outcome: &mut Outcome,
    ) -> Result<(), TargetError> {
        if chunk.inserts.is_empty() {
            return Ok(());
        }
        let batch = picked(&rows.batch, &chunk.inserts)?;
        let first =
            if self.everything { batch.clone() } else { without_deferred(&self.rule, &batch)? };
        let count = batch.num_rows() as u64;
        if !slowly && chunk.inserts.len() >= LOAD_FROM {
            session.target.load(&self.rule.written, &first).await?;
            outcome.inserted += count;
            return Ok(());
        }
        let refused = session.target.insert(&self.rule.written, &first).await?;
        outcome.inserted += count - (refused.absent_or_there.len() + refused.rejected.len()) as u64;
        for row in refused.absent_or_there {
            let place = chunk.inserts[row as usize] as usize;
            let entry = rows.entry(place, session.run);
            outcome.leave((entry.old.clone(), entry.new.clone()), entry.hash);
            let row = batch.slice(row as usize, 1);
            outcome.postponed.push(Postponed { row, entry, refused: None });
        }
        for (row, reason) in refused.rejected {
            let place = chunk.inserts[row as usize] as usize;
            let entry = rows.entry(place, session.run);
            outcome.leave((entry.old.clone(), entry.new.clone()), entry.hash);
            let (old, kind) = (entry.old.clone(), NoteKind::Rejected);
            outcome.notes.push(Note { old, kind, reason: reason.clone() });
            if outcome.kept_out.len() < KNOT_ROWS_MAX {
                // A row of its own, which does not keep the others in memory.
                let row = take_record_batch(&batch, &UInt32Array::from(vec![row]));
                let row = row.map_err(|error| bug(&error))?;
                outcome.kept_out.push(Postponed { row, entry, refused: Some(reason) });
            }
        }
        Ok(())
    }
}

/// Counts what was committed for the rate.
fn written(session: &Session<'_>, outcome: Outcome) -> Outcome {
    session.wrote(outcome.inserted + outcome.updated);
    outcome
}

/// Some of the rows: without a copy where they stand side by side.
fn picked(rows: &RecordBatch, places: &[u32]) -> Result<RecordBatch, TargetError> {
    if let (Some(first), Some(last)) = (places.first(), places.last())
        && (last - first) as usize + 1 == places.len()
    {
        return Ok(rows.slice(*first as usize, places.len()));
    }
    take_record_batch(rows, &UInt32Array::from(places.to_vec())).map_err(|error| bug(&error))
}

/// The columns of the rows' keys in the target.
pub(super) fn new_keys(rule: &PlannedRule, batch: &RecordBatch) -> Result<KeyColumns, TargetError> {
    let columns: Vec<ArrayRef> =
        rule.written.key.iter().map(|place| batch.column(*place).clone()).collect();
    KeyColumns::of_target(rule.written.key_fields(), &columns)
}

/// The rows as they go in at first: columns that refer to rows that come later are NULL.
pub(super) fn without_deferred(
    rule: &PlannedRule,
    rows: &RecordBatch,
) -> Result<RecordBatch, TargetError> {
    if rule.deferred.is_empty() {
        return Ok(rows.clone());
    }
    let columns = rows.columns().iter().enumerate().map(|(place, column)| {
        if rule.deferred.contains(&place) {
            new_null_array(column.data_type(), column.len())
        } else {
            column.clone()
        }
    });
    batch(&rule.written.fields, columns.collect(), rows.num_rows())
}
