//! A question in SQL that is answered by yes or no.

use dunlin_engine::{ErrorKind, TargetError};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::control::Control;
use crate::fault::{Fault, Outcome};

/// Whether a query's only value is true.
pub(super) fn holds(connection: &Connection, control: &Control, query: &str) -> Outcome<bool> {
    control.as_user(None, || {
        let prepared = control.preparing(|| connection.prepare(query));
        let mut statement = prepared.map_err(Fault::Query)?;
        if !statement.readonly() {
            return Err(refused("it would write").into());
        }
        if statement.column_count() != 1 {
            return Err(refused("it returns several columns").into());
        }
        let mut rows = statement.raw_query();
        let Some(row) = rows.next().map_err(Fault::Query)? else {
            return Err(refused("it returns no row").into());
        };
        let holds = truth(row.get_ref(0)?)?;
        if rows.next().map_err(Fault::Query)?.is_some() {
            return Err(refused("it returns several rows").into());
        }
        Ok(holds)
    })
}

/// True and false are 1 and 0 here. WHERE takes any other number for true as well; a count of rows that
/// remain would be taken for "done".
fn truth(value: ValueRef<'_>) -> Outcome<bool> {
    let number = match value {
        ValueRef::Null => return Ok(false),
        ValueRef::Blob(_) => None,
        ValueRef::Integer(number) => Some(number as f64),
        ValueRef::Real(number) => Some(number),
        ValueRef::Text(bytes) => {
            std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse::<f64>().ok())
        }
    };
    match number {
        Some(0.0) => Ok(false),
        Some(1.0) => Ok(true),
        _ => Err(refused("its value is neither true nor false (1 or 0)").into()),
    }
}

fn refused(why: &str) -> TargetError {
    TargetError::new(ErrorKind::Refused, format!("the query is no question: {why}"))
        .help("write a SELECT of one value that is true or false: SELECT NOT EXISTS (SELECT …)")
}
