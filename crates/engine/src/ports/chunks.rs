//! What a database must be able to do for backfills: to tell about a table, to walk it, and to
//! commit a chunk together with its checkpoint.

use std::time::Duration;

use async_trait::async_trait;
use dunlin_model::{
    Access, Backfill, BackfillRecord, Beside, Bound, EntryWrite, Intent, IntentChange, Key,
    KeyRange, Lease, Resource, Row, RowChange, Segment, Table, Wish,
};

use crate::TargetError;

/// Where a table's keys begin and end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The highest key in the order of the walk; `None`: no row has one.
    pub hi: Option<Key>,
    /// There are rows whose key is NULL.
    pub nulls: bool,
}

/// A key that the walk has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The key.
    pub key: Key,
    /// Rows from the mark before (or the walk's beginning) up to and with this one; about so many
    /// where marks were taken from a sample.
    pub rows: u64,
}

/// How far a search for rows may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    /// At most so many rows.
    pub count_max: u64,
    /// So many of their keys make a chunk at most.
    pub list_max: usize,
    /// It may take so long.
    pub time_max: Duration,
}

/// What moves forward with a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checkpoint {
    /// A segment: it must stand at `from` and end at `hi`, and comes to stand at `to`.
    Segment {
        /// Its number.
        seg: i64,
        /// Where it stands.
        from: Bound,
        /// Where it will stand.
        to: Bound,
        /// Where it ends.
        hi: Bound,
    },
    /// A row in quarantine, which is released: it leaves the quarantine in the chunk's transaction
    /// (a chunk that sets it aside puts it back). Fenced by the token of segment 0, and by the row
    /// in quarantine: where there is none, the row was released before, and nothing is run.
    Released {
        /// Its key.
        key: Key,
    },
}

/// What a chunk's transaction does beside moving its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// The migration's statements, over the range.
    Statements,
    /// Nothing to the table: the rows of the range are noted in quarantine, with this error.
    SetAside {
        /// The error, without row values.
        error: String,
    },
}

/// One chunk: the unit of commit, retry and resume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// What moves.
    pub checkpoint: Checkpoint,
    /// The rows it covers.
    pub range: KeyRange,
    /// What is done to them.
    pub deed: Deed,
    /// First lock the rows in key order without waiting (`FOR UPDATE NOWAIT`): after a deadlock, and
    /// where others were seen to write. Refused locks are [`crate::ErrorKind::LockTimeout`].
    pub lock_first: bool,
}

/// What a committed chunk tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// Rows that each statement touched, where the server says.
    pub rows: Vec<Option<u64>>,
    /// How long it had its locks, where that can be told apart from waiting for them (SQLite):
    /// chunks are sized by this, for smaller ones would not wait less.
    pub held: Option<Duration>,
    /// How long the COMMIT alone took; zero where it can't be told apart.
    pub commit: Duration,
    /// Bytes that the server logged for it, where it says (others' writes of the same time may be
    /// in it).
    pub bytes: Option<u64>,
    /// What people want by now.
    pub intent: Intent,
}

/// What became of changed rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowsOutcome {
    /// All were written.
    Committed(Committed),
    /// Nothing was written, and the checkpoint stands: these rows changed meanwhile, or are gone.
    Missed(Vec<Key>),
}

/// A chunk that was run and rolled back, and what it told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rehearsal {
    /// Rows that each statement touched.
    pub rows: Vec<Option<u64>>,
    /// How long it took.
    pub took: Duration,
    /// Bytes of log written for it.
    pub log_bytes: Option<u64>,
    /// Locks held at its end, a line each: "RowExclusiveLock on posts".
    pub locks: Vec<String>,
    /// Triggers that fired, with how often where that is known.
    pub triggers: Vec<String>,
    /// PostgreSQL: the share of updates that needed no new index entries (HOT), 0 to 1.
    pub hot_ratio: Option<f64>,
}

/// What must have ended before rows that were not visible yet can be ruled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier(pub String);

/// The name of the signal that tells how far a replica is behind, on every database.
pub const REPLICA_LAG: &str = "replica lag";

/// One thing about a server's health.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// Its name, the same on every database where it means the same: `lock waits`.
    pub name: &'static str,
    /// How near the limit: 0 idle, 1 at the limit, more beyond it.
    pub load: f64,
    /// The value with its unit and the limit, for people: "7 of 4 threads running".
    pub shown: String,
}

/// A signal that this login may not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Its name.
    pub name: &'static str,
    /// The GRANT that would help.
    pub help: String,
}

/// How a server is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Health {
    /// Sessions of others that did something within the last second; `None` if this login may not
    /// know.
    pub others: Option<u64>,
    /// What could be read.
    pub signals: Vec<Signal>,
    /// What could not, for lack of rights.
    pub absent: Vec<Absent>,
    /// Advice for people: "posts has 3,000,000 dead rows: VACUUM posts".
    pub advice: Vec<String>,
}

/// A row that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its key.
    pub key: Key,
    /// Its error.
    pub error: String,
    /// When, by the server's clock, microseconds since 1970 UTC.
    pub at: i64,
}

/// Which captured rows of a pass an undo takes on in one chunk, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UndoSlice {
    /// Only those with a lower number: the others were taken on before.
    pub below: Option<u64>,
    /// At most so many.
    pub count_max: u64,
    /// Each by itself: one that has something in its way is passed over, and the others go back.
    pub singly: bool,
}

/// What one chunk of an undo did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Undone {
    /// Rows that have their old values again.
    pub restored: u64,
    /// Rows that were passed over, since they were changed or deleted, or have something in their way.
    /// What was kept of them still is.
    pub passed: u64,
    /// The lowest number that it took on; `None`: there was nothing to take on.
    pub lowest: Option<u64>,
    /// Captured rows with lower numbers are left.
    pub left: bool,
}

/// What a ledger still has to undo a backfill with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// There are captured rows, of whatever pass.
    pub any: bool,
    /// How long ago its latest pass began, or the undo if it has, by the server's clock.
    pub age: Duration,
}

impl Undone {
    /// Rows that the chunk came to, whatever became of them.
    #[must_use]
    pub fn met(&self) -> u64 {
        self.restored + self.passed
    }
}

/// The part of a connection that backfills need.
///
/// Fencing: every commit of a chunk begins with one UPDATE of its segment's row that compares token,
/// position and end and moves the position, and writes NULL into a NOT NULL column where it has
/// lost: [`crate::ErrorKind::Fenced`]. Commits check the token, never the expiry. After an error other than
/// `Lost` nothing of a transaction remains. Keys are compared by the server alone.
#[async_trait]
pub trait Chunks: Send {
    /// What the catalogue tells of a table named as a user wrote it; `None`: there is none.
    async fn table(&mut self, name: &str) -> Result<Option<Table>, TargetError>;

    /// How the server would walk the table and reach the rows of each statement, by EXPLAIN of a
    /// range in the middle (on PostgreSQL with `enable_seqscan = off`, so that small tables pass).
    /// A statement that the server refuses is an error with its place.
    async fn explain(&mut self, work: &Backfill) -> Result<Vec<Access>, TargetError>;

    /// The end of the table's keys, by a read that waits for rows at the end whose insertion is in
    /// doubt, where the database can (MySQL's locking read).
    async fn extent(&mut self, work: &Backfill) -> Result<Extent, TargetError>;

    /// A point in the life of the server: what is under way now and may hold rows that we can't
    /// see. `None`: this database needs none, for its statements wait for such rows or there are
    /// no such rows.
    async fn barrier(&mut self) -> Result<Option<Barrier>, TargetError>;

    /// Who of those is still at work, a line each; empty: all have ended.
    async fn behind(&mut self, barrier: &Barrier) -> Result<Vec<String>, TargetError>;

    /// Keys that cut a stretch into about equal parts, at most `parts - 1` of them, in order, each
    /// strictly inside. Best effort and cheap: estimates, samples, never a scan. Fewer, or none,
    /// are a good answer.
    async fn split(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
        parts: u32,
    ) -> Result<Vec<Key>, TargetError>;

    /// About how many rows that matter (`filter`) are in a stretch, by the server's statistics;
    /// `None` where it has none. Never a scan.
    async fn estimate(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
    ) -> Result<Option<u64>, TargetError>;

    /// Walks keys in order, from after a place up to and with a key, marking every `spacing`-th
    /// row, at most `count` marks. The last mark is `upto` itself (with the rows up to it, perhaps
    /// 0) exactly when the walk came to its end. One statement; the filter has no part in it, so
    /// its work is bounded by `spacing * count` index entries.
    async fn walk(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
        spacing: u64,
        count: u32,
    ) -> Result<Vec<Mark>, TargetError>;

    /// The keys of all rows that the statements would take (`work.finder`), in order, a list for each
    /// stretch: by whatever plan the server has for it, under one snapshot, without locks. `None`:
    /// there are more than `count_max`, or so it seems; it would take longer than `time_max`; rows
    /// would not be reached by lists of `list_max` of their keys; what the condition says may change
    /// from one look to the next; or this database can't. What goes wrong with the condition itself
    /// is `None` as well: a chunk will tell.
    async fn find(
        &mut self,
        work: &Backfill,
        stretches: &[(Bound, Key)],
        search: Search,
    ) -> Result<Option<Vec<Vec<Key>>>, TargetError>;

    /// All backfills in the ledger with their segments, or the one of a resource. A move's run has such
    /// a row as well, and is found by its resource alone. A ledger from before there were backfills
    /// has none.
    async fn backfills(
        &mut self,
        of: Option<&Resource>,
    ) -> Result<Vec<(BackfillRecord, Vec<Segment>)>, TargetError>;

    /// Writes a backfill's row, in one transaction with its segments (`Some`: they replace all that
    /// are there but segment 0, with this lease's token) and its migration's row. Fenced by segment
    /// 0 as `record` is: it adds one to `lease.commits`. Leaves `intent` alone, except that
    /// `wish` (if `Some`) is written. A new pass or phase clears the quarantine of the one before.
    async fn write_backfill(
        &mut self,
        lease: &mut Lease,
        record: &BackfillRecord,
        segments: Option<&[Segment]>,
        wish: Option<Wish>,
        entry: Option<&EntryWrite>,
    ) -> Result<(), TargetError>;

    /// Notes what a worker has to say of itself (the facts in the record), if the token is still
    /// ours; returns what people want. No fence and no error where it is not: the next chunk tells.
    async fn report_backfill(
        &mut self,
        lease: &Lease,
        record: &BackfillRecord,
    ) -> Result<Intent, TargetError>;

    /// Writes what a person wants, and that alone. Needs no lease. `false`: the ledger has no such
    /// backfill.
    async fn wish(&mut self, of: &Resource, change: &IntentChange) -> Result<bool, TargetError>;

    /// Cuts a segment in two in one transaction: `left` (with its new `hi`) keeps its number, where
    /// the ledger's row stands at `left.upto` and ends at `right.hi`; `right` is new. `false`: it
    /// stands elsewhere by now, or the token is no longer ours; nothing was changed.
    async fn cut_segment(
        &mut self,
        lease: &Lease,
        left: &Segment,
        right: &Segment,
    ) -> Result<bool, TargetError>;

    /// Runs a chunk in one transaction: fence, statements (or what else its deed is), the capture of
    /// old values, the shape's check (another one than planned is [`crate::ErrorKind::ShapeChanged`]),
    /// COMMIT. One statement runs at READ COMMITTED, more at REPEATABLE READ.
    async fn commit_chunk(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
    ) -> Result<Committed, TargetError>;

    /// Runs a chunk's statements in a transaction that is rolled back. Needs no lease, no ledger.
    async fn rehearse_chunk(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
    ) -> Result<Rehearsal, TargetError>;

    /// Reads the rows of a range, in key order, those that `filter` takes. Unlocked, in one
    /// statement. More than go into memory at a time are an error of
    /// [`crate::ErrorKind::TooManyBytes`] ([`crate::Gathered`]).
    async fn read_rows(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
    ) -> Result<Vec<Row>, TargetError>;

    /// As `read_rows`, with the rows locked, in a transaction that begins with the chunk's fence and
    /// stays open; `commit_rows` of the same chunk ends it. Any other call rolls it back.
    async fn lock_rows(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
    ) -> Result<Vec<Row>, TargetError>;

    /// Writes changed rows and notes rejected ones in quarantine, in one transaction with the
    /// checkpoint. Rows that have another version than they were read with, or are gone, are not
    /// overwritten: then nothing is written, and they are named.
    async fn commit_rows(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
        changes: &[RowChange],
        rejected: &[(Key, String)],
    ) -> Result<RowsOutcome, TargetError>;

    /// Whether a query's only value is true. In a transaction that is rolled back, read-only where
    /// there is such a thing.
    async fn holds(&mut self, query: &str) -> Result<bool, TargetError>;

    /// Rows in quarantine of the backfill's latest pass, in the order in which they came, at most
    /// so many.
    async fn quarantine(
        &mut self,
        of: &Resource,
        count_max: u64,
    ) -> Result<Vec<Quarantined>, TargetError>;

    /// Takes rows out of quarantine without doing anything to them (`None`: all of them), under
    /// the lease; returns how many. Fenced as `record` is.
    async fn discard(&mut self, lease: &mut Lease, key: Option<&Key>) -> Result<u64, TargetError>;

    /// Puts captured values of some rows back, newest first, in one transaction fenced as `record` is,
    /// which also adds to the backfill's row how many it put back (`rows_before`), and forgets them.
    /// Nothing else is forgotten: a row counts as restored where it is seen to have its old values. One
    /// that has other values than the chunk left, in the columns that were kept, whatever its other
    /// columns hold, is passed over. A row that was captured twice goes back step by step, in
    /// different chunks.
    ///
    /// `by_row` in an error means that something is in one row's way (a unique value that another row
    /// has now, a parent that is gone, a trigger): rows are to be taken on singly. Values that were
    /// kept of columns, or under keys, of other types than they have now are refused.
    async fn undo_chunk(
        &mut self,
        lease: &mut Lease,
        work: &Backfill,
        slice: UndoSlice,
    ) -> Result<Undone, TargetError>;

    /// What is left to undo a backfill with. Looks only; refused where its first or last rows could
    /// not be put back, as `undo_chunk` says.
    async fn kept(&mut self, work: &Backfill) -> Result<Kept, TargetError>;

    /// What else the database changes where this backfill changes rows of its table: triggers, rules,
    /// foreign keys that take rows of other tables along.
    async fn beside(&mut self, work: &Backfill) -> Result<Vec<Beside>, TargetError>;

    /// Forgets captured values whose time is over, at most so many rows, but none of a backfill whose
    /// undo has begun and is not done; returns how many went.
    async fn forget_captured(&mut self, count_max: u64) -> Result<u64, TargetError>;

    /// How the server is, as far as this login may see. One round trip where it can be.
    async fn health(&mut self, work: &Backfill) -> Result<Health, TargetError>;
}
