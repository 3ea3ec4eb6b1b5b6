//! The PostgreSQL driver against real servers.

mod conformance;
