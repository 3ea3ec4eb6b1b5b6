//! What a new holder of a lease does about the steps that older holders left open: a statement that
//! is sent alone has no fence, so the session that would send it, or is at work on it, is ended.
//!
//! Invariant: nobody is told that a lease is theirs while a session is there on which an older
//! holder opened a step. Whoever comes next may call such a step what he likes, and send it again.

use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Lease, Resource};

use crate::fence::{hold_fence, session_prefix};
use crate::lease::keep;
use crate::quote;
use crate::rows::number;
use crate::session::Session;

/// How often the server is asked whether an ended session is gone, and how long in between: 20 s
/// in all. Only a session that is stuck in the system's kernel takes that long.
pub(crate) const ENDING_LOOKS: usize = 100;
pub(crate) const ENDING_PAUSE: Duration = Duration::from_millis(200);

/// Which rows of `dunlin.steps` older holders of a lease left open, as a condition.
pub(crate) fn open_steps(lease: &Lease) -> String {
    let of = match &lease.resource {
        Resource::Schema => "kind = 'schema'".to_owned(),
        Resource::Data(version) => format!("kind = 'data' AND version = {version}"),
        Resource::Move(_) => "false".to_owned(),
    };
    format!("state = 'open' AND token < {} AND {of}", lease.token)
}

/// Which sessions work under an older token of a lease, as a condition: ours, with a name that only
/// a fenced transaction or step of that lease bears.
pub(crate) fn older_sessions(lease: &Lease) -> String {
    let prefix = session_prefix(&lease.resource);
    format!(
        "CASE WHEN pg_catalog.left(application_name, {length}) = {prefix} \
         AND pg_catalog.substr(application_name, {after}) ~ '^[0-9]{{1,18}}$' \
         THEN pg_catalog.substr(application_name, {after})::bigint < {token} ELSE false END",
        after = prefix.len() + 1,
        length = prefix.len(),
        prefix = quote::text(&prefix),
        token = lease.token,
    )
}

/// Which sessions may be ours: same database, same login, and not this one.
pub(crate) const OURS: &str = "datname = pg_catalog.current_database() AND usename = SESSION_USER \
     AND pid <> pg_catalog.pg_backend_pid()";

/// Ends the sessions on which older holders opened steps that nobody has closed, and waits until
/// they are gone. Whether the lease is still ours then.
///
/// They are known by their name; by the process that the journal names, where it was there before
/// the step (a number may be given again); and, behind a pooler, where no session is a runner's own,
/// by the statement that they are at work on.
pub(crate) async fn end_open_steps(
    session: &mut Session,
    lease: &Lease,
    ttl: Duration,
) -> Result<bool, TargetError> {
    let end = format!(
        "SELECT pid, pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity AS a \
         WHERE {OURS} AND ({older} OR EXISTS (SELECT FROM dunlin.steps AS s WHERE {open} \
         AND (s.connection = a.pid AND a.backend_start <= s.opened_at \
         OR a.state = 'active' AND pg_catalog.left(a.application_name, 6) = 'dunlin' \
         AND pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(a.query, 'UTF8')), 'hex') \
         = s.checksum)))",
        older = older_sessions(lease),
        open = open_steps(lease),
    );
    let mut pids = Vec::new();
    for look in 0..ENDING_LOOKS {
        if look > 0 {
            tokio::time::sleep(ENDING_PAUSE).await;
            if !keep(session, lease, ttl).await? {
                return Ok(false);
            }
        }
        pids = match end_fenced(session, lease, &end).await {
            Ok(pids) if pids.is_empty() => return Ok(true),
            Ok(pids) => pids,
            Err(error) if error.kind == ErrorKind::Fenced => return Ok(false),
            Err(error) => return Err(error),
        };
    }
    Err(still_there(&pids))
}

/// Ends sessions behind the lease's fence: somebody who slept past the end of his lease ends
/// nothing, what runs is his heir's. Returns those that were still there. A transaction a look,
/// since a transaction sees one state of the list.
pub(crate) async fn end_fenced(
    session: &Session,
    lease: &Lease,
    end: &str,
) -> Result<Vec<i32>, TargetError> {
    hold_fence(session, lease).await?;
    let answers = session.ask(end).await;
    session.rollback().await;
    let answers = answers?;
    let rows = answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default();
    rows.iter().map(|row| number(row, 0)).collect()
}

/// They were told to end, and did not.
pub(crate) fn still_there(pids: &[i32]) -> TargetError {
    TargetError::new(
        ErrorKind::LockTimeout,
        format!("an earlier runner's statement is still running (pid {pids:?}) and does not end"),
    )
    .help("wait until it is done, or end it on the server, then run the same command again")
}
