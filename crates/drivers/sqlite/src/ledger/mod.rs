//! The ledger's tables in an SQLite file: `docs/reference/ledger.md` describes each column.
//!
//! Every table is `WITHOUT ROWID`, so that nothing written here changes `last_insert_rowid()`
//! for the statements of a file. Times are microseconds since 1970 UTC by the clock of the
//! machine, as SQLite reads it.

mod backfill;
mod captured;
mod entry;
mod fence;
mod lease;
mod quarantine;
mod read;
mod run;
mod schema;
mod step;

pub(crate) use backfill::{
    advance, backfills, cut, enter_chunk, intent, report, wish, write_backfill,
};
pub(crate) use captured::{
    CapturedRow, capture, captured, captured_ends, count_undone, forget, has_captured, kept,
    uncapture,
};
pub(crate) use entry::{Attempt, now, write};
#[cfg(feature = "move")]
pub(crate) use fence::writable;
pub(crate) use fence::{enter, leave};
pub(crate) use lease::{claim, claimable, holder, keep, release};
pub(crate) use quarantine::{discard, quarantine, set_aside};
pub(crate) use read::{foreign_rows, has_ledger, table_shapes, text, view};
pub(crate) use run::{begin_run, finish_run};
pub(crate) use schema::create;
pub(crate) use step::{StepRow, close_step, delete_steps, mark_running, open_step};

/// The moment, in microseconds. SQLite's clock has milliseconds.
pub(crate) const NOW: &str = "CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER) * 1000";

/// A name as SQL quotes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
