//! Closing a gate: a data migration that was done is to be done again, or was undone.
//!
//! It happens under the lease on the schema and that on the data migration: a `migrate` that planned
//! with the gate open is done by then, or plans again before it sends anything.

use std::time::Duration;

use dunlin_model::{Diagnostic, Entry, Kind, Lease, LedgerView, MigrationId, Resource, StepState};

use crate::Target;
use crate::job::Job;
use crate::leases::acquire;
use crate::report::EngineError;
use crate::standing;

/// How long a person at the terminal waits for the lease before being told who has it.
const LEASE_WAIT: Duration = Duration::from_secs(10);

/// A schema migration that stopped in the middle may have sent what the gate was to keep back.
pub(crate) fn check_schema_at_rest(
    ledger: &LedgerView,
    id: MigrationId,
) -> Result<(), EngineError> {
    let half_way = ledger
        .steps
        .iter()
        .find(|step| step.id.kind == Kind::Schema && step.state != StepState::Failed);
    let Some(step) = half_way else { return Ok(()) };
    let message = format!("{} stopped half-way, and may count on {id} being done", step.id);
    Err(EngineError::Refused(vec![Diagnostic::error("half-way", message).help(
        "finish it first: `dunlin migrate`, or `dunlin rollback` where it was on its way down",
    )]))
}

/// Takes the lease on the schema where a data migration, whose own lease is ours, opens gates.
pub(crate) async fn hold_schema(
    job: &Job,
    target: &mut dyn Target,
    id: MigrationId,
) -> Result<Option<Lease>, EngineError> {
    // Its row changes under the lease that we have, so this stays true.
    let now = standing::read(job, target).await?;
    if !now.ledger.entries.get(&id).is_some_and(Entry::opens_gate) {
        return Ok(None);
    }
    let wait = job.limits.lease_wait.min(LEASE_WAIT);
    let schema = acquire(job, target, &Resource::Schema, wait).await?;
    let checked = match standing::read(job, target).await {
        Ok(now) => check_schema_at_rest(&now.ledger, id),
        Err(error) => Err(error),
    };
    match checked {
        Ok(()) => Ok(Some(schema)),
        Err(error) => {
            // Expiry covers a release that fails.
            let _ = target.release(&schema).await;
            Err(error)
        }
    }
}
