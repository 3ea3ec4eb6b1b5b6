//! The end of a finished move: nothing of ours stays in the new database.

use dunlin_model::{Lease, LeaseHolder, Resource};

use super::look::never_ran;
use super::ports::{LedgerUse, MoveTarget};
use super::run::{Held, MoveJob, lease_of};
use super::state::{AREA, MoveState};
use crate::owner::is_known_dead;
use crate::report::EngineError;
use crate::{ErrorKind, Purpose, ReadRequest, TargetError};

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
    let view = ledger.read(&ReadRequest { ledger: true, foreign: None }).await?.ledger;
    let uses = LedgerUse { migrations: view.entries.len() as u64, leases: view.leases };
    let mut target = move_job.target.move_target().await?;
    nothing_else(name, uses, &target.moves().await?)?;
    is_finished(target.as_mut(), name).await
}

async fn is_finished(target: &mut dyn MoveTarget, name: &str) -> Result<bool, EngineError> {
    let stored = target.stored(name, AREA, 0, 1).await?;
    let state = stored.first().map(MoveState::read).transpose()?;
    Ok(state.is_some_and(|state| state.finished))
}

fn refused(message: String) -> TargetError {
    TargetError::new(ErrorKind::Refused, message)
}

fn nothing_else(name: &str, uses: LedgerUse, moves: &[String]) -> Result<(), EngineError> {
    if uses.migrations > 0 {
        let count = uses.migrations;
        return Err(refused(format!("the ledger records migrations, too ({count}): it must stay"))
            .help("without it they would all be pending again")
            .into());
    }
    let others: Vec<&str> = moves.iter().filter(|one| *one != name).map(String::as_str).collect();
    if !others.is_empty() {
        return Err(refused(format!(
            "the ledger is that of other moves, too: {}",
            others.join(", ")
        ))
        .help("finish them first; the last one takes the ledger with it")
        .into());
    }
    let own = Resource::Move(name.to_owned()).to_string();
    let is_at_work = |holder: &LeaseHolder| {
        holder.resource != own && holder.remaining_ms > 0 && !is_known_dead(&holder.owner)
    };
    match uses.leases.into_iter().find(is_at_work) {
        Some(holder) => Err(EngineError::LeaseHeld(holder)),
        None => Ok(()),
    }
}

/// Drops the ledger of a finished move with everything in it. `keep` is waited for once no other run can
/// come any more: what is to be kept of the ledger is taken from it there. `before` is called when
/// nothing is in the way and nobody else can write the ledger. Where one of them says no, nothing is
/// dropped, and the answer is `false`.
///
/// # Errors
/// As [`may_forget`]; it is not finished, or not any more; its lease is held; others have a transaction
/// open on the ledger.
pub async fn forget(
    move_job: &MoveJob,
    keep: impl AsyncFnOnce() -> bool,
    before: impl FnOnce() -> bool,
) -> Result<bool, EngineError> {
    let held = lease_of(&move_job.job, &move_job.mapping.name).await?;
    let done = if keep().await { forget_held(move_job, &held, before).await } else { Ok(false) };
    if !matches!(done, Ok(true)) {
        // Nobody gets at the lease while the ledger is held.
        held.release().await;
    }
    done
}

/// Whatever was kept is all that there is: had somebody else held the lease since, its fence would not
/// let this transaction begin.
async fn forget_held(
    move_job: &MoveJob,
    held: &Held,
    before: impl FnOnce() -> bool,
) -> Result<bool, EngineError> {
    let (job, name) = (&move_job.job, &move_job.mapping.name);
    crate::failpoint("move.forgets");
    let mut target = move_job.target.move_target().await?;
    held.let_expire();
    target.begin(&held.lease, job.limits.lock_timeout).await?;
    crate::failpoint("move.forgetting");
    let done = match may_drop(target.as_mut(), &held.lease, name).await {
        Ok(()) if before() => target.drop_ledger().await.map(|()| true).map_err(EngineError::from),
        Ok(()) => Ok(false),
        Err(error) => Err(error),
    };
    if !matches!(done, Ok(true)) {
        let _ = target.rollback().await;
    }
    done
}

/// What was seen before the lease, and without one, may be over: it is looked at again where nobody
/// can change it any more.
async fn may_drop(
    target: &mut dyn MoveTarget,
    lease: &Lease,
    name: &str,
) -> Result<(), EngineError> {
    let uses = target.hold_ledger(lease).await?;
    nothing_else(name, uses, &target.moves().await?)?;
    if is_finished(target, name).await? {
        return Ok(());
    }
    Err(refused(format!("the move {name} is not finished"))
        .help("somebody opened it again: dunlin move status tells why")
        .into())
}
