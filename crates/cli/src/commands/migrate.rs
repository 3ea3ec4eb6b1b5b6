//! `migrate`: runs what is pending.

use std::sync::Arc;
use std::time::Instant;

use dunlin::engine::events::{Observer, Silent};
use dunlin::engine::job::Job;
use dunlin::engine::report::{Cause, EngineError, Report};
use dunlin::engine::run::run_into;
use dunlin::engine::standing::Request;
use dunlin::model::Version;
use dunlin::project::plan::Scope;
use dunlin::project::settings::DatabaseSettings;

use crate::answer::Answer;
use crate::args::MigrateArgs;
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render::progress::Progress;
use crate::render::{self, BOLD, styled};

/// Migrates each database in the order of the file; the first that fails ends it.
pub(crate) async fn run(context: &Context, args: &MigrateArgs) -> Result<Exit, CliError> {
    if args.dry_run {
        return super::plan::run(context, &args.scope).await;
    }
    let mut answer = Answer::new(context);
    for database in context.databases()? {
        match migrate(context, database, args, &mut answer).await {
            Ok(exit @ (Exit::Done | Exit::Pending)) => answer.end_with(exit),
            Ok(exit) => {
                answer.end_with(exit);
                break;
            }
            Err(error) => {
                answer.fail(&database.name, &error);
                break;
            }
        }
    }
    Ok(answer.finish())
}

async fn migrate(
    context: &Context,
    database: &DatabaseSettings,
    args: &MigrateArgs,
    answer: &mut Answer,
) -> Result<Exit, CliError> {
    let mut job = context.job(database, "migrate", observer(context))?;
    job.policy.with_data = args.scope.with_data;
    check_target(context, &job, args.scope.to)?;
    job.limits.lease_wait = args.waiting.lease_wait;
    let request =
        Request::Forward(Scope::Migrate { to: args.scope.to, step_count: args.scope.step });
    let report = execute(context, &job, &request, answer).await?;
    Ok(match exit_of(&report) {
        Exit::Done if args.fail_if_held && !report.held.is_empty() => Exit::Pending,
        exit => exit,
    })
}

/// `--to` names a version that there is. With several databases it may be in one of them only.
pub(crate) fn check_target(
    context: &Context,
    job: &Job,
    to: Option<Version>,
) -> Result<(), CliError> {
    let Some(to) = to else { return Ok(()) };
    let folder = job.folder.ready().map_err(|error| engine_error(&job.database, error))?;
    let known = folder.files.keys().any(|id| id.version == to);
    if known || context.databases()?.len() > 1 {
        return Ok(());
    }
    Err(CliError::usage(
        format!("there is no migration of version {to}"),
        "`dunlin status` lists the versions that there are",
    ))
}

/// What listens to a run.
pub(crate) fn observer(context: &Context) -> Arc<dyn Observer> {
    if context.global.json { Arc::new(Silent) } else { Arc::new(Progress::new(false)) }
}

/// Runs a request on one database and shows how it went.
pub(crate) async fn execute(
    context: &Context,
    job: &Job,
    request: &Request,
    answer: &mut Answer,
) -> Result<Report, CliError> {
    let began = Instant::now();
    let server = job.connector.describe();
    if !context.global.json {
        render::line(&styled(BOLD, &format!("{}: {server}", job.database)));
    }
    let mut report = Report::default();
    let outcome = run_into(job, request, &mut report).await;
    let changed = !report.finished.is_empty() || !report.failed.is_empty();
    if context.global.json {
        answer.add(render::report::to_json(&job.database, &server, &report));
    } else if outcome.is_ok() || changed {
        let command = |words: &str| context.again(&job.database, words);
        render::report::show(&report, began.elapsed(), &command);
    }
    match outcome {
        Ok(()) => Ok(report),
        Err(error) => Err(match explained(context, job, error).await {
            CliError::Engine { database, error, .. } => {
                CliError::Engine { database, error, changed }
            }
            other => other,
        }),
    }
}

/// An engine's error as the command's, drift with its differences shown first.
pub(crate) async fn explained(context: &Context, job: &Job, error: EngineError) -> CliError {
    if let EngineError::Drift(drifted) = &error {
        for drift in drifted {
            if let Err(other) = super::status::difference(context, job, drift).await {
                return other;
            }
        }
    }
    engine_error(&job.database, error)
}

/// The exit code that a report means: the worst of what failed.
pub(crate) fn exit_of(report: &Report) -> Exit {
    if report.interrupted {
        return Exit::Stopped;
    }
    let exits = report.failed.iter().map(|failure| match failure.cause {
        Cause::RowsRemain { .. } | Cause::NotProved { .. } => Exit::RowsRemain,
        Cause::Paused { .. } | Cause::Cancelled { .. } | Cause::Interrupted => Exit::Stopped,
        Cause::Target(_)
        | Cause::Program { .. }
        | Cause::Unknown { .. }
        | Cause::Refused { .. }
        | Cause::Chunk { .. } => Exit::Failed,
    });
    // Rows that remain want somebody; what a person stopped does not.
    let worst = |exit: &Exit| match exit {
        Exit::Failed => 2,
        Exit::RowsRemain => 1,
        _ => 0,
    };
    exits.max_by_key(worst).unwrap_or(Exit::Done)
}
