//! Keys that are compared otherwise than by their bytes: without case, accents, or blanks at the end.

use dunlin_engine::TargetError;
use dunlin_engine::moves::{COMPARED, ColumnOf, SPELT_OTHERWISE, Spelling};

use super::catalogue::qualified;
use super::encode::text_literal;
use super::kind::bytes_of;
use crate::literal;
use crate::session::Session;

/// The query that counts references of another spelling; `None`: there can be none.
pub(super) async fn otherwise(
    session: &mut Session,
    spelling: &Spelling,
    database: &str,
) -> Result<Option<String>, TargetError> {
    let answers = session
        .run(&format!(
            "SELECT character_set_name, collation_name FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = {} AND column_name = {}",
            text_literal(&spelling.to.name),
            text_literal(&spelling.key)
        ))
        .await?;
    let row = answers.first().and_then(|answer| answer.rows.first());
    let Some((Some(letters), Some(collation))) = row.map(|row| (row.optional(0), row.optional(1)))
    else {
        return Ok(None);
    };
    if is_by_bytes(&collation) {
        return Ok(None);
    }
    let from = match &spelling.query {
        Some(query) => format!("(\n{}\n)", query.trim_end().trim_end_matches(';')),
        None => qualified(&spelling.from, database)?,
    };
    let to = qualified(&spelling.to, database)?;
    let key = format!("k.{}", literal::name(&spelling.key));
    let column = format!("f.{}", literal::name(&spelling.column));
    Ok(Some(format!(
        "SELECT count(*) AS {SPELT_OTHERWISE} FROM {from} AS f JOIN {to} AS k \
         ON {key} = CONVERT({column} USING {letters}) COLLATE {collation} \
         WHERE {} <> {}",
        bytes_of(&key),
        bytes_of(&column)
    )))
}

/// Other binary collations pass over blanks at the end.
fn is_by_bytes(collation: &str) -> bool {
    collation == "binary" || collation.ends_with("_nopad_bin") || collation.ends_with("_0900_bin")
}

/// The query that tells which values of a column are the same for a key; `None`: those of the same bytes.
pub(super) async fn compared(
    session: &mut Session,
    key: &ColumnOf,
    values: &ColumnOf,
    database: &str,
) -> Result<Option<String>, TargetError> {
    let (keys, values_of) = (rows_of(key, database)?, rows_of(values, database)?);
    let (key, value) = (literal::name(&key.column), literal::name(&values.column));
    let answers = session
        .run(&format!("SELECT CHARSET(k.{key}), COLLATION(k.{key}) FROM {keys} AS k LIMIT 1"))
        .await?;
    let row = answers.first().and_then(|answer| answer.rows.first());
    // Where there is no row, nothing is found.
    let Some((Some(letters), Some(collation))) = row.map(|row| (row.optional(0), row.optional(1)))
    else {
        return Ok(None);
    };
    if is_by_bytes(&collation) {
        return Ok(None);
    }
    // A letter that the key's set lacks would become a question mark, and might find one.
    let lossless = match letters.as_str() {
        "utf8mb4" => String::new(),
        _ => format!(
            " AND CONVERT(CONVERT(f.{value} USING {letters}) USING utf8mb4) = \
             CONVERT(f.{value} USING utf8mb4) COLLATE utf8mb4_bin"
        ),
    };
    let [name, same] = COMPARED;
    Ok(Some(format!(
        "SELECT f.{value} AS {name}, g.same AS {same} FROM {values_of} AS f LEFT JOIN \
         (SELECT k.{key} AS spelt, HEX(MIN({bytes})) AS same FROM {keys} AS k GROUP BY k.{key}) AS g \
         ON g.spelt = CONVERT(f.{value} USING {letters}) COLLATE {collation}{lossless}",
        bytes = bytes_of(&format!("k.{key}")),
    )))
}

fn rows_of(of: &ColumnOf, database: &str) -> Result<String, TargetError> {
    match &of.query {
        Some(query) => Ok(format!("(\n{}\n)", query.trim_end().trim_end_matches(';'))),
        None => qualified(&of.table, database),
    }
}
