//! What became of a step whose runner died: first nothing of it may still run, then what it left
//! half-done is cleared away, then the definitions tell.

use std::collections::BTreeSet;

use dunlin_engine::{Settled, TargetError, Work, failpoint};
use dunlin_model::{Lease, Restart, Statement, StepRecord, TraceKind};

use crate::fence::{hold_fence, session_name_under};
use crate::image::{builds_index_concurrently, mentions_index, objects};
use crate::judgement::judge;
use crate::quote;
use crate::rows::{field, number, required};
use crate::session::{Session, has_words};
use crate::step::enter;
use crate::succession::{ENDING_LOOKS, ENDING_PAUSE, OURS, end_fenced, still_there};

/// Finds out what became of an open step.
pub(crate) async fn settle_step(
    session: &mut Session,
    lease: &Lease,
    work: &Work,
    step: &StepRecord,
) -> Result<Settled, TargetError> {
    let index = step.ordinal as usize;
    let Some(statement) = work.statements.get(index) else {
        // A program: its process is found, or not, on the machine that ran it.
        return Ok(Settled::DidNot);
    };
    // As the login: a role that the file takes on may not end sessions.
    session.clean().await?;
    end_old_statement(session, lease, step, &statement.text).await?;
    enter(session, lease, work, index).await?;
    clear_leftovers(session, lease, statement, step.image.as_deref()).await?;
    if finish_detach(session, statement).await? {
        return Ok(Settled::TookEffect);
    }
    match &statement.facts.restart {
        // The journal row would have been written with it.
        Restart::Transactional | Restart::Repeatable => Ok(Settled::DidNot),
        Restart::ByImage { .. } => judge(session, statement, step).await,
        Restart::Unknowable { reason } => Ok(Settled::Unknown {
            evidence: vec![
                reason.clone(),
                format!("it was sent under token {} and is not running any more", step.token),
            ],
        }),
    }
}

/// Ends sessions of the dead runner that are, or may soon be, at work on the statement: a client
/// that died leaves its statement running. Ours are known by role, database and name; behind a
/// pooler, which has one name for all, by the statement itself.
async fn end_old_statement(
    session: &Session,
    lease: &Lease,
    step: &StepRecord,
    text: &str,
) -> Result<(), TargetError> {
    let name = session_name_under(&lease.resource, step.token);
    // The server keeps only the beginning of a long statement.
    let end = format!(
        "SELECT pid, pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE {OURS} AND (application_name = {name} \
         OR (state = 'active' AND pg_catalog.left(application_name, 6) = 'dunlin' \
         AND pg_catalog.length(query) > 0 \
         AND pg_catalog.left({text}, pg_catalog.length(query)) = query))",
        name = quote::text(&name),
        text = quote::text(text),
    );
    let mut pids = Vec::new();
    for _ in 0..ENDING_LOOKS {
        pids = end_fenced(session, lease, &end).await?;
        if pids.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(ENDING_PAUSE).await;
    }
    Err(still_there(&pids))
}

/// Drops INVALID indexes that a concurrent build left on its tables and that were not there before
/// it. Nothing is dropped while somebody builds it: a build holds a lock on its table throughout,
/// which we take first. (The server's list of builds has empty rows for those of other roles.)
///
/// A drop beside the application's work runs outside a transaction, so no fence covers it: a runner
/// that slept between its look and its drop would drop the index that another one has built
/// meanwhile under that name. So each is first given, under the fence, a name that no other index
/// ever gets, and is dropped by that one.
pub(crate) async fn clear_leftovers(
    session: &Session,
    lease: &Lease,
    statement: &Statement,
    image: Option<&str>,
) -> Result<(), TargetError> {
    let Some(image) = image.filter(|_| builds_index_concurrently(statement)) else {
        return Ok(());
    };
    let tables: Vec<String> = objects(statement)
        .iter()
        .map(|object| format!("pg_catalog.to_regclass({})", quote::text(&object.name)))
        .collect();
    let search = Search { tables: tables.join(", "), own: own_name(statement), image };
    if tables.is_empty() || leftovers(session, &search).await?.is_empty() {
        return Ok(());
    }
    hold_fence(session, lease).await?;
    let renamed = match rename_leftovers(session, &search).await {
        Ok(renamed) => renamed,
        Err(error) => {
            session.rollback().await;
            return Err(error);
        }
    };
    session.commit().await?;
    session.forget_backend();
    failpoint("leftover.renamed");
    for index in renamed {
        // It waits for older transactions on the table, as long as they take.
        session.run(&format!("DROP INDEX CONCURRENTLY IF EXISTS {index}")).await?;
    }
    Ok(())
}

/// The name of the one index that a statement builds; `None`: it gives none, or builds several.
fn own_name(statement: &Statement) -> Option<&str> {
    let mut traces = statement.facts.traces.iter();
    traces.find(|trace| trace.kind == TraceKind::Index).map(|trace| trace.name.as_str())
}

/// Where leftovers are looked for.
struct Search<'a> {
    /// Expressions of tables' numbers; one may be (REINDEX INDEX) an index's.
    tables: String,
    /// What is called otherwise was not left by this statement.
    own: Option<&'a str>,
    /// What was there before it.
    image: &'a str,
}

/// An index that a build left.
struct Leftover {
    oid: u32,
    /// Schema and name, quoted.
    schema: String,
    name: String,
    /// Its table, quoted, where that can be locked.
    table: Option<String>,
}

/// What was left on these tables.
async fn leftovers(session: &Session, search: &Search<'_>) -> Result<Vec<Leftover>, TargetError> {
    let own = search.own.map_or_else(String::new, |own| {
        format!("AND c.relname IN ({}, 'dunlin_leftover_' || c.oid)", quote::text(own))
    });
    let sql = format!(
        "SELECT i.indexrelid, pg_catalog.quote_ident(n.nspname), \
         pg_catalog.quote_ident(c.relname), CASE WHEN t.relkind <> 'm' THEN \
         pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.relname) END \
         FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE NOT i.indisvalid AND (i.indrelid IN ({tables}) OR i.indrelid IN (SELECT \
         x.indrelid FROM pg_catalog.pg_index x WHERE x.indexrelid IN ({tables}))) {own} \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p \
         WHERE p.index_relid = i.indexrelid)",
        tables = search.tables,
    );
    let answers = session.ask(&sql).await?;
    let mut left = Vec::new();
    for row in answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default() {
        let oid = number(row, 0)?;
        if !mentions_index(search.image, oid) {
            let (schema, name) = (required(row, 1)?.to_owned(), required(row, 2)?.to_owned());
            let table = field(row, 3)?.map(str::to_owned);
            left.push(Leftover { oid, schema, name, table });
        }
    }
    Ok(left)
}

/// Gives each its own name, in the transaction that holds the fence; returns those names.
async fn rename_leftovers(
    session: &Session,
    search: &Search<'_>,
) -> Result<Vec<String>, TargetError> {
    let found = leftovers(session, search).await?;
    let tables: BTreeSet<_> = found.into_iter().filter_map(|one| one.table).collect();
    for table in tables {
        session
            .ask(&format!("LOCK TABLE ONLY {table} IN SHARE UPDATE EXCLUSIVE MODE"))
            .await
            .map_err(|error| {
                error.note("an INVALID index is left there; somebody may still be building it")
            })?;
    }
    let mut renamed = Vec::new();
    // Again, now that nobody builds any.
    for Leftover { oid, schema, name, .. } in leftovers(session, search).await? {
        let own = format!("dunlin_leftover_{oid}");
        if name != own {
            session.ask(&format!("ALTER INDEX {schema}.{name} RENAME TO {own}")).await?;
        }
        renamed.push(format!("{schema}.{own}"));
    }
    Ok(renamed)
}

/// ALTER TABLE … DETACH PARTITION … CONCURRENTLY that died between its two transactions is only
/// ever finished, never undone.
async fn finish_detach(session: &Session, statement: &Statement) -> Result<bool, TargetError> {
    let text = &statement.text;
    if !(has_words(text, &["DETACH", "PARTITION"])
        && text.to_ascii_uppercase().contains("CONCURRENTLY"))
    {
        return Ok(false);
    }
    let Some(parent) = objects(statement).into_iter().next() else {
        return Ok(false);
    };
    let sql = format!(
        "SELECT h.inhparent::regclass, h.inhrelid::regclass FROM pg_catalog.pg_inherits h \
         WHERE h.inhparent = pg_catalog.to_regclass({}) AND h.inhdetachpending",
        quote::text(&parent.name)
    );
    let answers = session.ask(&sql).await?;
    let Some(row) = answers.first().and_then(|answer| answer.rows.first()) else {
        return Ok(false);
    };
    let finalize = format!(
        "ALTER TABLE {} DETACH PARTITION {} FINALIZE",
        required(row, 0)?,
        required(row, 1)?
    );
    session.run(&finalize).await?;
    Ok(true)
}
