//! PostgreSQL: connections, the ledger in schema `dunlin`, and the protocol of fenced commits.
//!
//! Owns: reading a `postgres://` URL, TLS as libpq means it, the ledger's tables, and every
//! statement that is sent to a PostgreSQL server. Invariants: no prepared statement has a name and
//! nothing is set for a session behind a pooler, so everything works through pgbouncer in
//! transaction mode; the fence is the first thing that a writing transaction does; a server's
//! DETAIL, which quotes row values, is never kept. What is left out: in which order migrations
//! run, and what happens after a failure.

mod backend;
mod backfill;
mod blockers;
mod commit;
mod connector;
mod create;
mod dial;
mod entry;
mod error;
mod fence;
mod image;
mod judgement;
mod lease;
mod ledger;
#[cfg(feature = "move")]
mod moves;
mod quote;
mod read;
mod rows;
mod run;
mod session;
mod settle;
mod statements;
mod step;
mod stopper;
mod succession;
mod target;
mod tls;
mod url;
mod watcher;

pub use connector::PostgresConnector;
