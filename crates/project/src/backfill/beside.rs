//! What the database does by itself where a backfill changes rows, and an undo could not take back.

use dunlin_model::{Backfill, Beside, Body, Diagnostic, Dialect, Migration, Place, Verb};

use super::column;
use crate::sql::trigger::{repeats, stamps, stays_in_its_row};

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
    // With its undo a deleted row is inserted, and nothing but that.
    let harms = |verb: Verb, one: &Beside| {
        one.on.contains(&verb) && noted(dialect, one).is_none()
            || verb == Verb::Delete && alters_inserts(dialect, one)
    };
    let refusal = |(place, names): (Place, String)| {
        let message = format!(
            "`undo capture` keeps values of {} only, and more than they would change: {names}",
            work.table,
        );
        Diagnostic::error("no-undo", message).at(place).help(
            "an undo would leave that as it is and say that all is undone: remove `undo capture`, or \
             drop that (or disable it) for as long as the migration and its undo take",
        )
    };
    set_off(migration, work, dialect, beside, harms).into_iter().map(refusal).collect()
}

/// Why an undo can't put back what was kept, as the database is by now: what it would set off itself.
#[must_use]
pub fn not_restored(
    migration: &Migration,
    work: &Backfill,
    dialect: Dialect,
    beside: &[Beside],
) -> Vec<Diagnostic> {
    let harms = |verb: Verb, one: &Beside| match verb {
        Verb::Delete => alters_inserts(dialect, one),
        verb => one.on.contains(&verb) && noted(dialect, one).is_none(),
    };
    let refusal = |(place, names): (Place, String)| {
        let message = format!(
            "putting old values of {} back would change more than was kept: {names}",
            work.table,
        );
        Diagnostic::error("no-undo", message).at(place).help(
            "drop that (or disable it) until the undo is done; old values are kept for as long as \
             `undo capture` says",
        )
    };
    set_off(migration, work, dialect, beside, harms).into_iter().map(refusal).collect()
}

/// Whether rows that are inserted again would be others for it.
fn alters_inserts(dialect: Dialect, one: &Beside) -> bool {
    one.on.contains(&Verb::Insert) && noted(dialect, one).is_none_or(|columns| !columns.is_empty())
}

/// Where a migration writes what sets harm off, and the names of that.
fn set_off(
    migration: &Migration,
    work: &Backfill,
    dialect: Dialect,
    beside: &[Beside],
    harms: impl Fn(Verb, &Beside) -> bool,
) -> Vec<(Place, String)> {
    let mut found = Vec::new();
    let mut add = |place: Place, these: Vec<&str>| {
        if !these.is_empty() {
            found.push((place, these.join(", ")));
        }
    };
    if matches!(migration.body, Body::Rows(_)) {
        // A program may set any column but those of the key.
        let in_key = |name: &String| work.key.iter().any(|key| key.name == *name);
        let these = beside
            .iter()
            .filter(|one| harms(Verb::Update, one))
            .filter(|one| one.columns.is_empty() || !one.columns.iter().all(in_key));
        add(Place::file(migration.file()), these.map(|one| one.what.as_str()).collect());
    }
    for statement in migration.statements() {
        let Some(write) = &statement.facts.writes else { continue };
        let assigns = |name: &String| {
            write.columns.iter().any(|folded| column::is_same(dialect, folded, name))
        };
        let these = beside.iter().filter(|one| harms(write.verb, one)).filter(|one| {
            write.verb != Verb::Update || one.columns.is_empty() || one.columns.iter().any(assigns)
        });
        let place = Place::at(migration.file(), statement.line, statement.column);
        add(place, these.map(|one| one.what.as_str()).collect());
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

/// Whether a statement leaves alone what `chunk-where` leaves out, as far as its words tell.
pub(super) fn heeds(dialect: Dialect, text: &str, filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| repeats(dialect, text, filter))
}
