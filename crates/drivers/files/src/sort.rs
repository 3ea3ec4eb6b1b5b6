//! Rows in the order of their keys, on disk: sorted by parts that fit memory, and merged.
//!
//! Rows of one key stay in the order in which they came: the first of them stays, the others are
//! told of.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use dunlin_engine::TargetError;
use dunlin_engine::moves::UnreadRecords;

use crate::fault::{bug, spooling};
use crate::filling::{BATCH_BYTES, BATCH_ROWS};
use crate::merge::merge;
use crate::shape::note;

/// What is sorted in memory at once. Sorting takes about three times as much for a moment.
const SORT_BYTES: usize = 32 << 20;

/// Rows on disk, in order.
#[derive(Debug)]
pub(crate) struct Sorted {
    path: PathBuf,
}

impl Sorted {
    /// Reads these of its columns.
    pub(crate) fn read(
        &self,
        columns: Vec<usize>,
    ) -> Result<FileReader<BufReader<File>>, TargetError> {
        open(&self.path, Some(columns))
    }
}

pub(crate) fn open(
    path: &Path,
    columns: Option<Vec<usize>>,
) -> Result<FileReader<BufReader<File>>, TargetError> {
    let file = File::open(path).map_err(|error| spooling(&error))?;
    FileReader::try_new(BufReader::new(file), columns).map_err(|error| spooling(&error))
}

/// What rows are compared by.
pub(crate) struct Keys {
    places: Vec<usize>,
    converter: RowConverter,
}

impl Keys {
    fn new(schema: &SchemaRef, places: &[usize]) -> Result<Self, TargetError> {
        let options = SortOptions { descending: false, nulls_first: false };
        let field = |place: &usize| {
            SortField::new_with_options(schema.field(*place).data_type().clone(), options)
        };
        let converter = RowConverter::new(places.iter().map(field).collect());
        Ok(Self { places: places.to_vec(), converter: converter.map_err(|error| bug(&error))? })
    }

    pub(crate) fn of(&self, batch: &RecordBatch) -> Result<Rows, TargetError> {
        let columns: Vec<ArrayRef> =
            self.places.iter().map(|place| batch.column(*place).clone()).collect();
        self.converter.convert_columns(&columns).map_err(|error| bug(&error))
    }
}

/// Sorts rows as they come.
pub(crate) struct Sorter {
    schema: SchemaRef,
    /// `None`: any order will do.
    keys: Option<Keys>,
    /// The files' names, for messages.
    files: Vec<String>,
    spool: PathBuf,
    buffer: Vec<RecordBatch>,
    bytes: usize,
    /// What is sorted in memory at once.
    at_once: usize,
    /// Parts that are done, in the order in which their rows came.
    parts: Vec<PathBuf>,
    part: Option<Part>,
    numbered: usize,
}

impl Sorter {
    pub(crate) fn new(
        schema: SchemaRef,
        key: &[usize],
        files: Vec<String>,
        spool: &Path,
    ) -> Result<Self, TargetError> {
        let keys = if key.is_empty() { None } else { Some(Keys::new(&schema, key)?) };
        Ok(Self {
            schema,
            keys,
            files,
            spool: spool.to_owned(),
            buffer: Vec::new(),
            bytes: 0,
            at_once: SORT_BYTES,
            parts: Vec::new(),
            part: None,
            numbered: 0,
        })
    }

    pub(crate) fn push(
        &mut self,
        batch: RecordBatch,
        unread: &mut UnreadRecords,
    ) -> Result<(), TargetError> {
        self.bytes += batch.get_array_memory_size();
        self.buffer.push(batch);
        if self.bytes >= self.at_once { self.flush(unread) } else { Ok(()) }
    }

    /// All rows have come.
    pub(crate) fn finish(
        mut self,
        unread: &mut UnreadRecords,
        stop: &AtomicBool,
    ) -> Result<Sorted, TargetError> {
        self.flush(unread)?;
        if self.part.is_none() && self.parts.is_empty() {
            self.part = Some(self.begin()?);
        }
        if let Some(part) = self.part.take() {
            self.parts.push(part.end()?);
        }
        let mut parts = std::mem::take(&mut self.parts);
        while let Some(keys) = self.keys.as_ref().filter(|_| parts.len() > 1) {
            let mut merged = Vec::new();
            for some in parts.chunks(crate::merge::AT_ONCE) {
                let path = self.spool.join(format!("{}-{}", self.numbered, merged.len()));
                let mut to = Part::create(&self.schema, path)?;
                merge(keys, some, &mut to, &self.files, unread, stop)?;
                merged.push(to.end()?);
                for done in some {
                    std::fs::remove_file(done).map_err(|error| spooling(&error))?;
                }
            }
            self.numbered += 1;
            parts = merged;
        }
        let path = parts.pop().ok_or_else(|| bug(&"no part"))?;
        Ok(Sorted { path })
    }

    fn begin(&mut self) -> Result<Part, TargetError> {
        self.numbered += 1;
        Part::create(&self.schema, self.spool.join(self.numbered.to_string()))
    }

    /// Sorts what there is, and puts it behind the part before if it comes after it anyway: files
    /// that are in order already make one part.
    fn flush(&mut self, unread: &mut UnreadRecords) -> Result<(), TargetError> {
        let buffer = std::mem::take(&mut self.buffer);
        self.bytes = 0;
        let all = concat_batches(&self.schema, &buffer).map_err(|error| bug(&error))?;
        drop(buffer);
        if all.num_rows() == 0 {
            return Ok(());
        }
        let Some(keys) = &self.keys else {
            let mut part = match self.part.take() {
                Some(part) => part,
                None => self.begin()?,
            };
            part.write(&all)?;
            self.part = Some(part);
            return Ok(());
        };
        let rows = keys.of(&all)?;
        let count = u32::try_from(all.num_rows()).map_err(|error| bug(&error))?;
        let mut order: Vec<u32> = (0..count).collect();
        let key = |row: u32| rows.row(row as usize);
        let is_sorted = order.is_sorted_by(|a, b| key(*a) <= key(*b));
        if !is_sorted {
            order.sort_by(|a, b| key(*a).cmp(&key(*b)));
        }
        let follows = self.part.as_ref().is_some_and(|part| part.is_before(key(order[0])));
        if !follows {
            if let Some(done) = self.part.take() {
                self.parts.push(done.end()?);
            }
            self.part = Some(self.begin()?);
        }
        let Some(part) = &mut self.part else { return Err(bug(&"no part")) };
        let origin = Origin::of(&all);
        order.retain(|row| part.takes(key(*row), origin.at(*row as usize), &self.files, unread));
        if is_sorted && order.len() == all.num_rows() {
            return part.write(&all);
        }
        // By pieces: all at once would be a second copy.
        for some in order.chunks(BATCH_ROWS) {
            let some = take_record_batch(&all, &UInt32Array::from(some.to_vec()));
            part.write(&some.map_err(|error| bug(&error))?)?;
        }
        Ok(())
    }
}

/// Where rows stand: the last two columns.
pub(crate) struct Origin {
    files: arrow::array::Int32Array,
    lines: arrow::array::Int64Array,
}

impl Origin {
    pub(crate) fn of(batch: &RecordBatch) -> Self {
        let width = batch.num_columns();
        Self {
            files: batch.column(width - 2).as_primitive::<Int32Type>().clone(),
            lines: batch.column(width - 1).as_primitive::<Int64Type>().clone(),
        }
    }

    /// The file's place, and the line.
    pub(crate) fn at(&self, row: usize) -> (i32, i64) {
        (self.files.value(row), self.lines.value(row))
    }
}

/// A part on disk that is being written.
pub(crate) struct Part {
    path: PathBuf,
    writer: FileWriter<BufWriter<File>>,
    /// The key of its last row, and where that stands.
    last: Option<(OwnedRow, (i32, i64))>,
}

impl Part {
    fn create(schema: &SchemaRef, path: PathBuf) -> Result<Self, TargetError> {
        let file = File::create_new(&path).map_err(|error| spooling(&error))?;
        let writer =
            FileWriter::try_new(BufWriter::new(file), schema).map_err(|error| spooling(&error))?;
        Ok(Self { path, writer, last: None })
    }

    /// Whether all that it has comes before such a row, or is of its key.
    fn is_before(&self, row: arrow::row::Row<'_>) -> bool {
        self.last.as_ref().is_none_or(|(last, _)| last.row() <= row)
    }

    /// Whether a row that follows belongs in it. A second one of a key doesn't: it is told of.
    pub(crate) fn takes(
        &mut self,
        row: arrow::row::Row<'_>,
        at: (i32, i64),
        files: &[String],
        unread: &mut UnreadRecords,
    ) -> bool {
        let name = |file: i32| usize::try_from(file).ok().and_then(|file| files.get(file));
        let shown = |(file, line): (i32, i64)| match name(file) {
            Some(name) => format!("{name}:{line}"),
            None => line.to_string(),
        };
        match &self.last {
            Some((last, first)) if last.row() == row => {
                note(unread, shown(at), format!("has the key of {}", shown(*first)));
                false
            }
            _ => {
                self.last = Some((row.owned(), at));
                true
            }
        }
    }

    /// Writes rows that follow, in batches of the copy's size.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), TargetError> {
        let rows = batch.num_rows();
        let bytes = batch.get_array_memory_size().max(1);
        let at_once = (rows * BATCH_BYTES / bytes).clamp(1, BATCH_ROWS);
        for from in (0..rows).step_by(at_once) {
            let some = batch.slice(from, at_once.min(rows - from));
            self.writer.write(&some).map_err(|error| spooling(&error))?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<PathBuf, TargetError> {
        self.writer.finish().map_err(|error| spooling(&error))?;
        Ok(self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("key", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
            Field::new("file", DataType::Int32, false),
            Field::new("line", DataType::Int64, false),
        ]))
    }

    /// Sorts keys as they come, in batches of so many, sorting `at_once` bytes in memory.
    fn sorted(keys: &[i64], batch: usize, at_once: usize) -> (Vec<(i64, String)>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(schema(), &[0], vec!["t".into()], dir.path()).unwrap();
        sorter.at_once = at_once;
        let mut unread = UnreadRecords::default();
        let mut line = 0;
        for some in keys.chunks(batch) {
            let lines = Int64Array::from_iter_values((line + 1..).take(some.len()));
            let texts = StringArray::from_iter_values(some.iter().map(|key| format!("row {key}")));
            line += some.len() as i64;
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(some.to_vec())),
                Arc::new(texts),
                Arc::new(Int32Array::from(vec![0; some.len()])),
                Arc::new(lines),
            ];
            sorter.push(RecordBatch::try_new(schema(), columns).unwrap(), &mut unread).unwrap();
        }
        let sorted = sorter.finish(&mut unread, &AtomicBool::new(false)).unwrap();
        let mut found = Vec::new();
        for batch in sorted.read(vec![0, 1]).unwrap() {
            let batch = batch.unwrap();
            let keys = batch.column(0).as_primitive::<Int64Type>();
            let texts = batch.column(1).as_string::<i32>();
            let row = |row| (keys.value(row), texts.value(row).to_owned());
            found.extend((0..batch.num_rows()).map(row));
        }
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "one part stays");
        (
            found,
            unread.first.into_iter().map(|one| format!("{} {}", one.place, one.reason)).collect(),
        )
    }

    #[test]
    fn parts_are_merged_and_the_first_of_a_key_stays() {
        // Some thousand keys in no order; each seventh comes again.
        let mut keys: Vec<i64> = (0..30_000).map(|n| n * 7_919 % 30_011 - 15_000).collect();
        let again: Vec<i64> = keys.iter().copied().step_by(7).collect();
        keys.extend(&again);
        let mut wanted: Vec<i64> = keys.clone();
        wanted.sort_unstable();
        wanted.dedup();
        for (batch, at_once) in [(100_000, 1 << 30), (1_000, 200_000), (100, 1)] {
            let (found, unread) = sorted(&keys, batch, at_once);
            let (found, texts): (Vec<i64>, Vec<String>) = found.into_iter().unzip();
            assert_eq!(found, wanted, "{batch}");
            assert!(texts.iter().zip(&wanted).all(|(text, key)| *text == format!("row {key}")));
            assert_eq!(unread.len(), again.len());
            assert!(unread.contains(&"t:30001 has the key of t:1".to_owned()), "{batch}");
        }
    }

    #[test]
    fn files_in_order_need_no_merging_and_none_is_no_trouble() {
        let keys: Vec<i64> = (0..10_000).collect();
        let (found, unread) = sorted(&keys, 100, 1_000);
        assert_eq!((found.len(), unread.len()), (10_000, 0));
        assert_eq!(sorted(&[], 1, 1), (Vec::new(), Vec::new()));
    }
}
