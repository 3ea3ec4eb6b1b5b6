//! Mappings of moves: `moves/NAME.toml`, read, checked against two databases, and begun for a user.
//!
//! Invariants: every mistake of a file is found, with its line; no input panics; what both
//! catalogues tell is checked here, before anything is compiled or read. What is left out: the
//! expressions' own grammar and types, which the compiler of expressions knows.

mod check;
mod document;
mod files;
mod folder;
mod identifiers;
mod look_up;
mod reader;
mod rule;
mod scaffold;

pub use check::{LOOK_UP, check_mapping};
pub use folder::{FOLDER, list_mappings, read_mapping};
pub use reader::{parse_mapping, percent};
pub use scaffold::scaffold;
