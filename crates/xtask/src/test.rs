//! All tests, against servers that are started once.

use std::time::Instant;

use dunlin_testkit::servers::Durability;

use crate::servers::Fleet;
use crate::{Failure, cargo, install};

#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Options {
    /// Passed on to nextest (or to `cargo test` where nextest is not installed).
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// `cargo xtask test`
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let started = Instant::now();
    install::missing_servers()?;
    let fleet = Fleet::start(Durability::Relaxed)?;
    let arguments: Vec<&str> = options.arguments.iter().map(String::as_str).collect();
    let nextest = cargo::is_there("cargo-nextest", &["nextest", "--version"]);
    let mut tests = if nextest {
        cargo::cargo(&["nextest", "run", "--workspace"])
    } else {
        cargo::cargo(&["test", "--workspace", "--all-targets"])
    };
    let tests = cargo::run(fleet.tell(tests.args(&arguments)));
    // Neither of the two above runs the examples in documentation; named tests leave them out.
    let examples = if options.arguments.is_empty() {
        cargo::run(fleet.tell(&mut cargo::cargo(&["test", "--workspace", "--doc", "--quiet"])))
    } else {
        Ok(())
    };
    let word = |outcome: &Result<(), Failure>| if outcome.is_ok() { "passed" } else { "FAILED" };
    println!(
        "tests {}, examples {}, in {:.0} s",
        word(&tests),
        word(&examples),
        started.elapsed().as_secs_f64()
    );
    tests.and(examples)
}
