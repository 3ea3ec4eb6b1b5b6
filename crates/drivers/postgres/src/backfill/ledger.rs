//! Backfills in the ledger: their rows, their segments, and what people want.

use std::collections::BTreeMap;

use dunlin_engine::{ErrorKind, TargetError, failpoint};
use dunlin_model::{
    BackfillRecord, BackfillState, Bound, EntryWrite, Intent, IntentChange, KeyColumn, Kind, Lease,
    MigrationId, Phase, Resource, Segment, Version, Wish,
};
use tokio_postgres::SimpleQueryRow;

use super::chunk::{INTENT, job};
use crate::entry::record_sql;
use crate::fence::{
    Access, LEDGER_LOCK_TIMEOUT, Limits, as_ledger_error, begin_fenced, commit_fenced,
};
use crate::quote;
use crate::rows::{bug, field, number, optional_number, required};
use crate::session::Session;

/// Segments that go into one INSERT.
const SEGMENTS_PER_STATEMENT: usize = 500;

/// There is no ledger, or one from before there were backfills.
pub(super) fn is_older_ledger(error: &TargetError) -> bool {
    matches!(error.code.as_deref(), Some("42P01" | "42703" | "3F000"))
}

/// What people want, from columns of [`INTENT`]; NULLs where there is no such backfill.
pub(super) fn intent(row: &SimpleQueryRow, from: usize) -> Result<Intent, TargetError> {
    // People may write into these columns by hand: a number that is none is as if it weren't there.
    let count = |index: usize| -> Result<Option<i64>, TargetError> {
        Ok(optional_number::<i64>(row, index)?.filter(|count| *count >= 0))
    };
    Ok(Intent {
        wish: field(row, from)?.map(Wish::parse).unwrap_or_default(),
        by: field(row, from + 1)?.map(str::to_owned),
        workers: count(from + 2)?.and_then(|count| u32::try_from(count).ok()),
        rate: count(from + 3)?.and_then(|count| u64::try_from(count).ok()),
    })
}

/// All backfills, or one; moves have such rows too, and are asked for by their names.
pub(super) async fn all(
    session: &mut Session,
    of: Option<&Resource>,
) -> Result<Vec<(BackfillRecord, Vec<Segment>)>, TargetError> {
    session.clean().await?;
    let only = |column: &str| {
        of.map_or_else(
            || format!("{column} LIKE 'data/%'"),
            |of| format!("{column} = {}", quote::text(&of.to_string())),
        )
    };
    let sql = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;\
         SELECT b.job, b.version, b.pass, b.phase, b.round, b.table_name, b.key_columns, b.shape, \
         b.state, b.reason, b.row_count_estimate, b.rows_before, b.workers, b.chunk_rows, \
         b.chunk_ms, b.rows_per_second, b.seconds_left_min, b.seconds_left_max, \
         (SELECT pg_catalog.count(*) FROM dunlin.quarantine q WHERE q.job = b.job \
         AND q.pass = b.pass), {started}, {updated}, {INTENT} FROM dunlin.backfills AS b \
         WHERE {backfill} ORDER BY b.version, b.job;\
         SELECT s.job, s.seg, s.lo, s.upto, s.hi, s.rows, s.attempts FROM dunlin.segments AS s \
         WHERE s.seg >= 1 AND s.job LIKE 'data/%' AND {segment} ORDER BY s.job, s.seg;COMMIT",
        started = microseconds("b.started_at"),
        updated = microseconds("b.updated_at"),
        backfill = only("b.job"),
        segment = only("s.job"),
    );
    let answers = match session.ask(&sql).await {
        Ok(answers) => answers,
        Err(error) => {
            session.rollback().await;
            if is_older_ledger(&error) {
                return Ok(Vec::new());
            }
            return Err(as_ledger_error(session, error, Access::Read));
        }
    };
    let rows = |index: usize| answers.get(index).map(|a| a.rows.as_slice()).unwrap_or_default();
    let mut segments: BTreeMap<String, Vec<Segment>> = BTreeMap::new();
    for row in rows(2) {
        segments.entry(required(row, 0)?.to_owned()).or_default().push(segment(row)?);
    }
    rows(1)
        .iter()
        .map(|row| Ok((record(row)?, segments.remove(required(row, 0)?).unwrap_or_default())))
        .collect()
}

fn microseconds(column: &str) -> String {
    format!("pg_catalog.round(pg_catalog.date_part('epoch', {column}) * 1000000)::bigint")
}

fn segment(row: &SimpleQueryRow) -> Result<Segment, TargetError> {
    let bound = |index: usize| {
        Bound::decode(field(row, index)?.unwrap_or("[]"))
            .ok_or_else(|| bug("the ledger has a segment with a bound that is none"))
    };
    Ok(Segment {
        seg: number(row, 1)?,
        lo: bound(2)?,
        upto: bound(3)?,
        hi: bound(4)?,
        rows: number(row, 5)?,
        attempts: number(row, 6)?,
    })
}

fn record(row: &SimpleQueryRow) -> Result<BackfillRecord, TargetError> {
    let version =
        Version::new(number(row, 1)?).ok_or_else(|| bug("the ledger has a version below 0"))?;
    let key: Vec<KeyColumn> = serde_json::from_str(required(row, 6)?)
        .map_err(|_| bug("the ledger has a backfill whose key can't be read"))?;
    Ok(BackfillRecord {
        id: MigrationId { version, kind: Kind::Data },
        pass: number(row, 2)?,
        phase: Phase::parse(required(row, 3)?)
            .ok_or_else(|| bug("the ledger has a backfill in a phase that is none"))?,
        round: number(row, 4)?,
        table: required(row, 5)?.to_owned(),
        key,
        shape: required(row, 7)?.to_owned(),
        state: BackfillState::parse(required(row, 8)?)
            .ok_or_else(|| bug("the ledger has a backfill in a state that is none"))?,
        reason: field(row, 9)?.map(str::to_owned),
        row_count_estimate: optional_number(row, 10)?,
        rows_before: number(row, 11)?,
        workers: number(row, 12)?,
        chunk_rows: number(row, 13)?,
        chunk_ms: number(row, 14)?,
        rows_per_second: number(row, 15)?,
        seconds_left: (number(row, 16)?, number(row, 17)?),
        quarantined: number(row, 18)?,
        started_at: optional_number(row, 19)?,
        updated_at: optional_number(row, 20)?,
        intent: intent(row, 21)?,
    })
}

/// A count as the ledger can store it.
fn bigint(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Names and values of what a worker has to say of itself.
fn facts(record: &BackfillRecord) -> Vec<(&'static str, String)> {
    vec![
        ("pass", record.pass.to_string()),
        ("phase", quote::text(record.phase.as_str())),
        ("round", record.round.to_string()),
        ("table_name", quote::text(&record.table)),
        ("key_columns", quote::text(&serde_json::json!(record.key).to_string())),
        ("shape", quote::text(&record.shape)),
        ("state", quote::text(record.state.as_str())),
        ("reason", quote::optional(record.reason.as_deref())),
        (
            "row_count_estimate",
            record.row_count_estimate.map_or_else(|| "NULL".to_owned(), |n| bigint(n).to_string()),
        ),
        ("rows_before", bigint(record.rows_before).to_string()),
        ("workers", record.workers.to_string()),
        ("chunk_rows", bigint(record.chunk_rows).to_string()),
        ("chunk_ms", bigint(record.chunk_ms).to_string()),
        ("rows_per_second", bigint(record.rows_per_second).to_string()),
        ("seconds_left_min", bigint(record.seconds_left.0).to_string()),
        ("seconds_left_max", bigint(record.seconds_left.1).to_string()),
        ("updated_at", "pg_catalog.clock_timestamp()".to_owned()),
    ]
}

/// Writes a backfill's row, its segments and its migration's row.
pub(super) async fn write(
    session: &mut Session,
    lease: &mut Lease,
    record: &BackfillRecord,
    segments: Option<&[Segment]>,
    wish: Option<Wish>,
    entry: Option<&EntryWrite>,
) -> Result<(), TargetError> {
    session.clean().await?;
    let job = job(lease);
    let mut facts = facts(record);
    if let Some(wish) = wish {
        facts.push(("intent", quote::text(wish.as_str())));
    }
    let names: Vec<&str> = facts.iter().map(|(name, _)| *name).collect();
    let values: Vec<&str> = facts.iter().map(|(_, value)| value.as_str()).collect();
    let sets: Vec<String> = names.iter().map(|name| format!("{name} = EXCLUDED.{name}")).collect();
    let mut statements = vec![
        format!(
            "DELETE FROM dunlin.quarantine WHERE job = {job} AND NOT EXISTS (SELECT FROM \
             dunlin.backfills WHERE job = {job} AND pass = {} AND phase = '{}')",
            record.pass,
            record.phase.as_str()
        ),
        format!(
            "INSERT INTO dunlin.backfills AS b (job, version, {names}) VALUES ({job}, {version}, \
             {values}) ON CONFLICT (job) DO UPDATE SET {sets}, started_at = CASE WHEN \
             b.pass = EXCLUDED.pass AND b.phase = EXCLUDED.phase THEN b.started_at \
             ELSE EXCLUDED.updated_at END",
            names = names.join(", "),
            version = record.id.version,
            values = values.join(", "),
            sets = sets.join(", "),
        ),
    ];
    if let Some(segments) = segments {
        statements.push(format!("DELETE FROM dunlin.segments WHERE job = {job} AND seg >= 1"));
        for some in segments.chunks(SEGMENTS_PER_STATEMENT) {
            let rows: Vec<String> = some.iter().map(|s| segment_values(&job, lease, s)).collect();
            statements.push(format!(
                "INSERT INTO dunlin.segments ({SEGMENT_COLUMNS}) VALUES ({})",
                rows.join("), (")
            ));
        }
    }
    statements.extend(entry.map(record_sql));
    begin_fenced(session, lease, Limits::LEDGER, &statements.join(";")).await?;
    commit_fenced(session, lease).await?;
    failpoint("backfill.written");
    Ok(())
}

const SEGMENT_COLUMNS: &str = "job, seg, lo, upto, hi, token, rows, attempts";

fn segment_values(job: &str, lease: &Lease, segment: &Segment) -> String {
    format!(
        "{job}, {}, {}, {}, {}, {}, {}, {}",
        segment.seg,
        quote::text(&segment.lo.encode()),
        quote::text(&segment.upto.encode()),
        quote::text(&segment.hi.encode()),
        lease.token,
        bigint(segment.rows),
        segment.attempts
    )
}

/// Limits of a ledger transaction of its own, as the beginning of a message.
fn limits() -> String {
    format!("SET LOCAL lock_timeout TO {};", LEDGER_LOCK_TIMEOUT.as_millis())
}

/// Notes what a worker has to say; what people want.
pub(super) async fn report(
    session: &mut Session,
    lease: &Lease,
    record: &BackfillRecord,
) -> Result<Intent, TargetError> {
    session.clean().await?;
    let job = job(lease);
    let sets: Vec<String> =
        facts(record).iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let sql = format!(
        "{limits}UPDATE dunlin.backfills SET {sets} WHERE job = {job} AND EXISTS (SELECT FROM \
         dunlin.segments WHERE job = {job} AND seg = 0 AND token = {token});\
         SELECT {INTENT} FROM (SELECT) AS one LEFT JOIN dunlin.backfills AS b ON b.job = {job}",
        limits = limits(),
        sets = sets.join(", "),
        token = lease.token,
    );
    let answers =
        session.ask(&sql).await.map_err(|error| as_ledger_error(session, error, Access::Write))?;
    intent(crate::rows::single(&answers, 2)?, 0)
}

/// Writes what a person wants.
pub(super) async fn wish(
    session: &mut Session,
    of: &Resource,
    change: &IntentChange,
) -> Result<bool, TargetError> {
    session.clean().await?;
    let mut sets = vec!["job = job".to_owned()];
    if let Some(wish) = change.wish {
        sets.push(format!("intent = {}", quote::text(wish.as_str())));
        sets.push(format!("intent_by = {}", quote::optional(change.by.as_deref())));
    }
    sets.extend(
        change.workers.map(|workers| {
            format!("intent_workers = {}", i32::try_from(workers).unwrap_or(i32::MAX))
        }),
    );
    sets.extend(change.rate.map(|rate| format!("intent_rate = {}", bigint(rate))));
    let sql = format!(
        "{}UPDATE dunlin.backfills SET {} WHERE job = {}",
        limits(),
        sets.join(", "),
        quote::text(&of.to_string())
    );
    match session.ask(&sql).await {
        Ok(answers) => Ok(answers.get(1).is_some_and(|answer| answer.count == 1)),
        Err(error) if is_older_ledger(&error) => Ok(false),
        Err(error) => Err(as_ledger_error(session, error, Access::Write)),
    }
}

/// Cuts a segment in two.
pub(super) async fn cut(
    session: &mut Session,
    lease: &Lease,
    left: &Segment,
    right: &Segment,
) -> Result<bool, TargetError> {
    session.clean().await?;
    let job = job(lease);
    let sql = format!(
        "{limits}WITH cut AS (UPDATE dunlin.segments SET hi = {middle} WHERE job = {job} \
         AND seg = {seg} AND token = {token} AND upto = {upto} AND hi = {hi} RETURNING 1) \
         INSERT INTO dunlin.segments ({SEGMENT_COLUMNS}) SELECT {new} FROM cut",
        limits = limits(),
        middle = quote::text(&left.hi.encode()),
        seg = left.seg,
        token = lease.token,
        upto = quote::text(&left.upto.encode()),
        hi = quote::text(&right.hi.encode()),
        new = segment_values(&job, lease, right),
    );
    match session.ask(&sql).await {
        Ok(answers) => {
            failpoint("segment.cut");
            Ok(answers.get(1).is_some_and(|answer| answer.count == 1))
        }
        // A chunk of that segment is under way: it will stand elsewhere.
        Err(error) if matches!(error.kind, ErrorKind::LockTimeout | ErrorKind::Conflict) => {
            Ok(false)
        }
        Err(error) => Err(as_ledger_error(session, error, Access::Write)),
    }
}
