//! Backfills: what only a real PostgreSQL can tell.

mod chunks;
mod keys;
mod ledger;
mod looks;
mod plan;
mod programs;
mod undo;
