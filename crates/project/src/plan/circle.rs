//! Migrations that wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_model::{Diagnostic, Held, MigrationId, Place, WaitsFor};

use crate::folder::Folder;

/// Migrations that wait for each other would wait for ever, and nobody would be told.
pub(super) fn circle(held: &[Held], folder: &Folder) -> Option<Diagnostic> {
    let waits: BTreeMap<MigrationId, BTreeSet<MigrationId>> = held
        .iter()
        .map(|held| (held.id, held.waits_for.iter().flat_map(|w| awaited(held.id, w)).collect()))
        .collect();
    let left = in_circles(&waits);
    let first = left.keys().next().copied()?;
    // Followed far enough, any of them leads into its circle.
    let next = |id: &MigrationId| {
        let waits = left.get(id)?;
        waits.iter().find(|other| left.contains_key(other)).copied()
    };
    let start = (0..left.len()).try_fold(first, |id, _| next(&id)).unwrap_or(first);
    let mut circle = vec![start.to_string()];
    let mut at = next(&start);
    while let Some(id) = at {
        circle.push(id.to_string());
        at = if id == start { None } else { next(&id) };
    }
    let message = format!("these wait for each other: {}", circle.join(", which waits for "));
    let mut error = Diagnostic::error("circle", message).help(
        "take one `after` or `requires` out, or say `independent-of` where a migration takes away what the data migration does not need",
    );
    if let Some(file) = folder.files.get(&start) {
        error = error.at(Place::file(&file.up));
    }
    Some(error)
}

/// What waits for nothing that waits is taken away, until only circles, and what waits for them,
/// are left.
fn in_circles(
    waits: &BTreeMap<MigrationId, BTreeSet<MigrationId>>,
) -> BTreeMap<MigrationId, &BTreeSet<MigrationId>> {
    let mut left: BTreeMap<_, _> = waits.iter().map(|(id, others)| (*id, others)).collect();
    let mut count = BTreeMap::new();
    let mut waiters: BTreeMap<MigrationId, Vec<MigrationId>> = BTreeMap::new();
    let mut free = Vec::new();
    for (id, others) in waits {
        let held = others.iter().filter(|other| waits.contains_key(other));
        for other in held.clone() {
            waiters.entry(*other).or_default().push(*id);
        }
        match held.count() {
            0 => free.push(*id),
            number => {
                count.insert(*id, number);
            }
        }
    }
    while let Some(id) = free.pop() {
        left.remove(&id);
        for waiter in waiters.remove(&id).unwrap_or_default() {
            let Some(number) = count.get_mut(&waiter) else { continue };
            *number -= 1;
            if *number == 0 {
                free.push(waiter);
            }
        }
    }
    left
}

/// What a held migration waits for by what the files say. A version without its kind may be
/// either.
fn awaited(id: MigrationId, waits_for: &WaitsFor) -> Vec<MigrationId> {
    match waits_for {
        WaitsFor::After { reference } | WaitsFor::Required { data: reference, .. } => {
            let Some(version) = reference.version() else { return Vec::new() };
            match reference.kind {
                Some(kind) => vec![MigrationId { version, kind }],
                None => [MigrationId::schema(version), MigrationId::data(version)]
                    .into_iter()
                    .filter(|other| *other != id)
                    .collect(),
            }
        }
        WaitsFor::DataBeforeDestruction { data, .. } => vec![*data],
        WaitsFor::Environment { .. }
        | WaitsFor::PendingSchema { .. }
        | WaitsFor::SameTable { .. }
        | WaitsFor::Unparsed { .. } => Vec::new(),
    }
}
