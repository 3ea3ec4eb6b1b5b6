//! `data status`: data migrations, and how far those in chunks are; with `--watch` again and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dunlin::engine::Remedy;
use dunlin::engine::events::Silent;
use dunlin::engine::job::{Job, Urgency};
use dunlin::engine::report::EngineError;
use dunlin::model::{BackfillState, Kind, Version};
use serde_json::{Value, json};

use super::views;
use crate::answer::Answer;
use crate::args::DataStatusArgs;
use crate::commands::overview::overview_of;
use crate::commands::status;
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::interrupt::only_looking;
use crate::render::backfill::{View, block, line, to_json};
use crate::render::{self, FAINT, live, styled};

/// How often a watcher reads.
const READ_EVERY: Duration = Duration::from_secs(1);

/// How often it has a line for a log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How long a watched database may give no answer.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// Shows each database once, or goes on showing.
pub(super) async fn run(context: &Context, args: &DataStatusArgs) -> Result<Exit, CliError> {
    let mut jobs = Vec::new();
    for database in context.databases()? {
        jobs.push(context.job(database, "data status", Arc::new(Silent))?);
    }
    if let Some(version) = args.version {
        check_version(context, &jobs, version).await?;
    }
    if args.watch {
        return watch(context, &jobs, args.version).await;
    }
    let mut answer = Answer::new(context);
    for job in &jobs {
        if let Err(error) = look(context, job, args.version, &mut answer).await {
            answer.fail(&job.database, &error);
        }
        if answer.exit() == Exit::Stopped {
            break;
        }
    }
    Ok(answer.finish())
}

async fn look(
    context: &Context,
    job: &Job,
    of: Option<Version>,
    answer: &mut Answer,
) -> Result<(), CliError> {
    let failed = |error| engine_error(&job.database, error);
    let mut overview = overview_of(job).await.map_err(failed)?;
    let wanted = |kind, version| kind == Kind::Data && of.is_none_or(|only| only == version);
    overview.rows.retain(|row| wanted(row.kind, row.version));
    overview.drifted.retain(|drift| wanted(drift.id.kind, drift.id.version));
    status::judge(&overview, answer);
    let views = if overview.standing.ledger.exists() {
        views::read(job, of).await.map_err(failed)?
    } else {
        Vec::new()
    };
    if context.global.json {
        let mut document = status::to_json(job, &overview);
        document["backfills"] = views.iter().map(to_json).collect();
        answer.add(document);
        return Ok(());
    }
    status::show(context, job, &overview).await?;
    let command = |words: &str| context.again(&job.database, words);
    for view in views.iter().filter(|view| is_worth_lines(view, of)) {
        for line in block(view, &command) {
            render::data(&line);
        }
    }
    Ok(())
}

/// What is over is a row of the table, and more only where it was asked for.
fn is_worth_lines(view: &View, of: Option<Version>) -> bool {
    of.is_some() || !matches!(view.record.state, BackfillState::Done | BackfillState::Undone)
}

/// A version that was named must be there, in a file or in the ledger.
async fn check_version(context: &Context, jobs: &[Job], version: Version) -> Result<(), CliError> {
    for job in jobs {
        let overview =
            overview_of(job).await.map_err(|error| engine_error(&job.database, error))?;
        if overview.rows.iter().any(|row| row.kind == Kind::Data && row.version == version) {
            return Ok(());
        }
    }
    let database = jobs.first().map_or("", |job| job.database.as_str());
    Err(CliError::usage(
        format!("there is no data migration {version}"),
        format!("`{}` lists those that there are", context.again(database, "data status")),
    ))
}

/// Reads again every second. On a terminal until Ctrl-C; elsewhere, where nobody can press it, until
/// nobody is at work any more.
async fn watch(context: &Context, jobs: &[Job], of: Option<Version>) -> Result<Exit, CliError> {
    only_looking();
    let terminal = !context.global.json && render::data_is_watched();
    let mut told = Told::default();
    let mut answered = Instant::now();
    loop {
        let read = tokio::select! {
            read = read_all(jobs, of) => read,
            () = context.interrupt.reached(Urgency::Finish) => break,
        };
        let mut views = match read {
            Ok(views) => views,
            // Busy, or restarting: who watches wants to see how it goes on.
            Err(error) if passes(&error) && answered.elapsed() < SILENT_MAX => {
                tokio::select! {
                    () = tokio::time::sleep(READ_EVERY) => continue,
                    () = context.interrupt.reached(Urgency::Finish) => break,
                }
            }
            Err(error) => return Err(error),
        };
        answered = Instant::now();
        views.retain(|(_, view)| is_worth_lines(view, of) || told.knows(view));
        let at_work = views.iter().any(|(_, view)| view.is_at_work());
        if context.global.json {
            render::json_line(&document(jobs, &views));
        } else if terminal {
            live::data(&table(context, &views));
        } else {
            told.tell(&views, !at_work);
        }
        if !terminal && !at_work {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(READ_EVERY) => {}
            () = context.interrupt.reached(Urgency::Finish) => break,
        }
    }
    live::leave();
    if terminal {
        // The last line that was drawn has no end yet.
        render::data("");
    }
    Ok(Exit::Done)
}

async fn read_all(jobs: &[Job], of: Option<Version>) -> Result<Vec<(&str, View)>, CliError> {
    let mut views = Vec::new();
    for job in jobs {
        let read =
            views::read(job, of).await.map_err(|error| engine_error(&job.database, error))?;
        views.extend(read.into_iter().map(|view| (job.database.as_str(), view)));
    }
    Ok(views)
}

fn passes(error: &CliError) -> bool {
    let CliError::Engine { error, .. } = error else { return false };
    matches!(error.as_ref(), EngineError::Target(error)
        if matches!(error.kind.remedy(), Remedy::Reconnect | Remedy::RetryTransaction))
}

fn table(context: &Context, views: &[(&str, View)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (database, view) in views {
        lines.extend(block(view, &|words| context.again(database, words)));
    }
    if lines.is_empty() {
        lines.push(styled(FAINT, "  no data migration in chunks is under way"));
    }
    lines
}

fn document(jobs: &[Job], views: &[(&str, View)]) -> Value {
    let of = |database: &str| -> Value {
        views.iter().filter(|(at, _)| *at == database).map(|(_, view)| to_json(view)).collect()
    };
    let databases: Vec<Value> = jobs
        .iter()
        .map(|job| json!({ "database": job.database, "backfills": of(&job.database) }))
        .collect();
    json!({ "databases": databases, "exit_code": 0 })
}

/// What a log was told.
#[derive(Default)]
struct Told {
    at: Option<Instant>,
    /// State and wish of each, so that a change is told at once.
    stands: Vec<String>,
    /// Versions that were under way once: their end is told too.
    met: Vec<Version>,
}

impl Told {
    fn knows(&mut self, view: &View) -> bool {
        let version = view.record.id.version;
        let met = self.met.contains(&version);
        if view.is_at_work() && !met {
            self.met.push(version);
        }
        met
    }

    fn tell(&mut self, views: &[(&str, View)], last: bool) {
        for (_, view) in views {
            self.knows(view);
        }
        let stands: Vec<String> = views
            .iter()
            .map(|(at, view)| format!("{at} {} {}", view.title(), view.state()))
            .collect();
        let due = self.at.is_none_or(|at| at.elapsed() >= LOG_EVERY);
        if !(due || last || stands != self.stands) {
            return;
        }
        for (database, view) in views {
            render::data(&format!("{database}: {}: {}", view.title(), line(view)));
        }
        if views.is_empty() {
            render::data("no data migration in chunks is under way");
        }
        self.at = Some(Instant::now());
        self.stands = stands;
    }
}
