//! Backfills: what only a real PostgreSQL can tell.

mod chunks;
mod find;
mod keys;
mod ledger;
mod looks;
mod plan;
mod programs;
mod undo;
