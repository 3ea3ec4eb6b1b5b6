//! Expressions over batches of rows: what a mapping's `set`, `where`, `let` and `each` say, compiled
//! once and evaluated by columns.
//!
//! The language is DataFusion's SQL for expressions. Where DataFusion changes values without a word,
//! or fails a whole batch for one row, we differ:
//!
//! - whole numbers never wrap: too large a result and division by zero fail that row;
//! - decimals are exact, need no cast, and never become floating point on their own;
//! - `AT TIME ZONE`, parts of times and intervals are as in PostgreSQL, `lower` and `upper` go letter by
//!   letter;
//! - times are microseconds, so the years 1 and 9999 are times too; a text is a time only where it
//!   begins with a date;
//! - a failure is its row's alone;
//! - what an expression gives must fit the column that it is for, exactly;
//! - what gives another result in another run (`now()`, `random()`) is refused;
//! - a group of `regexp_match` that took no part is NULL, and doesn't move the groups behind it.
//!
//! Kept as DataFusion has it: `concat` leaves NULL out and `||` gives NULL.
#![forbid(unsafe_code)]

mod apply;
mod cast;
mod coerce;
mod compile;
mod decimal;
mod expand;
mod fit;
mod floating;
mod frame;
mod functions;
mod holds;
mod interval;
mod limits;
mod lists;
mod moments;
mod plan;
mod program;
mod reason;
mod rewrite;
mod spelling;
mod text;
mod words;
mod zone;

pub use compile::DataFusion;
