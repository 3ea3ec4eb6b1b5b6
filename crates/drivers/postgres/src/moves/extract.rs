//! Reading many rows: which SELECT, in which order, and the stream that it comes in.

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::atomic::Ordering;

use dunlin_engine::moves::{Batches, Extract, ReadRows};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Field, ValueType};
use futures_util::{Stream, StreamExt};

use super::decode::Decoder;
use super::table_sql;
use crate::error::sent_error;
use crate::quote;
use crate::rows::bug;
use crate::session::Session;

/// No batch is larger, whatever is asked for: Arrow counts the bytes of a column in 31 bits.
const BATCH_BYTES_MAX: usize = 512 * 1024 * 1024;

/// What stands for the rows in our queries.
const ROWS: &str = "t";

/// The type that a column is read as, so that its form on the wire is known, domains included;
/// `None`: as it is, for a type whose schema is anywhere.
fn read_as(value_type: &ValueType) -> Option<String> {
    let name = match value_type {
        ValueType::Boolean => "bool",
        ValueType::Int16 => "int2",
        ValueType::Int32 => "int4",
        ValueType::Int64 | ValueType::UInt64 => "int8",
        ValueType::Float32 => "float4",
        ValueType::Float64 => "float8",
        ValueType::Numeric { .. } => "numeric",
        ValueType::Bytes => "bytea",
        ValueType::Date => "date",
        ValueType::Time => "time",
        ValueType::Timestamp => "timestamp",
        ValueType::TimestampTz => "timestamptz",
        ValueType::Uuid => "uuid",
        ValueType::Map => return None,
        ValueType::List(item) => return read_as(item).map(|item| format!("{item}[]")),
        ValueType::Text { .. } | ValueType::Json { .. } | ValueType::Enum(_) | ValueType::Other => {
            "text"
        }
    };
    Some(format!("pg_catalog.{name}"))
}

/// A column of rows called `rows`, as it is read.
pub(super) fn column_sql(rows: &str, field: &Field) -> String {
    value_sql(&format!("{rows}.{}", quote::name(&field.name)), &field.value_type)
}

/// A value, as it is read.
pub(super) fn value_sql(value: &str, value_type: &ValueType) -> String {
    match (value_type, read_as(value_type)) {
        // The text that the server prints: a cast of `inet` adds `/32` to it.
        (ValueType::Other, _) => {
            format!("CASE WHEN {value} IS DISTINCT FROM NULL THEN pg_catalog.concat({value}) END")
        }
        (ValueType::List(item), Some(as_type)) if **item == ValueType::Other => {
            format!("{value}::pg_catalog.text::{as_type}")
        }
        (_, Some(as_type)) => format!("{value}::{as_type}"),
        (_, None) => value.to_owned(),
    }
}

/// A column as rows are ordered by it. The column itself wherever its order is the one that is
/// asked for, so that an index serves.
fn order_sql(field: &Field) -> String {
    let name = format!("{ROWS}.{}", quote::name(&field.name));
    match &field.value_type {
        ValueType::Int16
        | ValueType::Int32
        | ValueType::Int64
        | ValueType::UInt64
        | ValueType::Date
        | ValueType::Timestamp
        | ValueType::TimestampTz
        | ValueType::Time
        | ValueType::Boolean
        // Their order is that of their bytes, and so of the digits that write these.
        | ValueType::Uuid
        | ValueType::Bytes => name,
        ValueType::Other => {
            format!("({}) COLLATE \"C\"", value_sql(&name, &field.value_type))
        }
        _ => format!("({name}::pg_catalog.text) COLLATE \"C\""),
    }
}

/// The SELECT of an extract.
pub(super) fn select_sql(extract: &Extract) -> Result<String, TargetError> {
    let columns: Vec<String> = extract.fields.iter().map(|field| column_sql(ROWS, field)).collect();
    let mut sql = format!("SELECT {} FROM ", columns.join(", "));
    match &extract.query {
        // The line's end closes a comment of the query's.
        Some(query) => write!(sql, "({}\n) AS {ROWS}", bare(query)),
        None => write!(sql, "{} AS {ROWS}", table_sql(&extract.table)),
    }
    .map_err(|_| bug("a SELECT could not be written"))?;
    for (place, (name, text)) in extract.only.iter().enumerate() {
        let word = if place == 0 { "WHERE" } else { "AND" };
        write!(sql, " {word} {ROWS}.{} = {}", quote::name(name), quote::text(text))
            .map_err(|_| bug("a SELECT could not be written"))?;
    }
    let mut order = Vec::with_capacity(extract.order.len());
    for name in &extract.order {
        let field = extract.fields.iter().find(|field| field.name == *name).ok_or_else(|| {
            bug(&format!("{} is ordered by `{name}`, which is not read", extract.table))
        })?;
        order.push(order_sql(field));
    }
    if !order.is_empty() {
        write!(sql, " ORDER BY {}", order.join(", "))
            .map_err(|_| bug("a SELECT could not be written"))?;
    }
    Ok(sql)
}

/// A query without the semicolon that it may end with.
pub(super) fn bare(query: &str) -> &str {
    query.trim_end().trim_end_matches(';')
}

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All rows were read.
    All,
    /// Nobody wants more.
    Unwanted,
}

/// Reads what a SELECT gives into the queue.
pub(super) async fn read(
    session: &Session,
    extract: &Extract,
    target: bool,
    batches: &Batches,
) -> Result<End, TargetError> {
    let limit = extract.batch_bytes.clamp(1, BATCH_BYTES_MAX);
    let mut decoder = Decoder::new(extract.table.to_string(), &extract.fields, target);
    let stream = open(session, &select_sql(extract)?).await?;
    let mut stream = pin!(stream);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| sent_error(&error))?;
        if let Err(error) = decoder.take(&piece) {
            stop(session, stream).await;
            return Err(error);
        }
        if decoder.bytes() < limit {
            continue;
        }
        if let Some(batch) = decoder.batch()?
            && batches.send(Ok(batch)).await.is_err()
        {
            stop(session, stream).await;
            return Ok(End::Unwanted);
        }
    }
    whole(&decoder)?;
    if let Some(batch) = decoder.batch()?
        && batches.send(Ok(batch)).await.is_err()
    {
        return Ok(End::Unwanted);
    }
    Ok(End::All)
}

/// Reads what a SELECT gives into one batch.
pub(super) async fn read_all(
    session: &Session,
    select: &str,
    mut decoder: Decoder,
) -> Result<ReadRows, TargetError> {
    let mut stream = pin!(open(session, select).await?);
    while let Some(piece) = stream.next().await {
        decoder.take(&piece.map_err(|error| sent_error(&error))?)?;
    }
    whole(&decoder)?;
    decoder.finish()
}

async fn open(
    session: &Session,
    select: &str,
) -> Result<tokio_postgres::CopyOutStream, TargetError> {
    // The statement that the client names for it is closed behind it, in the same transaction.
    let sql = format!("COPY ({select}) TO STDOUT (FORMAT binary)");
    session.client().copy_out(&sql).await.map_err(|error| sent_error(&error))
}

fn whole(decoder: &Decoder) -> Result<(), TargetError> {
    if decoder.ended {
        return Ok(());
    }
    Err(TargetError::new(ErrorKind::Lost, "the server's rows ended before their end"))
}

/// Ends a stream that nobody wants: the server is told from a second connection, else the rest
/// would have to be read.
async fn stop<S>(session: &Session, mut stream: std::pin::Pin<&mut S>)
where
    S: Stream<Item = Result<bytes::Bytes, tokio_postgres::Error>>,
{
    let pid = session.backend.load(Ordering::Relaxed);
    if pid != 0
        && let Ok(second) = session.second().await
    {
        // Where it can't be told it is read to its end, which is slower and the same.
        let _ = second.ask(&format!("SELECT pg_catalog.pg_cancel_backend({pid})")).await;
    }
    while let Some(Ok(_)) = stream.next().await {}
}
