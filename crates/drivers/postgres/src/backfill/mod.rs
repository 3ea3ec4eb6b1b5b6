//! Backfills: what the catalogue tells, ranges of keys as SQL, chunks with their fence, and what
//! the ledger keeps of them.

mod barrier;
mod beside;
mod captured;
mod catalogue;
mod chunk;
mod explain;
mod find;
mod health;
mod holds;
mod layout;
mod ledger;
mod predicate;
mod rehearse;
mod rejected;
mod row_code;
mod script;
mod target;
mod undo;
mod walk;

use std::sync::Arc;

#[cfg(feature = "move")]
pub(crate) use chunk::is_by_row;

/// What a connection remembers between calls about backfills.
#[derive(Default)]
pub(crate) struct Memory {
    /// The table's order and types, of the last backfill that was worked on.
    layout: Option<Arc<layout::Layout>>,
    /// The chunk whose rows are locked in an open transaction.
    pub(crate) locked: Option<row_code::Locked>,
    /// What the last look at the server's health saw.
    reading: Option<health::Reading>,
}
