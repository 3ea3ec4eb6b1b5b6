//! What a holder of a lease does about the steps that older holders left open: a statement that is
//! sent alone has no fence, so the connection that would send it, or is at work on it, is ended.
//!
//! Invariants: nobody is told that a lease is theirs while a connection is open on which an older
//! holder opened a step. Whom to end is read out of the journal under older tokens than ours, and a
//! server that is not restarted gives no number twice: so who slept past the end of its lease ends
//! no connection of its heir's.

use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Lease, Resource, StepRecord};
use tokio::time::Instant;

use crate::image::Image;
use crate::literal::text;
use crate::process::{self, Process};
use crate::session::Cells;
use crate::target::{MysqlTarget, fenced};

/// How long a statement that is still at work may go on before it is ended: most are done by
/// then, and a long one that is ended leaves nothing behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an ended connection may take to be gone: as long as rolling back a copied table takes.
const END: Duration = Duration::from_secs(600);

/// How often a connection that is to end is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// How far two readings of a server's start may be apart and mean the same start: both are
/// differences of times that are cut to seconds.
const SAME_START_SECONDS: i64 = 2;

/// Which steps a resource's lease is about; `None`: it has none.
fn steps_of(resource: &Resource) -> Option<String> {
    match resource {
        Resource::Schema => Some("kind = 'schema'".to_owned()),
        Resource::Data(version) => Some(format!("kind = 'data' AND version = {version}")),
        Resource::Move(_) => None,
    }
}

impl MysqlTarget {
    /// Ends the connections on which older holders of a lease opened steps that nobody has closed.
    /// Whoever comes next may call such a step what he likes, and send it again.
    pub(crate) async fn end_open_steps(
        &mut self,
        lease: &Lease,
        ttl: Duration,
    ) -> Result<(), TargetError> {
        let Some(condition) = steps_of(&lease.resource) else { return Ok(()) };
        let query = format!(
            "SELECT connection, image FROM {} WHERE state = 'open' AND token < {} AND {condition}",
            self.ledger.table("steps"),
            lease.token
        );
        let answers = self.session.run(&query).await?;
        for row in answers.iter().flat_map(|answer| &answer.rows) {
            let image = row.optional(1).as_deref().and_then(Image::from_text);
            self.end_connection(row.number(0), image.as_ref(), Some((lease, ttl))).await?;
        }
        Ok(())
    }

    /// Makes sure that nothing of an open step is under way; returns what was found, for a person.
    /// A heartbeat keeps the lease meanwhile.
    pub(crate) async fn end_step(
        &mut self,
        step: &StepRecord,
        image: Option<&Image>,
    ) -> Result<String, TargetError> {
        let id = step.connection.and_then(|id| u64::try_from(id).ok());
        self.end_connection(id, image, None).await
    }

    /// Waits for what is at work on a connection, then ends it and waits until it is gone. `keep` is
    /// a lease to be kept meanwhile, and for how long each time.
    async fn end_connection(
        &mut self,
        id: Option<u64>,
        image: Option<&Image>,
        keep: Option<(&Lease, Duration)>,
    ) -> Result<String, TargetError> {
        let Some(id) = id else {
            return Ok("the connection it was sent on is not known".to_owned());
        };
        let restarted = image
            .is_some_and(|image| (image.started - self.facts.started).abs() > SAME_START_SECONDS);
        if restarted {
            return Ok("the server was restarted since it was sent".to_owned());
        }
        if id == self.session.id || self.work.as_ref().is_some_and(|work| work.is(id)) {
            return Ok("it was sent on this very connection, which is idle".to_owned());
        }
        let began = Instant::now();
        let mut kept = began;
        // Whether it was at work when it was ended.
        let mut ended = None;
        loop {
            let Some(process) = process::find(&mut self.session, id).await? else { break };
            if let Some((lease, ttl)) = keep.filter(|(_, ttl)| kept.elapsed() >= *ttl / 4) {
                kept = Instant::now();
                if !self.keep_lease(lease, ttl).await? {
                    return Err(fenced(lease));
                }
            }
            if ended.is_none() && (!is_at_work(&process) || began.elapsed() >= PATIENCE) {
                process::kill(&mut self.session, id).await?;
                ended = Some(is_at_work(&process));
            } else if began.elapsed() >= END {
                return Err(TargetError::new(
                    ErrorKind::LockTimeout,
                    format!("an earlier run's statement is still being undone on connection {id}"),
                )
                .note(format!("it has been in state `{}` for {} s", process.state, process.seconds))
                .help("run the same command again once it is gone; nothing is lost"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(match ended {
            Some(true) => format!("it was still at work on connection {id}, which was ended"),
            Some(false) => {
                format!("connection {id}, which it was sent on, was still open and was ended")
            }
            None => format!("connection {id}, which it was sent on, is gone"),
        })
    }

    /// Ends each connection whose transaction has changed a segment row under an older token, and
    /// is not committed. Its number is read uncommitted, out of the change itself, so it cannot be
    /// that of another connection which was given an old number. A lock that is held for other
    /// reasons is waited for; and a newer token is that of our heir, if we slept.
    pub(crate) async fn end_blocker(&mut self, lease: &Lease) -> Result<(), TargetError> {
        let select = format!(
            "SELECT seg, upto, hi, token, rows_done, connection FROM {} WHERE job = {} ORDER BY seg",
            self.ledger.table("segments"),
            text(&lease.resource.to_string())
        );
        let packet =
            format!("{select}; SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; {select}");
        let answers = self.session.run(&packet).await?;
        let [committed, _, uncommitted] = answers.as_slice() else {
            return Err(TargetError::new(ErrorKind::Bug, "the server answered too little"));
        };
        let cells =
            |row: &Cells| (0..row.width()).map(|cell| row.optional(cell)).collect::<Vec<_>>();
        let committed: Vec<_> = committed.rows.iter().map(cells).collect();
        let changed = uncommitted.rows.iter().filter(|row| !committed.contains(&cells(row)));
        let older =
            changed.filter(|row| row.number(3).is_some_and(|token: i64| token < lease.token));
        let mut connections: Vec<u64> = older.filter_map(|row| row.number(5)).collect();
        connections.sort_unstable();
        connections.dedup();
        for id in connections {
            if id != self.session.id {
                process::kill(&mut self.session, id).await?;
            }
        }
        Ok(())
    }
}

fn is_at_work(process: &Process) -> bool {
    process.command != "Sleep"
}
