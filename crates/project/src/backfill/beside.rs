//! What the database does by itself where a backfill changes rows, and an undo could not take back.

use dunlin_model::{Backfill, Beside, Body, Diagnostic, Dialect, Migration, Place, Verb};

use super::column;
use crate::sql::trigger::{has_words, repeats, stays_in_its_row};

/// Why `undo capture` can't keep all that a backfill changes: triggers, rules and foreign keys that
/// change other rows along with those that are walked. Empty: it can, or nothing is kept.
///
/// A trigger that does no more than set columns of the row in hand is none: it does so again when the
/// row's old values are put back.
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
    let harmful: Vec<&Beside> = beside
        .iter()
        .filter(|one| !one.body.as_deref().is_some_and(|body| stays_in_its_row(dialect, body)))
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
        let these: Vec<&&Beside> = harmful
            .iter()
            .filter(|one| one.on.contains(&write.verb))
            .filter(|one| {
                write.verb != Verb::Update
                    || one.columns.is_empty()
                    || one.columns.iter().any(assigns)
            })
            .collect();
        refuse(Place::at(migration.file(), statement.line, statement.column), &these);
    }
    found
}

/// Whether a statement may put a row in the place of others, which are deleted then.
pub(super) fn replaces(dialect: Dialect, text: &str) -> bool {
    dialect == Dialect::Sqlite && has_words(dialect, text, &["OR", "REPLACE"])
}

/// Whether a statement leaves alone what `chunk-where` leaves out, as far as its words tell.
pub(super) fn heeds(dialect: Dialect, text: &str, filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| repeats(dialect, text, filter))
}
