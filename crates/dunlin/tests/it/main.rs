//! The library on SQLite, through its public interface: files in, rows and reports out.

mod data;
mod drift;
mod gates;
mod programs;
mod rollback;
mod versions;
mod world;
