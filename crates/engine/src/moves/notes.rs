//! Rows that are told of: counted by reason, and kept for `move rejects`.

use super::ports::Stored;
use super::report::{Note, NoteKind, Reject, RuleReport};

/// Their area in the store.
pub(super) const NOTES_AREA: &str = "notes";

/// Rows in one value of the store.
const NOTES_AT_ONCE: usize = 1_000;

/// Counts them by what was done and why.
pub(super) fn count_notes(report: &mut RuleReport, notes: &[Note]) {
    for note in notes {
        let reasons = report.notes.entry(note.kind).or_default();
        *reasons.entry(note.reason.clone()).or_default() += 1;
    }
}

/// What must change in the store so that it holds these. Nothing, where they are as before.
pub(super) fn store_notes(all: &[(String, Vec<Note>)], stored: &[Stored]) -> Vec<Stored> {
    let rejects: Vec<Reject> = all
        .iter()
        .flat_map(|(rule, notes)| {
            notes.iter().map(|note| Reject {
                rule: rule.clone(),
                key: note.old.text(),
                what: word(note.kind).to_owned(),
                reason: note.reason.clone(),
            })
        })
        .collect();
    let mut entries: Vec<Stored> = rejects
        .chunks(NOTES_AT_ONCE)
        .zip(0..)
        .map(|(some, number)| Stored {
            area: NOTES_AREA.to_owned(),
            number,
            value: serde_json::to_vec(some).ok(),
        })
        .collect();
    for old in stored {
        if old.number >= entries.len() as i64 {
            entries.push(Stored { value: None, ..old.clone() });
        }
    }
    entries.retain(|entry| !stored.contains(entry));
    entries
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
