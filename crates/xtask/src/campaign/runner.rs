//! One run of the real program, and what is done to it.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::folder::EFFECTS;
use crate::Failure;

/// A run that takes longer hangs. Uninterrupted ones take about a second; a runner that waits
/// for the lease of one that is stopped takes some more.
const RUN_TIME_MAX: Duration = Duration::from_secs(180);

/// What is done to a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sabotage {
    /// Nothing.
    Nothing,
    /// `kill -9` after a time.
    KillAfter(Duration),
    /// `kill -9` where a failpoint is reached for the n-th time (from 1).
    KillAt { failpoint: &'static str, nth: usize },
    /// Stopped after a time, and continued after another, past the end of its lease.
    StopAfter { after: Duration, pause: Duration },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, with an exit code.
    Exited(i32),
    /// By `kill -9`.
    Killed,
    /// By a signal that nobody sent.
    Crashed(i32),
    /// Not at all within [`RUN_TIME_MAX`].
    Hung,
}

/// A run's circumstances.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    /// The program.
    pub(super) binary: PathBuf,
    /// The project's root.
    pub(super) root: PathBuf,
    /// The database.
    pub(super) url: String,
    /// Where programs leave their effects.
    pub(super) effects: PathBuf,
    /// Where its output is kept.
    pub(super) log: PathBuf,
    /// A shorter lease than the default, where the campaign waits for its end.
    pub(super) lease_ttl: Option<Duration>,
}

impl Runner {
    /// Runs all that is pending. Says how it ended, and whether it was stopped meanwhile.
    pub(super) async fn run(&self, sabotage: &Sabotage) -> Result<(End, bool), Failure> {
        let mut child = self.spawn(sabotage)?;
        let mut stopped = false;
        match sabotage {
            Sabotage::Nothing | Sabotage::KillAt { .. } => {}
            Sabotage::KillAfter(time) => {
                if timeout(*time, child.wait()).await.is_err() {
                    // It may have ended in this instant; how it ended is judged below.
                    let _ = child.start_kill();
                }
            }
            Sabotage::StopAfter { after, pause } => {
                if timeout(*after, child.wait()).await.is_err() {
                    stopped = signal(&child, Signal::STOP);
                    // Not for a state: the pause itself is what is done to it.
                    tokio::time::sleep(*pause).await;
                    signal(&child, Signal::CONT);
                }
            }
        }
        let Ok(status) = timeout(RUN_TIME_MAX, child.wait()).await else {
            // It is gone with the round; the round has failed.
            let _ = child.kill().await;
            return Ok((End::Hung, stopped));
        };
        let status = status.map_err(|error| Failure::because("cannot wait for a run", &error))?;
        Ok((end(status), stopped))
    }

    fn spawn(&self, sabotage: &Sabotage) -> Result<Child, Failure> {
        let failed = |path: &Path, error: std::io::Error| {
            Failure::because(format!("cannot start {}", path.display()), &error)
        };
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(|error| failed(&self.log, error))?;
        let errors = log.try_clone().map_err(|error| failed(&self.log, error))?;
        let mut command = Command::new(&self.binary);
        command
            .args(["migrate", "--with-data", "--lease-wait", "2min"])
            .args(["--database-url", &self.url])
            .args(["--migrations", "migrations", "--data-migrations", "data_migrations"])
            .current_dir(&self.root)
            .env(EFFECTS, &self.effects)
            .env("NO_COLOR", "1")
            .env_remove("DATABASE_URL")
            .env_remove("DUNLIN_ENV")
            .env_remove("DUNLIN_FAILPOINT")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true);
        if let Some(ttl) = self.lease_ttl {
            command.env("DUNLIN_LEASE_TTL_MS", ttl.as_millis().to_string());
        }
        if let Sabotage::KillAt { failpoint, nth } = sabotage {
            command.env("DUNLIN_FAILPOINT", format!("{failpoint}@{nth}"));
        }
        command.spawn().map_err(|error| failed(&self.binary, error))
    }
}

fn end(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(9)) => End::Killed,
        (None, signal) => End::Crashed(signal.unwrap_or_default()),
    }
}

/// Sends a signal to a child that has not been waited for. `false`: it had ended.
fn signal(child: &Child, signal: Signal) -> bool {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}
