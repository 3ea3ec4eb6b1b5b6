//! Changes to the ledger's own records, by a person: skip, rerun, retire, accept, baseline, settle.

mod desk;

use std::time::Duration;

use desk::{Desk, refuse};
use dunlin_model::{
    BackfillRecord, Entry, EntryWrite, Kind, Lease, MigrationId, Resource, StepRecord, StepState,
    Version,
};

use crate::backfill;
use crate::closing::check_schema_at_rest;
use crate::job::Job;
use crate::leases::{Heartbeat, acquire};
use crate::report::EngineError;
use crate::standing::{self, Standing};
use crate::{ErrorKind, Purpose, RunRecord, Target, TargetError, Work};

/// What a person wants the ledger to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amendment {
    /// A pending data migration will not run here. Opens no gate.
    Skip {
        /// Which.
        version: Version,
        /// Why.
        because: String,
    },
    /// A data migration is to run once more, as its next pass.
    Rerun {
        /// Which.
        version: Version,
    },
    /// A data migration will never run again anywhere.
    Retire {
        /// Which.
        version: Version,
        /// Why; needed where it is still pending here.
        because: Option<String>,
    },
    /// A drifted file's new text is what was meant.
    Accept {
        /// Schema and data migrations of this version that have drifted.
        version: Version,
        /// Why.
        because: String,
    },
    /// Everything up to a version is already there.
    Baseline {
        /// The version.
        to: Version,
    },
    /// A person has found out what became of a step whose outcome could not be known.
    Settle {
        /// Whose.
        version: Version,
        /// Whether the open step took effect.
        took_effect: bool,
    },
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Amended {
    /// The rows that changed, in order.
    pub changed: Vec<(MigrationId, String)>,
    /// The open step that was settled.
    pub settled: Option<StepRecord>,
}

/// What a change consists of.
#[derive(Default)]
struct Change {
    writes: Vec<EntryWrite>,
    settle: Option<(StepRecord, StepState, Box<Work>)>,
    /// Data migrations that must not begin meanwhile, whether or not their rows change.
    held: Vec<MigrationId>,
    /// The lease on the schema fences it, whatever it writes.
    under_schema: bool,
}

impl Change {
    /// What nobody else may be at work on meanwhile. All of them fence the writes.
    fn resources(&self) -> Vec<Resource> {
        let ids = self.writes.iter().map(|write| write.id);
        let ids = ids.chain(self.settle.iter().map(|(step, ..)| step.id));
        let ids = ids.chain(self.held.iter().copied());
        let mut all = if self.under_schema { vec![Resource::Schema] } else { Vec::new() };
        for id in ids {
            let resource = match id.kind {
                Kind::Schema => Resource::Schema,
                Kind::Data => Resource::Data(id.version),
            };
            if !all.contains(&resource) {
                all.push(resource);
            }
        }
        all
    }
}

/// Makes a change, under the lease that it needs.
///
/// # Errors
/// The change does not fit what the ledger says; the lease is held; the database.
pub async fn amend(job: &Job, amendment: &Amendment) -> Result<Amended, EngineError> {
    // By looking first: connecting to run makes a SQLite file that is not there yet, and this may
    // be refused.
    let standing = standing::look(job).await?;
    let first = change(job, &standing, amendment, "")?;
    if let Amendment::Rerun { version } = amendment {
        let known = backfill::standing(job, Some(*version)).await?;
        check_undo(known.first().map(|(record, _)| record))?;
    }
    if first.writes.is_empty() && first.settle.is_none() {
        return Ok(Amended::default());
    }
    if let Some(reason) = &standing.server.read_only {
        return Err(TargetError::new(ErrorKind::ReadOnly, reason.clone()).into());
    }
    let mut target = job.connect(Purpose::Run).await?;
    let target = target.as_mut();
    if !standing.ledger.exists() {
        target.create_ledger(&uuid::Uuid::new_v4().to_string()).await?;
    }
    // A person waits at the terminal: a lease that is held is told soon, not after ten minutes.
    let wait = job.limits.lease_wait.min(Duration::from_secs(10));
    let heartbeat = Heartbeat::start(job);
    let mut held: Option<Lease> = None;
    let mut outcome = Ok(());
    for resource in first.resources() {
        // Further ones are data migrations: whoever is at work on one may take days.
        let wait = if held.is_none() { wait } else { Duration::ZERO };
        match acquire(job, target, &resource, wait).await {
            Ok(lease) => {
                heartbeat.add(&lease);
                match &mut held {
                    Some(first) => first.beside.push(lease),
                    None => held = Some(lease),
                }
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    let amended = match (outcome, &mut held) {
        (Ok(()), Some(lease)) => apply(job, target, lease, amendment).await,
        (Ok(()), None) => Ok(Amended::default()),
        (Err(error), _) => Err(error),
    };
    drop(heartbeat);
    let mut released = Ok(());
    for lease in held.iter().flat_map(Lease::each) {
        released = released.and(target.release(lease).await);
    }
    let amended = amended?;
    released?;
    Ok(amended)
}

/// What [`amend`] would change, for showing it first.
///
/// # Errors
/// As [`amend`], before it writes.
pub async fn preview_amendment(
    job: &Job,
    amendment: &Amendment,
) -> Result<Vec<MigrationId>, EngineError> {
    let standing = standing::look(job).await?;
    let change = change(job, &standing, amendment, "")?;
    Ok(change.writes.iter().map(|write| write.id).collect())
}

async fn apply(
    job: &Job,
    target: &mut dyn Target,
    lease: &mut Lease,
    amendment: &Amendment,
) -> Result<Amended, EngineError> {
    let run = RunRecord {
        id: uuid::Uuid::new_v4().to_string(),
        owner: job.owner.clone(),
        command: job.command.clone(),
        program: job.program.clone(),
        passed_over: Vec::new(),
    };
    // Again, now that nobody else can change it.
    crate::failpoint("amend.held");
    let mut standing = standing::read(job, target).await?;
    standing.ledger.leases.retain(|holder| holder.owner.id != job.owner.id);
    let change = change(job, &standing, amendment, &run.id)?;
    let is_held = |resource: &Resource| lease.each().any(|held| held.resource == *resource);
    if !change.resources().iter().all(is_held) {
        return Err(refuse(
            "changed-meanwhile",
            "somebody else changed what this is about meanwhile".to_owned(),
            "look at `dunlin status`, then ask again",
        ));
    }
    if let Amendment::Rerun { version } = amendment {
        let known = target.backfills(Some(&Resource::Data(*version))).await?;
        check_undo(known.first().map(|(record, _)| record))?;
    }
    target.begin_run(&run).await?;
    if !change.writes.is_empty() {
        target.record(lease, &change.writes).await?;
    }
    let mut settled = None;
    if let Some((step, state, work)) = change.settle {
        target.close_step(lease, &work, step.ordinal, state).await?;
        settled = Some(step);
    }
    target.finish_run(&run.id, "done").await?;
    let changed = change.writes.into_iter().map(|write| (write.id, write.name)).collect();
    Ok(Amended { changed, settled })
}

fn change(
    job: &Job,
    standing: &Standing,
    amendment: &Amendment,
    run: &str,
) -> Result<Change, EngineError> {
    let desk = Desk { job, standing, run };
    let mut change = match amendment {
        Amendment::Skip { version, because } => desk.skip(*version, because),
        Amendment::Rerun { version } => desk.rerun(*version),
        Amendment::Retire { version, because } => desk.retire(*version, because.as_deref()),
        Amendment::Accept { version, because } => desk.accept(*version, because),
        Amendment::Baseline { to } => desk.baseline(*to),
        Amendment::Settle { version, took_effect } => desk.settle(*version, *took_effect),
    }?;
    let closes = |write: &&EntryWrite| {
        !write.opens_gate() && desk.entry(write.id).is_some_and(Entry::opens_gate)
    };
    if let Some(write) = change.writes.iter().find(closes) {
        check_schema_at_rest(&standing.ledger, write.id)?;
        change.under_schema = true;
    }
    Ok(change)
}

/// A migration whose undo is half-way runs again only once that is done: until then a new pass would
/// be refused, and the undo would belong to a pass that is over.
fn check_undo(record: Option<&BackfillRecord>) -> Result<(), EngineError> {
    match record.filter(|record| record.is_half_undone()) {
        Some(record) => Err(backfill::half_undone(record.id.version).into()),
        None => Ok(()),
    }
}
