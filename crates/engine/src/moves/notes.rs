//! Rows that are told of: counted by reason, and kept for `move rejects`.

use std::collections::HashMap;

use super::key::RowKey;
use super::report::{Note, NoteKind, Reject, RuleReport};
use super::session::Session;
use super::values::Values;
use crate::TargetError;

/// Their area in the store.
pub(super) const NOTES_AREA: &str = "notes";

/// Rows in one value of the store.
const NOTES_AT_ONCE: usize = 1_000;

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

/// Takes back what was told of rows that were done after all: a note for each, by its old key and
/// reason. An old row may have become several, and what is told of the others stays.
pub(super) fn take_back<'r>(
    notes: &mut Vec<Note>,
    kind: NoteKind,
    done: impl Iterator<Item = (&'r RowKey, &'r str)>,
) {
    let mut reasons: HashMap<&RowKey, Vec<&str>> = HashMap::new();
    done.for_each(|(old, reason)| reasons.entry(old).or_default().push(reason));
    notes.retain(|note| {
        let reasons = reasons.get_mut(&note.old).filter(|_| note.kind == kind);
        let is_done = reasons.and_then(|reasons| {
            let place = reasons.iter().position(|reason| *reason == note.reason)?;
            Some(reasons.swap_remove(place))
        });
        is_done.is_none()
    });
}

/// Writes them to the store, one after the other.
pub(super) struct Rejects {
    rows: Vec<Reject>,
    values: Values,
}

impl Rejects {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), values: Values::new(NOTES_AREA) }
    }

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
        let value = serde_json::to_vec(&self.rows).unwrap_or_default();
        self.rows.clear();
        self.values.push(session, value).await
    }

    /// There are no more.
    pub(super) async fn end(mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        if !self.rows.is_empty() {
            self.value(session).await?;
        }
        self.values.end(session).await
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
