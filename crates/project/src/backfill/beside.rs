//! What the database does by itself where a backfill changes rows, and an undo could not take back.

use dunlin_model::{Backfill, Beside, Body, Diagnostic, Dialect, Migration, Place, Verb};

use super::column;
use crate::sql::trigger::{has_words, repeats, stamps, stays_in_its_row};

/// Why `undo capture` can't keep all that a backfill changes: triggers, rules and foreign keys that
/// change other rows along with those that are walked. Empty: it can, or nothing is kept.
///
/// A trigger is none that does no more than refuse the row in hand, or work columns of it out of its
/// other ones: it does so again when the row's old values are put back. One that notes the time of an
/// UPDATE is none either ([`without_stamps`]).
#[must_use]
pub fn not_kept(
    migration: &Migration,
    work: &Backfill,
    dialect: Dialect,
    beside: &[Beside],
) -> Vec<Diagnostic> {
    if work.capture.is_none() {
        return Vec::new();
    }
    let harmful: Vec<&Beside> = beside.iter().filter(|one| noted(dialect, one).is_none()).collect();
    // With its undo a deleted row is inserted, and nothing but that.
    let of_inserts: Vec<&Beside> = beside
        .iter()
        .filter(|one| one.on.contains(&Verb::Insert))
        .filter(|one| noted(dialect, one).is_none_or(|columns| !columns.is_empty()))
        .collect();
    let mut found = Vec::new();
    let mut refuse = |place: Place, these: &[&&Beside]| {
        if these.is_empty() {
            return;
        }
        let names: Vec<&str> = these.iter().map(|one| one.what.as_str()).collect();
        let message = format!(
            "`undo capture` keeps values of {} only, and more than they would change: {}",
            work.table,
            names.join(", ")
        );
        found.push(Diagnostic::error("no-undo", message).at(place).help(
            "an undo would leave that as it is and say that all is undone: remove `undo capture`, or \
             drop that (or disable it) for as long as the migration and its undo take",
        ));
    };
    if matches!(migration.body, Body::Rows(_)) {
        // A program may set any column but those of the key.
        let in_key = |name: &String| work.key.iter().any(|key| key.name == *name);
        let these: Vec<&&Beside> = harmful
            .iter()
            .filter(|one| one.on.contains(&Verb::Update))
            .filter(|one| one.columns.is_empty() || !one.columns.iter().all(in_key))
            .collect();
        refuse(Place::file(migration.file()), &these);
    }
    for statement in migration.statements() {
        let Some(write) = &statement.facts.writes else { continue };
        let assigns = |name: &String| {
            write.columns.iter().any(|folded| column::is_same(dialect, folded, name))
        };
        let inserts = of_inserts.iter().filter(|_| write.verb == Verb::Delete);
        let these: Vec<&&Beside> = harmful
            .iter()
            .filter(|one| one.on.contains(&write.verb))
            .filter(|one| {
                write.verb != Verb::Update
                    || one.columns.is_empty()
                    || one.columns.iter().any(assigns)
            })
            .chain(inserts)
            .collect();
        refuse(Place::at(migration.file(), statement.line, statement.column), &these);
    }
    found
}

/// The columns that a trigger only notes the time in; `None`: it does more.
fn noted(dialect: Dialect, one: &Beside) -> Option<Vec<String>> {
    let body = one.body.as_deref().filter(|body| stays_in_its_row(dialect, body))?;
    stamps(dialect, body)
}

/// Takes the columns out of what is kept in which a trigger notes the time of each UPDATE: whatever an
/// undo puts there, the trigger notes its own time. All of them stay where there are no others, or
/// where rows are deleted, which come back whole.
pub fn without_stamps(
    migration: &Migration,
    work: &mut Backfill,
    dialect: Dialect,
    beside: &[Beside],
) {
    let mut writes = migration.statements().iter().filter_map(|one| one.facts.writes.as_ref());
    let Some(capture) = &mut work.capture else { return };
    if writes.any(|write| write.verb == Verb::Delete) {
        return;
    }
    let of_updates = beside.iter().filter(|one| one.on.contains(&Verb::Update));
    let stamps: Vec<String> = of_updates.filter_map(|one| noted(dialect, one)).flatten().collect();
    let rest: Vec<String> = capture
        .columns
        .iter()
        .filter(|name| !stamps.iter().any(|stamp| stamp.eq_ignore_ascii_case(name)))
        .cloned()
        .collect();
    if !rest.is_empty() {
        capture.columns = rest;
    }
}

/// Whether a statement may put a row in the place of others, which are deleted then.
pub(super) fn replaces(dialect: Dialect, text: &str) -> bool {
    dialect == Dialect::Sqlite && has_words(dialect, text, &["OR", "REPLACE"])
}

/// Whether a statement leaves alone what `chunk-where` leaves out, as far as its words tell.
pub(super) fn heeds(dialect: Dialect, text: &str, filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| repeats(dialect, text, filter))
}
