//! What a run needs to know: where, which files, by which policy, within which limits.

use std::sync::Arc;
use std::time::Duration;

use dunlin_model::{Capabilities, Chunking, Dialect, HistoryTool, Owner};
use dunlin_project::plan::Policy;
use tokio::sync::watch;

use crate::events::Observer;
use crate::files::Files;
use crate::report::EngineError;
use crate::{Connector, Purpose, Target};

/// Limits of a run. Each has a default with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a statement waits for a lock: long enough for ordinary transactions to end, short
    /// enough that the application's queries queue behind us only so long.
    pub lock_timeout: Duration,
    /// How long a statement may take; `None`: as long as it takes.
    pub statement_timeout: Option<Duration>,
    /// How long to wait for another runner's lease: 10 minutes cover most deploys.
    pub lease_wait: Duration,
    /// How long a lease lasts without a heartbeat: four heartbeats may be lost.
    pub lease_ttl: Duration,
    /// How often one transaction is tried again after a lock timeout or a deadlock. With backoff
    /// and a `lock_timeout` of 5 s ten tries take about two minutes.
    pub attempt_count_max: u32,
    /// How long to try to connect again after a connection broke in the middle: a server's
    /// restart or failover takes seconds to a minute.
    pub reconnect_max: Duration,
    /// How long transactions that began before a backfill are waited for: they may hold rows that
    /// can't be seen yet. Longer than that somebody has to look.
    pub barrier_wait: Duration,
    /// The time that a chunk should take: what others may have to wait for a row. `None`: 500 ms, and
    /// 50 ms where the whole database takes one writer at a time.
    pub chunk_time: Option<Duration>,
    /// Workers of a backfill that says nothing about them.
    pub workers: u32,
    /// Workers whatever the backfill says.
    pub workers_asked: Option<u32>,
    /// Backfills slow down when the server is not well.
    pub mind_health: bool,
    /// At most so many rows go to quarantine (or one in a hundred, if that is more).
    pub quarantine_max: u64,
    /// A backfill that is found paused is waited for, instead of ending the run at once.
    pub hold_paused: bool,
    /// How long a paused move keeps its source's snapshot: a server can't clean up what is newer than
    /// that. After it the snapshot goes, and the run begins again when it is resumed.
    pub hold_snapshot: Duration,
    /// How long a program has to end after a first Ctrl-C or its timeout, before it is killed.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(5),
            statement_timeout: None,
            lease_wait: Duration::from_secs(600),
            lease_ttl: Duration::from_secs(20),
            attempt_count_max: 10,
            reconnect_max: Duration::from_secs(90),
            barrier_wait: Duration::from_secs(600),
            chunk_time: None,
            workers: 1,
            workers_asked: None,
            mind_health: true,
            quarantine_max: 1_000,
            hold_paused: false,
            hold_snapshot: Duration::from_secs(300),
            grace: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// The time that a chunk should take on a database.
    #[must_use]
    pub fn chunk_time_on(&self, dialect: Dialect) -> Duration {
        let usual = if Capabilities::of(dialect).one_writer { 50 } else { 500 };
        self.chunk_time.unwrap_or(Duration::from_millis(usual))
    }

    /// How many bytes a chunk may log, or move, on a database. Of an UPDATE of all rows chunks of 8
    /// MiB are a tenth faster on PostgreSQL than those of 30, whose pages have left the processors'
    /// caches when they are logged. Where whole pages are written again for each chunk, large ones
    /// are better.
    #[must_use]
    pub fn chunk_bytes_on(&self, dialect: Dialect) -> u64 {
        if Capabilities::of(dialect).one_writer { 64 << 20 } else { 8 << 20 }
    }

    /// How many workers a backfill gets.
    #[must_use]
    pub fn workers_for(&self, chunking: &Chunking) -> u32 {
        self.workers_asked.or(chunking.workers).unwrap_or(self.workers).max(1)
    }
}

/// What a person asked a run to do in its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Urgency {
    /// Nothing.
    #[default]
    None,
    /// Finish the step under way and stop.
    Finish,
    /// Roll back at once.
    Abort,
}

/// The run's end of an interrupt.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<Urgency>);

impl Interrupt {
    /// An interrupt and the sender that triggers it.
    #[must_use]
    pub fn channel() -> (watch::Sender<Urgency>, Self) {
        let (sender, receiver) = watch::channel(Urgency::None);
        (sender, Self(receiver))
    }

    /// An interrupt that never comes.
    #[must_use]
    pub fn never() -> Self {
        Self::channel().1
    }

    /// What has been asked so far.
    #[must_use]
    pub fn urgency(&self) -> Urgency {
        *self.0.borrow()
    }

    /// Waits until at least this is asked; for ever if nobody can ask any more.
    pub async fn reached(&self, urgency: Urgency) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|now| *now >= urgency).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// One database, its files, and how to run them.
#[derive(Clone)]
pub struct Job {
    /// Its name in `dunlin.toml`.
    pub database: String,
    /// Makes connections.
    pub connector: Arc<dyn Connector>,
    /// The files.
    pub folder: Files,
    /// The tool whose history is read; `None`: found by itself.
    pub schema_history: Option<HistoryTool>,
    /// Look for no other tool's history.
    pub ignore_history: bool,
    /// How this environment wants it.
    pub policy: Policy,
    /// Limits.
    pub limits: Limits,
    /// This process.
    pub owner: Owner,
    /// The command, for the ledger: `migrate`.
    pub command: String,
    /// The version of this program, for the ledger.
    pub program: String,
    /// Hears what happens; never changes it.
    pub observer: Arc<dyn Observer>,
    /// Ctrl-C.
    pub interrupt: Interrupt,
}

impl Job {
    /// Connects. A host that does not answer must not keep a person from stopping.
    pub(crate) async fn connect(&self, purpose: Purpose) -> Result<Box<dyn Target>, EngineError> {
        tokio::select! {
            biased;
            () = self.interrupt.reached(Urgency::Finish) => Err(EngineError::Interrupted),
            connected = self.connector.connect(purpose) => Ok(connected?),
        }
    }
}
