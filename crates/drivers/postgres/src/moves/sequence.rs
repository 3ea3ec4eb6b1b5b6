//! What numbers a column: an identity's sequence, or that of its default.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::TableName;

use super::table_sql;
use crate::quote;
use crate::rows::{boolean, field, number, required, single};
use crate::session::Session;

/// A sequence that is this near is taken on number by number, which can't go backwards whoever else
/// takes some. A greater distance nobody covers between two statements of ours.
const NEAR: i64 = 10_000;

/// Its name as SQL.
pub(super) async fn of(
    session: &Session,
    table: &TableName,
    column: &str,
) -> Result<String, TargetError> {
    let sql = quote::text(&table_sql(table));
    let name = quote::text(column);
    let found = session
        .ask(&format!(
            "SELECT COALESCE(pg_catalog.pg_get_serial_sequence({sql}, {name}), \
             (SELECT d.refobjid::pg_catalog.regclass::pg_catalog.text \
             FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_attrdef AS v \
             ON v.adrelid = a.attrelid AND v.adnum = a.attnum JOIN pg_catalog.pg_depend AS d \
             ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = v.oid \
             AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
             JOIN pg_catalog.pg_class AS q ON q.oid = d.refobjid AND q.relkind = 'S' \
             WHERE a.attrelid = pg_catalog.to_regclass({sql}) AND a.attname = {name} LIMIT 1))"
        ))
        .await?;
    field(single(&found, 0)?, 0)?.map(str::to_owned).ok_or_else(|| {
        TargetError::new(
            ErrorKind::Refused,
            format!("no sequence numbers the column `{column}` of {table}"),
        )
        .help(
            "give it an identity or a default of nextval(…), or let the ids be `keep` or `derived`",
        )
    })
}

/// Takes numbers above one.
pub(super) async fn take(
    session: &Session,
    table: &TableName,
    column: &str,
    count: u32,
    least: i64,
) -> Result<Vec<i64>, TargetError> {
    let numbers = next(session, table, column, count).await?;
    if numbers.iter().all(|number| *number > least) {
        return Ok(numbers);
    }
    // Somebody has set the sequence back.
    above(session, table, column, least).await?;
    next(session, table, column, count).await
}

async fn next(
    session: &Session,
    table: &TableName,
    column: &str,
    count: u32,
) -> Result<Vec<i64>, TargetError> {
    let sequence = of(session, table, column).await?;
    let answers = session
        .ask(&format!(
            "SELECT pg_catalog.nextval({}) FROM pg_catalog.generate_series(1, {count})",
            quote::text(&sequence)
        ))
        .await
        .map_err(|error| allowed(session, error, &sequence))?;
    answers.iter().flat_map(|answer| &answer.rows).map(|row| number(row, 0)).collect()
}

/// Makes the next number more than `above`, never less than it is.
pub(super) async fn above(
    session: &Session,
    table: &TableName,
    column: &str,
    above: i64,
) -> Result<(), TargetError> {
    let sequence = of(session, table, column).await?;
    let literal = quote::text(&sequence);
    let state = session
        .ask(&format!(
            "SELECT v.last_value, v.is_called, q.seqincrement FROM {sequence} AS v, \
             pg_catalog.pg_sequence AS q WHERE q.seqrelid = {literal}::pg_catalog.regclass"
        ))
        .await
        .map_err(|error| allowed(session, error, &sequence))?;
    let row = single(&state, 0)?;
    let (last, called, step): (i64, bool, i64) =
        (number(row, 0)?, boolean(row, 1)?, number(row, 2)?);
    if step < 0 {
        return Err(TargetError::new(
            ErrorKind::Refused,
            format!("the sequence {sequence} of {table}.{column} counts downwards"),
        )
        .help("let it count upwards, or let the ids be `derived`"));
    }
    // What comes next is the last number and a step, or the first number itself.
    let next = if called { last.saturating_add(step) } else { last };
    if next > above {
        return Ok(());
    }
    let distance = above.saturating_sub(next);
    let sql = if distance < NEAR.saturating_mul(step) && distance / step < NEAR {
        let count = distance / step + 1;
        format!(
            "SELECT pg_catalog.max(pg_catalog.nextval({literal})) \
             FROM pg_catalog.generate_series(1, {count})"
        )
    } else {
        format!("SELECT pg_catalog.setval({literal}, {above}, true)")
    };
    let set = session.ask(&sql).await.map_err(|error| allowed(session, error, &sequence))?;
    required(single(&set, 0)?, 0).map(|_| ())
}

fn allowed(session: &Session, error: TargetError, sequence: &str) -> TargetError {
    if error.kind == ErrorKind::Permission {
        return error.help(format!(
            "as its owner: GRANT SELECT, USAGE, UPDATE ON SEQUENCE {sequence} TO {};",
            quote::name(&session.endpoint.user_name())
        ));
    }
    error
}
