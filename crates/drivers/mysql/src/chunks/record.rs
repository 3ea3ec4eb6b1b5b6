//! Backfills in the ledger: their rows, segments, quarantine, and what people want.

use dunlin_engine::{ErrorKind, Kept, Quarantined, TargetError};
use dunlin_model::{
    Backfill, BackfillRecord, BackfillState, Bound, EntryWrite, Intent, IntentChange, Key, Lease,
    MigrationId, Phase, Resource, Segment, Version, Wish,
};
use std::collections::BTreeMap;
use std::time::Duration;

use super::commit::key_hash;
use super::walk::{first_number, too_little};
use crate::facts::require_writable;
use crate::ledger::{BEGIN, Ledger, ONE_ROW};
use crate::literal::{optional_text, text};
use crate::session::{Answer, Cells};
use crate::target::{MysqlTarget, fence_failure};

/// So many segments are written by one statement.
const SEGMENTS_MAX: usize = 200;

const INTENT: &str = "intent, intent_by, intent_workers, intent_rate";

impl Ledger {
    /// Reads what people want of a backfill.
    pub(crate) fn select_intent(&self, of: &Resource) -> String {
        let job = text(&of.to_string());
        format!("SELECT {INTENT} FROM {} WHERE job = {job}", self.table("backfills"))
    }

    fn select_backfills(&self, of: Option<&Resource>) -> String {
        let micros =
            |column: &str| format!("TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', {column})");
        let only = of.map_or_else(
            || "b.job LIKE 'data/%'".to_owned(),
            |of| format!("b.job = {}", text(&of.to_string())),
        );
        format!(
            "SELECT {INTENT}, b.job, b.version, b.pass, b.phase, b.round, b.table_name, \
             b.key_columns, b.shape, b.state, b.reason, b.row_count_estimate, b.rows_before, \
             b.workers, b.chunk_rows, b.chunk_ms, b.rows_per_second, b.seconds_left_min, \
             b.seconds_left_max, {}, {}, (SELECT COUNT(*) FROM {} q WHERE q.job = b.job \
             AND q.pass = b.pass) FROM {} b WHERE {only} ORDER BY b.version; \
             SELECT s.job, s.seg, s.lo, s.upto, s.hi, s.rows_done, s.attempts FROM {} s \
             JOIN {} b ON b.job = s.job WHERE s.seg >= 1 AND b.job LIKE 'data/%' AND {only} ORDER BY s.job, s.seg",
            micros("b.started_at"),
            micros("b.updated_at"),
            self.table("quarantine"),
            self.table("backfills"),
            self.table("segments"),
            self.table("backfills"),
        )
    }

    fn insert_segments(&self, lease: &Lease, segments: &[Segment]) -> Vec<String> {
        let job = text(&lease.resource.to_string());
        let row = |segment: &Segment| {
            format!(
                "({job}, {}, {}, {}, {}, {}, {}, {}, CONNECTION_ID())",
                segment.seg,
                text(&segment.lo.encode()),
                text(&segment.upto.encode()),
                text(&segment.hi.encode()),
                lease.token,
                segment.rows,
                segment.attempts,
            )
        };
        let batches = segments.chunks(SEGMENTS_MAX);
        let batches = batches.map(|batch| {
            format!(
                "INSERT INTO {} (job, seg, lo, upto, hi, token, rows_done, attempts, connection) \
                 VALUES {}; ",
                self.table("segments"),
                batch.iter().map(row).collect::<Vec<_>>().join(", ")
            )
        });
        batches.collect()
    }
}

/// The assignments for what a worker says of itself.
fn facts(record: &BackfillRecord) -> String {
    format!(
        "state = '{}', reason = {}, workers = {}, chunk_rows = {}, chunk_ms = {}, \
         rows_per_second = {}, seconds_left_min = {}, seconds_left_max = {}, \
         row_count_estimate = {}, rows_before = {}, updated_at = UTC_TIMESTAMP(6)",
        record.state.as_str(),
        optional_text(record.reason.as_deref()),
        record.workers,
        record.chunk_rows,
        record.chunk_ms,
        record.rows_per_second,
        record.seconds_left.0,
        record.seconds_left.1,
        record.row_count_estimate.map_or_else(|| "NULL".to_owned(), |rows| rows.to_string()),
        record.rows_before,
    )
}

/// The assignments for what does not change within a walk.
fn plan(record: &BackfillRecord) -> String {
    let key = serde_json::to_string(&record.key).unwrap_or_default();
    format!(
        "version = {}, pass = {}, phase = '{}', round = {}, table_name = {}, key_columns = {}, \
         shape = {}",
        record.id.version,
        record.pass,
        record.phase.as_str(),
        record.round,
        text(&record.table),
        text(&key),
        text(&record.shape),
    )
}

/// What the one row of an intent says; what is missing wants nothing.
pub(crate) fn intent_of(answer: &Answer) -> Intent {
    answer.rows.first().map(intent).unwrap_or_default()
}

fn intent(row: &Cells) -> Intent {
    Intent {
        wish: Wish::parse(&row.text(0)),
        by: row.optional(1),
        workers: row.number(2),
        rate: row.number(3),
    }
}

fn damaged(what: &str) -> TargetError {
    TargetError::new(
        ErrorKind::LedgerFormat,
        format!("the ledger holds {what}, which it never does"),
    )
    .help("a dunlin_… table was changed by hand or by a newer program")
}

fn record(row: &Cells) -> Result<BackfillRecord, TargetError> {
    let number = |column| row.number(column).ok_or_else(|| damaged("a backfill without a number"));
    let version =
        row.number(5).and_then(Version::new).ok_or_else(|| damaged("a negative version"))?;
    Ok(BackfillRecord {
        id: MigrationId::data(version),
        pass: row.number(6).ok_or_else(|| damaged("a backfill without a pass"))?,
        phase: Phase::parse(&row.text(7)).ok_or_else(|| damaged("an unknown phase"))?,
        round: row.number(8).ok_or_else(|| damaged("a backfill without a round"))?,
        table: row.text(9),
        key: serde_json::from_str(&row.text(10)).map_err(|_| damaged("a key that is none"))?,
        shape: row.text(11),
        state: BackfillState::parse(&row.text(12)).ok_or_else(|| damaged("an unknown state"))?,
        reason: row.optional(13),
        row_count_estimate: row.number(14),
        rows_before: number(15)?,
        workers: row.number(16).unwrap_or_default(),
        chunk_rows: number(17)?,
        chunk_ms: number(18)?,
        rows_per_second: number(19)?,
        seconds_left: (number(20)?, number(21)?),
        intent: intent(row),
        started_at: row.number(22),
        updated_at: row.number(23),
        quarantined: row.number(24).unwrap_or_default(),
    })
}

fn segment(row: &Cells) -> Result<Segment, TargetError> {
    let bound = |column| {
        row.optional(column)
            .and_then(|text| Bound::decode(&text))
            .ok_or_else(|| damaged("a segment whose bounds are none"))
    };
    Ok(Segment {
        seg: row.number(1).ok_or_else(|| damaged("a segment without a number"))?,
        lo: bound(2)?,
        upto: bound(3)?,
        hi: bound(4)?,
        rows: row.number(5).unwrap_or_default(),
        attempts: row.number(6).unwrap_or_default(),
    })
}

/// There is no such table or column: a ledger of an older format, or none.
fn is_older(error: &TargetError) -> bool {
    matches!(error.code.as_deref(), Some("1146" | "1054"))
}

impl MysqlTarget {
    pub(crate) async fn read_backfills(
        &mut self,
        of: Option<&Resource>,
    ) -> Result<Vec<(BackfillRecord, Vec<Segment>)>, TargetError> {
        let packet = format!(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
             START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY; {}; COMMIT",
            self.ledger.select_backfills(of)
        );
        let answers = match self.repeated(&packet).await {
            Ok(answers) => answers,
            Err(error) => {
                let error = self.session.rolled_back(error).await;
                return if is_older(&error) { Ok(Vec::new()) } else { Err(error) };
            }
        };
        let [_, _, backfills, segments, _] = answers.as_slice() else {
            return Err(too_little());
        };
        let mut of_job: BTreeMap<String, Vec<Segment>> = BTreeMap::new();
        for row in &segments.rows {
            of_job.entry(row.text(0)).or_default().push(segment(row)?);
        }
        let backfills = backfills
            .rows
            .iter()
            .map(|row| Ok((record(row)?, of_job.remove(&row.text(4)).unwrap_or_default())));
        backfills.collect()
    }

    pub(crate) async fn save_backfill(
        &mut self,
        lease: &mut Lease,
        record: &BackfillRecord,
        segments: Option<&[Segment]>,
        wish: Option<Wish>,
        entry: Option<&EntryWrite>,
    ) -> Result<(), TargetError> {
        let job = text(&lease.resource.to_string());
        let table = self.ledger.table("backfills");
        let same = format!("pass = {} AND phase = '{}'", record.pass, record.phase.as_str());
        let (plan, facts) = (plan(record), facts(record));
        let wish = wish.map(|wish| format!(", intent = '{}', intent_by = NULL", wish.as_str()));
        let wish = wish.unwrap_or_default();
        let mut writes = vec![
            format!(
                "DELETE FROM {} WHERE job = {job} \
                 AND NOT EXISTS (SELECT 1 FROM {table} b WHERE b.job = {job} AND {same}); ",
                self.ledger.table("quarantine"),
            ),
            // Assignments take effect from left to right: the time is computed from the old state.
            format!(
                "INSERT INTO {table} SET job = {job}, started_at = UTC_TIMESTAMP(6), {plan}, \
                 {facts}{wish} ON DUPLICATE KEY UPDATE \
                 started_at = IF({same}, started_at, UTC_TIMESTAMP(6)), {plan}, {facts}{wish}; "
            ),
        ];
        if let Some(segments) = segments {
            writes.push(format!(
                "DELETE FROM {} WHERE job = {job} AND seg >= 1; ",
                self.ledger.table("segments")
            ));
            writes.extend(self.ledger.insert_segments(lease, segments));
        }
        writes.extend(entry.map(|entry| self.ledger.entry(entry, Duration::ZERO)));
        self.fenced(lease, &writes).await?;
        dunlin_engine::failpoint("backfill.written");
        Ok(())
    }

    pub(crate) async fn say(
        &mut self,
        lease: &Lease,
        record: &BackfillRecord,
    ) -> Result<Intent, TargetError> {
        let job = text(&lease.resource.to_string());
        let packet = format!(
            "UPDATE {} SET {} WHERE job = {job} AND EXISTS (SELECT 1 FROM {} s \
             WHERE s.job = {job} AND s.seg = 0 AND s.token = {}); {}",
            self.ledger.table("backfills"),
            facts(record),
            self.ledger.table("segments"),
            lease.token,
            self.ledger.select_intent(&lease.resource),
        );
        let answers = self.repeated(&packet).await?;
        Ok(answers.get(1).map(intent_of).unwrap_or_default())
    }

    pub(crate) async fn write_wish(
        &mut self,
        of: &Resource,
        change: &IntentChange,
    ) -> Result<bool, TargetError> {
        require_writable(&self.facts)?;
        let (job, table) = (text(&of.to_string()), self.ledger.table("backfills"));
        let mut sets = vec!["job = job".to_owned()];
        if let Some(wish) = change.wish {
            sets.push(format!("intent = '{}'", wish.as_str()));
            sets.push(format!("intent_by = {}", optional_text(change.by.as_deref())));
        }
        sets.extend(change.workers.map(|workers| format!("intent_workers = {workers}")));
        sets.extend(change.rate.map(|rate| format!("intent_rate = {rate}")));
        let sets = sets.join(", ");
        // The row is read as well: an update that changes nothing counts as no row.
        let packet = format!(
            "UPDATE {table} SET {sets} WHERE job = {job}; \
             SELECT COUNT(*) FROM {table} WHERE job = {job}"
        );
        match self.repeated(&packet).await {
            Ok(answers) => Ok(answers.get(1..).and_then(first_number) == Some(1)),
            Err(error) if is_older(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn cut(
        &mut self,
        lease: &Lease,
        left: &Segment,
        right: &Segment,
    ) -> Result<bool, TargetError> {
        require_writable(&self.facts)?;
        let packet = format!(
            "{BEGIN}UPDATE {} SET hi = {}, connection = CONNECTION_ID() WHERE job = {} \
             AND seg = {} AND token = {} AND upto = {} AND hi = {}; {ONE_ROW}{}COMMIT",
            self.ledger.table("segments"),
            text(&left.hi.encode()),
            text(&lease.resource.to_string()),
            left.seg,
            lease.token,
            text(&left.upto.encode()),
            text(&right.hi.encode()),
            self.ledger.insert_segments(lease, std::slice::from_ref(right)).concat(),
        );
        let Err(error) = self.session.run(&packet).await else {
            return Ok(true);
        };
        let error = self.session.rolled_back(error).await;
        if fence_failure(error.clone(), lease).kind == ErrorKind::Fenced {
            return Ok(false);
        }
        Err(error)
    }

    pub(crate) async fn read_quarantine(
        &mut self,
        of: &Resource,
        count_max: u64,
    ) -> Result<Vec<Quarantined>, TargetError> {
        let job = text(&of.to_string());
        let query = format!(
            "SELECT `key`, error, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', at) FROM {} \
             WHERE job = {job} AND pass = (SELECT pass FROM {} WHERE job = {job}) \
             ORDER BY number LIMIT {count_max}",
            self.ledger.table("quarantine"),
            self.ledger.table("backfills"),
        );
        let answers = match self.session.run(&query).await {
            Ok(answers) => answers,
            Err(error) if is_older(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let rows = answers.iter().flat_map(|answer| &answer.rows).map(|row| {
            Ok(Quarantined {
                key: Key::decode(&row.text(0)).ok_or_else(super::kind::no_key)?,
                error: row.text(1),
                at: row.number(2).unwrap_or_default(),
            })
        });
        rows.collect()
    }

    pub(crate) async fn forget_quarantined(
        &mut self,
        lease: &mut Lease,
        key: Option<&Key>,
    ) -> Result<u64, TargetError> {
        require_writable(&self.facts)?;
        let only = key.map(|key| format!(" AND key_hash = {}", key_hash(&text(&key.encode()))));
        let packet = format!(
            "{BEGIN}{}DELETE FROM {} WHERE job = {}{}; COMMIT",
            self.ledger.fence(lease),
            self.ledger.table("quarantine"),
            text(&lease.resource.to_string()),
            only.unwrap_or_default(),
        );
        match self.session.run(&packet).await {
            Ok(answers) => {
                lease.count_commit();
                Ok(answers.get(3).map(|answer| answer.affected).unwrap_or_default())
            }
            Err(error) => {
                let error = fence_failure(error, lease);
                Err(self.session.rolled_back(error).await)
            }
        }
    }

    pub(crate) async fn kept_values(&mut self, work: &Backfill) -> Result<Kept, TargetError> {
        let of = Resource::Data(work.id.version);
        let query = format!(
            "SELECT EXISTS (SELECT 1 FROM {} AS c WHERE c.job = b.job), \
             TIMESTAMPDIFF(SECOND, b.started_at, UTC_TIMESTAMP(6)) FROM {} AS b WHERE b.job = {}",
            self.ledger.table("captured"),
            self.ledger.table("backfills"),
            text(&of.to_string())
        );
        let answers = self.repeated(&query).await?;
        let Some(row) = answers.first().and_then(|answer| answer.rows.first()) else {
            return Ok(Kept::default());
        };
        let seconds = row.number::<i64>(1).unwrap_or_default().max(0).unsigned_abs();
        let kept = Kept { any: row.number(0) == Some(1), age: Duration::from_secs(seconds) };
        if kept.any {
            self.refuse_unlike_ends(work).await?;
        }
        Ok(kept)
    }

    pub(crate) async fn forget_old_values(&mut self, count_max: u64) -> Result<u64, TargetError> {
        require_writable(&self.facts)?;
        let statement = format!(
            // Not from under an undo that has begun: it would take what is gone for done.
            "DELETE FROM {} WHERE forget_at <= UTC_TIMESTAMP(6) AND job NOT IN \
             (SELECT job FROM {} WHERE phase = 'undo' AND state <> 'undone') \
             ORDER BY forget_at LIMIT {count_max}",
            self.ledger.table("captured"),
            self.ledger.table("backfills"),
        );
        match self.repeated(&statement).await {
            Ok(answers) => Ok(answers.iter().map(|answer| answer.affected).sum()),
            Err(error) if is_older(&error) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Whether a query of the user's answers true.
    pub(crate) async fn is_true(&mut self, query: &str) -> Result<bool, TargetError> {
        let mut session = self.take_work().await?;
        let result = async {
            session.prepare_chunk().await?;
            session.mark_used();
            session.session.run("START TRANSACTION READ ONLY").await?;
            let answers = session.session.run_rows(query).await;
            match answers {
                Ok(answers) => {
                    session.session.run("ROLLBACK").await?;
                    truth(&answers)
                }
                Err(error) => Err(session.session.rolled_back(error).await),
            }
        };
        let result = result.await;
        self.concluded(session, result).await
    }
}

fn truth(answers: &[Answer]) -> Result<bool, TargetError> {
    let refused = |why: &str| {
        Err(TargetError::new(ErrorKind::Refused, why).help("write it as SELECT NOT EXISTS (…)"))
    };
    let one_value =
        |answer: &Answer| answer.rows.len() <= 1 && answer.rows.iter().all(|row| row.width() == 1);
    let [answer] = answers else {
        return refused("the query must answer one row with one value");
    };
    if !one_value(answer) {
        return refused("the query must answer one row with one value");
    }
    let Some(row) = answer.rows.first().filter(|row| row.bytes(0).is_some()) else {
        return Ok(false);
    };
    match row.number::<f64>(0) {
        Some(0.0) => Ok(false),
        Some(1.0) => Ok(true),
        // A count of rows that remain would be taken for "done".
        _ => refused("the query's value is neither true nor false (1 or 0)"),
    }
}
