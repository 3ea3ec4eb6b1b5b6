//! The driver through its port, on real files.
