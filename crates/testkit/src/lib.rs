//! dunlin-testkit.
