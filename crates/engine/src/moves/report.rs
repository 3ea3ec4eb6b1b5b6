//! What a run comes to.

use std::collections::BTreeMap;

use dunlin_model::Diagnostic;
use serde::Serialize;

use super::differing::ColumnDifference;
use super::key::RowKey;

/// What was done with an old row that did not simply become a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// It could not be moved: an error.
    Rejected,
    /// It was left out, as the mapping says.
    LeftOut,
    /// A column of it became NULL, as the mapping says.
    Nulled,
    /// It became one with another.
    Merged,
    /// Another has its key in the target.
    Duplicate,
    /// No rule takes it, and no `[[leave_out]]` says why.
    NotTaken,
    /// The target has a row of that key that we did not write.
    AlreadyThere,
    /// The application changed the new row, and it was left so.
    ChangedThere,
    /// The application deleted the new row, and it was left so.
    DeletedThere,
    /// It is gone from the source, but the application's rows refer to it.
    StillReferenced,
    /// It is gone from the source, and was kept, as the mapping says.
    Kept,
    /// What stands in the target is not what should be there.
    Differs,
}

/// Something to be told about one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) old: RowKey,
    pub(super) kind: NoteKind,
    pub(super) reason: String,
}

/// One row that is told of, as kept in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Reject {
    /// The rule, or the source for rows that no rule takes.
    pub rule: String,
    /// The old key.
    pub key: String,
    /// What was done: `rejected`, `left_out`, …
    pub what: String,
    /// Why.
    pub reason: String,
}

/// A row that a dry run would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The old key.
    pub old: String,
    /// The key in the target.
    pub new: String,
    /// The columns that would change.
    pub columns: Vec<ColumnDifference>,
}

/// Counts of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RuleReport {
    /// The rule's name.
    pub rule: String,
    /// The target's table.
    pub table: String,
    /// The source.
    pub from: String,
    /// New rows that there should be.
    pub rows: u64,
    /// Inserted.
    pub inserted: u64,
    /// Updated.
    pub updated: u64,
    /// Deleted.
    pub deleted: u64,
    /// As they were.
    pub unchanged: u64,
    /// Rows compared with what stands in the target, and equal.
    pub verified: u64,
    /// By what was done and why: how many rows.
    pub notes: BTreeMap<NoteKind, BTreeMap<String, u64>>,
    /// Of a dry run: in how many rows each column would change.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, u64>,
    /// Of a dry run: some of the rows that would change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

impl RuleReport {
    /// Rows of a kind.
    #[must_use]
    pub fn count(&self, kind: NoteKind) -> u64 {
        self.notes.get(&kind).map_or(0, |reasons| reasons.values().sum())
    }
}

/// Counts of one source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SourceReport {
    /// Its name.
    pub source: String,
    /// Rows that were read.
    pub rows: u64,
    /// Rows that `[[leave_out]]` names, by its reason.
    pub left_out: BTreeMap<String, u64>,
    /// Rows that a `[[leave_out]]` names by its `where`, and that a rule takes all the same.
    pub named_and_taken: u64,
    /// Rows that no rule takes.
    pub not_taken: u64,
    /// Records of files that could not be read as rows, and rows whose key can't be; `rows` doesn't
    /// count them.
    pub unread: u64,
}

/// A run's whole report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MoveReport {
    /// The move.
    pub name: String,
    /// The number of the run, from 1.
    pub run: u32,
    /// Nothing was written: it only counts.
    pub dry_run: bool,
    /// Every row that should be there was compared and is, and none was rejected.
    pub verified: bool,
    /// By rule, in the order of the file.
    pub rules: Vec<RuleReport>,
    /// By source.
    pub sources: Vec<SourceReport>,
    /// Why it is not verified, or ended early.
    pub problems: Vec<String>,
    /// Milliseconds that deciding took.
    pub decide_ms: u64,
    /// Milliseconds that loading took.
    pub load_ms: u64,
    /// Milliseconds that comparing took.
    pub verify_ms: u64,
    /// Milliseconds in all.
    pub total_ms: u64,
    /// Bytes of key sets that went to temporary files.
    pub spilled_bytes: u64,
    /// What there is to say about the mapping: warnings and notices.
    #[serde(rename = "diagnostics")]
    pub warnings: Vec<Diagnostic>,
}

impl MoveReport {
    /// Rows that were inserted, updated or deleted.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.rules.iter().map(|rule| rule.inserted + rule.updated + rule.deleted).sum()
    }

    /// Rows of a kind, in all rules.
    #[must_use]
    pub fn count(&self, kind: NoteKind) -> u64 {
        self.rules.iter().map(|rule| rule.count(kind)).sum()
    }
}
