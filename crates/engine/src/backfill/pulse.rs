//! Reads the health of the server and its replicas, and tells once what can't be read.

use std::time::{Duration, Instant};

use dunlin_model::Backfill;

use crate::events::{BackfillNews, Event};
use crate::job::Job;
use crate::ports::REPLICA_LAG;
use crate::{ErrorKind, Health, Purpose, Remedy, Signal, Target, TargetError};

/// How often it is read.
const EVERY: Duration = Duration::from_secs(1);

/// How long a reading may take: meanwhile nobody minds the work, or what people want.
const READING_MAX: Duration = Duration::from_secs(5);

/// The same for a replica, which may be out of reach for good.
const REPLICA_READING_MAX: Duration = Duration::from_secs(2);

/// When a replica that could not be read is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Connections to read by, and what was told already.
#[derive(Default)]
pub(super) struct Pulse {
    server: Option<Box<dyn Target>>,
    replicas: Vec<Replica>,
    read_at: Option<Instant>,
    absent_told: Vec<&'static str>,
    unread_told: bool,
    advice_told: bool,
}

/// A replica whose lag is minded.
#[derive(Default)]
struct Replica {
    /// The connection; `None` until it is needed, and after it broke.
    target: Option<Box<dyn Target>>,
    /// Since when it can't be read, and when that was last tried.
    silent: Option<(Instant, Instant)>,
}

impl Pulse {
    /// Whether it is time for another reading, which is then taken for begun.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.read_at.is_none_or(|at| now.duration_since(at) >= EVERY);
        if due {
            self.read_at = Some(now);
        }
        due
    }

    /// Lets the connections go: nothing is read for a while.
    pub(super) fn rest(&mut self) {
        self.server = None;
        self.replicas.clear();
    }

    /// A reading; `None` where it failed, which leaves the one before, and that goes stale.
    pub(super) async fn read(&mut self, job: &Job, work: &Backfill) -> Option<Health> {
        let mut health = match tokio::time::timeout(READING_MAX, self.ask(job, work)).await {
            Ok(Ok(health)) => health,
            Ok(Err(error)) => {
                if error.kind.remedy() == Remedy::Reconnect {
                    self.rest();
                }
                if !self.unread_told {
                    self.unread_told = true;
                    let (name, why) = ("the server's health", &error.to_string());
                    tell(job, work, BackfillNews::Unread { name, why });
                }
                return None;
            }
            Err(_) => {
                // What a connection has under way is not taken up again.
                self.rest();
                return None;
            }
        };
        self.read_replicas(job, work, &mut health).await;
        for absent in &health.absent {
            if !self.absent_told.contains(&absent.name) {
                self.absent_told.push(absent.name);
                tell(job, work, BackfillNews::Absent { name: absent.name, help: &absent.help });
            }
        }
        if let (Some(text), false) = (health.advice.first(), self.advice_told) {
            self.advice_told = true;
            tell(job, work, BackfillNews::Advice { text });
        }
        Some(health)
    }

    async fn ask(&mut self, job: &Job, work: &Backfill) -> Result<Health, TargetError> {
        if self.server.is_none() {
            self.server = Some(job.connector.connect(Purpose::Lane).await?);
        }
        match &mut self.server {
            Some(target) => target.health(work).await,
            None => Ok(Health::default()),
        }
    }

    /// Adds what replicas tell; who reads one is not in a chunk's way. One that can't be read counts as
    /// one that lags, and takes nothing from what is known of the server.
    async fn read_replicas(&mut self, job: &Job, work: &Backfill, health: &mut Health) {
        self.replicas.resize_with(job.connector.replica_count(), Replica::default);
        for (number, replica) in self.replicas.iter_mut().enumerate() {
            let now = Instant::now();
            let since = match replica.silent {
                Some((since, tried)) if now.duration_since(tried) < TRY_AGAIN_AFTER => since,
                before => match replica.read(job, work, number).await {
                    Ok(one) => {
                        replica.silent = None;
                        health.signals.extend(one.signals);
                        health.absent.extend(one.absent);
                        health.advice.extend(one.advice);
                        continue;
                    }
                    Err(error) => {
                        replica.target = None;
                        if before.is_none() {
                            let name = &format!("replica {} of `replica_urls`", number + 1);
                            let why = &error.to_string();
                            tell(job, work, BackfillNews::Unread { name, why });
                        }
                        let since = before.map_or(now, |(since, _)| since);
                        replica.silent = Some((since, now));
                        since
                    }
                },
            };
            let (number, age) = (number + 1, now.duration_since(since).as_secs());
            let shown = format!("replica {number} can't be read, for {age} s now");
            health.signals.push(Signal { name: REPLICA_LAG, load: 1.0, shown });
        }
    }
}

impl Replica {
    async fn read(
        &mut self,
        job: &Job,
        work: &Backfill,
        number: usize,
    ) -> Result<Health, TargetError> {
        let asked = async {
            let target = match &mut self.target {
                Some(target) => target,
                none => none.insert(job.connector.replica(number).await?),
            };
            target.health(work).await
        };
        match tokio::time::timeout(REPLICA_READING_MAX, asked).await {
            Ok(health) => health,
            Err(_) => Err(TargetError::new(
                ErrorKind::Unreachable,
                format!("it did not answer within {} s", REPLICA_READING_MAX.as_secs()),
            )),
        }
    }
}

fn tell(job: &Job, work: &Backfill, news: BackfillNews<'_>) {
    job.observer.event(Event::Backfill { id: work.id, news });
}
