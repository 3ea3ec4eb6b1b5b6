//! Rows on their way from files into the sorted copy, and records that are no rows.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int32Builder, Int64Array, Int64Builder, StringArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use dunlin_engine::moves::{UnreadRecords, arrow_field};
use dunlin_engine::{ErrorKind, TargetError};

use crate::cells::Cells;
use crate::fault::bug;
use crate::flaws::{Flaw, Flaws, Reasons};
use crate::shape::{LINE, Shape, Table, note};
use crate::sort::{Sorted, Sorter};
use crate::value::Value;

/// Bytes of a batch in the copy, about.
pub(crate) const BATCH_BYTES: usize = 512 << 10;

/// Rows of a batch in the copy at most.
pub(crate) const BATCH_ROWS: usize = 8_192;

/// Takes rows.
pub(crate) struct Filling<'a> {
    table: &'a Table,
    shape: &'a Shape,
    schema: SchemaRef,
    cells: Vec<Cells>,
    flaws: Flaws,
    files: Int32Builder,
    lines: Int64Builder,
    rows: usize,
    bytes: usize,
    /// Places of the key among the fields.
    key: Vec<usize>,
    /// The file that is being read, as a place in the table's.
    file: usize,
    sorter: Sorter,
    unread: UnreadRecords,
    stop: &'a AtomicBool,
}

/// The copy's columns: the table's own, then what could not be read of each row, and then its file's
/// place and its line, which only messages use.
fn schema(shape: &Shape) -> SchemaRef {
    let mut fields: Vec<ArrowField> =
        shape.fields.iter().map(|field| arrow_field(field, false)).collect();
    fields.push(ArrowField::new("\0unread", DataType::Binary, true));
    fields.push(ArrowField::new("\0file", DataType::Int32, false));
    fields.push(ArrowField::new("\0line", DataType::Int64, false));
    Arc::new(Schema::new(fields))
}

impl<'a> Filling<'a> {
    pub(crate) fn new(
        table: &'a Table,
        shape: &'a Shape,
        spool: &std::path::Path,
        stop: &'a AtomicBool,
    ) -> Result<Self, TargetError> {
        let place = |name: &String| shape.fields.iter().position(|field| field.name == *name);
        let key: Vec<usize> = table.key.iter().filter_map(place).collect();
        let schema = schema(shape);
        let names = table.files.files.iter().map(|file| file.shown.clone()).collect();
        let sorter = Sorter::new(Arc::clone(&schema), &key, names, spool)?;
        Ok(Self {
            table,
            shape,
            schema,
            cells: shape.columns.iter().map(|column| Cells::new(&column.value_type())).collect(),
            flaws: Flaws::default(),
            files: Int32Builder::new(),
            lines: Int64Builder::new(),
            rows: 0,
            bytes: 0,
            key,
            file: 0,
            sorter,
            unread: UnreadRecords::default(),
            stop,
        })
    }

    /// The records of this file come next.
    pub(crate) fn begin(&mut self, file: usize) -> Result<(), TargetError> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.file = file;
        Ok(())
    }

    /// A record that is no row.
    pub(crate) fn reject(&mut self, line: u64, last_line: u64, why: impl Display) {
        let file = &self.table.files.files[self.file].shown;
        let place = if last_line > line {
            format!("{file}:{line}-{last_line}")
        } else {
            format!("{file}:{line}")
        };
        note(&mut self.unread, place, why.to_string());
    }

    /// A row of a text format: a value for each of the shape's columns. Without a key that can be read it
    /// is none.
    pub(crate) fn row(
        &mut self,
        values: &[Value<'_>],
        line: u64,
        last_line: u64,
    ) -> Result<(), TargetError> {
        let empty = self.key.iter().find(|place| values.get(**place) == Some(&Value::Null));
        if let Some(place) = empty {
            let name = &self.shape.fields[*place].name;
            self.reject(line, last_line, format!("has no key: `{name}` is NULL"));
            return Ok(());
        }
        let unreadable = values.iter().enumerate().filter_map(|(place, value)| match value {
            Value::Unreadable(why) => Some((place, *why)),
            _ => None,
        });
        if let Some((place, why)) = unreadable.clone().find(|(place, _)| self.key.contains(place)) {
            let name = &self.shape.fields[place].name;
            self.reject(line, last_line, format!("`{name}` {why}"));
            return Ok(());
        }
        unreadable.for_each(|(place, why)| self.flaws.note(place, why));
        self.flaws.end_row();
        for (cells, value) in self.cells.iter_mut().zip(values) {
            self.bytes += cells.push(value);
        }
        self.files.append_value(i32::try_from(self.file).unwrap_or(i32::MAX));
        self.lines.append_value(i64::try_from(line).unwrap_or(i64::MAX));
        self.rows += 1;
        self.bytes += 12;
        if self.bytes >= BATCH_BYTES || self.rows >= BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    /// Rows of Parquet: the table's own columns; the first is number `line` of its file. Rows of which
    /// the key can't be read are none.
    pub(crate) fn batch(
        &mut self,
        mut columns: Vec<ArrayRef>,
        count: usize,
        line: u64,
        flaws: Vec<Flaw>,
    ) -> Result<(), TargetError> {
        let (of_keys, mut flaws): (Vec<Flaw>, Vec<Flaw>) =
            flaws.into_iter().partition(|one| self.key.contains(&one.place));
        let told = |one: Flaw| {
            let name = &self.shape.fields[one.place].name;
            (one.row, format!("`{name}` {}", one.why))
        };
        let mut bad: Vec<(usize, String)> = of_keys.into_iter().map(told).collect();
        for &place in self.key.iter().filter(|place| **place < columns.len()) {
            let name = &self.shape.fields[place].name;
            let nulls = (0..count).filter(|row| columns[place].is_null(*row));
            bad.extend(nulls.map(|row| (row, format!("has no key: `{name}` is NULL"))));
        }
        bad.sort_by_key(|(row, _)| *row);
        bad.dedup_by_key(|(row, _)| *row);
        for (row, why) in &bad {
            let line = line + *row as u64;
            self.reject(line, line, why);
        }
        let from = i64::try_from(line).unwrap_or(i64::MAX);
        let lines = Int64Array::from_iter_values((from..).take(count));
        let file = i32::try_from(self.file).unwrap_or(i32::MAX);
        let files = Int32Array::from_value(file, count);
        let flaws = self.flaws.of_batch(&mut columns, count, &mut flaws)?;
        let batch = self.whole(columns, flaws, files, lines)?;
        if bad.is_empty() {
            return self.put(batch);
        }
        let mut keep = vec![true; count];
        bad.iter().for_each(|(row, _)| keep[*row] = false);
        let batch = filter_record_batch(&batch, &BooleanArray::from(keep));
        self.put(batch.map_err(|error| bug(&error))?)
    }

    /// All rows have come.
    pub(crate) fn finish(mut self) -> Result<(Sorted, UnreadRecords, Reasons), TargetError> {
        if self.rows > 0 {
            self.flush()?;
        }
        let sorted = self.sorter.finish(&mut self.unread, self.stop)?;
        Ok((sorted, self.unread, self.flaws.into_reasons()))
    }

    fn flush(&mut self) -> Result<(), TargetError> {
        let columns = self.cells.iter_mut().map(Cells::finish).collect();
        let (files, lines) = (self.files.finish(), self.lines.finish());
        let flaws = self.flaws.finish();
        (self.rows, self.bytes) = (0, 0);
        let batch = self.whole(columns, flaws, files, lines)?;
        self.put(batch)
    }

    /// Own columns with those that number rows, and with the copy's.
    fn whole(
        &self,
        mut columns: Vec<ArrayRef>,
        flaws: ArrayRef,
        files: Int32Array,
        lines: Int64Array,
    ) -> Result<RecordBatch, TargetError> {
        for field in &self.shape.fields[self.shape.own..] {
            columns.push(if field.name == LINE {
                Arc::new(lines.clone())
            } else {
                let shown = &self.table.files.files[self.file].shown;
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(shown, lines.len())))
            });
        }
        columns.push(flaws);
        columns.push(Arc::new(files));
        columns.push(Arc::new(lines));
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| bug(&error))
    }

    fn put(&mut self, batch: RecordBatch) -> Result<(), TargetError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        self.sorter.push(batch, &mut self.unread)
    }
}

/// Nobody wants the rows any more.
pub(crate) fn stopped() -> TargetError {
    TargetError::new(ErrorKind::Refused, "reading the files was stopped")
}
