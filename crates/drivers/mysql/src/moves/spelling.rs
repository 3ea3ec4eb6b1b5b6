//! Keys that are compared otherwise than by their bytes: without case, accents, or blanks at the end.

use dunlin_engine::TargetError;
use dunlin_engine::moves::{SPELT_OTHERWISE, Spelling};

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
    // Other binary collations pass over blanks at the end.
    if collation.ends_with("_nopad_bin") || collation.ends_with("_0900_bin") {
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
