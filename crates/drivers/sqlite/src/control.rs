//! What reaches a connection while it works: waiting for locks, time limits, being stopped, and
//! what a user's statements may do.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dunlin_engine::Stopper;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, InterruptHandle};

/// How many steps of SQLite's machine run between two looks at the clock: about a millisecond.
const STEPS_BETWEEN_CHECKS: i32 = 20_000;

/// How long the waits between two tries for a lock are, in milliseconds; the last one repeats.
/// They start short, since most locks are held for one small transaction.
const LOCK_PAUSES_MS: [u64; 7] = [1, 2, 5, 10, 15, 20, 25];

/// Shared between a connection, its callbacks, and whoever may stop it.
#[derive(Default)]
pub(crate) struct Control {
    stopped: AtomicBool,
    /// A statement of the user's is being prepared or run.
    user: AtomicBool,
    /// It is being prepared. What SQLite prepares while it runs is SQLite's own: VACUUM begins
    /// transactions.
    preparing: AtomicBool,
    /// A statement of the user's left something in the session.
    touched: AtomicBool,
    /// A statement of the user's tried to control the transaction.
    refused: AtomicBool,
    timed_out: AtomicBool,
    wait_ms: AtomicU64,
    deadline: Mutex<Option<Instant>>,
    interrupt: Mutex<Option<InterruptHandle>>,
}

impl Control {
    /// Puts the callbacks onto a new connection.
    pub(crate) fn attach(self: &Arc<Self>, connection: &mut Connection) -> rusqlite::Result<()> {
        let control = Arc::clone(self);
        let mut since = Instant::now();
        connection.busy_handler(Some(move |count: i32| {
            if count == 0 {
                since = Instant::now();
            }
            control.wait_again(since, count)
        }))?;
        let control = Arc::clone(self);
        connection.progress_handler(STEPS_BETWEEN_CHECKS, Some(move || control.must_end()))?;
        let control = Arc::clone(self);
        connection
            .authorizer(Some(move |context: AuthContext<'_>| control.authorize(&context.action)))?;
        *lock(&self.interrupt) = Some(connection.get_interrupt_handle());
        Ok(())
    }

    /// How long each lock is waited for from now on.
    pub(crate) fn wait_for_locks(&self, limit: Duration) {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.wait_ms.store(limit, Ordering::SeqCst);
    }

    /// Ends what runs, and lets nothing else run on this connection.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(handle) = lock(&self.interrupt).as_ref() {
            handle.interrupt();
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Whether the last statement of the user's ran into its time limit.
    pub(crate) fn timed_out(&self) -> bool {
        self.timed_out.load(Ordering::SeqCst)
    }

    /// Whether the last statement of the user's was refused for controlling the transaction.
    pub(crate) fn refused_control(&self) -> bool {
        self.refused.load(Ordering::SeqCst)
    }

    /// Whether statements of the user's left settings, attached databases or temporary objects
    /// behind since the last call.
    pub(crate) fn take_touched(&self) -> bool {
        self.touched.swap(false, Ordering::SeqCst)
    }

    /// Runs a statement of the user's under its time limit.
    pub(crate) fn as_user<T>(&self, limit: Option<Duration>, run: impl FnOnce() -> T) -> T {
        self.refused.store(false, Ordering::SeqCst);
        self.timed_out.store(false, Ordering::SeqCst);
        *lock(&self.deadline) = limit.and_then(|limit| Instant::now().checked_add(limit));
        self.user.store(true, Ordering::SeqCst);
        let result = run();
        self.user.store(false, Ordering::SeqCst);
        *lock(&self.deadline) = None;
        result
    }

    /// Prepares a statement of the user's.
    pub(crate) fn preparing<T>(&self, prepare: impl FnOnce() -> T) -> T {
        self.preparing.store(true, Ordering::SeqCst);
        let result = prepare();
        self.preparing.store(false, Ordering::SeqCst);
        result
    }

    fn wait_again(&self, since: Instant, count: i32) -> bool {
        let limit = Duration::from_millis(self.wait_ms.load(Ordering::SeqCst));
        if self.is_stopped() || since.elapsed() >= limit {
            return false;
        }
        let turn = usize::try_from(count).unwrap_or(0).min(LOCK_PAUSES_MS.len() - 1);
        let pause = Duration::from_millis(LOCK_PAUSES_MS[turn]);
        #[expect(
            clippy::disallowed_methods,
            reason = "a file's lock tells nobody when it is given back: it can only be tried again"
        )]
        std::thread::sleep(pause.min(limit.saturating_sub(since.elapsed())));
        true
    }

    fn must_end(&self) -> bool {
        if self.is_stopped() {
            return true;
        }
        let late = lock(&self.deadline).is_some_and(|deadline| Instant::now() >= deadline);
        if late {
            self.timed_out.store(true, Ordering::SeqCst);
        }
        late
    }

    fn authorize(&self, action: &AuthAction<'_>) -> Authorization {
        if !self.user.load(Ordering::SeqCst) {
            return Authorization::Allow;
        }
        match action {
            // The server's own parser says so, whatever ours made of the text.
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. }
                if self.preparing.load(Ordering::SeqCst) =>
            {
                self.refused.store(true, Ordering::SeqCst);
                return Authorization::Deny;
            }
            AuthAction::Pragma { .. }
            | AuthAction::Attach { .. }
            | AuthAction::Detach { .. }
            | AuthAction::CreateTempTable { .. }
            | AuthAction::CreateTempView { .. }
            | AuthAction::CreateTempTrigger { .. }
            | AuthAction::CreateTempIndex { .. }
            | AuthAction::CreateVtable { .. } => self.touched.store(true, Ordering::SeqCst),
            _ => {}
        }
        Authorization::Allow
    }
}

/// Ends what a connection is doing from outside.
pub(crate) struct SqliteStopper(pub(crate) Arc<Control>);

#[async_trait]
impl Stopper for SqliteStopper {
    async fn stop(&self) {
        self.0.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
