//! Rows on their way through a program of the user's.

use super::Key;

/// One row as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Key,
    /// What tells whether the row has changed since, in the driver's own form.
    pub version: String,
    /// The columns asked for, in that order, each as [`super::ValueForm`] says; `None` is NULL.
    pub values: Vec<Option<String>>,
}

/// New values for one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// Which row.
    pub key: Key,
    /// The row's version as it was read: if it is another by now, nothing is written.
    pub version: String,
    /// Column and value, in the same form as they are read.
    pub set: Vec<(String, Option<String>)>,
}
