//! `data`: data migrations, one by one or all.

mod background;
mod control;
mod plan;
mod quarantine;
mod record;
mod rehearsal;
mod run;
mod status;
mod undo;
mod views;

use dunlin::engine::backfill;
use dunlin::engine::job::Job;
use dunlin::model::{BackfillRecord, MigrationId, Segment, Version, Wish};

use crate::args::{DataCommand, QuarantineCommand};
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};

/// Does what was typed after `data`.
pub(crate) async fn dispatch(context: &Context, command: DataCommand) -> Result<Exit, CliError> {
    match command {
        DataCommand::Run(args) => run::run(context, &args).await,
        DataCommand::Status(args) => status::run(context, &args).await,
        DataCommand::Plan(args) => plan::run(context, &args).await,
        DataCommand::Pause { version } => control::wish(context, version, Wish::Pause).await,
        DataCommand::Resume { version } => control::wish(context, version, Wish::Run).await,
        DataCommand::Cancel { version } => control::wish(context, version, Wish::Cancel).await,
        DataCommand::Set(args) => control::set(context, &args).await,
        DataCommand::Quarantine { command } => match command {
            QuarantineCommand::List { version } => quarantine::list(context, version).await,
            QuarantineCommand::Retry(args) => quarantine::retry(context, &args).await,
            QuarantineCommand::Discard(args) => quarantine::discard(context, &args).await,
        },
        DataCommand::Undo(args) => undo::run(context, &args).await,
        DataCommand::Skip(args) => record::skip(context, &args).await,
        DataCommand::Rerun { version, waiting } => run::rerun(context, version, &waiting).await,
        DataCommand::Retire { version, because } => record::retire(context, version, because).await,
    }
}

/// What the ledger has of one backfill; an error that says what there is instead.
async fn known(
    context: &Context,
    job: &Job,
    version: Version,
) -> Result<(BackfillRecord, Vec<Segment>), CliError> {
    let found = backfill::standing(job, Some(version))
        .await
        .map_err(|error| engine_error(&job.database, error))?;
    if let Some(known) = found.into_iter().next() {
        return Ok(known);
    }
    job.folder.ready().map_err(|error| engine_error(&job.database, error))?;
    let id = MigrationId::data(version);
    let command = |words: &str| context.again(&job.database, words);
    let Some(file) = job.folder.files.get(&id) else {
        return Err(CliError::usage(
            format!("{}: there is no data migration {version}", job.database),
            format!("`{}` lists those that there are", command("data status")),
        ));
    };
    let chunked =
        file.parse(job.connector.dialect()).is_ok_and(|migration| migration.chunking().is_some());
    let help = if chunked {
        format!("`{}` runs it", command(&format!("data run {version}")))
    } else {
        "it does not run in chunks: `-- dunlin: chunk-by TABLE` in its header, and `:chunk` in its \
         statements, would"
            .to_owned()
    };
    Err(CliError::NoSuch {
        message: format!("{}: {id} has never run in chunks here", job.database),
        help,
    })
}

/// The name of a data migration, as its file has it.
fn name_of(job: &Job, version: Version) -> String {
    if job.folder.ready().is_err() {
        return String::new();
    }
    job.folder.files.get(&MigrationId::data(version)).map_or_else(String::new, |f| f.name.clone())
}
