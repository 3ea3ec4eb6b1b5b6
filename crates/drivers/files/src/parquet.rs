//! Parquet as rows.

use arrow::record_batch::RecordBatch;
use dunlin_engine::TargetError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;

use crate::convert::Conversion;
use crate::fault::{bug, unusable};
use crate::filling::Filling;
use crate::flaws::Flaw;
use crate::folder::TableFile;
use crate::shape::{Shape, Table, field};
use crate::stream;

/// Rows that are unpacked at once.
const ROWS: usize = 1_024;

fn open(file: &TableFile) -> Result<ParquetRecordBatchReaderBuilder<File>, TargetError> {
    ParquetRecordBatchReaderBuilder::try_new(stream::open(file)?)
        .map_err(|error| damaged(file, &error))
}

fn damaged(file: &TableFile, error: &impl std::fmt::Display) -> TargetError {
    unusable(&file.shown, format!("is no whole Parquet file: {error}"))
        .help("export or copy it again; write to another name first, and rename when done")
}

/// A table's columns, as its files say, and how many rows they have.
pub(crate) fn shape(table: &Table) -> Result<Shape, TargetError> {
    let mut first = None;
    let mut rows = 0;
    for file in &table.files.files {
        let opened = open(file)?;
        rows += u64::try_from(opened.metadata().file_metadata().num_rows()).unwrap_or(0);
        let schema = opened.schema().clone();
        let fields = schema.fields().iter().map(|column| {
            let conversion = Conversion::of(column);
            field(column.name(), conversion.type_name(column), conversion.value_type())
        });
        let fields: Vec<_> = fields.collect();
        match &first {
            None => first = Some(fields),
            Some(first) if *first == fields => {}
            Some(_) => {
                let what = format!("and {} are not alike", file.shown);
                return Err(unusable(table.shown(), what)
                    .help("Parquet files of one table have the same columns and types, in order"));
            }
        }
    }
    let fields = first.unwrap_or_default();
    if let Some(twice) = fields.iter().enumerate().find_map(|(place, field)| {
        fields[..place].iter().any(|other| other.name == field.name).then_some(&field.name)
    }) {
        return Err(unusable(table.shown(), format!("has two columns that are called `{twice}`")));
    }
    Ok(Shape::of_fields(table, fields, Some(rows)))
}

/// The first rows of a table's first file, as they stand there.
pub(crate) fn first_batch(table: &Table) -> Result<Option<RecordBatch>, TargetError> {
    let Some(file) = table.files.files.first() else { return Ok(None) };
    let opened = open(file)?.with_batch_size(ROWS);
    let mut batches = opened.build().map_err(|error| damaged(file, &error))?;
    batches.next().transpose().map_err(|error| damaged(file, &error))
}

/// Reads a file's rows. Their numbers, from 1, are what lines are to other files.
pub(crate) fn read(file: &TableFile, to: &mut Filling<'_>) -> Result<(), TargetError> {
    let opened = open(file)?.with_batch_size(ROWS);
    let batches = opened.build().map_err(|error| damaged(file, &error))?;
    let mut line = 1;
    for batch in batches {
        let batch = batch.map_err(|error| damaged(file, &error))?;
        let mut columns = Vec::with_capacity(batch.num_columns());
        let mut bad = Vec::new();
        for (place, column) in batch.schema().fields().iter().enumerate() {
            let values = batch.column(place);
            let converted = Conversion::of(column).apply(values).map_err(|error| bug(&error))?;
            let told = converted.bad.into_iter();
            bad.extend(told.map(|(row, why)| Flaw { row, place, why }));
            columns.push(converted.values);
        }
        to.batch(columns, batch.num_rows(), line, bad)?;
        line += batch.num_rows() as u64;
    }
    Ok(())
}
