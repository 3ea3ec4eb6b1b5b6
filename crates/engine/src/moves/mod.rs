//! Moves: an old application's data into a new application's shape, again and again, with ids that
//! stay.

mod arrow_type;
mod ids;
mod key;
mod pack;
mod ports;
mod row_hash;

pub use arrow_type::{arrow_field, arrow_schema, arrow_type};
pub use ports::{
    Applied, Batches, Compiled, Compiler, EachSpec, ExpressionError, Expressions, Extract,
    MoveConnector, MoveTarget, Output, Refused, RowFailure, Source, Stored, Written,
};
