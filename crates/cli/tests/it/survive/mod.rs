//! What must be survived, on real databases with the real program: each test names the failure
//! that it is about. `docs/reference/guarantees.md` lists them all, with tests of other crates.

mod back;
mod backfill;
mod backfills;
mod beside;
mod conflicts;
mod crashes;
mod death;
mod files;
mod guarantees;
mod late_steps;
mod moves;
mod names;
mod network;
mod recorded;
mod runners;
mod secrets;
mod sessions;
mod signals;
mod steps;
pub(crate) mod world;
