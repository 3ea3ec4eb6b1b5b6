//! Leases: who may run, and the fence that follows from it.
//!
//! Taking a lease is two commits. The first raises the lease's token where it is free, by the
//! server's clock. The second writes that token into the segment row, which waits for whatever
//! an older holder has under way: only then nobody else can commit, and only then we say so.

use std::time::{Duration, Instant};

use dunlin_engine::{Claim, ErrorKind, TargetError, failpoint};
use dunlin_model::{FORMAT, Lease, LeaseHolder, Owner, Resource};
use tokio_postgres::SimpleQueryRow;

use crate::blockers::look;
use crate::fence::{Access, LOCAL_SETTINGS, Limits, as_ledger_error, fenced, may_write};
use crate::quote;
use crate::rows::{field, number, required, single};
use crate::session::{APPLICATION_NAME, Session};
use crate::succession::{OURS, end_open_steps, older_sessions, open_steps};

/// How long the older holder's transaction is waited for before its session is ended. A COMMIT
/// that is only slow is done by then; a dead runner's session must not hold up the next one.
const OLDER_COMMIT_WAIT: Duration = Duration::from_secs(2);

/// How often a session that stands in the way is ended before giving up. Ending one takes
/// milliseconds; more than two means that something else is wrong.
const TAKEOVER_ATTEMPTS: usize = 6;

/// Who waited for another claim must see what it wrote, whatever the database's default is.
const READ_COMMITTED: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// Claims a lease; see the port.
pub(crate) async fn claim(
    session: &mut Session,
    resource: &Resource,
    owner: &Owner,
    ttl: Duration,
    displace: Option<&str>,
) -> Result<Claim, TargetError> {
    session.clean().await?;
    let answers = ask(session, &raise_sql(session, resource, owner, ttl, displace)).await?;
    let holder_row = single(&answers, LOCAL_SETTINGS + 2)?;
    may_write(number(holder_row, 7)?)?;
    let format: u32 = number(holder_row, 8)?;
    let Some(granted) = answers.get(LOCAL_SETTINGS + 1).and_then(|a| a.rows.first()) else {
        return Ok(Claim::Held(holder(holder_row)?));
    };
    let mut lease = Lease {
        resource: resource.clone(),
        owner: owner.clone(),
        token: number(granted, 0)?,
        commits: 0,
        seg: 0,
        beside: Vec::new(),
    };
    failpoint("claim.raised");
    match fence_off(session, &lease, format, ttl).await {
        Ok(Some((commits, open_steps))) => {
            lease.commits = commits;
            if open_steps && !ended(session, &lease, ttl).await? {
                return current_holder(session, resource).await.map(Claim::Held);
            }
            failpoint("claim.granted");
            Ok(Claim::Granted(lease))
        }
        // A newer holder was faster: its token is in the segment row already.
        Ok(None) => current_holder(session, resource).await.map(Claim::Held),
        Err(error) => {
            if error.kind != ErrorKind::Lost {
                // The lease would expire by itself; giving it back only spares others the wait.
                let _ = release(session, &lease).await;
            }
            Err(error)
        }
    }
}

/// Ends what older holders left behind that no fence covers. Whether the lease is still ours.
async fn ended(session: &mut Session, lease: &Lease, ttl: Duration) -> Result<bool, TargetError> {
    let ended = end_open_steps(session, lease, ttl).await;
    if let Err(error) = &ended
        && error.kind != ErrorKind::Lost
    {
        let _ = release(session, lease).await;
    }
    ended
}

/// Extends a lease.
pub(crate) async fn keep(
    session: &mut Session,
    lease: &Lease,
    ttl: Duration,
) -> Result<bool, TargetError> {
    session.clean().await?;
    let sql =
        format!("UPDATE dunlin.leases SET expires_at = {} WHERE {}", expiry(ttl), ours(lease));
    let answers = ask(session, &sql).await?;
    Ok(answers.get(1).is_some_and(|answer| answer.count == 1))
}

/// Until when nobody else can hold the lease, if it isn't kept any longer. By this process's clock,
/// counted from before the question left, so never later than by the server's.
pub(crate) async fn ours_until(session: &Session, lease: &Lease) -> Result<Instant, TargetError> {
    let asked = Instant::now();
    let all: Vec<String> = lease.each().map(|one| format!("({})", ours(one))).collect();
    let sql = format!(
        "SELECT pg_catalog.count(*), COALESCE(pg_catalog.min({LEFT_MS}), 0) FROM dunlin.leases \
         WHERE {}",
        all.join(" OR ")
    );
    let answers =
        session.ask(&sql).await.map_err(|error| as_ledger_error(session, error, Access::Read))?;
    let row = single(&answers, 0)?;
    if number::<usize>(row, 0)? != all.len() {
        return Err(fenced(lease));
    }
    let left: i64 = number(row, 1)?;
    Ok(asked + Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}

/// Gives a lease back. Its row stays, so that its token goes on growing.
pub(crate) async fn release(session: &mut Session, lease: &Lease) -> Result<(), TargetError> {
    session.clean().await?;
    let sql = format!(
        "UPDATE dunlin.leases SET owner = NULL, expires_at = pg_catalog.clock_timestamp() WHERE {}",
        ours(lease)
    );
    ask(session, &sql).await.map(|_| ())
}

async fn ask(session: &Session, sql: &str) -> Result<Vec<crate::rows::Answer>, TargetError> {
    let sql = format!("{READ_COMMITTED};{sql}");
    session.ask(&sql).await.map_err(|error| as_ledger_error(session, error, Access::Write))
}

fn ours(lease: &Lease) -> String {
    format!(
        "resource = {} AND owner = {} AND token = {}",
        quote::text(&lease.resource.to_string()),
        quote::text(&lease.owner.id),
        lease.token
    )
}

fn expiry(ttl: Duration) -> String {
    format!("pg_catalog.clock_timestamp() + {} * interval '1 millisecond'", ttl.as_millis())
}

/// How many milliseconds a lease has left, by the server's clock.
const LEFT_MS: &str = "pg_catalog.floor(pg_catalog.date_part('epoch', \
     expires_at - pg_catalog.clock_timestamp()) * 1000)::bigint";

/// What [`holder`] reads.
fn holder_columns() -> String {
    format!("resource, COALESCE(owner, ''), host, pid, identity, token, {LEFT_MS}")
}

/// One message, so one transaction. The first statement bounds the wait for another claim of the
/// same moment; the second raises the token; the third tells who has it now.
fn raise_sql(
    session: &Session,
    resource: &Resource,
    owner: &Owner,
    ttl: Duration,
    displace: Option<&str>,
) -> String {
    format!(
        "{limits};\
         INSERT INTO dunlin.leases AS l (resource, owner, host, pid, identity, token, expires_at) \
         SELECT {resource}, {owner}, {host}, {pid}, {identity}, 1, {expiry} \
         WHERE (SELECT min_writer FROM dunlin.meta) <= {FORMAT} \
         ON CONFLICT (resource) DO UPDATE SET owner = EXCLUDED.owner, host = EXCLUDED.host, \
         pid = EXCLUDED.pid, identity = EXCLUDED.identity, token = l.token + 1, \
         expires_at = {expiry} WHERE l.owner IS NULL OR l.owner = EXCLUDED.owner \
         OR l.owner = {displace} OR l.expires_at < pg_catalog.clock_timestamp() \
         RETURNING token;\
         SELECT {columns}, (SELECT min_writer FROM dunlin.meta), (SELECT format FROM dunlin.meta) FROM \
         (SELECT 1) AS one LEFT JOIN dunlin.leases ON resource = {resource}",
        limits = Limits::LEDGER.sql(session, APPLICATION_NAME, true),
        columns = holder_columns(),
        resource = quote::text(&resource.to_string()),
        owner = quote::text(&owner.id),
        host = quote::text(&owner.host),
        pid = owner.pid,
        identity = quote::text(&owner.identity),
        expiry = expiry(ttl),
        displace = quote::optional(displace),
    )
}

/// Writes the token into all segment rows of the resource: the count of commits and whether older
/// holders left steps open, or `None` where a newer token is there already. It waits for a transaction of an older holder, and in the end closes its session.
async fn fence_off(
    session: &mut Session,
    lease: &Lease,
    format: u32,
    ttl: Duration,
) -> Result<Option<(i64, bool)>, TargetError> {
    let job = quote::text(&lease.resource.to_string());
    let limits = Limits { lock: OLDER_COMMIT_WAIT, statement: None };
    let sql = format!(
        "{READ_COMMITTED};{};INSERT INTO dunlin.segments AS s (job, seg, lo, upto, hi, token) \
         VALUES ({job}, 0, '', '0', '', {token}) ON CONFLICT (job, seg) DO UPDATE \
         SET token = EXCLUDED.token WHERE s.token < EXCLUDED.token RETURNING upto;\
         UPDATE dunlin.segments SET token = {token}{attempts} WHERE job = {job} AND seg >= 1 \
         AND token < {token};SELECT 1 FROM dunlin.steps WHERE {} LIMIT 1",
        limits.sql(session, APPLICATION_NAME, true),
        open_steps(lease),
        // A ledger of format 1 counts no attempts, and has no segments of backfills either.
        attempts = if format >= 2 { ", attempts = attempts + 1" } else { "" },
        token = lease.token,
    );
    let mut last = None;
    for _ in 0..TAKEOVER_ATTEMPTS {
        match session.ask(&sql).await {
            Ok(answers) => {
                let row = answers.get(LOCAL_SETTINGS + 1).and_then(|answer| answer.rows.first());
                let open = answers.last().is_some_and(|answer| !answer.rows.is_empty());
                return row.map(|row| Ok((number(row, 0)?, open))).transpose();
            }
            Err(error) if error.kind == ErrorKind::LockTimeout => {
                // Who slept here waits for his heir.
                if !keep(session, lease, ttl).await? {
                    return Ok(None);
                }
                end_older_sessions(session, lease).await?;
                last = Some(error);
            }
            Err(error) => return Err(as_ledger_error(session, error, Access::Write)),
        }
    }
    let error = last.unwrap_or_else(|| TargetError::new(ErrorKind::LockTimeout, "no lock"));
    Err(TargetError {
        message: format!(
            "the lease on {} was taken over, but a transaction of its older holder does not end",
            lease.resource
        ),
        notes: who_blocks(session, &sql).await,
        ..error
    }
    .help("end that session: SELECT pg_terminate_backend(PID)"))
}

/// Ends sessions of ours that work under an older token of this lease. They could not commit any
/// more, but one that has passed its fence already holds the row.
async fn end_older_sessions(session: &Session, lease: &Lease) -> Result<(), TargetError> {
    let sql = format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE {OURS} AND {}",
        older_sessions(lease)
    );
    session.ask(&sql).await.map(|_| ())
}

/// Sends the blocked statement once more and looks from a second connection who blocks it.
async fn who_blocks(session: &Session, sql: &str) -> Vec<String> {
    let Ok(second) = session.second().await else {
        return Vec::new();
    };
    let Ok(answers) = session.ask("SELECT pg_catalog.pg_backend_pid()").await else {
        return Vec::new();
    };
    let Ok(pid) = single(&answers, 0).and_then(|row| number(row, 0)) else {
        return Vec::new();
    };
    let blocked = session.ask(sql);
    let looking = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            match look(&second, pid).await {
                Ok(lines) if !lines.is_empty() => return lines,
                _ => {}
            }
        }
        Vec::new()
    };
    // The blocked statement ends by its own lock timeout; only what was seen matters.
    let (_, seen) = tokio::join!(blocked, looking);
    seen
}

async fn current_holder(
    session: &Session,
    resource: &Resource,
) -> Result<LeaseHolder, TargetError> {
    let sql = format!(
        "SELECT {columns} FROM dunlin.leases WHERE resource = {}",
        quote::text(&resource.to_string()),
        columns = holder_columns(),
    );
    let answers = session.ask(&sql).await?;
    holder(single(&answers, 0)?)
}

/// Columns 0 to 6: those of [`holder_columns`].
fn holder(row: &SimpleQueryRow) -> Result<LeaseHolder, TargetError> {
    Ok(LeaseHolder {
        resource: required(row, 0)?.to_owned(),
        owner: Owner {
            id: required(row, 1)?.to_owned(),
            host: required(row, 2)?.to_owned(),
            pid: number(row, 3)?,
            identity: field(row, 4)?.unwrap_or_default().to_owned(),
        },
        token: number(row, 5)?,
        remaining_ms: number(row, 6)?,
    })
}

/// All leases that somebody holds, for reading the ledger.
pub(crate) fn all_sql() -> String {
    format!(
        "SELECT {} FROM dunlin.leases WHERE owner IS NOT NULL ORDER BY resource",
        holder_columns()
    )
}

/// A row of [`all_sql`].
pub(crate) fn decode(row: &SimpleQueryRow) -> Result<LeaseHolder, TargetError> {
    holder(row)
}
