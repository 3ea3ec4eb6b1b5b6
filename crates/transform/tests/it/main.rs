//! Expressions, through the compiler alone.

mod copies;
mod errors;
mod results;
mod rows;
mod stage;
mod traps;
