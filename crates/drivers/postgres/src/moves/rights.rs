//! What this login may not do to a table of a move.

use dunlin_engine::TargetError;
use dunlin_engine::moves::{Doing, LackedRight};
use dunlin_model::moves::TableName;

use super::{sequence, table_sql};
use crate::quote;
use crate::rows::{boolean, single};
use crate::session::Session;

/// Rights that are lacked to write a table. Rights to columns count as those to their table.
pub(super) async fn lacked(
    session: &Session,
    doing: Doing<'_>,
) -> Result<Vec<LackedRight>, TargetError> {
    let table = &doing.written.table;
    let sql = quote::text(&table_sql(table));
    let columns: Vec<String> =
        doing.written.fields.iter().map(|field| quote::text(&field.name)).collect();
    let on_columns = |right: &str| {
        format!(
            "pg_catalog.bool_and(pg_catalog.has_column_privilege(pg_catalog.to_regclass({sql}), \
             c, '{right}'))"
        )
    };
    let answers = session
        .ask(&format!(
            "SELECT pg_catalog.bool_and(pg_catalog.has_schema_privilege(t.relnamespace, 'USAGE')), \
             {}, {}, {}, pg_catalog.bool_and(pg_catalog.has_table_privilege(t.oid, 'DELETE')) \
             FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[]) AS c \
             JOIN pg_catalog.pg_class AS t ON t.oid = pg_catalog.to_regclass({sql})",
            on_columns("SELECT"),
            on_columns("INSERT"),
            on_columns("UPDATE"),
            columns.join(",")
        ))
        .await?;
    let row = single(&answers, 0)?;
    let login = quote::name(&session.endpoint.user_name());
    let on_table = |right: &str, doing: &str, is_needed_always: bool| LackedRight {
        what: format!("this login may not {doing} {table}"),
        grant: format!("GRANT {right} ON {} TO {login}", table_sql(table)),
        is_needed_always,
    };
    let mut all = Vec::new();
    if !boolean(row, 0)? {
        let schema = table.schema.clone().unwrap_or_else(|| "public".to_owned());
        all.push(LackedRight {
            what: format!("this login may not look into the schema `{schema}`"),
            grant: format!("GRANT USAGE ON SCHEMA {} TO {login}", quote::name(&schema)),
            is_needed_always: true,
        });
    }
    for (place, right, doing, is_needed_always) in [
        (1, "SELECT", "read", true),
        (2, "INSERT", "insert into", true),
        (3, "UPDATE", "update", false),
        (4, "DELETE", "delete from", false),
    ] {
        if !boolean(row, place)? {
            all.push(on_table(right, doing, is_needed_always));
        }
    }
    if let Some(column) = doing.numbered {
        all.extend(of_numbers(session, table, column, &login).await?);
    }
    Ok(all)
}

/// Which schema and tables of the ledger there are, and what may be done with them.
const LEDGER: &str = "\
SELECT pg_catalog.count(*) > 0, \
    pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), \
    coalesce(pg_catalog.bool_and(pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
        AND pg_catalog.has_schema_privilege(n.oid, 'CREATE')), false), \
    coalesce(pg_catalog.bool_or(t.has_store), false), \
    coalesce(pg_catalog.bool_and(t.may_write AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')), true) \
FROM pg_catalog.pg_namespace AS n \
LEFT JOIN LATERAL ( \
    SELECT pg_catalog.bool_or(c.relname = 'moves_store') AS has_store, \
        pg_catalog.bool_and(pg_catalog.has_table_privilege(c.oid, 'SELECT') \
            AND pg_catalog.has_table_privilege(c.oid, 'INSERT') \
            AND pg_catalog.has_table_privilege(c.oid, 'UPDATE') \
            AND pg_catalog.has_table_privilege(c.oid, 'DELETE')) AS may_write \
    FROM pg_catalog.pg_class AS c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p') \
) AS t ON true \
WHERE n.nspname = 'dunlin'";

/// What is lacked to make the ledger, or what is missing of it, or to write it.
pub(super) async fn lacked_for_ledger(
    session: &Session,
) -> Result<Option<LackedRight>, TargetError> {
    let answers = session.ask(LEDGER).await?;
    let row = single(&answers, 0)?;
    let is_there = boolean(row, 0)?;
    let (may_make_schema, may_make_tables) = (boolean(row, 1)?, boolean(row, 2)?);
    let (is_whole, may_write) = (boolean(row, 3)?, boolean(row, 4)?);
    let login = quote::name(&session.endpoint.user_name());
    let database = quote::name(&session.endpoint.database_name());
    let (what, grant) = if !is_there && !may_make_schema {
        (
            "create the schema `dunlin`, where the ledger is kept",
            format!(
                "CREATE SCHEMA dunlin AUTHORIZATION {login}; or: GRANT CREATE ON DATABASE {database} TO {login}"
            ),
        )
    } else if is_there && !is_whole && !may_make_tables {
        (
            "create the ledger's tables in the schema `dunlin`",
            format!("GRANT USAGE, CREATE ON SCHEMA dunlin TO {login}"),
        )
    } else if is_there && !may_write {
        (
            "write the ledger's tables in the schema `dunlin`",
            format!(
                "GRANT USAGE ON SCHEMA dunlin TO {login}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dunlin TO {login}"
            ),
        )
    } else {
        return Ok(None);
    };
    let what = format!("this login may not {what}");
    Ok(Some(LackedRight { what, grant, is_needed_always: true }))
}

/// The same for the sequence of a column: numbers are taken, looked at, and raised.
async fn of_numbers(
    session: &Session,
    table: &TableName,
    column: &str,
    login: &str,
) -> Result<Option<LackedRight>, TargetError> {
    let name = sequence::of(session, table, column).await?;
    let has = |right: &str| {
        format!("pg_catalog.has_sequence_privilege({}, '{right}')", quote::text(&name))
    };
    let sql = format!("SELECT {} AND {} AND {}", has("SELECT"), has("USAGE"), has("UPDATE"));
    let answers = session.ask(&sql).await?;
    let may = boolean(single(&answers, 0)?, 0)?;
    Ok((!may).then(|| LackedRight {
        what: format!("this login may not raise and take the numbers of {table}.{column}"),
        grant: format!("GRANT SELECT, USAGE, UPDATE ON SEQUENCE {name} TO {login}"),
        is_needed_always: true,
    }))
}
