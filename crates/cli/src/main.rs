//! The `dunlin` command: arguments -> settings -> command -> render.
//!
//! An ordinary client of the `dunlin` library. Data goes to stdout, everything else to stderr, and
//! only `render` writes to either.

mod answer;
mod args;
mod commands;
mod context;
mod exit;
mod interrupt;
mod new_file;
mod render;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;

/// Migration folders are read by several threads, and the system's allocator grows a thread's heap
/// page by page with a system call each: a tenth of the time that ten thousand files take.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads that a move's connections share, at most: beside them there are the threads that rows are
/// worked out on.
#[cfg(feature = "move")]
const MOVE_THREADS_MAX: usize = 4;

/// One thread is enough for all that mostly waits for a database. A move has as much to do as the
/// database has.
fn runtime(cli: &Cli) -> std::io::Result<tokio::runtime::Runtime> {
    #[cfg(feature = "move")]
    if let args::Command::Move { .. } = &cli.command {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = processors.min(MOVE_THREADS_MAX);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        return builder.worker_threads(threads).enable_all().build();
    }
    let _ = cli;
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Tells what is wrong with the arguments, or what was asked for (help, the version).
fn unparsed(error: &clap::Error) -> ExitCode {
    let as_json = std::env::args_os().any(|argument| argument == "--json");
    // Printing to a closed pipe fails, and there is nobody left to tell.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if as_json {
        render::failure::usage_document(&error.render().to_string());
    }
    exit::Exit::Usage.into()
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error),
    };
    let runtime = match runtime(&cli) {
        Ok(runtime) => runtime,
        Err(error) => {
            render::line(&format!("cannot start: {error}"));
            return exit::Exit::Failed.into();
        }
    };
    let json = cli.global.json;
    let outcome = runtime.block_on(commands::dispatch(cli));
    // A task that still waits for something must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            render::failure::show(&error, json);
            error.exit().into()
        }
    }
}
