//! Loading tables bare: without the indexes and foreign keys that are rebuilt faster in one go than
//! kept up to date row by row.
//!
//! What is dropped stands in the move's store before it is gone, in the transaction that drops it,
//! and leaves the store in the transaction that brings it back. From the first to the last of them
//! the tables are *kept*: nobody but this move may write them, also while no run is alive, since
//! nothing would check what is written. So whoever dies in between leaves tables that are whole but
//! for what the store names, and the next run, or `move restore`, does the rest.

mod foreign;
mod journal;
mod load;
mod orphans;
mod outlook;
mod port;
mod reload;
mod restore;
mod strip;

pub(super) use load::BareLoad;
pub(super) use restore::restore;

pub use journal::{Dropped, dropped};
pub use outlook::{TableOutlook, outlook};
pub use port::{BareTarget, Definition, DefinitionKind, TableDefinitions};
pub use restore::{Restored, restore_move};
