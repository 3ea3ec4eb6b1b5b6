//! Rows for programs: read with what tells their version, written back if it is still the same.

use std::collections::BTreeMap;

use dunlin_engine::{Chunk, ErrorKind, Gathered, RowsOutcome, TargetError};
use dunlin_model::{Backfill, Key, KeyRange, Lease, Row, RowChange, ValueForm};
use tokio_postgres::SimpleQueryRow;

use super::chunk::{Begun, begin, begun, finish, push_text_forms, ready, run};
use super::layout::{KeyPart, Layout};
use super::script::{Part, Script};
use super::walk::{OWN_ZONE, alias, ask_each, filter, key};
use super::{captured, rejected};
use crate::fence::Limits;
use crate::quote;
use crate::rows::{field, number, required};
use crate::session::Session;

/// A chunk whose rows are locked in an open transaction.
#[derive(Debug, Clone)]
pub(crate) struct Locked {
    chunk: Chunk,
    begun: Begun,
}

pub(super) fn read_sql(layout: &Layout, work: &Backfill, range: &KeyRange) -> String {
    let t = alias(work);
    let columns: Vec<String> = work
        .columns
        .iter()
        .map(|column| {
            let name = format!("{t}.{}", quote::name(&column.name));
            match column.form {
                ValueForm::Bytes => format!("pg_catalog.encode({name}, 'hex')"),
                ValueForm::Boolean => format!("{name}::boolean::text"),
                _ => format!("{name}::text"),
            }
        })
        .collect();
    let columns =
        if columns.is_empty() { String::new() } else { format!(", {}", columns.join(", ")) };
    format!(
        "SELECT {t}.xmin::text, {texts}{columns} FROM {table} AS {t} WHERE {range}{filter} \
         ORDER BY {order}",
        texts = nullable_texts(layout, t),
        table = work.table,
        range = layout.range(range, Some(t)),
        filter = filter(work),
        order = layout.order(t, false),
    )
}

/// Key texts. NULL can't be named by a key: its rows are reached by their place alone.
fn nullable_texts(layout: &Layout, t: &str) -> String {
    let columns = layout.parts.iter().map(|part| format!("{t}.{}::text", part.name));
    columns.collect::<Vec<_>>().join(", ")
}

fn row_of(layout: &Layout, work: &Backfill, row: &SimpleQueryRow) -> Result<Row, TargetError> {
    let keys = layout.parts.len();
    let first = 1 + keys;
    let values =
        (first..first + work.columns.len()).map(|index| Ok(field(row, index)?.map(str::to_owned)));
    if field(row, 1)?.is_none() {
        return Err(TargetError::new(
            ErrorKind::Refused,
            format!("{} has rows whose key is NULL, which no program can name", work.table),
        )
        .help("name a key without NULLs in `key`, or leave those rows out with `where`"));
    }
    Ok(Row {
        key: key(row, 1, keys)?,
        version: required(row, 0)?.to_owned(),
        values: values.collect::<Result<_, TargetError>>()?,
    })
}

/// Reads the rows of a range.
pub(super) async fn read(
    session: &mut Session,
    layout: &Layout,
    work: &Backfill,
    range: &KeyRange,
) -> Result<Vec<Row>, TargetError> {
    let limits = Limits { lock: work.lock_timeout, statement: Some(work.statement_timeout) };
    let settings = limits.settings(crate::session::APPLICATION_NAME, true).join(";");
    let mut gathered = Gathered::default();
    let mut failed = None;
    let take = |row: SimpleQueryRow| {
        if !gathered.is_over() && failed.is_none() {
            match row_of(layout, work, &row) {
                Ok(row) => gathered.push(row),
                Err(error) => failed = Some(error),
            }
        }
    };
    ask_each(session, &format!("{settings};"), &read_sql(layout, work, range), take).await?;
    failed.map_or_else(|| gathered.end(), Err)
}

/// Reads and locks them, behind the chunk's fence.
pub(super) async fn lock(
    session: &mut Session,
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    chunk: &Chunk,
) -> Result<(Vec<Row>, Locked), TargetError> {
    ready(session).await?;
    let mut script = Script::default();
    let started = begin(&mut script, session, lease, work, chunk, false);
    // The program has the rows for as long as a statement may take; then the server lets go.
    let patience = work.statement_timeout.as_millis().clamp(30_000, i32::MAX as u128);
    script
        .push(Part::Plain, &format!("SET LOCAL idle_in_transaction_session_timeout TO {patience}"));
    push_text_forms(&mut script, true);
    let wait = if chunk.lock_first { " NOWAIT" } else { "" };
    let sql = format!(
        "{} FOR NO KEY UPDATE OF {}{wait}",
        read_sql(layout, work, &chunk.range),
        alias(work)
    );
    let at = script.push(Part::Plain, &sql);
    push_text_forms(&mut script, false);
    let mut answers = run(session, &script, lease, work).await?;
    let locked = Locked { chunk: chunk.clone(), begun: begun(&answers, started)? };
    let rows = answers.get_mut(at).map(std::mem::take).unwrap_or_default().rows;
    let mut gathered = Gathered::default();
    let taken = rows.into_iter().try_for_each(|row| {
        gathered.push(row_of(layout, work, &row)?);
        Ok(())
    });
    match taken.and_then(|()| gathered.end()) {
        Ok(rows) => Ok((rows, locked)),
        Err(error) => {
            session.rollback().await;
            Err(error)
        }
    }
}

/// Writes changed rows, notes rejected ones, and commits.
#[expect(clippy::too_many_arguments, reason = "the port's call, with what is open")]
pub(super) async fn commit(
    session: &mut Session,
    layout: &Layout,
    open: Option<Locked>,
    lease: &Lease,
    work: &Backfill,
    chunk: &Chunk,
    changes: &[RowChange],
    rejected: &[(Key, String)],
) -> Result<RowsOutcome, TargetError> {
    let open = match open {
        Some(open) if open.chunk == *chunk => Some(open.begun),
        Some(_) => {
            session.rollback().await;
            None
        }
        None => None,
    };
    let mut script = Script::default();
    let started = if open.is_none() {
        ready(session).await?;
        Some(begin(&mut script, session, lease, work, chunk, false))
    } else {
        None
    };
    push_text_forms(&mut script, true);
    let mut writes = Vec::new();
    let groups = match groups(layout, work, changes) {
        Ok(groups) => groups,
        Err(error) => {
            if open.is_some() {
                session.rollback().await;
            }
            return Err(error);
        }
    };
    let captures = push_captures(&mut script, layout, lease, work, chunk, &groups);
    // What triggers make of the time is as it always is.
    script.push(Part::Plain, OWN_ZONE);
    for (columns, rows) in &groups {
        let at = script.push_written(Part::User(0), |sql| {
            write_update(sql, layout, work, chunk, columns, rows);
        });
        writes.push((at, rows));
    }
    rejected::push_keys(&mut script, lease, work, rejected);
    script.push(Part::Constraints, "SET CONSTRAINTS ALL IMMEDIATE");
    if let (Some(capture), true) = (&work.capture, captures) {
        captured::push_after(&mut script, layout, lease, work, chunk, capture);
    }
    let answers = match run(session, &script, lease, work).await {
        Ok(answers) => answers,
        Err(mut error) => {
            // There is no statement of the user's whose text it could point into.
            error.statement = None;
            error.offset = None;
            return Err(error);
        }
    };
    let mut missed = Vec::new();
    for (at, rows) in writes {
        for row in answers.get(at).map(|answer| answer.rows.as_slice()).unwrap_or_default() {
            let place: usize = number(row, 0)?;
            missed.extend(rows.get(place.wrapping_sub(1)).map(|change| change.key.clone()));
        }
    }
    if !missed.is_empty() {
        session.rollback().await;
        return Ok(RowsOutcome::Missed(missed));
    }
    let begun = match (open, started) {
        (Some(begun), _) => begun,
        (None, started) => begun(&answers, started.unwrap_or_default())?,
    };
    dunlin_engine::failpoint("chunk.executed");
    let count = changes.len() as u64;
    finish(session, lease, chunk, &begun, vec![Some(count)]).await.map(RowsOutcome::Committed)
}

/// Rows that set the same columns: one statement writes them all. A program that gives the columns
/// in another order for each row changes nothing.
type Groups<'a> = BTreeMap<Vec<&'a str>, Vec<&'a RowChange>>;

fn groups<'a>(
    layout: &Layout,
    work: &Backfill,
    changes: &'a [RowChange],
) -> Result<Groups<'a>, TargetError> {
    let mut groups: Groups<'_> = BTreeMap::new();
    for change in changes {
        let mut columns: Vec<&str> = change.set.iter().map(|(name, _)| name.as_str()).collect();
        columns.sort_unstable();
        columns.dedup();
        if let Some(unknown) = columns.iter().find(|name| !layout.columns.contains_key(**name)) {
            return Err(TargetError::new(
                ErrorKind::Refused,
                format!("the program sets `{unknown}`, which is no column of {}", work.table),
            ));
        }
        // Quoted as it is it would become another character, and another value.
        if change.set.iter().any(|(_, value)| value.as_deref().is_some_and(|v| v.contains('\0'))) {
            let error = TargetError::new(
                ErrorKind::Statement,
                "the program gave a text with a zero byte, for which PostgreSQL has no room",
            );
            return Err(TargetError { by_row: true, ..error });
        }
        groups.entry(columns).or_default().push(change);
    }
    Ok(groups)
}

/// Keeps the old values of the rows that are to be set; whether there are any. Rows that are left
/// alone are not kept: another's change of one would pass for ours.
fn push_captures(
    script: &mut Script,
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    chunk: &Chunk,
    groups: &Groups<'_>,
) -> bool {
    let set = groups.iter().filter(|(columns, _)| !columns.is_empty());
    let rows: Vec<&RowChange> = set.flat_map(|(_, rows)| rows.iter().copied()).collect();
    let (Some(capture), false) = (&work.capture, rows.is_empty()) else {
        return false;
    };
    let mut given = String::new();
    Given::of(layout, &rows).write_table(&mut given);
    // The snapshot may be older than the update's. But a row that changes in between is missed
    // there, and then nothing of this is committed.
    let chosen = format!(
        "FROM {given} AS g, {} AS t WHERE {} ORDER BY g.n",
        work.table,
        same(layout, chunk),
    );
    captured::push_kept(script, layout, lease, work, capture, "t", &chosen);
    true
}

/// Rows of ours as a table: key and version, more columns, and their place in the list from 1.
struct Given<'a> {
    columns: Vec<(String, &'static str, Vec<Option<&'a str>>)>,
}

impl<'a> Given<'a> {
    fn of(layout: &Layout, rows: &[&'a RowChange]) -> Self {
        let mut given = Self { columns: Vec::new() };
        for (at, part) in layout.parts.iter().enumerate() {
            let keys = rows.iter().map(|change| change.key.0.get(at).map(String::as_str));
            given.columns.push((format!("k{at}"), element_type(part), keys.collect()));
        }
        let versions = rows.iter().map(|change| Some(change.version.as_str()));
        given.columns.push(("v".to_owned(), "xid", versions.collect()));
        given
    }

    /// Appends a query of its rows, in parentheses.
    fn write_table(&self, sql: &mut String) {
        sql.push_str("(SELECT * FROM ROWS FROM (");
        for (at, (_, type_name, values)) in self.columns.iter().enumerate() {
            sql.push_str(if at == 0 { "pg_catalog.unnest(" } else { ", pg_catalog.unnest(" });
            write_array(sql, values, type_name);
            sql.push(')');
        }
        let names: Vec<&str> = self.columns.iter().map(|(name, ..)| name.as_str()).collect();
        sql.push_str(&format!(") WITH ORDINALITY AS g ({}, n))", names.join(", ")));
    }
}

/// What a key's values are sent as. Texts that are cast row by row fit every type; the commonest
/// have arrays on every server, which cost it less.
fn element_type(part: &KeyPart) -> &'static str {
    match part.type_name.as_str() {
        "smallint" => "smallint",
        "integer" => "integer",
        "bigint" => "bigint",
        "uuid" => "uuid",
        _ => "text",
    }
}

/// The condition under which a row `t` of the table is a row `g` of ours, as it was read.
fn same(layout: &Layout, chunk: &Chunk) -> String {
    let key: Vec<String> = layout
        .parts
        .iter()
        .enumerate()
        .map(|(at, part)| format!("g.k{at}::{}", part.type_name))
        .collect();
    let range = layout.range(&chunk.range, Some("t"));
    format!("({range}) AND {} AND t.xmin = g.v", layout.equal(&key, Some("t")))
}

/// An UPDATE of many rows at once; it returns the places of those that it missed. The range bounds
/// what is looked at, whatever way the rows are joined.
fn write_update(
    sql: &mut String,
    layout: &Layout,
    work: &Backfill,
    chunk: &Chunk,
    columns: &[&str],
    rows: &[&RowChange],
) {
    let mut given = Given::of(layout, rows);
    let mut sets = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let values = rows.iter().map(|change| value_of(change, column));
        given.columns.push((format!("c{at}"), "text", values.collect()));
        let type_name =
            layout.columns.get(*column).map_or("text", |known| known.type_name.as_str());
        // A program may set columns that it does not get; a domain over bytes has another name.
        let bytes = work
            .table_columns
            .iter()
            .any(|known| known.name == *column && known.form == ValueForm::Bytes)
            || type_name == "bytea";
        sets.push(if bytes {
            format!("{} = pg_catalog.decode(g.c{at}, 'hex')::{type_name}", quote::name(column))
        } else {
            format!("{} = g.c{at}::{type_name}", quote::name(column))
        });
    }
    let same = same(layout, chunk);
    let table = &work.table;
    if sets.is_empty() {
        // Nothing to set: the row must still be as it was when the program decided so.
        sql.push_str("SELECT g.n FROM ");
        given.write_table(sql);
        sql.push_str(&format!(" AS g WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE {same})"));
        return;
    }
    // Which rows were missed is only worked out if there are any.
    let (count, sets) = (rows.len(), sets.join(", "));
    sql.push_str(&format!("WITH done AS (UPDATE {table} AS t SET {sets} FROM "));
    given.write_table(sql);
    sql.push_str(&format!(
        " AS g WHERE {same} \
         RETURNING g.n) SELECT n FROM pg_catalog.generate_series(1, {count}::bigint) AS n \
         WHERE (SELECT pg_catalog.count(*) FROM done) <> {count} AND n NOT IN (SELECT n FROM done)",
    ));
}

/// What a row's column is set to. The last one said counts, as in JSON.
fn value_of<'a>(change: &'a RowChange, column: &str) -> Option<&'a str> {
    change.set.iter().rev().find(|(name, _)| name == column).and_then(|(_, v)| v.as_deref())
}

/// Appends values as one array literal, which the server reads many times faster than as many
/// expressions.
fn write_array(literal: &mut String, values: &[Option<&str>], type_name: &str) {
    literal.push_str("E'{");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            literal.push(',');
        }
        let Some(value) = value else {
            literal.push_str("NULL");
            continue;
        };
        literal.push('"');
        let mut rest = *value;
        while let Some(at) = rest.find(['"', '\\', '\'', '\0']) {
            let (plain, special) = rest.split_at(at);
            literal.push_str(plain);
            // For the array first, and all of that for the literal.
            literal.push_str(match special.as_bytes()[0] {
                b'"' => r#"\\""#,
                b'\\' => r"\\\\",
                b'\'' => "''",
                _ => "\u{fffd}",
            });
            rest = &special[1..];
        }
        literal.push_str(rest);
        literal.push('"');
    }
    literal.push_str("}'::");
    literal.push_str(type_name);
    literal.push_str("[]");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_one_literal() {
        let mut literal = String::new();
        let values = [Some("a"), Some("it's \"\\"), Some("NULL"), Some(""), None];
        write_array(&mut literal, &values, "text");
        assert_eq!(literal, r#"E'{"a","it''s \\"\\\\","NULL","",NULL}'::text[]"#);
    }
}
