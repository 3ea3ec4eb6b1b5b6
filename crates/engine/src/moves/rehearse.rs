//! What a dry run would change: judged as a run judges, column by column, and not written.

use super::chunk::{Chunk, ChunkWriter, Rows, new_keys};
use super::differing::Beside;
use super::report::{Change, Note};
use super::session::Session;
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
        self.report.inserted += chunk.inserts.len() as u64;
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
}
