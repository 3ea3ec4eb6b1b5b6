//! Reads a table's files, once and whole, into the copy that a run reads.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use dunlin_engine::TargetError;
use dunlin_engine::moves::UnreadRecords;

use crate::filling::Filling;
use crate::flaws::Reasons;
use crate::folder::Format;
use crate::shape::{Shape, Table};
use crate::sort::Sorted;
use crate::{csv, ndjson, parquet, stream};

/// What a table's columns are called and hold.
pub(crate) fn shape(table: &Table) -> Result<Shape, TargetError> {
    match table.files.format {
        Format::Csv | Format::Tsv => csv::shape(table),
        Format::Ndjson => ndjson::shape(table),
        Format::Parquet => parquet::shape(table),
    }
}

/// A table's rows in order, and what could not be read.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) sorted: Sorted,
    pub(crate) unread: UnreadRecords,
    /// Values in its rows that could not be read.
    pub(crate) flaws: Reasons,
}

/// Reads all files of a table. `spool` is an empty folder of its own.
pub(crate) fn stage(
    table: &Table,
    shape: &Shape,
    spool: &Path,
    stop: &AtomicBool,
) -> Result<Staged, TargetError> {
    let mut filling = Filling::new(table, shape, spool, stop)?;
    for (place, file) in table.files.files.iter().enumerate() {
        filling.begin(place)?;
        match table.files.format {
            Format::Csv | Format::Tsv => csv::read(table, shape, file, &mut filling)?,
            Format::Ndjson => ndjson::read(table, shape, file, &mut filling)?,
            Format::Parquet => parquet::read(file, &mut filling)?,
        }
        stream::check_unchanged(file)?;
    }
    let (sorted, unread, flaws) = filling.finish()?;
    Ok(Staged { sorted, unread, flaws })
}
