//! Old values: kept in the chunk's transaction, put back by an undo.
//!
//! A captured row knows the row's `xmin` before the chunk and after it. The first tells, within the
//! chunk, which rows its statements left alone (those are forgotten), and links captures of one
//! row in several walks; the second tells an undo that nobody changed the row since. It survives
//! VACUUM, FREEZE and VACUUM FULL.

use std::time::Duration;

use dunlin_engine::{Chunk, ErrorKind, Kept, TargetError, Undone, failpoint};
use dunlin_model::{Backfill, Capture, Lease, Resource};

use super::chunk::{job, push_text_forms};
use super::layout::Layout;
use super::ledger::is_older_ledger;
use super::script::{Part, Script};
use super::walk::{TEXT_FORMS, alias, filter};
use crate::fence::{
    Access, LEDGER_LOCK_TIMEOUT, Limits, as_ledger_error, begin_fenced, commit_fenced,
};
use crate::quote;
use crate::rows::{boolean, number, single};
use crate::session::Session;

/// This transaction, as `xmin` shows it.
const OURS: &str = "(pg_catalog.txid_current() % 4294967296)::text";

/// What is captured stands behind this number.
const FIRST: &str = "pg_catalog.current_setting('dunlin.captured')::bigint";

/// Rows that a chunk deleted have this in place of an `xmin`.
const DELETED: &str = "'deleted'";

/// Keeps the values as they are before the statements.
pub(super) fn push_before(
    script: &mut Script,
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    chunk: &Chunk,
    capture: &Capture,
) {
    let t = alias(work);
    push_text_forms(script, true);
    let rows = format!(
        "FROM {table} AS {t} WHERE {range}{filter} ORDER BY {order}",
        table = work.table,
        range = layout.range(&chunk.range, Some(t)),
        filter = filter(work),
        order = layout.order(t, false),
    );
    push_kept(script, layout, lease, work, capture, t, &rows);
    push_text_forms(script, false);
}

/// Keeps the values of rows `t`, which `rows` (from its FROM on) chooses. Values and keys are as
/// exact as the settings that make them into texts.
pub(super) fn push_kept(
    script: &mut Script,
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    capture: &Capture,
    t: &str,
    rows: &str,
) {
    let names: Vec<String> = capture.columns.iter().map(|column| quote::text(column)).collect();
    let values: Vec<String> =
        capture.columns.iter().map(|column| format!("{t}.{}::text", quote::name(column))).collect();
    script.push(
        Part::Ledger,
        "SELECT pg_catalog.set_config('dunlin.captured', pg_catalog.nextval(\
         pg_catalog.pg_get_serial_sequence('dunlin.captured', 'number'))::text, true)",
    );
    script.push(
        Part::Ledger,
        &format!(
            "INSERT INTO dunlin.captured (job, pass, key, old_values, xmin_before, xmin_after, \
             forget_at) SELECT {job}, {pass}, {key}, pg_catalog.jsonb_object(ARRAY[{names}]::text[], \
             ARRAY[{values}]::text[]), {t}.xmin::text, {OURS}, pg_catalog.clock_timestamp() + \
             {keep} * interval '1 second' {rows}",
            job = job(lease),
            pass = work.pass,
            key = layout.encoded(t),
            names = names.join(", "),
            values = values.join(", "),
            keep = capture.keep.as_secs(),
        ),
    );
}

/// Forgets rows that the statements left alone, and notes those that they deleted.
pub(super) fn push_after(
    script: &mut Script,
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    chunk: &Chunk,
) {
    push_text_forms(script, true);
    let of_chunk = |c: &str| {
        format!("{c}.job = {} AND {c}.pass = {} AND {c}.number > {FIRST}", job(lease), work.pass)
    };
    let (these, those) = (of_chunk("c"), of_chunk("d"));
    let now = format!(
        "(SELECT {key} AS key, t.xmin::text AS version FROM {table} AS t WHERE {range}) AS n",
        key = layout.encoded("t"),
        table = work.table,
        range = layout.range(&chunk.range, Some("t")),
    );
    // What is kept of this pass is unknown to the planner's statistics until the next ANALYZE: it would
    // take it for one row, and go through the chunk's rows once for each.
    script.push(Part::Ledger, "SET LOCAL enable_nestloop TO off");
    // Other lanes capture at the same time: theirs are told apart by their transaction.
    script.push(
        Part::Ledger,
        &format!(
            "DELETE FROM dunlin.captured AS c USING {now} WHERE {these} AND c.xmin_after = {OURS} \
             AND n.key = c.key AND n.version = c.xmin_before"
        ),
    );
    // A row that was changed in a subtransaction (by a function that catches errors) has that
    // one's number.
    script.push(
        Part::Ledger,
        &format!(
            "UPDATE dunlin.captured AS c SET xmin_after = COALESCE(n.version, {DELETED}) \
             FROM dunlin.captured AS d LEFT JOIN {now} ON n.key = d.key \
             WHERE {these} AND c.xmin_after = {OURS} AND {those} AND d.number = c.number \
             AND COALESCE(n.version, {DELETED}) <> c.xmin_after"
        ),
    );
    script.push(Part::Ledger, "SET LOCAL enable_nestloop TO DEFAULT");
    push_text_forms(script, false);
}

/// Puts captured values back.
pub(super) async fn undo(
    session: &mut Session,
    layout: &Layout,
    lease: &mut Lease,
    work: &Backfill,
    count_max: u64,
) -> Result<Undone, TargetError> {
    session.clean().await?;
    let Some(capture) = &work.capture else {
        return Err(TargetError::new(ErrorKind::Refused, "this backfill keeps no old values")
            .help("`-- dunlin: undo capture for 14 days` keeps them"));
    };
    index_keys(session).await?;
    let limits = Limits { lock: work.lock_timeout, statement: Some(work.statement_timeout) };
    begin_fenced(session, lease, limits, "").await?;
    let sql = undo_sql(layout, lease, work, capture, count_max)?;
    let undone = match session.ask(&sql).await {
        Ok(answers) => {
            let row = single(&answers, answers.len().saturating_sub(1))?;
            Undone {
                restored: number(row, 0)?,
                changed_since: number::<u64>(row, 1)?.saturating_sub(number(row, 0)?),
                left: boolean(row, 2)?,
            }
        }
        Err(error) => {
            session.rollback().await;
            return Err(error);
        }
    };
    let counted = count_undone(lease, undone);
    if let Err(error) = session.ask(&counted).await {
        session.rollback().await;
        return Err(as_ledger_error(session, error, Access::Write));
    }
    failpoint("undo.executed");
    commit_fenced(session, lease).await?;
    failpoint("undo.done");
    Ok(undone)
}

/// How far the undo is, in the transaction of what it did: a death can't make the two differ.
fn count_undone(lease: &Lease, undone: Undone) -> String {
    format!(
        "UPDATE dunlin.backfills SET rows_before = rows_before + {}, \
         row_count_estimate = COALESCE(row_count_estimate, 0) + {} WHERE job = {}",
        undone.restored,
        undone.met(),
        job(lease)
    )
}

/// A ledger that was made before an undo looked older captures of a row up by its key lacks the index
/// for it. A hash, since keys may be longer than what a btree takes, and md5 is refused by servers in
/// FIPS mode.
async fn index_keys(session: &mut Session) -> Result<(), TargetError> {
    let look = "SELECT pg_catalog.to_regclass('dunlin.captured_key') IS NULL";
    if !boolean(single(&session.ask(look).await?, 0)?, 0)? {
        return Ok(());
    }
    let sql = format!(
        "SET LOCAL lock_timeout TO {};\
         CREATE INDEX IF NOT EXISTS captured_key ON dunlin.captured USING hash (key)",
        LEDGER_LOCK_TIMEOUT.as_millis()
    );
    match session.ask(&sql).await {
        // It is slow without, and right.
        Err(error) if error.kind == ErrorKind::Permission => Ok(()),
        other => other.map(|_| ()),
    }
}

/// The statements of an undo. What it takes on is marked by `forget_at`, set before all time, which
/// nobody else sees. Of a row that was captured twice only the newest is: its older one then counts
/// as unchanged exactly if the newer walk found the row as the older one had left it.
fn undo_sql(
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    capture: &Capture,
    count_max: u64,
) -> Result<String, TargetError> {
    let these = format!("c.job = {} AND c.pass = {}", job(lease), work.pass);
    // Of a job there are as many as the migration has changed rows, of a key or of a time before all
    // time a few: whatever its statistics say, the planner must not take the index by job here.
    let other_index = |alias: &str| {
        format!("{alias}.job || '' = {} AND {alias}.pass + 0 = {}", job(lease), work.pass)
    };
    let chosen = format!("{} AND c.forget_at = '-infinity'", other_index("c"));
    let key: Vec<String> = layout
        .parts
        .iter()
        .enumerate()
        .map(|(at, part)| format!("(c.key::jsonb ->> {at})::{}", part.type_name))
        .collect();
    let same = layout.equal(&key, Some("t"));
    let mut sets = Vec::new();
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for column in &capture.columns {
        let Some(known) = layout.columns.get(column) else {
            return Err(TargetError::new(
                ErrorKind::ShapeChanged,
                format!(
                    "{} has no column `{column}` any more, whose old values are kept",
                    work.table
                ),
            ));
        };
        if known.computed {
            continue;
        }
        let name = quote::name(column);
        let value = format!("(c.old_values ->> {})::{}", quote::text(column), known.type_name);
        sets.push(format!("{name} = {value}"));
        names.push(name);
        values.push(value);
    }
    let mut sql = format!(
        // A handful of keys each time, whatever the planner takes them for; the newest of all are
        // the end of an index. Only plain scans of an index skip what earlier chunks deleted.
        "{TEXT_FORMS}SET LOCAL enable_seqscan TO off;SET LOCAL enable_hashjoin TO off;\
         SET LOCAL enable_mergejoin TO off;SET LOCAL enable_sort TO off;\
         SET LOCAL enable_bitmapscan TO off;\
         UPDATE dunlin.captured AS c SET forget_at = '-infinity' WHERE c.number IN (SELECT DISTINCT \
         ON (l.key) l.number FROM (SELECT c.key, c.number FROM dunlin.captured AS c WHERE {these} \
         ORDER BY c.number DESC LIMIT {count_max}) AS l ORDER BY l.key, l.number DESC);\
         SELECT pg_catalog.set_config('dunlin.undone', '0', true);",
        count_max = count_max.clamp(1, 1_000_000),
    );
    let done = format!(
        "older AS (UPDATE dunlin.captured AS o SET xmin_after = {OURS} FROM done AS d \
         WHERE o.key = d.key AND {of_ours} \
         AND o.number + 0 < d.number AND o.xmin_after = d.xmin_before) \
         SELECT pg_catalog.set_config('dunlin.undone', (pg_catalog.current_setting(\
         'dunlin.undone')::bigint + (SELECT pg_catalog.count(*) FROM done))::text, true);",
        of_ours = other_index("o"),
    );
    // A statement that deletes has every column captured; one that updates some of them. Either
    // way a row that is still there gets the columns that were kept.
    sql.push_str(&format!(
        "WITH done AS (UPDATE {table} AS t SET {sets} FROM dunlin.captured AS c WHERE {chosen} \
         AND c.xmin_after <> {DELETED} AND {same} AND t.xmin::text = c.xmin_after \
         RETURNING c.key, c.number, c.xmin_before), {done}",
        table = work.table,
        sets = sets.join(", "),
    ));
    sql.push_str(&format!(
        "WITH back AS (INSERT INTO {table} AS t ({names}) OVERRIDING SYSTEM VALUE SELECT {values} \
         FROM dunlin.captured AS c WHERE {chosen} AND c.xmin_after = {DELETED} \
         ON CONFLICT DO NOTHING RETURNING {key} AS key), done AS (SELECT c.key, c.number, \
         c.xmin_before FROM dunlin.captured AS c JOIN back USING (key) WHERE {chosen}), {done}",
        table = work.table,
        names = names.join(", "),
        values = values.join(", "),
        key = layout.encoded("t"),
    ));
    sql.push_str(&format!(
        "WITH gone AS (DELETE FROM dunlin.captured AS c WHERE {chosen} RETURNING 1) \
         SELECT pg_catalog.current_setting('dunlin.undone')::bigint, (SELECT pg_catalog.count(*) \
         FROM gone), EXISTS (SELECT FROM dunlin.captured AS c WHERE {these} \
         AND c.forget_at <> '-infinity')"
    ));
    Ok(sql)
}

/// What is left to undo with.
pub(super) async fn kept(session: &mut Session, of: &Resource) -> Result<Kept, TargetError> {
    session.clean().await?;
    let sql = format!(
        "SELECT EXISTS (SELECT FROM dunlin.captured AS c WHERE c.job = b.job AND c.pass = b.pass), \
         pg_catalog.floor(pg_catalog.date_part('epoch', \
         pg_catalog.clock_timestamp() - b.started_at))::bigint \
         FROM dunlin.backfills AS b WHERE b.job = {}",
        quote::text(&of.to_string())
    );
    let asked = session.ask(&sql).await;
    let answers = asked.map_err(|error| as_ledger_error(session, error, Access::Read))?;
    let Some(row) = answers.first().and_then(|answer| answer.rows.first()) else {
        return Ok(Kept::default());
    };
    let seconds = number::<i64>(row, 1)?.max(0).unsigned_abs();
    Ok(Kept { any: boolean(row, 0)?, age: Duration::from_secs(seconds) })
}

/// Forgets what is over, but not from under an undo that has begun: it would take what is gone for
/// done.
pub(super) async fn forget(session: &mut Session, count_max: u64) -> Result<u64, TargetError> {
    session.clean().await?;
    let sql = format!(
        "DELETE FROM dunlin.captured WHERE number IN (SELECT number FROM dunlin.captured \
         WHERE forget_at < pg_catalog.clock_timestamp() AND (job, pass) NOT IN \
         (SELECT job, pass FROM dunlin.backfills WHERE phase = 'undo' AND state <> 'undone') \
         ORDER BY forget_at LIMIT {} FOR UPDATE SKIP LOCKED)",
        count_max.min(i64::MAX.unsigned_abs())
    );
    match session.ask(&sql).await {
        Ok(answers) => Ok(answers.first().map_or(0, |answer| answer.count)),
        Err(error) if is_older_ledger(&error) => Ok(0),
        Err(error) => Err(as_ledger_error(session, error, Access::Write)),
    }
}
