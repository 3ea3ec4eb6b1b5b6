//! Compares one rule's rows with what was written before, pack by pack, and makes chunks of what
//! differs: each is written, with its packs, in one transaction.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::Conflicts;

use super::chunk::{Chunk, ChunkWriter, Outcome, Postponed, Rows, new_keys, without_deferred};
use super::columns::bug;
use super::exchange::{Change, EXCHANGE_ROWS_MAX};
use super::key::{KeyColumns, RowKey};
use super::lanes::Tasks;
use super::matching::Adopted;
use super::pack::{Entry, GAP, PACK_ROWS, Pack, StoredPack, cut, packs_of};
use super::plan::PlannedRule;
use super::report::{Note, RuleReport};
use super::row_hash::{RowHash, row_hashes};
use super::session::Session;
use super::shapes::Shapes;
use super::spill::Room;
use super::state::MoveState;
use super::swap::Aside;
use super::told::Told;
use super::unread::UnreadRows;
use crate::{ErrorKind, TargetError};

/// Rows of a chunk at most: a transaction of about a second, also where indexes and constraints are
/// kept meanwhile. What a transaction costs by itself is a hundredth of it. In development builds so
/// few that tests and campaigns have many chunks, side by side.
const CHUNK_ROWS: usize = if cfg!(debug_assertions) { 200 } else { 50_000 };

/// Changed rows of a chunk at most. They stay locked until it commits.
const UPDATE_ROWS: usize = if cfg!(debug_assertions) { 200 } else { 20_000 };

/// Bytes of a chunk's rows at most. Each lane holds one chunk, and its rows once more as they are
/// sent, while the next chunk is made.
const CHUNK_BYTES: usize = 8 << 20;

/// The last pack that was compared or made.
struct Tail {
    number: i64,
    hi: RowKey,
    rows: TailRows,
}

/// What is known of the rows of the last pack, so that new ones can join it.
enum TailRows {
    /// They are as they were stored.
    Stored(StoredPack),
    /// They were changed.
    Changed(Pack),
    /// It is this run's own, and full enough.
    Made,
}

/// Writes one rule.
pub(super) struct RuleWriter<'a> {
    pub(super) rule: &'a Arc<PlannedRule>,
    pub(super) conflicts: Conflicts,
    /// The packs' area in the store.
    pub(super) area: String,
    buffer: Vec<RecordBatch>,
    buffer_old: Vec<KeyColumns>,
    buffer_rows: usize,
    buffer_bytes: usize,
    packs: VecDeque<StoredPack>,
    next_stored: i64,
    read_all_packs: bool,
    /// For new rows to join.
    tail: Option<Tail>,
    /// (end, number) of each pack, in order.
    pub(super) index: Vec<(RowKey, i64)>,
    /// Entries of packs that no old row stands for any more: (pack, entry).
    pub(super) gone: Vec<(i64, Entry)>,
    pub(super) postponed: Vec<Postponed>,
    /// What was judged by the source alone.
    pub(super) told: Told,
    /// What may be judged otherwise later.
    pub(super) notes: Vec<Note>,
    pub(super) report: RuleReport,
    /// Rows whose late columns are still NULL.
    pub(super) unfinished: u64,
    /// Columns that refer to rows that come later are written now.
    pub(super) everything: bool,
    /// They refer through no foreign key that is in force, so that chunks have no order.
    pub(super) bare: bool,
    /// Where what differs is kept instead of being written.
    pub(super) aside: Option<Aside>,
    /// The columns that each run wrote.
    pub(super) shapes: Arc<Shapes>,
    /// Chunks that lanes are writing.
    tasks: Tasks,
    /// Old rows that could not be read: what they became is kept.
    pub(super) unread: UnreadRows,
    /// Changed rows that the database refused; not all, if they are many.
    pub(super) refused: Vec<Change>,
    /// Rows that are gone, and that others still refer to; not all, if they are many.
    pub(super) held: Vec<(i64, Entry)>,
    /// Rows that are not the move's own, where ids are matched.
    pub(super) adopted: Option<Arc<Adopted>>,
}

impl<'a> RuleWriter<'a> {
    pub(super) fn new(
        rule: &'a Arc<PlannedRule>,
        conflicts: Conflicts,
        state: &MoveState,
        room: &Room,
    ) -> Self {
        Self {
            rule,
            conflicts,
            area: pack_area(&rule.rule.name),
            buffer: Vec::new(),
            buffer_old: Vec::new(),
            buffer_rows: 0,
            buffer_bytes: 0,
            packs: VecDeque::new(),
            next_stored: i64::MIN,
            read_all_packs: false,
            tail: None,
            index: Vec::new(),
            gone: Vec::new(),
            postponed: Vec::new(),
            told: Told::new(room),
            notes: Vec::new(),
            report: RuleReport {
                rule: rule.rule.name.clone(),
                table: rule.written.table.to_string(),
                from: rule.rule.from.value.clone(),
                ..RuleReport::default()
            },
            unfinished: 0,
            everything: false,
            bare: false,
            aside: None,
            shapes: Arc::new(Shapes::of(rule, state)),
            tasks: Tasks::new(),
            unread: UnreadRows::default(),
            refused: Vec::new(),
            held: Vec::new(),
            adopted: None,
        }
    }

    /// Takes rows, whose old keys follow on those before. `upto`: no row up to that key comes later.
    pub(super) async fn take(
        &mut self,
        session: &mut Session<'_>,
        rows: RecordBatch,
        old: KeyColumns,
        upto: &RowKey,
    ) -> Result<(), TargetError> {
        if rows.num_rows() > 0 {
            self.buffer_bytes += rows.get_array_memory_size();
            self.buffer_rows += rows.num_rows();
            self.buffer.push(rows);
            self.buffer_old.push(old);
        }
        if self.buffer_rows >= session.gate.chunk_rows(CHUNK_ROWS)
            || self.buffer_bytes >= CHUNK_BYTES
        {
            self.flush(session, Some(upto)).await?;
        }
        Ok(())
    }

    /// No more rows come. All that was written is committed.
    pub(super) async fn end(&mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        self.flush(session, None).await?;
        self.finish_tasks(session).await
    }

    async fn flush(
        &mut self,
        session: &mut Session<'_>,
        upto: Option<&RowKey>,
    ) -> Result<(), TargetError> {
        let rows = Arc::new(self.gather(session).await?);
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
            let end = place + rows.old.count_upto(place, &pack.hi);
            self.settle_tail();
            self.compare(&rows, place..end, pack, &mut chunk, session.run)?;
            place = end;
            if chunk.inserts.len() + chunk.updates.len() >= session.gate.chunk_rows(UPDATE_ROWS) {
                self.write(session, &rows, std::mem::take(&mut chunk)).await?;
            }
        }
        if self.read_all_packs && self.packs.is_empty() {
            let end = rows.batch.num_rows();
            self.append(session, &rows, place..end, &mut chunk).await?;
            place = end;
        }
        if upto.is_none() {
            self.settle_tail();
        }
        self.write(session, &rows, chunk).await?;
        self.keep_rest(&rows, place)
    }

    async fn gather(&mut self, session: &mut Session<'_>) -> Result<Rows, TargetError> {
        let pieces = std::mem::take(&mut self.buffer);
        let old = KeyColumns::concat(&std::mem::take(&mut self.buffer_old))?;
        (self.buffer_rows, self.buffer_bytes) = (0, 0);
        let fields = &self.rule.written.fields;
        let batch = match pieces.first() {
            Some(first) if pieces.len() == 1 => first.clone(),
            Some(first) => concat_batches(&first.schema(), &pieces).map_err(|error| bug(&error))?,
            None => RecordBatch::new_empty(Arc::new(super::arrow_schema(fields, true))),
        };
        drop(pieces);
        let batch = session.normalise(fields, batch).await?;
        let new = new_keys(self.rule, &batch)?;
        let hashes = row_hashes(fields, &batch)?;
        let is_whole = self.everything || self.aside.is_some();
        let first_hashes = match is_whole || self.rule.deferred.is_empty() {
            true => None,
            false => Some(row_hashes(fields, &without_deferred(self.rule, &batch)?)?),
        };
        let adopted = match &self.adopted {
            Some(adopted) => {
                let found = (0..old.len()).map(|row| adopted.found.contains(&old.key(row)));
                Some(found.collect::<Result<_, _>>()?)
            }
            None => None,
        };
        Ok(Rows { batch, old, new, hashes, first_hashes, adopted })
    }

    fn keep_rest(&mut self, rows: &Rows, from: usize) -> Result<(), TargetError> {
        let count = rows.batch.num_rows() - from;
        if count > 0 {
            self.buffer = vec![rows.batch.slice(from, count)];
            self.buffer_old = vec![rows.old.slice(from, count)?];
            (self.buffer_rows, self.buffer_bytes) = (count, count * 64);
        }
        Ok(())
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
        for entry in stored {
            self.packs.push_back(StoredPack::read(entry)?);
        }
        Ok(())
    }

    /// Compares the rows of a pack's range with it.
    fn compare(
        &mut self,
        rows: &Rows,
        places: Range<usize>,
        stored: StoredPack,
        chunk: &mut Chunk,
        run: u32,
    ) -> Result<(), TargetError> {
        self.report.rows += places.len() as u64;
        let (number, hi) = (stored.number, stored.hi.clone());
        let is_same =
            places.len() == stored.count && stored.is(&rows.keyed(&rows.hashes), places.clone());
        if is_same {
            chunk.unchanged += places.len() as u64;
            self.tail = Some(Tail { number, hi, rows: TailRows::Stored(stored) });
            return Ok(());
        }
        let mut pack = stored.open(&self.area)?;
        let entries = self.compared(rows, places, &pack, chunk, run);
        if entries == pack.entries {
            self.tail = Some(Tail { number, hi, rows: TailRows::Changed(pack) });
            return Ok(());
        }
        pack.entries = entries;
        let next = self.packs.front().map(|next| next.number);
        let mut packs = cut(number, next, &hi, pack.entries);
        let tail = packs.pop();
        for pack in packs.into_iter().chain(tail.clone()) {
            chunk.put(pack.store(&self.area));
            if tail.as_ref().is_none_or(|tail| tail.number != pack.number) {
                self.index.push((pack.hi, pack.number));
            }
        }
        self.tail = tail.map(|pack| Tail {
            number: pack.number,
            hi: pack.hi.clone(),
            rows: TailRows::Changed(pack),
        });
        Ok(())
    }

    /// The entries that a pack has now, and into the chunk what that takes.
    fn compared(
        &mut self,
        rows: &Rows,
        places: Range<usize>,
        pack: &Pack,
        chunk: &mut Chunk,
        run: u32,
    ) -> Vec<Entry> {
        let mut before: HashMap<&RowKey, &Entry> =
            pack.entries.iter().map(|entry| (&entry.new, entry)).collect();
        let mut entries = Vec::with_capacity(places.len());
        for place in places {
            let (old, new, hash) = (rows.old.key(place), rows.new.key(place), rows.hashes[place]);
            let entry = match before.remove(&new) {
                Some(entry) if entry.hash == hash => {
                    chunk.unchanged += 1;
                    Entry { old, ..entry.clone() }
                }
                Some(entry) => {
                    chunk.updates.push((place as u32, entry.clone()));
                    Entry { old, new, hash, run }
                }
                None => match rows.adopted(place) {
                    Some(adopted) => {
                        chunk.updates.push((place as u32, adopted));
                        Entry { old, new, hash, run }
                    }
                    None => {
                        chunk.inserts.push(place as u32);
                        let hash = self.begun_hash(rows, place);
                        Entry { old, new, hash, run }
                    }
                },
            };
            entries.push(entry);
        }
        // What is gone stays in the pack until it is deleted.
        let mut gone: Vec<Entry> = before.into_values().cloned().collect();
        gone.sort_by(|a, b| (&a.old, &a.new).cmp(&(&b.old, &b.new)));
        self.gone.extend(gone.iter().map(|entry| (pack.number, entry.clone())));
        entries.extend(gone);
        entries.sort_by(|a, b| a.old.cmp(&b.old));
        entries
    }

    /// A new row's hash. One that refers to rows that come later is not all written yet: its hash is
    /// that of what is, so that it can be told if the application changes it meanwhile.
    fn begun_hash(&mut self, rows: &Rows, place: usize) -> RowHash {
        let waits =
            self.rule.deferred.iter().any(|field| rows.batch.column(*field).is_valid(place));
        let first = rows.first_hashes.as_ref().filter(|_| waits);
        self.unfinished += u64::from(first.is_some());
        first.map_or(rows.hashes[place], |hashes| hashes[place])
    }

    /// The last pack that was compared is done: no rows join it any more.
    fn settle_tail(&mut self) {
        if let Some(tail) = self.tail.take() {
            self.index.push((tail.hi, tail.number));
        }
    }

    /// Rows after the last pack: all are new.
    async fn append(
        &mut self,
        session: &mut Session<'_>,
        rows: &Rows,
        places: Range<usize>,
        chunk: &mut Chunk,
    ) -> Result<(), TargetError> {
        if places.is_empty() {
            return Ok(());
        }
        self.report.rows += places.len() as u64;
        for place in places.clone() {
            match rows.adopted(place) {
                Some(adopted) => chunk.updates.push((place as u32, adopted)),
                None => chunk.inserts.push(place as u32),
            }
        }
        let hashes: Option<Vec<RowHash>> = rows.first_hashes.is_some().then(|| {
            let (before, after) = (&rows.hashes[..places.start], &rows.hashes[places.end..]);
            let begun = places.clone().map(|place| match rows.adopted.as_ref() {
                Some(adopted) if adopted[place] => rows.hashes[place],
                _ => self.begun_hash(rows, place),
            });
            before.iter().copied().chain(begun).chain(after.iter().copied()).collect()
        });
        let hashes = hashes.as_deref().unwrap_or(&rows.hashes);
        // Its rows may still be under way, and come to other entries than were wanted.
        if self.tail.as_ref().is_some_and(|tail| matches!(tail.rows, TailRows::Changed(_))) {
            self.finish_tasks(session).await?;
        }
        let number = match self.tail.take() {
            Some(tail) => {
                let joined = match tail.rows {
                    TailRows::Stored(stored) if stored.count < PACK_ROWS => {
                        Some(stored.open(&self.area)?)
                    }
                    TailRows::Changed(pack) if pack.entries.len() < PACK_ROWS => Some(pack),
                    _ => None,
                };
                if let Some(mut pack) = joined {
                    pack.entries.extend(places.clone().map(|place| Entry {
                        old: rows.old.key(place),
                        new: rows.new.key(place),
                        hash: hashes[place],
                        run: session.run,
                    }));
                    let hi = rows.old.key(places.end - 1);
                    let packs = cut(pack.number, None, &hi, pack.entries);
                    let packs = packs.into_iter().map(|pack| (pack.hi.clone(), pack));
                    self.made(
                        packs.map(|(hi, pack)| (hi, pack.store(&self.area))).collect(),
                        chunk,
                    );
                    return Ok(());
                }
                self.index.push((tail.hi, tail.number));
                tail.number + GAP
            }
            None => self.index.last().map_or(0, |(_, number)| number + GAP),
        };
        let packs = packs_of(&rows.keyed(hashes), places, number, session.run, &self.area);
        self.made(packs, chunk);
        Ok(())
    }

    /// Packs of new rows.
    fn made(&mut self, packs: Vec<(RowKey, super::ports::Stored)>, chunk: &mut Chunk) {
        for (hi, stored) in packs {
            self.settle_tail();
            self.tail = Some(Tail { number: stored.number, hi, rows: TailRows::Made });
            chunk.put(stored);
        }
    }

    async fn write(
        &mut self,
        session: &mut Session<'_>,
        rows: &Arc<Rows>,
        chunk: Chunk,
    ) -> Result<(), TargetError> {
        self.report.unchanged += chunk.unchanged;
        if chunk.is_empty() {
            return Ok(());
        }
        let writer = self.chunks();
        if session.dry_run {
            return self.rehearse(session, &writer, rows, &chunk).await;
        }
        if let Some(aside) = &mut self.aside {
            return aside.keep(rows, chunk);
        }
        // Changed rows are locked, and may refer to each other across chunks: one chunk at a time.
        let is_free = self.bare || !self.everything;
        let stands_alone = chunk.updates.is_empty() && !self.rule.in_order && is_free;
        if let (true, Some(lanes)) = (stands_alone, &mut session.lanes) {
            lanes.write(&mut self.tasks, writer, Arc::clone(rows), chunk).await?;
            while let Some(done) = self.tasks.try_join_next() {
                self.joined(session, done).await?;
            }
            return Ok(());
        }
        self.finish_tasks(session).await?;
        let outcome = writer.write(session, rows, &chunk).await?;
        self.written(outcome);
        Ok(())
    }

    /// What writes its chunks.
    pub(super) fn chunks(&self) -> ChunkWriter {
        ChunkWriter {
            rule: Arc::clone(self.rule),
            conflicts: self.conflicts,
            shapes: Arc::clone(&self.shapes),
            everything: self.everything,
        }
    }

    /// Waits until lanes have committed all that they were given of this rule.
    async fn finish_tasks(&mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        while let Some(done) = self.tasks.join_next().await {
            self.joined(session, done).await?;
        }
        Ok(())
    }

    async fn joined(
        &mut self,
        session: &mut Session<'_>,
        done: Result<Option<Outcome>, tokio::task::JoinError>,
    ) -> Result<(), TargetError> {
        match (done, &mut session.lanes) {
            (Ok(Some(outcome)), _) => {
                self.written(outcome);
                Ok(())
            }
            (Ok(None), Some(lanes)) => Err(lanes.failure().await),
            (Ok(None), None) => Err(TargetError::new(ErrorKind::Bug, "no lane is left")),
            (Err(error), _) => {
                Err(TargetError::new(ErrorKind::Bug, format!("a chunk was not written: {error}")))
            }
        }
    }

    pub(super) fn written(&mut self, mut outcome: Outcome) {
        self.report.inserted += outcome.inserted;
        self.report.updated += outcome.updated;
        self.report.unchanged += outcome.unchanged;
        self.postponed.append(&mut outcome.postponed);
        self.notes.append(&mut outcome.notes);
        let room = EXCHANGE_ROWS_MAX.saturating_sub(self.refused.len());
        self.refused.extend(outcome.refused.drain(..).take(room));
        if let Some(Tail { rows: TailRows::Changed(pack), .. }) = &mut self.tail {
            outcome.correct_entries(&mut pack.entries);
        }
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
