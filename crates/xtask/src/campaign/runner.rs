//! One run of the real program, and what is done to it.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::folder::EFFECTS;
use crate::Failure;

/// A run that takes longer hangs. Uninterrupted ones take about a second; a runner that waits
/// for the lease of one that is stopped takes some more; a backfill that shares SQLite's one lock
/// with a busy writer, on a machine that does other things as well, has taken four minutes.
const RUN_TIME_MAX: Duration = Duration::from_secs(900);

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
    /// The database of migrations; `None`: the project's file names its databases.
    pub(super) url: Option<String>,
    /// Where programs leave their effects.
    pub(super) effects: PathBuf,
    /// Where its output is kept.
    pub(super) log: PathBuf,
    /// A shorter lease than the default, where the campaign waits for its end.
    pub(super) lease_ttl: Option<Duration>,
    /// The command and its own options.
    pub(super) arguments: Vec<String>,
}

impl Runner {
    /// Runs all that is pending. Says how it ended, and whether it was stopped meanwhile.
    pub(super) async fn run(&self, sabotage: &Sabotage) -> Result<(End, bool), Failure> {
        self.start(sabotage)?.finish(sabotage).await
    }

    /// Starts a run that is to be finished.
    pub(super) fn start(&self, sabotage: &Sabotage) -> Result<Run, Failure> {
        Ok(Run { child: self.spawn(sabotage)?, stopped: false })
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
        command.args(&self.arguments);
        if let Some(url) = &self.url {
            command.args(["--database-url", url]).args([
                "--migrations",
                "migrations",
                "--data-migrations",
                "data_migrations",
            ]);
        }
        command
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

/// A run that has been started.
#[derive(Debug)]
pub(super) struct Run {
    child: Child,
    stopped: bool,
}

impl Run {
    /// Its process number; `None` once it has ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Does to it what was planned, and waits for its end.
    pub(super) async fn finish(mut self, sabotage: &Sabotage) -> Result<(End, bool), Failure> {
        match sabotage {
            Sabotage::Nothing | Sabotage::KillAt { .. } => {}
            Sabotage::KillAfter(time) => {
                if timeout(*time, self.child.wait()).await.is_err() {
                    self.kill();
                }
            }
            Sabotage::StopAfter { after, pause } => {
                if timeout(*after, self.child.wait()).await.is_err() {
                    self.stop(*pause).await;
                }
            }
        }
        self.ended().await
    }

    /// Does to it what it is told meanwhile, and waits for its end.
    pub(super) async fn finish_under(
        mut self,
        orders: &mut mpsc::UnboundedReceiver<Order>,
    ) -> Result<(End, bool), Failure> {
        loop {
            tokio::select! {
                _ = self.child.wait() => return self.ended().await,
                order = orders.recv() => match order {
                    Some(Order::Kill) => self.kill(),
                    Some(Order::Stop(pause)) => self.stop(pause).await,
                    None => return self.ended().await,
                },
            }
        }
    }

    fn kill(&mut self) {
        // It may have ended in this instant; how it ended is judged afterwards.
        let _ = self.child.start_kill();
    }

    async fn stop(&mut self, pause: Duration) {
        self.stopped |= self.signal(Signal::STOP);
        // Not for a state: the pause itself is what is done to it.
        tokio::time::sleep(pause).await;
        self.signal(Signal::CONT);
    }

    /// `false`: it had ended.
    fn signal(&self, signal: Signal) -> bool {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    async fn ended(mut self) -> Result<(End, bool), Failure> {
        let Ok(status) = timeout(RUN_TIME_MAX, self.child.wait()).await else {
            // It is gone with the round; the round has failed.
            let _ = self.child.kill().await;
            return Ok((End::Hung, self.stopped));
        };
        let status = status.map_err(|error| Failure::because("cannot wait for a run", &error))?;
        Ok((end(status), self.stopped))
    }
}

/// What is done to a run that was picked out while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// `kill -9`.
    Kill,
    /// Stopped for that long, then continued.
    Stop(Duration),
}

fn end(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(9)) => End::Killed,
        (None, signal) => End::Crashed(signal.unwrap_or_default()),
    }
}
