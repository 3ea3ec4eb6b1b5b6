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
        let updates = Updates::of(rows, chunk, session.run)?;
        self.update_all(session, &updates, outcome).await
    }

    /// Does what is to be done with each of these rows, in the transaction that is open.
    pub(super) async fn update_all(
        &self,
        session: &mut Session<'_>,
        updates: &Updates,
        outcome: &mut Outcome,
    ) -> Result<(), TargetError> {
        let (mut write, mut restore) = (Vec::new(), Vec::new());
        let verdicts = self.verdicts(session, updates).await?;
        for (row, verdict) in (0..).zip(verdicts) {
            match verdict {
                Verdict::Write => write.push(row),
                Verdict::Insert => restore.push(row),
                Verdict::IsSo => outcome.unchanged += 1,
                Verdict::Theirs(kind, entry) => {
                    let reason = theirs(entry.run).to_owned();
                    let old = entry.old.clone();
                    outcome.instead.insert((old.clone(), entry.new.clone()), entry);
                    outcome.notes.push(Note { old, kind, reason });
                }
            }
        }
        self.write_updates(session, updates, &write, outcome).await?;
        if !restore.is_empty() {
            let some = updates.some(&restore)?;
            let refused = session.target.insert(&self.rule.written, &some).await?;
            outcome.inserted += restore.len() as u64 - refused.rejected.len() as u64;
            for (row, reason) in refused.rejected {
                updates.refuse(restore[row as usize], reason, outcome);
            }
        }
        Ok(())
    }

    /// What is to be done with each row that is to be updated.
    pub(super) async fn verdicts(
        &self,
        session: &mut Session<'_>,
        updates: &Updates,
    ) -> Result<Vec<Verdict>, TargetError> {
        let entries = updates.entries.iter().map(|(before, _)| before);
        let there = self.shapes.hashes_there(&self.rule, session, entries).await?;
        let is_so = self.already_so(session, updates, &there).await?;
        let judged = (0..).zip(&updates.entries).map(|(row, (before, after))| {
            let there = there.get(&after.new).copied();
            self.judge(before, after.hash, there, is_so.contains(&row))
        });
        judged.collect()
    }

    /// Which rows stand there already as they should be. Only those are looked at that are not as the
    /// last run left them, or that were written with other columns: of all others none is.
    async fn already_so(
        &self,
        session: &mut Session<'_>,
        updates: &Updates,
        there: &HashMap<RowKey, Option<RowHash>>,
    ) -> Result<HashSet<u32>, TargetError> {
        let changed: Vec<u32> = (0..)
            .zip(&updates.entries)
            .filter(|(_, (entry, _))| {
                let is_other = |hash: &Option<RowHash>| *hash != Some(entry.hash);
                there.get(&entry.new).is_some_and(is_other) || !self.shapes.is_current(entry.run)
            })
            .map(|(row, _)| row)
            .collect();
        if changed.is_empty() {
            return Ok(HashSet::new());
        }
        let some = updates.some(&changed)?;
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
        updates: &Updates,
        write: &[u32],
        outcome: &mut Outcome,
    ) -> Result<(), TargetError> {
        if write.is_empty() {
            return Ok(());
        }
        let refused = session.target.update(&self.rule.written, &updates.some(write)?).await?;
        outcome.updated += write.len() as u64 - refused.rejected.len() as u64;
        for (row, reason) in refused.rejected {
            let row = write[row as usize];
            if outcome.refused.len() < EXCHANGE_ROWS_MAX {
                outcome.refused.push(updates.change(row, &reason)?);
            }
            updates.refuse(row, reason, outcome);
        }
        Ok(())
    }

    fn judge(
        &self,
        entry: &Entry,
        wanted: RowHash,
        there: Option<Option<RowHash>>,
        is_so: bool,
    ) -> Result<Verdict, TargetError> {
        let stop = |what: &str| {
            let table = &self.rule.written.table;
            // A dry run looks at rows of both kinds.
            let which = match entry.hash == wanted {
                true => "that the move wrote",
                false => "that has changed in the source",
            };
            let message = format!("the application {what} a row of {table} {which}");
            TargetError::new(ErrorKind::Statement, message).help(
                "the mapping says `stop`: look at it, or choose another word under [conflicts]",
            )
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

/// Rows that are to be updated.
pub(super) struct Updates {
    /// The rows as they should be.
    pub(super) wanted: RecordBatch,
    /// The entry of each as it is, and as it becomes.
    pub(super) entries: Vec<(Entry, Entry)>,
}

impl Updates {
    /// Those of a chunk.
    pub(super) fn of(rows: &Rows, chunk: &Chunk, run: u32) -> Result<Self, TargetError> {
        let places: UInt32Array = chunk.updates.iter().map(|(place, _)| *place).collect();
        let wanted = take_record_batch(&rows.batch, &places).map_err(|error| bug(&error))?;
        let entries = chunk.updates.iter().map(|(place, before)| {
            let after = rows.entry(*place as usize, run);
            (before.held_by(&after.old), after)
        });
        Ok(Self { wanted, entries: entries.collect() })
    }

    /// Some of the rows.
    pub(super) fn some(&self, rows: &[u32]) -> Result<RecordBatch, TargetError> {
        let places = UInt32Array::from(rows.to_vec());
        take_record_batch(&self.wanted, &places).map_err(|error| bug(&error))
    }

    /// A row that the database refuses.
    fn change(&self, row: u32, reason: &str) -> Result<Change, TargetError> {
        let (before, after) = self.entries[row as usize].clone();
        // A row of its own, which does not keep the others in memory.
        Ok(Change { row: self.some(&[row])?, before, after, reason: reason.to_owned() })
    }

    /// What stands there stays, and so does its entry.
    fn refuse(&self, row: u32, reason: String, outcome: &mut Outcome) {
        let (before, _) = &self.entries[row as usize];
        let old = before.old.clone();
        outcome.instead.insert((old.clone(), before.new.clone()), before.clone());
        outcome.notes.push(Note { old, kind: NoteKind::Rejected, reason });
    }
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
