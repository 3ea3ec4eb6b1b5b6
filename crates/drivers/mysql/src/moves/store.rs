//! A move's own store.

use dunlin_engine::TargetError;
use dunlin_engine::moves::Stored;

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

/// Drops the ledger; each statement commits.
pub(super) fn drop_ledger(ledger: &Ledger) -> String {
    let tables: Vec<String> = TABLES.iter().map(|table| ledger.table(table)).collect();
    let view = ledger.table("data_migrations");
    format!("DROP VIEW IF EXISTS {view}; DROP TABLE IF EXISTS {}", tables.join(", "))
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
