//! One file a command: settings -> library -> render.

mod amend;
mod check;
mod completions;
mod data;
mod database;
mod demo;
mod init;
mod migrate;
#[cfg(feature = "move")]
mod moves;
mod new;
mod overview;
mod plan;
mod reference;
mod rollback;
mod status;
mod tempo;
mod wait;

#[cfg(feature = "move")]
pub(crate) use self::tempo::rate;
use crate::args::{Cli, Command};
use crate::context::Context;
use crate::exit::{CliError, Exit};

/// Does what was typed.
pub(crate) async fn dispatch(cli: Cli) -> Result<Exit, CliError> {
    let mut global = cli.global;
    // An empty DUNLIN_ENV is none.
    global.env = global.env.filter(|name| !name.is_empty());
    let context = || Context::load(&global);
    match cli.command {
        Command::Init(args) => init::run(&global, &args),
        Command::New(args) => new::run(&global, &args).await,
        Command::Demo(args) => demo::run(&global, &args).await,
        Command::Completions { shell } => completions::run(shell),
        Command::Reference { folder } => reference::run(&folder),
        Command::Status => status::run(&context()?).await,
        Command::Plan(scope) => plan::run(&context()?, &scope).await,
        Command::Check(args) => check::run(&context()?, &args).await,
        Command::Wait(args) => wait::run(&context()?, &args).await,
        Command::Migrate(args) => migrate::run(&context()?, &args).await,
        Command::Rollback(args) => rollback::run(&context()?, &args).await,
        Command::Redo(args) => rollback::redo(&context()?, &args).await,
        Command::Data { command } => data::dispatch(&context()?, command).await,
        #[cfg(feature = "move")]
        Command::Move { command } => moves::dispatch(&context()?, command).await,
        Command::Baseline(args) => amend::baseline(&context()?, &args).await,
        Command::Accept(args) => amend::accept(&context()?, &args).await,
        Command::Settle(args) => amend::settle(&context()?, &args).await,
        Command::Create => database::create(&context()?).await,
        Command::Drop(args) => database::drop(&context()?, &args).await,
        Command::Reset(args) => database::reset(&context()?, &args).await,
    }
}
