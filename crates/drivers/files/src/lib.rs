//! Folders of CSV, NDJSON and Parquet as sources of moves.
//!
//! Owns: which files make which table, how bytes become typed values, and the copy that a run reads.
//! Invariants:
//!
//! - Each file is read once a run, whole, before the first row is given away: into a copy of its own
//!   in the order of the keys. All later reading is from that copy, so a run sees one state, and a
//!   file that can't be read to its end, or that changes meanwhile, stops the run before it writes.
//! - Rows given away and records told of as unread are together the records of the files.
//! - Memory is bounded whatever the files: records, sort buffers and lists of unread records have
//!   limits, and sorting spills to disk.
//!
//! Left out: writing files, object stores, folders within folders.

mod cells;
mod connector;
mod convert;
mod csv;
mod fault;
mod filling;
mod flaws;
mod folder;
mod guess;
mod json;
mod merge;
mod moment;
mod ndjson;
mod number;
mod only;
mod parquet;
mod record;
mod shape;
mod sort;
mod source;
mod stage;
mod stream;
mod value;

pub use connector::FilesConnector;
