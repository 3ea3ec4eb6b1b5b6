//! Expressions over batches of rows.
