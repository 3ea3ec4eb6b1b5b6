//! Keys that are compared otherwise than by their bytes: `citext`, collations that are not deterministic.

use dunlin_engine::TargetError;
use dunlin_engine::moves::{COMPARED, ColumnOf, SPELT_OTHERWISE, Spelling};
use dunlin_model::moves::TableName;

use super::extract::bare;
use super::table_sql;
use crate::quote;
use crate::rows::{boolean, field, required};
use crate::session::Session;

/// How a column is compared, other than by its bytes.
enum Comparison {
    /// As another type: `citext`.
    Type(String),
    /// By a collation.
    Collation(String),
}

impl Comparison {
    async fn of(
        session: &Session,
        table: &TableName,
        column: &str,
    ) -> Result<Option<Self>, TargetError> {
        let answers = session
            .ask(&format!(
                "SELECT COALESCE(b.typname, t.typname) = 'citext', \
                 COALESCE(l.collisdeterministic, true), n.nspname, l.collname, \
                 pg_catalog.format_type(COALESCE(b.oid, t.oid), NULL) \
                 FROM pg_catalog.pg_attribute AS a \
                 JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid \
                 LEFT JOIN pg_catalog.pg_type AS b ON b.oid = t.typbasetype AND t.typtype = 'd' \
                 LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation \
                 LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = l.collnamespace \
                 WHERE a.attrelid = {}::pg_catalog.regclass AND a.attname = {}",
                quote::text(&table_sql(table)),
                quote::text(column)
            ))
            .await?;
        let Some(row) = answers.first().and_then(|answer| answer.rows.first()) else {
            return Ok(None);
        };
        if boolean(row, 0)? {
            return Ok(Some(Self::Type(required(row, 4)?.to_owned())));
        }
        if boolean(row, 1)? {
            return Ok(None);
        }
        let (schema, name) = (field(row, 2)?.unwrap_or("pg_catalog"), required(row, 3)?);
        Ok(Some(Self::Collation(format!("{}.{}", quote::name(schema), quote::name(name)))))
    }

    /// A value, so that it is compared like this.
    fn sql(&self, value: &str) -> String {
        match self {
            Self::Type(name) => format!("{value}::{name}"),
            Self::Collation(name) => format!("({value}::pg_catalog.text COLLATE {name})"),
        }
    }
}

fn bytes(value: &str) -> String {
    format!("{value}::pg_catalog.text COLLATE \"C\"")
}

fn rows_of(table: &TableName, query: Option<&String>) -> String {
    match query {
        // The line's end closes a comment of the query's.
        Some(query) => format!("({}\n)", bare(query)),
        None => table_sql(table),
    }
}

/// The query that counts references of another spelling; `None`: there can be none.
pub(super) async fn otherwise(
    session: &Session,
    spelling: &Spelling,
) -> Result<Option<String>, TargetError> {
    let Some(comparison) = Comparison::of(session, &spelling.to, &spelling.key).await? else {
        return Ok(None);
    };
    let key = format!("k.{}", quote::name(&spelling.key));
    let column = format!("f.{}", quote::name(&spelling.column));
    Ok(Some(format!(
        "SELECT pg_catalog.count(*) AS {SPELT_OTHERWISE} FROM {from} AS f JOIN {to} AS k \
         ON {key} = {same} WHERE {} <> {}",
        bytes(&key),
        bytes(&column),
        from = rows_of(&spelling.from, spelling.query.as_ref()),
        to = table_sql(&spelling.to),
        same = comparison.sql(&column),
    )))
}

/// The query that tells which values of a column are the same for a key; `None`: those of the same bytes.
pub(super) async fn compared(
    session: &Session,
    key: &ColumnOf,
    values: &ColumnOf,
) -> Result<Option<String>, TargetError> {
    // What a query's columns are compared by isn't known.
    if key.query.is_some() {
        return Ok(None);
    }
    let Some(comparison) = Comparison::of(session, &key.table, &key.column).await? else {
        return Ok(None);
    };
    let spelt = format!("k.{}", quote::name(&key.column));
    let value = format!("f.{}", quote::name(&values.column));
    let [name, same] = COMPARED;
    Ok(Some(format!(
        "SELECT {value} AS {name}, g.same AS {same} FROM {} AS f LEFT JOIN \
         (SELECT {} AS spelt, pg_catalog.min({}) AS same FROM {} AS k GROUP BY 1) AS g \
         ON g.spelt = {}",
        rows_of(&values.table, values.query.as_ref()),
        comparison.sql(&spelt),
        bytes(&spelt),
        table_sql(&key.table),
        comparison.sql(&value),
    )))
}
