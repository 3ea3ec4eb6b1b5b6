//! `data run` and `data rerun`.

use std::sync::Arc;

use dunlin::engine::amend::{Amendment, amend};
use dunlin::engine::events::Observer;
use dunlin::engine::job::Job;
use dunlin::engine::standing::Request;
use dunlin::model::{Kind, Version};
use dunlin::project::plan::Scope;
use dunlin::project::settings::DatabaseSettings;

use super::background;
use super::rehearsal::dry_run;
use crate::args::{DataRunArgs, Waiting};
use crate::commands::migrate::{execute, exit_of, finish, observer};
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render;
use crate::render::progress::{Objects, Progress};

/// Runs pending data migrations, or those that were named.
pub(super) async fn run(context: &Context, args: &DataRunArgs) -> Result<Exit, CliError> {
    let databases = if args.versions.is_empty() {
        context.databases()?
    } else {
        vec![context.only_database("data run VERSION")?]
    };
    if args.background {
        return background::run(context, args, &databases).await;
    }
    let request = Request::Forward(Scope::Data {
        versions: args.versions.clone(),
        step_count: args.step,
        background_only: false,
    });
    let mut documents = Vec::new();
    let mut rehearsed = Exit::Done;
    for database in databases {
        let job = job(context, args, database)?;
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
            return close(context, args, documents, exit);
        }
        let held = report
            .held
            .iter()
            .any(|held| held.id.kind == Kind::Data && args.versions.contains(&held.id.version));
        if held {
            return close(context, args, documents, Exit::Pending);
        }
    }
    close(context, args, documents, rehearsed)
}

/// The last document; among other lines it is one itself.
pub(super) fn close(
    context: &Context,
    args: &DataRunArgs,
    documents: Vec<serde_json::Value>,
    exit: Exit,
) -> Result<Exit, CliError> {
    if context.global.json && args.watch {
        render::json_line(&serde_json::json!({ "databases": documents, "exit_code": exit.code() }));
        return Ok(exit);
    }
    finish(context, documents, exit)
}

/// A run on a database as the options have it.
pub(super) fn job(
    context: &Context,
    args: &DataRunArgs,
    database: &DatabaseSettings,
) -> Result<Job, CliError> {
    let observer: Arc<dyn Observer> = match (context.global.json, args.watch) {
        (true, true) => Arc::new(Objects::default()),
        (true, false) => observer(context),
        (false, watch) => Arc::new(Progress::new(watch)),
    };
    let mut job = context.job(database, "data run", observer)?;
    job.limits.lease_wait = args.waiting.lease_wait;
    if let Some(workers) = args.workers {
        job.limits.workers = workers;
    }
    if args.no_throttle {
        job.limits.mind_health = false;
    }
    // Asked for by name or by this very command: the environment's mode has had its say.
    job.policy.with_data = true;
    Ok(job)
}

/// Makes a data migration pending as its next pass, and runs it.
pub(super) async fn rerun(
    context: &Context,
    version: Version,
    waiting: &Waiting,
) -> Result<Exit, CliError> {
    let database = context.only_database("data rerun")?;
    let job = context.job(database, "data rerun", observer(context))?;
    amend(&job, &Amendment::Rerun { version })
        .await
        .map_err(|error| engine_error(&job.database, error))?;
    let args =
        DataRunArgs { versions: vec![version], waiting: waiting.clone(), ..DataRunArgs::default() };
    run(context, &args).await
}
