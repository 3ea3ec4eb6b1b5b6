//! Dunlin's driver for SQLite.
//!
//! Owns: how a database file is found and opened for each purpose, the ledger's SQL, and how a
//! migration's statements and its ledger rows commit together. Invariants:
//!
//! - Every write transaction begins with `BEGIN IMMEDIATE`: a deferred one that has read cannot
//!   wait for another writer, it fails at once.
//! - Looking creates no file beside the database and changes none (see `look`).
//! - A connection that a cancelled call may have left in the middle of something is never used
//!   again.
//! - Statements of the user's run as the `sqlite3` program would run them: foreign keys are not
//!   enforced unless the file says so, and no setting, attached database or temporary table of
//!   one file is seen by the next.
//!
//! Left out: pooling (one file, one writer).

mod address;
mod chunks;
mod connector;
mod control;
mod fault;
mod header;
mod ledger;
mod look;
#[cfg(feature = "move")]
mod moves;
mod session;
mod step;
mod target;
mod work;
mod worker;

pub use connector::SqliteConnector;
