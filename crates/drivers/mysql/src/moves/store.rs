//! A move's own store.

use std::collections::BTreeSet;

use dunlin_engine::moves::{LedgerUse, Stored};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::Lease;

use crate::ledger::Ledger;
use crate::literal::{name, text};
use crate::session::Session;

/// The columns of the table, as the ledger's other tables are written.
const COLUMNS: &str = "name VARCHAR(200) NOT NULL COMMENT 'The move', \
     area VARCHAR(200) NOT NULL COMMENT 'What the entry is about: state, pack/users', \
     number BIGINT NOT NULL, \
     value LONGBLOB NOT NULL, \
     PRIMARY KEY (name, area, number)";

/// Creates the table.
pub(super) fn create(ledger: &Ledger) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({COLUMNS}) ENGINE = InnoDB \
         DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT = DYNAMIC",
        ledger.table("moves_store")
    )
}

/// The tables of a ledger. Without the first there is none, whatever a crash of the server leaves of
/// the others.
const TABLES: [&str; 11] = [
    "meta",
    "moves_store",
    "captured",
    "quarantine",
    "backfills",
    "runs",
    "segments",
    "leases",
    "steps",
    "history",
    "migrations",
];

/// The tables of the ledger that are there, in the order of [`TABLES`].
async fn tables_there(
    session: &mut Session,
    ledger: &Ledger,
) -> Result<Vec<&'static str>, TargetError> {
    let sql = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = {}",
        text(ledger.database())
    );
    let answers = session.run(&sql).await?;
    let there: BTreeSet<String> =
        answers.iter().flat_map(|answer| &answer.rows).map(|row| row.text(0)).collect();
    let is_there = |table: &&str| there.contains(&format!("dunlin_{table}"));
    Ok(TABLES.into_iter().filter(is_there).collect())
}

/// Locks the tables of the ledger, which commits what is open, and tells who needs it. The lease that
/// the transaction stood behind may be another's by then: it is looked at again. Where that fails, nothing
/// is locked.
pub(super) async fn hold_ledger(
    session: &mut Session,
    ledger: &Ledger,
    lease: &Lease,
) -> Result<(Vec<&'static str>, LedgerUse), TargetError> {
    let tables = tables_there(session, ledger).await?;
    let locked: Vec<String> =
        tables.iter().map(|table| format!("{} WRITE", ledger.table(table))).collect();
    let packet = format!(
        "LOCK TABLES {}; SELECT token FROM {} WHERE job = {} AND seg = 0; \
         SELECT COUNT(*) FROM {}; {} WHERE owner IS NOT NULL ORDER BY resource",
        locked.join(", "),
        ledger.table("segments"),
        text(&lease.resource.to_string()),
        ledger.table("migrations"),
        ledger.select_leases(),
    );
    let read = session.run(&packet).await.map_err(|error| match error.kind {
        ErrorKind::Permission => error.help(format!(
            "GRANT LOCK TABLES ON {}.* TO this user: nobody may write the ledger while it goes",
            name(ledger.database())
        )),
        _ => error,
    });
    let used = read.and_then(|answers| {
        let number = |at: usize| answers.get(at).and_then(|one| one.rows.first()?.number(0));
        if number(1) != Some(lease.token) {
            let message =
                format!("the lease on {} was taken over by another process", lease.resource);
            return Err(TargetError::new(ErrorKind::Fenced, message));
        }
        let migrations = number(2).ok_or_else(|| super::bug("migrations can't be counted"))?;
        let leases = answers.get(3).map(|answer| answer.rows.as_slice()).unwrap_or_default();
        let leases = leases.iter().map(crate::ledger::holder).collect();
        Ok(LedgerUse { migrations: migrations.unsigned_abs(), leases })
    });
    match used {
        Ok(used) => Ok((tables, used)),
        Err(error) => {
            if !session.is_lost() {
                session.run(UNHOLD).await?;
            }
            Err(error)
        }
    }
}

/// Gives a ledger that is held back.
pub(super) const UNHOLD: &str = "UNLOCK TABLES";

/// Drops the tables of a ledger that are held, and then its view: while tables are locked no view can
/// be. Each statement commits.
pub(super) fn drop_ledger(ledger: &Ledger, held: &[&str]) -> String {
    let tables: Vec<String> = held.iter().map(|table| ledger.table(table)).collect();
    let view = ledger.table("data_migrations");
    format!("DROP TABLE {}; {UNHOLD}; DROP VIEW IF EXISTS {view}", tables.join(", "))
}

/// The moves that have entries.
pub(super) async fn names(
    session: &mut Session,
    ledger: &Ledger,
) -> Result<Vec<String>, TargetError> {
    let table = ledger.table("moves_store");
    let sql = format!("SELECT DISTINCT {0} FROM {table} ORDER BY {0}", name("name"));
    let answers = match session.run(&sql).await {
        // There is no such table.
        Err(error) if error.code.as_deref() == Some("1146") => return Ok(Vec::new()),
        answers => answers?,
    };
    let rows = answers.iter().flat_map(|answer| &answer.rows);
    Ok(rows.map(|row| row.text(0).to_string()).collect())
}

/// Entries of an area from a number on.
pub(super) async fn stored(
    session: &mut Session,
    ledger: &Ledger,
    of: &str,
    area: &str,
    from: i64,
    limit: u32,
) -> Result<Vec<Stored>, TargetError> {
    let sql = format!(
        "SELECT number, value FROM {} WHERE {} = {} AND area = {} AND number >= {from} \
         ORDER BY number LIMIT {limit}",
        ledger.table("moves_store"),
        name("name"),
        text(of),
        text(area)
    );
    let answers = match session.run(&sql).await {
        // There is no such table.
        Err(error) if error.code.as_deref() == Some("1146") => return Ok(Vec::new()),
        answers => answers?,
    };
    let rows = answers.iter().flat_map(|answer| &answer.rows);
    rows.map(|row| {
        let number = row.number(0).ok_or_else(|| super::bug("an entry has no number"))?;
        let value = Some(row.bytes(1).unwrap_or_default().to_vec());
        Ok(Stored { area: area.to_owned(), number, value })
    })
    .collect()
}

/// Puts entries, or deletes those without a value.
pub(super) fn put(ledger: &Ledger, of: &str, entries: &[Stored]) -> Vec<String> {
    let table = ledger.table("moves_store");
    let statement = |entry: &Stored| {
        let (area, number) = (text(&entry.area), entry.number);
        match &entry.value {
            Some(value) => format!(
                "INSERT INTO {table} (name, area, number, value) VALUES ({}, {area}, {number}, {}) \
                 ON DUPLICATE KEY UPDATE value = VALUES(value)",
                text(of),
                super::encode::bytes_literal(value)
            ),
            None => format!(
                "DELETE FROM {table} WHERE name = {} AND area = {area} AND number = {number}",
                text(of)
            ),
        }
    };
    entries.iter().map(statement).collect()
}
