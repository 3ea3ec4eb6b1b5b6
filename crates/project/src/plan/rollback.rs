//! The plan back down.

use std::collections::BTreeSet;

use dunlin_model::{
    Action, Body, Diagnostic, Direction, Entry, EntryState, Kind, Migration, MigrationId, Mode,
    Place, Plan, PlannedStep, StepState, Version,
};

use super::check::nearest;
use super::half_way::Pass;
use super::{Inputs, Refusal, drift, mode_of};

/// How far back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollbackScope {
    /// Down to this version, which stays.
    To(Version),
    /// Down to this version, which goes too.
    Through(Version),
    /// So many migrations, newest first.
    Steps(usize),
    /// Those of these that are still applied, and nothing else: what somebody was shown, or what a
    /// run began with. Whoever counts again after one of them went takes one that nobody named.
    Exactly(Vec<MigrationId>),
}

/// Plans the undoing of applied schema migrations, newest first.
///
/// # Errors
/// A migration without a down or without its file, one that stopped half-way, a version that is
/// not there, drift: all before anything is touched.
pub fn rollback(inputs: &Inputs<'_>, scope: &RollbackScope) -> Result<Plan, Refusal> {
    let chosen = chosen(inputs, scope);
    if chosen.is_empty() && matches!(scope, RollbackScope::Exactly(_)) {
        // Whatever others are at now is nothing to us.
        return Ok(Plan::default());
    }
    let drifted = drift(inputs);
    if !drifted.is_empty() {
        return Err(Refusal::Drift(drifted));
    }
    check_version(inputs, scope)?;
    let mut errors = half_way(inputs);
    errors.extend(applied_since(inputs, scope, &chosen));
    let mut undone: Vec<Migration> = Vec::new();
    for id in chosen {
        match undoable(inputs, id) {
            Ok(migration) => undone.push(migration),
            Err(mut found) => errors.append(&mut found),
        }
    }
    if !errors.is_empty() {
        return Err(Refusal::Diagnostics(errors));
    }
    let mut plan = Plan::default();
    let mut reset = BTreeSet::new();
    for migration in undone {
        let mut resets = came_after(inputs, migration.id)?;
        resets.retain(|id| reset.insert(*id));
        match down_step(inputs, migration, resets) {
            Ok(step) => plan.steps.push(step),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(plan) } else { Err(Refusal::Diagnostics(errors)) }
}

fn check_version(inputs: &Inputs<'_>, scope: &RollbackScope) -> Result<(), Refusal> {
    let (RollbackScope::To(version) | RollbackScope::Through(version)) = scope else {
        return Ok(());
    };
    let id = MigrationId::schema(*version);
    // `--to 0` is everything.
    if version.get() == 0 || inputs.ledger.state(id) == Some(EntryState::Applied) {
        return Ok(());
    }
    let applied = inputs.ledger.entries.keys().filter(|id| id.kind == Kind::Schema);
    let near = nearest(&version.to_string(), applied.map(|id| id.version.to_string()));
    let error = Diagnostic::error("unknown-version", format!("{id} is not applied here")).help(
        match near {
            Some(near) => format!("did you mean {near}? `dunlin status` lists what is applied"),
            None => "`dunlin status` lists what is applied".to_owned(),
        },
    );
    Err(Refusal::Diagnostics(vec![error]))
}

/// Migrations that stopped half-way on their way up must be finished first: their down undoes
/// what a whole up did.
fn half_way(inputs: &Inputs<'_>) -> Vec<Diagnostic> {
    inputs
        .ledger
        .steps
        .iter()
        .filter(|step| step.direction == Direction::Up && step.id.kind == Kind::Schema)
        // A statement that the server refused left nothing to finish.
        .filter(|step| step.state != StepState::Failed)
        .map(|step| step.id)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|id| {
            Diagnostic::error("half-way", format!("{id} stopped half-way up"))
                .help("run `dunlin migrate` to finish it before you roll back")
        })
        .collect()
}

/// What has been applied above the lowest of those that were chosen earlier: it may stand on it, and
/// nobody was asked about it.
fn applied_since(
    inputs: &Inputs<'_>,
    scope: &RollbackScope,
    chosen: &[MigrationId],
) -> Vec<Diagnostic> {
    let (RollbackScope::Exactly(_), Some(lowest)) = (scope, chosen.iter().min()) else {
        return Vec::new();
    };
    applied(inputs)
        .filter(|id| id > lowest && !chosen.contains(id))
        .map(|id| {
            Diagnostic::error(
                "applied-since",
                format!("{id} was applied meanwhile, and may stand on what would be undone"),
            )
            .help("look again, and undo it first or with it")
        })
        .collect()
}

/// Schema migrations that are applied or on their way down, newest first.
fn applied<'a>(inputs: &Inputs<'a>) -> impl Iterator<Item = MigrationId> + use<'a> {
    let ledger = inputs.ledger;
    let applied = ledger.entries.iter().rev().filter(|(id, entry)| {
        let going_down =
            ledger.steps.iter().any(|step| step.id == **id && step.direction == Direction::Down);
        id.kind == Kind::Schema && (entry.state == EntryState::Applied || going_down)
    });
    applied.map(|(id, _)| *id)
}

fn chosen(inputs: &Inputs<'_>, scope: &RollbackScope) -> Vec<MigrationId> {
    let ids = applied(inputs);
    match scope {
        RollbackScope::To(version) => ids.filter(|id| id.version > *version).collect(),
        RollbackScope::Through(version) => ids.filter(|id| id.version >= *version).collect(),
        RollbackScope::Steps(count) => ids.take(*count).collect(),
        RollbackScope::Exactly(these) => ids.filter(|id| these.contains(id)).collect(),
    }
}

fn undoable(inputs: &Inputs<'_>, id: MigrationId) -> Result<Migration, Vec<Diagnostic>> {
    let name = inputs.ledger.entries.get(&id).map_or("", |entry| entry.name.as_str());
    let Some(file) = inputs.folder.files.get(&id) else {
        return Err(vec![
            Diagnostic::error(
                "missing-file",
                format!("{id} ({name}) is applied, but its file is not here"),
            )
            .help("check out the branch that has it, then roll back"),
        ]);
    };
    let migration = file.parse_with_down(inputs.dialect())?;
    if migration.down.is_none() {
        let up = migration.file().clone();
        return Err(vec![
            Diagnostic::error("no-down", format!("{id} ({name}) has no down"))
                .at(Place::file(up))
                .help(
                    "name it ….up.sql and put a ….down.sql beside it (an empty one if there is nothing to undo), or write a new migration that goes forward",
                ),
        ]);
    }
    Ok(migration)
}

/// Data migrations that came after a schema migration, and have done anything: by `after`, or
/// without one by their higher version; and those that are `after` one of these, and so on. Its
/// undoing makes them pending again.
///
/// # Errors
/// One of their files can't be parsed.
pub fn came_after(inputs: &Inputs<'_>, undone: MigrationId) -> Result<Vec<MigrationId>, Refusal> {
    depending(inputs, undone, begun(inputs)?)
}

/// Data migrations that come after a schema migration, whether or not they have done anything: none
/// of them may begin while it is undone.
///
/// # Errors
/// One of their files can't be parsed.
pub fn comes_after(inputs: &Inputs<'_>, undone: MigrationId) -> Result<Vec<MigrationId>, Refusal> {
    let known = inputs.ledger.entries.keys().chain(inputs.folder.files.keys());
    let known = known.filter(|id| id.kind == Kind::Data).copied().chain(at_work(inputs));
    depending(inputs, undone, known.collect())
}

fn depending(
    inputs: &Inputs<'_>,
    undone: MigrationId,
    among: BTreeSet<MigrationId>,
) -> Result<Vec<MigrationId>, Refusal> {
    let mut others = Vec::new();
    let mut after = BTreeSet::new();
    for id in among {
        // Without its file nothing is known but its version.
        let references = match inputs.folder.files.get(&id) {
            Some(file) => {
                let parsed = file.parse(inputs.dialect()).map_err(Refusal::Diagnostics)?;
                parsed.directives().after.clone()
            }
            None => Vec::new(),
        };
        let depends = if references.is_empty() {
            id.version >= undone.version
        } else {
            references.iter().any(|reference| {
                reference.kind != Some(Kind::Data) && reference.version() == Some(undone.version)
            })
        };
        if depends {
            after.insert(id);
        } else {
            others.push((id, references));
        }
    }
    loop {
        let before = after.len();
        for (id, references) in &others {
            let depends = references.iter().any(|reference| {
                reference.kind != Some(Kind::Schema)
                    && reference.version().is_some_and(|v| after.contains(&MigrationId::data(v)))
            });
            if depends {
                after.insert(*id);
            }
        }
        if after.len() == before {
            return Ok(after.into_iter().collect());
        }
    }
}

/// Data migrations that are done, that kept some of their statements or chunks, or that somebody is
/// at work on: what they did goes with what they did it to.
fn begun(inputs: &Inputs<'_>) -> Result<BTreeSet<MigrationId>, Refusal> {
    let ledger = inputs.ledger;
    let done = ledger.entries.iter().filter(|(_, entry)| entry.state == EntryState::Applied);
    let half_way = ledger.steps.iter().filter(|step| {
        let entry = ledger.entries.get(&step.id);
        step.state != StepState::Failed
            && entry.is_some_and(|entry| entry.state.is_pending() && entry.pass == step.pass)
    });
    let running = at_work(inputs).filter(|id| {
        // Without a file it is not pending here, but whoever has the lease has the file.
        inputs.is_pending(*id) || !inputs.folder.files.contains_key(id)
    });
    let all = done.map(|(id, _)| *id).chain(half_way.map(|step| step.id)).chain(running);
    let mut all: BTreeSet<_> = all.filter(|id| id.kind == Kind::Data).collect();
    for (id, entry) in &ledger.entries {
        if id.kind == Kind::Data && goes_on(entry) && !all.contains(id) && in_chunks(inputs, *id)? {
            all.insert(*id);
        }
    }
    Ok(all)
}

/// Whether the next run would go on where the last one stopped, if it runs in chunks.
fn goes_on(entry: &Entry) -> bool {
    match entry.state {
        EntryState::Running | EntryState::Failed => true,
        // Wanted again, it keeps its pass; what a person skipped comes back by another one.
        EntryState::Skipped => entry.by_environment && entry.started_at.is_some(),
        EntryState::Pending | EntryState::Applied | EntryState::Retired => false,
    }
}

/// Of a half-done backfill the ledger keeps segments, and no steps. Without its file it may be one.
fn in_chunks(inputs: &Inputs<'_>, id: MigrationId) -> Result<bool, Refusal> {
    let Some(file) = inputs.folder.files.get(&id) else { return Ok(true) };
    let parsed = file.parse(inputs.dialect()).map_err(Refusal::Diagnostics)?;
    Ok(parsed.chunking().is_some())
}

/// Data migrations that somebody has the lease on.
fn at_work<'a>(inputs: &Inputs<'a>) -> impl Iterator<Item = MigrationId> + use<'a> {
    let live = inputs.ledger.leases.iter().filter(|lease| lease.remaining_ms > 0);
    live.filter_map(|lease| {
        lease.resource.strip_prefix("data/")?.parse().ok().map(MigrationId::data)
    })
}

fn down_step(
    inputs: &Inputs<'_>,
    migration: Migration,
    resets: Vec<MigrationId>,
) -> Result<PlannedStep, Diagnostic> {
    let pass = inputs.ledger.entries.get(&migration.id).map_or(1, |entry| entry.pass.max(1));
    let (mode, resume_at) = match &migration.down {
        Some(down) => {
            let mode = mode_of(
                inputs.capabilities,
                matches!(migration.body, Body::Program(_)),
                down.directives.no_transaction,
                &down.statements,
            );
            let whole = Pass {
                id: migration.id,
                direction: Direction::Down,
                pass,
                mode,
                statements: &down.statements,
                file: &down.file,
            };
            let half_way = whole.half_way(&inputs.ledger.steps)?;
            whole.check_asks(inputs.dialect(), half_way)?;
            (half_way.mode(mode), half_way.resume_at)
        }
        None => (Mode::OneTransaction, 0),
    };
    Ok(PlannedStep { action: Action::Down { resets }, migration, mode, pass, resume_at })
}
