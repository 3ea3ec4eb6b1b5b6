//! The nouns of moves: what a mapping says, and what two databases look like.

mod catalogue;
mod files;
mod mapping;

pub use catalogue::{
    Catalogue, Field, ForeignKey, Limit, Numbering, Relation, TableName, ValueType, largest_number,
};
pub use files::{
    DeclaredType, ENCODINGS, FILE_TYPES, FileGuess, FileMistake, FileOptions, FileType,
    GuessedColumn,
};
pub use mapping::{
    Changed, Conflicts, Deleted, Duplicates, Each, Expression, Gone, IdKind, IdSpec, LeaveOut,
    LookUp, Mapping, Missing, MoveMode, NewReference, OnRowError, Placed, Rule, Setting,
    SourceSpec, Value,
};
