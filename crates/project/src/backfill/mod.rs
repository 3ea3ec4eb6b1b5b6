//! stub
use dunlin_model::*;
use std::time::Duration;
/// d
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// a
    pub lock_timeout: Duration,
    /// b
    pub statement_timeout: Duration,
    /// c
    pub pass: u32,
}
/// plan
/// # Errors
/// x
pub fn plan(
    _: &Migration,
    _: &Table,
    _: Dialect,
    _: Defaults,
) -> Result<Backfill, Vec<Diagnostic>> {
    Err(Vec::new())
}
