//! Tests of the testkit through its own interface.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod proxy;
mod servers;
