//! Rows by their keys.

use arrow::record_batch::RecordBatch;
use dunlin_engine::TargetError;
use dunlin_engine::moves::Written;

use super::decode::Decoder;
use super::extract::{column_sql, read_all};
use super::layout::Layout;
use super::text_form::{array, texts};
use super::write::{key_of, same};
use crate::quote;
use crate::rows::bug;
use crate::session::Session;

/// Reads them, in any order; COPY takes no parameters, so the keys are literals.
pub(super) async fn fetch(
    session: &Session,
    layout: &Layout,
    from: &Written,
    keys: &RecordBatch,
    lock: bool,
) -> Result<RecordBatch, TargetError> {
    let key = key_of(from)?;
    if keys.num_columns() != key.len() {
        return Err(bug(&format!("keys of {} have other columns than its key", layout.name)));
    }
    let decoder = Decoder::new(layout.name.clone(), &from.fields, true);
    let columns = keys.columns().iter().map(|column| texts(column.as_ref()));
    let columns: Vec<Vec<Option<String>>> = columns.collect::<Result<_, _>>()?;
    // The server's text has no zero byte, so no row has such a key.
    let possible: Vec<usize> = (0..keys.num_rows())
        .filter(|row| {
            columns.iter().all(|c| c[*row].as_ref().is_some_and(|text| !text.contains('\0')))
        })
        .collect();
    let mut arrays = Vec::with_capacity(key.len());
    let mut typed = Vec::with_capacity(key.len());
    let mut names = Vec::with_capacity(key.len());
    for (place, (name, texts)) in key.iter().zip(&columns).enumerate() {
        let literal = array(possible.iter().map(|row| texts[*row].as_deref()));
        arrays.push(format!("pg_catalog.unnest({}::pg_catalog.text[])", quote::text(&literal)));
        typed.push(format!("u.c{place}::{} AS {}", layout.cast(name)?, quote::name(name)));
        names.push(format!("c{place}"));
    }
    let read: Vec<String> = from.fields.iter().map(|field| column_sql("t", field)).collect();
    let select = format!(
        "SELECT {read} FROM {table} AS t WHERE EXISTS (SELECT FROM (SELECT {typed} \
         FROM ROWS FROM ({arrays}) AS u({names})) AS s WHERE {found}){lock}",
        read = read.join(", "),
        table = layout.sql,
        typed = typed.join(", "),
        arrays = arrays.join(", "),
        names = names.join(", "),
        found = same("t", "s", &key),
        lock = if lock { " FOR UPDATE OF t" } else { "" },
    );
    read_all(session, &select, decoder).await
}
