//! Leases: claimed by compare-and-swap on one row, proved by the segment row.
//!
//! Invariants: the server's clock decides; nothing is granted before the segment row carries the
//! new token, which waits for a transaction of the old holder or ends it; what cannot be read
//! counts as held.

use std::time::Duration;

use dunlin_engine::{Claim, ErrorKind, TargetError};
use dunlin_model::{FORMAT, Lease, LeaseHolder, Owner, Resource};
use tokio::time::Instant;

use crate::facts::require_writable;
use crate::ledger::{self, BEGIN};
use crate::literal::text;
use crate::session::{Answer, Cells};
use crate::target::{CONFLICTS_MAX, MysqlTarget};

/// How long a takeover waits for the old holder's transaction to end, its connection being
/// killed meanwhile: as long as rolling back some millions of rows takes.
const TAKEOVER_SECONDS_MAX: u64 = 120;

/// A segment that another transaction holds.
struct Blocked(TargetError);

impl MysqlTarget {
    pub(crate) async fn claim_lease(
        &mut self,
        resource: &Resource,
        owner: &Owner,
        ttl: Duration,
        displace: Option<&str>,
    ) -> Result<Claim, TargetError> {
        require_writable(&self.facts)?;
        let claim = self.swap(resource, owner, ttl, displace);
        // The second time the lease's row is there; the third is for one who came in between.
        for _ in 0..3 {
            let answers = self.repeated(&claim).await?;
            let [meta, swapped, row] = answers.as_slice() else {
                return Err(TargetError::new(ErrorKind::Bug, "the server answered too little"));
            };
            let meta = ledger::meta(meta)?.ok_or_else(no_ledger)?;
            ledger::refuse_older_writer(&meta)?;
            let Some(row) = row.rows.first() else {
                self.repeated(&self.first_lease(resource, owner)).await?;
                continue;
            };
            if swapped.affected != 1 {
                return Ok(Claim::Held(ledger::holder(row)));
            }
            return self.take_over(resource, owner, ttl, row, meta.format).await;
        }
        Err(TargetError::new(
            ErrorKind::Conflict,
            format!("the lease on {resource} keeps changing"),
        ))
    }

    /// Takes the lease's row where it may be taken, and reads it.
    fn swap(
        &self,
        resource: &Resource,
        owner: &Owner,
        ttl: Duration,
        displace: Option<&str>,
    ) -> String {
        let table = self.ledger.table("leases");
        let resource = text(&resource.to_string());
        let displaced = match displace {
            Some(id) => format!(" OR owner = {}", text(id)),
            None => String::new(),
        };
        format!(
            "{meta}; UPDATE {table} SET token = token + 1, owner = {id}, host = {host}, \
             pid = {pid}, identity = {identity}, expires_at = {expiry} \
             WHERE resource = {resource} AND (owner IS NULL OR owner = {id} \
             OR expires_at <= UTC_TIMESTAMP(6){displaced}) \
             AND (SELECT min_writer FROM {meta_table}) <= {FORMAT}; \
             {select} WHERE resource = {resource}",
            meta = self.ledger.select_meta(),
            id = text(&owner.id),
            host = text(&owner.host),
            pid = owner.pid,
            identity = text(&owner.identity),
            expiry = expiry(ttl),
            meta_table = self.ledger.table("meta"),
            select = self.ledger.select_leases(),
        )
    }

    fn first_lease(&self, resource: &Resource, owner: &Owner) -> String {
        // The assignment changes nothing; unlike IGNORE it hides no other error.
        format!(
            "INSERT INTO {} (resource, owner, host, pid, identity, token, expires_at) \
             VALUES ({}, NULL, {}, {}, '', 0, UTC_TIMESTAMP(6)) \
             ON DUPLICATE KEY UPDATE resource = resource",
            self.ledger.table("leases"),
            text(&resource.to_string()),
            text(&owner.host),
            owner.pid,
        )
    }

    /// Carries the new token into the segment row.
    async fn take_over(
        &mut self,
        resource: &Resource,
        owner: &Owner,
        ttl: Duration,
        row: &Cells,
        format: u32,
    ) -> Result<Claim, TargetError> {
        let holder = ledger::holder(row);
        let mut lease = Lease {
            resource: resource.clone(),
            owner: owner.clone(),
            token: holder.token,
            commits: 0,
            seg: 0,
            beside: Vec::new(),
        };
        dunlin_engine::failpoint("claim.raised");
        let deadline = Instant::now() + Duration::from_secs(TAKEOVER_SECONDS_MAX);
        loop {
            match self.raise_segments(&lease, format).await? {
                Ok(answer) => {
                    let Some(commits) = standing(&answer, lease.token) else {
                        // Somebody took over from us meanwhile.
                        return self.held(resource).await;
                    };
                    lease.commits = commits;
                    return self.succeed(lease, ttl).await;
                }
                Err(Blocked(error)) if Instant::now() >= deadline => {
                    let error = error.help("an older run's transaction is still being rolled back");
                    return Err(self.explained(error, 0).await);
                }
                Err(Blocked(_)) => {
                    // First, since who slept here must not take his heir for an older holder.
                    if !self.keep_lease(&lease, ttl).await? {
                        return self.held(resource).await;
                    }
                    self.end_blocker(&lease).await?;
                }
            }
        }
    }

    /// Grants a lease whose token all segments carry, once nothing of older holders is left that
    /// no fence covers.
    async fn succeed(&mut self, lease: Lease, ttl: Duration) -> Result<Claim, TargetError> {
        match self.end_open_steps(&lease, ttl).await {
            Ok(()) => {
                dunlin_engine::failpoint("claim.granted");
                Ok(Claim::Granted(lease))
            }
            // Somebody took over from us meanwhile.
            Err(error) if error.kind == ErrorKind::Fenced => self.held(&lease.resource).await,
            Err(error) => {
                if error.kind != ErrorKind::Lost {
                    // It would expire by itself; giving it back only spares others the wait.
                    let _ = self.release_lease(&lease).await;
                }
                Err(error)
            }
        }
    }

    /// Raises the token of all segments, in one transaction. A ledger of format 1 has none but 0.
    async fn raise_segments(
        &mut self,
        lease: &Lease,
        format: u32,
    ) -> Result<Result<Answer, Blocked>, TargetError> {
        let (job, token) = (text(&lease.resource.to_string()), lease.token);
        let table = self.ledger.table("segments");
        let attempts = if format >= 2 { "attempts = attempts + 1, " } else { "" };
        // One second, the shortest there is, then we see who blocks.
        let packet = format!(
            "SET SESSION innodb_lock_wait_timeout = 1; {BEGIN}\
             INSERT INTO {table} (job, seg, lo, upto, hi, token, rows_done, connection) \
             VALUES ({job}, 0, NULL, '0', '', {token}, 0, CONNECTION_ID()) \
             ON DUPLICATE KEY UPDATE \
             connection = IF(token < {token}, CONNECTION_ID(), connection), \
             token = GREATEST(token, {token}); \
             UPDATE {table} SET token = {token}, {attempts}connection = CONNECTION_ID() \
             WHERE job = {job} AND seg >= 1 AND token < {token}; \
             SELECT token, upto FROM {table} WHERE job = {job} AND seg = 0; COMMIT; {}",
            crate::facts::LEDGER_LOCK_WAIT
        );
        for _ in 0..CONFLICTS_MAX {
            match self.session.run(&packet).await {
                Ok(mut answers) if answers.len() == 7 => return Ok(Ok(answers.swap_remove(4))),
                Ok(_) => {
                    return Err(TargetError::new(ErrorKind::Bug, "the server answered too little"));
                }
                Err(error) => {
                    let error = self.session.rolled_back(error).await;
                    if error.kind == ErrorKind::Conflict {
                        continue;
                    }
                    if error.kind != ErrorKind::LockTimeout {
                        return Err(error);
                    }
                    self.session.run(crate::facts::LEDGER_LOCK_WAIT).await?;
                    return Ok(Err(Blocked(error)));
                }
            }
        }
        Err(TargetError::new(
            ErrorKind::Conflict,
            format!("the segments of {} keep changing", lease.resource),
        ))
    }

    async fn held(&mut self, resource: &Resource) -> Result<Claim, TargetError> {
        let query = format!(
            "{} WHERE resource = {}",
            self.ledger.select_leases(),
            text(&resource.to_string())
        );
        let answers = self.session.run(&query).await?;
        let row = answers.first().and_then(|answer| answer.rows.first());
        let holder: Option<LeaseHolder> = row.map(ledger::holder);
        holder.map(Claim::Held).ok_or_else(no_ledger)
    }

    pub(crate) async fn keep_lease(
        &mut self,
        lease: &Lease,
        ttl: Duration,
    ) -> Result<bool, TargetError> {
        let table = self.ledger.table("leases");
        let ours = ours(lease);
        // The row is read as well: an update that changes nothing counts as no row.
        let packet = format!(
            "UPDATE {table} SET expires_at = {} WHERE {ours}; \
             SELECT COUNT(*) FROM {table} WHERE {ours}",
            expiry(ttl)
        );
        let answers = self.repeated(&packet).await?;
        let count = answers.get(1).and_then(|answer| answer.rows.first()?.number::<u64>(0));
        Ok(count == Some(1))
    }

    pub(crate) async fn release_lease(&mut self, lease: &Lease) -> Result<(), TargetError> {
        let statement = format!(
            "UPDATE {} SET owner = NULL, expires_at = UTC_TIMESTAMP(6) WHERE {}",
            self.ledger.table("leases"),
            ours(lease)
        );
        self.repeated(&statement).await.map(drop)
    }
}

/// The checkpoint under that token; `None` where the row carries another.
fn standing(answer: &Answer, token: i64) -> Option<i64> {
    let row = answer.rows.first()?;
    if row.number::<i64>(0)? == token { row.number(1) } else { None }
}

fn ours(lease: &Lease) -> String {
    format!(
        "resource = {} AND owner = {} AND token = {}",
        text(&lease.resource.to_string()),
        text(&lease.owner.id),
        lease.token
    )
}

fn expiry(ttl: Duration) -> String {
    format!("UTC_TIMESTAMP(6) + INTERVAL {} MICROSECOND", ttl.as_micros())
}

fn no_ledger() -> TargetError {
    TargetError::new(ErrorKind::LedgerFormat, "there is no ledger in this database")
        .help("the dunlin_… tables were dropped while this ran")
}
