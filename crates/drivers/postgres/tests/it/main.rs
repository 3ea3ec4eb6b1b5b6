//! The PostgreSQL driver against real servers: the suite that every driver passes, and what only
//! PostgreSQL can do.

mod backfill;
mod conformance;
mod index;
mod locks;
mod login;
#[cfg(feature = "move")]
mod moves;
mod pooler;
mod session;
mod silence;
mod tls;
mod world;
