//! dunlin.
