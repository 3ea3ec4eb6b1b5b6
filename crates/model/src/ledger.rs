//! What the ledger says, as one value, and what is written into it.
//!
//! `docs/reference/ledger.md` documents the tables; every driver stores them alike.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Checksums, Direction, MigrationId};

/// The ledger format that this program reads and writes. Changes are additive within a major
/// version; `min_reader` and `min_writer` in the ledger say which formats may still do so.
pub const FORMAT: u32 = 3;

/// Where a migration stands in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryState {
    /// Known, but not applied: rolled back, reset by a rollback, or about to be run again.
    Pending,
    /// Started as journalled steps; its runner is at work or died.
    Running,
    /// Recorded as run.
    Applied,
    /// Its last attempt failed and was rolled back (or stopped at a journalled step).
    Failed,
    /// Will not run here: by its environments, or by a person.
    Skipped,
    /// Will never run again anywhere; its file may go.
    Retired,
}

impl EntryState {
    /// As the ledger stores it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Retired => "retired",
        }
    }

    /// From the ledger's text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Running, Self::Applied, Self::Failed, Self::Skipped, Self::Retired]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// Whether it still has to run (if nothing holds it).
    #[must_use]
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Pending | Self::Running | Self::Failed)
    }
}

/// One migration's row in the ledger, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The file's name after the version, without its ending.
    pub name: String,
    /// Where it stands.
    pub state: EntryState,
    /// How many times it was made to run, from 1; `data rerun` and a rollback advance it.
    pub pass: u32,
    /// Of the text that was applied; `None` before the first attempt.
    pub checksums: Option<Checksums>,
    /// Declared by `baseline`, not run by us.
    pub baseline: bool,
    /// For `Skipped`: by its environments (this opens gates), not by a person (this does not).
    pub by_environment: bool,
    /// Why it was skipped, retired or accepted.
    pub reason: Option<String>,
    /// The last failure, without row values.
    pub error: Option<String>,
    /// By the server's clock, microseconds since 1970 UTC.
    pub started_at: Option<i64>,
    /// By the server's clock, microseconds since 1970 UTC.
    pub finished_at: Option<i64>,
    /// How long the applied attempt took, in milliseconds.
    pub duration_ms: Option<i64>,
}

impl Entry {
    /// Whether what requires this migration may run.
    #[must_use]
    pub fn opens_gate(&self) -> bool {
        opens_gate(self.state, self.by_environment)
    }
}

/// As [`Entry::opens_gate`].
fn opens_gate(state: EntryState, by_environment: bool) -> bool {
    match state {
        EntryState::Applied | EntryState::Retired => true,
        EntryState::Skipped => by_environment,
        EntryState::Pending | EntryState::Running | EntryState::Failed => false,
    }
}

/// Where a journalled step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// Written before the statement was sent: it may or may not have taken effect.
    Open,
    /// Known to have taken effect.
    Done,
    /// The server refused it: known not to have taken effect.
    Failed,
}

impl StepState {
    /// As the ledger stores it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// From the ledger's text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Done, Self::Failed].into_iter().find(|state| state.as_str() == text)
    }
}

/// One journalled step of a migration's present pass. Steps of a finished migration are deleted
/// with its last commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepRecord {
    /// Whose.
    pub id: MigrationId,
    /// Up or down.
    pub direction: Direction,
    /// The pass it belongs to.
    pub pass: u32,
    /// The statement's place in its file, from 0.
    pub ordinal: u32,
    /// SHA-256 of the statement's text, hex.
    pub checksum: String,
    /// Where it stands.
    pub state: StepState,
    /// The fencing token that it was opened under.
    pub token: i64,
    /// The server's number for the connection that it was sent on.
    pub connection: Option<i64>,
    /// Definitions before it ran, in the driver's own form; compared, never interpreted, elsewhere.
    pub image: Option<String>,
}

/// Everything that planning needs from a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LedgerView {
    /// A random UUID that names this ledger; empty where there is none yet.
    pub id: String,
    /// The format it was last written in.
    pub format: u32,
    /// The oldest format that may read it.
    pub min_reader: u32,
    /// The oldest format that may write it.
    pub min_writer: u32,
    /// Each migration that it knows.
    pub entries: BTreeMap<MigrationId, Entry>,
    /// Open, done and failed steps of migrations that are not finished.
    pub steps: Vec<StepRecord>,
    /// Leases that have an owner, expired ones included.
    pub leases: Vec<crate::LeaseHolder>,
}

impl LedgerView {
    /// Whether there is a ledger in the database.
    #[must_use]
    pub fn exists(&self) -> bool {
        !self.id.is_empty()
    }

    /// The state of a migration; `None` where the ledger has never seen it.
    #[must_use]
    pub fn state(&self, id: MigrationId) -> Option<EntryState> {
        self.entries.get(&id).map(|entry| entry.state)
    }

    /// The newest applied migration of a kind.
    #[must_use]
    pub fn newest_applied(&self, kind: crate::Kind) -> Option<MigrationId> {
        self.entries
            .iter()
            .rev()
            .find(|(id, entry)| id.kind == kind && entry.state == EntryState::Applied)
            .map(|(id, _)| *id)
    }
}

/// What happened to a migration, as the ledger's history names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LedgerEvent {
    /// Its journalled steps began.
    Start,
    /// It was applied.
    Up,
    /// It was undone.
    Down,
    /// An attempt failed.
    Fail,
    /// Skipped, by environment or by a person.
    Skip,
    /// Retired.
    Retire,
    /// A changed text was accepted.
    Accept,
    /// Declared applied.
    Baseline,
    /// Made pending again by a person.
    Rerun,
    /// Made pending again because what it came after was undone.
    Reset,
}

impl LedgerEvent {
    /// As the ledger stores it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Up => "up",
            Self::Down => "down",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Retire => "retire",
            Self::Accept => "accept",
            Self::Baseline => "baseline",
            Self::Rerun => "rerun",
            Self::Reset => "reset",
        }
    }
}

/// A migration's whole row as it will stand, with the history event that says why.
///
/// A driver stores it as an upsert on (kind, version) plus one row of history, in one transaction
/// with whatever it belongs to. `started_at` becomes the server's clock for `Start` and for
/// anything that runs at once; `finished_at` for `Applied`; both are cleared for `Pending`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryWrite {
    /// Whose row.
    pub id: MigrationId,
    /// The file's name after the version, without its ending.
    pub name: String,
    /// The state it takes.
    pub state: EntryState,
    /// The pass it stands at.
    pub pass: u32,
    /// Checksums and text of the up file; `None` leaves what is stored.
    pub content: Option<(Checksums, String)>,
    /// See [`Entry::baseline`].
    pub baseline: bool,
    /// See [`Entry::by_environment`].
    pub by_environment: bool,
    /// See [`Entry::reason`].
    pub reason: Option<String>,
    /// See [`Entry::error`].
    pub error: Option<String>,
    /// A program's last output, masked, if it is kept.
    pub output: Option<String>,
    /// What the history says.
    pub event: LedgerEvent,
    /// The run (a UUID) that does it.
    pub run: String,
}

impl EntryWrite {
    /// See [`Entry::opens_gate`].
    #[must_use]
    pub fn opens_gate(&self) -> bool {
        opens_gate(self.state, self.by_environment)
    }
}
