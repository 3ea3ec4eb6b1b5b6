//! Writing rows, one at a time: within a transaction nothing is faster in SQLite.
//!
//! Every statement says `OR ABORT`, so that no `ON CONFLICT` clause of a table replaces or ignores
//! rows; a statement that fails leaves nothing behind.

use arrow::record_batch::RecordBatch;
use dunlin_engine::moves::{ReadRows, Refused, Written};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Field, TableName};
use rusqlite::{CachedStatement, Connection, ffi, params_from_iter};

use super::catalogue::qualified;
use super::encode::{self, Bound, Cells};
use super::read::Filling;
use super::refer::{self, referring};
use crate::address::DatabaseFile;
use crate::control::Control;
use crate::fault::{Fault, Outcome, extended_code};
use crate::ledger::quoted;
use crate::work::without_values;

/// The savepoint of a row. A trigger's RAISE(FAIL) leaves behind what it did before.
const ROW_BEGINS: &str = "SAVEPOINT dunlin_row";
const ROW_ENDS: &str = "RELEASE dunlin_row";
const ROW_UNDONE: &str = "ROLLBACK TO dunlin_row; RELEASE dunlin_row";

/// A connection in a transaction, with what its errors are told by.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) connection: &'a Connection,
    pub(super) control: &'a Control,
    pub(super) file: &'a DatabaseFile,
}

/// What became of a row.
enum Fate {
    Done,
    AbsentOrThere,
    Rejected(String),
}

/// Inserts rows, all or none.
pub(super) fn load(place: Place<'_>, into: &Written, rows: &RecordBatch) -> Outcome<()> {
    check_triggers(place.connection, into)?;
    let cells = encode::columns(&into.fields.iter().collect::<Vec<_>>(), rows)?;
    let mut insert = prepared(place, &insert_sql(into)?)?;
    for row in 0..rows.num_rows() {
        place.check()?;
        let values = bound(&cells, row)
            .and_then(|values| no_null_key(into, &values).map(|()| values))
            .map_err(|why| by_row(&into.table, why))?;
        insert.execute(params_from_iter(&values)).map_err(|error| place.fault(error))?;
    }
    Ok(())
}

/// Inserts rows whose key isn't there.
pub(super) fn insert(place: Place<'_>, into: &Written, rows: &RecordBatch) -> Outcome<Refused> {
    let guarded = check_triggers(place.connection, into)?;
    let cells = encode::columns(&into.fields.iter().collect::<Vec<_>>(), rows)?;
    let mut there = prepared(place, &there_sql(&into.table, &key_names(into)?)?)?;
    let mut insert = prepared(place, &insert_sql(into)?)?;
    each(place, rows.num_rows(), guarded, |row| {
        let values = match bound(&cells, row) {
            Ok(values) => values,
            Err(why) => return Ok(Fate::Rejected(why)),
        };
        if let Err(why) = no_null_key(into, &values) {
            return Ok(Fate::Rejected(why));
        }
        let key = into.key.iter().filter_map(|place| values.get(*place));
        if there.exists(params_from_iter(key)).map_err(Fault::Row)? {
            return Ok(Fate::AbsentOrThere);
        }
        match insert.execute(params_from_iter(&values)) {
            Ok(_) => Ok(Fate::Done),
            Err(error) => place.missing(into, &values, error),
        }
    })
}

/// Updates rows by their key.
pub(super) fn update(place: Place<'_>, into: &Written, rows: &RecordBatch) -> Outcome<Refused> {
    let guarded = check_triggers(place.connection, into)?;
    let cells = encode::columns(&into.fields.iter().collect::<Vec<_>>(), rows)?;
    let others = into.fields.len() > into.key.len();
    let mut update = if others { Some(prepared(place, &update_sql(into)?)?) } else { None };
    let mut there = prepared(place, &there_sql(&into.table, &key_names(into)?)?)?;
    each(place, rows.num_rows(), guarded, |row| {
        let values = match bound(&cells, row) {
            Ok(values) => values,
            Err(why) => return Ok(Fate::Rejected(why)),
        };
        let found = match &mut update {
            Some(update) => match update.execute(params_from_iter(&values)) {
                Ok(found) => found,
                Err(error) => return place.missing(into, &values, error),
            },
            // All of the row is its key.
            None => {
                let key = into.key.iter().filter_map(|place| values.get(*place));
                usize::from(there.exists(params_from_iter(key)).map_err(Fault::Row)?)
            }
        };
        one(&into.table, found)
    })
}

/// Deletes rows to which no other row refers.
pub(super) fn delete(place: Place<'_>, from: &Written, keys: &RecordBatch) -> Outcome<Refused> {
    let guarded = check_triggers(place.connection, from)?;
    let fields = key_fields(from)?;
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let cells = encode::columns(&fields, keys)?;
    let mut probes = Vec::new();
    for (child, sql) in referring(place.connection, &from.table, &names)? {
        probes.push((child, prepared(place, &sql)?));
    }
    let sql = format!("DELETE FROM {} WHERE {}", qualified(&from.table)?, by_key(&names));
    let mut delete = prepared(place, &sql)?;
    each(place, keys.num_rows(), guarded, |row| {
        let Ok(key) = bound(&cells, row) else { return Ok(Fate::AbsentOrThere) };
        for (child, probe) in &mut probes {
            if probe.exists(params_from_iter(&key)).map_err(Fault::Row)? {
                return Ok(Fate::Rejected(format!("rows of {child} still refer to it")));
            }
        }
        let found = delete.execute(params_from_iter(&key)).map_err(|error| place.fault(error))?;
        one(&from.table, found)
    })
}

/// Reads rows by their key.
pub(super) fn fetch(
    connection: &Connection,
    from: &Written,
    keys: &RecordBatch,
) -> Outcome<ReadRows> {
    let fields = key_fields(from)?;
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let cells = encode::columns(&fields, keys)?;
    let list: Vec<String> = from.fields.iter().map(|field| quoted(&field.name)).collect();
    let table = qualified(&from.table)?;
    let sql = format!("SELECT {} FROM {table} WHERE {}", list.join(", "), by_key(&names));
    let mut statement = connection.prepare_cached(&sql).map_err(Fault::Query)?;
    let mut filling = Filling::new(&from.fields, &[], true)?;
    for row in 0..keys.num_rows() {
        // A key that can't be stored is that of no row.
        let Ok(key) = bound(&cells, row) else { continue };
        let mut found = statement.query(params_from_iter(&key)).map_err(Fault::Query)?;
        while let Some(row) = found.next().map_err(Fault::Query)? {
            filling.push(row)?;
        }
    }
    Ok(filling.finish()?)
}

/// Finds rows by columns that need not be unique.
pub(super) fn find(
    connection: &Connection,
    from: &Written,
    values: &RecordBatch,
) -> Outcome<(Vec<u32>, RecordBatch)> {
    let fields = key_fields(from)?;
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let cells = encode::columns(&fields, values)?;
    let list: Vec<String> = from.fields.iter().map(|field| quoted(&field.name)).collect();
    let table = qualified(&from.table)?;
    let (list, by) = (list.join(", "), by_key(&names));
    let sql = format!("SELECT {list} FROM {table} WHERE {by} LIMIT 2");
    let mut statement = connection.prepare_cached(&sql).map_err(Fault::Query)?;
    let mut filling = Filling::new(&from.fields, &[], true)?;
    let mut places = Vec::new();
    for (row, place) in (0..values.num_rows()).zip(0..) {
        // What can't be stored is in no row.
        let Ok(value) = bound(&cells, row) else { continue };
        let mut found = statement.query(params_from_iter(&value)).map_err(Fault::Query)?;
        while let Some(row) = found.next().map_err(Fault::Query)? {
            filling.push(row)?;
            places.push(place);
        }
    }
    Ok((places, filling.finish()?.whole(&from.table.to_string())?))
}

impl Place<'_> {
    fn check(&self) -> Outcome<()> {
        if self.control.is_stopped() { Err(crate::fault::gone().into()) } else { Ok(()) }
    }

    /// A failure that a row may be to blame for.
    fn fault(&self, error: rusqlite::Error) -> Fault {
        Fault::Row(without_values(self.connection, error))
    }

    /// A failure of a row that is written: tells what it refers to in vain, where that is it.
    fn missing(
        &self,
        into: &Written,
        values: &[Bound<'_>],
        error: rusqlite::Error,
    ) -> Outcome<Fate> {
        let broken = extended_code(&error) == Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY);
        if broken && let Some(why) = refer::missing(self.connection, into, values)? {
            return Ok(Fate::Rejected(why));
        }
        Err(self.fault(error))
    }

    /// Why the row was refused; an error where something else is to blame.
    fn refused(&self, fault: Fault) -> Outcome<String> {
        let told = fault.tell(self.file, self.control);
        // A trigger's RAISE(ROLLBACK) took all that was written with it.
        if told.by_row && !self.connection.is_autocommit() {
            Ok(told.message)
        } else {
            Err(told.into())
        }
    }
}

/// Does something for each row, where a row that is refused leaves the others alone.
fn each(
    place: Place<'_>,
    rows: usize,
    guarded: bool,
    mut job: impl FnMut(usize) -> Outcome<Fate>,
) -> Outcome<Refused> {
    let mut refused = Refused::default();
    for row in 0..rows {
        place.check()?;
        let number = u32::try_from(row).unwrap_or(u32::MAX);
        if guarded {
            place.connection.execute_batch(ROW_BEGINS)?;
        }
        let fate = match job(row) {
            Ok(fate) => {
                if guarded {
                    place.connection.execute_batch(ROW_ENDS)?;
                }
                fate
            }
            Err(fault) => {
                let why = place.refused(fault)?;
                if guarded {
                    place.connection.execute_batch(ROW_UNDONE)?;
                }
                Fate::Rejected(why)
            }
        };
        match fate {
            Fate::Done => {}
            Fate::AbsentOrThere => refused.absent_or_there.push(number),
            Fate::Rejected(why) => refused.rejected.push((number, why)),
        }
    }
    Ok(refused)
}

fn one(table: &TableName, found: usize) -> Outcome<Fate> {
    match found {
        0 => Ok(Fate::AbsentOrThere),
        1 => Ok(Fate::Done),
        _ => {
            let message = format!("several rows of {table} have the same key");
            Err(TargetError::new(ErrorKind::Refused, message)
                .help("a move writes tables that have a primary key, or a unique index")
                .into())
        }
    }
}

/// Whether the table has triggers, which must be allowed to fire: SQLite can't switch them off.
pub(super) fn check_triggers(connection: &Connection, into: &Written) -> Outcome<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE";
    let any = connection.prepare_cached(sql)?.exists([&into.table.name])?;
    if any && !into.triggers {
        let message =
            format!("{} has triggers, and SQLite can't write a row without them", into.table);
        return Err(TargetError::new(ErrorKind::Unsupported, message)
            .help("let them fire (triggers = \"fire\"), or drop them before the move")
            .into());
    }
    Ok(any)
}

fn prepared<'c>(place: Place<'c>, sql: &str) -> Outcome<CachedStatement<'c>> {
    place.connection.prepare_cached(sql).map_err(Fault::Query)
}

fn bound<'a>(cells: &[Cells<'a>], row: usize) -> Result<Vec<Bound<'a>>, String> {
    cells.iter().map(|cells| cells.bound(row)).collect()
}

/// SQLite numbers a row itself whose INTEGER PRIMARY KEY is NULL.
fn no_null_key(into: &Written, values: &[Bound<'_>]) -> Result<(), String> {
    for place in &into.key {
        if values.get(*place) == Some(&Bound::Null) {
            let name = into.fields.get(*place).map_or("", |field| field.name.as_str());
            return Err(format!("column {name}: it is in the key and has no value"));
        }
    }
    Ok(())
}

fn by_row(table: &TableName, why: String) -> TargetError {
    let mut told = TargetError::new(ErrorKind::Statement, format!("a row for {table}: {why}"));
    told.by_row = true;
    told
}

fn key_fields(written: &Written) -> Outcome<Vec<&Field>> {
    let fields: Option<Vec<&Field>> =
        written.key.iter().map(|place| written.fields.get(*place)).collect();
    match fields {
        Some(fields) if !fields.is_empty() => Ok(fields),
        _ => {
            let message = format!("rows of {} are to be written without a key", written.table);
            Err(TargetError::new(ErrorKind::Bug, message).into())
        }
    }
}

fn key_names(written: &Written) -> Outcome<Vec<&str>> {
    Ok(key_fields(written)?.into_iter().map(|field| field.name.as_str()).collect())
}

fn by_key(names: &[&str]) -> String {
    let terms: Vec<String> =
        names.iter().zip(1..).map(|(name, at)| format!("{} = ?{at}", quoted(name))).collect();
    terms.join(" AND ")
}

fn there_sql(table: &TableName, key: &[&str]) -> Outcome<String> {
    Ok(format!("SELECT 1 FROM {} WHERE {}", qualified(table)?, by_key(key)))
}

fn insert_sql(into: &Written) -> Outcome<String> {
    let names: Vec<String> = into.fields.iter().map(|field| quoted(&field.name)).collect();
    let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    Ok(format!(
        "INSERT OR ABORT INTO {} ({}) VALUES ({})",
        qualified(&into.table)?,
        names.join(", "),
        places.join(", ")
    ))
}

fn update_sql(into: &Written) -> Outcome<String> {
    let term = |place: usize| {
        let name = into.fields.get(place).map_or("", |field| field.name.as_str());
        format!("{} = ?{}", quoted(name), place + 1)
    };
    let others = (0..into.fields.len()).filter(|place| !into.key.contains(place));
    let set: Vec<String> = others.map(term).collect();
    let key: Vec<String> = into.key.iter().copied().map(term).collect();
    Ok(format!(
        "UPDATE OR ABORT {} SET {} WHERE {}",
        qualified(&into.table)?,
        set.join(", "),
        key.join(" AND ")
    ))
}
