//! A migration's statements, run one by one as the `sqlite3` program would.

use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError, Work, failpoint};
use dunlin_model::Lease;
use rusqlite::{Connection, Error, ffi};

use crate::control::Control;
use crate::fault::{Fault, Outcome};
use crate::ledger::{self, Attempt};
use crate::session::Session;

/// How many pairs of tables a failed check of foreign keys names.
const VIOLATIONS_SHOWN: usize = 10;

/// Runs all of a work's statements and writes its ledger rows, in one transaction.
pub(crate) fn commit(
    session: &mut Session,
    lease: &Lease,
    ttl: Duration,
    work: &Work,
) -> Result<Vec<Option<u64>>, TargetError> {
    before(session, work)?;
    let touched = session.write(work.lock_timeout, |connection, control| {
        ledger::enter(connection, lease)?;
        failpoint("commit.begun");
        let since = ledger::now(connection)?;
        let touched = run_all(connection, control, work)?;
        ledger::write(connection, &work.entry, Attempt::Since(since))?;
        for reset in &work.resets {
            ledger::write(connection, reset, Attempt::None)?;
        }
        // What an earlier attempt journalled, if the file ran step by step then.
        ledger::delete_steps(connection, work.entry.id)?;
        ledger::leave(connection, lease, ttl, touched.iter().flatten().sum())?;
        failpoint("commit.executed");
        Ok(touched)
    });
    if touched.is_ok() {
        failpoint("commit.done");
    }
    session.end_of_file();
    touched
}

/// Runs all of a work's statements in a transaction that is rolled back.
pub(crate) fn rehearse(
    session: &mut Session,
    work: &Work,
) -> Result<Vec<Option<u64>>, TargetError> {
    before(session, work)?;
    let touched = session
        .rehearse(work.lock_timeout, |connection, control| run_all(connection, control, work));
    session.end_of_file();
    touched
}

/// Refuses what can't run as planned, before anything runs.
pub(crate) fn preflight(session: &mut Session, work: &Work) -> Result<(), TargetError> {
    for (index, statement) in work.statements.iter().enumerate() {
        let refused =
            |message: &str| TargetError::new(ErrorKind::Refused, message).in_statement(index);
        if statement.facts.control.is_some() {
            return Err(refused("the statement would control the transaction")
                .help("take it out: Dunlin begins and ends transactions itself"));
        }
        if statement.copy_data.is_some() {
            return Err(refused("SQLite has no COPY").help("write INSERT statements"));
        }
        if statement.text.contains('\0') {
            return Err(refused("the statement contains a NUL character, where SQLite would stop")
                .help("write char(0) for it"));
        }
    }
    match session.read_only() {
        Some(reason) => Err(TargetError::new(
            ErrorKind::ReadOnly,
            format!("{} cannot be written: {reason}", session.file.path.display()),
        )),
        None => Ok(()),
    }
}

/// Runs one statement of the user's, with its place in the file.
pub(crate) fn run_one(
    connection: &Connection,
    control: &Control,
    limit: Option<Duration>,
    index: usize,
    text: &str,
) -> Outcome<Option<u64>> {
    let in_transaction = !connection.is_autocommit();
    let mut running = false;
    let result =
        control.as_user(limit, || step_through(connection, control, text, || running = true));
    let touched = result.map_err(|error| {
        // An error may have rolled the transaction back (INSERT OR ROLLBACK): asking the catalog
        // is possible all the same.
        let error = without_values(connection, error);
        Fault::Statement { index, error, running }
    })?;
    if in_transaction && connection.is_autocommit() {
        return Err(TargetError::new(ErrorKind::Bug, "a statement ended the transaction")
            .in_statement(index)
            .into());
    }
    Ok(touched)
}

fn before(session: &mut Session, work: &Work) -> Result<(), TargetError> {
    session.end_of_file();
    if !work.foreign_keys_off {
        return Ok(());
    }
    // Within a transaction the pragma would do nothing, and say nothing.
    session.alone(work.lock_timeout, |connection, _| {
        Ok(connection.execute_batch("PRAGMA foreign_keys = OFF")?)
    })
}

fn run_all(connection: &Connection, control: &Control, work: &Work) -> Outcome<Vec<Option<u64>>> {
    let mut touched = Vec::with_capacity(work.statements.len());
    for (index, statement) in work.statements.iter().enumerate() {
        if control.is_stopped() {
            return Err(crate::fault::gone().into());
        }
        let limit = work.statement_timeout;
        touched.push(run_one(connection, control, limit, index, &statement.text)?);
    }
    if work.foreign_keys_off {
        check_foreign_keys(connection)?;
    }
    Ok(touched)
}

/// Runs a statement to its end, whatever rows it returns; says when it begins.
fn step_through(
    connection: &Connection,
    control: &Control,
    text: &str,
    begins: impl FnOnce(),
) -> rusqlite::Result<Option<u64>> {
    let mut statement = control.preparing(|| connection.prepare(text))?;
    begins();
    // Parameters without a value are NULL, as in the sqlite3 program.
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    drop(rows);
    let counts = changes_rows(text) && !statement.readonly();
    Ok(counts.then(|| connection.changes()))
}

/// Whether SQLite counts the rows of such a statement; after others it still tells the count of
/// the one before.
fn changes_rows(text: &str) -> bool {
    let word: String = text.chars().take_while(char::is_ascii_alphabetic).collect();
    ["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"]
        .iter()
        .any(|verb| word.eq_ignore_ascii_case(verb))
}

/// A trigger may put a row's values into what it raises: only words that stand in a trigger as
/// they are can be shown.
pub(crate) fn without_values(connection: &Connection, error: Error) -> Error {
    let Error::SqliteFailure(code, Some(message)) = &error else { return error };
    if code.extended_code != ffi::SQLITE_CONSTRAINT_TRIGGER
        || message == "FOREIGN KEY constraint failed"
    {
        return error;
    }
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND instr(sql, ?1)
               UNION ALL
               SELECT 1 FROM sqlite_temp_schema WHERE type = 'trigger' AND instr(sql, ?1)";
    let written = message.replace('\'', "''");
    let literal = connection.prepare(sql).and_then(|mut found| found.exists([written]));
    if literal.unwrap_or(false) {
        return error;
    }
    let shown = "a trigger refused the row (its message is left out: it may quote the row)";
    Error::SqliteFailure(*code, Some(shown.to_owned()))
}

fn check_foreign_keys(connection: &Connection) -> Outcome<()> {
    let sql = "SELECT \"table\", parent, count(*) FROM pragma_foreign_key_check
               GROUP BY 1, 2 ORDER BY 1, 2";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut found: Vec<String> = Vec::new();
    while let Some(row) = rows.next()? {
        let (table, parent): (String, String) = (row.get(0)?, row.get(1)?);
        let count: i64 = row.get(2)?;
        found.push(format!("{count} rows of {table} refer to rows of {parent} that do not exist"));
    }
    if found.is_empty() {
        return Ok(());
    }
    let mut told = TargetError::new(
        ErrorKind::Statement,
        "foreign keys would be broken after this migration (PRAGMA foreign_key_check)",
    )
    .help(
        "nothing was kept. `PRAGMA foreign_key_check` in sqlite3 lists such rows that were there \
         before: a data migration can repair them first",
    );
    let more = found.len().saturating_sub(VIOLATIONS_SHOWN);
    found.truncate(VIOLATIONS_SHOWN);
    told.notes = found;
    if more > 0 {
        told = told.note(format!("and {more} more pairs of tables"));
    }
    Err(told.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statements_that_change_rows_are_counted() {
        assert!(changes_rows("insert into t values (1)"));
        assert!(changes_rows("WITH x AS (SELECT 1) DELETE FROM t"));
        assert!(!changes_rows("CREATE TABLE t (a)"));
        assert!(!changes_rows("PRAGMA user_version = 3"));
        assert!(!changes_rows("INSERTION"));
    }

    #[test]
    fn what_a_trigger_raises_is_shown_only_as_it_is_written() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (a);
                 CREATE TRIGGER plain BEFORE INSERT ON t WHEN new.a = 1
                 BEGIN SELECT raise(ABORT, 'it''s forbidden'); END;
                 CREATE TRIGGER telling BEFORE INSERT ON t WHEN new.a <> 1
                 BEGIN SELECT raise(ABORT, 'bad: ' || new.a); END;",
            )
            .unwrap();
        let message = |text: &str| match step_through(&connection, &Control::default(), text, || ())
            .unwrap_err()
        {
            error @ Error::SqliteFailure(..) => without_values(&connection, error).to_string(),
            other => panic!("{other}"),
        };
        assert_eq!(message("INSERT INTO t VALUES (1)"), "it's forbidden");
        assert!(!message("INSERT INTO t VALUES ('secret')").contains("secret"));
    }
}
