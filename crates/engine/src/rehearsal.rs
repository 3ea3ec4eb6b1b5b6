//! Running a request's steps in transactions that are rolled back.

use dunlin_model::{Action, Mode, Plan, PlannedStep};

use crate::job::Job;
use crate::proof;
use crate::report::EngineError;
use crate::standing::{self, Planning, Request};
use crate::steps::Bench;
use crate::{ErrorKind, Purpose, Remedy, Target, TargetError};

/// What rehearsing one step told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// The step.
    pub step: PlannedStep,
    /// Rows that each statement touched before all was rolled back; `Err`: it cannot be rehearsed,
    /// or failed, and why.
    pub outcome: Result<Vec<Option<u64>>, TargetError>,
}

/// Runs a request's steps in transactions that are rolled back, each by itself.
///
/// # Errors
/// As [`crate::run::run`], before it begins.
pub async fn rehearse(job: &Job, request: &Request) -> Result<(Plan, Vec<Rehearsed>), EngineError> {
    // By looking first: connecting to run makes a SQLite file that is not there yet.
    let standing = standing::look(job).await?;
    let plan = Planning::new(job).plan(&standing, request)?;
    let mut all = Vec::new();
    if plan.steps.is_empty() {
        return Ok((plan, all));
    }
    let mut target = match standing.there {
        true => Some(job.connect(Purpose::Run).await?),
        false => None,
    };
    let bench = Bench::new(job, &standing.ledger, "");
    for step in &plan.steps {
        let outcome = match (&mut target, step.mode, &step.action) {
            (_, _, Action::Skip { .. }) => Ok(Vec::new()),
            (Some(target), Mode::OneTransaction, _) => {
                rehearse_one(job, &bench, target.as_mut(), step).await
            }
            (None, Mode::OneTransaction, _) => {
                Err(cannot_rehearse("the database is not there yet"))
            }
            (_, Mode::Stepwise, _) => Err(cannot_rehearse(
                "its statements do not run in one transaction, so they can't be rolled back",
            )),
            (_, Mode::Program, _) => {
                Err(cannot_rehearse("what a program does can't be rolled back"))
            }
            (_, Mode::Chunked, _) => Err(cannot_rehearse(
                "it runs in chunks: `dunlin data plan VERSION --sample` tries a few",
            )),
        };
        let broken = outcome.as_ref().is_err_and(|e| e.kind.remedy() == Remedy::Reconnect);
        all.push(Rehearsed { step: step.clone(), outcome });
        if broken {
            break;
        }
    }
    Ok((plan, all))
}

/// Runs one step, with its proof where it has one, and rolls it back.
async fn rehearse_one(
    job: &Job,
    bench: &Bench<'_>,
    target: &mut dyn Target,
    step: &PlannedStep,
) -> Result<Vec<Option<u64>>, TargetError> {
    let mut work = bench.work(step);
    let directives = step.migration.directives();
    let (Action::Up, Some(query)) = (&step.action, directives.done_when.as_deref()) else {
        return target.rehearse(&work).await;
    };
    let dialect = job.connector.dialect();
    let count = work.statements.len();
    work.statements.push(proof::statement(dialect, query));
    match target.rehearse(&work).await {
        Ok(mut rows) => {
            rows.truncate(count);
            Ok(rows)
        }
        Err(error) if proof::is_refusal(dialect, &error, count) => {
            Err(TargetError::new(ErrorKind::Refused, "`done-when` does not hold once it has run"))
        }
        Err(error) if error.statement == Some(count) => Err(proof::of_proof(directives, error)),
        Err(error) => Err(error),
    }
}

fn cannot_rehearse(why: &str) -> TargetError {
    TargetError::new(ErrorKind::Refused, why)
}
