//! The library on SQLite, through its public interface: files in, rows and reports out.
#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

mod backfill;
mod data;
mod drift;
mod gates;
mod half_way;
mod programs;
mod rollback;
mod versions;
mod world;
