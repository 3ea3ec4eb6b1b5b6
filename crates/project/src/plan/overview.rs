//! Where each migration stands, as people ask for it.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_model::{
    Deferral, Direction, EntryState, Kind, MigrationId, Plan, Resource, StepState, WaitsFor,
};
use serde::Serialize;

use super::{Drift, Inputs};

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A schema migration that is applied.
    Up,
    /// A schema migration that is not.
    Down,
    /// A data migration that is done.
    Done,
    /// A data migration that is not, and nothing keeps it from running.
    Pending,
    /// Waits for its gate.
    Held,
    /// Another process is at work on it now.
    Running,
    /// Its last attempt failed; the next run tries again.
    Failed,
    /// Stopped half-way: some of its statements have taken effect. The next run goes on.
    Dirty,
    /// Will not run here.
    Skipped,
    /// Will never run again anywhere.
    Retired,
    /// Its header says `disabled`.
    Disabled,
}

impl Status {
    /// As it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Done => "done",
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Dirty => "dirty",
            Self::Skipped => "skipped",
            Self::Retired => "retired",
            Self::Disabled => "disabled",
        }
    }

    /// Whether something is still to be done about it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Self::Down | Self::Pending | Self::Held | Self::Running | Self::Failed | Self::Dirty
        )
    }
}

/// One migration's line of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Schema or data.
    pub kind: Kind,
    /// Its version.
    pub version: dunlin_model::Version,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// When it was applied, microseconds since 1970 UTC.
    pub finished_at: Option<i64>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// How many times it was made to run.
    pub pass: u32,
    /// Declared by `baseline`.
    pub baseline: bool,
    /// In the ledger, but not in the folder.
    pub missing: bool,
    /// Its file is not what was applied.
    pub drifted: bool,
    /// Why it was skipped or retired; the last error; what is known of a dirty one.
    pub note: Option<String>,
    /// What a held one waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<WaitsFor>,
}

/// A line for each migration that is a file or in the ledger, in order.
#[must_use]
pub fn overview(inputs: &Inputs<'_>, plan: Option<&Plan>, drifted: &[Drift]) -> Vec<Row> {
    let drifted: BTreeSet<MigrationId> = drifted.iter().map(|drift| drift.id).collect();
    let mut held: BTreeMap<MigrationId, &Vec<WaitsFor>> = BTreeMap::new();
    let mut disabled: BTreeMap<MigrationId, &str> = BTreeMap::new();
    if let Some(plan) = plan {
        held.extend(plan.held.iter().map(|held| (held.id, &held.waits_for)));
        for deferred in &plan.deferred {
            if let Deferral::Disabled { reason } = &deferred.why {
                disabled.insert(deferred.id, reason);
            }
        }
    }
    let mut ids: BTreeSet<MigrationId> = inputs.folder.files.keys().copied().collect();
    // What was only ever passed over, and whose file is gone, never was.
    let seen = inputs
        .ledger
        .entries
        .iter()
        .filter(|(_, entry)| entry.state != EntryState::Pending || entry.checksums.is_some());
    ids.extend(seen.map(|(id, _)| id));
    ids.extend(inputs.folder.retired.keys().map(|version| MigrationId::data(*version)));
    ids.into_iter()
        .map(|id| {
            let mut row = row(inputs, id);
            row.drifted = drifted.contains(&id);
            let open = matches!(row.status, Status::Down | Status::Pending | Status::Failed);
            if let Some(waits_for) = held.get(&id).filter(|_| open) {
                row.waits_for = (*waits_for).clone();
                if row.status != Status::Failed {
                    row.status = Status::Held;
                }
            }
            if let Some(reason) = disabled.get(&id).filter(|_| open) {
                row.status = Status::Disabled;
                row.note = Some((*reason).to_owned());
            }
            row
        })
        .collect()
}

fn row(inputs: &Inputs<'_>, id: MigrationId) -> Row {
    let entry = inputs.ledger.entries.get(&id);
    let file = inputs.folder.files.get(&id);
    let retired = inputs.folder.retired.get(&id.version).filter(|_| id.kind == Kind::Data);
    let name = file
        .map(|file| file.name.clone())
        .or_else(|| entry.map(|entry| entry.name.clone()))
        .or_else(|| retired.map(|retired| retired.name.clone()))
        .unwrap_or_default();
    let (status, note) = status(inputs, id);
    Row {
        kind: id.kind,
        version: id.version,
        name,
        status,
        finished_at: entry.and_then(|entry| entry.finished_at),
        duration_ms: entry.and_then(|entry| entry.duration_ms),
        pass: entry.map_or(0, |entry| entry.pass),
        baseline: entry.is_some_and(|entry| entry.baseline),
        missing: file.is_none() && retired.is_none(),
        drifted: false,
        note,
        waits_for: Vec::new(),
    }
}

fn status(inputs: &Inputs<'_>, id: MigrationId) -> (Status, Option<String>) {
    let entry = inputs.ledger.entries.get(&id);
    let undone = match id.kind {
        Kind::Schema => Status::Down,
        Kind::Data => Status::Pending,
    };
    let done = match id.kind {
        Kind::Schema => Status::Up,
        Kind::Data => Status::Done,
    };
    let going_down =
        inputs.ledger.steps.iter().any(|step| step.id == id && step.direction == Direction::Down);
    if let Some(note) = half_way(inputs, id).filter(|_| going_down) {
        return (Status::Dirty, Some(format!("on its way down: {note}")));
    }
    if let Some(entry) = entry {
        match entry.state {
            EntryState::Applied => return (done, None),
            EntryState::Skipped if inputs.is_wanted_after_all(id) => {}
            EntryState::Skipped => return (Status::Skipped, entry.reason.clone()),
            EntryState::Retired => return (Status::Retired, entry.reason.clone()),
            EntryState::Pending | EntryState::Running | EntryState::Failed => {}
        }
    }
    if let Some(retired) = inputs.folder.retired.get(&id.version).filter(|_| id.kind == Kind::Data)
    {
        return (Status::Retired, retired.because.clone());
    }
    if let Some(holder) = live_holder(inputs, id) {
        return (Status::Running, Some(format!("by {holder}")));
    }
    if let Some(note) = half_way(inputs, id) {
        return (Status::Dirty, Some(note));
    }
    match entry {
        Some(entry) if entry.state == EntryState::Failed => (Status::Failed, entry.error.clone()),
        Some(entry) if entry.state == EntryState::Skipped => {
            let why = entry.reason.as_deref().unwrap_or("no reason is known");
            (undone, Some(format!("skipped in another environment: {why}")))
        }
        _ => (undone, None),
    }
}

fn live_holder(inputs: &Inputs<'_>, id: MigrationId) -> Option<String> {
    if id.kind == Kind::Schema {
        return None;
    }
    let resource = Resource::Data(id.version).to_string();
    let lease = inputs
        .ledger
        .leases
        .iter()
        .find(|lease| lease.resource == resource && lease.remaining_ms > 0)?;
    Some(format!("{} (process {})", lease.owner.host, lease.owner.pid))
}

fn kept(count: usize) -> String {
    if count == 1 { "1 statement kept".to_owned() } else { format!("{count} statements kept") }
}

/// What is known of a migration whose journalled steps are not all done.
fn half_way(inputs: &Inputs<'_>, id: MigrationId) -> Option<String> {
    let pass = inputs.ledger.entries.get(&id).map_or(1, |entry| entry.pass.max(1));
    // What an earlier pass kept went with the rollback that began this one.
    let steps: Vec<_> =
        inputs.ledger.steps.iter().filter(|step| step.id == id && step.pass == pass).collect();
    let done = steps.iter().filter(|step| step.state == StepState::Done).count();
    let open = steps.iter().find(|step| step.state == StepState::Open);
    match open {
        Some(step) => Some(format!(
            "{}, statement {} started and not known to be finished",
            kept(done),
            step.ordinal + 1
        )),
        None if done > 0 => Some(format!("{}, the rest pending", kept(done))),
        None => None,
    }
}
