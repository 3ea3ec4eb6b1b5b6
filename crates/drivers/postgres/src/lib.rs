//! dunlin-postgres.
