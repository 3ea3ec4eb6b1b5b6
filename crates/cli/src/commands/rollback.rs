//! `rollback` and `redo`.

use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::run::preview;
use dunlin::engine::standing::Request;
use dunlin::model::MigrationId;
use dunlin::project::plan::{RollbackScope, Scope};
use serde_json::json;

use super::migrate::{execute, exit_of, explained, finish, observer};
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
    let (exit, documents, _) = undo(context, scope, &args.yes, args.dry_run, "rollback").await?;
    finish(context, documents, exit)
}

/// Undoes the last schema migration and runs it again.
pub(crate) async fn redo(context: &Context, args: &YesArgs) -> Result<Exit, CliError> {
    let (exit, mut documents, last) =
        undo(context, RollbackScope::Steps(1), args, false, "redo").await?;
    let Some(last) = last.filter(|_| exit == Exit::Done) else {
        return finish(context, documents, exit);
    };
    let database = context.only_database("redo")?;
    let job = context.job(database, "redo", observer(context))?;
    let request = Request::Forward(Scope::Migrate { to: Some(last), step_count: None });
    let report = execute(context, &job, &request, &mut documents).await?;
    let again = report.finished.iter().any(|one| one.id == MigrationId::schema(last));
    let exit = match exit_of(&report) {
        Exit::Done if !again => {
            render::line(&format!("{}: schema {last} is undone and not redone", job.database));
            Exit::Pending
        }
        exit => exit,
    };
    finish(context, documents, exit)
}

type Undone = (Exit, Vec<serde_json::Value>, Option<dunlin::model::Version>);

async fn undo(
    context: &Context,
    scope: RollbackScope,
    yes: &YesArgs,
    dry_run: bool,
    name: &str,
) -> Result<Undone, CliError> {
    let database = context.only_database(name)?;
    let looking = context.job(database, name, Arc::new(Silent))?;
    let request = Request::Back(scope);
    let (_, plan) = match preview(&looking, &request).await {
        Ok(previewed) => previewed,
        Err(error) => return Err(explained(context, &looking, error).await?),
    };
    let last = plan.steps.last().map(|step| step.migration.id.version);
    let title = format!("{}: {}", looking.database, looking.connector.describe());
    let command = |words: &str| context.again(&looking.database, words);
    if dry_run && context.global.json {
        let document = json!({ "database": looking.database, "plan": plan });
        return Ok((Exit::Done, vec![document], None));
    }
    if plan.steps.is_empty() {
        render::line(&format!("{title}: nothing is applied that could be undone"));
        return Ok((Exit::Done, Vec::new(), None));
    }
    if !context.global.json {
        render::plan::show(&title, &plan, &command);
    }
    if dry_run {
        return Ok((Exit::Done, Vec::new(), None));
    }
    confirm(yes, "Undo this?", "it undoes what is shown above")?;
    let job = context.job(database, name, observer(context))?;
    let mut documents = Vec::new();
    let report = execute(context, &job, &request, &mut documents).await?;
    Ok((exit_of(&report), documents, last))
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
