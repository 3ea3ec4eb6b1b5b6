//! Old values: kept in the chunk's transaction, put back by an undo.

use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError, Undone, failpoint};
use dunlin_model::{Backfill, Key, KeyRange, Lease};
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};
use serde_json::{Map, Value};

use super::commit::key_of;
use super::exact::{self, Exact};
use super::known;
use super::range::{Order, named};
use crate::control::Control;
use crate::fault::{self, Fault, Outcome};
use crate::ledger::{self, CapturedRow};
use crate::session::Session;

/// A range's rows before a chunk's statements.
pub(super) struct Before {
    rows: Vec<(Key, String)>,
}

impl Before {
    /// Reads what the backfill keeps of the rows that matter; nothing where it keeps nothing.
    pub(super) fn of(
        connection: &Connection,
        control: &Control,
        work: &Backfill,
        order: &Order,
        range: &KeyRange,
    ) -> Outcome<Self> {
        let mut rows = Vec::new();
        let Some(capture) = &work.capture else { return Ok(Self { rows }) };
        let mut sql = format!(
            "SELECT {}, {} FROM {} WHERE ({})",
            order.list(),
            list(&capture.columns),
            order.table,
            order.range(None, range)?
        );
        if let Some(filter) = &work.filter {
            sql.push_str(&format!(" AND ({filter}\n)"));
        }
        sql.push(' ');
        sql.push_str(&order.order_by(false));
        let width = order.columns.len();
        control.as_user(Some(work.statement_timeout), || {
            let mut statement = connection.prepare(&sql).map_err(Fault::Query)?;
            let mut found = statement.query([])?;
            while let Some(row) = found.next().map_err(Fault::Query)? {
                let key = key_of(connection, row, width)?;
                rows.push((key, values_of(connection, row, width, &capture.columns)?));
            }
            if *range == KeyRange::Nulls && rows.len() > 1 {
                return Err(TargetError::new(
                    ErrorKind::Refused,
                    format!(
                        "several rows of {} have no key, so an undo could not tell them apart",
                        work.table
                    ),
                )
                .help("take `undo capture` out, or name a key without NULL by `chunk-key`")
                .into());
            }
            Ok(Self { rows })
        })
    }

    /// Keeps what the statements have changed.
    pub(super) fn keep(
        self,
        connection: &Connection,
        lease: &Lease,
        work: &Backfill,
        order: &Order,
    ) -> Outcome<()> {
        let Some(capture) = &work.capture else { return Ok(()) };
        let mut changed = Vec::new();
        for (key, old) in self.rows {
            let new = now(connection, order, &key, &capture.columns)?;
            if new.as_ref() != Some(&old) {
                changed.push(CapturedRow { number: 0, key, old, new });
            }
        }
        let job = lease.resource.to_string();
        ledger::capture(connection, &job, work.pass, capture.keep, &changed)
    }

    /// The rows of these keys, before they are changed one by one.
    pub(super) fn of_keys<'a>(
        connection: &Connection,
        work: &Backfill,
        order: &Order,
        keys: impl Iterator<Item = &'a Key>,
    ) -> Outcome<Self> {
        let mut rows = Vec::new();
        if let Some(capture) = &work.capture {
            for key in keys {
                if let Some(old) = now(connection, order, key, &capture.columns)? {
                    rows.push((key.clone(), old));
                }
            }
        }
        Ok(Self { rows })
    }
}

/// Puts the newest captured values back, and forgets them.
pub(super) fn undo(
    session: &mut Session,
    lease: &Lease,
    ttl: Duration,
    work: &Backfill,
    count_max: u64,
) -> Result<Undone, TargetError> {
    let mut known = session.known.take();
    let undone = session.write(work.lock_timeout, |connection, control| {
        ledger::enter(connection, lease)?;
        let known = known::refreshed(&mut known, connection, work)?;
        failpoint("undo.begun");
        let job = lease.resource.to_string();
        let rows = ledger::captured(connection, &job, work.pass, count_max)?;
        let mut undone = Undone::default();
        for row in &rows {
            if control.is_stopped() {
                return Err(fault::gone().into());
            }
            if put_back(connection, &known.order, row)? {
                undone.restored += 1;
            } else {
                undone.changed_since += 1;
            }
        }
        if let Some(oldest) = rows.last() {
            undone.left = ledger::uncapture(connection, &job, work.pass, oldest.number)?;
        }
        ledger::count_undone(connection, &job, undone)?;
        ledger::leave(connection, lease, ttl, 0)?;
        failpoint("undo.executed");
        Ok(undone)
    });
    session.known = known;
    failpoint("undo.done");
    undone
}

/// Puts a row's old values back, if it is as the chunk left it.
fn put_back(connection: &Connection, order: &Order, row: &CapturedRow) -> Outcome<bool> {
    let old = decoded(connection, &row.old)?;
    let columns: Vec<String> = old.iter().map(|(column, _)| column.clone()).collect();
    if now(connection, order, &row.key, &columns)? != row.new {
        return Ok(false);
    }
    let written = if row.new.is_some() {
        let sets: Vec<String> =
            columns.iter().map(|column| format!("{} = ?", named(column))).collect();
        let sql = format!(
            "UPDATE {} SET {} WHERE {}",
            order.table,
            sets.join(", "),
            order.range(None, &KeyRange::Exactly(row.key.clone()))?
        );
        let values = old.iter().map(|(_, value)| value);
        connection.prepare(&sql)?.execute(params_from_iter(values))
    } else {
        insert(connection, order, row, old)
    };
    match written {
        Ok(_) => Ok(true),
        // Another row stands in its way by now: it can't be what it was.
        Err(error) if is_constraint(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Inserts a row that the chunk deleted, with the key that it had.
fn insert(
    connection: &Connection,
    order: &Order,
    row: &CapturedRow,
    mut values: Vec<(String, Exact)>,
) -> rusqlite::Result<usize> {
    let literals = row.key.0.iter().zip(&order.columns);
    for (literal, column) in literals {
        let there = values.iter().any(|(name, _)| name.eq_ignore_ascii_case(&column.name));
        if !there && let Ok(number) = literal.parse() {
            // The number of a row in a table without a key of its own.
            values.push((column.name.clone(), Exact::Integer(number)));
        }
    }
    let names: Vec<String> = values.iter().map(|(name, _)| named(name)).collect();
    let marks = vec!["?"; values.len()].join(", ");
    let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", order.table, names.join(", "));
    connection.prepare(&sql)?.execute(params_from_iter(values.iter().map(|(_, value)| value)))
}

fn is_constraint(error: &rusqlite::Error) -> bool {
    fault::extended_code(error).is_some_and(|code| code & 0xff == rusqlite::ffi::SQLITE_CONSTRAINT)
}

/// A row's values by now; `None`: it is gone.
fn now(
    connection: &Connection,
    order: &Order,
    key: &Key,
    columns: &[String],
) -> Outcome<Option<String>> {
    let sql = format!("SELECT {} FROM {} WHERE {}", list(columns), order.table, by_key(order, key));
    let values: Vec<Exact> =
        exact::values(connection, key)?.into_iter().filter(|value| *value != Exact::Null).collect();
    let found = connection
        .prepare_cached(&sql)?
        .query_row(params_from_iter(&values), |row| Ok(values_of(connection, row, 0, columns)))
        .optional()?;
    found.transpose()
}

/// The condition for one row, with a parameter for each part of its key that is not NULL.
pub(super) fn by_key(order: &Order, key: &Key) -> String {
    let conditions: Vec<String> = order
        .columns
        .iter()
        .zip(&key.0)
        .map(|(column, value)| match (&column.collation, value.as_str()) {
            (_, "NULL") => format!("{} IS NULL", named(&column.name)),
            (Some(collation), _) => {
                format!("{} COLLATE {} = ?", named(&column.name), named(collation))
            }
            (None, _) => format!("{} = ?", named(&column.name)),
        })
        .collect();
    conditions.join(" AND ")
}

fn list(columns: &[String]) -> String {
    let names: Vec<String> = columns.iter().map(|column| named(column)).collect();
    names.join(", ")
}

/// As the ledger keeps them: JSON of column and SQL literal.
fn values_of(
    connection: &Connection,
    row: &rusqlite::Row<'_>,
    first: usize,
    columns: &[String],
) -> Outcome<String> {
    let mut values = Map::new();
    for (place, column) in columns.iter().enumerate() {
        let value = Exact::from(row.get_ref(first + place)?).literal(connection)?;
        values.insert(column.clone(), Value::String(value));
    }
    Ok(Value::Object(values).to_string())
}

fn decoded(connection: &Connection, text: &str) -> Outcome<Vec<(String, Exact)>> {
    let damaged = || {
        TargetError::new(
            ErrorKind::LedgerFormat,
            "the ledger cannot be understood: the values of a captured row cannot be read",
        )
        .help("was a table whose name begins with dunlin_ changed by hand?")
    };
    let values: Map<String, Value> = serde_json::from_str(text).map_err(|_| damaged())?;
    let mut read = Vec::with_capacity(values.len());
    for (column, literal) in values {
        let literal = literal.as_str().ok_or_else(damaged)?;
        read.push((column, Exact::parse(connection, literal)?));
    }
    Ok(read)
}
