//! Keys that are compared otherwise than by their bytes: NOCASE, RTRIM.

use dunlin_engine::moves::{SPELT_OTHERWISE, Spelling};
use rusqlite::Connection;

use super::catalogue::qualified;
use crate::fault::Outcome;
use crate::ledger::quoted;

/// The query that counts references of another spelling; `None`: there can be none.
pub(super) fn otherwise(connection: &Connection, spelling: &Spelling) -> Outcome<Option<String>> {
    let table = spelling.to.name.as_str();
    // A view's columns have no collation that could be asked for.
    let Ok((_, collation, ..)) =
        connection.column_metadata(Some("main"), table, spelling.key.as_str())
    else {
        return Ok(None);
    };
    if collation.is_none_or(|collation| collation.to_bytes().eq_ignore_ascii_case(b"BINARY")) {
        return Ok(None);
    }
    let from = match &spelling.query {
        // On lines of its own, since it may end in a comment.
        Some(query) => format!("(\n{}\n)", query.trim_end().trim_end_matches(';')),
        None => qualified(&spelling.from)?,
    };
    let (to, key, column) =
        (qualified(&spelling.to)?, quoted(&spelling.key), quoted(&spelling.column));
    // The key stands on the left: its collation decides.
    Ok(Some(format!(
        "SELECT count(*) AS {SPELT_OTHERWISE} FROM {from} AS f JOIN {to} AS k ON k.{key} = f.{column} \
         WHERE k.{key} COLLATE BINARY <> f.{column}"
    )))
}
