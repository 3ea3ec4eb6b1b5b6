//! `completions`: a shell's completion script, from the definition of the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::{CliError, Exit};
use crate::render;

/// Prints the script for a shell.
pub(crate) fn run(shell: Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dunlin", &mut script);
    render::raw(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}
