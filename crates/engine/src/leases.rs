//! Taking, keeping and giving back leases.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dunlin_model::{Lease, LeaseHolder, Resource};
use tokio::task::JoinHandle;

use crate::events::Event;
use crate::job::{Job, Urgency};
use crate::owner::is_known_dead;
use crate::report::EngineError;
use crate::{Claim, Purpose, Target, TargetError};

/// How often a waiting runner asks again: often enough that a deploy does not notice, rarely
/// enough that a hundred waiting replicas are no load. Never a blocking lock: the holder may be
/// building an index concurrently, which waits for every transaction that waits for it.
const POLL: Duration = Duration::from_millis(250);

/// How often waiting is told again.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// Claims a lease, waiting for its holder up to `wait`. A holder on this machine that is known to
/// be dead is not waited for.
///
/// # Errors
/// [`EngineError::LeaseHeld`] when the time is over; the database's; an interrupt.
pub(crate) async fn acquire(
    job: &Job,
    target: &mut dyn Target,
    resource: &Resource,
    wait: Duration,
) -> Result<Lease, EngineError> {
    let began = Instant::now();
    let mut told: Option<Instant> = None;
    let mut displace: Option<LeaseHolder> = None;
    crate::failpoint("lease.claiming");
    loop {
        let dead = displace.as_ref().map(|holder| holder.owner.id.as_str());
        let claim = target.claim(resource, &job.owner, job.limits.lease_ttl, dead).await?;
        let holder = match claim {
            Claim::Granted(lease) => {
                if let Some(holder) = &displace {
                    job.observer.event(Event::TookOver { holder });
                }
                return Ok(lease);
            }
            Claim::Held(holder) => holder,
        };
        if is_known_dead(&holder.owner)
            && displace.as_ref().is_none_or(|before| before.owner.id != holder.owner.id)
        {
            displace = Some(holder);
            continue;
        }
        displace = None;
        let waited = began.elapsed();
        if waited >= wait {
            return Err(EngineError::LeaseHeld(holder));
        }
        if told.is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
            told = Some(Instant::now());
            job.observer.event(Event::WaitingForLease { holder: &holder, waited });
        }
        let jitter = Duration::from_millis(fastrand::u64(0..100));
        tokio::select! {
            () = tokio::time::sleep((POLL + jitter).min(wait - waited)) => {}
            () = job.interrupt.reached(Urgency::Finish) => return Err(EngineError::Interrupted),
        }
    }
}

/// Keeps leases alive beside a run, on a connection of its own that is opened only once a run has
/// taken a third of a lease's length. Dropped, it stops.
pub(crate) struct Heartbeat {
    leases: Arc<Mutex<Vec<Lease>>>,
    task: JoinHandle<()>,
}

impl Heartbeat {
    /// Begins, with nothing to keep.
    pub(crate) fn start(job: &Job) -> Self {
        let leases = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(beat(job.clone(), Arc::clone(&leases)));
        Self { leases, task }
    }

    /// Keeps this one too.
    pub(crate) fn add(&self, lease: &Lease) {
        self.with(|leases| leases.push(lease.clone()));
    }

    /// Stops keeping the lease on a resource.
    pub(crate) fn remove(&self, resource: &Resource) {
        self.with(|leases| leases.retain(|lease| lease.resource != *resource));
    }

    fn with(&self, change: impl FnOnce(&mut Vec<Lease>)) {
        change(&mut self.leases.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn beat(job: Job, leases: Arc<Mutex<Vec<Lease>>>) {
    let ttl = job.limits.lease_ttl;
    let mut target: Option<Box<dyn Target>> = None;
    loop {
        tokio::time::sleep(ttl / 4).await;
        let kept = leases.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if kept.is_empty() {
            continue;
        }
        // A heartbeat that fails is tried again at the next beat. A lease that is lost shows
        // itself at the run's next commit, which is fenced; nothing is to be done here.
        if let Err(error) = keep_all(&job, &mut target, &kept, ttl).await
            && error.kind.remedy() == crate::Remedy::Reconnect
        {
            target = None;
        }
    }
}

async fn keep_all(
    job: &Job,
    target: &mut Option<Box<dyn Target>>,
    leases: &[Lease],
    ttl: Duration,
) -> Result<(), TargetError> {
    let connection = match target {
        Some(connection) => connection,
        None => target.insert(job.connector.connect(Purpose::Lease).await?),
    };
    for lease in leases {
        connection.keep(lease, ttl).await?;
    }
    Ok(())
}
