//! What the tests of every crate stand on; never shipped.
//!
//! - [`servers`]: throwaway PostgreSQL, MariaDB and pgbouncer, and a database for each test.
//! - [`proxy`]: a TCP proxy that cuts, holds back, delays and slices.
//! - [`conformance`]: what every driver must do, as a list of named cases.
//!
//! Invariant: nothing here names a database client crate. Databases are looked at through their
//! own command-line clients, so that what a test expects does not come from the code under test.

pub mod conformance;
pub mod proxy;
pub mod servers;
