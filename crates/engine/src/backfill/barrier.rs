//! Waiting for what was under way when a backfill began.

use std::time::{Duration, Instant};

use dunlin_model::PlannedStep;

use super::Halt;
use crate::events::{BackfillNews, Event};
use crate::job::{Job, Urgency};
use crate::report::Cause;
use crate::{Barrier, ErrorKind, Target, TargetError};

/// How often waiting for older transactions is told again.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// Waits until everything that was under way at a barrier has ended.
pub(crate) async fn wait_behind(
    job: &Job,
    target: &mut dyn Target,
    step: &PlannedStep,
    barrier: &Barrier,
) -> Result<(), Halt> {
    let began = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        let who = target.behind(barrier).await?;
        if who.is_empty() {
            return Ok(());
        }
        if began.elapsed() > job.limits.barrier_wait {
            let mut error = TargetError::new(
                ErrorKind::Refused,
                "transactions that began before still hold rows that can't be seen",
            )
            .help("end them, or wait for them, and run it again");
            error.notes = who;
            return Err(Cause::Target(error).into());
        }
        if began.elapsed() > Duration::from_secs(1)
            && told.is_none_or(|at| at.elapsed() >= TELL_AGAIN)
        {
            told = Some(Instant::now());
            let id = step.migration.id;
            let news = BackfillNews::WaitingFor { who: &who };
            job.observer.event(Event::Backfill { id, news });
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
            () = job.interrupt.reached(Urgency::Finish) => {
                return Err(Cause::Interrupted.into());
            }
        }
    }
}
