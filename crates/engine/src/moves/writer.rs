//! Writes one rule's rows: compares them with what was written before, pack by pack, and writes what
//! differs, with the packs, in one transaction a chunk.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::Conflicts;

use super::columns::bug;
use super::key::{KeyColumns, RowKey};
use super::pack::{Entry, GAP, PACK_ROWS, Pack, cut};
use super::plan::PlannedRule;
use super::produce::batch;
use super::report::{Note, NoteKind, RuleReport};
use super::row_hash::{RowHash, row_hashes};
use super::session::Session;
use super::shapes::Shapes;
use super::state::MoveState;
use crate::TargetError;

/// Rows of a chunk at most: a transaction of about a second.
const CHUNK_ROWS: usize = 20_000;

/// Bytes of a chunk's rows at most.
const CHUNK_BYTES: usize = 8 << 20;

/// From how many rows on inserting begins with the fast way.
const LOAD_FROM: usize = 50;

/// Rows with all that is known about them, in the order of old keys.
pub(super) struct Rows {
    pub(super) batch: RecordBatch,
    pub(super) old: Vec<RowKey>,
    pub(super) new: Vec<RowKey>,
    pub(super) hashes: Vec<RowHash>,
    /// Of the rows as they go in at first, where some columns are to come later.
    pub(super) first_hashes: Option<Vec<RowHash>>,
}

/// A row that could not be inserted, since its key is there.
pub(super) struct Postponed {
    pub(super) row: RecordBatch,
    pub(super) entry: Entry,
}

/// What a chunk does.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) inserts: Vec<u32>,
    /// Places of rows, with the entry as it was.
    pub(super) updates: Vec<(u32, Entry)>,
    pub(super) puts: Vec<Pack>,
    pub(super) unchanged: u64,
}

/// Writes one rule.
pub(super) struct RuleWriter<'a> {
    pub(super) rule: &'a PlannedRule,
    pub(super) conflicts: Conflicts,
    /// The packs' area in the store.
    pub(super) area: String,
    buffer: Vec<RecordBatch>,
    buffer_old: Vec<RowKey>,
    buffer_bytes: usize,
    packs: VecDeque<Pack>,
    next_stored: i64,
    read_all_packs: bool,
    /// The last pack that was compared, for new rows to join.
    tail: Option<Pack>,
    /// (end, number) of each pack, in order.
    pub(super) index: Vec<(RowKey, i64)>,
    /// Entries of packs that no old row stands for any more: (pack, entry).
    pub(super) gone: Vec<(i64, Entry)>,
    pub(super) postponed: Vec<Postponed>,
    pub(super) notes: Vec<Note>,
    pub(super) report: RuleReport,
    /// Rows whose late columns are still NULL.
    pub(super) unfinished: u64,
    /// Columns that refer to rows that come later are written now.
    pub(super) everything: bool,
    /// The columns that each run wrote.
    pub(super) shapes: Shapes,
}

impl<'a> RuleWriter<'a> {
    pub(super) fn new(rule: &'a PlannedRule, conflicts: Conflicts, state: &MoveState) -> Self {
        Self {
            rule,
            conflicts,
            area: pack_area(&rule.rule.name),
            buffer: Vec::new(),
            buffer_old: Vec::new(),
            buffer_bytes: 0,
            packs: VecDeque::new(),
            next_stored: i64::MIN,
            read_all_packs: false,
            tail: None,
            index: Vec::new(),
            gone: Vec::new(),
            postponed: Vec::new(),
            notes: Vec::new(),
            report: RuleReport {
                rule: rule.rule.name.clone(),
                table: rule.written.table.to_string(),
                from: rule.rule.from.value.clone(),
                ..RuleReport::default()
            },
            unfinished: 0,
            everything: false,
            shapes: Shapes::of(rule, state),
        }
    }

    /// Takes rows, whose old keys follow on those before. `upto`: no row up to that key comes later.
    pub(super) async fn take(
        &mut self,
        session: &mut Session<'_>,
        rows: RecordBatch,
        old: Vec<RowKey>,
        upto: &RowKey,
    ) -> Result<(), TargetError> {
        self.buffer_bytes += rows.get_array_memory_size();
        self.buffer_old.extend(old);
        if rows.num_rows() > 0 {
            self.buffer.push(rows);
        }
        if self.buffer_old.len() >= CHUNK_ROWS || self.buffer_bytes >= CHUNK_BYTES {
            self.flush(session, Some(upto)).await?;
        }
        Ok(())
    }

    /// No more rows come.
    pub(super) async fn end(&mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        self.flush(session, None).await
    }

    async fn flush(
        &mut self,
        session: &mut Session<'_>,
        upto: Option<&RowKey>,
    ) -> Result<(), TargetError> {
        let rows = self.gather(session).await?;
        let mut chunk = Chunk::default();
        let mut place = 0;
        loop {
            self.fetch_packs(session).await?;
            let is_whole = match (self.packs.front(), upto) {
                (Some(pack), Some(upto)) => pack.hi <= *upto,
                (Some(_), None) => true,
                (None, _) => false,
            };
            // A pack whose range goes on after the rows at hand stays for the next flush.
            let Some(pack) = (if is_whole { self.packs.pop_front() } else { None }) else { break };
            let end = place + rows.old[place..].partition_point(|old| *old <= pack.hi);
            self.settle_tail();
            self.compare(&rows, place..end, pack, &mut chunk, session.run);
            place = end;
            if chunk.inserts.len() + chunk.updates.len() >= CHUNK_ROWS {
                self.write(session, &rows, std::mem::take(&mut chunk)).await?;
            }
        }
        if self.read_all_packs && self.packs.is_empty() {
            self.append(&rows, place, &mut chunk, session.run);
            place = rows.old.len();
        }
        if upto.is_none() {
            self.settle_tail();
        }
        self.write(session, &rows, chunk).await?;
        self.keep_rest(&rows, place);
        Ok(())
    }

    async fn gather(&mut self, session: &mut Session<'_>) -> Result<Rows, TargetError> {
        let pieces = std::mem::take(&mut self.buffer);
        let old = std::mem::take(&mut self.buffer_old);
        self.buffer_bytes = 0;
        let fields = &self.rule.written.fields;
        let batch = match pieces.first() {
            Some(first) => concat_batches(&first.schema(), &pieces).map_err(|error| bug(&error))?,
            None => RecordBatch::new_empty(std::sync::Arc::new(super::arrow_schema(fields, true))),
        };
        drop(pieces);
        let batch = session.normalise(fields, batch).await?;
        let new = self.new_keys(&batch)?;
        let hashes = row_hashes(fields, &batch)?;
        let first_hashes = match self.everything || self.rule.deferred.is_empty() {
            true => None,
            false => Some(row_hashes(fields, &self.without_deferred(&batch)?)?),
        };
        Ok(Rows { batch, old, new, hashes, first_hashes })
    }

    pub(super) fn new_keys(&self, batch: &RecordBatch) -> Result<Vec<RowKey>, TargetError> {
        let columns: Vec<ArrayRef> =
            self.rule.written.key.iter().map(|place| batch.column(*place).clone()).collect();
        let keys = KeyColumns::of(&columns)?;
        Ok((0..batch.num_rows()).map(|row| keys.key(row)).collect())
    }

    fn keep_rest(&mut self, rows: &Rows, from: usize) {
        if from < rows.old.len() {
            let rest = rows.batch.slice(from, rows.old.len() - from);
            self.buffer_bytes = rest.num_rows() * 64;
            self.buffer_old = rows.old[from..].to_vec();
            self.buffer = vec![rest];
        }
    }

    async fn fetch_packs(&mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        // One more than is needed: a pack that is cut must know the number of the next.
        if self.packs.len() > 1 || self.read_all_packs {
            return Ok(());
        }
        let stored = session.stored(&self.area, self.next_stored).await?;
        match stored.last() {
            Some(last) => self.next_stored = last.number + 1,
            None => self.read_all_packs = true,
        }
        for entry in &stored {
            self.packs.push_back(Pack::read(entry)?);
        }
        Ok(())
    }

    /// Compares the rows of a pack's range with it.
    fn compare(
        &mut self,
        rows: &Rows,
        places: std::ops::Range<usize>,
        mut pack: Pack,
        chunk: &mut Chunk,
        run: u32,
    ) {
        self.report.rows += places.len() as u64;
        let is_same = places.len() == pack.entries.len()
            && places.clone().zip(&pack.entries).all(|(place, entry)| {
                rows.hashes[place] == entry.hash
                    && rows.new[place] == entry.new
                    && rows.old[place] == entry.old
            });
        if is_same {
            chunk.unchanged += places.len() as u64;
            self.tail = Some(pack);
            return;
        }
        let mut before: HashMap<&RowKey, &Entry> =
            pack.entries.iter().map(|entry| (&entry.new, entry)).collect();
        let mut entries = Vec::with_capacity(places.len());
        for place in places {
            let (old, new, hash) = (&rows.old[place], &rows.new[place], rows.hashes[place]);
            let entry = match before.remove(new) {
                Some(entry) if entry.hash == hash => {
                    chunk.unchanged += 1;
                    Entry { old: old.clone(), ..entry.clone() }
                }
                Some(entry) => {
                    chunk.updates.push((place as u32, entry.clone()));
                    Entry { old: old.clone(), new: new.clone(), hash, run }
                }
                None => {
                    chunk.inserts.push(place as u32);
                    self.entry(rows, place, run)
                }
            };
            entries.push(entry);
        }
        // What is gone stays in the pack until it is deleted.
        let mut gone: Vec<Entry> = before.into_values().cloned().collect();
        gone.sort_by(|a, b| (&a.old, &a.new).cmp(&(&b.old, &b.new)));
        self.gone.extend(gone.iter().map(|entry| (pack.number, entry.clone())));
        entries.extend(gone);
        entries.sort_by(|a, b| a.old.cmp(&b.old));
        let is_changed = entries != pack.entries;
        pack.entries = entries;
        if is_changed {
            let next = self.packs.front().map(|next| next.number);
            let mut packs = cut(pack.number, next, &pack.hi, std::mem::take(&mut pack.entries));
            let tail = packs.pop();
            packs.into_iter().for_each(|pack| self.put(pack, chunk));
            self.tail = tail;
            if let Some(tail) = self.tail.clone() {
                chunk.puts.push(tail);
            }
        } else {
            self.tail = Some(pack);
        }
    }

    /// A new row's entry. One that refers to rows that come later is not all written yet: its hash is
    /// that of what is, so that it can be told if the application changes it meanwhile.
    fn entry(&mut self, rows: &Rows, place: usize, run: u32) -> Entry {
        let waits =
            self.rule.deferred.iter().any(|field| rows.batch.column(*field).is_valid(place));
        let first = rows.first_hashes.as_ref().filter(|_| waits);
        self.unfinished += u64::from(first.is_some());
        let hash = first.map_or(rows.hashes[place], |hashes| hashes[place]);
        Entry { old: rows.old[place].clone(), new: rows.new[place].clone(), hash, run }
    }

    fn put(&mut self, pack: Pack, chunk: &mut Chunk) {
        self.index.push((pack.hi.clone(), pack.number));
        chunk.puts.push(pack);
    }

    /// The last pack that was compared is done: no rows join it any more.
    fn settle_tail(&mut self) {
        if let Some(tail) = self.tail.take() {
            self.index.push((tail.hi, tail.number));
        }
    }

    /// Rows after the last pack: all are new.
    fn append(&mut self, rows: &Rows, from: usize, chunk: &mut Chunk, run: u32) {
        if from == rows.old.len() {
            return;
        }
        self.report.rows += (rows.old.len() - from) as u64;
        let mut entries = Vec::with_capacity(rows.old.len() - from);
        for place in from..rows.old.len() {
            chunk.inserts.push(place as u32);
            entries.push(self.entry(rows, place, run));
        }
        let hi = rows.old[rows.old.len() - 1].clone();
        let number = match self.tail.take() {
            Some(tail) if tail.entries.len() < PACK_ROWS => {
                entries.splice(0..0, tail.entries);
                tail.number
            }
            Some(tail) => {
                let number = tail.number + GAP;
                self.index.push((tail.hi, tail.number));
                number
            }
            None => self.index.last().map_or(0, |(_, number)| number + GAP),
        };
        let mut packs = cut(number, None, &hi, entries);
        let tail = packs.pop();
        packs.into_iter().for_each(|pack| self.put(pack, chunk));
        chunk.puts.extend(tail.clone());
        self.tail = tail;
    }

    async fn write(
        &mut self,
        session: &mut Session<'_>,
        rows: &Rows,
        chunk: Chunk,
    ) -> Result<(), TargetError> {
        self.report.unchanged += chunk.unchanged;
        if chunk.inserts.is_empty() && chunk.updates.is_empty() && chunk.puts.is_empty() {
            return Ok(());
        }
        if session.dry_run {
            self.report.inserted += chunk.inserts.len() as u64;
            self.report.updated += chunk.updates.len() as u64;
            return Ok(());
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.try_write(session, rows, &chunk, false).await {
                Err(error) if error.by_row => {
                    // A row is to blame: once more, slowly, to find which.
                    session.target.rollback().await?;
                    match self.try_write(session, rows, &chunk, true).await {
                        Ok(outcome) => return self.written(outcome),
                        Err(error) => session.failed(error, attempt).await?,
                    }
                }
                Ok(outcome) => return self.written(outcome),
                Err(error) => session.failed(error, attempt).await?,
            }
        }
    }

    fn written(&mut self, mut outcome: Outcome) -> Result<(), TargetError> {
        self.report.inserted += outcome.inserted;
        self.report.updated += outcome.updated;
        self.report.unchanged += outcome.unchanged;
        self.postponed.append(&mut outcome.postponed);
        self.notes.append(&mut outcome.notes);
        if let Some(tail) = &mut self.tail {
            outcome.correct_entries(&mut tail.entries);
        }
        Ok(())
    }

    async fn try_write(
        &self,
        session: &mut Session<'_>,
        rows: &Rows,
        chunk: &Chunk,
        slowly: bool,
    ) -> Result<Outcome, TargetError> {
        let mut outcome = Outcome::default();
        session.begin().await?;
        self.insert(session, rows, chunk, slowly, &mut outcome).await?;
        if !chunk.updates.is_empty() {
            self.update(session, rows, chunk, &mut outcome).await?;
        }
        // A pack that was compared and then joined by new rows is there twice: the last counts.
        let last: BTreeMap<i64, &Pack> =
            chunk.puts.iter().map(|pack| (pack.number, pack)).collect();
        let packs: Vec<_> =
            last.into_values().map(|pack| outcome.correct(pack).store(&self.area)).collect();
        let name = session.name.clone();
        session.target.put(&name, &packs).await?;
        crate::failpoint("move.written");
        session.commit().await?;
        Ok(outcome)
    }

    async fn insert(
        &self,
        session: &mut Session<'_>,
        rows: &Rows,
        chunk: &Chunk,
        slowly: bool,
        outcome: &mut Outcome,
    ) -> Result<(), TargetError> {
        if chunk.inserts.is_empty() {
            return Ok(());
        }
        let places = UInt32Array::from(chunk.inserts.clone());
        let batch = take_record_batch(&rows.batch, &places).map_err(|error| bug(&error))?;
        let first = if self.everything { batch.clone() } else { self.without_deferred(&batch)? };
        let count = batch.num_rows() as u64;
        if !slowly && chunk.inserts.len() >= LOAD_FROM {
            session.target.load(&self.rule.written, &first).await?;
            outcome.inserted += count;
            return Ok(());
        }
        let refused = session.target.insert(&self.rule.written, &first).await?;
        outcome.inserted += count - (refused.absent_or_there.len() + refused.rejected.len()) as u64;
        for row in refused.absent_or_there {
            let place = chunk.inserts[row as usize] as usize;
            let entry = Entry {
                old: rows.old[place].clone(),
                new: rows.new[place].clone(),
                hash: rows.hashes[place],
                run: session.run,
            };
            outcome.without.insert(entry.new.clone());
            outcome.postponed.push(Postponed { row: batch.slice(row as usize, 1), entry });
        }
        for (row, reason) in refused.rejected {
            let place = chunk.inserts[row as usize] as usize;
            outcome.without.insert(rows.new[place].clone());
            outcome.notes.push(Note {
                old: rows.old[place].clone(),
                kind: NoteKind::Rejected,
                reason,
            });
        }
        Ok(())
    }

    fn without_deferred(&self, rows: &RecordBatch) -> Result<RecordBatch, TargetError> {
        if self.rule.deferred.is_empty() {
            return Ok(rows.clone());
        }
        let columns = rows.columns().iter().enumerate().map(|(place, column)| {
            if self.rule.deferred.contains(&place) {
                new_null_array(column.data_type(), column.len())
            } else {
                column.clone()
            }
        });
        batch(&self.rule.written.fields, columns.collect(), rows.num_rows())
    }
}

/// What a committed chunk came to.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) unchanged: u64,
    pub(super) postponed: Vec<Postponed>,
    pub(super) notes: Vec<Note>,
    /// New keys that are not ours after all.
    pub(super) without: HashSet<RowKey>,
    /// Entries that stay as they were.
    pub(super) instead: HashMap<RowKey, Entry>,
}

impl Outcome {
    fn correct_entries(&self, entries: &mut Vec<Entry>) {
        entries.retain(|entry| !self.without.contains(&entry.new));
        for entry in entries {
            if let Some(other) = self.instead.get(&entry.new) {
                *entry = other.clone();
            }
        }
    }

    /// A pack with what really came of its rows.
    fn correct(&self, pack: &Pack) -> Pack {
        let mut pack = pack.clone();
        self.correct_entries(&mut pack.entries);
        pack
    }
}

/// Where a rule's packs are.
pub(super) fn pack_area(rule: &str) -> String {
    format!("pack/{rule}")
}

/// Which of a batch's rows are true.
pub(super) fn untaken(taken: &[BooleanArray], rows: usize) -> Vec<usize> {
    (0..rows).filter(|&row| taken.iter().all(|taken| !taken.value(row))).collect()
}
