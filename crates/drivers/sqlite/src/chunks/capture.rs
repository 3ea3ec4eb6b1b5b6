//! Old values: kept in the chunk's transaction, with the new ones beside them. `undo` puts them back.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Backfill, Capture, Column, Key, KeyRange, Lease};
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};
use serde_json::{Map, Value};

use super::commit::key_of;
use super::exact::{self, Exact};
use super::known::Known;
use super::range::{Order, named};
use super::value::affinity_of;
use crate::control::Control;
use crate::fault::{Fault, Outcome};
use crate::ledger::{self, CapturedRow};

/// Columns that are kept.
pub(super) struct Kept<'a> {
    pub(super) columns: &'a [String],
    /// The tag of their types, and of the key's, which stands beside the values under the empty name;
    /// `None` where an older program kept them.
    pub(super) tag: Option<String>,
}

impl<'a> Kept<'a> {
    /// With the tag that they have by now.
    fn now(stored: &[Column], work: &Backfill, columns: &'a [String]) -> Self {
        Self { columns, tag: tag(stored, work, columns) }
    }
}

/// The tag of these columns, and of the key, as they are by now; `None`: there is no such column.
pub(super) fn tag(stored: &[Column], work: &Backfill, columns: &[String]) -> Option<String> {
    let form = |name: &str| {
        let found = stored.iter().find(|column| column.name.eq_ignore_ascii_case(name));
        found.map(|column| affinity_of(&column.type_name))
    };
    // What is no column is the number that the database gives to each row.
    let key = work
        .key
        .iter()
        .map(|column| (column.name.as_str(), form(&column.name).unwrap_or("row number")));
    let columns: Option<Vec<_>> =
        columns.iter().map(|name| Some((name.as_str(), form(name)?))).collect();
    Some(Capture::tag(key, columns?))
}

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
        known: &Known,
        range: &KeyRange,
    ) -> Outcome<Self> {
        let mut rows = Vec::new();
        let order = &known.order;
        let Some(capture) = &work.capture else { return Ok(Self { rows }) };
        let kept = Kept::now(&known.stored, work, &capture.columns);
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
                rows.push((key, values_of(connection, row, width, &kept)?));
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
        known: &Known,
    ) -> Outcome<()> {
        let Some(capture) = &work.capture else { return Ok(()) };
        let kept = Kept::now(&known.stored, work, &capture.columns);
        let mut changed = Vec::new();
        for (key, old) in self.rows {
            let new = now(connection, &known.order, &key, &kept)?;
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
        known: &Known,
        keys: impl Iterator<Item = &'a Key>,
    ) -> Outcome<Self> {
        let mut rows = Vec::new();
        if let Some(capture) = &work.capture {
            let kept = Kept::now(&known.stored, work, &capture.columns);
            for key in keys {
                if let Some(old) = now(connection, &known.order, key, &kept)? {
                    rows.push((key.clone(), old));
                }
            }
        }
        Ok(Self { rows })
    }
}

/// A row's values by now; `None`: it is gone.
pub(super) fn now(
    connection: &Connection,
    order: &Order,
    key: &Key,
    kept: &Kept<'_>,
) -> Outcome<Option<String>> {
    let sql =
        format!("SELECT {} FROM {} WHERE {}", list(kept.columns), order.table, by_key(order, key));
    let values: Vec<Exact> =
        exact::values(connection, key)?.into_iter().filter(|value| *value != Exact::Null).collect();
    let found = connection
        .prepare_cached(&sql)?
        .query_row(params_from_iter(&values), |row| Ok(values_of(connection, row, 0, kept)))
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
    kept: &Kept<'_>,
) -> Outcome<String> {
    let mut values = Map::new();
    if let Some(tag) = &kept.tag {
        values.insert(String::new(), Value::String(tag.clone()));
    }
    for (place, column) in kept.columns.iter().enumerate() {
        let value = Exact::from(row.get_ref(first + place)?).literal(connection)?;
        values.insert(column.clone(), Value::String(value));
    }
    Ok(Value::Object(values).to_string())
}
