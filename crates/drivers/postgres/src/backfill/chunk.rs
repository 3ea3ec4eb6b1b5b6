//! One chunk: fence, statements and checkpoint in one transaction.
//!
//! Two messages. The first holds everything up to the last statement; the server stops at the
//! first failure in it. The second adds the rows that were touched, which nobody knows before, and
//! commits: only from there on can an outcome be unknown.

use std::time::Instant;

use dunlin_engine::{Checkpoint, Chunk, Committed, Deed, ErrorKind, TargetError, failpoint};
use dunlin_model::{Backfill, FORMAT, Intent, KeyRange, Lease, Verb};

use super::catalogue::shape;
use super::layout::Layout;
use super::ledger::intent;
use super::script::{Failure, Part, Script};
use super::walk::{TEXT_FORMS, regclass};
use super::{captured, rejected};
use crate::fence::{Access, Limits, as_ledger_error, check_writer, fenced, session_name};
use crate::quote;
use crate::rows::{Answer, number, required, single};
use crate::session::{Session, leaves_traces};
use crate::statements::{check, touched};
use crate::watcher::Watcher;

/// What is remembered of a chunk's transaction between its messages.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    /// Where the server's log was.
    pub(super) log_start: String,
}

/// The end of a name's SQL list: quoted job.
pub(super) fn job(lease: &Lease) -> String {
    quote::text(&lease.resource.to_string())
}

/// Data and ledger share the server's log, so a crash can only lose both; and what ends a backfill is
/// committed synchronously, which flushes all that was before. To compile a statement takes as long as
/// many chunks do.
const CHUNK_SETTINGS: [&str; 2] = ["SET LOCAL synchronous_commit TO off", "SET LOCAL jit TO off"];

/// Adds what every chunk begins with. Where the server's log stands is the answer with the index
/// that is returned.
pub(super) fn begin(
    script: &mut Script,
    session: &Session,
    lease: &Lease,
    work: &Backfill,
    chunk: &Chunk,
    repeatable: bool,
) -> usize {
    let level = if repeatable { "REPEATABLE READ" } else { "READ COMMITTED" };
    script.push(Part::Plain, &format!("BEGIN ISOLATION LEVEL {level}"));
    let limits = Limits { lock: work.lock_timeout, statement: Some(work.statement_timeout) };
    for setting in limits.settings(&session_name(lease), true) {
        script.push(Part::Plain, &setting);
    }
    CHUNK_SETTINGS.iter().for_each(|setting| {
        script.push(Part::Plain, setting);
    });
    // Keeps ALTER TABLE out, and comes before the snapshot of REPEATABLE READ is taken: so the
    // shape that is checked is the shape that the statements meet.
    script.push(Part::Shape, &format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", work.table));
    let started = script.push(
        Part::Plain,
        &format!("{}, pg_catalog.pg_current_wal_insert_lsn()", session.backend_sql(true)),
    );
    script.push(
        Part::Shape,
        &format!(
            "SELECT 1 / (CASE WHEN {} = {} THEN 1 ELSE 0 END)",
            shape(&regclass(work)),
            quote::text(&work.shape)
        ),
    );
    push_fence(script, lease, work, &chunk.checkpoint);
    started
}

/// The fence fails in the server where it has lost: NULL into a NOT NULL column; and where its
/// row is gone or a newer format took over: division by zero. Nothing behind it runs then.
fn push_fence(script: &mut Script, lease: &Lease, work: &Backfill, checkpoint: &Checkpoint) {
    let (set, seg) = match checkpoint {
        Checkpoint::Segment { seg, from, to, hi } => (
            format!(
                "upto = CASE WHEN token = {} AND upto = {} AND hi = {} THEN {} END, attempts = 0",
                lease.token,
                quote::text(&from.encode()),
                quote::text(&hi.encode()),
                quote::text(&to.encode()),
            ),
            *seg,
        ),
        Checkpoint::Released { .. } => {
            (format!("upto = CASE WHEN token = {} THEN upto END", lease.token), 0)
        }
    };
    script.push(
        Part::Fence,
        &format!(
            "WITH moved AS (UPDATE dunlin.segments SET {set} WHERE job = {job} AND seg = {seg} \
             AND (SELECT min_writer FROM dunlin.meta) <= {FORMAT} RETURNING 1) \
             SELECT 1 / pg_catalog.count(*) FROM moved",
            job = job(lease),
        ),
    );
    if let Checkpoint::Released { key } = checkpoint {
        script.push(
            Part::Fence,
            &format!(
                "WITH released AS (DELETE FROM dunlin.quarantine WHERE job = {} AND pass = {} \
                 AND key = {} RETURNING 1) SELECT 1 / pg_catalog.count(*) FROM released",
                job(lease),
                work.pass,
                quote::text(&key.encode())
            ),
        );
    }
}

/// Locks the rows of a range in key order, without waiting.
fn push_locks(script: &mut Script, layout: &Layout, work: &Backfill, chunk: &Chunk) {
    let updates_only = work.statements.iter().all(|statement| {
        statement.facts.writes.as_ref().is_some_and(|write| write.verb != Verb::Delete)
    });
    // An update leaves the key alone (statements that change it are refused), so rows that refer
    // to it may go on doing so.
    let strength =
        if updates_only && !work.statements.is_empty() { "NO KEY UPDATE" } else { "UPDATE" };
    script.push(
        Part::Plain,
        &format!(
            "SELECT pg_catalog.count(*) FROM (SELECT FROM {} AS t WHERE {} ORDER BY {} \
             FOR {strength} NOWAIT) AS locked",
            work.table,
            layout.range(&chunk.range, Some("t")),
            layout.order("t", false),
        ),
    );
}

/// Before a chunk: a clean session whose server process is known, so that it can be watched, and
/// ended when a person wants out at once. One round trip, once for a connection.
pub(super) async fn ready(session: &mut Session) -> Result<(), TargetError> {
    session.clean().await?;
    session.is_pooled().await.map(|_| ())
}

/// Runs a chunk.
pub(super) async fn commit(
    session: &mut Session,
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    chunk: &Chunk,
) -> Result<Committed, TargetError> {
    ready(session).await?;
    may_run(work)?;
    may_name(work, chunk)?;
    let traces = work.statements.iter().any(leaves_more_traces);
    let capture = work.capture.as_ref().filter(|_| chunk.deed == Deed::Statements);
    let repeatable = work.statements.len() > 1 || capture.is_some();
    let mut script = Script::default();
    let started = begin(&mut script, session, lease, work, chunk, repeatable);
    if chunk.lock_first {
        push_locks(&mut script, layout, work, chunk);
    }
    let mut users = Vec::new();
    let mut set_aside = None;
    match &chunk.deed {
        Deed::SetAside { error } => {
            set_aside = Some(rejected::push_range(&mut script, layout, lease, work, chunk, error));
        }
        Deed::Statements => {
            if let Some(capture) = capture {
                captured::push_before(&mut script, layout, lease, work, chunk, capture);
            }
            for (index, statement) in work.statements.iter().enumerate() {
                users
                    .push(script.push_user(index, statement, "", |alias| {
                        layout.range(&chunk.range, alias)
                    }));
            }
            // Checked here rather than by COMMIT, so that they are reported as what they are.
            script.push(Part::Constraints, "SET CONSTRAINTS ALL IMMEDIATE");
            if traces {
                push_reset(&mut script, session, lease, work);
            }
            if let Some(capture) = capture {
                captured::push_after(&mut script, layout, lease, work, chunk, capture);
            }
        }
    }
    session.dirty = traces;
    let answers = run(session, &script, lease, work).await?;
    let begun = begun(&answers, started)?;
    failpoint("chunk.executed");
    let mut rows = Vec::with_capacity(users.len());
    for (statement, at) in work.statements.iter().zip(users) {
        rows.push(answers.get(at).and_then(|answer| touched(statement, answer.count)));
    }
    if let Some(answer) = set_aside.and_then(|at| answers.get(at)) {
        rows.push(Some(answer.count));
    }
    finish(session, lease, chunk, &begun, rows).await
}

/// What the beginning told.
pub(super) fn begun(answers: &[Answer], started: usize) -> Result<Begun, TargetError> {
    let row = single(answers, started)?;
    Ok(Begun { log_start: required(row, row.len().saturating_sub(1))?.to_owned() })
}

/// Sends a chunk's first message; whatever fails, nothing is left of it.
pub(super) async fn run(
    session: &mut Session,
    script: &Script,
    lease: &Lease,
    work: &Backfill,
) -> Result<Vec<Answer>, TargetError> {
    let watcher = Watcher::start(session, work.lock_timeout);
    let failure = match script.run(session).await {
        Ok(answers) => return Ok(answers),
        Err(failure) => failure,
    };
    session.rollback().await;
    let failure = Failure { error: watcher.explain(failure.error), ..failure };
    drop(watcher);
    Err(meaning(session, lease, work, failure).await)
}

/// What a failed part of a chunk means.
async fn meaning(
    session: &Session,
    lease: &Lease,
    work: &Backfill,
    failure: Failure,
) -> TargetError {
    let Failure { part, mut error } = failure;
    let code = error.code.clone().unwrap_or_default();
    match part {
        Part::Fence if code == "22012" => match check_writer(session).await {
            Ok(()) => fenced(lease),
            Err(error) => error,
        },
        Part::Shape if matches!(code.as_str(), "22012" | "42P01" | "42809" | "3F000") => {
            TargetError::new(
                ErrorKind::ShapeChanged,
                format!("{} has another shape than this backfill was planned for", work.table),
            )
            .help("run the same command again: it plans with the table as it is now")
        }
        Part::Fence | Part::Ledger => as_ledger_error(session, error, Access::Write),
        Part::Constraints => {
            error.by_row = true;
            error.note("a deferred constraint, checked at the end of the chunk")
        }
        Part::User(_) => {
            error.by_row = is_by_row(&code);
            error
        }
        Part::Plain | Part::Shape => error,
    }
}

/// Whether another row might pass: a value, a constraint, a view's check, or what a function of
/// the user's raised. Class 21 is a subquery with more than one row.
pub(crate) fn is_by_row(code: &str) -> bool {
    matches!(code.get(..2), Some("21" | "22" | "23" | "44" | "P0")) || code == "54000"
}

/// Adds the rows and commits.
pub(super) async fn finish(
    session: &mut Session,
    lease: &Lease,
    chunk: &Chunk,
    begun: &Begun,
    rows: Vec<Option<u64>>,
) -> Result<Committed, TargetError> {
    let job = job(lease);
    let count = rows.first().copied().flatten().unwrap_or(0);
    let mut sql = String::new();
    if let (Checkpoint::Segment { seg, .. }, true) = (&chunk.checkpoint, count > 0) {
        sql = format!(
            "UPDATE dunlin.segments SET rows = rows + {count} WHERE job = {job} AND seg = {seg};"
        );
    }
    let at = usize::from(!sql.is_empty());
    sql.push_str(&format!(
        "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), {})::bigint, \
         {INTENT} FROM (SELECT) AS one LEFT JOIN dunlin.backfills AS b ON b.job = {job};",
        quote::text(&begun.log_start)
    ));
    let began = Instant::now();
    let answers = match session.commit_with(&sql).await {
        Ok(answers) => answers,
        Err(error) => {
            if error.kind != ErrorKind::Lost {
                session.rollback().await;
            }
            return Err(as_ledger_error(session, error, Access::Write));
        }
    };
    let commit = began.elapsed();
    session.forget_backend();
    failpoint("chunk.done");
    let row = single(&answers, at)?;
    let bytes: i64 = number(row, 0)?;
    let intent: Intent = intent(row, 1)?;
    Ok(Committed { rows, held: None, commit, bytes: u64::try_from(bytes).ok(), intent })
}

/// The columns that [`intent`] reads, of `dunlin.backfills AS b`.
pub(super) const INTENT: &str = "b.intent, b.intent_by, b.intent_workers, b.intent_rate";

/// Quarantine and captures name rows by their keys, which rows without a key do not have.
fn may_name(work: &Backfill, chunk: &Chunk) -> Result<(), TargetError> {
    let what = match &chunk.deed {
        Deed::SetAside { .. } => "set aside",
        Deed::Statements if work.capture.is_some() => "undone",
        Deed::Statements => return Ok(()),
    };
    if chunk.range != KeyRange::Nulls {
        return Ok(());
    }
    Err(TargetError::new(
        ErrorKind::Refused,
        format!("rows of {} whose key is NULL can't be {what}: nothing names them", work.table),
    )
    .help("name a key without NULLs with `-- dunlin: chunk-key`"))
}

/// Refuses what has no place in a chunk, before anything runs.
pub(super) fn may_run(work: &Backfill) -> Result<(), TargetError> {
    // A chunk has no data of its own: COPY is refused as it is through a pooler.
    check(&work.statements, true)?;
    for (index, statement) in work.statements.iter().enumerate() {
        let refused = if statement.facts.changes_session {
            "a chunk may not change settings of the session".to_owned()
        } else if let Some(reason) = &statement.facts.outside_transaction {
            format!("a chunk runs in a transaction: {reason}")
        } else {
            continue;
        };
        return Err(TargetError::new(ErrorKind::Refused, refused)
            .help("put it into a migration of its own")
            .in_statement(index));
    }
    Ok(())
}

/// Statements that change rows call functions at most, like those of any application, and are run
/// thousands of times: resetting the session after each would cost a round trip. What is not one
/// of those may set anything.
fn leaves_more_traces(statement: &dunlin_model::Statement) -> bool {
    let verb = statement.facts.verb.split(' ').next().unwrap_or_default();
    verb != "WITH" && leaves_traces(statement)
}

/// The ledger is written by the login, whatever role a statement has taken on.
fn push_reset(script: &mut Script, session: &Session, lease: &Lease, work: &Backfill) {
    for sql in ["RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET ALL"] {
        script.push(Part::Plain, sql);
    }
    let limits = Limits { lock: work.lock_timeout, statement: Some(work.statement_timeout) };
    for setting in limits.settings(&session_name(lease), true) {
        script.push(Part::Plain, &setting);
    }
    CHUNK_SETTINGS.iter().for_each(|setting| {
        script.push(Part::Plain, setting);
    });
    script.push(Part::Plain, &session.backend_sql(true));
}

/// Pushes the settings that make values into exact texts and back, or takes them away again: the
/// user's statements must not see them.
pub(super) fn push_text_forms(script: &mut Script, on: bool) {
    for setting in TEXT_FORMS.split_terminator(';') {
        if on {
            script.push(Part::Plain, setting);
        } else if let Some((name, _)) = setting.split_once(" TO ") {
            script.push(Part::Plain, &format!("{name} TO DEFAULT"));
        }
    }
}
