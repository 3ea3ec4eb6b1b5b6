//! Which columns of a source are read, and where they stand in its batches.

use arrow::array::BooleanArray;
use arrow::record_batch::RecordBatch;
use tokio::sync::mpsc;

use super::key::KeyColumns;
use super::plan::PlannedSource;
use super::ports::{Extract, Source};
use super::read_rows::{ReadRows, Unreadable};
use super::report::{Note, NoteKind};
use crate::TargetError;

/// What a batch holds at most: large enough for columns to pay, small enough that several of them
/// wait in queues within the memory that a move may take. In development builds so small that tests
/// and campaigns have many.
const BATCH_BYTES: usize = if cfg!(debug_assertions) { 8 << 10 } else { 1 << 20 };

/// Batches that wait between a reader and what is done with them.
pub(super) const QUEUE: usize = 2;

/// Columns of one source.
#[derive(Clone)]
pub(super) struct Columns {
    /// Places in the relation's fields, in order.
    places: Vec<usize>,
    key: Vec<usize>,
}

impl Columns {
    /// The key's columns and all that these use.
    pub(super) fn of<'a>(source: &PlannedSource, used: impl Iterator<Item = &'a [usize]>) -> Self {
        let mut places = source.key.clone();
        used.for_each(|used| places.extend_from_slice(used));
        if places.is_empty() {
            // Rows are counted, by any of their columns.
            places.push(0);
        }
        places.sort_unstable();
        places.dedup();
        let key = source.key.iter().map(|place| position(&places, *place)).collect();
        Self { places, key }
    }

    /// What is to be read.
    pub(super) fn extract(&self, source: &PlannedSource, in_order: bool) -> Extract {
        let field = |place: &usize| source.relation.fields[*place].clone();
        let order = source.key.iter().map(|place| source.relation.fields[*place].name.clone());
        Extract {
            table: source.relation.name.clone(),
            query: source.relation.query.clone(),
            fields: self.places.iter().map(field).collect(),
            order: if in_order { order.collect() } else { Vec::new() },
            only: Vec::new(),
            batch_bytes: BATCH_BYTES,
        }
    }

    /// Those columns of a batch alone, which expressions use.
    pub(super) fn project(
        &self,
        batch: &ReadRows,
        used: &[usize],
    ) -> Result<ReadRows, TargetError> {
        let places: Vec<usize> = used.iter().map(|place| position(&self.places, *place)).collect();
        batch.project(&places)
    }

    /// The rows that can be told from each other, with their old keys; and what is to be told of those
    /// whose key can't be read.
    pub(super) fn keyed(
        &self,
        read: ReadRows,
    ) -> Result<(ReadRows, KeyColumns, Vec<Note>), TargetError> {
        let keys = self.keys(&read.rows)?;
        let is_key = |one: &&Unreadable| self.key.contains(&one.column);
        if !read.unreadable.iter().any(|one| is_key(&one)) {
            return Ok((read, keys, Vec::new()));
        }
        let schema = read.rows.schema();
        let mut keep = vec![true; read.count()];
        let mut notes = Vec::new();
        for one in read.unreadable.iter().filter(is_key) {
            let row = one.row as usize;
            if std::mem::replace(&mut keep[row], false) {
                let reason = format!("its key `{}` {}", schema.field(one.column).name(), one.why);
                notes.push(Note { old: keys.key(row), kind: NoteKind::Rejected, reason });
            }
        }
        let keep = BooleanArray::from(keep);
        Ok((read.filter(&keep)?, keys.filter(&keep)?, notes))
    }

    /// The old keys of a batch.
    fn keys(&self, batch: &RecordBatch) -> Result<KeyColumns, TargetError> {
        let columns: Vec<_> = self.key.iter().map(|place| batch.column(*place).clone()).collect();
        KeyColumns::of(&columns)
    }
}

fn position(places: &[usize], place: usize) -> usize {
    places.binary_search(&place).unwrap_or_default()
}

/// An error of Arrow's that no input should lead to.
pub(super) fn bug(error: &arrow::error::ArrowError) -> TargetError {
    TargetError::new(crate::ErrorKind::Bug, format!("rows in memory don't fit: {error}"))
}

/// Reads rows and gives them away batch by batch, while the next are being read.
pub(super) async fn read_all<F>(
    source: &mut dyn Source,
    extract: &Extract,
    mut each: F,
) -> Result<(), TargetError>
where
    F: FnMut(ReadRows) -> Result<(), TargetError>,
{
    let (batches, mut received) = mpsc::channel(QUEUE);
    let reading = async move {
        let read = source.read(extract, &batches).await;
        drop(batches);
        read
    };
    // It owns the queue's end: where it fails, the reader finds nobody there and ends.
    let taking = async move {
        while let Some(batch) = received.recv().await {
            each(batch?)?;
        }
        Ok::<(), TargetError>(())
    };
    let (read, taken) = tokio::join!(reading, taking);
    taken.and(read)
}
