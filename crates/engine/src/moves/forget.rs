//! The end of a finished move: nothing of ours stays in the new database.

use dunlin_model::{LeaseHolder, Resource};

use super::look::never_ran;
use super::run::{MoveJob, release};
use super::state::{AREA, MoveState};
use crate::leases::acquire;
use crate::owner::is_known_dead;
use crate::report::EngineError;
use crate::{ErrorKind, Purpose, ReadRequest, Target, TargetError};

/// Whether a move's ledger may go: `Ok(true)` where the move is finished already, `Ok(false)` where
/// it is not yet. Looks only.
///
/// # Errors
/// The ledger has something else in it: migrations, other moves; somebody else is at work; it has
/// never run; the database's.
pub async fn may_forget(move_job: &MoveJob) -> Result<bool, EngineError> {
    let mut ledger = move_job.job.connect(Purpose::Look).await?;
    let name = &move_job.mapping.name;
    if !ledger.probe(&[]).await?.ledger {
        return Err(never_ran(name).into());
    }
    let mut target = move_job.target.move_target().await?;
    nothing_else(move_job, ledger.as_mut(), &target.moves().await?).await?;
    let stored = target.stored(name, AREA, 0, 1).await?;
    let state = stored.first().map(MoveState::read).transpose()?;
    Ok(state.is_some_and(|state| state.finished))
}

async fn nothing_else(
    move_job: &MoveJob,
    ledger: &mut dyn Target,
    moves: &[String],
) -> Result<(), EngineError> {
    let name = &move_job.mapping.name;
    let refused = |message: String, help: &str| {
        EngineError::Target(TargetError::new(ErrorKind::Refused, message).help(help))
    };
    let view = ledger.read(&ReadRequest { ledger: true, foreign: None }).await?.ledger;
    if !view.entries.is_empty() {
        return Err(refused(
            format!("the ledger records migrations, too ({}): it must stay", view.entries.len()),
            "without it they would all be pending again",
        ));
    }
    let others: Vec<&str> = moves.iter().filter(|one| *one != name).map(String::as_str).collect();
    if !others.is_empty() {
        return Err(refused(
            format!("the ledger is that of other moves, too: {}", others.join(", ")),
            "finish them first; the last one takes the ledger with it",
        ));
    }
    let own = Resource::Move(name.clone()).to_string();
    let is_at_work = |holder: &LeaseHolder| {
        holder.resource != own && holder.remaining_ms > 0 && !is_known_dead(&holder.owner)
    };
    match view.leases.into_iter().find(is_at_work) {
        Some(holder) => Err(EngineError::LeaseHeld(holder)),
        None => Ok(()),
    }
}

/// Drops the ledger of a finished move with everything in it.
///
/// # Errors
/// As [`may_forget`]; it is not finished; its lease is held.
pub async fn forget(move_job: &MoveJob) -> Result<(), EngineError> {
    let (job, name) = (&move_job.job, &move_job.mapping.name);
    if !may_forget(move_job).await? {
        let message = format!("the move {name} is not finished");
        return Err(TargetError::new(ErrorKind::Refused, message).into());
    }
    let mut ledger = job.connect(Purpose::Run).await?;
    let resource = Resource::Move(name.clone());
    let lease = acquire(job, ledger.as_mut(), &resource, job.limits.lease_wait).await?;
    let mut target = move_job.target.move_target().await?;
    let moves = target.moves().await?;
    let done = async {
        nothing_else(move_job, ledger.as_mut(), &moves).await?;
        target.begin(&lease, job.limits.lock_timeout).await?;
        crate::failpoint("move.forgetting");
        Ok::<(), EngineError>(target.drop_ledger().await?)
    }
    .await;
    if done.is_err() {
        release(ledger.as_mut(), &lease).await;
    }
    done
}
