//! The `dunlin` program as a person meets it: what is typed, what is printed, the exit code.

mod backfill;
mod drift;
mod failures;
mod gates;
mod help;
mod json;
mod migrate;
mod mistakes;
#[cfg(feature = "move")]
mod moves;
mod project;
mod row_numbers;
mod several;
mod start;
mod story;
mod survive;
