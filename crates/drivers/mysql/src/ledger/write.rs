//! Statements that write the ledger.

use std::time::Duration;

use dunlin_model::{EntryState, EntryWrite, Lease, LedgerEvent, MigrationId, Resource, StepState};

use super::Ledger;
use crate::literal::{flag, optional_text, text};
use crate::work::StepKey;

/// How a transaction of ours begins.
pub(crate) const BEGIN: &str = "START TRANSACTION; ";

/// Fails with 1690 unless the statement before it changed exactly one row. Overflow in an
/// expression is an error under every `sql_mode`; writing NULL into a NOT NULL column, as other
/// servers' fences do, would only be one in strict mode, and a work's session has the server's
/// own mode. The sum has no constant part, so it is computed only where its branch is taken.
pub(crate) const ONE_ROW: &str = "SELECT CASE WHEN ROW_COUNT() = 1 THEN 1 \
     ELSE 9223372036854775807 + ABS(ROW_COUNT()) + 1 END; ";

impl Ledger {
    /// Compares token and checkpoint and moves the checkpoint, or fails with 1690. It stands
    /// first in every transaction that writes progress; the server runs nothing after it in its
    /// packet where it fails. The connection's number is for a successor, who reads it
    /// uncommitted to find out whom to end.
    pub(crate) fn fence(&self, lease: &Lease) -> String {
        lease.each().map(|one| self.one_fence(one)).collect()
    }

    fn one_fence(&self, lease: &Lease) -> String {
        format!(
            "UPDATE {} SET upto = '{}', connection = CONNECTION_ID() \
             WHERE job = {} AND seg = 0 AND token = {} AND upto = '{}'; {ONE_ROW}",
            self.table("segments"),
            lease.commits + 1,
            text(&lease.resource.to_string()),
            lease.token,
            lease.commits
        )
    }

    /// Reads the checkpoint that stands under a token.
    pub(crate) fn checkpoint(&self, resource: &Resource, token: i64) -> String {
        format!(
            "SELECT upto FROM {} WHERE job = {} AND seg = 0 AND token = {token}",
            self.table("segments"),
            text(&resource.to_string())
        )
    }

    /// A migration's row, with its row of history. `elapsed`: how long the attempt took that
    /// this ends, where it was not journalled when it began.
    pub(crate) fn entry(&self, write: &EntryWrite, elapsed: Duration) -> String {
        let (text_checksum, statements_checksum, body) = match &write.content {
            Some((checksums, body)) => {
                (text(&checksums.text), text(&checksums.statements), text(body))
            }
            None => ("NULL".to_owned(), "NULL".to_owned(), "NULL".to_owned()),
        };
        let times = Times::of(write, elapsed);
        let content = if write.content.is_some() {
            format!(
                "text_checksum = {text_checksum}, statements_checksum = {statements_checksum}, \
                 text = {body}, "
            )
        } else {
            String::new()
        };
        // Assignments take effect from left to right: times are computed from the old state.
        format!(
            "INSERT INTO {table} (kind, version, name, state, pass, text_checksum, \
             statements_checksum, text, baseline, by_environment, reason, error, output, run, \
             started_at, finished_at, duration_ms) VALUES ('{kind}', {version}, {name}, '{state}', \
             {pass}, {text_checksum}, {statements_checksum}, {body}, {baseline}, \
             {by_environment}, {reason}, {error}, {output}, {run}, {started}, {finished}, \
             {duration}) ON DUPLICATE KEY UPDATE {updates}{content}name = {name}, \
             state = '{state}', pass = {pass}, baseline = {baseline}, \
             by_environment = {by_environment}, reason = {reason}, error = {error}, \
             output = {output}, run = {run}; {history}",
            table = self.table("migrations"),
            kind = write.id.kind,
            version = write.id.version,
            name = text(&write.name),
            state = write.state.as_str(),
            pass = write.pass,
            baseline = flag(write.baseline),
            by_environment = flag(write.by_environment),
            reason = optional_text(write.reason.as_deref()),
            error = optional_text(write.error.as_deref()),
            output = optional_text(write.output.as_deref()),
            run = text(&write.run),
            started = times.started,
            finished = times.finished,
            duration = times.duration,
            updates = times.updates,
            history = self.history(write),
        )
    }

    /// The row of history for a write that stands right before it.
    fn history(&self, write: &EntryWrite) -> String {
        format!(
            "INSERT INTO {} (at, kind, version, name, event, pass, run, reason, error, \
             duration_ms) SELECT UTC_TIMESTAMP(6), kind, version, name, '{}', pass, run, reason, \
             error, duration_ms FROM {} WHERE {}; ",
            self.table("history"),
            write.event.as_str(),
            self.table("migrations"),
            of(write.id)
        )
    }

    /// Makes a migration's row `running`, unless this pass is already: its steps began.
    pub(crate) fn running(&self, write: &EntryWrite) -> String {
        let id = of(write.id);
        let fresh = format!(
            "NOT EXISTS (SELECT 1 FROM {} WHERE {id} AND state = 'running' AND pass = {})",
            self.table("migrations"),
            write.pass
        );
        let (columns, values, content) = match &write.content {
            Some((checksums, body)) => {
                let (a, b, c) = (text(&checksums.text), text(&checksums.statements), text(body));
                (
                    ", text_checksum, statements_checksum, text",
                    format!(", {a}, {b}, {c}"),
                    format!(", text_checksum = {a}, statements_checksum = {b}, text = {c}"),
                )
            }
            None => ("", String::new(), String::new()),
        };
        format!(
            "INSERT INTO {history} (at, kind, version, name, event, pass, run) \
             SELECT UTC_TIMESTAMP(6), '{kind}', {version}, {name}, '{event}', {pass}, {run} \
             FROM DUAL WHERE {fresh}; \
             INSERT INTO {table} (kind, version, name, state, pass, run, started_at{columns}) \
             VALUES ('{kind}', {version}, {name}, 'running', {pass}, {run}, \
             UTC_TIMESTAMP(6){values}) ON DUPLICATE KEY UPDATE \
             started_at = IF(state = 'running' AND pass = {pass}, started_at, UTC_TIMESTAMP(6)), \
             finished_at = NULL, duration_ms = NULL, error = NULL, name = {name}, \
             state = 'running', pass = {pass}, baseline = 0, by_environment = 0, \
             run = {run}{content}; ",
            history = self.table("history"),
            table = self.table("migrations"),
            kind = write.id.kind,
            version = write.id.version,
            name = text(&write.name),
            event = LedgerEvent::Start.as_str(),
            pass = write.pass,
            run = text(&write.run),
        )
    }

    /// Opens a step, whatever stood there.
    pub(crate) fn open_step(&self, step: &StepKey, connection: u64, image: &str) -> String {
        self.step(step, StepState::Open, Some(connection), Some(image))
    }

    /// A step that is done without having been open.
    pub(crate) fn done_step(&self, step: &StepKey) -> String {
        self.step(step, StepState::Done, None, None)
    }

    fn step(
        &self,
        step: &StepKey,
        state: StepState,
        connection: Option<u64>,
        image: Option<&str>,
    ) -> String {
        let closed = if state == StepState::Open { "NULL" } else { "UTC_TIMESTAMP(6)" };
        let values = format!(
            "checksum = {checksum}, state = '{state}', token = {token}, \
             connection = {connection}, image = {image}, opened_at = UTC_TIMESTAMP(6), \
             closed_at = {closed}",
            checksum = text(&step.checksum),
            state = state.as_str(),
            token = step.token,
            connection = connection.map_or_else(|| "NULL".to_owned(), |id| id.to_string()),
            image = optional_text(image),
        );
        format!(
            "INSERT INTO {} SET kind = '{}', version = {}, direction = '{}', pass = {}, \
             ordinal = {}, {values} ON DUPLICATE KEY UPDATE {values}; ",
            self.table("steps"),
            step.id.kind,
            step.id.version,
            step.direction.as_str(),
            step.pass,
            step.ordinal
        )
    }

    /// Notes how an open step ended.
    pub(crate) fn close_step(&self, step: &StepKey, state: StepState) -> String {
        format!(
            "UPDATE {} SET state = '{}', closed_at = UTC_TIMESTAMP(6) \
             WHERE {} AND direction = '{}' AND pass = {} AND ordinal = {}; ",
            self.table("steps"),
            state.as_str(),
            of(step.id),
            step.direction.as_str(),
            step.pass,
            step.ordinal
        )
    }

    /// Deletes the steps of a migration that is finished.
    pub(crate) fn delete_steps(&self, id: MigrationId) -> String {
        format!("DELETE FROM {} WHERE {}; ", self.table("steps"), of(id))
    }
}

fn of(id: MigrationId) -> String {
    format!("kind = '{}' AND version = {}", id.kind, id.version)
}

/// SQL for the three times of an entry.
struct Times {
    started: String,
    finished: String,
    duration: String,
    /// Assignments for a row that is there, each with its comma.
    updates: String,
}

impl Times {
    fn of(write: &EntryWrite, elapsed: Duration) -> Self {
        let now = "UTC_TIMESTAMP(6)";
        let began = format!("{now} - INTERVAL {} MICROSECOND", elapsed.as_micros());
        // Of an attempt that was journalled when it began, the beginning is known.
        let began_before =
            format!("IF(state = 'running' AND started_at IS NOT NULL, started_at, {began})");
        let spent = "TIMESTAMPDIFF(MICROSECOND, started_at, finished_at) DIV 1000";
        if write.state == EntryState::Pending {
            return Self::written("NULL", "NULL", "NULL", "NULL");
        }
        match write.event {
            LedgerEvent::Up => Self {
                started: began,
                finished: now.to_owned(),
                duration: elapsed.as_millis().to_string(),
                updates: format!(
                    "started_at = {began_before}, finished_at = {now}, duration_ms = {spent}, "
                ),
            },
            LedgerEvent::Start => Self::written(now, "NULL", "NULL", now),
            LedgerEvent::Fail => Self::written(&began, "NULL", "NULL", &began_before),
            LedgerEvent::Baseline => Self {
                started: "NULL".to_owned(),
                finished: now.to_owned(),
                duration: "NULL".to_owned(),
                updates: format!("started_at = NULL, finished_at = {now}, duration_ms = NULL, "),
            },
            // Nothing ran: what is stored of the last attempt stays.
            LedgerEvent::Down
            | LedgerEvent::Skip
            | LedgerEvent::Retire
            | LedgerEvent::Accept
            | LedgerEvent::Rerun
            | LedgerEvent::Reset => {
                let finished = if write.state == EntryState::Applied { now } else { "NULL" };
                Self {
                    started: "NULL".to_owned(),
                    finished: finished.to_owned(),
                    duration: "NULL".to_owned(),
                    updates: String::new(),
                }
            }
        }
    }

    fn written(started: &str, finished: &str, duration: &str, started_before: &str) -> Self {
        Self {
            started: started.to_owned(),
            finished: finished.to_owned(),
            duration: duration.to_owned(),
            updates: format!(
                "started_at = {started_before}, finished_at = {finished}, \
                 duration_ms = {duration}, "
            ),
        }
    }
}
