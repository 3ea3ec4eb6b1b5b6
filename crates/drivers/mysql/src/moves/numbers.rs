//! The numbers that the server gives to new rows: `AUTO_INCREMENT`.
//!
//! They can only be moved by ALTER TABLE, which commits, so it runs on a connection of its own,
//! under the lease that the open transaction holds. Numbers are taken with the table locked, so
//! that nobody else gets them. Without the right to lock or to alter the table they are the next
//! ones only, sure until others insert; one that somebody else used after all is found by its key,
//! when its row is inserted. The same goes for a table that the transaction has written, which it
//! has locked itself.

use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::TableName;

use super::catalogue::qualified;
use super::open;
use crate::dial::Dialler;
use crate::literal::{name, text};
use crate::session::Session;
use crate::work::lock_timeout;

/// How long a session with a locked table may be idle before the server ends it. Between its few
/// statements we do nothing that takes time, so its client is stopped or gone, and the application
/// waits for the table.
const IDLE_LOCKED_SECONDS_MAX: u32 = 30;

/// Has the next number be above one.
pub(super) async fn above(
    dialler: &Dialler,
    wait: Duration,
    table: &TableName,
    column: &str,
    above: i64,
) -> Result<(), TargetError> {
    let sql = qualified(table, &dialler.url.database)?;
    let (mut session, _) = open(dialler).await?;
    let database = &dialler.url.database;
    if next(&mut session, database, table, column).await? > i128::from(above) {
        return Ok(());
    }
    let next = i128::from(above) + 1;
    let packet = format!("{}; {}", lock_timeout(wait), alter(&sql, next));
    session.run_rows(&packet).await.map(drop).map_err(|error| allowed(error, table))
}

/// Takes numbers so that nobody else gets them; `None`: this login may not do what that needs.
pub(super) async fn reserve(
    dialler: &Dialler,
    wait: Duration,
    table: &TableName,
    column: &str,
    (count, above): (u32, i64),
) -> Result<Option<Vec<i64>>, TargetError> {
    let sql = qualified(table, &dialler.url.database)?;
    let (mut session, _) = open(dialler).await?;
    // The lock goes with the session, which no heir of a run that is stopped here knows of.
    let packet = format!(
        "SET SESSION wait_timeout = {IDLE_LOCKED_SECONDS_MAX}; {}; LOCK TABLES {sql} WRITE",
        lock_timeout(wait)
    );
    match session.run_rows(&packet).await {
        Err(error) if error.kind == ErrorKind::Permission => return Ok(None),
        locked => drop(locked?),
    }
    let taken =
        from_here(&mut session, &dialler.url.database, table, column, (count, above)).await?;
    let next = taken.last().map_or(1, |last| i128::from(*last) + 1);
    match session.run_rows(&alter(&sql, next)).await {
        Ok(_) => Ok(Some(taken)),
        Err(error) if error.kind == ErrorKind::Permission => Ok(None),
        Err(error) => Err(error),
    }
}

/// The next numbers above one.
pub(super) async fn from_here(
    session: &mut Session,
    database: &str,
    table: &TableName,
    column: &str,
    (count, above): (u32, i64),
) -> Result<Vec<i64>, TargetError> {
    let sql = qualified(table, database)?;
    let next = next(session, database, table, column).await?;
    let highest = session.run_rows(&format!("SELECT MAX({}) FROM {sql}", name(column))).await?;
    let highest = highest.first().and_then(|answer| answer.rows.first());
    let highest: i128 = highest.and_then(|row| row.number(0)).unwrap_or(0);
    let first = next.max(highest + 1).max(i128::from(above) + 1).max(1);
    let numbers = (0..i128::from(count)).map(|place| i64::try_from(first + place));
    numbers.collect::<Result<_, _>>().map_err(|_| {
        TargetError::new(ErrorKind::Unsupported, format!("{table}.{column} has no numbers left"))
    })
}

/// The number that the server would give next.
async fn next(
    session: &mut Session,
    database: &str,
    table: &TableName,
    column: &str,
) -> Result<i128, TargetError> {
    let (of, its) = (text(database), text(&table.name));
    let query = format!(
        "SELECT t.auto_increment FROM information_schema.tables t \
         JOIN information_schema.columns c ON c.table_schema = t.table_schema \
         AND c.table_name = t.table_name AND c.column_name = {} \
         WHERE t.table_schema = {of} AND t.table_name = {its} AND c.extra LIKE '%auto_increment%'",
        text(column)
    );
    let answers = session.run_rows(&query).await?;
    let row = answers.first().and_then(|answer| answer.rows.first()).ok_or_else(|| {
        let message = format!("{table}.{column} is no column that the server numbers");
        TargetError::new(ErrorKind::Refused, message)
            .help("give it AUTO_INCREMENT, or let the ids be `keep` or `derived`")
    })?;
    // An empty table that was never written may have none so far.
    Ok(row.number(0).unwrap_or(1))
}

fn alter(sql: &str, next: i128) -> String {
    format!("ALTER TABLE {sql} AUTO_INCREMENT = {next}, ALGORITHM = INPLACE")
}

fn allowed(error: TargetError, table: &TableName) -> TargetError {
    if error.kind == ErrorKind::Permission {
        let name = name(&table.name);
        return error.help(format!(
            "GRANT ALTER, INSERT, CREATE ON {name} TO this login; or run as the owner: ALTER TABLE \
             {name} AUTO_INCREMENT = …"
        ));
    }
    error
}
