//! `data run --background`: a worker for the data migrations that no deploy waits for.
//!
//! With `--until-idle` it ends when nothing is left that it may run; without, it stays and looks
//! for more. A worker that stays outlives what fails: it tries again later, and less and less often.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dunlin::engine::job::{Job, Urgency};
use dunlin::engine::report::{EngineError, Report};
use dunlin::engine::run::preview;
use dunlin::engine::standing::Request;
use dunlin::engine::{Remedy, backfill};
use dunlin::model::{Kind, MigrationId, Plan, Version, Wish};
use dunlin::project::plan::Scope;
use dunlin::project::settings::DatabaseSettings;

use super::run::{job, new_answer};
use crate::answer::Answer;
use crate::args::DataRunArgs;
use crate::commands::migrate::{execute, exit_of};
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render::{self, FAINT, styled};

/// How often a worker without work looks for some.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often what fails is tried again at least.
const RETRY_MAX: Duration = Duration::from_secs(600);

/// Runs what is there, and ends or stays.
pub(super) async fn run(
    context: &Context,
    args: &DataRunArgs,
    databases: &[&DatabaseSettings],
) -> Result<Exit, CliError> {
    if args.until_idle {
        until_idle(context, args, databases).await
    } else {
        stay(context, args, databases).await
    }
}

fn scope(args: &DataRunArgs, versions: Vec<Version>) -> Request {
    Request::Forward(Scope::Data { versions, step_count: args.step, background_only: true })
}

fn background_job(
    context: &Context,
    args: &DataRunArgs,
    database: &DatabaseSettings,
) -> Result<Job, CliError> {
    let mut job = job(context, args, database)?;
    // Going on must not need a new start.
    job.limits.hold_paused = true;
    Ok(job)
}

async fn until_idle(
    context: &Context,
    args: &DataRunArgs,
    databases: &[&DatabaseSettings],
) -> Result<Exit, CliError> {
    let mut answer = new_answer(context, args);
    for database in databases {
        match drain(context, args, database, &mut answer).await {
            Ok(exit) => answer.end_with(exit),
            Err(error) => answer.fail(&database.name, &error),
        }
        if !matches!(answer.exit(), Exit::Done | Exit::Pending) {
            break;
        }
    }
    Ok(answer.finish())
}

/// Runs what one database has, until nothing is left.
async fn drain(
    context: &Context,
    args: &DataRunArgs,
    database: &DatabaseSettings,
    answer: &mut Answer,
) -> Result<Exit, CliError> {
    let job = background_job(context, args, database)?;
    let request = scope(args, args.versions.clone());
    let report = loop {
        match execute(context, &job, &request, answer).await {
            // Whoever is at work on it may need days; nothing is idle until then.
            Err(error) if is_held(&error) => answer.retract(),
            done => break done?,
        }
    };
    Ok(match exit_of(&report) {
        Exit::Done if holds_background(&job, &report)? => Exit::Pending,
        exit => exit,
    })
}

/// Somebody else is at work on it.
fn is_held(error: &CliError) -> bool {
    matches!(error, CliError::Engine { error, .. } if matches!(**error, EngineError::LeaseHeld(_)))
}

/// Whether something is left that is for the background and may not run yet.
fn holds_background(job: &Job, report: &Report) -> Result<bool, CliError> {
    for held in &report.held {
        if is_background(job, held.id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_background(job: &Job, id: MigrationId) -> Result<bool, CliError> {
    if id.kind != Kind::Data {
        return Ok(false);
    }
    job.folder.ready().map_err(|error| engine_error(&job.database, error))?;
    let Some(file) = job.folder.files.get(&id) else { return Ok(false) };
    let migration = file.parse(job.connector.dialect()).map_err(CliError::Diagnostics)?;
    Ok(migration.directives().background)
}

/// When what failed is tried again.
#[derive(Debug, Default)]
struct Retries(BTreeMap<Version, (Instant, Duration)>);

impl Retries {
    fn is_due(&self, version: Version, now: Instant) -> bool {
        self.0.get(&version).is_none_or(|(at, _)| *at <= now)
    }

    /// Takes in how a run ended.
    fn learn(&mut self, report: &Report, now: Instant) {
        for done in &report.finished {
            self.0.remove(&done.id.version);
        }
        for failed in &report.failed {
            let before = self.0.get(&failed.id.version).map(|(_, pause)| *pause);
            let pause = before.map_or(LOOK_EVERY, |pause| (pause * 2).min(RETRY_MAX));
            self.0.insert(failed.id.version, (now + pause, pause));
        }
    }
}

async fn stay(
    context: &Context,
    args: &DataRunArgs,
    databases: &[&DatabaseSettings],
) -> Result<Exit, CliError> {
    let mut retries: BTreeMap<String, Retries> = BTreeMap::new();
    let mut told_idle = false;
    loop {
        let mut worked = false;
        for database in databases {
            // Read anew each time: a worker that stays sees files that were added.
            let job = background_job(context, args, database)?;
            let retries = retries.entry(database.name.clone()).or_default();
            match turn(context, args, &job, retries).await {
                Ok(Some(Exit::Stopped)) if stopped(context) => return Ok(Exit::Stopped),
                Ok(done) => worked |= done.is_some(),
                Err(error) if passes(&error) => render::failure::tell(&error),
                Err(error) => return Err(error),
            }
        }
        if worked {
            told_idle = false;
            continue;
        }
        if !told_idle && !context.global.json {
            let every = render::duration(LOOK_EVERY);
            let text = format!("nothing to do; looks again every {every}, until Ctrl-C");
            render::line(&styled(FAINT, &text));
            told_idle = true;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = context.interrupt.reached(Urgency::Finish) => return Ok(Exit::Stopped),
        }
    }
}

fn stopped(context: &Context) -> bool {
    context.interrupt.urgency() >= Urgency::Finish
}

/// One look, and a run of what is due. `None`: nothing was.
async fn turn(
    context: &Context,
    args: &DataRunArgs,
    job: &Job,
    retries: &mut Retries,
) -> Result<Option<Exit>, CliError> {
    let failed = |error| engine_error(&job.database, error);
    let wanted = scope(args, args.versions.clone());
    let (_, plan) = preview(job, &wanted).await.map_err(failed)?;
    let cancelled = cancelled(job, &plan).await.map_err(failed)?;
    let now = Instant::now();
    let due: Vec<Version> = plan
        .steps
        .iter()
        .map(|step| step.migration.id.version)
        .filter(|version| !cancelled.contains(version) && retries.is_due(*version, now))
        .collect();
    if due.is_empty() {
        return Ok(None);
    }
    let mut answer = Answer::new(context).on_a_line();
    let report = match execute(context, job, &scope(args, due), &mut answer).await {
        Ok(report) => report,
        // Another worker has it: that is as good as nothing to do.
        Err(error) if is_held(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    retries.learn(&report, Instant::now());
    answer.end_with(exit_of(&report));
    Ok(Some(answer.finish()))
}

/// What a person gave up is passed over until it is resumed.
async fn cancelled(job: &Job, plan: &Plan) -> Result<Vec<Version>, EngineError> {
    if plan.steps.is_empty() {
        return Ok(Vec::new());
    }
    let known = backfill::standing(job, None).await?;
    let given_up = known.into_iter().filter(|(record, _)| record.intent.wish == Wish::Cancel);
    Ok(given_up.map(|(record, _)| record.id.version).collect())
}

/// Whether an error may be over by the next look: a server that restarts, a network.
fn passes(error: &CliError) -> bool {
    let CliError::Engine { error, .. } = error else { return false };
    matches!(error.as_ref(), EngineError::Target(error)
        if error.kind.remedy() == Remedy::Reconnect)
}
