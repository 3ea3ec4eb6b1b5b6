//! What the database says: our ledger, and other tools' tables.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{
    Checksums, Direction, Entry, EntryState, FORMAT, Kind, LedgerView, MigrationId, StepRecord,
    StepState, TableQuery, TableShape, Version,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};

use super::{lease, quoted};
use crate::fault::{Fault, Outcome};

/// Whether our ledger is there.
pub(crate) fn has_ledger(connection: &Connection) -> Outcome<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'dunlin_meta'";
    Ok(connection.prepare_cached(sql)?.exists([])?)
}

/// Those of the tables that exist, with their columns.
pub(crate) fn table_shapes(connection: &Connection, names: &[String]) -> Outcome<Vec<TableShape>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let marks = vec!["lower(?)"; names.len()].join(", ");
    let sql = format!(
        "SELECT t.name, c.name, lower(c.type) FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
         WHERE t.type = 'table' AND lower(t.name) IN ({marks}) ORDER BY t.name, c.cid"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(names))?;
    let mut shapes: Vec<TableShape> = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let column = (row.get(1)?, row.get(2)?);
        match shapes.last_mut() {
            Some(shape) if shape.name == name => shape.columns.push(column),
            _ => shapes.push(TableShape { table: quoted(&name), name, columns: vec![column] }),
        }
    }
    Ok(shapes)
}

/// Another tool's rows, as text.
pub(crate) fn foreign_rows(
    connection: &Connection,
    query: &TableQuery,
) -> Outcome<Vec<Vec<Option<String>>>> {
    let list = |names: &[String]| names.iter().map(|n| quoted(n)).collect::<Vec<_>>().join(", ");
    let mut sql = format!("SELECT {} FROM {}", list(&query.columns), query.table);
    if !query.order_by.is_empty() {
        sql.push_str(" ORDER BY ");
        sql.push_str(&list(&query.order_by));
    }
    let mut statement = connection.prepare(&sql)?;
    let width = query.columns.len();
    let mut rows = statement.query([])?;
    let mut texts = Vec::new();
    while let Some(row) = rows.next()? {
        let cells = (0..width).map(|column| row.get_ref(column).map(as_text));
        texts.push(cells.collect::<rusqlite::Result<_>>()?);
    }
    Ok(texts)
}

fn as_text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

/// The recorded text of a migration.
pub(crate) fn text(connection: &Connection, id: MigrationId) -> Outcome<Option<String>> {
    if !has_ledger(connection)? {
        return Ok(None);
    }
    let sql = "SELECT text FROM dunlin_migrations WHERE kind = ?1 AND version = ?2";
    let found: Option<Option<String>> = connection
        .prepare_cached(sql)?
        .query_row((id.kind.as_str(), id.version.get()), |row| row.get(0))
        .optional()?;
    Ok(found.flatten())
}

/// The whole ledger, without the texts.
pub(crate) fn view(connection: &Connection) -> Outcome<LedgerView> {
    let sql = "SELECT id, format, min_reader, min_writer FROM dunlin_meta";
    let meta = connection
        .prepare_cached(sql)?
        .query_row([], |row| {
            Ok(LedgerView {
                id: row.get(0)?,
                format: row.get(1)?,
                min_reader: row.get(2)?,
                min_writer: row.get(3)?,
                ..LedgerView::default()
            })
        })
        .optional()?;
    let Some(mut view) = meta else { return Err(damaged("dunlin_meta has no row")) };
    if view.min_reader > FORMAT {
        return Err(TargetError::new(
            ErrorKind::LedgerFormat,
            format!(
                "the ledger is in format {} and may only be read by programs of format {} or \
                 newer; this one is of format {FORMAT}",
                view.format, view.min_reader
            ),
        )
        .help("use a newer dunlin: a newer one has been here")
        .into());
    }
    read_entries(connection, &mut view)?;
    read_steps(connection, &mut view)?;
    view.leases = lease::all(connection)?;
    Ok(view)
}

fn read_entries(connection: &Connection, view: &mut LedgerView) -> Outcome<()> {
    let sql = "SELECT kind, version, name, state, pass, text_checksum, statements_checksum,
                baseline, by_environment, reason, error, started_at, finished_at, duration_ms
               FROM dunlin_migrations";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = read_id(row)?;
        let entry = read_entry(row)?;
        view.entries.insert(id, entry);
    }
    Ok(())
}

fn read_id(row: &Row<'_>) -> Outcome<MigrationId> {
    let kind = match row.get_ref(0)?.as_str() {
        Ok("schema") => Kind::Schema,
        Ok("data") => Kind::Data,
        _ => return Err(damaged("a migration is neither `schema` nor `data`")),
    };
    let version = Version::new(row.get(1)?).ok_or_else(|| damaged("a version is negative"))?;
    Ok(MigrationId { version, kind })
}

fn read_entry(row: &Row<'_>) -> Outcome<Entry> {
    let state: String = row.get(3)?;
    let state = EntryState::parse(&state)
        .ok_or_else(|| damaged(&format!("a migration is in the unknown state `{state}`")))?;
    let checksums = match (row.get(5)?, row.get(6)?) {
        (Some(text), Some(statements)) => Some(Checksums { text, statements }),
        _ => None,
    };
    Ok(Entry {
        name: row.get(2)?,
        state,
        pass: row.get(4)?,
        checksums,
        baseline: row.get(7)?,
        by_environment: row.get(8)?,
        reason: row.get(9)?,
        error: row.get(10)?,
        started_at: row.get(11)?,
        finished_at: row.get(12)?,
        duration_ms: row.get(13)?,
    })
}

fn read_steps(connection: &Connection, view: &mut LedgerView) -> Outcome<()> {
    let sql = "SELECT kind, version, direction, pass, ordinal, checksum, state, token, connection,
                image
               FROM dunlin_steps ORDER BY kind, version, direction, pass, ordinal";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let direction = match row.get_ref(2)?.as_str() {
            Ok("up") => Direction::Up,
            Ok("down") => Direction::Down,
            _ => return Err(damaged("a step is neither `up` nor `down`")),
        };
        let state: String = row.get(6)?;
        let state = StepState::parse(&state)
            .ok_or_else(|| damaged(&format!("a step is in the unknown state `{state}`")))?;
        view.steps.push(StepRecord {
            id: read_id(row)?,
            direction,
            pass: row.get(3)?,
            ordinal: row.get(4)?,
            checksum: row.get(5)?,
            state,
            token: row.get(7)?,
            connection: row.get(8)?,
            image: row.get(9)?,
        });
    }
    Ok(())
}

pub(super) fn damaged(what: &str) -> Fault {
    TargetError::new(ErrorKind::LedgerFormat, format!("the ledger cannot be understood: {what}"))
        .help("was it written by a newer dunlin, or changed by hand?")
        .into()
}
