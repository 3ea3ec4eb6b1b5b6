//! Work made by hand, as the run loops would make it from files.

use std::time::Duration;

use dunlin_engine::Work;
use dunlin_model::{
    Checksums, Direction, EntryState, EntryWrite, Facts, LedgerEvent, MigrationId, Owner, Restart,
    Statement, Version,
};

/// The run that every case writes as.
pub(super) const RUN: &str = "22222222-2222-4222-8222-222222222222";

/// A statement of which only its first word is known.
#[must_use]
pub fn statement(text: &str) -> Statement {
    let verb = text.split_whitespace().next().unwrap_or_default().to_uppercase();
    Statement {
        text: text.to_owned(),
        line: 1,
        column: 1,
        copy_data: None,
        facts: Facts::opaque(verb),
    }
}

/// A statement that is settled in a certain way.
pub(super) fn statement_with(text: &str, restart: Restart) -> Statement {
    let mut statement = statement(text);
    statement.facts.restart = restart;
    statement
}

/// A process that claims leases, told apart by a number.
#[must_use]
pub fn owner(number: u32) -> Owner {
    Owner {
        id: format!("00000000-0000-4000-8000-{number:012}"),
        host: "pod-1".to_owned(),
        pid: number,
        identity: format!("boot-1/{number}"),
    }
}

/// The data migration of a version.
///
/// # Panics
/// For a negative number.
#[must_use]
pub fn data_version(number: i64) -> MigrationId {
    MigrationId::data(Version::new(number).unwrap())
}

/// An entry as it stands once its migration is applied.
pub(super) fn applied(id: MigrationId) -> EntryWrite {
    entry(id, EntryState::Applied, LedgerEvent::Up)
}

pub(super) fn entry(id: MigrationId, state: EntryState, event: LedgerEvent) -> EntryWrite {
    EntryWrite {
        id,
        name: format!("migration_{}", id.version),
        state,
        pass: 1,
        content: Some(content(&format!("-- the text of {id}\n"))),
        baseline: false,
        by_environment: false,
        reason: None,
        error: None,
        output: None,
        event,
        run: RUN.to_owned(),
    }
}

pub(super) fn content(text: &str) -> (Checksums, String) {
    let checksums = Checksums {
        text: Checksums::of_bytes(text.as_bytes()),
        statements: Checksums::of_statements([text]),
    };
    (checksums, text.to_owned())
}

/// The work of a data migration with these statements.
#[must_use]
pub fn data_work(version: i64, statements: &[&str]) -> Work {
    work_of(data_version(version), statements.iter().map(|text| statement(text)).collect())
}

/// The work of any migration.
pub(super) fn work_of(id: MigrationId, statements: Vec<Statement>) -> Work {
    Work {
        direction: Direction::Up,
        statements,
        entry: applied(id),
        resets: Vec::new(),
        // Cases run beside each other on few processors.
        lock_timeout: Duration::from_secs(20),
        statement_timeout: None,
        foreign_keys_off: false,
    }
}
