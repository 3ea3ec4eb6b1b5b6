//! `swap`: readers see the old rows until one transaction applies the difference.
//!
//! What differs is found as in `sync`, without a lock, and kept aside in memory instead of written.
//! Then everything is done in one transaction: insert, update, link, delete, and the packs with it.
//! Whoever dies before its COMMIT has changed nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, UInt32Array};
use arrow::compute::take_record_batch;

use super::chunk::{Chunk, Outcome, Rows};
use super::columns::bug;
use super::key::RowKey;
use super::key_set::key_hash;
use super::pack::Entry;
use super::plan::MovePlan;
use super::report::{Note, NoteKind, RuleReport};
use super::row_hash::RowHash;
use super::session::Session;
use super::settle::{delete_gone, take_over};
use super::verify::{WantedBack, forget};
use super::writer::RuleWriter;
use crate::{ErrorKind, Remedy, TargetError};

/// Rows that one transaction may write: about ten seconds, in which rows that differ are locked.
const ROWS_MAX: usize = 200_000;

/// Bytes of rows that are kept aside: half of what a move may take.
const BYTES_MAX: usize = 128 << 20;

/// How much is kept aside of all rules.
#[derive(Debug, Default)]
pub(super) struct Room {
    rows: AtomicUsize,
    bytes: AtomicUsize,
}

/// What is kept aside of one rule.
pub(super) struct Aside {
    chunks: Vec<(Rows, Chunk)>,
    room: Arc<Room>,
}

impl Aside {
    pub(super) fn new(room: &Arc<Room>) -> Self {
        Self { chunks: Vec::new(), room: Arc::clone(room) }
    }

    /// Keeps a chunk's rows that are to be written, and no others.
    pub(super) fn keep(&mut self, rows: &Rows, chunk: Chunk) -> Result<(), TargetError> {
        let inserts = chunk.inserts.len();
        let places: Vec<u32> = chunk
            .inserts
            .iter()
            .copied()
            .chain(chunk.updates.iter().map(|(row, _)| *row))
            .collect();
        let count = places.len();
        let hashes = places.iter().map(|place| rows.hashes[*place as usize]).collect();
        let places = UInt32Array::from(places);
        let batch = take_record_batch(&rows.batch, &places).map_err(|error| bug(&error))?;
        let bytes = batch.get_array_memory_size() + count * 64;
        let all_rows = self.room.rows.fetch_add(count, Ordering::Relaxed) + count;
        let all_bytes = self.room.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let kept = Rows {
            batch,
            old: rows.old.take(&places)?,
            new: rows.new.take(&places)?,
            hashes,
            first_hashes: None,
            // A rule that makes matched ids is never swapped.
            adopted: None,
        };
        let updates = chunk.updates.into_iter().zip(inserts as u32..);
        let chunk = Chunk {
            inserts: (0..inserts as u32).collect(),
            updates: updates.map(|((_, entry), place)| (place, entry)).collect(),
            ..chunk
        };
        self.chunks.push((kept, chunk));
        if all_rows > ROWS_MAX || all_bytes > BYTES_MAX {
            return Err(TargetError::new(
                ErrorKind::Refused,
                format!(
                    "more than {ROWS_MAX} rows, or {} MiB of them, differ: too much for the one \
                     transaction of `swap`; nothing was changed",
                    BYTES_MAX >> 20
                ),
            )
            .help(
                "run once with `mode = \"sync\"`, or with \"reload\", and then with \"swap\" again",
            ));
        }
        Ok(())
    }
}

/// Applies everything that was kept aside, and deletes what is gone.
pub(super) async fn apply(
    plan: &MovePlan,
    session: &mut Session<'_>,
    writers: &mut [RuleWriter<'_>],
) -> Result<(), TargetError> {
    let (mut attempt, mut slowly) = (0, false);
    let before: Vec<_> = writers.iter().map(Before::of).collect();
    loop {
        attempt += 1;
        session.begin().await?;
        session.within = true;
        let done = all(plan, session, writers, slowly).await;
        session.within = false;
        let error = match done {
            Ok(()) => match session.commit().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if error.kind.remedy() == Remedy::Reconnect {
            return Err(error);
        }
        for (writer, before) in writers.iter_mut().zip(&before) {
            before.put_back(writer);
        }
        if error.by_row && !slowly {
            // A row is to blame: once more, to find which.
            slowly = true;
            session.target.rollback().await?;
        } else {
            session.failed(error, attempt).await?;
        }
    }
}

/// What a transaction of everything must find again if it is begun once more.
struct Before {
    gone: Vec<Entry>,
    notes: usize,
    report: RuleReport,
}

impl Before {
    fn of(writer: &RuleWriter<'_>) -> Self {
        let (gone, report) = (writer.gone.clone(), writer.report.clone());
        Self { gone, notes: writer.notes.len(), report }
    }

    fn put_back(&self, writer: &mut RuleWriter<'_>) {
        writer.gone.clone_from(&self.gone);
        writer.notes.truncate(self.notes);
        writer.report.clone_from(&self.report);
        writer.postponed.clear();
        writer.refused.clear();
        writer.kept_out.clear();
        writer.held.clear();
    }
}

async fn all(
    plan: &MovePlan,
    session: &mut Session<'_>,
    writers: &mut [RuleWriter<'_>],
    slowly: bool,
) -> Result<(), TargetError> {
    let order = || plan.passes.iter().flat_map(|pass| pass.rules.iter().copied());
    let mut refused = Vec::new();
    for rule in order() {
        let Some(aside) = writers[rule].aside.take() else { continue };
        // One outcome for all: a pack that comes again must not bring back what was refused before.
        let mut outcome = Outcome::default();
        let (chunks, mut done) = (writers[rule].chunks(), Ok(()));
        for (rows, chunk) in &aside.chunks {
            done = chunks.apply(session, rows, chunk, slowly, &mut outcome).await;
            if done.is_err() {
                break;
            }
        }
        writers[rule].aside = Some(aside);
        done?;
        refused.push((rule, outcome.without.clone()));
        writers[rule].written(outcome);
    }
    for (rule, without) in refused {
        let Some(aside) = writers[rule].aside.take() else { continue };
        let linked = link(session, &mut writers[rule], &aside, &without).await;
        writers[rule].aside = Some(aside);
        linked?;
    }
    crate::failpoint("move.swapping");
    take_over(plan, session, writers).await?;
    let mut back: Vec<usize> = order().collect();
    back.reverse();
    for rule in back {
        delete_gone(plan, rule, session, &mut writers[rule]).await?;
    }
    Ok(())
}

/// Sets the columns that refer to rows which came later.
async fn link(
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
    aside: &Aside,
    without: &HashMap<(RowKey, RowKey), Vec<RowHash>>,
) -> Result<(), TargetError> {
    let rule = writer.rule;
    for (rows, chunk) in &aside.chunks {
        let waits = |row: &&u32| {
            let place = **row as usize;
            !without.contains_key(&(rows.old.key(place), rows.new.key(place)))
                && rule.deferred.iter().any(|field| rows.batch.column(*field).is_valid(place))
        };
        let places: Vec<u32> = chunk.inserts.iter().filter(waits).copied().collect();
        if places.is_empty() {
            continue;
        }
        let some = take_record_batch(&rows.batch, &UInt32Array::from(places.clone()))
            .map_err(|error| bug(&error))?;
        let refused = session.target.update(&rule.written, &some).await?;
        let mut unwritten = WantedBack::new();
        for (row, reason) in refused.rejected {
            let place = places[row as usize] as usize;
            unwritten.insert(key_hash(&rows.new.key(place)));
            let old = rows.old.key(place);
            writer.notes.push(Note { old, kind: NoteKind::Rejected, reason });
        }
        if !unwritten.is_empty() {
            forget(rule, session, &unwritten).await?;
        }
    }
    Ok(())
}
