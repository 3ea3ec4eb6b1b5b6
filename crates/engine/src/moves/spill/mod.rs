//! What a run must remember of keys, within bounds: in memory while there is room, in temporary files
//! that have no name beyond that. They are gone with the process, however it ends.

mod room;
mod runs;
mod sorter;
mod spool;

/// So many files are open for one set at most: more are merged into one.
const FILES_MAX: usize = 64;

pub(super) use room::Room;
pub(super) use runs::Runs;
pub(super) use sorter::{Ready, Sorter};
pub(super) use spool::{Pieces, Spool};
