//! What comparing a move's target with its source comes to.

use std::collections::BTreeMap;

use dunlin_model::Diagnostic;
use serde::Serialize;

use super::differing::ColumnDifference;

/// How a row is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// It should be there, and the move has not written it yet.
    NotWritten,
    /// The old row or the mapping has changed since it was written.
    OutOfDate,
    /// Its old row is gone, or no rule takes it any more, and the new row is still there.
    Gone,
    /// Somebody else has changed it since the move wrote it.
    ChangedThere,
    /// Somebody else has deleted it since the move wrote it.
    DeletedThere,
    /// A row with its key is there that the move did not write.
    AlreadyThere,
}

/// A row that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The old key; `None` where it can't be told any more.
    pub old: Option<String>,
    /// The key in the target.
    pub new: String,
    /// How it differs.
    pub kind: DifferenceKind,
    /// The columns that differ, where both rows are there.
    pub columns: Vec<ColumnDifference>,
}

/// One rule's rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RuleComparison {
    /// The rule.
    pub rule: String,
    /// The target's table.
    pub table: String,
    /// Rows that there should be.
    pub rows: u64,
    /// Rows that are as they should be.
    pub equal: u64,
    /// Rows that are left as they are, as `[conflicts]` says: changed or deleted by the application,
    /// kept although their old row is gone, or still referred to.
    pub left: BTreeMap<DifferenceKind, u64>,
    /// Rows that are not as they should be.
    pub differences: BTreeMap<DifferenceKind, u64>,
    /// Old rows that can't become new ones: an expression failed, a reference is missing.
    pub rejected: u64,
    /// In how many of the rows that are shown each column differs.
    pub columns: BTreeMap<String, u64>,
    /// Some of the rows.
    pub shown: Vec<Difference>,
}

impl RuleComparison {
    /// Whether every row is as it should be.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.rejected == 0
    }
}

/// A whole comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Comparison {
    /// The move.
    pub name: String,
    /// Every row that should be there is, with all its columns, and none that should be gone.
    pub equal: bool,
    /// By rule, in the order of the file.
    pub rules: Vec<RuleComparison>,
    /// Milliseconds in all.
    pub total_ms: u64,
    /// What there is to say about the mapping: warnings and notices.
    #[serde(rename = "diagnostics")]
    pub warnings: Vec<Diagnostic>,
}
