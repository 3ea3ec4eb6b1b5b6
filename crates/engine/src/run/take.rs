//! One step in its turn: the leases that it needs, and a look at what happened until they were ours.

use std::time::Duration;

use dunlin_model::{Action, Kind, Lease, PlannedStep, Resource};
use dunlin_project::plan::{Scope, comes_after};

use super::{Run, Turn};
use crate::leases::{Heartbeat, acquire};
use crate::report::EngineError;
use crate::standing::{self, Request, Standing};
use crate::{ErrorKind, Target, TargetError};

/// How long a data migration's lease is waited for: whoever only looks at it gives it back by then,
/// and whoever is at work on it may take days.
const DATA_LEASE_WAIT: Duration = Duration::from_secs(2);

impl Run<'_> {
    /// One step, under the lease that it needs.
    pub(super) async fn take_step(
        &mut self,
        target: &mut dyn Target,
        heartbeat: &Heartbeat,
        schema_lease: &mut Option<&mut Lease>,
        standing: &mut Standing,
        step: &PlannedStep,
        place: (usize, usize),
    ) -> Result<Turn, EngineError> {
        if step.migration.id.kind == Kind::Data {
            return self.take_data(target, heartbeat, standing, step, place).await;
        }
        let Some(lease) = schema_lease.as_deref_mut() else {
            let error = TargetError::new(ErrorKind::Bug, "a schema step without its lease");
            return Err(error.into());
        };
        if matches!(step.action, Action::Down { .. }) {
            return self.take_down(target, heartbeat, lease, standing, step, place).await;
        }
        self.execute(target, lease, standing, step, place).await
    }

    /// Undoes one, holding every data migration that comes after it: none of them may begin on what
    /// is being taken away, and those that have done anything become pending in the same commit.
    pub(super) async fn take_down(
        &mut self,
        target: &mut dyn Target,
        heartbeat: &Heartbeat,
        lease: &mut Lease,
        standing: &mut Standing,
        step: &PlannedStep,
        place: (usize, usize),
    ) -> Result<Turn, EngineError> {
        let after = comes_after(&self.planning.inputs(standing), step.migration.id)?;
        for id in after {
            let resource = Resource::Data(id.version);
            if lease.beside.iter().any(|held| held.resource == resource) {
                continue;
            }
            let wait = self.job.limits.lease_wait.min(DATA_LEASE_WAIT);
            let held = acquire(self.job, target, &resource, wait).await?;
            heartbeat.add(&held);
            lease.beside.push(held);
        }
        crate::failpoint("rollback.held");
        // Until each of them was ours, others may have run it, or begun to.
        let mut fresh = standing::read(self.job, target).await?;
        fresh.ledger.leases.retain(|holder| holder.owner.id != self.job.owner.id);
        if fresh.rows() != standing.rows() {
            return Ok(Turn::Again(Some(Box::new(fresh))));
        }
        *standing = fresh;
        self.execute(target, lease, standing, step, place).await
    }

    /// One step of a data migration, under its own lease.
    pub(super) async fn take_data(
        &mut self,
        target: &mut dyn Target,
        heartbeat: &Heartbeat,
        standing: &mut Standing,
        step: &PlannedStep,
        place: (usize, usize),
    ) -> Result<Turn, EngineError> {
        let id = step.migration.id;
        let resource = Resource::Data(id.version);
        // What comes later in the one order must not overtake it: who is at work on it is waited
        // for, as if the work were ours.
        let mut lease = acquire(self.job, target, &resource, self.job.limits.lease_wait).await?;
        // What we read may be from before somebody else had this lease; and without the lease on
        // the schema also from before it changed. Whoever records it as done, or undoes what it
        // stands on, holds it and is counted: where nothing is counted, nothing has happened.
        let alone = !matches!(self.request, Request::Forward(Scope::Data { .. }));
        if !alone || lease.commits > 0 || standing.ledger.entries.contains_key(&id) {
            let fresh = standing::read(self.job, target).await?;
            if fresh.rows() != standing.rows() {
                target.release(&lease).await?;
                return Ok(Turn::Again(Some(Box::new(fresh))));
            }
            *standing = fresh;
        }
        heartbeat.add(&lease);
        let turn = self.execute(target, &mut lease, standing, step, place).await;
        heartbeat.remove(&resource);
        if turn.is_ok() && !self.was_aborted() {
            // Expiry covers a release that fails.
            let _ = target.release(&lease).await;
        }
        turn
    }
}
