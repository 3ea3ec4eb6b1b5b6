//! Expressions, through the compiler alone.

mod copies;
mod errors;
mod queue;
mod results;
mod rows;
mod stage;
mod traps;
