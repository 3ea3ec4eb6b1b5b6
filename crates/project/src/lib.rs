//! What a user writes, read: `dunlin.toml`, migration folders, headers, SQL; and the plan.
//!
//! Reading files is the only I/O, in [`folder`] and [`settings`]; everything else is pure.
//! Invariant: files, a ledger's view and another tool's history go in, and steps and diagnostics
//! come out. What is left out: anything that talks to a database.

pub mod backfill;
pub mod directive;
pub mod folder;
pub mod history;
pub mod moves;
pub mod plan;
pub mod settings;
pub mod sql;

mod duration;
mod position;
mod suggestion;
