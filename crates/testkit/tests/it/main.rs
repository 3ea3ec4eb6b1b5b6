//! Tests of the testkit through its own interface.

mod servers;
