//! What a dry run would change: judged as a run judges, column by column, and not written.

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use dunlin_model::moves::Changed;

use super::chunk::{Chunk, ChunkWriter, Postponed, Rows, new_keys};
use super::columns::bug;
use super::differing::Beside;
use super::gone::GoneEntry;
use super::key::RowKey;
use super::pack::ADOPTED;
use super::report::{Change, Note};
use super::session::Session;
use super::settle::{gone_and_changed, keys_there, stop_at_gone};
use super::update::{Updates, Verdict, theirs};
use super::writer::RuleWriter;
use crate::TargetError;

/// Rows of each rule that are shown.
const SHOWN_MAX: usize = 5;

impl RuleWriter<'_> {
    /// Counts what a chunk would do.
    pub(super) async fn rehearse(
        &mut self,
        session: &mut Session<'_>,
        by: &ChunkWriter,
        rows: &Rows,
        chunk: &Chunk,
    ) -> Result<(), TargetError> {
        self.rehearse_inserts(session, rows, &chunk.inserts).await?;
        if chunk.updates.is_empty() {
            return Ok(());
        }
        let updates = Updates::of(rows, chunk, session.run)?;
        let mut write = Vec::new();
        for (row, verdict) in (0..).zip(by.verdicts(session, &updates).await?) {
            match verdict {
                Verdict::Write => write.push(row),
                Verdict::Insert => self.report.inserted += 1,
                Verdict::IsSo => self.report.unchanged += 1,
                Verdict::Theirs(kind, entry) => {
                    let (before, after) = &updates.entries[row as usize];
                    let is_as_before = before.run != ADOPTED && before.hash == after.hash;
                    self.report.unchanged += u64::from(is_as_before);
                    let reason = theirs(entry.run).to_owned();
                    self.notes.push(Note { old: entry.old, kind, reason });
                }
            }
        }
        if write.is_empty() {
            return Ok(());
        }
        self.report.updated += write.len() as u64;
        let some = updates.some(&write)?;
        let keys = new_keys(self.rule, &some)?;
        let keys: Vec<_> = (0..some.num_rows()).map(|row| keys.key(row)).collect();
        let written = &self.rule.written;
        let beside = Beside::fetch(written, session, &some).await?;
        let differs = beside.columns(&written.fields, &some, &keys, session.show_values)?;
        for (row, columns) in write.into_iter().zip(differs) {
            let columns = columns.unwrap_or_default();
            for one in &columns {
                *self.report.columns.entry(one.column.clone()).or_default() += 1;
            }
            if self.report.changes.len() < SHOWN_MAX {
                let (_, after) = &updates.entries[row as usize];
                let (old, new) = (after.old.text(), after.new.text());
                self.report.changes.push(Change { old, new, columns });
            }
        }
        Ok(())
    }

    /// Counts new rows, and remembers those whose key is there: they are told of, or come to the row
    /// that another old row left.
    async fn rehearse_inserts(
        &mut self,
        session: &mut Session<'_>,
        rows: &Rows,
        inserts: &[u32],
    ) -> Result<(), TargetError> {
        // A reload counts what is gone, and nothing else.
        if self.foreseen.is_none() {
            self.report.inserted += inserts.len() as u64;
            return Ok(());
        }
        let keys: Vec<RowKey> = inserts.iter().map(|place| rows.new.key(*place as usize)).collect();
        let there = keys_there(self.rule, session, &keys.iter().collect::<Vec<_>>()).await?;
        for (place, there) in inserts.iter().zip(there) {
            if there.is_none() {
                self.report.inserted += 1;
                continue;
            }
            let row = take_record_batch(&rows.batch, &UInt32Array::from(vec![*place]));
            let row = row.map_err(|error| bug(&error))?;
            let entry = rows.entry(*place as usize, session.run);
            self.postponed.push(Postponed { row, entry, refused: None });
        }
        Ok(())
    }

    /// Counts those of its rows that would be deleted, and tells of those that the application changed.
    pub(super) fn rehearse_deletions(&mut self, gone: &[GoneEntry]) -> Result<(), TargetError> {
        for GoneEntry { entry, is_shared, .. } in gone {
            let found = self.foreseen(&entry.new).map(|found| found.is_missing);
            match (found, self.conflicts.changed_there) {
                // Another old row has its new one, or the application deleted it.
                _ if *is_shared => {}
                (Some(true), _) => {}
                (Some(false), Changed::Stop) => return Err(stop_at_gone(self.rule)),
                (Some(false), Changed::KeepTheirs) => self.notes.push(gone_and_changed(entry)),
                (None, _) | (Some(false), Changed::Overwrite) => self.report.deleted += 1,
            }
        }
        Ok(())
    }
}
