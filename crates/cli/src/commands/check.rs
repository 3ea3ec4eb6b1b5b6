//! `check`: exits with 3 if something is pending.

use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::model::{Kind, MigrationId, Version};
use serde_json::json;

use super::overview::{Overview, overview_of};
use crate::args::CheckArgs;
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render;

/// Looks at each database.
pub(crate) async fn run(context: &Context, args: &CheckArgs) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    let mut documents = Vec::new();
    for database in context.databases()? {
        let job = context.job(database, "check", Arc::new(Silent))?;
        let overview =
            overview_of(&job).await.map_err(|error| engine_error(&job.database, error))?;
        if let Some(version) = args.data {
            let done = is_done(&job.folder, &overview, version)?;
            if !done {
                exit = Exit::Pending;
                render::line(&format!("{}: data {version} is not done", job.database));
            }
            documents.push(json!({ "database": job.database, "data": version, "done": done }));
            continue;
        }
        if !overview.diagnostics.is_empty() {
            return Err(CliError::Diagnostics(overview.diagnostics));
        }
        if !overview.drifted.is_empty() {
            exit = Exit::Drift;
            for drift in &overview.drifted {
                super::status::difference(context, &job, drift).await?;
            }
        }
        let open: Vec<_> = pending(&overview, args.schema_only).collect();
        if !open.is_empty() && exit == Exit::Done {
            exit = Exit::Pending;
        }
        for row in &open {
            let title = render::migration(row.kind, row.version, &row.name);
            render::line(&format!("{}: {title} is {}", job.database, row.status.as_str()));
        }
        documents.push(json!({
            "database": job.database, "pending": open, "drift": overview.drifted,
        }));
    }
    if context.global.json {
        render::json(&json!({ "databases": documents, "exit_code": exit.code() }));
    }
    Ok(exit)
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
        Some(entry) => Ok(entry.opens_gate()),
        None if folder.files.contains_key(&id) => Ok(false),
        None => Err(CliError::usage(
            format!("there is no data migration {version}"),
            "`dunlin data status` lists what there is",
        )),
    }
}
