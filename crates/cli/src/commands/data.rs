//! `data`: data migrations, one by one or all.

use dunlin::engine::amend::{Amendment, amend};
use dunlin::engine::run::rehearse;
use dunlin::engine::standing::Request;
use dunlin::model::{MigrationId, Mode, Version};
use dunlin::project::folder::retired_toml_with;
use dunlin::project::plan::Scope;
use serde_json::json;

use super::amend::tell;
use super::migrate::{execute, exit_of, finish, observer};
use crate::args::{BecauseArgs, DataRunArgs, Waiting};
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render::{self, BAD, BOLD, FAINT, count, migration, styled};

/// Runs pending data migrations, or those that were named.
pub(crate) async fn run(context: &Context, args: &DataRunArgs) -> Result<Exit, CliError> {
    let scope = Scope::Data {
        versions: args.versions.clone(),
        step_count: args.step,
        background_only: false,
    };
    let databases = if args.versions.is_empty() {
        context.databases()?
    } else {
        vec![context.only_database("data run VERSION")?]
    };
    let request = Request::Forward(scope);
    let mut documents = Vec::new();
    let mut rehearsed = Exit::Done;
    for database in databases {
        let mut job = context.job(database, "data run", observer(context))?;
        job.limits.lease_wait = args.waiting.lease_wait;
        // Asked for by name or by this very command: the environment's mode has had its say.
        job.policy.with_data = true;
        if args.dry_run {
            let (document, well) = dry_run(context, &job, &request).await?;
            documents.push(document);
            if !well {
                rehearsed = Exit::Failed;
            }
            continue;
        }
        let report = execute(context, &job, &request, &mut documents).await?;
        let exit = exit_of(&report);
        if exit != Exit::Done {
            return finish(context, documents, exit);
        }
        let held = report.held.iter().any(|held| {
            held.id.kind == dunlin::model::Kind::Data && args.versions.contains(&held.id.version)
        });
        if held {
            return finish(context, documents, Exit::Pending);
        }
    }
    finish(context, documents, rehearsed)
}

/// Says whether all that can be rehearsed went well.
async fn dry_run(
    context: &Context,
    job: &dunlin::engine::job::Job,
    request: &Request,
) -> Result<(serde_json::Value, bool), CliError> {
    let (plan, rehearsed) =
        rehearse(job, request).await.map_err(|error| engine_error(&job.database, error))?;
    let mut steps = Vec::new();
    if !context.global.json {
        render::line(&styled(
            BOLD,
            &format!("{}: each in a transaction that is rolled back", job.database),
        ));
    }
    for one in &rehearsed {
        let id = one.step.migration.id;
        let name = &one.step.migration.name;
        let rows = one.outcome.as_ref().ok();
        let error = one.outcome.as_ref().err();
        steps.push(json!({
            "kind": id.kind, "version": id.version, "name": name,
            "rows": rows, "error": error.map(ToString::to_string),
        }));
        if context.global.json {
            continue;
        }
        render::data(&format!("  {}", migration(id.kind, id.version, name)));
        for (index, statement) in one.step.statements().iter().enumerate() {
            let touched = match rows.and_then(|rows| rows.get(index)).copied().flatten() {
                Some(number) => count(number as usize, "row"),
                None => String::new(),
            };
            render::data(&format!("    {touched:>10}  {}", styled(FAINT, &statement.summary(80))));
        }
        if let Some(error) = error {
            render::data(&format!("    {} {error}", styled(BAD, "failed:")));
        }
    }
    if !context.global.json {
        let command = |words: &str| context.again(&job.database, words);
        render::report::held(&plan.held, &command);
        if rehearsed.is_empty() {
            render::data("  nothing would run");
        }
    }
    // What can't be rolled back was not tried, so it did not fail.
    let mut tried = rehearsed.iter().filter(|one| one.step.mode == Mode::OneTransaction);
    let well = tried.all(|one| one.outcome.is_ok());
    Ok((json!({ "database": job.database, "rehearsed": steps, "held": plan.held }), well))
}

/// Records that a data migration will not run here.
pub(crate) async fn skip(context: &Context, args: &BecauseArgs) -> Result<Exit, CliError> {
    let because = args.because.clone();
    tell(context, "data skip", &Amendment::Skip { version: args.version, because }).await
}

/// Makes a data migration pending as its next pass, and runs it.
pub(crate) async fn rerun(
    context: &Context,
    version: Version,
    waiting: &Waiting,
) -> Result<Exit, CliError> {
    let database = context.only_database("data rerun")?;
    let job = context.job(database, "data rerun", observer(context))?;
    amend(&job, &Amendment::Rerun { version })
        .await
        .map_err(|error| engine_error(&job.database, error))?;
    let args = DataRunArgs {
        versions: vec![version],
        step: None,
        dry_run: false,
        waiting: waiting.clone(),
    };
    run(context, &args).await
}

/// Records that a data migration will never run again, in the ledger and in `retired.toml`.
pub(crate) async fn retire(
    context: &Context,
    version: Version,
    because: Option<String>,
) -> Result<Exit, CliError> {
    let database = context.only_database("data retire")?;
    let job = context.job(database, "data retire", observer(context))?;
    let Some(folder) = &database.data_migrations else {
        return Err(CliError::usage(
            format!("database `{}` has no folder of data migrations", database.name),
            "set data_migrations in dunlin.toml, or give --data-migrations",
        ));
    };
    let file = folder.join("retired.toml");
    let existing = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(CliError::file("read", &file, &error)),
    };
    let amendment = Amendment::Retire { version, because: because.clone() };
    let amended =
        amend(&job, &amendment).await.map_err(|error| engine_error(&job.database, error))?;
    let name = amended
        .changed
        .iter()
        .find(|(id, _)| *id == MigrationId::data(version))
        .map(|(_, name)| name.clone())
        .unwrap_or_default();
    let text = retired_toml_with(&existing, version, &name, because.as_deref())
        .map_err(|error| CliError::Diagnostics(vec![*error]))?;
    if text != existing {
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&file, text))
            .map_err(|error| CliError::file("write", &file, &error))?;
    }
    if context.global.json {
        render::json(&json!({ "database": job.database, "retired": version, "exit_code": 0 }));
    } else {
        render::line(&format!("{}: data {version} {name} is retired", job.database));
        render::line(&format!(
            "commit {}: it tells every other database; the migration's file can go now",
            file.display()
        ));
    }
    Ok(Exit::Done)
}
