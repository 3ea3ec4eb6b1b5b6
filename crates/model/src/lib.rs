//! The nouns of Dunlin, and pure functions on them.
//!
//! Owns: versions, migrations and their statements, directives, the view of a ledger, plans,
//! leases and diagnostics. Invariant: nothing here reads a file, a clock, the environment or a
//! network, and nothing is async. What is left out: how any of it is read, written or run.

mod backfill;
pub mod calendar;
mod checksum;
mod chunking;
mod diagnostic;
mod dialect;
mod directive;
mod history;
mod lease;
mod ledger;
mod migration;
pub mod moves;
mod plan;
mod statement;
mod version;

pub use backfill::{
    Access, Affinity, Backfill, BackfillRecord, BackfillState, Beside, Bound, Capture, Column,
    Finder, Index, IndexColumn, Intent, IntentChange, Key, KeyColumn, KeyRange,
    ONE_AFTER_THE_OTHER, Phase, Row, RowChange, Segment, Table, TableKind, Tagged, Takes,
    ValueForm, Wish,
};
pub use checksum::{Checksums, normalized};
pub use chunking::{Chunking, OnError};
pub use diagnostic::{Diagnostic, Place, Severity};
pub use dialect::{Capabilities, Dialect};
pub use directive::{DataMode, Directives, OutOfOrder};
pub use history::{ForeignEntry, ForeignHistory, HistoryTool, TableQuery, TableShape};
pub use lease::{Lease, LeaseHolder, Owner, Resource};
pub use ledger::{
    Entry, EntryState, EntryWrite, FORMAT, LedgerEvent, LedgerView, StepRecord, StepState,
};
pub use migration::{Body, Direction, Migration, Program, RowCode, Script};
pub use plan::{Action, Deferral, Deferred, Held, Mode, Plan, PlannedStep, WaitsFor};
pub use statement::{
    After, ChunkPlace, Control, Destruction, DestructionKind, Facts, ImageObject, ObjectKind,
    Restart, Statement, Trace, TraceKind, Verb, Write,
};
pub use version::{Kind, MigrationId, ParseVersionError, Reference, Version};
