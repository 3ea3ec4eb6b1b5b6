//! `move`: an old application's data into a new application's shape.

mod control;
mod finish;
mod ids;
mod plan;
mod rejects;
mod restore;
mod run;
mod sample;
mod standing;
mod verify;

use std::sync::Arc;

use dunlin::engine::events::Observer;
use dunlin::engine::moves::{
    KEY_VARIABLE, MEMORY_BYTES, MoveConnector, MoveJob, SOURCE_NOTE, SourceConnector, WORKERS,
    parse_secret,
};
use dunlin::engine::report::EngineError;
use dunlin::model::moves::{Mapping, Placed};
use dunlin::model::{Diagnostic, Place, Wish};
use dunlin::project::moves::read_mapping;
use dunlin::project::settings::DatabaseSettings;
use dunlin::transform::DataFusion;
use dunlin::{ConnectOptions, move_connector, source_connector};
use tokio::task::JoinError;

use crate::args::{MoveCommand, MoveIdsCommand};
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};

/// Does what was typed after `move`.
pub(crate) async fn dispatch(context: &Context, command: MoveCommand) -> Result<Exit, CliError> {
    match command {
        MoveCommand::Plan(args) => plan::run(context, &args.name).await,
        MoveCommand::Run(args) => run::run(context, &args, false).await,
        MoveCommand::Verify(args) => verify::run(context, &args).await,
        MoveCommand::Finish(args) => finish::run(context, &args).await,
        MoveCommand::Sample(args) => sample::run(context, &args).await,
        MoveCommand::Restore(args) => restore::run(context, &args).await,
        MoveCommand::Status(args) => standing::status(context, &args).await,
        MoveCommand::Pause(args) => control::wish(context, &args.name, Wish::Pause).await,
        MoveCommand::Resume(args) => control::wish(context, &args.name, Wish::Run).await,
        MoveCommand::Cancel(args) => control::wish(context, &args.name, Wish::Cancel).await,
        MoveCommand::Set(args) => control::set(context, &args).await,
        MoveCommand::Reopen(args) => standing::reopen(context, &args).await,
        MoveCommand::Rejects(args) => rejects::run(context, &args).await,
        MoveCommand::Ids { command } => match command {
            MoveIdsCommand::Export { name, namespace, output, .. } => {
                ids::export(context, &name, &namespace, output.as_deref()).await
            }
            MoveIdsCommand::Show { name, namespace, key } => {
                ids::show(context, &name, &namespace, &key).await
            }
        },
    }
}

/// A move's mapping with both of its databases.
struct Opened {
    job: MoveJob,
    /// The target's name in `dunlin.toml`.
    target: String,
}

impl Opened {
    /// An error of one of its databases.
    fn error(&self, error: EngineError) -> CliError {
        engine_error(self.side(&error), error)
    }

    /// The same, where a run may have committed something before.
    fn broken_off(&self, error: EngineError) -> CliError {
        let database = self.side(&error).to_owned();
        CliError::Engine { database, error: Box::new(error), changed: true }
    }

    /// The database that an error is about: the source's errors say so.
    fn side(&self, error: &EngineError) -> &str {
        match error {
            EngineError::Target(error) if error.notes.iter().any(|note| note == SOURCE_NOTE) => {
                &self.job.mapping.source.value
            }
            _ => &self.target,
        }
    }
}

/// Does what reads many rows on one of the runtime's threads. The tasks of its connections run beside
/// it there, where the main thread would have to be woken for every few kilobytes that come.
async fn at_work<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is being shut down, and this with it.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Reads the mapping and finds its databases; nothing is connected yet.
fn open(
    context: &Context,
    name: &str,
    command: &str,
    observer: Arc<dyn Observer>,
) -> Result<Opened, CliError> {
    let mapping = read_mapping(&context.settings.root, name).map_err(CliError::Diagnostics)?;
    let from = database(context, &mapping, &mapping.source, "source")?;
    let target = database(context, &mapping, &mapping.target, "target")?;
    let job = context.job(target, command, observer)?;
    let name = target.name.clone();
    let job = MoveJob {
        job,
        source: source(context, from)?,
        target: connector(context, target)?,
        mapping,
        compiler: Arc::new(DataFusion::new()),
        secret: secret(context)?,
        dry_run: false,
        show_values: false,
        verify: true,
        finish: false,
        workers: WORKERS,
        rate: None,
        memory_bytes: MEMORY_BYTES,
    };
    Ok(Opened { job, target: name })
}

fn secret(context: &Context) -> Result<Option<[u8; 32]>, CliError> {
    match context.move_key.as_deref() {
        Some(text) if !text.is_empty() => match parse_secret(text) {
            Some(secret) => Ok(Some(secret)),
            None => Err(CliError::usage(
                format!("{KEY_VARIABLE} is not 64 hexadecimal digits"),
                "make one with: openssl rand -hex 32",
            )),
        },
        _ => Ok(None),
    }
}

fn database<'a>(
    context: &'a Context,
    mapping: &Mapping,
    wanted: &Placed<String>,
    what: &str,
) -> Result<&'a DatabaseSettings, CliError> {
    context.settings.database(&wanted.value).ok_or_else(|| {
        let names: Vec<&str> =
            context.settings.databases.iter().map(|database| database.name.as_str()).collect();
        let mut found = Diagnostic::error(
            "unknown-database",
            format!("the {what} is `{}`, which dunlin.toml does not have", wanted.value),
        );
        found.place = Some(Place::line(mapping.file.clone(), wanted.line));
        found.help = Some(format!(
            "it has: {}; a database is a section such as [databases.{}] with its url",
            names.join(", "),
            wanted.value
        ));
        CliError::Diagnostics(vec![found])
    })
}

/// What a move reads.
pub(in crate::commands) fn source(
    context: &Context,
    database: &DatabaseSettings,
) -> Result<Arc<dyn SourceConnector>, CliError> {
    source_connector(&options(context, database)?)
        .map_err(|error| engine_error(&database.name, error.into()))
}

/// The driver of what a move writes.
pub(in crate::commands) fn connector(
    context: &Context,
    database: &DatabaseSettings,
) -> Result<Arc<dyn MoveConnector>, CliError> {
    move_connector(&options(context, database)?)
        .map_err(|error| engine_error(&database.name, error.into()))
}

fn options(context: &Context, database: &DatabaseSettings) -> Result<ConnectOptions, CliError> {
    let url = database.url().map_err(|message| CliError::usage(message, "set it"))?;
    Ok(ConnectOptions {
        url: url.to_owned(),
        direct_url: database.direct_url.clone(),
        replica_urls: Vec::new(),
        root: context.settings.root.clone(),
        connect_timeout: database.connect_timeout,
    })
}
