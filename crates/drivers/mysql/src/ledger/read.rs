//! Reads the ledger into the model's view of it.

use std::collections::BTreeMap;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{
    Checksums, Direction, Entry, EntryState, FORMAT, Kind, LeaseHolder, MigrationId, Owner,
    StepRecord, StepState, Version,
};

use super::Ledger;
use crate::session::{Answer, Cells};

/// The one row of `meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) id: String,
    pub(crate) format: u32,
    pub(crate) min_reader: u32,
    pub(crate) min_writer: u32,
}

impl Ledger {
    /// Reads `meta`.
    pub(crate) fn select_meta(&self) -> String {
        format!("SELECT id, format, min_reader, min_writer FROM {}", self.table("meta"))
    }

    /// Reads `meta`, entries, steps and leases: four answers.
    pub(crate) fn select_all(&self) -> String {
        let micros =
            |column: &str| format!("TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', {column})");
        format!(
            "{}; SELECT kind, version, name, state, pass, text_checksum, statements_checksum, \
             baseline, by_environment, reason, error, {}, {}, duration_ms FROM {}; \
             SELECT kind, version, direction, pass, ordinal, checksum, state, token, connection, \
             image FROM {} ORDER BY kind, version, pass, ordinal; \
             {} WHERE owner IS NOT NULL ORDER BY resource",
            self.select_meta(),
            micros("started_at"),
            micros("finished_at"),
            self.table("migrations"),
            self.table("steps"),
            self.select_leases(),
        )
    }

    /// Reads leases; a condition can be appended.
    pub(crate) fn select_leases(&self) -> String {
        format!(
            "SELECT resource, owner, host, pid, identity, token, \
             TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expires_at) DIV 1000 FROM {}",
            self.table("leases")
        )
    }

    /// Reads the recorded text of a migration.
    pub(crate) fn select_text(&self, id: MigrationId) -> String {
        format!(
            "SELECT text FROM {} WHERE kind = '{}' AND version = {}",
            self.table("migrations"),
            id.kind,
            id.version
        )
    }
}

fn damaged(what: &str) -> TargetError {
    TargetError::new(
        ErrorKind::LedgerFormat,
        format!("the ledger holds {what}, which it never does"),
    )
    .help("a dunlin_… table was changed by hand or by a newer program")
}

/// What `meta` says; `None` where its row is not written yet.
pub(crate) fn meta(answer: &Answer) -> Result<Option<Meta>, TargetError> {
    let Some(row) = answer.rows.first() else {
        return Ok(None);
    };
    let number = |column| row.number(column).ok_or_else(|| damaged("a meta row without formats"));
    let meta = Meta {
        id: row.text(0),
        format: number(1)?,
        min_reader: number(2)?,
        min_writer: number(3)?,
    };
    if meta.min_reader > FORMAT {
        return Err(too_old("read", meta.min_reader));
    }
    Ok(Some(meta))
}

/// Refuses to write a ledger that is not for programs of this age.
pub(crate) fn refuse_older_writer(meta: &Meta) -> Result<(), TargetError> {
    if meta.min_writer > FORMAT { Err(too_old("write", meta.min_writer)) } else { Ok(()) }
}

fn too_old(what: &str, needed: u32) -> TargetError {
    TargetError::new(
        ErrorKind::LedgerFormat,
        format!("only programs of ledger format {needed} and up may {what} this ledger; this one has {FORMAT}"),
    )
    .help("use a newer dunlin")
}

fn id_of(row: &Cells) -> Result<MigrationId, TargetError> {
    let kind = match row.bytes(0) {
        Some(b"schema") => Kind::Schema,
        Some(b"data") => Kind::Data,
        _ => return Err(damaged("an unknown kind of migration")),
    };
    let version =
        row.number(1).and_then(Version::new).ok_or_else(|| damaged("a negative version"))?;
    Ok(MigrationId { version, kind })
}

/// The entries.
pub(crate) fn entries(answer: &Answer) -> Result<BTreeMap<MigrationId, Entry>, TargetError> {
    answer.rows.iter().map(|row| Ok((id_of(row)?, entry(row)?))).collect()
}

fn entry(row: &Cells) -> Result<Entry, TargetError> {
    let checksums = match (row.optional(5), row.optional(6)) {
        (Some(text), Some(statements)) => Some(Checksums { text, statements }),
        _ => None,
    };
    Ok(Entry {
        name: row.text(2),
        state: EntryState::parse(&row.text(3)).ok_or_else(|| damaged("an unknown state"))?,
        pass: row.number(4).ok_or_else(|| damaged("an entry without a pass"))?,
        checksums,
        baseline: row.number(7) == Some(1),
        by_environment: row.number(8) == Some(1),
        reason: row.optional(9),
        error: row.optional(10),
        started_at: row.number(11),
        finished_at: row.number(12),
        duration_ms: row.number(13),
    })
}

/// The steps.
pub(crate) fn steps(answer: &Answer) -> Result<Vec<StepRecord>, TargetError> {
    answer.rows.iter().map(step).collect()
}

fn step(row: &Cells) -> Result<StepRecord, TargetError> {
    let direction = match row.bytes(2) {
        Some(b"up") => Direction::Up,
        Some(b"down") => Direction::Down,
        _ => return Err(damaged("a step of an unknown direction")),
    };
    let number = |column| row.number(column).ok_or_else(|| damaged("a step without a number"));
    Ok(StepRecord {
        id: id_of(row)?,
        direction,
        pass: number(3)?,
        ordinal: number(4)?,
        checksum: row.text(5),
        state: StepState::parse(&row.text(6)).ok_or_else(|| damaged("an unknown step state"))?,
        token: row.number(7).ok_or_else(|| damaged("a step without a token"))?,
        connection: row.number(8),
        image: row.optional(9),
    })
}

/// The leases.
pub(crate) fn leases(answer: &Answer) -> Vec<LeaseHolder> {
    answer.rows.iter().map(holder).collect()
}

/// One lease. What cannot be read of it counts as long held, never as free.
pub(crate) fn holder(row: &Cells) -> LeaseHolder {
    LeaseHolder {
        resource: row.text(0),
        owner: Owner {
            id: row.text(1),
            host: row.text(2),
            pid: row.number(3).unwrap_or_default(),
            identity: row.text(4),
        },
        token: row.number(5).unwrap_or(i64::MAX),
        remaining_ms: row.number(6).unwrap_or(i64::MAX),
    }
}
