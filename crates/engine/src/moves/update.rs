//! Rows that were written before and have changed: what may be written over, and what is the
//! application's.

use std::collections::{HashMap, HashSet};

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::{Changed, Deleted};

use super::chunk::{Chunk, ChunkWriter, Outcome, Rows, new_keys};
use super::columns::bug;
use super::exchange::{Change, EXCHANGE_ROWS_MAX};
use super::key::RowKey;
use super::pack::{ADOPTED, Entry};
use super::report::{Note, NoteKind};
use super::row_hash::{RowHash, row_hashes};
use super::session::Session;
use crate::{ErrorKind, TargetError};

impl ChunkWriter {
    pub(super) async fn update(
        &self,
        session: &mut Session<'_>,
        rows: &Rows,
        chunk: &Chunk,
        outcome: &mut Outcome,
    ) -> Result<(), TargetError> {
        let places: UInt32Array = chunk.updates.iter().map(|(place, _)| *place).collect();
        let wanted = take_record_batch(&rows.batch, &places).map_err(|error| bug(&error))?;
        let (mut write, mut restore) = (Vec::new(), Vec::new());
        let verdicts = self.verdicts(session, rows, chunk, &wanted).await?;
        for (row, verdict) in verdicts.into_iter().enumerate() {
            let place = chunk.updates[row].0 as usize;
            match verdict {
                Verdict::Write => write.push(row as u32),
                Verdict::Insert => restore.push(row as u32),
                Verdict::IsSo => outcome.unchanged += 1,
                Verdict::Theirs(kind, entry) => {
                    let reason = theirs(entry.run).to_owned();
                    let old = rows.old.key(place);
                    outcome.instead.insert((old.clone(), entry.new.clone()), entry);
                    outcome.notes.push(Note { old, kind, reason });
                }
            }
        }
        self.write_updates(session, rows, chunk, &wanted, &write, outcome).await?;
        if !restore.is_empty() {
            let some = take_record_batch(&wanted, &UInt32Array::from(restore.clone()))
                .map_err(|error| bug(&error))?;
            let refused = session.target.insert(&self.rule.written, &some).await?;
            outcome.inserted += restore.len() as u64 - refused.rejected.len() as u64;
            for (row, reason) in refused.rejected {
                self.refuse(rows, chunk, restore[row as usize], reason, outcome);
            }
        }
        Ok(())
    }

    /// What is to be done with each row that is to be updated; `wanted` has them in order.
    pub(super) async fn verdicts(
        &self,
        session: &mut Session<'_>,
        rows: &Rows,
        chunk: &Chunk,
        wanted: &RecordBatch,
    ) -> Result<Vec<Verdict>, TargetError> {
        let entries = chunk.updates.iter().map(|(_, entry)| entry);
        let there = self.shapes.hashes_there(&self.rule, session, entries).await?;
        let is_so = self.already_so(session, wanted, chunk, &there).await?;
        let judged = (0..).zip(&chunk.updates).map(|(row, (place, entry))| {
            let place = *place as usize;
            let there = there.get(&rows.new.key(place)).copied();
            self.judge(entry, rows.hashes[place], there, is_so.contains(&row))
        });
        judged.collect()
    }

    /// Which rows stand there already as they should be. Only those are looked at that are not as the
    /// last run left them, or that were written with other columns: of all others none is.
    async fn already_so(
        &self,
        session: &mut Session<'_>,
        wanted: &RecordBatch,
        chunk: &Chunk,
        there: &HashMap<RowKey, Option<RowHash>>,
    ) -> Result<HashSet<u32>, TargetError> {
        let changed: Vec<u32> = (0..)
            .zip(&chunk.updates)
            .filter(|(_, (_, entry))| {
                let is_other = |hash: &Option<RowHash>| *hash != Some(entry.hash);
                there.get(&entry.new).is_some_and(is_other) || !self.shapes.is_current(entry.run)
            })
            .map(|(row, _)| row)
            .collect();
        if changed.is_empty() {
            return Ok(HashSet::new());
        }
        let places = UInt32Array::from(changed.clone());
        let some = take_record_batch(wanted, &places).map_err(|error| bug(&error))?;
        let keys = some.project(&self.rule.written.key).map_err(|error| bug(&error))?;
        let found = session.target.fetch(&self.rule.written, &keys, !session.dry_run).await?;
        let found = session.normalised_rows(&self.rule.written.fields, found).await?;
        let hashes = found.hashes(&self.rule.written.fields)?;
        let keys = new_keys(&self.rule, &found.rows)?;
        let found: HashMap<RowKey, RowHash> =
            hashes.into_iter().enumerate().map(|(row, hash)| (keys.key(row), hash)).collect();
        let hashes = row_hashes(&self.rule.written.fields, &some)?;
        let keys = new_keys(&self.rule, &some)?;
        let is_so = |place: usize| found.get(&keys.key(place)) == Some(&hashes[place]);
        Ok(changed.into_iter().enumerate().filter(|(p, _)| is_so(*p)).map(|(_, r)| r).collect())
    }

    async fn write_updates(
        &self,
        session: &mut Session<'_>,
        rows: &Rows,
        chunk: &Chunk,
        wanted: &RecordBatch,
        write: &[u32],
        outcome: &mut Outcome,
    ) -> Result<(), TargetError> {
        if write.is_empty() {
            return Ok(());
        }
        let places = UInt32Array::from(write.to_vec());
        let some = take_record_batch(wanted, &places).map_err(|error| bug(&error))?;
        let refused = session.target.update(&self.rule.written, &some).await?;
        outcome.updated += write.len() as u64 - refused.rejected.len() as u64;
        for (row, reason) in refused.rejected {
            let row = write[row as usize];
            if outcome.refused.len() < EXCHANGE_ROWS_MAX {
                outcome.refused.push(change(session.run, rows, chunk, wanted, row)?);
            }
            self.refuse(rows, chunk, row, reason, outcome);
        }
        Ok(())
    }

    /// A changed row that the database refuses: what stands there stays, and so does its entry.
    fn refuse(&self, rows: &Rows, chunk: &Chunk, row: u32, reason: String, outcome: &mut Outcome) {
        let (place, entry) = &chunk.updates[row as usize];
        let old = rows.old.key(*place as usize);
        outcome.instead.insert((old.clone(), entry.new.clone()), entry.clone());
        outcome.notes.push(Note { old, kind: NoteKind::Rejected, reason });
    }

    fn judge(
        &self,
        entry: &Entry,
        wanted: RowHash,
        there: Option<Option<RowHash>>,
        is_so: bool,
    ) -> Result<Verdict, TargetError> {
        let stop = |what: &str| {
            TargetError::new(
                ErrorKind::Statement,
                format!(
                    "the application {what} a row of {} that has changed in the source",
                    self.rule.written.table
                ),
            )
            .help("the mapping says `stop`: look at it, or choose another word under [conflicts]")
        };
        Ok(match there {
            None if entry.hash == 0 => Verdict::Insert,
            None => match self.conflicts.deleted_there {
                Deleted::LeaveDeleted => {
                    let entry = Entry { hash: wanted, ..entry.clone() };
                    Verdict::Theirs(NoteKind::DeletedThere, entry)
                }
                Deleted::Restore => Verdict::Insert,
                Deleted::Stop => return Err(stop("deleted")),
            },
            Some(_) if is_so => Verdict::IsSo,
            Some(there)
                if entry.hash == 0
                    || entry.run != ADOPTED && there.is_none_or(|hash| hash == entry.hash) =>
            {
                Verdict::Write
            }
            Some(_) => match self.conflicts.changed_there {
                Changed::KeepTheirs => Verdict::Theirs(NoteKind::ChangedThere, entry.clone()),
                Changed::Overwrite => Verdict::Write,
                Changed::Stop => return Err(stop("changed")),
            },
        })
    }
}

/// A changed row of a chunk.
fn change(
    run: u32,
    rows: &Rows,
    chunk: &Chunk,
    wanted: &RecordBatch,
    row: u32,
) -> Result<Change, TargetError> {
    let (place, before) = &chunk.updates[row as usize];
    let place = *place as usize;
    // A row of its own, which does not keep the others in memory.
    let own = take_record_batch(wanted, &UInt32Array::from(vec![row]));
    let after =
        Entry { old: rows.old.key(place), new: rows.new.key(place), hash: rows.hashes[place], run };
    Ok(Change { row: own.map_err(|error| bug(&error))?, before: before.clone(), after })
}

/// Why a row of that run is left as it stands.
pub(super) fn theirs(run: u32) -> &'static str {
    if run == ADOPTED {
        "it was there before the move, and is the application's"
    } else {
        "by the application since the last run"
    }
}

/// What is to be done with a row that has changed.
pub(super) enum Verdict {
    Write,
    Insert,
    IsSo,
    Theirs(NoteKind, Entry),
}
