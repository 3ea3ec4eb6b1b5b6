//! Keys that are compared otherwise than by their bytes: NOCASE, RTRIM.

use dunlin_engine::moves::{COMPARED, ColumnOf, SPELT_OTHERWISE, Spelling};
use dunlin_model::moves::TableName;
use rusqlite::Connection;

use super::catalogue::qualified;
use crate::fault::Outcome;
use crate::ledger::quoted;

/// The query that counts references of another spelling; `None`: there can be none.
pub(super) fn otherwise(connection: &Connection, spelling: &Spelling) -> Outcome<Option<String>> {
    if collation(connection, &spelling.to, &spelling.key).is_none() {
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

/// A column's collation, other than by bytes. A view's columns, and a query's, have none that could be
/// asked for.
fn collation(connection: &Connection, table: &TableName, column: &str) -> Option<String> {
    let (_, collation, ..) =
        connection.column_metadata(Some("main"), table.name.as_str(), column).ok()?;
    let collation = collation?.to_str().ok()?;
    (!collation.eq_ignore_ascii_case("BINARY")).then(|| collation.to_owned())
}

/// The query that tells which values of a column are the same for a key; `None`: those of the same bytes.
pub(super) fn compared(
    connection: &Connection,
    key: &ColumnOf,
    values: &ColumnOf,
) -> Outcome<Option<String>> {
    if key.query.is_some() {
        return Ok(None);
    }
    let Some(collation) = collation(connection, &key.table, &key.column) else {
        return Ok(None);
    };
    let collation = quoted(&collation);
    let (keys, values_of) = (rows_of(key)?, rows_of(values)?);
    let (key, value) = (quoted(&key.column), quoted(&values.column));
    let [name, same] = COMPARED;
    Ok(Some(format!(
        "SELECT f.{value} AS {name}, g.same AS {same} FROM {values_of} AS f LEFT JOIN \
         (SELECT k.{key} AS spelt, hex(min(CAST(k.{key} AS BLOB))) AS same FROM {keys} AS k \
         GROUP BY k.{key} COLLATE {collation}) AS g ON g.spelt = f.{value} COLLATE {collation}"
    )))
}

fn rows_of(of: &ColumnOf) -> Outcome<String> {
    match &of.query {
        // On lines of its own, since it may end in a comment.
        Some(query) => Ok(format!("(\n{}\n)", query.trim_end().trim_end_matches(';'))),
        None => Ok(qualified(&of.table)?),
    }
}
