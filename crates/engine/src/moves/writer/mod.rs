//! Compares one rule's rows with what was written before, pack by pack, and makes chunks of what
//! differs: each is written, with its packs, in one transaction.

mod append;
mod written;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::Conflicts;

use self::append::{Tail, TailRows};
use super::buffer::{Buffer, Piece};
use super::chunk::{Chunk, ChunkWriter, Postponed, Rows, without_deferred};
use super::exchange::Change;
use super::key::{KeyColumns, RowKey};
use super::key_set::KeySet;
use super::knot::Held;
use super::lanes::Tasks;
use super::pack::{Entry, Pack, StoredPack, cut};
use super::plan::PlannedRule;
use super::report::{Note, RuleReport};
use super::row_hash::row_hashes;
use super::session::Session;
use super::shapes::Shapes;
use super::spill::Room;
use super::state::MoveState;
use super::suspects::Findings;
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
const CHUNK_BYTES: usize = 4 << 20;

/// Bytes of rows that wait for others to be committed, of one rule. In development builds so few that
/// tests and campaigns have more.
const WAITING_BYTES: usize = if cfg!(debug_assertions) { 8 << 10 } else { 8 << 20 };

/// Bytes of refused new rows that are remembered.
const KEPT_OUT_BYTES: usize = 16 << 20;

/// Writes one rule.
pub(super) struct RuleWriter<'a> {
    pub(super) rule: &'a Arc<PlannedRule>,
    pub(super) conflicts: Conflicts,
    /// The packs' area in the store.
    pub(super) area: String,
    buffer: Buffer,
    packs: VecDeque<StoredPack>,
    next_stored: i64,
    read_all_packs: bool,
    /// For new rows to join.
    tail: Option<Tail>,
    /// (end, number) of each pack, in order.
    pub(super) index: Vec<(RowKey, i64)>,
    /// Entries of packs that no old row stands for any more.
    pub(super) gone: Vec<Entry>,
    pub(super) postponed: Vec<Postponed>,
    /// What was judged by the source alone.
    pub(super) told: Told,
    /// What may be judged otherwise later.
    pub(super) notes: Vec<Note>,
    pub(super) report: RuleReport,
    /// Rows that its packs had when the run began.
    pub(super) known: u64,
    /// Rows that were deleted by this run before all was loaded again.
    pub(super) deleted_before: u64,
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
    /// New rows that the database refused; not all, if they are many or large.
    pub(super) kept_out: Vec<Postponed>,
    /// Rows that are gone, and that others still refer to; not all, if they are many.
    pub(super) held: Vec<Held>,
    /// Of a dry run: which of its rows are not as the last run left them.
    pub(super) foreseen: Option<Findings>,
    /// Ids of rows that are not the move's own, where ids are matched.
    pub(super) adopted: Option<Arc<KeySet>>,
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
            buffer: Buffer::default(),
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
            known: 0,
            deleted_before: 0,
            unfinished: 0,
            everything: false,
            bare: false,
            aside: None,
            shapes: Arc::new(Shapes::of(rule, state)),
            tasks: Tasks::new(),
            unread: UnreadRows::default(),
            refused: Vec::new(),
            kept_out: Vec::new(),
            held: Vec::new(),
            foreseen: None,
            adopted: None,
        }
    }

    /// Forgets all rows that it took, none of which it wrote.
    pub(super) fn begin_again(&mut self, room: &Room) {
        self.buffer = Buffer::default();
        self.packs.clear();
        self.next_stored = i64::MIN;
        self.read_all_packs = false;
        self.tail = None;
        self.index.clear();
        self.told = Told::new(room);
        self.unread = UnreadRows::default();
        (self.report.rows, self.report.unchanged, self.known) = (0, 0, 0);
    }

    /// Whether its rows may be written before those that they refer to.
    pub(super) fn is_free(&self, session: &Session<'_>) -> bool {
        self.bare || self.aside.is_some() || session.dry_run
    }

    /// Takes rows, whose old keys follow on those before. `upto`: no row up to that key comes later.
    /// `waits`: nothing is written before the end. `false`: more rows would have to wait than may.
    pub(super) async fn take(
        &mut self,
        session: &mut Session<'_>,
        rows: Fresh,
        upto: &RowKey,
        waits: bool,
    ) -> Result<bool, TargetError> {
        let piece = match rows {
            Fresh::Whole(piece) => piece,
            Fresh::Foreign(rows, old) => {
                let rows = session.normalise(&self.rule.written.fields, rows).await?;
                Piece::of(self.rule, rows, old)?
            }
        };
        self.buffer.push(piece);
        self.pass_over(session, Some(upto)).await?;
        if waits {
            return Ok(self.buffer.bytes() < WAITING_BYTES);
        }
        if self.buffer.rows() >= session.gate.chunk_rows(CHUNK_ROWS)
            || self.buffer.bytes() >= CHUNK_BYTES
        {
            self.flush(session, Some(upto)).await?;
        }
        Ok(true)
    }

    /// No more rows come. All that was written is committed.
    pub(super) async fn end(&mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        self.pass_over(session, None).await?;
        self.flush(session, None).await?;
        self.finish_tasks(session).await
    }

    /// Drops rows that are as they were, pack by pack, up to the first pack that isn't. This is where
    /// most rows of most runs end, so nothing of them is copied.
    async fn pass_over(
        &mut self,
        session: &mut Session<'_>,
        upto: Option<&RowKey>,
    ) -> Result<(), TargetError> {
        // Some of them are to be looked at, however they are.
        if self.has_foreseen() {
            return Ok(());
        }
        loop {
            self.fetch_packs(session).await?;
            if !self.is_whole(upto) {
                return Ok(());
            }
            let same = self.packs.front().and_then(|pack| self.buffer.skip(pack));
            let (Some(count), Some(pack)) = (same, same.and_then(|_| self.packs.pop_front()))
            else {
                return Ok(());
            };
            self.settle_tail();
            self.report.rows += count as u64;
            self.report.unchanged += count as u64;
            let (number, hi) = (pack.number, pack.hi.clone());
            self.tail = Some(Tail { number, hi, rows: TailRows::Stored(pack) });
        }
    }

    /// Whether no more rows come in the next pack's range.
    fn is_whole(&self, upto: Option<&RowKey>) -> bool {
        match (self.packs.front(), upto) {
            (Some(pack), Some(upto)) => pack.hi <= *upto,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    async fn flush(
        &mut self,
        session: &mut Session<'_>,
        upto: Option<&RowKey>,
    ) -> Result<(), TargetError> {
        let rows = Arc::new(self.gather()?);
        let mut chunk = Chunk::default();
        let mut place = 0;
        loop {
            self.fetch_packs(session).await?;
            // A pack whose range goes on after the rows at hand stays for the next flush.
            let pack = if self.is_whole(upto) { self.packs.pop_front() } else { None };
            let Some(pack) = pack else { break };
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

    fn gather(&mut self) -> Result<Rows, TargetError> {
        let Piece { rows: batch, old, new, hashes, .. } = self.buffer.gather(self.rule)?;
        let fields = &self.rule.written.fields;
        let is_whole = self.everything || self.aside.is_some();
        let first_hashes = match is_whole || self.rule.deferred.is_empty() {
            true => None,
            false => Some(row_hashes(fields, &without_deferred(self.rule, &batch)?)?),
        };
        let adopted = match &self.adopted {
            Some(adopted) => {
                let found = (0..new.len()).map(|row| adopted.contains(&new.key(row)));
                Some(found.collect::<Result<_, _>>()?)
            }
            None => None,
        };
        Ok(Rows { batch, old, new, hashes, first_hashes, adopted })
    }

    fn keep_rest(&mut self, rows: &Rows, from: usize) -> Result<(), TargetError> {
        if from < rows.hashes.len() {
            self.buffer.push(Piece::behind(rows, from)?);
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
            let pack = StoredPack::read(entry)?;
            let new_parts = self.rule.written.key.len();
            if pack.count > 0 && pack.parts().is_none_or(|(_, new)| new != new_parts) {
                return Err(TargetError::new(
                    ErrorKind::Refused,
                    format!("the key of {} has {new_parts} columns, and had others when rows were written", self.rule.written.table),
                )
                .help("give the table its key back"));
            }
            self.known += pack.count as u64;
            self.packs.push_back(pack);
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
        let is_same = !self.has_foreseen()
            && places.len() == stored.count
            && stored.is(std::iter::once((rows.keyed(&rows.hashes), places.clone())));
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
            // What an old row became that can't be read this time stays.
            let is_kept = |entry: &&Entry| entry.old != old && self.unread.names(&entry.old);
            let known = before.get(&new).copied().filter(|entry| !is_kept(entry));
            if known.is_some() {
                before.remove(&new);
            }
            let is_foreseen = self.foreseen(&new).is_some();
            let entry = match known {
                Some(entry) if entry.hash == hash && !is_foreseen => {
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
        self.gone.extend_from_slice(&gone);
        entries.extend(gone);
        entries.sort_by(|a, b| a.old.cmp(&b.old));
        entries
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
}

impl RuleWriter<'_> {
    /// The pack that an old key belongs to.
    pub(super) fn pack_of(&self, old: &RowKey) -> Result<i64, TargetError> {
        let place = self.index.partition_point(|(hi, _)| hi < old);
        let found = self.index.get(place).or(self.index.last());
        found
            .map(|(_, number)| *number)
            .ok_or_else(|| TargetError::new(ErrorKind::Bug, "a row has no pack to go to"))
    }
}

/// New rows of one batch.
pub(super) enum Fresh {
    /// All is known about them.
    Whole(Piece),
    /// With their old keys; some values have yet to get the form that the database gives them.
    Foreign(RecordBatch, KeyColumns),
}

/// Where a rule's packs are.
pub(super) fn pack_area(rule: &str) -> String {
    format!("pack/{rule}")
}

/// Which of a batch's rows are true.
pub(super) fn untaken(taken: &[BooleanArray], rows: usize) -> Vec<usize> {
    (0..rows).filter(|&row| taken.iter().all(|taken| !taken.value(row))).collect()
}
