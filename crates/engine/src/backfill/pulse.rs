//! Reads the health of the server and its replicas, and tells once what can't be read.

use std::time::{Duration, Instant};

use dunlin_model::Backfill;

use crate::events::{BackfillNews, Event};
use crate::job::Job;
use crate::{Health, Purpose, Remedy, Target, TargetError};

/// How often it is read.
const EVERY: Duration = Duration::from_secs(1);

/// How long a reading may take: meanwhile nobody minds the work, or what people want.
const READING_MAX: Duration = Duration::from_secs(5);

/// Connections to read by, and what was told already.
#[derive(Default)]
pub(super) struct Pulse {
    server: Option<Box<dyn Target>>,
    /// Connections to replicas; `None` until they are needed, and after one broke.
    replicas: Option<Vec<Box<dyn Target>>>,
    read_at: Option<Instant>,
    absent_told: Vec<&'static str>,
    unread_told: bool,
    advice_told: bool,
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
        self.replicas = None;
    }

    /// A reading; `None` where it failed, which leaves the one before, and that goes stale.
    pub(super) async fn read(&mut self, job: &Job, work: &Backfill) -> Option<Health> {
        let health = match tokio::time::timeout(READING_MAX, self.ask(job, work)).await {
            Ok(Ok(health)) => health,
            Ok(Err(error)) => {
                if error.kind.remedy() == Remedy::Reconnect {
                    self.rest();
                }
                if !self.unread_told {
                    self.unread_told = true;
                    let (name, help) = ("the server's health", &error.to_string());
                    tell(job, work, BackfillNews::Absent { name, help });
                }
                return None;
            }
            Err(_) => {
                // What a connection has under way is not taken up again.
                self.rest();
                return None;
            }
        };
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
        if self.replicas.is_none() {
            self.replicas = Some(job.connector.replicas().await?);
        }
        let mut health = Health::default();
        if let Some(target) = &mut self.server {
            health = target.health(work).await?;
        }
        // Who reads a replica is not in a chunk's way.
        for target in self.replicas.iter_mut().flatten() {
            let one = target.health(work).await?;
            health.signals.extend(one.signals);
            health.absent.extend(one.absent);
            health.advice.extend(one.advice);
        }
        Ok(health)
    }
}

fn tell(job: &Job, work: &Backfill, news: BackfillNews<'_>) {
    job.observer.event(Event::Backfill { id: work.id, news });
}
