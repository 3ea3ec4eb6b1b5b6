//! Backfills: their rows, their segments, and the fence of a chunk.

use std::time::Duration;

use dunlin_engine::{Checkpoint, ErrorKind, TargetError};
use dunlin_model::{
    BackfillRecord, BackfillState, Bound, EntryWrite, Intent, IntentChange, KeyColumn, Lease,
    MigrationId, Phase, Resource, Segment, Version, Wish,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Attempt, NOW, entry, fence, quarantine, read, schema};
use crate::fault::{Fault, Outcome};

/// Begins the transaction of a chunk: moves its checkpoint, if that stands where we think and under
/// our token.
pub(crate) fn enter_chunk(
    connection: &Connection,
    lease: &Lease,
    pass: u32,
    checkpoint: &Checkpoint,
) -> Outcome<()> {
    fence::writable(connection)?;
    let job = lease.resource.to_string();
    let moved = match checkpoint {
        Checkpoint::Segment { seg, from, to, hi } => {
            let sql = "UPDATE dunlin_segments SET upto = ?1, attempts = 0
                       WHERE job = ?2 AND seg = ?3 AND token = ?4 AND upto = ?5 AND hi = ?6";
            connection.prepare_cached(sql)?.execute(params![
                to.encode(),
                job,
                seg,
                lease.token,
                from.encode(),
                hi.encode(),
            ])?
        }
        Checkpoint::Released { key } => {
            if !holds_token(connection, lease)? {
                return Err(fence::fenced(lease).into());
            }
            quarantine::release(connection, &job, pass, key)?
        }
    };
    if moved == 1 { Ok(()) } else { Err(fence::fenced(lease).into()) }
}

/// Ends the transaction of a chunk: counts its rows, extends the lease (nobody could meanwhile),
/// and reads what people want.
pub(crate) fn advance(
    connection: &Connection,
    lease: &Lease,
    ttl: Duration,
    checkpoint: &Checkpoint,
    rows: u64,
) -> Outcome<Intent> {
    if let Checkpoint::Segment { seg, .. } = checkpoint
        && rows > 0
    {
        let sql = "UPDATE dunlin_segments SET rows = rows + ?1 WHERE job = ?2 AND seg = ?3";
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        connection.prepare_cached(sql)?.execute(params![rows, lease.resource.to_string(), seg])?;
    }
    fence::extend(connection, lease, ttl)?;
    intent(connection, &lease.resource)
}

/// What people want of a backfill.
pub(crate) fn intent(connection: &Connection, of: &Resource) -> Outcome<Intent> {
    if !schema::has_backfills(connection)? {
        return Ok(Intent::default());
    }
    let sql = "SELECT intent, intent_by, intent_workers, intent_rate FROM dunlin_backfills
               WHERE job = ?1";
    let found = connection
        .prepare_cached(sql)?
        .query_row([of.to_string()], |row| read_intent(row, 0))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Writes what a person wants. `false`: there is no such backfill.
pub(crate) fn wish(connection: &Connection, of: &Resource, change: &IntentChange) -> Outcome<bool> {
    if !read::has_ledger(connection)? || !schema::has_backfills(connection)? {
        return Ok(false);
    }
    fence::writable(connection)?;
    let sql = "UPDATE dunlin_backfills SET intent = coalesce(?2, intent),
                intent_by = CASE WHEN ?2 IS NULL THEN intent_by ELSE ?3 END,
                intent_workers = coalesce(?4, intent_workers),
                intent_rate = coalesce(?5, intent_rate)
               WHERE job = ?1";
    let written = connection.prepare_cached(sql)?.execute(params![
        of.to_string(),
        change.wish.map(Wish::as_str),
        change.by,
        change.workers,
        change.rate.map(stored),
    ])?;
    Ok(written == 1)
}

/// Writes a backfill's row with its segments and its migration's row, in the transaction that is
/// open and fenced.
pub(crate) fn write_backfill(
    connection: &Connection,
    lease: &Lease,
    record: &BackfillRecord,
    segments: Option<&[Segment]>,
    wish: Option<Wish>,
    entry: Option<&EntryWrite>,
) -> Outcome<()> {
    let job = lease.resource.to_string();
    let sql = "SELECT pass, phase FROM dunlin_backfills WHERE job = ?1";
    let before: Option<(u32, String)> = connection
        .prepare_cached(sql)?
        .query_row([&job], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let anew = before.as_ref() != Some(&(record.pass, record.phase.as_str().to_owned()));
    if anew {
        quarantine::clear(connection, &job)?;
    }
    upsert(connection, &job, record, anew)?;
    if let Some(wish) = wish {
        let sql = "UPDATE dunlin_backfills SET intent = ?2 WHERE job = ?1";
        connection.prepare_cached(sql)?.execute(params![job, wish.as_str()])?;
    }
    if let Some(segments) = segments {
        let sql = "DELETE FROM dunlin_segments WHERE job = ?1 AND seg > 0";
        connection.prepare_cached(sql)?.execute([&job])?;
        for segment in segments {
            insert_segment(connection, &job, lease.token, segment)?;
        }
    }
    match entry {
        // Its chunks began when its row says so.
        Some(entry) => entry::write(connection, entry, Attempt::Journalled),
        None => Ok(()),
    }
}

/// Notes what a worker says of itself, if the token is still ours.
pub(crate) fn report(
    connection: &Connection,
    lease: &Lease,
    record: &BackfillRecord,
) -> Outcome<()> {
    if !schema::has_backfills(connection)? || !holds_token(connection, lease)? {
        return Ok(());
    }
    let sql = format!(
        "UPDATE dunlin_backfills SET state = ?2, reason = ?3, row_count_estimate = ?4,
          workers = ?5, chunk_rows = ?6, chunk_ms = ?7, rows_per_second = ?8,
          seconds_left_min = ?9, seconds_left_max = ?10, rows_before = ?11, updated_at = {NOW}
         WHERE job = ?1"
    );
    connection.prepare_cached(&sql)?.execute(params![
        lease.resource.to_string(),
        record.state.as_str(),
        record.reason,
        record.row_count_estimate.map(stored),
        record.workers,
        stored(record.chunk_rows),
        stored(record.chunk_ms),
        stored(record.rows_per_second),
        stored(record.seconds_left.0),
        stored(record.seconds_left.1),
        stored(record.rows_before),
    ])?;
    Ok(())
}

/// Cuts a segment in two. `false`: it stands elsewhere by now, or is no longer ours.
pub(crate) fn cut(
    connection: &Connection,
    lease: &Lease,
    left: &Segment,
    right: &Segment,
) -> Outcome<bool> {
    fence::writable(connection)?;
    let job = lease.resource.to_string();
    let sql = "UPDATE dunlin_segments SET hi = ?1
               WHERE job = ?2 AND seg = ?3 AND token = ?4 AND upto = ?5 AND hi = ?6";
    let cut = connection.prepare_cached(sql)?.execute(params![
        left.hi.encode(),
        job,
        left.seg,
        lease.token,
        left.upto.encode(),
        right.hi.encode(),
    ])?;
    if cut == 1 {
        insert_segment(connection, &job, lease.token, right)?;
    }
    Ok(cut == 1)
}

/// All backfills, or that of a resource, with their segments.
pub(crate) fn backfills(
    connection: &Connection,
    of: Option<&Resource>,
) -> Outcome<Vec<(BackfillRecord, Vec<Segment>)>> {
    if !read::has_ledger(connection)? || !schema::has_backfills(connection)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT job, version, pass, phase, round, table_name, key_columns, shape, state,
                reason, row_count_estimate, rows_before, workers, chunk_rows, chunk_ms,
                rows_per_second, seconds_left_min, seconds_left_max, intent, intent_by,
                intent_workers, intent_rate, started_at, updated_at,
                (SELECT count(*) FROM dunlin_quarantine AS q
                 WHERE q.job = b.job AND q.pass = b.pass)
               FROM dunlin_backfills AS b WHERE job = ?1 OR (?1 IS NULL AND job LIKE 'data/%')
               ORDER BY version";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([of.map(Resource::to_string)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let job: String = row.get(0)?;
        let segments = match job.starts_with("data/") {
            true => segments(connection, &job)?,
            // Those of a move are fences alone.
            false => Vec::new(),
        };
        found.push((read_record(row)?, segments));
    }
    Ok(found)
}

/// Whether the lease's token is that of its resource.
fn holds_token(connection: &Connection, lease: &Lease) -> Outcome<bool> {
    let sql = "SELECT 1 FROM dunlin_segments WHERE job = ?1 AND seg = 0 AND token = ?2";
    Ok(connection.prepare_cached(sql)?.exists(params![lease.resource.to_string(), lease.token])?)
}

fn upsert(connection: &Connection, job: &str, record: &BackfillRecord, anew: bool) -> Outcome<()> {
    let sql = format!(
        "INSERT INTO dunlin_backfills
          (job, version, pass, phase, round, table_name, key_columns, shape, state, reason,
           row_count_estimate, rows_before, workers, chunk_rows, chunk_ms, rows_per_second,
           seconds_left_min, seconds_left_max, started_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
                 {NOW}, {NOW})
         ON CONFLICT (job) DO UPDATE SET pass = excluded.pass, phase = excluded.phase,
          round = excluded.round, table_name = excluded.table_name,
          key_columns = excluded.key_columns, shape = excluded.shape, state = excluded.state,
          reason = excluded.reason, row_count_estimate = excluded.row_count_estimate,
          rows_before = excluded.rows_before, workers = excluded.workers,
          chunk_rows = excluded.chunk_rows, chunk_ms = excluded.chunk_ms,
          rows_per_second = excluded.rows_per_second,
          seconds_left_min = excluded.seconds_left_min,
          seconds_left_max = excluded.seconds_left_max,
          started_at = CASE WHEN ?19 THEN excluded.started_at ELSE started_at END,
          updated_at = excluded.updated_at"
    );
    let key = serde_json::to_string(&record.key).map_err(|error| {
        TargetError::new(ErrorKind::Bug, format!("the key columns cannot be stored: {error}"))
    })?;
    connection.prepare_cached(&sql)?.execute(params![
        job,
        record.id.version.get(),
        record.pass,
        record.phase.as_str(),
        record.round,
        record.table,
        key,
        record.shape,
        record.state.as_str(),
        record.reason,
        record.row_count_estimate.map(stored),
        stored(record.rows_before),
        record.workers,
        stored(record.chunk_rows),
        stored(record.chunk_ms),
        stored(record.rows_per_second),
        stored(record.seconds_left.0),
        stored(record.seconds_left.1),
        anew,
    ])?;
    Ok(())
}

fn insert_segment(
    connection: &Connection,
    job: &str,
    token: i64,
    segment: &Segment,
) -> Outcome<()> {
    let sql = "INSERT INTO dunlin_segments (job, seg, lo, upto, hi, token, rows, attempts)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        job,
        segment.seg,
        segment.lo.encode(),
        segment.upto.encode(),
        segment.hi.encode(),
        token,
        stored(segment.rows),
        segment.attempts,
    ])?;
    Ok(())
}

fn segments(connection: &Connection, job: &str) -> Outcome<Vec<Segment>> {
    let sql = "SELECT seg, lo, upto, hi, rows, attempts FROM dunlin_segments
               WHERE job = ?1 AND seg > 0 ORDER BY seg";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([job])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let bound = |column: usize| -> Outcome<Bound> {
            let text: Option<String> = row.get(column)?;
            let bound = text.as_deref().and_then(Bound::decode);
            bound.ok_or_else(|| damaged("the bounds of a segment"))
        };
        found.push(Segment {
            seg: row.get(0)?,
            lo: bound(1)?,
            upto: bound(2)?,
            hi: bound(3)?,
            rows: loaded(row, 4)?,
            attempts: row.get(5)?,
        });
    }
    Ok(found)
}

fn read_record(row: &Row<'_>) -> Outcome<BackfillRecord> {
    let version = Version::new(row.get(1)?).ok_or_else(|| damaged("the version of a backfill"))?;
    let (phase, state): (String, String) = (row.get(3)?, row.get(8)?);
    let key: Option<Vec<KeyColumn>> = serde_json::from_str(&row.get::<_, String>(6)?).ok();
    Ok(BackfillRecord {
        id: MigrationId::data(version),
        pass: row.get(2)?,
        phase: Phase::parse(&phase).ok_or_else(|| damaged("the phase of a backfill"))?,
        round: row.get(4)?,
        table: row.get(5)?,
        key: key.ok_or_else(|| damaged("the key columns of a backfill"))?,
        shape: row.get(7)?,
        state: BackfillState::parse(&state).ok_or_else(|| damaged("the state of a backfill"))?,
        reason: row.get(9)?,
        row_count_estimate: row
            .get::<_, Option<i64>>(10)?
            .map(|count| u64::try_from(count).unwrap_or(0)),
        rows_before: loaded(row, 11)?,
        workers: row.get(12)?,
        chunk_rows: loaded(row, 13)?,
        chunk_ms: loaded(row, 14)?,
        rows_per_second: loaded(row, 15)?,
        seconds_left: (loaded(row, 16)?, loaded(row, 17)?),
        intent: read_intent(row, 18)?,
        quarantined: loaded(row, 24)?,
        started_at: row.get(22)?,
        updated_at: row.get(23)?,
    })
}

fn read_intent(row: &Row<'_>, first: usize) -> rusqlite::Result<Intent> {
    Ok(Intent {
        wish: Wish::parse(&row.get::<_, String>(first)?),
        by: row.get(first + 1)?,
        workers: row.get(first + 2)?,
        rate: row.get::<_, Option<i64>>(first + 3)?.map(|rate| u64::try_from(rate).unwrap_or(0)),
    })
}

/// SQLite's integers have a sign.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn loaded(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

fn damaged(what: &str) -> Fault {
    read::damaged(&format!("{what} cannot be read"))
}
