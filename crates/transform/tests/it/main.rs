//! Expressions, through the compiler alone.

#![expect(clippy::unwrap_used, reason = "what can't be had is a failed test")]

mod casts;
mod copies;
mod errors;
mod large;
mod numbers;
mod queue;
mod results;
mod rows;
mod stage;
mod times;
mod traps;
mod written;
