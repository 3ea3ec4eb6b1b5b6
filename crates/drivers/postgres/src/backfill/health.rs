//! How the server is, in one round trip.
//!
//! Each signal is a load: 0 idle, 1 at its limit. The limits are mild: a backfill alone on an idle
//! machine of two processors stays far below all of them.

use std::time::Instant;

use dunlin_engine::{Absent, Health, Signal, TargetError};
use dunlin_model::Backfill;

use super::rehearse::log_place;
use super::walk::{alias, regclass};
use crate::quote;
use crate::rows::{Answer, field, optional_number, single};
use crate::session::Session;

/// Sessions that wait for us at one moment. One may be chance: a row that both want. Two mean that
/// our chunks are in the application's way.
const LOCK_WAITS_MAX: f64 = 2.0;

/// No server tells how many processors it has. Who runs one sets `max_connections` by what it can
/// take; where one connection in eight is at work at the same moment, queries already queue for
/// processors on any machine for which that setting makes sense. Never below eight.
const CONNECTIONS_PER_ACTIVE: f64 = 8.0;
const ACTIVE_MIN: f64 = 8.0;

/// A transaction this old keeps every row version that we leave from being cleaned away: a backfill
/// beside it doubles the table for good.
const OLDEST_SECONDS_MAX: f64 = 7_200.0;

/// The log may at most fill `max_wal_size` in this time, or checkpoints follow each other without a
/// pause; and never less than 512 MB a second, which no two processors write.
const LOG_FILLED_SECONDS_MIN: f64 = 2.0;
const LOG_BYTES_PER_SECOND_MIN: f64 = 512.0 * 1024.0 * 1024.0;

/// Finished pieces of log that wait for the archive; of 16 MB, this is 1 GB.
const ARCHIVE_BACKLOG_MAX: f64 = 64.0;

/// What slots may keep of the log where `max_slot_wal_keep_size` does not say.
const SLOT_BYTES_MAX: f64 = 32.0 * 1024.0 * 1024.0 * 1024.0;

/// Dead rows for each living one. One walk that changes all rows leaves one; four mean that nothing
/// cleans up.
const DEAD_PER_LIVE_MAX: f64 = 4.0;

/// From so many dead rows, and half as many as living ones, a VACUUM is worth its time.
const DEAD_WORTH_VACUUM: f64 = 10_000.0;

/// How far a replica may be behind. Applications that read from replicas bear seconds.
const REPLICA_SECONDS_MAX: f64 = 10.0;

/// What one look saw that the next one needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    at: Instant,
    log: Option<u64>,
    active_ms: Option<f64>,
}

const MONITOR: &str = "pg_read_all_stats";

/// How the server is.
pub(super) async fn look(
    session: &mut Session,
    last: &mut Option<Reading>,
    work: &Backfill,
) -> Result<Health, TargetError> {
    session.clean().await?;
    let answers = session.ask(&question(work)).await?;
    let row = Facts(&answers);
    let mut health = Health::default();
    if row.yes(STANDBY)? {
        health.signals.extend(standby(&row)?);
        return Ok(health);
    }
    let reading = Reading {
        at: Instant::now(),
        log: row.text(LOG)?.and_then(log_place),
        active_ms: row.float(ACTIVE_MS)?,
    };
    let may = row.yes(MAY_READ_ALL)?;
    let user = quote::name(&session.endpoint.user_name());
    let mut absent = |name: &'static str| {
        health.absent.push(Absent { name, help: format!("GRANT {MONITOR} TO {user}") });
    };
    let waits = row.float(WAITS)?.unwrap_or(0.0);
    health.signals.push(signal(
        "lock waits",
        waits / LOCK_WAITS_MAX,
        format!("{waits} of {LOCK_WAITS_MAX} sessions wait for us"),
    ));
    health.others = match (row.float(OTHERS)?, may) {
        (Some(others), _) if others > 0.0 => Some(others as u64),
        (Some(_), true) => Some(0),
        // Nobody else is there at all, or what they do is hidden.
        _ => (row.float(HIDDEN)? == Some(0.0)).then_some(0),
    };
    match active(&row, &reading, last.as_ref(), may)? {
        Some(signal) => health.signals.push(signal),
        None if may || reading.active_ms.is_some() => {}
        None => absent("active sessions"),
    }
    if may {
        let seconds = row.float(OLDEST)?.unwrap_or(0.0);
        health.signals.push(signal(
            "oldest transaction",
            seconds / OLDEST_SECONDS_MAX,
            format!("{seconds:.0} of {OLDEST_SECONDS_MAX:.0} s"),
        ));
    } else {
        absent("oldest transaction");
    }
    let hidden = row.float(REPLICAS)?.unwrap_or(0.0) > 0.0 && !may;
    if hidden {
        absent(dunlin_engine::REPLICA_LAG);
    }
    health.signals.extend(log_rate(&row, &reading, last.as_ref())?);
    health.signals.extend(archive(&row)?);
    health.signals.extend(slots(&row)?);
    health.signals.extend(dead_rows(&row, work, &mut health.advice)?);
    if let Some(seconds) = row.float(REPLICA_LAG)?.filter(|_| !hidden) {
        health.signals.push(replica(seconds));
    }
    *last = Some(reading);
    Ok(health)
}

fn signal(name: &'static str, load: f64, shown: String) -> Signal {
    Signal { name, load: load.max(0.0), shown }
}

fn replica(seconds: f64) -> Signal {
    let shown = format!("{seconds:.1} of {REPLICA_SECONDS_MAX} s behind");
    signal(dunlin_engine::REPLICA_LAG, seconds / REPLICA_SECONDS_MAX, shown)
}

/// Sessions at work that aren't ours, by the list of sessions or else by the time that they spent
/// since the last look.
fn active(
    row: &Facts<'_>,
    now: &Reading,
    last: Option<&Reading>,
    may: bool,
) -> Result<Option<Signal>, TargetError> {
    let limit =
        (row.float(MAX_CONNECTIONS)?.unwrap_or(0.0) / CONNECTIONS_PER_ACTIVE).max(ACTIVE_MIN);
    let count = if may {
        row.float(ACTIVE)?
    } else {
        let before = last.and_then(|last| Some((last.active_ms?, last.at)));
        before.zip(now.active_ms).and_then(|((before, at), active)| {
            let elapsed = now.at.duration_since(at).as_secs_f64() * 1000.0;
            let ours = row.float(OURS).ok().flatten().unwrap_or(0.0);
            (elapsed >= 1000.0).then(|| ((active - before) / elapsed - ours).max(0.0))
        })
    };
    Ok(count.map(|count| {
        let shown = format!("{count:.0} of {limit:.0} sessions at work beside ours");
        signal("active sessions", count / limit, shown)
    }))
}

#[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
fn log_rate(
    row: &Facts<'_>,
    now: &Reading,
    last: Option<&Reading>,
) -> Result<Option<Signal>, TargetError> {
    let Some((before, log)) = last.and_then(|last| Some((last, now.log?.checked_sub(last.log?)?)))
    else {
        return Ok(None);
    };
    let elapsed = now.at.duration_since(before.at).as_secs_f64();
    if elapsed <= 0.0 {
        return Ok(None);
    }
    let size = row.float(MAX_WAL_BYTES)?.unwrap_or(0.0);
    let limit = (size / LOG_FILLED_SECONDS_MIN).max(LOG_BYTES_PER_SECOND_MIN);
    let rate = log as f64 / elapsed;
    let shown = format!("{:.1} of {:.0} MB of WAL a second", rate / 1e6, limit / 1e6);
    Ok(Some(signal("log a second", rate / limit, shown)))
}

fn archive(row: &Facts<'_>) -> Result<Option<Signal>, TargetError> {
    if !row.yes(ARCHIVES)? {
        return Ok(None);
    }
    if row.yes(ARCHIVE_FAILS)? {
        return Ok(Some(signal("archive", 1.0, "the last try to archive WAL failed".to_owned())));
    }
    let backlog = row.float(ARCHIVE_BACKLOG)?.unwrap_or(0.0);
    let shown = format!("{backlog:.0} of {ARCHIVE_BACKLOG_MAX:.0} WAL files wait for the archive");
    Ok(Some(signal("archive", backlog / ARCHIVE_BACKLOG_MAX, shown)))
}

fn slots(row: &Facts<'_>) -> Result<Option<Signal>, TargetError> {
    let Some(kept) = row.float(SLOT_BYTES)? else {
        return Ok(None);
    };
    let limit = row.float(SLOT_LIMIT)?.filter(|limit| *limit > 0.0).unwrap_or(SLOT_BYTES_MAX);
    let shown = format!("{:.1} of {:.1} GB of WAL kept by slots", kept / 1e9, limit / 1e9);
    Ok(Some(signal("slots", kept / limit, shown)))
}

fn dead_rows(
    row: &Facts<'_>,
    work: &Backfill,
    advice: &mut Vec<String>,
) -> Result<Option<Signal>, TargetError> {
    let Some((live, dead)) = row.float(LIVE)?.zip(row.float(DEAD)?) else {
        return Ok(None);
    };
    if dead >= DEAD_WORTH_VACUUM && dead * 2.0 >= live {
        let table = &work.table;
        advice.push(format!("{} has {dead:.0} dead rows: VACUUM {table}", alias(work)));
    }
    // A small table's dead rows weigh nothing.
    let limit = (live * DEAD_PER_LIVE_MAX).max(DEAD_WORTH_VACUUM * DEAD_PER_LIVE_MAX);
    let shown = format!("{dead:.0} of {limit:.0} dead rows");
    Ok(Some(signal("dead rows", dead / limit, shown)))
}

fn standby(row: &Facts<'_>) -> Result<Option<Signal>, TargetError> {
    Ok(row.float(STANDBY_LAG)?.map(replica))
}

/// The only row, column by column.
struct Facts<'a>(&'a [Answer]);

impl Facts<'_> {
    fn text(&self, column: usize) -> Result<Option<&str>, TargetError> {
        field(single(self.0, 0)?, column)
    }

    fn float(&self, column: usize) -> Result<Option<f64>, TargetError> {
        optional_number(single(self.0, 0)?, column)
    }

    fn yes(&self, column: usize) -> Result<bool, TargetError> {
        Ok(self.text(column)? == Some("t"))
    }
}

const STANDBY: usize = 0;
const STANDBY_LAG: usize = 1;
const MAY_READ_ALL: usize = 2;
const LOG: usize = 3;
const ACTIVE_MS: usize = 4;
const WAITS: usize = 5;
const ACTIVE: usize = 6;
const OURS: usize = 7;
const MAX_CONNECTIONS: usize = 8;
const OLDEST: usize = 9;
const MAX_WAL_BYTES: usize = 10;
const ARCHIVES: usize = 11;
const ARCHIVE_FAILS: usize = 12;
const ARCHIVE_BACKLOG: usize = 13;
const SLOT_BYTES: usize = 14;
const SLOT_LIMIT: usize = 15;
const LIVE: usize = 16;
const DEAD: usize = 17;
const REPLICAS: usize = 18;
const REPLICA_LAG: usize = 19;
const OTHERS: usize = 20;
const HIDDEN: usize = 21;

/// One SELECT, its columns in the order of the numbers above.
fn question(work: &Backfill) -> String {
    let prefix = quote::text(&format!("dunlin/data/{}/", work.id.version));
    let ours = format!(
        "(SELECT pid FROM pg_catalog.pg_stat_activity WHERE \
         pg_catalog.left(application_name, pg_catalog.length({prefix})) = {prefix})"
    );
    // Connections of ours that are not at a chunk have our plain name.
    let others = |such: &str| {
        format!(
            "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE {such} AND \
             backend_type = 'client backend' AND application_name NOT LIKE 'dunlin%')"
        )
    };
    // A position in the log only exists on a primary.
    let log = "CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN \
         pg_catalog.pg_current_wal_insert_lsn() END";
    let columns = [
        "pg_catalog.pg_is_in_recovery()".to_owned(),
        // Up to date is who has replayed all that it got, as long as it is being sent some.
        "CASE WHEN pg_catalog.pg_is_in_recovery() THEN CASE WHEN \
         pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() AND EXISTS \
         (SELECT FROM pg_catalog.pg_stat_wal_receiver) THEN 0 ELSE pg_catalog.date_part('epoch', \
         pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) END END"
            .to_owned(),
        format!("pg_catalog.pg_has_role('{MONITOR}', 'USAGE')"),
        log.to_owned(),
        // It came with PostgreSQL 14.
        "(SELECT pg_catalog.to_jsonb(d) ->> 'active_time' FROM pg_catalog.pg_stat_database d \
         WHERE d.datname = pg_catalog.current_database())"
            .to_owned(),
        format!(
            "(SELECT pg_catalog.count(*) FROM (SELECT DISTINCT pid FROM pg_catalog.pg_locks \
             WHERE NOT granted AND pid NOT IN {ours}) AS w WHERE \
             pg_catalog.pg_blocking_pids(w.pid) && ARRAY{ours})"
        ),
        format!(
            "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE state = 'active' \
             AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid() \
             AND pid NOT IN {ours})"
        ),
        format!("(SELECT pg_catalog.count(*) FROM {ours} AS o)"),
        "pg_catalog.current_setting('max_connections')".to_owned(),
        format!(
            "(SELECT pg_catalog.max(pg_catalog.date_part('epoch', \
             pg_catalog.clock_timestamp() - xact_start)) FROM pg_catalog.pg_stat_activity \
             WHERE backend_type = 'client backend' AND (backend_xmin IS NOT NULL \
             OR backend_xid IS NOT NULL) AND pid <> pg_catalog.pg_backend_pid() \
             AND pid NOT IN {ours})"
        ),
        "pg_catalog.pg_size_bytes(pg_catalog.current_setting('max_wal_size'))".to_owned(),
        "pg_catalog.current_setting('archive_mode') <> 'off'".to_owned(),
        "(SELECT last_failed_time > COALESCE(last_archived_time, '-infinity') \
         FROM pg_catalog.pg_stat_archiver)"
            .to_owned(),
        // Names of WAL files end in two numbers of eight hexadecimal digits: a file of 4 GB, and a
        // piece in it.
        format!(
            "(SELECT CASE WHEN last_archived_wal ~ '^[0-9A-F]{{24}}$' THEN \
             pg_catalog.floor((pg_catalog.pg_wal_lsn_diff({log}, '0/0') - \
             ('x' || pg_catalog.substr(last_archived_wal, 9, 8))::bit(32)::bigint::numeric * \
             4294967296) / z.bytes) - ('x' || pg_catalog.substr(last_archived_wal, 17, 8))\
             ::bit(32)::bigint - 1 END FROM pg_catalog.pg_stat_archiver, (SELECT \
             pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS bytes) AS z)"
        ),
        format!(
            "(SELECT pg_catalog.max(pg_catalog.pg_wal_lsn_diff({log}, restart_lsn)) \
             FROM pg_catalog.pg_replication_slots)"
        ),
        "NULLIF(pg_catalog.pg_size_bytes(COALESCE(NULLIF(pg_catalog.current_setting(\
         'max_slot_wal_keep_size', true), '-1'), '0')), 0)"
            .to_owned(),
        format!("(SELECT n_live_tup FROM {})", table_stats(work)),
        format!("(SELECT n_dead_tup FROM {})", table_stats(work)),
        "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication)".to_owned(),
        "(SELECT pg_catalog.max(pg_catalog.date_part('epoch', replay_lag)) \
         FROM pg_catalog.pg_stat_replication)"
            .to_owned(),
        others(
            "(state = 'active' OR \
                state_change > pg_catalog.clock_timestamp() - interval '1 second')",
        ),
        others("state_change IS NULL"),
    ];
    format!("SELECT {}", columns.join(", "))
}

/// Rows of the table and its partitions, one row.
///
/// A crash, a failover and a copy of the database empty the statistics: until the next ANALYZE they
/// count only what was inserted since, and every backfill would look as if it left many dead rows
/// for each living one. The catalogue's own estimate survives all three. Nobody knows (NULL) where
/// there is neither.
fn table_stats(work: &Backfill) -> String {
    format!(
        "(SELECT NULLIF(pg_catalog.sum(GREATEST(s.n_live_tup, CASE WHEN c.relkind <> 'p' THEN \
         c.reltuples END)), 0) AS n_live_tup, pg_catalog.sum(s.n_dead_tup) AS n_dead_tup \
         FROM pg_catalog.pg_stat_user_tables s JOIN pg_catalog.pg_class c ON c.oid = s.relid \
         WHERE s.relid = {table} OR s.relid IN (SELECT relid FROM \
         pg_catalog.pg_partition_tree({table}))) AS s",
        table = regclass(work),
    )
}
