//! `wait`: until the database answers, and, if asked, until nothing is pending.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dunlin::engine::Purpose;
use dunlin::engine::events::Silent;
use dunlin::engine::job::{Job, Urgency};
use dunlin::engine::report::EngineError;
use dunlin::model::Diagnostic;
use dunlin::project::settings::DatabaseSettings;
use serde_json::json;

use super::check::pending;
use super::migrate::explained;
use super::overview::overview_of;
use crate::answer::Answer;
use crate::args::WaitArgs;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;

/// How often a database is asked again.
const POLL: Duration = Duration::from_millis(500);

/// What is refused only until somebody else has done something to the database: finished a
/// rollback, or made the other tool's history.
const PASSING: [&str; 2] = ["half-way-down", "schema-history"];

/// What one look told.
enum Seen {
    Ready,
    /// It answers, but this is pending.
    Pending(String),
    /// It does not answer, and says this.
    Silent(String),
    /// Waiting won't help: files that no run would take, a URL that is none.
    Refused(EngineError),
}

/// Waits for every database.
pub(crate) async fn run(context: &Context, args: &WaitArgs) -> Result<Exit, CliError> {
    let mut deadline = Instant::now() + args.timeout;
    let mut answer = Answer::new(context);
    for database in context.databases()? {
        if let Err(error) = wait_for_one(context, database, args, deadline, &mut answer).await {
            answer.fail(&database.name, &error);
            // It can't end well any more: of the others is told only how they are now.
            deadline = Instant::now();
        }
        if answer.exit() == Exit::Stopped {
            break;
        }
    }
    Ok(answer.finish())
}

async fn wait_for_one(
    context: &Context,
    database: &DatabaseSettings,
    args: &WaitArgs,
    deadline: Instant,
    answer: &mut Answer,
) -> Result<(), CliError> {
    let job = context.job(database, "wait", Arc::new(Silent))?;
    let (exit, why, error) = match wait_for(&job, args, deadline).await {
        Seen::Ready => (Exit::Done, None, None),
        Seen::Pending(why) => (Exit::Pending, Some(why), None),
        Seen::Silent(why) => (Exit::Failed, Some(why), None),
        Seen::Refused(error) => (Exit::Failed, Some(error.to_string()), Some(error)),
    };
    answer.add(json!({ "database": job.database, "ready": why.is_none(), "why": why }));
    match (error, why) {
        (Some(error), _) => Err(explained(context, &job, error).await),
        (None, Some(why)) => {
            let waited = render::duration(args.timeout);
            render::line(&format!("{}: gave up after {waited}: {why}", job.database));
            answer.end_with(exit);
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

async fn wait_for(job: &Job, args: &WaitArgs, deadline: Instant) -> Seen {
    let mut told = String::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let seen = tokio::select! {
            looked = tokio::time::timeout(left.max(POLL), look(job, args)) => looked
                .unwrap_or_else(|_| Seen::Silent("it did not answer in time".to_owned())),
            () = job.interrupt.reached(Urgency::Finish) => {
                return Seen::Refused(EngineError::Interrupted);
            }
        };
        let why = match &seen {
            Seen::Ready | Seen::Refused(_) => return seen,
            Seen::Pending(why) | Seen::Silent(why) => why,
        };
        if *why != told {
            render::line(&format!("{}: waiting: {why}", job.database));
            told.clone_from(why);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return seen;
        }
        tokio::select! {
            () = tokio::time::sleep(POLL.min(left)) => {}
            () = job.interrupt.reached(Urgency::Finish) => {
                return Seen::Refused(EngineError::Interrupted);
            }
        }
    }
}

async fn look(job: &Job, args: &WaitArgs) -> Seen {
    if !args.migrated {
        return match job.connector.connect(Purpose::Look).await {
            Ok(_) => Seen::Ready,
            Err(error) => Seen::Silent(error.to_string()),
        };
    }
    match overview_of(job).await {
        Ok(overview) if !overview.drifted.is_empty() => {
            Seen::Refused(EngineError::Drift(overview.drifted))
        }
        Ok(overview) if !overview.diagnostics.is_empty() => refused(overview.diagnostics),
        Ok(overview) => {
            let open: Vec<String> = pending(&overview, args.schema_only)
                .map(|row| format!("{} {}", row.kind, row.version))
                .collect();
            match open.as_slice() {
                [] => Seen::Ready,
                [one] => Seen::Pending(format!("{one} is pending")),
                [first, ..] => Seen::Pending(format!("{} are pending, first {first}", open.len())),
            }
        }
        Err(EngineError::Target(error)) => Seen::Silent(error.to_string()),
        Err(EngineError::Refused(diagnostics)) => refused(diagnostics),
        Err(error) => Seen::Refused(error),
    }
}

/// Files don't change while we wait; what is wrong with the database may be somebody's work under
/// way.
fn refused(diagnostics: Vec<Diagnostic>) -> Seen {
    let passes = |one: &Diagnostic| PASSING.contains(&one.rule);
    let error = EngineError::Refused(diagnostics);
    match &error {
        EngineError::Refused(found) if found.iter().all(passes) => Seen::Pending(error.to_string()),
        _ => Seen::Refused(error),
    }
}
