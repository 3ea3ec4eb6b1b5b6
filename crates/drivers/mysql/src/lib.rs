//! MySQL and MariaDB: connections, SQL text, the ledger in `dunlin_…` tables.
//!
//! A target has two connections. Ledger statements run on one whose settings are ours; the
//! user's statements run on the other, opened with the first of them, under the server's own
//! settings and whatever their file sets. So no file can disturb the ledger's statements, and
//! each file starts with a session as new. Only a transaction that holds both (the user's rows
//! and the ledger's row) runs wholly on the second, with SQL that means the same under any
//! settings.
//!
//! DDL commits by itself on these servers. Works that are all DML run in one transaction; others
//! run step by step, journalled before and after, and a step whose runner died is settled by
//! ending its connection and comparing definitions.

mod blockers;
mod chunks;
mod connector;
mod dial;
mod facts;
mod failure;
mod fired;
mod image;
mod judgement;
mod lease;
mod ledger;
mod literal;
mod mask;
#[cfg(feature = "move")]
mod moves;
mod preflight;
mod process;
mod session;
mod settle;
mod step;
mod stopper;
mod succession;
mod target;
mod transaction;
mod url;
mod work;

pub use connector::MysqlConnector;
