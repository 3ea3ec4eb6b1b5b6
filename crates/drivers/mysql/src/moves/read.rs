//! Reading rows in batches, as they come: the server sends no faster than they are taken.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use dunlin_engine::moves::{Batches, Extract, ReadRows, Unreadable, arrow_schema};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Field, ValueType};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row, Value};

use super::catalogue::{derived, qualified};
use super::decode::Column;
use super::encode::text_literal;
use super::{bug, kind};
use crate::dial::Dialler;
use crate::failure::During;
use crate::literal;
use crate::session::Session;

/// Rows on their way into a batch.
pub(super) struct Filling {
    schema: SchemaRef,
    columns: Vec<Column>,
    unreadable: Vec<Unreadable>,
    rows: usize,
    bytes: usize,
}

impl Filling {
    pub(super) fn new(fields: &[Field], target: bool) -> Result<Self, TargetError> {
        Ok(Self {
            schema: Arc::new(arrow_schema(fields, target)),
            columns: fields
                .iter()
                .map(|field| Column::new(field, target))
                .collect::<Result<_, _>>()?,
            unreadable: Vec::new(),
            rows: 0,
            bytes: 0,
        })
    }

    /// Adds a row.
    pub(super) fn push<'v>(&mut self, values: impl Iterator<Item = Option<&'v [u8]>>) {
        for (place, (column, value)) in self.columns.iter_mut().zip(values).enumerate() {
            self.bytes += column.push(value).unwrap_or_else(|why| {
                column.push_null();
                let row = u32::try_from(self.rows).unwrap_or(u32::MAX);
                self.unreadable.push(Unreadable { row, column: place, why });
                1
            });
        }
        self.rows += 1;
        self.bytes += 1;
    }

    /// Ends the batch; the next begins empty.
    pub(super) fn finish(&mut self) -> Result<ReadRows, TargetError> {
        let columns: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        let unreadable = std::mem::take(&mut self.unreadable);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map(|rows| ReadRows::new(rows, unreadable))
            .map_err(|error| bug(format!("rows make no batch: {error}")))
    }
}

/// Why the rows were not read to their end.
enum Stop {
    /// Nobody wants more.
    Unwanted,
    /// A row doesn't fit.
    Ours(TargetError),
    Client(mysql_async::Error),
}

impl From<mysql_async::Error> for Stop {
    fn from(error: mysql_async::Error) -> Self {
        Self::Client(error)
    }
}

/// Reads rows and puts their batches into the queue.
pub(super) async fn read(
    session: &mut Session,
    dialler: &Dialler,
    extract: &Extract,
    target: bool,
    batches: &Batches,
) -> Result<(), TargetError> {
    let sql = select(extract, &dialler.url.database)?;
    session.require_fit(&sql)?;
    let filling = Filling::new(&extract.fields, target)?;
    let mut conn = session.take()?;
    let ours = match stream(&mut conn, &sql, filling, extract.batch_bytes, batches).await {
        Ok(()) => return session.keep(conn, Ok(()), During::Rows),
        Err(Stop::Client(error)) => return session.keep(conn, Err(error), During::Rows),
        Err(Stop::Ours(error)) => Err(error),
        Err(Stop::Unwanted) => Ok(()),
    };
    // The rest would all be sent; the snapshot is to stay.
    stop(dialler, session.id).await;
    let drained = match conn.query_drop("DO 0").await {
        Err(mysql_async::Error::Server(error)) if error.code == 1317 => Ok(()),
        other => other,
    };
    session.keep(conn, drained, During::Ours)?;
    ours
}

/// Has the server end what a connection is at. Where that fails, the rest is read and thrown away.
async fn stop(dialler: &Dialler, id: u64) {
    if let Ok(conn) = dialler.open(false).await {
        let _ = Session::new(conn).run(&format!("KILL QUERY {id}")).await;
    }
}

async fn stream(
    conn: &mut Conn,
    sql: &str,
    mut filling: Filling,
    batch_bytes: usize,
    batches: &Batches,
) -> Result<(), Stop> {
    let mut result = conn.query_iter(sql).await?;
    while let Some(row) = result.next().await? {
        filling.push(values(&row));
        if filling.bytes >= batch_bytes {
            let batch = filling.finish().map_err(Stop::Ours)?;
            batches.send(Ok(batch)).await.map_err(|_| Stop::Unwanted)?;
        }
    }
    result.drop_result().await?;
    if filling.rows > 0 {
        let batch = filling.finish().map_err(Stop::Ours)?;
        // All is read: that nobody wants it changes nothing.
        let _ = batches.send(Ok(batch)).await;
    }
    Ok(())
}

fn values(row: &Row) -> impl Iterator<Item = Option<&[u8]>> {
    (0..row.len()).map(|place| match row.as_ref(place) {
        Some(Value::Bytes(bytes)) => Some(bytes.as_slice()),
        _ => None,
    })
}

fn select(extract: &Extract, database: &str) -> Result<String, TargetError> {
    let mut list: Vec<String> = extract.fields.iter().map(kind::selected).collect();
    if list.is_empty() {
        list.push("NULL".to_owned());
    }
    let from = match &extract.query {
        Some(query) => derived(query),
        None => qualified(&extract.table, database)?,
    };
    let mut sql = format!("SELECT {} FROM {from}", list.join(", "));
    let only: Vec<String> =
        extract.only.iter().map(|(name, text)| is(extract, name, text)).collect();
    if !only.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&only.join(" AND "));
    }
    let mut order = Vec::new();
    for name in &extract.order {
        let field = extract.fields.iter().find(|field| field.name == *name);
        let field = field
            .ok_or_else(|| bug(format!("{} is ordered by no column of its own", extract.table)))?;
        order.push(kind::ordered(field).ok_or_else(|| no_order(extract, name))?);
    }
    if !order.is_empty() {
        sql.push_str(" ORDER BY ");
        sql.push_str(&order.join(", "));
    }
    Ok(sql)
}

/// A condition that a column has a text: by its own comparison, which may use an index, and where
/// that takes other texts for the same, by the text's bytes.
fn is(extract: &Extract, name: &str, text: &str) -> String {
    let (column, literal) = (literal::name(name), text_literal(text));
    let field = extract.fields.iter().find(|field| field.name == *name);
    match field.map(|field| &field.value_type) {
        Some(ValueType::Text { .. } | ValueType::Enum(_)) => format!(
            "{column} = {literal} AND {} = CAST({literal} AS BINARY)",
            kind::bytes_of(&column)
        ),
        _ => format!("{column} = {literal}"),
    }
}

fn no_order(extract: &Extract, column: &str) -> TargetError {
    let message = format!(
        "rows of {} can't be put in order by {column}: floating-point numbers are no key",
        extract.table
    );
    TargetError::new(ErrorKind::Unsupported, message)
        .help("name other columns as the key, or a query that has the number as a text")
}
