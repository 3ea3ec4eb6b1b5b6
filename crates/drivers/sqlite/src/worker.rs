//! A connection that works in threads which may block.

use std::sync::Arc;

use dunlin_engine::{ErrorKind, TargetError};

use crate::control::Control;
use crate::fault;

/// A connection's state, away while a call works on it; it does not come back from a call that was
/// dropped.
pub(crate) struct Worker<S> {
    control: Arc<Control>,
    state: Option<S>,
}

/// Stops the work of a call that is dropped before it has ended.
struct Abandon<'a> {
    control: &'a Control,
    ended: bool,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.control.stop();
        }
    }
}

impl<S: Send + 'static> Worker<S> {
    pub(crate) fn new(control: Arc<Control>, state: S) -> Self {
        Self { control, state: Some(state) }
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Runs a job in a thread that may block. If the future is dropped meanwhile, the job is
    /// stopped before its COMMIT, its thread closes the connection, and no call can use it again.
    pub(crate) async fn call<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut S) -> Result<T, TargetError> + Send + 'static,
    ) -> Result<T, TargetError> {
        let mut state = self.state.take().ok_or_else(fault::gone)?;
        if self.control.is_stopped() {
            return Err(fault::gone());
        }
        let mut abandon = Abandon { control: &self.control, ended: false };
        let work = tokio::task::spawn_blocking(move || {
            let answer = job(&mut state);
            (state, answer)
        });
        let ended = work.await;
        abandon.ended = true;
        let Ok((state, answer)) = ended else {
            return Err(TargetError::new(ErrorKind::Bug, "the work on the file ended in a panic"));
        };
        let lost = answer.as_ref().is_err_and(|error| error.kind == ErrorKind::Lost);
        if !lost && !self.control.is_stopped() {
            self.state = Some(state);
        }
        answer
    }
}
