//! Statements that cannot run in a transaction: each journalled before and after, sent alone.
//!
//! All steps of a file share one session of the server, as they would in psql, so a SET at its top
//! reaches its last statement. A runner that goes on in another session sends those again.

use std::time::Instant;

use dunlin_engine::{ErrorKind, TargetError, Work, failpoint};
use dunlin_model::{Checksums, Lease, Restart, Statement, StepState, TraceKind};

use crate::commit::limits_of;
use crate::entry::{finish_journalled_sql, record_sql, running_sql};
use crate::fence::{
    AS_LOGIN, Access, Limits, as_ledger_error, begin_fenced, commit_fenced, in_role, session_name,
};
use crate::image::{builds_index_concurrently, expression, objects};
use crate::lease::ours_until;
use crate::quote;
use crate::rows::field;
use crate::session::{Session, StepSession, leaves_traces};
use crate::settle::clear_leftovers;
use crate::statements::{check, run_alone};
use crate::watcher::Watcher;

/// Looks whether a work can run as planned over this connection.
pub(crate) async fn preflight(session: &mut Session, work: &Work) -> Result<(), TargetError> {
    let pooled = session.is_pooled().await?;
    check(&work.statements, pooled)?;
    let stepwise = work.statements.iter().any(|s| s.facts.outside_transaction.is_some());
    if pooled && stepwise {
        refuse_pooled_steps(work)?;
    }
    Ok(())
}

/// Refuses a file whose statements are steps of their own where one of them does not work through a
/// pooler, before its first one.
fn refuse_pooled_steps(work: &Work) -> Result<(), TargetError> {
    for (index, statement) in work.statements.iter().enumerate() {
        refuse_pooled_setting(statement)
            .and_then(|()| refuse_harm_done_late(statement))
            .map_err(|error| error.in_statement(index))?;
    }
    Ok(())
}

/// A statement that is sent alone has no fence. A direct session is ended before somebody else goes
/// on; behind a pooler a runner that was stopped before it sent its statement has none that could
/// be ended. It looks whether its lease may have ended right before it sends, but there are
/// microseconds left in which it can be stopped. So only those may go through one that then fail,
/// or do no harm.
fn refuse_harm_done_late(statement: &Statement) -> Result<(), TargetError> {
    let facts = &statement.facts;
    let alone = facts.restart != Restart::Transactional || facts.outside_transaction.is_some();
    let mut words = facts.verb.split(' ');
    let harmless = match words.next().unwrap_or_default() {
        // They change nothing that anybody can see.
        "VACUUM" | "ANALYZE" | "ANALYSE" | "REINDEX" | "CLUSTER" | "CHECKPOINT" => true,
        // It is there already. An index without a name would get another one.
        "CREATE" if builds_index_concurrently(statement) => {
            !facts.traces.iter().any(|trace| trace.kind == TraceKind::IndexOn)
        }
        "CREATE" => true,
        "ALTER" => words.next() == Some("TYPE"),
        _ => false,
    };
    if !alone || harmless {
        return Ok(());
    }
    Err(TargetError::new(
        ErrorKind::Refused,
        format!(
            "{} outside a transaction does not work through a pooler: a runner that was stopped \
             before it sent it would send it once more when it wakes up",
            facts.verb
        ),
    )
    .help("set `direct_url` to an address of the server itself"))
}

/// Behind a pooler a setting would reach another client's transactions, and not our next step.
fn refuse_pooled_setting(statement: &Statement) -> Result<(), TargetError> {
    if !statement.facts.changes_session {
        return Ok(());
    }
    Err(TargetError::new(
        ErrorKind::Refused,
        "a setting of the session outside a transaction does not work through a pooler",
    )
    .help("set `direct_url` to an address of the server itself"))
}

/// Makes the session that of this file's steps, up to a statement.
pub(crate) async fn enter(
    session: &mut Session,
    lease: &Lease,
    work: &Work,
    ordinal: usize,
) -> Result<(), TargetError> {
    let pooled = session.is_pooled().await?;
    if pooled && session.our_schema_may_be_on_the_path() {
        // Within a transaction we take it off the path; here nothing can be set.
        return Err(TargetError::new(
            ErrorKind::Refused,
            "a login named `dunlin` finds the ledger's tables under unqualified names, which \
             cannot be helped outside a transaction through a pooler",
        )
        .help(
            "set `direct_url` to an address of the server itself, or, once: \
             ALTER ROLE dunlin SET search_path = public;",
        ));
    }
    let ours = session
        .steps
        .filter(|s| s.id == work.entry.id && s.direction == work.direction && s.next <= ordinal);
    let mut next = match ours {
        Some(steps) => steps.next,
        None => {
            session.clean().await?;
            if !pooled {
                session.ask(&limits_of(work).sql(session, &session_name(lease), false)).await?;
                session.dirty = true;
            }
            0
        }
    };
    while next < ordinal && !pooled {
        if let Some(statement) = work.statements.get(next).filter(|s| s.facts.changes_session) {
            run_alone(session, statement, next).await?;
        }
        next += 1;
    }
    session.steps =
        Some(StepSession { id: work.entry.id, direction: work.direction, next: next.max(ordinal) });
    Ok(())
}

/// Notes that a statement had its say about the session.
fn advance(session: &mut Session, ordinal: usize) {
    if let Some(steps) = &mut session.steps {
        steps.next = steps.next.max(ordinal + 1);
    }
}

/// Journals that a step is about to be sent. Its close never waits for the next one: what runs
/// outside a transaction here takes longer than a commit.
pub(crate) async fn open_step(
    session: &mut Session,
    lease: &mut Lease,
    work: &Work,
    ordinal: u32,
    closes: Option<u32>,
) -> Result<bool, TargetError> {
    let index = ordinal as usize;
    let pooled = session.is_pooled().await?;
    if pooled {
        refuse_pooled_steps(work)?;
    }
    let statement = work.statements.get(index);
    if statement.is_some() {
        enter(session, lease, work, index).await?;
    } else {
        session.clean().await?;
    }
    if statement.is_some_and(builds_index_concurrently) {
        clear_before_reopening(session, lease, work, ordinal).await?;
    }
    let image = expression(&statement.map(objects).unwrap_or_default());
    let checksum = match (statement, &work.entry.content) {
        (Some(statement), _) => Checksums::of_bytes(statement.text.as_bytes()),
        (None, Some((checksums, _))) => checksums.text.clone(),
        (None, None) => String::new(),
    };
    let writes = format!(
        "{name}{other};INSERT INTO dunlin.steps AS s (kind, version, direction, pass, ordinal, \
         checksum, state, token, connection, image) SELECT {key}, {checksum}, 'open', {token}, \
         {connection}, {image} ON CONFLICT (kind, version, direction, pass, \
         ordinal) DO UPDATE SET checksum = EXCLUDED.checksum, state = 'open', \
         token = EXCLUDED.token, connection = EXCLUDED.connection, image = EXCLUDED.image, \
         opened_at = pg_catalog.clock_timestamp(), closed_at = NULL",
        // A statement before it may have changed the session's name, by which an heir finds it.
        name = if pooled { String::new() } else { step_name_sql(lease) },
        other = running_or_closed_sql(work, closes),
        key = step_values(work, ordinal),
        checksum = quote::text(&checksum),
        token = lease.token,
        // What a pooler's process does next may be another client's.
        connection = if pooled { "NULL" } else { "pg_catalog.pg_backend_pid()" },
    );
    begin_fenced(session, lease, Limits::LEDGER, &writes).await?;
    commit_fenced(session, lease).await?;
    failpoint("step.opened");
    Ok(false)
}

/// Gives the session the name of the lease's steps, beyond the transaction that says it.
fn step_name_sql(lease: &Lease) -> String {
    format!("SET SESSION application_name TO {};", quote::text(&session_name(lease)))
}

/// With a step that is done the migration's row is `running` already.
fn running_or_closed_sql(work: &Work, closes: Option<u32>) -> String {
    match closes {
        Some(ordinal) => closed_sql(work, ordinal, StepState::Done),
        None => running_sql(&work.entry),
    }
}

fn closed_sql(work: &Work, ordinal: u32, state: StepState) -> String {
    let closed = if state == StepState::Open { "NULL" } else { "pg_catalog.clock_timestamp()" };
    format!(
        "UPDATE dunlin.steps SET state = '{}', closed_at = {closed} WHERE {}",
        state.as_str(),
        step_condition(work, ordinal)
    )
}

fn step_values(work: &Work, ordinal: u32) -> String {
    format!(
        "'{}', {}, '{}', {}, {ordinal}",
        work.entry.id.kind,
        work.entry.id.version,
        work.direction.as_str(),
        work.entry.pass
    )
}

fn step_condition(work: &Work, ordinal: u32) -> String {
    format!("(kind, version, direction, pass, ordinal) = ({})", step_values(work, ordinal))
}

/// A step that failed earlier may have left an INVALID index that could not be dropped then.
async fn clear_before_reopening(
    session: &Session,
    lease: &Lease,
    work: &Work,
    ordinal: u32,
) -> Result<(), TargetError> {
    let sql =
        format!("{AS_LOGIN}SELECT image FROM dunlin.steps WHERE {}", step_condition(work, ordinal));
    let answers =
        session.ask(&sql).await.map_err(|error| as_ledger_error(session, error, Access::Read))?;
    let Some(row) = answers.last().and_then(|answer| answer.rows.first()) else {
        return Ok(());
    };
    let Some(statement) = work.statements.get(ordinal as usize) else {
        return Ok(());
    };
    clear_leftovers(session, lease, statement, field(row, 0)?).await
}

/// Sends one statement alone.
pub(crate) async fn send_step(
    session: &mut Session,
    lease: &Lease,
    work: &Work,
    ordinal: u32,
) -> Result<Option<u64>, TargetError> {
    let index = ordinal as usize;
    let Some(statement) = work.statements.get(index) else {
        return Ok(None);
    };
    let pooled = session.is_pooled().await?;
    check(&work.statements, pooled)?;
    if pooled {
        refuse_pooled_steps(work)?;
    }
    enter(session, lease, work, index).await?;
    let ours_until = if pooled { Some(ours_until(session, lease).await?) } else { None };
    failpoint("step.sending");
    if ours_until.is_some_and(|until| Instant::now() >= until) {
        return Err(stood_still(lease));
    }
    let watcher = Watcher::start(session, work.lock_timeout);
    let result = run_alone(session, statement, index).await;
    match result {
        Ok(count) => {
            advance(session, index);
            failpoint("step.executed");
            Ok(count)
        }
        Err(error) => {
            let mut error = watcher.explain(error);
            if error.kind != ErrorKind::Lost && builds_index_concurrently(statement) {
                note_leftovers(session, lease, work, ordinal, &mut error).await;
            }
            Err(error)
        }
    }
}

/// Behind a pooler no heir could end our session, so a statement that is sent alone must not leave
/// once somebody else may have the lease: the harmless ones too may be late for what an heir has done
/// since, a dropped index that comes back.
fn stood_still(lease: &Lease) -> TargetError {
    TargetError::new(
        ErrorKind::Fenced,
        format!(
            "the lease on {} ended while this runner stood still, so the statement was not sent",
            lease.resource
        ),
    )
}

/// After a failed build: drops what it left, or says that it could not.
async fn note_leftovers(
    session: &Session,
    lease: &Lease,
    work: &Work,
    ordinal: u32,
    error: &mut TargetError,
) {
    if let Err(left) = clear_before_reopening(session, lease, work, ordinal).await {
        error.notes.push(format!(
            "the INVALID index that it left could not be dropped ({left}); the next run tries again"
        ));
    }
}

/// Journals how an open step ended.
pub(crate) async fn close_step(
    session: &mut Session,
    lease: &mut Lease,
    work: &Work,
    ordinal: u32,
    state: StepState,
) -> Result<(), TargetError> {
    let writes = if state == StepState::Done && is_last(work, ordinal) {
        finish_sql(work)
    } else {
        closed_sql(work, ordinal, state)
    };
    begin_fenced(session, lease, Limits::LEDGER, &writes).await?;
    commit_fenced(session, lease).await?;
    failpoint("step.closed");
    Ok(())
}

/// A work without statements is a program: its only step is its last.
fn is_last(work: &Work, ordinal: u32) -> bool {
    ordinal as usize + 1 >= work.statements.len()
}

/// The migration's row as it stands in the end, the rows that change with it, and no more steps.
fn finish_sql(work: &Work) -> String {
    let mut sql = finish_journalled_sql(&work.entry);
    for reset in &work.resets {
        sql.push(';');
        sql.push_str(&record_sql(reset));
    }
    sql.push(';');
    sql.push_str(&delete_steps_sql(work));
    sql
}

pub(crate) fn delete_steps_sql(work: &Work) -> String {
    format!(
        "DELETE FROM dunlin.steps WHERE kind = '{}' AND version = {}",
        work.entry.id.kind, work.entry.id.version
    )
}

/// Runs one statement and journals it, in one transaction.
pub(crate) async fn commit_step(
    session: &mut Session,
    lease: &mut Lease,
    work: &Work,
    ordinal: u32,
    closes: Option<u32>,
) -> Result<Option<u64>, TargetError> {
    let index = ordinal as usize;
    if work.statements.get(index).is_none() {
        return Ok(None);
    }
    let pooled = session.is_pooled().await?;
    check(&work.statements, pooled)?;
    if pooled {
        refuse_pooled_steps(work)?;
    }
    enter(session, lease, work, index).await?;
    let mut before = running_or_closed_sql(work, closes);
    // The ledger is written as the login; the statement runs as whoever the file has become. One
    // that has done nothing of the kind is spared the question.
    if work.statements.iter().take(index).any(leaves_traces)
        && let Some(role) = in_role(session).await?
    {
        before = format!("{before};{role}");
    }
    begin_fenced(session, lease, limits_of(work), &before).await?;
    failpoint("commit.begun");
    let count = match in_transaction(session, lease, work, ordinal, pooled).await {
        Ok(count) => count,
        Err(error) => {
            session.rollback().await;
            return Err(error);
        }
    };
    advance(session, index);
    failpoint("commit.executed");
    commit_fenced(session, lease).await?;
    failpoint("commit.done");
    Ok(count)
}

async fn in_transaction(
    session: &Session,
    lease: &Lease,
    work: &Work,
    ordinal: u32,
    pooled: bool,
) -> Result<Option<u64>, TargetError> {
    let index = ordinal as usize;
    let Some(statement) = work.statements.get(index) else {
        return Ok(None);
    };
    let watcher = Watcher::start(session, work.lock_timeout);
    let count = match run_alone(session, statement, index).await {
        Ok(count) => count,
        Err(error) => return Err(watcher.explain(error)),
    };
    session.ask("SET CONSTRAINTS ALL IMMEDIATE").await.map_err(|error| {
        error.in_statement(index).note("a deferred constraint, checked at the end of the statement")
    })?;
    let journal = if is_last(work, ordinal) {
        finish_sql(work)
    } else {
        format!(
            "INSERT INTO dunlin.steps AS s (kind, version, direction, pass, ordinal, checksum, \
             state, token, connection, closed_at) SELECT {key}, {checksum}, 'done', {token}, \
             pg_catalog.pg_backend_pid(), pg_catalog.clock_timestamp() ON CONFLICT (kind, version, \
             direction, pass, ordinal) DO UPDATE SET checksum = EXCLUDED.checksum, \
             state = 'done', token = EXCLUDED.token, connection = EXCLUDED.connection, \
             closed_at = EXCLUDED.closed_at",
            key = step_values(work, ordinal),
            checksum = quote::text(&Checksums::of_bytes(statement.text.as_bytes())),
            token = lease.token,
        )
    };
    let reset = if pooled && leaves_traces(statement) { "RESET ALL;" } else { "" };
    let name = limits_of(work).sql(session, &session_name(lease), true);
    session
        .ask(&format!("{reset}{AS_LOGIN}{name};{journal}"))
        .await
        .map_err(|error| as_ledger_error(session, error, Access::Write))?;
    Ok(count)
}
