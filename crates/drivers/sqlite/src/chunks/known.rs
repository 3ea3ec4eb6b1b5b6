//! What a connection knows of the table that its chunks are about.

use std::sync::Arc;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Backfill, Column, KeyColumn};
use rusqlite::Connection;

use super::range::Order;
use super::table;
use crate::fault::Outcome;

/// A table as it was at a version of the schema: reading that version is all that a chunk pays for
/// knowing that the table's shape is the same.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    schema_version: i64,
    table: String,
    index: String,
    key: Vec<KeyColumn>,
    shape: String,
    pub(super) order: Arc<Order>,
    /// Columns that hold values of their own.
    pub(super) stored: Arc<Vec<Column>>,
}

/// The order of a backfill's table, if that still has the shape it was planned for. Within a
/// transaction that writes, nobody else can change it afterwards.
pub(super) fn refreshed<'a>(
    known: &'a mut Option<Known>,
    connection: &Connection,
    work: &Backfill,
) -> Outcome<&'a Known> {
    let schema_version = table::schema_version(connection)?;
    let fresh = known.as_ref().is_some_and(|known| {
        known.schema_version == schema_version
            && known.table == work.table
            && known.index == work.index
            && known.key == work.key
    });
    let found = if fresh { known.take() } else { read(connection, work, schema_version)? };
    match found {
        Some(found) if found.shape == work.shape => Ok(known.insert(found)),
        _ => Err(changed(work).into()),
    }
}

/// The order of a backfill's table, whatever its shape: for looking.
pub(super) fn order(connection: &Connection, work: &Backfill) -> Outcome<Order> {
    match table::order(connection, &work.table, &work.index, &work.key)? {
        Some(order) => Ok(order),
        None => Err(changed(work).into()),
    }
}

fn read(connection: &Connection, work: &Backfill, schema_version: i64) -> Outcome<Option<Known>> {
    let Some(shape) = table::shape(connection, &work.table)? else { return Ok(None) };
    let Some(order) = table::order(connection, &work.table, &work.index, &work.key)? else {
        return Ok(None);
    };
    Ok(Some(Known {
        schema_version,
        table: work.table.clone(),
        index: work.index.clone(),
        key: work.key.clone(),
        shape,
        order: Arc::new(order),
        stored: Arc::new(table::stored_columns(connection, &work.table)?),
    }))
}

fn changed(work: &Backfill) -> TargetError {
    TargetError::new(
        ErrorKind::ShapeChanged,
        format!("{} is not as it was when this was planned, or is gone", work.table),
    )
    .help(
        "start it again: it is planned anew, and goes on where it was if its key is still the same. \
         A table without a key of its own has to be begun anew: VACUUM gives its rows other numbers",
    )
}
