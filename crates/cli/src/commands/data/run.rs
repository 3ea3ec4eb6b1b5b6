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
use crate::answer::Answer;
use crate::args::{DataRunArgs, Waiting};
use crate::commands::migrate::{execute, exit_of, observer};
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
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
    let mut answer = new_answer(context, args);
    for database in databases {
        match run_one(context, database, args, &request, &mut answer).await {
            Ok(exit) => answer.end_with(exit),
            Err(error) => answer.fail(&database.name, &error),
        }
        let stop = if args.dry_run { Exit::Stopped } else { answer.exit() };
        if answer.exit() != Exit::Done && answer.exit() == stop {
            break;
        }
    }
    Ok(answer.finish())
}

/// With `--watch` the last document comes among other lines, and is one itself.
pub(super) fn new_answer(context: &Context, args: &DataRunArgs) -> Answer {
    let answer = Answer::new(context);
    if args.watch { answer.on_a_line() } else { answer }
}

async fn run_one(
    context: &Context,
    database: &DatabaseSettings,
    args: &DataRunArgs,
    request: &Request,
    answer: &mut Answer,
) -> Result<Exit, CliError> {
    let job = job(context, args, database)?;
    if args.dry_run {
        let (document, well) = dry_run(context, &job, request).await?;
        answer.add(document);
        return Ok(if well { Exit::Done } else { Exit::Failed });
    }
    let report = execute(context, &job, request, answer).await?;
    let held = report
        .held
        .iter()
        .any(|held| held.id.kind == Kind::Data && args.versions.contains(&held.id.version));
    Ok(match exit_of(&report) {
        Exit::Done if held => Exit::Pending,
        exit => exit,
    })
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
    job.limits.workers_asked = args.workers;
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
