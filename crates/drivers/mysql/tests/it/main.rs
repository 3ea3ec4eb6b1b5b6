//! The driver against a real server: everything here goes through the port, and is looked at
//! through a connection of its own.

mod backfill;
mod conformance;
mod death;
mod fence;
mod ledger;
mod messages;
#[cfg(feature = "move")]
mod moves;
mod rogue;
mod sessions;
mod settings;
mod steps;
mod support;
