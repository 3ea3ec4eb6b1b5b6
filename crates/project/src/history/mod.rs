//! Other migrators' histories: which tables to look for, whose they are, what they say.

use dunlin_model::{ForeignHistory, HistoryTool, TableQuery, TableShape};

/// The tables to ask a database for, so that [`recognise`] can tell whose history is there.
#[must_use]
pub fn candidate_tables() -> &'static [&'static str] {
    &[]
}

/// Tells whose history a set of tables holds. With `wanted` only that tool's is looked for.
///
/// # Errors
/// A sentence for a person: the wanted table is not there, or two histories are and none is named.
pub fn recognise(
    _tables: &[TableShape],
    _wanted: Option<HistoryTool>,
) -> Result<Option<(HistoryTool, TableQuery)>, String> {
    Ok(None)
}

/// Reads the rows that the query of [`recognise`] returned.
#[must_use]
pub fn decode(
    tool: HistoryTool,
    query: &TableQuery,
    _rows: &[Vec<Option<String>>],
) -> ForeignHistory {
    ForeignHistory {
        tool,
        table: query.table.clone(),
        entries: Vec::new(),
        applied_up_to: None,
        dirty: false,
    }
}
