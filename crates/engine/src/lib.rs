//! Ports to databases, and the run loops: the only place that orders effects.
//!
//! A driver implements [`Connector`] and [`Target`]; the loops here decide what is called when.
//! Invariants: progress is recorded only by a commit that carries the work itself (there is no
//! call that only marks something as done, but for journalled steps, which are journalled before
//! and after); every commit is fenced by its lease's token; nothing here names a database.

pub mod amend;
pub mod backfill;
pub mod events;
pub mod files;
pub mod job;
#[cfg(feature = "move")]
pub mod moves;
pub mod owner;
pub mod rehearsal;
pub mod report;
pub mod run;
pub mod standing;

mod closing;
mod error;
mod failpoint;
mod leases;
mod ports;
mod program;
mod program_step;
mod proof;
mod steps;

pub use error::{ErrorKind, Remedy, TargetError};
pub use failpoint::failpoint;
pub use ports::{
    Absent, Barrier, Checkpoint, Chunk, Chunks, Claim, Committed, Connector, Deed, Extent,
    GATHERED_BYTES_MAX, Gathered, Health, Kept, Mark, Probe, Purpose, Quarantined, REPLICA_LAG,
    ReadAnswer, ReadRequest, Rehearsal, RowsOutcome, RunRecord, Search, ServerFacts, Settled,
    Signal, Stopper, Target, UndoSlice, Undone, Work,
};
