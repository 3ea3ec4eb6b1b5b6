//! `wait`: until the database answers, and, if asked, until nothing is pending.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dunlin::engine::Purpose;
use dunlin::engine::events::Silent;
use dunlin::engine::job::{Job, Urgency};
use dunlin::engine::report::EngineError;
use serde_json::json;

use super::check::pending;
use super::overview::overview_of;
use crate::args::WaitArgs;
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render;

/// How often a database is asked again.
const POLL: Duration = Duration::from_millis(500);

/// What one look told.
enum Seen {
    Ready,
    /// It answers, but this is pending.
    Pending(String),
    /// It does not answer, and says this.
    Silent(String),
    /// A person ended the waiting.
    Stopped,
}

/// Waits for every database.
pub(crate) async fn run(context: &Context, args: &WaitArgs) -> Result<Exit, CliError> {
    let deadline = Instant::now() + args.timeout;
    let mut exit = Exit::Done;
    let mut documents = Vec::new();
    for database in context.databases()? {
        let job = context.job(database, "wait", Arc::new(Silent))?;
        let seen = wait_for(&job, args, deadline).await;
        if matches!(seen, Seen::Stopped) {
            return Err(engine_error(&job.database, EngineError::Interrupted));
        }
        let (one, why) = match seen {
            Seen::Ready | Seen::Stopped => (Exit::Done, None),
            Seen::Pending(why) => (Exit::Pending, Some(why)),
            Seen::Silent(why) => (Exit::Failed, Some(why)),
        };
        if let Some(why) = &why {
            render::line(&format!(
                "{}: gave up after {}: {why}",
                job.database,
                render::duration(args.timeout)
            ));
        }
        if one != Exit::Done && exit != Exit::Failed {
            exit = one;
        }
        documents.push(json!({
            "database": job.database, "ready": one == Exit::Done, "why": why,
        }));
    }
    if context.global.json {
        render::json(&json!({ "databases": documents, "exit_code": exit.code() }));
    }
    Ok(exit)
}

async fn wait_for(job: &Job, args: &WaitArgs, deadline: Instant) -> Seen {
    let mut told = String::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let looked = tokio::time::timeout(left.max(POLL), look(job, args)).await;
        let seen = looked.unwrap_or_else(|_| Seen::Silent("it did not answer in time".to_owned()));
        let why = match &seen {
            Seen::Ready | Seen::Stopped => return seen,
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
            () = job.interrupt.reached(Urgency::Finish) => return Seen::Stopped,
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
            Seen::Pending("applied migrations were edited: see `dunlin status`".to_owned())
        }
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
        Err(error) => Seen::Pending(error.to_string()),
    }
}
