//! What a header says about chunks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens to a row that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The run stops there and names the row's key.
    #[default]
    Stop,
    /// The row is set aside with its error, and the rest goes on.
    Quarantine,
}

/// How a data migration is cut into chunks. `docs/reference/directives.md` is the reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chunking {
    /// `chunk-by posts`: the table that is walked, as written.
    pub table: String,
    /// `chunk-key tenant_id, id`: the columns of its key; empty: the primary key, else the best
    /// unique index.
    pub key: Vec<String>,
    /// `chunk-where SQL`: which rows matter, for estimates and for what is captured.
    pub filter: Option<String>,
    /// The line of the file that it stands on, from 1.
    #[serde(skip)]
    pub filter_line: Option<usize>,
    /// `chunk-rows 5000`: at most so many rows.
    pub rows: Option<u64>,
    /// `chunk-bytes 16MB`: at most about so many bytes of rows.
    pub bytes: Option<u64>,
    /// `chunk-time 500ms`: the time that a chunk should take.
    pub time: Option<Duration>,
    /// `workers 2`: so many chunks at once.
    pub workers: Option<u32>,
    /// `rate 5000 rows/s`: at most so many rows a second.
    pub rate: Option<u64>,
    /// `on-error quarantine`.
    pub on_error: OnError,
    /// `undo capture for 14 days`: old values are kept so long.
    pub undo: Option<Duration>,
    /// `repeat until-done max 5`: the table is walked again while `done-when` does not hold, so
    /// often at most in all; 1 without it.
    pub rounds: u32,
}

impl Chunking {
    /// Chunks over a table, all else by default.
    pub fn by(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            key: Vec::new(),
            filter: None,
            filter_line: None,
            rows: None,
            bytes: None,
            time: None,
            workers: None,
            rate: None,
            on_error: OnError::Stop,
            undo: None,
            rounds: 1,
        }
    }
}
