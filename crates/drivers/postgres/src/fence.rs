//! The beginning of every writing transaction: its limits, its name, and the fence.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{FORMAT, Lease, Resource};

use crate::quote;
use crate::rows::{number, required, single};
use crate::session::Session;

/// How long the server lets a transaction of ours idle before it ends the session. We never think
/// in the middle of one, so 30 s of silence mean that we are gone or stopped.
const IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(30);

/// How long the ledger's own small transactions wait for a lock.
pub(crate) const LEDGER_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long statements of a transaction may wait and take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For a lock.
    pub(crate) lock: Duration,
    /// For a statement; `None`: as long as it takes.
    pub(crate) statement: Option<Duration>,
}

impl Limits {
    /// Those of the ledger's own transactions.
    pub(crate) const LEDGER: Self = Self { lock: LEDGER_LOCK_TIMEOUT, statement: None };

    /// As statements that set them, for the transaction (`local`) or the session, together with
    /// the name that others see. SET costs the server a tenth of what `set_config` does, and this
    /// is sent with every migration. The last one returns the number of the backend: see
    /// [`LOCAL_SETTINGS`].
    pub(crate) fn sql(self, session: &Session, name: &str, local: bool) -> String {
        let mut statements = self.settings(name, local);
        statements.push(session.backend_sql(local));
        statements.join(";")
    }

    /// The settings alone, a statement each; none of them takes a snapshot.
    pub(crate) fn settings(self, name: &str, local: bool) -> Vec<String> {
        let scope = if local { "LOCAL" } else { "SESSION" };
        let mut all = vec![
            format!("SET {scope} application_name TO {}", quote::text(name)),
            format!("SET {scope} lock_timeout TO {}", milliseconds(self.lock)),
            format!("SET {scope} statement_timeout TO {}", self.statement.map_or(0, milliseconds)),
        ];
        if local {
            let idle = milliseconds(IDLE_IN_TRANSACTION_MAX);
            all.push(format!("SET LOCAL idle_in_transaction_session_timeout TO {idle}"));
        }
        all
    }
}

/// What there is for the resource in a session's name: the server keeps 63 bytes, and a token has up to
/// 15 digits before a ledger wears out.
const RESOURCE_BYTES: usize = 63 - "dunlin//".len() - 15;

/// How many answers the local settings give; the last of them holds the number of the backend.
pub(crate) const LOCAL_SETTINGS: usize = 5;

/// A login named `dunlin` has our schema first on its search path (`"$user"`): its files would
/// create their tables among the ledger's, and find ours under names like `history`. For files the
/// path then is what it was, without it.
pub(crate) fn own_schema_off_the_path(local: bool) -> String {
    format!(
        "CASE WHEN 'dunlin' = ANY (pg_catalog.current_schemas(false)) THEN \
         pg_catalog.set_config('search_path', (SELECT COALESCE(pg_catalog.string_agg(\
         pg_catalog.quote_ident(s), ', ' ORDER BY o), '') FROM pg_catalog.unnest(\
         pg_catalog.current_schemas(false)) WITH ORDINALITY AS p(s, o) WHERE s <> 'dunlin'), \
         {local}) END"
    )
}

/// Never 0, which the server takes for "no limit", and never more than it can store.
fn milliseconds(duration: Duration) -> u128 {
    duration.as_millis().clamp(1, i32::MAX as u128)
}

/// Makes the rest of a transaction run as the login, whatever role a file has taken on.
pub(crate) const AS_LOGIN: &str =
    "SET LOCAL session_authorization TO DEFAULT;SET LOCAL role TO DEFAULT;";

/// What the server's lists call a session that works under a lease.
pub(crate) fn session_name(lease: &Lease) -> String {
    session_name_under(&lease.resource, lease.token)
}

/// The same, under another token of that resource's lease.
pub(crate) fn session_name_under(resource: &Resource, token: i64) -> String {
    format!("{}{token}", session_prefix(resource))
}

/// What the names of all sessions begin with that work under leases of a resource, and no others. The
/// server cuts what is longer, and replaces letters that aren't ASCII.
pub(crate) fn session_prefix(resource: &Resource) -> String {
    format!("dunlin/{}/", resource.within(RESOURCE_BYTES))
}

/// The fence and the checkpoint, one row: it fails in the server, also when more is sent behind
/// it, if the token or the count is another. It touches no row if our format may not write.
fn fence_sql(lease: &Lease) -> String {
    format!(
        "UPDATE dunlin.segments SET upto = CASE WHEN token = {token} AND upto = '{old}' \
         AND hi = '' THEN '{new}' END WHERE job = {job} AND seg = {seg} \
         AND (SELECT min_writer FROM dunlin.meta) <= {FORMAT}",
        token = lease.token,
        old = lease.commits,
        new = lease.commits + 1,
        job = quote::text(&lease.resource.to_string()),
        seg = lease.seg,
    )
}

/// Makes a lane's fence, or takes up the one that an earlier run left: how many commits it has seen.
/// The lease's own fence is held meanwhile, so that whoever takes the lease over finds this one too.
#[cfg(feature = "move")]
pub(crate) async fn make_lane(
    session: &Session,
    lease: &Lease,
    number_of: u32,
) -> Result<Lease, TargetError> {
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;{settings};\
         WITH held AS (SELECT token FROM dunlin.segments WHERE job = {job} AND seg = 0 \
         AND token = {token} AND (SELECT min_writer FROM dunlin.meta) <= {FORMAT} FOR SHARE) \
         INSERT INTO dunlin.segments AS s (job, seg, lo, upto, hi, token) \
         SELECT {job}, {number_of}, '', '0', '', held.token FROM held \
         ON CONFLICT (job, seg) DO UPDATE SET token = EXCLUDED.token \
         WHERE s.token <= EXCLUDED.token RETURNING upto",
        settings = Limits::LEDGER.sql(session, &session_name(lease), true),
        job = quote::text(&lease.resource.to_string()),
        token = lease.token,
    );
    let answers = match session.ask(&sql).await {
        Ok(answers) => answers,
        Err(error) => {
            session.rollback().await;
            return Err(as_ledger_error(session, error, Access::Write));
        }
    };
    let Some(row) = answers.get(1 + LOCAL_SETTINGS).and_then(|answer| answer.rows.first()) else {
        session.rollback().await;
        check_writer(session).await?;
        return Err(fenced(lease));
    };
    let commits = number(row, 0)?;
    session.commit().await?;
    Ok(Lease { commits, seg: number_of, ..lease.clone() })
}

/// Begins a transaction under a lease and sends `writes` (statements of the ledger's) with it, all
/// in one round trip. On failure the transaction is gone.
pub(crate) async fn begin_fenced(
    session: &Session,
    lease: &Lease,
    limits: Limits,
    writes: &str,
) -> Result<(), TargetError> {
    begin_fenced_at(session, lease, limits, "", writes).await
}

/// The same, with what stands behind BEGIN: an isolation level other than the database's.
pub(crate) async fn begin_fenced_at(
    session: &Session,
    lease: &Lease,
    limits: Limits,
    level: &str,
    writes: &str,
) -> Result<(), TargetError> {
    let (as_login, first) = if session.dirty {
        // A step of a file may have changed the role; the ledger is written as the login.
        (AS_LOGIN, 3)
    } else {
        ("", 1)
    };
    let fence_index = first + LOCAL_SETTINGS;
    let head = format!(
        "BEGIN{level};{as_login}{settings};{fence};{writes}",
        settings = limits.sql(session, &session_name(lease), true),
        fence = lease.each().map(fence_sql).collect::<Vec<_>>().join(";"),
    );
    let answers = match session.ask(&head).await {
        Ok(answers) => answers,
        Err(error) => {
            session.rollback().await;
            return Err(as_ledger_error(session, error, Access::Write));
        }
    };
    if let Ok(pid) = number(single(&answers, fence_index - 1)?, 0) {
        session.backend.store(pid, Ordering::Relaxed);
    }
    let passed = |index: usize| answers.get(fence_index + index).is_some_and(|one| one.count == 1);
    let refused = lease.each().enumerate().find(|(index, _)| !passed(*index));
    let Some((_, lost)) = refused else { return Ok(()) };
    session.rollback().await;
    check_writer(session).await?;
    Err(fenced(lost))
}

/// What puts a transaction back into the role that the session has outside of it, if a statement of
/// a file may have changed that. To be asked for before the transaction begins, and sent in it, behind
/// what must run as the login.
pub(crate) async fn in_role(session: &Session) -> Result<Option<String>, TargetError> {
    if !session.dirty {
        return Ok(None);
    }
    let roles = "SELECT pg_catalog.current_setting('session_authorization'), \
         pg_catalog.current_setting('role')";
    let answers = session.ask(roles).await?;
    let row = single(&answers, 0)?;
    Ok(Some(format!(
        "SET LOCAL session_authorization TO {};SET LOCAL role TO {}",
        quote::text(required(row, 0)?),
        quote::text(required(row, 1)?)
    )))
}

/// Begins a transaction during which nobody can take the lease over, for what must not be done by a
/// runner that slept past its end. It writes no ledger row, so its commit is not counted. Its
/// statements run in the role that the session has. Without the lease: an error, and no transaction.
pub(crate) async fn hold_fence(session: &Session, lease: &Lease) -> Result<(), TargetError> {
    let (as_login, first) = if session.dirty { (AS_LOGIN, 3) } else { ("", 1) };
    let in_role = in_role(session).await?.map(|role| format!(";{role}")).unwrap_or_default();
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;{as_login}{settings};\
         SELECT 1 FROM dunlin.segments WHERE job = {job} AND seg = {seg} AND token = {token} \
         AND (SELECT min_writer FROM dunlin.meta) <= {FORMAT} FOR SHARE{in_role}",
        settings = Limits::LEDGER.sql(session, &session_name(lease), true),
        job = quote::text(&lease.resource.to_string()),
        seg = lease.seg,
        token = lease.token,
    );
    let answers = match session.ask(&sql).await {
        Ok(answers) => answers,
        Err(error) => {
            session.rollback().await;
            return Err(as_ledger_error(session, error, Access::Write));
        }
    };
    if answers.get(first + LOCAL_SETTINGS).is_some_and(|held| !held.rows.is_empty()) {
        return Ok(());
    }
    session.rollback().await;
    check_writer(session).await?;
    Err(fenced(lease))
}

/// Commits what [`begin_fenced`] began, and counts it.
pub(crate) async fn commit_fenced(session: &Session, lease: &mut Lease) -> Result<(), TargetError> {
    if let Err(error) = session.commit().await {
        if error.kind != ErrorKind::Lost {
            session.rollback().await;
        }
        return Err(error);
    }
    session.forget_backend();
    lease.count_commit();
    Ok(())
}

/// The lease is lost.
pub(crate) fn fenced(lease: &Lease) -> TargetError {
    TargetError::new(
        ErrorKind::Fenced,
        format!("the lease on {} is no longer ours: another runner took it over", lease.resource),
    )
}

/// Whether our format may write the ledger.
pub(crate) async fn check_writer(session: &Session) -> Result<(), TargetError> {
    let answers = session
        .ask("SELECT min_writer, format FROM dunlin.meta")
        .await
        .map_err(|error| as_ledger_error(session, error, Access::Read))?;
    let row = single(&answers, 0)?;
    may_write(number(row, 0)?)
}

/// An error unless our format may write a ledger.
pub(crate) fn may_write(min_writer: u32) -> Result<(), TargetError> {
    may("write", min_writer)
}

/// An error unless our format may read a ledger.
pub(crate) fn may_read(min_reader: u32) -> Result<(), TargetError> {
    may("read", min_reader)
}

fn may(verb: &str, minimum: u32) -> Result<(), TargetError> {
    if FORMAT >= minimum {
        return Ok(());
    }
    Err(TargetError::new(
        ErrorKind::LedgerFormat,
        format!(
            "a newer Dunlin wrote this ledger: format {minimum} is needed to {verb} it, this \
             program has format {FORMAT}"
        ),
    )
    .help("use a newer version of Dunlin for this database"))
}

/// What was being done to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading it.
    Read,
    /// Writing it.
    Write,
}

/// Adds to a refusal on the ledger what would allow it.
pub(crate) fn as_ledger_error(
    session: &Session,
    error: TargetError,
    access: Access,
) -> TargetError {
    let user = quote::name(&session.endpoint.user_name());
    match error.kind {
        _ if matches!(error.code.as_deref(), Some("42P01" | "3F000")) => TargetError {
            message: format!("the ledger, or a part of it, is gone: {}", error.message),
            ..error
        }
        .help(
            "was it dropped with its last move meanwhile? then run this again; if not, restore the \
             schema `dunlin` from a backup",
        ),
        ErrorKind::Fenced => TargetError {
            message: "the lease is no longer ours: another runner took it over".to_owned(),
            ..error
        },
        ErrorKind::Permission => {
            let rights = match access {
                Access::Read => "SELECT",
                Access::Write => "SELECT, INSERT, UPDATE, DELETE",
            };
            let verb = if access == Access::Read { "read" } else { "write" };
            TargetError {
                message: format!("this login may not {verb} the ledger: {}", error.message),
                ..error
            }
            .help(format!(
                "as the ledger's owner: GRANT USAGE ON SCHEMA dunlin TO {user}; GRANT {rights} ON \
                 ALL TABLES IN SCHEMA dunlin TO {user};"
            ))
        }
        _ => error,
    }
}
