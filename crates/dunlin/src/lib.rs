//! Dunlin as a library: what the `dunlin` command is an ordinary client of.
//!
//! An application that brings its migrations along runs them with a [`Migrator`]; everything else
//! is reached through [`engine`], [`project`] and [`model`]. Each database is a feature.

mod connect;
mod migrator;

pub use connect::{ConnectOptions, connector};
#[cfg(feature = "move")]
pub use connect::{move_connector, source_connector};
pub use dunlin_engine as engine;
pub use dunlin_model as model;
pub use dunlin_project as project;
#[cfg(feature = "move")]
pub use dunlin_transform as transform;
pub use migrator::Migrator;
