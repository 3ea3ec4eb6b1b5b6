//! Running a request's steps in transactions that are rolled back.

use dunlin_model::{Action, Mode, Plan, PlannedStep};

use crate::job::Job;
use crate::report::EngineError;
use crate::standing::{self, Planning, Request};
use crate::steps::Bench;
use crate::{ErrorKind, Purpose, Remedy, TargetError};

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
            (Some(target), Mode::OneTransaction, _) => target.rehearse(&bench.work(step)).await,
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

fn cannot_rehearse(why: &str) -> TargetError {
    TargetError::new(ErrorKind::Refused, why)
}
