//! The port, on a connection that works in threads of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dunlin_engine::{
    Claim, ErrorKind, Probe, Purpose, ReadAnswer, ReadRequest, RunRecord, ServerFacts, Settled,
    Stopper, Target, TargetError, Work, failpoint,
};
use dunlin_model::{
    EntryWrite, Lease, LedgerView, MigrationId, Owner, Resource, StepRecord, StepState,
};

use crate::address::DatabaseFile;
use crate::control::{Control, SqliteStopper};
use crate::ledger::{self, Attempt};
use crate::session::Session;
use crate::step::{self, Step};
use crate::work;
use crate::worker::Worker;

/// How long extending a lease waits for another writer. That one is most often our own commit,
/// which extends the lease itself; and whoever wants to take the lease over has to wait as well.
pub(crate) const KEEP_WAIT: Duration = Duration::from_millis(250);

/// How long the leases of this process are, for commits to extend them.
#[derive(Debug, Default)]
pub(crate) struct LeaseLength(AtomicU64);

impl LeaseLength {
    fn set(&self, ttl: Duration) {
        let micros = u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX);
        self.0.store(micros, Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// One connection to an SQLite file.
pub(crate) struct SqliteTarget {
    pub(crate) file: Arc<DatabaseFile>,
    pub(crate) length: Arc<LeaseLength>,
    worker: Worker<Session>,
}

impl SqliteTarget {
    pub(crate) fn new(file: Arc<DatabaseFile>, purpose: Purpose, length: Arc<LeaseLength>) -> Self {
        let control = Arc::new(Control::default());
        let session = Session::new(Arc::clone(&file), Arc::clone(&control), purpose);
        Self { file, length, worker: Worker::new(control, session) }
    }

    pub(crate) async fn check(&mut self) -> Result<(), TargetError> {
        self.call(Session::check).await
    }

    /// Runs a job in a thread that may block: see [`Worker::call`].
    pub(crate) async fn call<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut Session) -> Result<T, TargetError> + Send + 'static,
    ) -> Result<T, TargetError> {
        self.worker
            .call(move |session| {
                let answer = job(session);
                session.rest();
                answer
            })
            .await
    }

    fn facts(file: &DatabaseFile, read_only: Option<String>) -> ServerFacts {
        ServerFacts {
            product: format!("SQLite {}", rusqlite::version()),
            database: file.path.display().to_string(),
            user: String::new(),
            pooled: false,
            read_only,
        }
    }
}

#[async_trait]
impl Target for SqliteTarget {
    async fn probe(&mut self, tables: &[&str]) -> Result<Probe, TargetError> {
        let names: Vec<String> = tables.iter().map(|name| (*name).to_owned()).collect();
        let file = Arc::clone(&self.file);
        self.call(move |session| {
            let (ledger, tables) = session.read(|connection| {
                Ok((ledger::has_ledger(connection)?, ledger::table_shapes(connection, &names)?))
            })?;
            let server = Self::facts(&file, session.read_only());
            Ok(Probe { server, ledger, tables })
        })
        .await
    }

    async fn read(&mut self, request: &ReadRequest) -> Result<ReadAnswer, TargetError> {
        let request = request.clone();
        self.call(move |session| {
            session.read(|connection| {
                let ledger = if request.ledger && ledger::has_ledger(connection)? {
                    ledger::view(connection)?
                } else {
                    LedgerView::default()
                };
                let rows = match &request.foreign {
                    Some(query) => ledger::foreign_rows(connection, query)?,
                    None => Vec::new(),
                };
                Ok(ReadAnswer { ledger, rows })
            })
        })
        .await
    }

    async fn text(&mut self, id: MigrationId) -> Result<Option<String>, TargetError> {
        self.call(move |session| session.read(|connection| ledger::text(connection, id))).await
    }

    async fn create_ledger(&mut self, id: &str) -> Result<(), TargetError> {
        let id = id.to_owned();
        let wait = self.file.busy_timeout;
        self.call(move |session| {
            session.write(wait, |connection, _| ledger::create(connection, &id))
        })
        .await
    }

    async fn begin_run(&mut self, run: &RunRecord) -> Result<(), TargetError> {
        let run = run.clone();
        let wait = self.file.busy_timeout;
        self.call(move |session| {
            session.write(wait, |connection, _| ledger::begin_run(connection, &run))
        })
        .await
    }

    async fn finish_run(&mut self, id: &str, outcome: &str) -> Result<(), TargetError> {
        let (id, outcome) = (id.to_owned(), outcome.to_owned());
        let wait = self.file.busy_timeout;
        self.call(move |session| {
            session.write(wait, |connection, _| ledger::finish_run(connection, &id, &outcome))
        })
        .await
    }

    async fn claim(
        &mut self,
        resource: &Resource,
        owner: &Owner,
        ttl: Duration,
        displace: Option<&str>,
    ) -> Result<Claim, TargetError> {
        let (resource, owner) = (resource.clone(), owner.clone());
        let displace = displace.map(str::to_owned);
        let wait = self.file.busy_timeout;
        self.length.set(ttl);
        self.call(move |session| {
            let displace = displace.as_deref();
            // Those that wait for a lease ask again and again: they must not take the right to
            // write away from its holder each time.
            let held = session
                .read(|connection| ledger::claimable(connection, &resource, &owner, displace))?;
            if let Some(holder) = held {
                return Ok(Claim::Held(holder));
            }
            let claim = session.write(wait, |connection, _| {
                ledger::claim(connection, &resource, &owner, ttl, displace)
            });
            match claim {
                Err(error) if error.kind == ErrorKind::LockTimeout => {
                    // Its lease has run out, but it is (or something is) still writing.
                    let any = session.read(|c| ledger::holder(c, &resource))?;
                    any.filter(|holder| holder.owner.id != owner.id)
                        .map_or(Err(error), |holder| Ok(Claim::Held(holder)))
                }
                Ok(Claim::Granted(lease)) => {
                    failpoint("claim.granted");
                    Ok(Claim::Granted(lease))
                }
                other => other,
            }
        })
        .await
    }

    async fn keep(&mut self, lease: &Lease, ttl: Duration) -> Result<bool, TargetError> {
        let lease = lease.clone();
        self.length.set(ttl);
        self.call(move |session| {
            match session.write(KEEP_WAIT, |connection, _| ledger::keep(connection, &lease, ttl)) {
                Err(error) if error.kind == ErrorKind::LockTimeout => Ok(true),
                other => other,
            }
        })
        .await
    }

    async fn release(&mut self, lease: &Lease) -> Result<(), TargetError> {
        let lease = lease.clone();
        let wait = self.file.busy_timeout;
        self.call(move |session| {
            session.write(wait, |connection, _| ledger::release(connection, &lease))
        })
        .await
    }

    async fn preflight(&mut self, work: &Work) -> Result<(), TargetError> {
        let work = work.clone();
        self.call(move |session| work::preflight(session, &work)).await
    }

    async fn commit(
        &mut self,
        lease: &mut Lease,
        work: &Work,
    ) -> Result<Vec<Option<u64>>, TargetError> {
        let (held, work, ttl) = (lease.clone(), work.clone(), self.length.get());
        let touched = self.call(move |session| work::commit(session, &held, ttl, &work)).await?;
        lease.count_commit();
        Ok(touched)
    }

    async fn rehearse(&mut self, work: &Work) -> Result<Vec<Option<u64>>, TargetError> {
        let work = work.clone();
        self.call(move |session| work::rehearse(session, &work)).await
    }

    async fn record(
        &mut self,
        lease: &mut Lease,
        writes: &[EntryWrite],
    ) -> Result<(), TargetError> {
        let (held, writes, ttl) = (lease.clone(), writes.to_vec(), self.length.get());
        let wait = self.file.busy_timeout;
        self.call(move |session| {
            session.write(wait, |connection, _| {
                ledger::enter(connection, &held)?;
                for write in &writes {
                    ledger::write(connection, write, Attempt::None)?;
                }
                ledger::leave(connection, &held, ttl, 0)
            })?;
            failpoint("record.done");
            Ok(())
        })
        .await?;
        lease.count_commit();
        Ok(())
    }

    async fn open_step(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        closes: Option<u32>,
    ) -> Result<bool, TargetError> {
        let step = Step::of(work, ordinal)?.closing(work, closes)?;
        let (held, ttl) = (lease.clone(), self.length.get());
        self.call(move |session| step::open(session, &held, ttl, &step)).await?;
        lease.count_commit();
        // Nothing here tells later whether a statement took effect.
        Ok(false)
    }

    async fn send_step(
        &mut self,
        _lease: &Lease,
        work: &Work,
        ordinal: u32,
    ) -> Result<Option<u64>, TargetError> {
        let step = Step::of(work, ordinal)?;
        self.call(move |session| step::send(session, &step)).await
    }

    async fn close_step(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        state: StepState,
    ) -> Result<(), TargetError> {
        let (held, step, ttl) = (lease.clone(), Step::of(work, ordinal)?, self.length.get());
        self.call(move |session| step::close(session, &held, ttl, &step, state)).await?;
        lease.count_commit();
        Ok(())
    }

    async fn commit_step(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        closes: Option<u32>,
    ) -> Result<Option<u64>, TargetError> {
        let step = Step::of(work, ordinal)?.closing(work, closes)?;
        let (held, ttl) = (lease.clone(), self.length.get());
        let touched = self.call(move |session| step::commit(session, &held, ttl, &step)).await?;
        lease.count_commit();
        Ok(touched)
    }

    async fn settle_step(
        &mut self,
        _lease: &Lease,
        work: &Work,
        step: &StepRecord,
    ) -> Result<Settled, TargetError> {
        Ok(step::settle(work, step))
    }

    fn stopper(&self) -> Arc<dyn Stopper> {
        Arc::new(SqliteStopper(Arc::clone(self.worker.control())))
    }
}
