//! dunlin-sqlite.
