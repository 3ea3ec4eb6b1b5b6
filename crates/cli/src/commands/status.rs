//! `status`: where each database stands.

use std::path::Path;
use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::job::Job;
use dunlin::engine::standing::recorded_text;
use dunlin::project::plan::Drift;
use dunlin::project::settings::DatabaseSettings;
use serde_json::json;

use super::overview::{Overview, overview_of};
use crate::answer::Answer;
use crate::context::{Context, engine_error, target_error};
use crate::exit::{CliError, Exit};
use crate::render::{self, BOLD, FAINT, styled};

/// Shows each database.
pub(crate) async fn run(context: &Context) -> Result<Exit, CliError> {
    let mut answer = Answer::new(context);
    for database in context.databases()? {
        if let Err(error) = look(context, database, &mut answer).await {
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
    answer: &mut Answer,
) -> Result<(), CliError> {
    let job = context.job(database, "status", Arc::new(Silent))?;
    let overview = overview_of(&job).await.map_err(|error| engine_error(&job.database, error))?;
    judge(&overview, answer);
    if context.global.json {
        answer.add(to_json(&job, &overview));
        return Ok(());
    }
    show(context, &job, &overview).await
}

/// The exit code that an overview means.
pub(crate) fn judge(overview: &Overview, answer: &mut Answer) {
    if !overview.drifted.is_empty() {
        answer.end_with(Exit::Drift);
    }
    if !overview.diagnostics.is_empty() {
        answer.end_with(Exit::Usage);
    }
}

/// A database for programs.
pub(crate) fn to_json(job: &Job, overview: &Overview) -> serde_json::Value {
    json!({
        "database": job.database,
        "server": overview.standing.server.product,
        "ledger": overview.standing.ledger.exists(),
        "migrations": overview.rows,
        "schema_history": overview.standing.foreign,
        "drift": overview.drifted,
        "diagnostics": overview.diagnostics,
        "leases": overview.standing.ledger.leases,
    })
}

/// A database for people.
pub(crate) async fn show(
    context: &Context,
    job: &Job,
    overview: &Overview,
) -> Result<(), CliError> {
    let server = &overview.standing.server;
    let title = format!("{}: {}, {}", job.database, server.product, server.database);
    render::data(&styled(BOLD, &title));
    if !overview.standing.ledger.exists() {
        render::data(&styled(FAINT, "  no ledger yet: nothing was ever run here by dunlin"));
    }
    if let Some(foreign) = &overview.standing.foreign {
        render::status::foreign(foreign);
    }
    let command = |words: &str| context.again(&job.database, words);
    render::status::table(&overview.rows, &command);
    for holder in &overview.standing.ledger.leases {
        if holder.remaining_ms > 0 {
            render::data(&format!(
                "  {} (process {}) is at work on {}",
                holder.owner.host, holder.owner.pid, holder.resource
            ));
        }
    }
    for drift in &overview.drifted {
        difference(context, job, drift).await?;
    }
    render::failure::diagnostics(&overview.diagnostics);
    Ok(())
}

/// Shows how a file differs from what was applied.
pub(crate) async fn difference(
    context: &Context,
    job: &Job,
    drift: &Drift,
) -> Result<(), CliError> {
    let recorded = recorded_text(job, drift.id)
        .await
        .map_err(|error| target_error(&job.database, error))?
        .unwrap_or_default();
    let path = context.settings.root.join(&drift.file);
    let now = read_lossy(&path)?;
    render::line("");
    render::line(&format!("{} was edited after it was applied:", drift.file.display()));
    let diff = similar::TextDiff::from_lines(&recorded, &now);
    let mut unified = diff.unified_diff();
    unified.context_radius(2).header("applied", "file");
    for text in unified.to_string().lines() {
        let style = match text.as_bytes().first() {
            Some(b'+') => render::GOOD,
            Some(b'-') => render::BAD,
            _ => render::FAINT,
        };
        render::line(&format!("  {}", styled(style, text)));
    }
    let command = context.again(&job.database, &format!("accept {}", drift.id.version));
    render::line(&format!("  restore it, or take the new text: {command} --because \"…\""));
    Ok(())
}

fn read_lossy(path: &Path) -> Result<String, CliError> {
    let bytes = std::fs::read(path).map_err(|error| CliError::file("read", path, &error))?;
    Ok(String::from_utf8_lossy(&dunlin::model::normalized(&bytes)).into_owned())
}
