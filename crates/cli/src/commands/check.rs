//! `check`: exits with 3 if something is pending.

use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::report::EngineError;
use dunlin::model::{Kind, MigrationId, Version};
use dunlin::project::settings::DatabaseSettings;
use serde_json::json;

use super::overview::{Overview, overview_of};
use crate::answer::Answer;
use crate::args::CheckArgs;
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render;

/// Looks at each database.
pub(crate) async fn run(context: &Context, args: &CheckArgs) -> Result<Exit, CliError> {
    let mut answer = Answer::new(context);
    for database in context.databases()? {
        if let Err(error) = look(context, database, args, &mut answer).await {
            answer.fail(&database.name, &error);
        }
        if answer.exit() == Exit::Stopped {
            break;
        }
    }
    Ok(answer.finish())
}

async fn look(
    context: &Context,
    database: &DatabaseSettings,
    args: &CheckArgs,
    answer: &mut Answer,
) -> Result<(), CliError> {
    let job = context.job(database, "check", Arc::new(Silent))?;
    let overview = overview_of(&job).await.map_err(|error| engine_error(&job.database, error))?;
    if let Some(version) = args.data {
        let done = is_done(&job.folder, &overview, version)?;
        if !done {
            answer.end_with(Exit::Pending);
            render::line(&format!("{}: data {version} is not done", job.database));
        }
        answer.add(json!({ "database": job.database, "data": version, "done": done }));
        return Ok(());
    }
    if !overview.diagnostics.is_empty() {
        return Err(engine_error(&job.database, EngineError::Refused(overview.diagnostics)));
    }
    let open: Vec<_> = pending(&overview, args.schema_only).collect();
    answer.add(json!({
        "database": job.database, "pending": open, "drift": overview.drifted,
    }));
    for drift in &overview.drifted {
        answer.end_with(Exit::Drift);
        super::status::difference(context, &job, drift).await?;
    }
    for row in &open {
        answer.end_with(Exit::Pending);
        let title = render::migration(row.kind, row.version, &row.name);
        render::line(&format!("{}: {title} is {}", job.database, row.status.as_str()));
    }
    Ok(())
}

/// What still has to run.
pub(crate) fn pending(
    overview: &Overview,
    schema_only: bool,
) -> impl Iterator<Item = &dunlin::project::plan::Row> {
    overview.open().filter(move |row| !schema_only || row.kind == Kind::Schema)
}

fn is_done(
    folder: &dunlin::project::folder::Folder,
    overview: &Overview,
    version: Version,
) -> Result<bool, CliError> {
    let id = MigrationId::data(version);
    let entry = overview.standing.ledger.entries.get(&id);
    if folder.retired.contains_key(&version) {
        return Ok(true);
    }
    match entry {
        // What another environment skipped is still to be done in this one.
        Some(entry) => {
            let open = overview.open().any(|row| row.kind == id.kind && row.version == version);
            Ok(entry.opens_gate() && !open)
        }
        None if folder.files.contains_key(&id) => Ok(false),
        None => Err(CliError::usage(
            format!("there is no data migration {version}"),
            "`dunlin data status` lists what there is",
        )),
    }
}
