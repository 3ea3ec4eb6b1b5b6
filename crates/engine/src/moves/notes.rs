//! Rows that are told of: counted by reason, and kept for `move rejects`.

use std::collections::VecDeque;

use super::ports::Stored;
use super::report::{Note, NoteKind, Reject, RuleReport};
use super::session::Session;
use crate::TargetError;

/// Their area in the store.
pub(super) const NOTES_AREA: &str = "notes";

/// Rows in one value of the store.
const NOTES_AT_ONCE: usize = 1_000;

/// Values that are put in one transaction.
const VALUES_AT_ONCE: usize = 32;

/// Counts one by what was done and why.
pub(super) fn count_note(report: &mut RuleReport, note: &Note) {
    let reasons = report.notes.entry(note.kind).or_default();
    match reasons.get_mut(&note.reason) {
        Some(count) => *count += 1,
        None => {
            reasons.insert(note.reason.clone(), 1);
        }
    }
}

/// Writes them to the store, one after the other; what stands there already is left alone.
#[derive(Default)]
pub(super) struct Rejects {
    rows: Vec<Reject>,
    /// The number of the next value.
    number: i64,
    /// What stands in the store from that number on, as far as it was read.
    stored: VecDeque<Stored>,
    changed: Vec<Stored>,
}

impl Rejects {
    /// One more, of a rule or source.
    pub(super) async fn push(
        &mut self,
        session: &mut Session<'_>,
        of: &str,
        note: &Note,
    ) -> Result<(), TargetError> {
        self.rows.push(Reject {
            rule: of.to_owned(),
            key: note.old.text(),
            what: word(note.kind).to_owned(),
            reason: note.reason.clone(),
        });
        if self.rows.len() < NOTES_AT_ONCE { Ok(()) } else { self.value(session).await }
    }

    async fn value(&mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        let entry = Stored {
            area: NOTES_AREA.to_owned(),
            number: self.number,
            value: serde_json::to_vec(&self.rows).ok(),
        };
        self.rows.clear();
        self.read(session).await?;
        self.number += 1;
        let is_so = self.stored.front().is_some_and(|stored| *stored == entry);
        self.stored.pop_front_if(|stored| stored.number == entry.number);
        if !is_so {
            self.changed.push(entry);
        }
        if self.changed.len() < VALUES_AT_ONCE { Ok(()) } else { self.put(session).await }
    }

    /// Has what stands in the store from the next number on.
    async fn read(&mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        if self.stored.is_empty() {
            self.stored = session.stored(NOTES_AREA, self.number).await?.into();
        }
        Ok(())
    }

    async fn put(&mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        session.put(&std::mem::take(&mut self.changed)).await
    }

    /// There are no more: what stands in the store beyond is of an earlier run.
    pub(super) async fn end(mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        if !self.rows.is_empty() {
            self.value(session).await?;
        }
        loop {
            self.read(session).await?;
            if self.stored.is_empty() {
                return self.put(session).await;
            }
            for stored in std::mem::take(&mut self.stored) {
                self.number = stored.number + 1;
                self.changed.push(Stored { value: None, ..stored });
            }
            self.put(session).await?;
        }
    }
}

/// What was done, as a word for files.
#[must_use]
pub(super) fn word(kind: NoteKind) -> &'static str {
    match kind {
        NoteKind::Rejected => "rejected",
        NoteKind::LeftOut => "left_out",
        NoteKind::Nulled => "nulled",
        NoteKind::Merged => "merged",
        NoteKind::Duplicate => "duplicate",
        NoteKind::NotTaken => "not_taken",
        NoteKind::AlreadyThere => "already_there",
        NoteKind::ChangedThere => "changed_there",
        NoteKind::DeletedThere => "deleted_there",
        NoteKind::StillReferenced => "still_referenced",
        NoteKind::Kept => "kept",
        NoteKind::Differs => "differs",
    }
}
