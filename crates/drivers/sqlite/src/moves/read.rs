//! Reading rows in batches.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use dunlin_engine::moves::{Extract, ReadRows, Unreadable, arrow_schema};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Field, ValueType};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::catalogue::qualified;
use super::decode::Column;
use super::moment;
use crate::control::Control;
use crate::fault::{Fault, Outcome};
use crate::ledger::quoted;

/// Rows on their way into a batch.
pub(super) struct Filling {
    schema: SchemaRef,
    columns: Vec<Column>,
    unreadable: Vec<Unreadable>,
    rows: usize,
    bytes: usize,
}

impl Filling {
    /// `order`: the columns that rows are ordered by.
    pub(super) fn new(
        fields: &[Field],
        order: &[String],
        target: bool,
    ) -> Result<Self, TargetError> {
        let columns = fields
            .iter()
            .map(|field| Column::new(field, order.contains(&field.name), target))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            schema: Arc::new(arrow_schema(fields, target)),
            columns,
            unreadable: Vec::new(),
            rows: 0,
            bytes: 0,
        })
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &Row<'_>) -> Outcome<()> {
        for (place, column) in self.columns.iter_mut().enumerate() {
            self.bytes += match column.push(row.get_ref(place)?) {
                Ok(bytes) => bytes,
                Err(why) => {
                    let _ = column.push(ValueRef::Null);
                    let row = u32::try_from(self.rows).unwrap_or(u32::MAX);
                    self.unreadable.push(Unreadable { row, column: place, why });
                    1
                }
            };
        }
        self.rows += 1;
        self.bytes += 1;
        Ok(())
    }

    /// Ends the batch; the next begins empty.
    pub(super) fn finish(&mut self) -> Result<ReadRows, TargetError> {
        let columns: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        let unreadable = std::mem::take(&mut self.unreadable);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map(|rows| ReadRows::new(rows, unreadable))
            .map_err(|error| {
                TargetError::new(ErrorKind::Bug, format!("rows make no batch: {error}"))
            })
    }
}

/// Reads rows and gives their batches to `put`, which says whether more are wanted.
pub(super) fn read(
    connection: &Connection,
    control: &Control,
    extract: &Extract,
    target: bool,
    mut put: impl FnMut(ReadRows) -> bool,
) -> Outcome<()> {
    let sql = select(connection, extract)?;
    let mut filling = Filling::new(&extract.fields, &extract.order, target)?;
    let prepare = || control.preparing(|| connection.prepare(&sql));
    let mut statement = control.as_user(None, prepare).map_err(Fault::Query)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(Fault::Query)? {
        filling.push(row)?;
        if filling.bytes >= extract.batch_bytes && !put(filling.finish()?) {
            return Ok(());
        }
    }
    if filling.rows > 0 {
        put(filling.finish()?);
    }
    Ok(())
}

fn select(connection: &Connection, extract: &Extract) -> Outcome<String> {
    let mut list: Vec<String> = extract.fields.iter().map(|field| quoted(&field.name)).collect();
    let from = match &extract.query {
        // On lines of its own, since it may end in a comment.
        Some(query) => format!("(\n{}\n)", query.trim_end().trim_end_matches(';')),
        None => qualified(&extract.table)?,
    };
    if list.is_empty() {
        list.push("NULL".to_owned());
    }
    let mut sql = format!("SELECT {} FROM {from}", list.join(", "));
    let only = extract
        .only
        .iter()
        .map(|(name, text)| format!("{} = '{}'", quoted(name), text.replace('\'', "''")));
    let only: Vec<String> = only.collect();
    if !only.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&only.join(" AND "));
    }
    let order = order_by(connection, extract)?;
    if !order.is_empty() {
        sql.push_str(" ORDER BY ");
        sql.push_str(&order.join(", "));
    }
    Ok(sql)
}

fn order_by(connection: &Connection, extract: &Extract) -> Outcome<Vec<String>> {
    let mut terms = Vec::new();
    let mut texts = false;
    for name in &extract.order {
        let Some(field) = extract.fields.iter().find(|field| field.name == *name) else {
            let message = format!("rows of {} are ordered by no column of theirs", extract.table);
            return Err(TargetError::new(ErrorKind::Bug, message).into());
        };
        let column = quoted(name);
        // Said where it is needed only: it keeps SQLite from walking an index.
        let last = if field.nullable { " NULLS LAST" } else { "" };
        let by = match field.value_type {
            ValueType::Int64 => vec![column],
            ValueType::Boolean => vec![format!("{column} IN (1, 't', 'true')")],
            ValueType::Date | ValueType::Bytes => vec![format!("{column} COLLATE BINARY")],
            ValueType::Time => vec![moment::time_order(&column)],
            ValueType::Timestamp => vec![moment::timestamp_order(&column)],
            ValueType::TimestampTz => moment::instant_order(&column).into(),
            ValueType::Uuid => vec![format!(
                "CASE typeof({column}) WHEN 'blob' THEN lower(hex({column}))
                 ELSE replace(lower({column}), '-', '') END"
            )],
            ValueType::Text { .. } if extract.query.is_none() => {
                texts = true;
                vec![format!("{column} COLLATE BINARY")]
            }
            ValueType::Numeric { scale: Some(1..) } | ValueType::Float64 => {
                return Err(no_order(extract, name).into());
            }
            _ => {
                texts = true;
                vec![format!("CAST({column} AS TEXT) COLLATE BINARY")]
            }
        };
        terms.extend(by.into_iter().map(|by| format!("{by}{last}")));
    }
    if texts {
        let encoding: String = connection.query_row("PRAGMA encoding", [], |row| row.get(0))?;
        if encoding != "UTF-8" {
            let message = format!(
                "rows of {} can't be put in order by a text: the file keeps its texts in {encoding}",
                extract.table
            );
            return Err(TargetError::new(ErrorKind::Unsupported, message)
                .help("convert a copy: sqlite3 OLD .dump | sqlite3 NEW, and move from that")
                .into());
        }
    }
    Ok(terms)
}

fn no_order(extract: &Extract, column: &str) -> TargetError {
    let message = format!(
        "rows of {} can't be put in order by {column}: numbers with a fraction are no key",
        extract.table
    );
    TargetError::new(ErrorKind::Unsupported, message)
        .help("name other columns as the key, or a query that has the number as a text")
}
