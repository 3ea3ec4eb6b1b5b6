//! Other migrators' histories: which tables to look for, whose they are, what they say.
//!
//! Invariant: nothing here writes, and a table of an unknown shape is nobody's history rather than
//! a guess. What is left out: reading the rows, which the drivers do.

mod decode;
mod shape;

use dunlin_model::{ForeignHistory, HistoryTool, TableQuery, TableShape};

/// The tables to ask a database for, so that [`recognise`] can tell whose history is there.
#[must_use]
pub fn candidate_tables() -> &'static [&'static str] {
    shape::CANDIDATES
}

/// Tells whose history a set of tables holds. With `wanted` only that tool's is looked for.
///
/// Of two tables of one name the first counts: that is the one that the search path finds.
///
/// # Errors
/// A sentence for a person: the wanted table is not there, or two histories are and none is named.
pub fn recognise(
    tables: &[TableShape],
    wanted: Option<HistoryTool>,
) -> Result<Option<(HistoryTool, TableQuery)>, String> {
    if let Some(tool) = wanted {
        return match shape::find(tables, tool) {
            Some(query) => Ok(Some((tool, query))),
            None => Err(not_found(tables, tool)),
        };
    }
    let mut found = shape::recognised(tables);
    let Some(first) = found.pop() else { return Ok(None) };
    if found.is_empty() {
        return Ok(Some(first));
    }
    found.push(first);
    let tools: Vec<String> =
        found.iter().map(|(tool, query)| format!("{tool} (in {})", query.table)).collect();
    Err(format!(
        "the database has the histories of {}: say in dunlin.toml which one counts, with \
         schema_history = \"{}\" (or \"none\")",
        tools.join(" and of "),
        found[0].0
    ))
}

fn not_found(tables: &[TableShape], tool: HistoryTool) -> String {
    let name = shape::table_name(tool);
    let start = format!("schema_history = \"{tool}\", but ");
    match tables.iter().find(|table| table.name.eq_ignore_ascii_case(name)) {
        None => format!(
            "{start}the database has no table {name} that this login can see: run {tool} first, or \
             check the database and the search path"
        ),
        Some(other) => match shape::recognised(std::slice::from_ref(other)).first() {
            Some((owner, _)) => format!(
                "{start}the table {} looks like {owner}'s: correct schema_history in dunlin.toml",
                other.table
            ),
            None => format!(
                "{start}the table {} does not have {tool}'s columns ({})",
                other.table,
                shape::needed_columns(tool).join(", ")
            ),
        },
    }
}

/// Reads the rows that the query of [`recognise`] returned.
#[must_use]
pub fn decode(
    tool: HistoryTool,
    query: &TableQuery,
    rows: &[Vec<Option<String>>],
) -> ForeignHistory {
    decode::decode(tool, query, rows)
}
