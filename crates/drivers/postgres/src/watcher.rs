//! Looks from a second connection at a statement that takes long: who blocks it, and whether the
//! server is still at it at all.
//!
//! A socket can be open at both ends while nothing passes any more (a dead load balancer in
//! between). The system's keepalive does not notice that, and a statement may take hours, so a
//! silence says nothing. The server's own list of sessions does.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dunlin_engine::{ErrorKind, TargetError};
use tokio::task::{AbortHandle, JoinHandle};

use crate::blockers::look;
use crate::dial::SharedEndpoint;
use crate::rows::{boolean, single};
use crate::session::Session;

/// The watcher looks this many times within one `lock_timeout`, so that every wait that fails was
/// seen at least twice, and a migration that is done sooner needs no second connection.
const LOOKS_PER_TIMEOUT: u32 = 3;

/// Bounds of the time between two looks.
const PERIOD_MIN: Duration = Duration::from_millis(100);
const PERIOD_MAX: Duration = Duration::from_secs(2);

/// A server that waits for us while we wait for it, or that no second connection reaches, for this
/// long is lost: leases cannot be kept either meanwhile, so somebody else will take over.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Watches one connection until it is dropped.
pub(crate) struct Watcher {
    task: JoinHandle<()>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Watcher {
    /// Begins to watch.
    pub(crate) fn start(session: &Session, lock_timeout: Duration) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let watch = Watch {
            endpoint: Arc::clone(&session.endpoint),
            backend: Arc::clone(&session.backend),
            socket: session.socket(),
            seen: Arc::clone(&seen),
            looker: None,
        };
        let period = (lock_timeout / LOOKS_PER_TIMEOUT).clamp(PERIOD_MIN, PERIOD_MAX);
        Self { task: tokio::spawn(watch.run(period)), seen }
    }

    /// Adds who was seen to an error that is about a lock.
    pub(crate) fn explain(&self, mut error: TargetError) -> TargetError {
        if error.kind == ErrorKind::LockTimeout {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            error.notes.extend(seen.iter().cloned());
        }
        error
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What one look told.
enum Seen {
    /// The server is at work on the statement.
    AtWork,
    /// It waits for us, has no such session any more, or cannot be reached.
    Silent,
    /// Nothing: there is no second connection to be had, or nothing to look at.
    Nothing,
}

struct Watch {
    endpoint: SharedEndpoint,
    backend: Arc<AtomicI32>,
    socket: AbortHandle,
    seen: Arc<Mutex<Vec<String>>>,
    looker: Option<Session>,
}

impl Watch {
    async fn run(mut self, period: Duration) {
        let mut silent_since: Option<Instant> = None;
        loop {
            tokio::time::sleep(period).await;
            let began = Instant::now();
            match self.look().await {
                Seen::Silent => {
                    if silent_since.get_or_insert(began).elapsed() >= SILENCE_MAX {
                        // Whoever waits for an answer is told that the connection is lost.
                        self.socket.abort();
                        return;
                    }
                }
                Seen::AtWork | Seen::Nothing => silent_since = None,
            }
        }
    }

    async fn look(&mut self) -> Seen {
        let pid = self.backend.load(Ordering::Relaxed);
        if pid == 0 {
            return Seen::Nothing;
        }
        match self.look_at(pid).await {
            Ok(true) => Seen::AtWork,
            Ok(false) => Seen::Silent,
            Err(error) => {
                self.looker = None;
                match error.kind {
                    ErrorKind::Unreachable | ErrorKind::Lost => Seen::Silent,
                    _ => Seen::Nothing,
                }
            }
        }
    }

    /// Whether the server is at work; notes who blocks it.
    async fn look_at(&mut self, pid: i32) -> Result<bool, TargetError> {
        let session = match &self.looker {
            Some(session) => session,
            None => self.looker.insert(Session::open(Arc::clone(&self.endpoint)).await?),
        };
        let blockers = look(session, pid).await?;
        if !blockers.is_empty() {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = blockers;
            return Ok(true);
        }
        let sql = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = {pid} \
             AND state = 'active' AND COALESCE(wait_event, '') <> 'ClientRead')"
        );
        let answers = session.ask(&sql).await?;
        boolean(single(&answers, 0)?, 0)
    }
}
