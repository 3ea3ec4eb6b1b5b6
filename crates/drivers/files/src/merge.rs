//! Sorted parts become one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::compute::interleave_record_batch;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, Rows};
use arrow_ipc::reader::FileReader;
use dunlin_engine::TargetError;
use dunlin_engine::moves::UnreadRecords;

use crate::fault::{bug, spooling};
use crate::filling::{BATCH_BYTES, BATCH_ROWS, stopped};
use crate::sort::{Keys, Origin, Part, open};

/// Parts that are merged at once: each has a batch of half a MiB in memory.
pub(crate) const AT_ONCE: usize = 64;

/// One part, and how far it is read.
struct Cursor {
    reader: FileReader<BufReader<File>>,
    /// The batch's place among those that picked rows stand in.
    place: usize,
    keys: Option<Rows>,
    row: usize,
}

/// Merges parts, whose rows came in the order of the parts.
pub(crate) fn merge(
    keys: &Keys,
    parts: &[PathBuf],
    to: &mut Part,
    files: &[String],
    unread: &mut UnreadRecords,
    stop: &AtomicBool,
) -> Result<(), TargetError> {
    let mut merging =
        Merging { keys, batches: Vec::new(), origins: Vec::new(), heap: BinaryHeap::new() };
    let mut cursors = Vec::with_capacity(parts.len());
    for (number, part) in parts.iter().enumerate() {
        let reader = open(part, None)?;
        cursors.push(Cursor { reader, place: 0, keys: None, row: 0 });
        merging.next(number, &mut cursors[number])?;
    }
    let mut picked: Vec<(usize, usize)> = Vec::new();
    while let Some(Reverse((key, number))) = merging.heap.pop() {
        let cursor = &mut cursors[number];
        let origin = merging.origins[cursor.place].at(cursor.row);
        if to.takes(key.row(), origin, files, unread) {
            picked.push((cursor.place, cursor.row));
        }
        cursor.row += 1;
        merging.next(number, cursor)?;
        // Batches that are read to their end wait for the rows that were picked from them.
        let waiting = merging.batches.len() - parts.len().min(merging.batches.len());
        if picked.len() >= BATCH_ROWS || waiting * BATCH_BYTES > (16 << 20) {
            if stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            write(&merging.batches, &mut picked, to)?;
            merging.forget(&mut cursors);
        }
    }
    write(&merging.batches, &mut picked, to)
}

struct Merging<'a> {
    keys: &'a Keys,
    batches: Vec<RecordBatch>,
    origins: Vec<Origin>,
    /// The next key of each part; of equal ones, the earlier part's first.
    heap: BinaryHeap<Reverse<(OwnedRow, usize)>>,
}

impl Merging<'_> {
    /// Puts a part's next row into the heap, if there is one.
    fn next(&mut self, number: usize, cursor: &mut Cursor) -> Result<(), TargetError> {
        loop {
            if let Some(keys) = cursor.keys.as_ref().filter(|keys| cursor.row < keys.num_rows()) {
                self.heap.push(Reverse((keys.row(cursor.row).owned(), number)));
                return Ok(());
            }
            let Some(batch) = cursor.reader.next() else {
                cursor.keys = None;
                return Ok(());
            };
            let batch = batch.map_err(|error| spooling(&error))?;
            cursor.keys = Some(self.keys.of(&batch)?);
            cursor.row = 0;
            cursor.place = self.batches.len();
            self.origins.push(Origin::of(&batch));
            self.batches.push(batch);
        }
    }

    /// Forgets batches that no part is in any more.
    fn forget(&mut self, cursors: &mut [Cursor]) {
        let (mut batches, mut origins) = (Vec::new(), Vec::new());
        for cursor in cursors.iter_mut().filter(|cursor| cursor.keys.is_some()) {
            let batch = self.batches[cursor.place].clone();
            cursor.place = batches.len();
            origins.push(Origin::of(&batch));
            batches.push(batch);
        }
        (self.batches, self.origins) = (batches, origins);
    }
}

fn write(
    batches: &[RecordBatch],
    picked: &mut Vec<(usize, usize)>,
    to: &mut Part,
) -> Result<(), TargetError> {
    if picked.is_empty() {
        return Ok(());
    }
    let all: Vec<&RecordBatch> = batches.iter().collect();
    let merged = interleave_record_batch(&all, picked).map_err(|error| bug(&error))?;
    picked.clear();
    to.write(&merged)
}
