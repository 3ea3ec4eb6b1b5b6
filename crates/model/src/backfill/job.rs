//! A backfill as it is planned, and as the ledger keeps it.

use std::time::Duration;

use serde::Serialize;

use super::{Bound, Column, Finder, KeyColumn};
use crate::{Checksums, MigrationId, Statement};

/// Old values are kept, so that the backfill can be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capture {
    /// The columns whose old values are kept.
    pub columns: Vec<String>,
    /// For how long after the chunk.
    pub keep: Duration,
}

impl Capture {
    /// A short text that is another one where columns whose values are kept as texts, or those of
    /// the key, have other names or types: `(name, what its texts depend on)`. Old values that were
    /// kept under another one can neither be compared nor put back.
    #[must_use]
    pub fn tag<'a>(
        key: impl IntoIterator<Item = (&'a str, &'a str)>,
        columns: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> String {
        let mut columns: Vec<(&str, &str)> = columns.into_iter().collect();
        columns.sort_unstable();
        let mut text = String::new();
        for (name, form) in key.into_iter().chain(std::iter::once(("", ""))).chain(columns) {
            text.push_str(name);
            text.push('\0');
            text.push_str(form);
            text.push('\0');
        }
        let mut tag = Checksums::of_bytes(text.as_bytes());
        tag.truncate(TAG_LENGTH);
        tag
    }
}

/// It stands in each row that is kept. Two of so many are alike once in 2^48.
const TAG_LENGTH: usize = 12;

/// One chunked data migration, planned against its table: what every chunk does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backfill {
    /// Which migration.
    pub id: MigrationId,
    /// The pass that it makes, from 1.
    pub pass: u32,
    /// The table that is walked: its qualified name, quoted as the server needs it.
    pub table: String,
    /// The table's shape when this was planned.
    pub shape: String,
    /// The columns that it is walked by, in order; never empty, at most four.
    pub key: Vec<KeyColumn>,
    /// The index that holds that order.
    pub index: String,
    /// Which rows matter, in the user's SQL; for estimates and for what is captured, never for what
    /// the statements do.
    pub filter: Option<String>,
    /// How rows that would be done can be found without a walk; `None`: only by walking.
    #[serde(skip)]
    pub finder: Option<Finder>,
    /// The statements of one chunk, each with its places for the range; empty for row code.
    pub statements: Vec<Statement>,
    /// For row code: the columns that the program gets, in order.
    pub columns: Vec<Column>,
    /// For row code: the table's columns, of which a program may set any that can be written.
    pub table_columns: Vec<Column>,
    /// Old values that are kept.
    pub capture: Option<Capture>,
    /// Chunks come one after the other, in the order of the key: what the statements leave depends on
    /// which of several rows comes first.
    pub in_order: bool,
    /// How long a chunk waits for a lock.
    pub lock_timeout: Duration,
    /// How long one statement of a chunk may take.
    pub statement_timeout: Duration,
}

/// Why there is one worker only, for people.
pub const ONE_AFTER_THE_OTHER: &str = "one worker: which of several rows an INSERT meets first counts \
     here, so chunks run one after the other (more may run where ON CONFLICT names columns that come \
     from the key)";

impl Backfill {
    /// How many workers there may be, of so many that are wanted.
    #[must_use]
    pub fn workers(&self, wanted: u32) -> u32 {
        if self.in_order { 1 } else { wanted.max(1) }
    }
}

/// In which direction a backfill is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It does what the migration says.
    Forward,
    /// It puts captured values back.
    Undo,
}

impl Phase {
    /// As the ledger stores it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Undo => "undo",
        }
    }

    /// From the ledger's text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Forward, Self::Undo].into_iter().find(|phase| phase.as_str() == text)
    }
}

/// What a backfill's worker last said of itself: the fact, beside the wish in [`Intent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackfillState {
    /// At work (or its worker died: then its lease expires).
    Running,
    /// A worker holds it and waits to be told to go on.
    Paused,
    /// No worker: it stopped in an orderly way and can go on.
    Stopped,
    /// It failed; the migration's own row says why.
    Failed,
    /// A person gave it up.
    Cancelled,
    /// Every chunk is done, and rows remain in quarantine.
    Quarantined,
    /// Done.
    Done,
    /// Its captured values were put back.
    Undone,
}

impl BackfillState {
    const ALL: [Self; 8] = [
        Self::Running,
        Self::Paused,
        Self::Stopped,
        Self::Failed,
        Self::Cancelled,
        Self::Quarantined,
        Self::Done,
        Self::Undone,
    ];

    /// As the ledger stores it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Quarantined => "quarantined",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }

    /// From the ledger's text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What a person wants of a backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Go on.
    #[default]
    Run,
    /// Hold after the chunk under way, until told to go on.
    Pause,
    /// Stop after the chunk under way, for good.
    Cancel,
}

impl Wish {
    /// As the ledger stores it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Pause => "pause",
            Self::Cancel => "cancel",
        }
    }

    /// From the ledger's text, which people may write by hand: anything unknown holds.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.trim().to_ascii_lowercase().as_str() {
            "run" | "resume" | "" => Self::Run,
            "cancel" => Self::Cancel,
            _ => Self::Pause,
        }
    }
}

/// What a person wants of a backfill, with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Intent {
    /// To go on, to hold, to stop.
    pub wish: Wish,
    /// Who wished so, for people.
    pub by: Option<String>,
    /// So many workers instead of those of the file.
    pub workers: Option<u32>,
    /// So many rows a second at most, instead of what the file says; 0 lifts the limit.
    pub rate: Option<u64>,
}

/// What a person changes of an [`Intent`]; `None` leaves what is there, also what somebody else changes
/// at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IntentChange {
    /// Whether it is to go on.
    pub wish: Option<Wish>,
    /// Who wishes so: noted together with the wish.
    pub by: Option<String>,
    /// How many workers.
    pub workers: Option<u32>,
    /// How many rows a second; 0 lifts the limit.
    pub rate: Option<u64>,
}

impl From<Intent> for IntentChange {
    fn from(intent: Intent) -> Self {
        let Intent { wish, by, workers, rate } = intent;
        Self { wish: Some(wish), by, workers, rate }
    }
}

/// A worker's share of a table's keys: fence and checkpoint in one ledger row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// Its number within the job, from 1.
    pub seg: i64,
    /// Where it begins.
    pub lo: Bound,
    /// How far it is done: every row after `lo` and up to here.
    pub upto: Bound,
    /// Where it ends. For the rows with a NULL key all three are about [`Bound::Nulls`]: `lo` is
    /// it, `upto` is [`Bound::Start`] until they are done.
    pub hi: Bound,
    /// Rows that its statements touched so far, by the first statement's count.
    pub rows: u64,
    /// Claims of the lease since its last commit: many mean that a chunk kills its workers.
    pub attempts: u32,
}

impl Segment {
    /// Whether nothing is left of it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.upto == self.hi
    }

    /// Whether a chunk of it is done, or it has none.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.is_done() || (self.upto != self.lo && self.upto != Bound::Start)
    }
}

/// A backfill as the ledger keeps it: one row for the latest pass of each chunked data migration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackfillRecord {
    /// Which migration.
    pub id: MigrationId,
    /// The pass that it belongs to.
    pub pass: u32,
    /// Forward, or back.
    pub phase: Phase,
    /// Which walk over the table this is, from 1 (`repeat until-done`).
    pub round: u32,
    /// The table, as the server names it.
    pub table: String,
    /// What it is walked by.
    pub key: Vec<KeyColumn>,
    /// The table's shape that the segments were planned for.
    pub shape: String,
    /// What its worker last said.
    pub state: BackfillState,
    /// Why it is so: what throttles it, what it waits for.
    pub reason: Option<String>,
    /// Rows that were to be done, by the server's estimate at the start of this walk. In an undo,
    /// the rows that it has come to so far, whether it put them back or left them as they are.
    pub row_count_estimate: Option<u64>,
    /// Rows done in earlier walks of this pass. In an undo, the rows that it put back so far.
    pub rows_before: u64,
    /// Workers at work.
    pub workers: u32,
    /// The size of chunks at present, in rows.
    pub chunk_rows: u64,
    /// How long the last chunks took, in milliseconds.
    pub chunk_ms: u64,
    /// Rows a second at present.
    pub rows_per_second: u64,
    /// Seconds that are left, the least and the most that is expected; both 0 where unknown.
    pub seconds_left: (u64, u64),
    /// What people want; never written with the rest.
    pub intent: Intent,
    /// Rows in quarantine that wait for somebody; counted, never written with the rest.
    pub quarantined: u64,
    /// By the server's clock, microseconds since 1970 UTC; never written with the rest.
    pub started_at: Option<i64>,
    /// When its worker last said something, by the server's clock.
    pub updated_at: Option<i64>,
}

impl BackfillRecord {
    /// Whether some rows have their old values again and others have not.
    #[must_use]
    pub fn is_half_undone(&self) -> bool {
        self.phase == Phase::Undo && self.state != BackfillState::Undone
    }

    /// Rows that an undo left as they are, since somebody changed or deleted them; `None`: it is no
    /// undo.
    #[must_use]
    pub fn changed_since(&self) -> Option<u64> {
        (self.phase == Phase::Undo)
            .then(|| self.row_count_estimate.unwrap_or(0).saturating_sub(self.rows_before))
    }
}
