//! `rollback` and `redo`.

use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::run::preview;
use dunlin::engine::standing::Request;
use dunlin::model::{MigrationId, Version};
use dunlin::project::plan::{RollbackScope, Scope};
use dunlin::project::settings::DatabaseSettings;
use serde_json::json;

use super::migrate::{execute, exit_of, explained, observer};
use crate::answer::Answer;
use crate::args::{RollbackArgs, YesArgs};
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;

/// Shows what would be undone, asks, and undoes it.
pub(crate) async fn run(context: &Context, args: &RollbackArgs) -> Result<Exit, CliError> {
    let scope = match (args.to, args.through, args.step) {
        (Some(version), _, _) => RollbackScope::To(version),
        (_, Some(version), _) => RollbackScope::Through(version),
        (_, _, count) => RollbackScope::Steps(count.unwrap_or(1)),
    };
    let database = context.only_database("rollback")?;
    let mut answer = Answer::new(context);
    let way = Way { scope, yes: &args.yes, dry_run: args.dry_run, name: "rollback" };
    match undo(context, database, &way, &mut answer).await {
        Ok((exit, _)) => answer.end_with(exit),
        Err(error) => answer.fail(&database.name, &error),
    }
    Ok(answer.finish())
}

/// Undoes the last schema migration and runs it again.
pub(crate) async fn redo(context: &Context, args: &YesArgs) -> Result<Exit, CliError> {
    let database = context.only_database("redo")?;
    let mut answer = Answer::new(context);
    match again(context, database, args, &mut answer).await {
        Ok(exit) => answer.end_with(exit),
        Err(error) => answer.fail(&database.name, &error),
    }
    Ok(answer.finish())
}

async fn again(
    context: &Context,
    database: &DatabaseSettings,
    yes: &YesArgs,
    answer: &mut Answer,
) -> Result<Exit, CliError> {
    let way = Way { scope: RollbackScope::Steps(1), yes, dry_run: false, name: "redo" };
    let (exit, last) = undo(context, database, &way, answer).await?;
    let Some(last) = last.filter(|_| exit == Exit::Done) else { return Ok(exit) };
    let job = context.job(database, "redo", observer(context))?;
    let request = Request::Forward(Scope::Migrate { to: Some(last), step_count: None });
    let report = execute(context, &job, &request, answer).await;
    answer.join_last();
    let report = report?;
    // One that is neither finished nor left was redone by somebody else, or before the connection
    // broke.
    let id = MigrationId::schema(last);
    let held = report.held.iter().any(|one| one.id == id);
    let left = held || report.deferred.iter().any(|one| one.id == id);
    Ok(match exit_of(&report) {
        Exit::Done if left => {
            render::line(&format!("{}: schema {last} is undone and not redone", job.database));
            Exit::Pending
        }
        exit => exit,
    })
}

/// How a command goes back.
struct Way<'a> {
    scope: RollbackScope,
    yes: &'a YesArgs,
    dry_run: bool,
    name: &'a str,
}

/// Shows, asks, undoes; and says which one came last.
async fn undo(
    context: &Context,
    database: &DatabaseSettings,
    way: &Way<'_>,
    answer: &mut Answer,
) -> Result<(Exit, Option<Version>), CliError> {
    let looking = context.job(database, way.name, Arc::new(Silent))?;
    let request = Request::Back(way.scope.clone());
    let (_, plan) = match preview(&looking, &request).await {
        Ok(previewed) => previewed,
        Err(error) => return Err(explained(context, &looking, error).await),
    };
    let shown: Vec<MigrationId> = plan.steps.iter().map(|step| step.migration.id).collect();
    let last = shown.last().map(|id| id.version);
    let title = format!("{}: {}", looking.database, looking.connector.describe());
    let command = |words: &str| context.again(&looking.database, words);
    if way.dry_run && context.global.json {
        answer.add(json!({ "database": looking.database, "plan": plan }));
        return Ok((Exit::Done, None));
    }
    if plan.steps.is_empty() {
        render::line(&format!("{title}: nothing is applied that could be undone"));
        return Ok((Exit::Done, None));
    }
    if !context.global.json {
        render::plan::show(&title, &plan, &command);
    }
    if way.dry_run {
        return Ok((Exit::Done, None));
    }
    confirm(way.yes, "Undo this?", "it undoes what is shown above")?;
    let job = context.job(database, way.name, observer(context))?;
    // What was shown, and nothing else, whatever happened since.
    let request = Request::Back(RollbackScope::Exactly(shown.clone()));
    let report = execute(context, &job, &request, answer).await?;
    let exit = exit_of(&report);
    if exit == Exit::Done && !context.global.json {
        for id in shown.iter().filter(|id| !report.finished.iter().any(|one| one.id == **id)) {
            render::line(&format!(
                "{}: {id} was undone already, by somebody else or before the connection broke",
                job.database
            ));
        }
    }
    Ok((exit, last))
}

/// Asks on a terminal; elsewhere `--yes` must have been given.
pub(crate) fn confirm(yes: &YesArgs, question: &str, why: &str) -> Result<(), CliError> {
    if yes.yes {
        return Ok(());
    }
    if !render::can_ask() {
        return Err(CliError::usage(
            format!("this needs --yes where nobody can be asked: {why}"),
            "add --yes if that is what you want",
        ));
    }
    if render::ask(question) {
        Ok(())
    } else {
        Err(CliError::Usage { message: "nothing was changed".to_owned(), help: None })
    }
}
