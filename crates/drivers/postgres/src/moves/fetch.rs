//! Rows by their keys, and by other columns.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use dunlin_engine::TargetError;
use dunlin_engine::moves::{ReadRows, Written};
use dunlin_model::moves::{Field, Numbering, ValueType};

use super::decode::Decoder;
use super::extract::{column_sql, read_all};
use super::layout::Layout;
use super::text_form::{array, texts};
use super::write::{key_of, same};
use crate::quote;
use crate::rows::bug;
use crate::session::Session;

/// What a row's place among those that were given is called.
const PLACE: &str = "dunlin_place";

/// Keys as rows `s` in a query. COPY takes no parameters, so they are literals.
struct Keys {
    /// The query.
    sql: String,
    /// Of each of its rows, by its number from 1, the place in the batch.
    places: Vec<usize>,
}

impl Keys {
    fn new(layout: &Layout, key: &[&str], keys: &RecordBatch) -> Result<Self, TargetError> {
        if keys.num_columns() != key.len() {
            return Err(bug(&format!("keys of {} have other columns than its key", layout.name)));
        }
        let columns = keys.columns().iter().map(|column| texts(column.as_ref()));
        let columns: Vec<Vec<Option<String>>> = columns.collect::<Result<_, _>>()?;
        // The server's text has no zero byte, so no row has such a key.
        let places: Vec<usize> = (0..keys.num_rows())
            .filter(|row| {
                columns.iter().all(|c| c[*row].as_ref().is_some_and(|text| !text.contains('\0')))
            })
            .collect();
        let mut arrays = Vec::with_capacity(key.len());
        let mut typed = Vec::with_capacity(key.len());
        let mut names = Vec::with_capacity(key.len());
        for (place, (name, texts)) in key.iter().zip(&columns).enumerate() {
            let literal = array(places.iter().map(|row| texts[*row].as_deref()));
            arrays.push(format!("pg_catalog.unnest({}::pg_catalog.text[])", quote::text(&literal)));
            typed.push(format!("u.c{place}::{} AS {}", layout.cast(name)?, quote::name(name)));
            names.push(format!("c{place}"));
        }
        let sql = format!(
            "SELECT u.{PLACE}, {typed} FROM ROWS FROM ({arrays}) WITH ORDINALITY AS u({names}, {PLACE})",
            typed = typed.join(", "),
            arrays = arrays.join(", "),
            names = names.join(", "),
        );
        Ok(Self { sql, places })
    }
}

/// Reads them, in any order.
pub(super) async fn fetch(
    session: &Session,
    layout: &Layout,
    from: &Written,
    keys: &RecordBatch,
    lock: bool,
) -> Result<ReadRows, TargetError> {
    let key = key_of(from)?;
    let keys = Keys::new(layout, &key, keys)?;
    let decoder = Decoder::new(layout.name.clone(), &from.fields, true);
    let read: Vec<String> = from.fields.iter().map(|field| column_sql("t", field)).collect();
    let select = format!(
        "SELECT {read} FROM {table} AS t WHERE EXISTS (SELECT FROM ({keys}) AS s \
         WHERE {found}){lock}",
        read = read.join(", "),
        table = layout.sql,
        keys = keys.sql,
        found = same("t", "s", &key),
        lock = if lock { " FOR UPDATE OF t" } else { "" },
    );
    read_all(session, &select, decoder).await
}

/// Finds rows by columns that need not be unique.
pub(super) async fn find(
    session: &Session,
    layout: &Layout,
    from: &Written,
    values: &RecordBatch,
) -> Result<(Vec<u32>, RecordBatch), TargetError> {
    let by = key_of(from)?;
    let keys = Keys::new(layout, &by, values)?;
    let mut fields = vec![place_field()];
    fields.extend(from.fields.iter().cloned());
    let decoder = Decoder::new(layout.name.clone(), &fields, true);
    let read: Vec<String> = from.fields.iter().map(|field| column_sql("t", field)).collect();
    let select = format!(
        "SELECT s.{PLACE}, {read} FROM ({keys}) AS s JOIN {table} AS t ON {found}",
        read = read.join(", "),
        keys = keys.sql,
        table = layout.sql,
        found = same("t", "s", &by),
    );
    let rows = read_all(session, &select, decoder).await?.whole(&layout.name)?;
    let numbers = rows.column(0).as_primitive::<Int64Type>();
    let place = |number: &i64| {
        let place = usize::try_from(number - 1).ok().and_then(|at| keys.places.get(at));
        place
            .and_then(|place| u32::try_from(*place).ok())
            .ok_or_else(|| bug("a row's place is outside of the batch"))
    };
    let places = numbers.values().iter().map(place).collect::<Result<_, _>>()?;
    let others: Vec<usize> = (1..rows.num_columns()).collect();
    let rows = rows.project(&others).map_err(|error| bug(&error.to_string()))?;
    Ok((places, rows))
}

fn place_field() -> Field {
    Field {
        name: PLACE.to_owned(),
        type_name: "bigint".to_owned(),
        value_type: ValueType::Int64,
        nullable: false,
        has_default: false,
        numbering: Numbering::None,
        generated: false,
        max_chars: None,
        limit: None,
    }
}
