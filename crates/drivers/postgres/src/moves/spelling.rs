//! Keys that are compared otherwise than by their bytes: `citext`, collations that are not deterministic.

use dunlin_engine::TargetError;
use dunlin_engine::moves::{SPELT_OTHERWISE, Spelling};

use super::extract::bare;
use super::table_sql;
use crate::quote;
use crate::rows::{boolean, field, required};
use crate::session::Session;

/// The query that counts references of another spelling; `None`: there can be none.
pub(super) async fn otherwise(
    session: &Session,
    spelling: &Spelling,
) -> Result<Option<String>, TargetError> {
    let to = table_sql(&spelling.to);
    let answers = session
        .ask(&format!(
            "SELECT COALESCE(b.typname, t.typname) = 'citext', COALESCE(l.collisdeterministic, true), \
             n.nspname, l.collname, pg_catalog.format_type(a.atttypid, NULL) \
             FROM pg_catalog.pg_attribute AS a \
             JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid \
             LEFT JOIN pg_catalog.pg_type AS b ON b.oid = t.typbasetype AND t.typtype = 'd' \
             LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation \
             LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = l.collnamespace \
             WHERE a.attrelid = {}::pg_catalog.regclass AND a.attname = {}",
            quote::text(&to),
            quote::text(&spelling.key)
        ))
        .await?;
    let Some(row) = answers.first().and_then(|answer| answer.rows.first()) else {
        return Ok(None);
    };
    let key = format!("k.{}", quote::name(&spelling.key));
    let column = format!("f.{}", quote::name(&spelling.column));
    let same = if boolean(row, 0)? {
        format!("{column}::{}", required(row, 4)?)
    } else if boolean(row, 1)? {
        return Ok(None);
    } else {
        let (schema, name) = (field(row, 2)?.unwrap_or("pg_catalog"), required(row, 3)?);
        format!("({column}::pg_catalog.text COLLATE {}.{})", quote::name(schema), quote::name(name))
    };
    let from = match &spelling.query {
        // The line's end closes a comment of the query's.
        Some(query) => format!("({}\n)", bare(query)),
        None => table_sql(&spelling.from),
    };
    let bytes = |value: &str| format!("{value}::pg_catalog.text COLLATE \"C\"");
    Ok(Some(format!(
        "SELECT pg_catalog.count(*) AS {SPELT_OTHERWISE} FROM {from} AS f JOIN {to} AS k \
         ON {key} = {same} WHERE {} <> {}",
        bytes(&key),
        bytes(&column)
    )))
}
