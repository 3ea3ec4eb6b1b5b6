//! What a developer and CI do with this repository: `cargo xtask --help`.

#![expect(clippy::print_stdout, reason = "reports of these commands are for people to read")]

mod bench;
mod campaign;
mod cargo;
mod ci;
mod deps;
mod docs;
mod install;
mod servers;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all tests against throwaway servers, which are installed first on Debian as root.
    Test(test::Options),
    /// Start PostgreSQL, pgbouncer and MariaDB to play with, print their URLs, wait for Ctrl-C.
    Servers(servers::Options),
    /// Check who depends on whom.
    Deps,
    /// Write the generated documentation, and check links.
    Docs {
        /// Write nothing; fail if something would change.
        #[arg(long)]
        check: bool,
    },
    /// Everything that must pass before a change is merged.
    Ci(test::Options),
    /// Kill, stop and race real runs, and look for what was lost or done twice.
    #[command(subcommand)]
    Campaign(campaign::Command),
    /// Measure.
    #[command(subcommand)]
    Bench(bench::Command),
}

/// Why a command failed, for a person.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// A failure with its causes.
    pub(crate) fn because(what: impl std::fmt::Display, error: &dyn std::error::Error) -> Self {
        let mut message = format!("{what}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self(message)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Test(options) => test::run(&options),
        Command::Servers(options) => servers::run(&options),
        Command::Deps => deps::run(),
        Command::Docs { check } => docs::run(check),
        Command::Ci(options) => ci::run(&options),
        Command::Campaign(command) => campaign::run(command),
        Command::Bench(command) => bench::run(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
