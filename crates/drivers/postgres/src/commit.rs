//! A whole migration in one transaction: fence, the file's statements, ledger row.

use dunlin_engine::{ErrorKind, TargetError, Work, failpoint};
use dunlin_model::{EntryWrite, Lease};

use crate::entry::{finish_sql, record_sql};
use crate::fence::{Access, Limits, as_ledger_error, begin_fenced, commit_fenced, session_name};
use crate::session::{APPLICATION_NAME, Session, finish, leaves_traces};
use crate::statements::{Pipeline, check};
use crate::step::delete_steps_sql;
use crate::watcher::Watcher;

/// Ledger writes that go into one message; a baseline of thousands is sent in several.
const WRITES_PER_MESSAGE: usize = 200;

/// The limits that a work asks for.
pub(crate) fn limits_of(work: &Work) -> Limits {
    Limits { lock: work.lock_timeout, statement: work.statement_timeout }
}

/// Runs a whole migration. Three round trips: what comes before, the statements with what comes
/// after, and the COMMIT.
pub(crate) async fn commit(
    session: &mut Session,
    lease: &mut Lease,
    work: &Work,
) -> Result<Vec<Option<u64>>, TargetError> {
    session.clean().await?;
    let traces = work.statements.iter().any(leaves_traces);
    let needs_direct = traces || work.statements.iter().any(|s| s.copy_data.is_some());
    let pooled = needs_direct && session.is_pooled().await?;
    check(&work.statements, pooled)?;

    // A statement that was refused when the file still ran step by step has its row.
    let resets = work.resets.iter().map(record_sql);
    let before = std::iter::once(delete_steps_sql(work)).chain(resets).collect::<Vec<_>>();
    let before = before.join(";");
    begin_fenced(session, lease, limits_of(work), &before).await?;
    failpoint("commit.begun");
    // From here on the session has whatever the file does to it, also if it fails: session locks
    // and prepared statements survive a rollback.
    session.dirty = traces;
    let name = session_name(lease);
    let counts = match run(session, work, &name, traces, Some(&work.entry)).await {
        Ok(counts) => counts,
        Err(error) => {
            session.rollback().await;
            return Err(error);
        }
    };
    failpoint("commit.executed");
    commit_fenced(session, lease).await?;
    failpoint("commit.done");
    Ok(counts)
}

/// Runs all statements and rolls back.
pub(crate) async fn rehearse(
    session: &mut Session,
    work: &Work,
) -> Result<Vec<Option<u64>>, TargetError> {
    session.clean().await?;
    let pooled = session.is_pooled().await?;
    check(&work.statements, pooled)?;
    if let Some((index, reason)) = work
        .statements
        .iter()
        .enumerate()
        .find_map(|(index, s)| s.facts.outside_transaction.as_ref().map(|why| (index, why)))
    {
        return Err(TargetError::new(ErrorKind::Refused, format!("cannot be rehearsed: {reason}"))
            .help("a rehearsal runs in a transaction that is rolled back")
            .in_statement(index));
    }
    let begin = format!("BEGIN;{}", limits_of(work).sql(session, APPLICATION_NAME, true));
    if let Err(error) = session.ask(&begin).await {
        session.rollback().await;
        return Err(error);
    }
    session.dirty = work.statements.iter().any(leaves_traces);
    let result = run(session, work, APPLICATION_NAME, false, None).await;
    session.rollback().await;
    result
}

/// Sends a work's statements and what ends them, and waits for all of it.
async fn run(
    session: &Session,
    work: &Work,
    name: &str,
    reset: bool,
    entry: Option<&EntryWrite>,
) -> Result<Vec<Option<u64>>, TargetError> {
    let watcher = Watcher::start(session, work.lock_timeout);
    let statements = &work.statements;
    let mut pipeline = Pipeline::new(session);
    let result = async {
        pipeline.send(statements).await?;
        // Deferred constraints are checked here rather than by COMMIT, so that they are reported
        // as what they are, under the role and search path that the file has set.
        let constraints = session.send("SET CONSTRAINTS ALL IMMEDIATE").await?;
        let mut ends = Vec::new();
        if reset {
            ends.push(session.send(&reset_sql(session, work, name)).await?);
        }
        if let Some(entry) = entry {
            ends.push(session.send(&finish_sql(entry)).await?);
        }
        let counts = pipeline.finish(statements).await?;
        finish(constraints).await.map_err(|error| {
            error.note("a deferred constraint, checked at the end of the migration")
        })?;
        for end in ends {
            finish(end).await.map_err(|error| as_ledger_error(session, error, Access::Write))?;
        }
        Ok(counts)
    }
    .await;
    result.map_err(|error| watcher.explain(error))
}

/// Takes back within the transaction what a file may have set for the session: behind a pooler
/// the session belongs to somebody else as soon as the transaction ends, and everywhere the
/// ledger's row is written by the login, not by a role of the file's.
fn reset_sql(session: &Session, work: &Work, name: &str) -> String {
    format!(
        "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;{}",
        limits_of(work).sql(session, name, true)
    )
}

/// Writes ledger rows alone.
pub(crate) async fn record(
    session: &mut Session,
    lease: &mut Lease,
    writes: &[EntryWrite],
) -> Result<(), TargetError> {
    session.clean().await?;
    let mut messages = writes
        .chunks(WRITES_PER_MESSAGE)
        .map(|chunk| chunk.iter().map(record_sql).collect::<Vec<_>>().join(";"));
    let first = messages.next().unwrap_or_default();
    begin_fenced(session, lease, Limits::LEDGER, &first).await?;
    for message in messages {
        if let Err(error) = session.ask(&message).await {
            session.rollback().await;
            return Err(as_ledger_error(session, error, Access::Write));
        }
    }
    commit_fenced(session, lease).await?;
    failpoint("record.done");
    Ok(())
}
