//! Measurements. Each prints a table as text; `docs/benchmarks.md` keeps them.

mod backfill;
mod impact;
mod migrate;
mod moves;

use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Many small files: against the database's own client and sqlx-cli; nothing pending; size.
    Migrate(migrate::Options),
    /// A data migration over millions of rows: against one UPDATE, a procedure, and scripts.
    Backfill(backfill::Options),
    /// What the application feels of a backfill: its requests before and during.
    Impact(impact::Options),
    /// A move: against COPY into COPY, pg_restore and pgloader; run again; the time of an id.
    Move(moves::Options),
}

/// `cargo xtask bench …`
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Migrate(options) => migrate::run(&options),
        Command::Backfill(options) => backfill::run(&options),
        Command::Impact(options) => impact::run(&options),
        Command::Move(options) => moves::run(&options),
    }
}

/// The program to measure: the one that was given, or a release build of this repository.
fn program(given: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    match given {
        Some(binary) => std::path::absolute(binary)
            .map_err(|error| Failure::because("cannot find the program", &error)),
        None => migrate::build_release(&[], "target"),
    }
}

/// How long a program takes that must succeed.
fn timed(command: &mut Process) -> Result<Duration, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let started = Instant::now();
    let output = command
        .output()
        .map_err(|error| Failure::because(format!("cannot run {program}"), &error))?;
    let time = started.elapsed();
    if output.status.success() {
        return Ok(time);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(10)..].join("\n");
    Err(Failure::new(format!("{program}: {}\n{tail}", output.status)))
}

/// The middle of several times.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found() {
        let times = [5, 1, 9].map(Duration::from_secs).to_vec();
        assert_eq!(median(times), Duration::from_secs(5));
    }
}
