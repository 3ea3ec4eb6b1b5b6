//! Chunked data migrations: keys and ranges, what a table is, what a job is, how far it is.

mod finder;
mod job;
mod key;
mod rows;
mod table;
mod tagged;

pub use finder::Finder;
pub use job::{
    Backfill, BackfillRecord, BackfillState, Capture, Intent, IntentChange, ONE_AFTER_THE_OTHER,
    Phase, Segment, Wish,
};
pub use key::{Bound, Key, KeyColumn, KeyRange};
pub use rows::{Row, RowChange};
pub use table::{Access, Beside, Column, Index, IndexColumn, Table, TableKind, Takes, ValueForm};
pub use tagged::{Affinity, Tagged};
