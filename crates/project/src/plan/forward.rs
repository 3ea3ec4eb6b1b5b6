//! The forward plan: `migrate` and `data run`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dunlin_model::{
    Action, DataMode, Deferral, Deferred, Diagnostic, Direction, Entry, EntryState, Held, Kind,
    Migration, MigrationId, OutOfOrder, Place, Plan, PlannedStep, Reference, Severity, StepState,
    WaitsFor,
};

use super::circle::circle;
use super::{Inputs, Refusal, Scope, drift, elsewhere, mode_of, resume_at};

/// Plans a forward run.
///
/// # Errors
/// Drift, or diagnostics with at least one error.
pub fn plan(inputs: &Inputs<'_>, scope: &Scope) -> Result<Plan, Refusal> {
    let drifted = drift(inputs);
    if !drifted.is_empty() {
        return Err(Refusal::Drift(drifted));
    }
    let mut planner = Planner::new(inputs, scope);
    planner.check_request();
    planner.check_half_way_down();
    for (id, migration) in inputs.parsed {
        if inputs.is_pending(*id) {
            planner.consider(*id, migration);
        }
    }
    planner.finish()
}

/// What a held migration keeps others from touching.
struct Shut {
    id: MigrationId,
    /// `None`: unknown, so everything.
    tables: Option<BTreeSet<String>>,
}

struct Planner<'a> {
    inputs: &'a Inputs<'a>,
    scope: &'a Scope,
    plan: Plan,
    diagnostics: Vec<Diagnostic>,
    /// In place once the steps so far have run.
    planned: BTreeSet<MigrationId>,
    shut: Vec<Shut>,
    /// Data migrations that gate destructive schema migrations above them, in order.
    unopened: BTreeMap<MigrationId, bool>,
    /// Schema migrations that `migrate` would run now and that this scope leaves alone.
    first_schema_left: Option<MigrationId>,
    counted: usize,
    /// Pending here, but applied by the other tool, in order.
    elsewhere: Vec<(MigrationId, PathBuf)>,
}

impl<'a> Planner<'a> {
    fn new(inputs: &'a Inputs<'a>, scope: &'a Scope) -> Self {
        // What the ledger knows as not done gates too, whether or not its file is still there.
        let mut unopened = BTreeMap::new();
        for (id, entry) in &inputs.ledger.entries {
            // One that was only ever passed over, and whose file is gone, never was.
            let seen = entry.checksums.is_some() || inputs.folder.files.contains_key(id);
            if id.kind == Kind::Data && seen && !inputs.is_in_place(*id) {
                let by_person = entry.state == dunlin_model::EntryState::Skipped;
                unopened.insert(*id, by_person);
            }
        }
        for id in inputs.folder.files.keys() {
            if id.kind == Kind::Data && !inputs.is_in_place(*id) {
                unopened.entry(*id).or_insert(false);
            }
        }
        Self {
            inputs,
            scope,
            plan: Plan::default(),
            diagnostics: Vec::new(),
            planned: BTreeSet::new(),
            shut: Vec::new(),
            unopened,
            first_schema_left: None,
            counted: 0,
            elsewhere: Vec::new(),
        }
    }

    /// Versions that were named must exist and be pending.
    fn check_request(&mut self) {
        let Scope::Data { versions, .. } = self.scope else { return };
        for version in versions {
            let id = MigrationId::data(*version);
            if !self.inputs.folder.files.contains_key(&id) {
                self.diagnostics.push(self.unknown_version(id));
                continue;
            }
            let entry = self.inputs.ledger.entries.get(&id);
            let skipped =
                |entry: &Entry| entry.state == EntryState::Skipped && !entry.by_environment;
            if entry.is_some_and(skipped) {
                self.diagnostics.push(
                    Diagnostic::error("skipped", format!("{id} was skipped by a person"))
                        .help(format!("to run it after all: dunlin data rerun {version}")),
                );
            }
        }
    }

    fn unknown_version(&self, id: MigrationId) -> Diagnostic {
        let known = self.inputs.folder.files.keys().filter(|other| other.kind == id.kind);
        let near = nearest(&id.version.to_string(), known.map(|other| other.version.to_string()));
        let error = Diagnostic::error("unknown-version", format!("there is no {id}"));
        match near {
            Some(near) => error.help(format!("did you mean {near}? `dunlin status` lists them")),
            None => error.help("`dunlin status` lists what there is"),
        }
    }

    fn consider(&mut self, id: MigrationId, migration: &Migration) {
        self.check_late(id, migration);
        self.check_environments(migration);
        if self.applied_elsewhere(id, migration) {
            return;
        }
        if let Some(reason) = &migration.directives().disabled {
            let reason = reason.clone();
            return self.defer(id, migration, Deferral::Disabled { reason });
        }
        if let Some(reason) = self.skip_reason(id, migration) {
            return self.skip(id, migration, reason);
        }
        if self.is_beyond(id) {
            return self.defer(id, migration, Deferral::OutOfScope);
        }
        if migration.directives().manual && !self.is_named(id) {
            return self.defer(id, migration, Deferral::ByName);
        }
        let waits_for = self.waits_for(id, migration);
        if !waits_for.is_empty() {
            return self.hold(id, migration, waits_for);
        }
        if let Some(why) = self.out_of_turn(id, migration) {
            return self.defer(id, migration, why);
        }
        self.step(id, migration);
    }

    fn check_late(&mut self, id: MigrationId, migration: &Migration) {
        let newest = self.inputs.ledger.newest_applied(id.kind);
        let Some(newest) = newest.filter(|newest| newest.version > id.version) else { return };
        if self.inputs.ledger.entries.contains_key(&id) {
            return;
        }
        let message = format!("{id} was added below {}, which is already applied", newest.version);
        let late = match self.inputs.policy.out_of_order {
            OutOfOrder::Allow => Diagnostic::notice("late", message),
            OutOfOrder::Error => Diagnostic::error("late", message).help(
                "give it a new version above that one, or set out_of_order = \"allow\" in dunlin.toml",
            ),
        };
        let late = late.at(Place::file(migration.file()));
        if late.severity == Severity::Error {
            self.diagnostics.push(late);
        } else {
            self.plan.notices.push(late);
        }
    }

    /// A name that no environment has would skip the migration everywhere, and open its gates.
    fn check_environments(&mut self, migration: &Migration) {
        let known = &self.inputs.policy.environments;
        if known.is_empty() {
            return;
        }
        for name in &migration.directives().environments {
            if known.contains(name) {
                continue;
            }
            let help = match nearest(name, known.iter().cloned()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}; or add [environments.{name}]", known.join(", ")),
            };
            let message = format!("`environments` names `{name}`, which dunlin.toml does not have");
            let error = Diagnostic::error("unknown-environment", message);
            self.diagnostics.push(error.at(Place::file(migration.file())).help(help));
        }
    }

    /// A schema migration that another tool's history holds must not run a second time.
    fn applied_elsewhere(&mut self, id: MigrationId, migration: &Migration) -> bool {
        let Some(foreign) = self.inputs.foreign else { return false };
        if id.kind == Kind::Data || !foreign.is_applied(&id.version.to_string()) {
            return false;
        }
        self.elsewhere.push((id, migration.file().clone()));
        true
    }

    /// A way back that stopped half-way is finished before anything goes forward again.
    fn check_half_way_down(&mut self) {
        let ledger = self.inputs.ledger;
        let going_down = ledger
            .steps
            .iter()
            // A statement that the server refused left nothing to finish.
            .filter(|step| step.direction == Direction::Down && step.state != StepState::Failed)
            .map(|step| step.id)
            .collect::<BTreeSet<_>>();
        for id in going_down {
            let error = Diagnostic::error("half-way-down", format!("{id} stopped half-way down"))
                .help(format!("finish that first: dunlin rollback --through {}", id.version));
            self.diagnostics.push(match self.inputs.folder.files.get(&id) {
                Some(file) => error.at(Place::file(&file.up)),
                None => error,
            });
        }
    }

    fn skip_reason(&self, id: MigrationId, migration: &Migration) -> Option<String> {
        let policy = self.inputs.policy;
        let wanted = &migration.directives().environments;
        if !wanted.is_empty() {
            let here = policy.environment.as_deref();
            // Without an environment nobody knows, so it is held: see `waits_for`.
            if let Some(here) = here
                && !wanted.iter().any(|name| name == here)
            {
                return Some(format!("only for {}; this is {here}", wanted.join(", ")));
            }
        }
        let skips = policy.data == DataMode::Skip && id.kind == Kind::Data && !self.is_named(id);
        skips.then(|| {
            let name = policy.environment.as_deref().unwrap_or("this project");
            format!("data = \"skip\" in {name}")
        })
    }

    fn is_named(&self, id: MigrationId) -> bool {
        matches!(self.scope, Scope::Data { versions, .. }
            if id.kind == Kind::Data && versions.contains(&id.version))
    }

    fn is_beyond(&self, id: MigrationId) -> bool {
        match self.scope {
            Scope::Migrate { to, .. } => to.is_some_and(|to| id.version > to),
            Scope::Data { versions, .. } => {
                id.kind == Kind::Data && !versions.is_empty() && !versions.contains(&id.version)
            }
        }
    }

    /// Whether this scope or its step count leaves a runnable migration alone.
    fn out_of_turn(&mut self, id: MigrationId, migration: &Migration) -> Option<Deferral> {
        let policy = self.inputs.policy;
        let background = migration.directives().background;
        let step_count = match self.scope {
            Scope::Migrate { step_count, .. } => {
                if background && policy.data != DataMode::Auto {
                    return Some(Deferral::Background);
                }
                if id.kind == Kind::Data && policy.data == DataMode::Manual && !policy.with_data {
                    return Some(Deferral::DataManual);
                }
                step_count
            }
            Scope::Data { step_count, background_only, .. } => {
                if id.kind == Kind::Schema {
                    self.first_schema_left.get_or_insert(id);
                    return Some(Deferral::OutOfScope);
                }
                if *background_only && !background {
                    return Some(Deferral::OutOfScope);
                }
                step_count
            }
        };
        step_count.is_some_and(|limit| self.counted >= limit).then_some(Deferral::OutOfScope)
    }

    fn waits_for(&mut self, id: MigrationId, migration: &Migration) -> Vec<WaitsFor> {
        let mut waits = Vec::new();
        let directives = migration.directives();
        if !directives.environments.is_empty() && self.inputs.policy.environment.is_none() {
            waits.push(WaitsFor::Environment { names: directives.environments.clone() });
        }
        for reference in &directives.after {
            if !self.is_satisfied(reference, migration) {
                let hint = elsewhere::unseen(self.inputs.foreign, reference, migration);
                self.plan.notices.extend(hint);
                waits.push(WaitsFor::After { reference: reference.clone() });
            }
        }
        if id.kind == Kind::Schema {
            self.gates(id, migration, &mut waits);
        } else if directives.after.is_empty()
            && let Some(schema) = self.first_schema_left
        {
            waits.push(WaitsFor::PendingSchema { schema });
        }
        // With an explicit `after` a data migration has said all that it depends on.
        let says_all = id.kind == Kind::Data && !directives.after.is_empty();
        self.behind_held(id, migration, says_all, &mut waits);
        waits
    }

    fn gates(&mut self, id: MigrationId, migration: &Migration, waits: &mut Vec<WaitsFor>) {
        let directives = migration.directives();
        for reference in &directives.requires {
            let Some(version) = reference.version() else { continue };
            let data = MigrationId::data(version);
            if !self.opens(data) {
                self.check_known(reference, migration, Kind::Data);
                let skipped_by_person = self.unopened.get(&data).copied().unwrap_or(false);
                waits.push(WaitsFor::Required { data: reference.clone(), skipped_by_person });
            }
        }
        let Some(destruction) =
            migration.statements().iter().find_map(|s| s.facts.destroys.first())
        else {
            return;
        };
        let what = format!("{} {}", destruction.kind.verb(), destruction.object);
        for (data, skipped_by_person) in &self.unopened {
            let independent =
                directives.independent_of.iter().any(|r| r.version() == Some(data.version));
            let required = directives.requires.iter().any(|r| r.version() == Some(data.version));
            if *data < id && !independent && !required {
                waits.push(WaitsFor::DataBeforeDestruction {
                    data: *data,
                    what: what.clone(),
                    skipped_by_person: *skipped_by_person,
                });
            }
        }
    }

    fn behind_held(
        &self,
        id: MigrationId,
        migration: &Migration,
        says_all: bool,
        waits: &mut Vec<WaitsFor>,
    ) {
        let mut own: Option<BTreeSet<&String>> = Some(BTreeSet::new());
        for statement in migration.statements() {
            own = match (own, &statement.facts.tables) {
                (Some(mut all), Some(tables)) => {
                    all.extend(tables);
                    Some(all)
                }
                _ => None,
            };
        }
        if !matches!(migration.body, dunlin_model::Body::Sql(_)) {
            own = None;
        }
        for shut in &self.shut {
            // What opens a gate is never kept behind it.
            let opens_it = id.kind == Kind::Data
                && self.inputs.parsed.get(&shut.id).is_some_and(|held| {
                    held.directives().requires.iter().any(|r| r.version() == Some(id.version))
                });
            if opens_it {
                continue;
            }
            match (&own, &shut.tables) {
                (Some(own), Some(tables)) => {
                    if let Some(table) = tables.iter().find(|table| own.contains(table)) {
                        let table = table.clone();
                        waits.push(WaitsFor::SameTable { held: shut.id, table });
                    }
                }
                _ if says_all => {}
                (None, _) => waits.push(WaitsFor::Unparsed { held: shut.id }),
                (Some(_), None) => {
                    waits.push(WaitsFor::SameTable { held: shut.id, table: "any table".into() });
                }
            }
        }
    }

    fn opens(&self, id: MigrationId) -> bool {
        self.planned.contains(&id) || self.inputs.is_in_place(id)
    }

    /// Whether what a reference names is in place before this migration.
    fn is_satisfied(&mut self, reference: &Reference, migration: &Migration) -> bool {
        let Some(version) = reference.version() else {
            return self.inputs.foreign.is_some_and(|f| f.is_applied(&reference.text));
        };
        let known = |id: &MigrationId| {
            self.inputs.folder.files.contains_key(id)
                || self.inputs.ledger.entries.contains_key(id)
                || (id.kind == Kind::Data && self.inputs.folder.retired.contains_key(&version))
        };
        let both = [MigrationId::schema(version), MigrationId::data(version)];
        let named = both.iter().filter(|id| match reference.kind {
            Some(kind) => id.kind == kind,
            // Only a version was written: everything of that version that there is.
            None => known(id) && **id != migration.id,
        });
        let mut any = false;
        for id in named {
            any = true;
            if !self.opens(*id) {
                self.check_known(reference, migration, id.kind);
                return false;
            }
        }
        if any {
            return true;
        }
        let elsewhere = self.opens(MigrationId::schema(version));
        if !elsewhere {
            self.check_known(reference, migration, Kind::Schema);
        }
        elsewhere
    }

    /// A version that is nowhere is a typo, unless another tool may bring it later.
    fn check_known(&mut self, reference: &Reference, migration: &Migration, kind: Kind) {
        let Some(version) = reference.version() else { return };
        let id = MigrationId { version, kind };
        let known = self.inputs.folder.files.contains_key(&id)
            || self.inputs.ledger.entries.contains_key(&id)
            || (kind == Kind::Schema && self.inputs.foreign.is_some());
        if !known {
            let place = Place::file(migration.file());
            let error = self.unknown_version(id).at(place);
            if !self.diagnostics.contains(&error) {
                self.diagnostics.push(error);
            }
        }
    }

    fn defer(&mut self, id: MigrationId, migration: &Migration, why: Deferral) {
        self.plan.deferred.push(Deferred { id, name: migration.name.clone(), why });
    }

    fn hold(&mut self, id: MigrationId, migration: &Migration, waits_for: Vec<WaitsFor>) {
        let mut tables = Some(BTreeSet::new());
        for statement in migration.statements() {
            match (&mut tables, &statement.facts.tables) {
                (Some(all), Some(own)) => all.extend(own.iter().cloned()),
                _ => tables = None,
            }
        }
        if !matches!(migration.body, dunlin_model::Body::Sql(_)) {
            tables = None;
        }
        // A held data migration changes rows, not what later ones find; only schema shuts.
        if id.kind == Kind::Schema {
            self.shut.push(Shut { id, tables });
        }
        self.plan.held.push(Held { id, name: migration.name.clone(), waits_for });
    }

    fn skip(&mut self, id: MigrationId, migration: &Migration, reason: String) {
        if self.is_beyond(id) || self.out_of_turn_for_skip(id) {
            return self.defer(id, migration, Deferral::OutOfScope);
        }
        self.planned.insert(id);
        self.unopened.remove(&id);
        self.push(id, migration, Action::Skip { reason });
    }

    fn out_of_turn_for_skip(&self, id: MigrationId) -> bool {
        matches!(self.scope, Scope::Data { .. }) && id.kind == Kind::Schema
    }

    fn step(&mut self, id: MigrationId, migration: &Migration) {
        if self.inputs.failed.contains(&id) {
            return;
        }
        self.counted += 1;
        self.planned.insert(id);
        self.unopened.remove(&id);
        self.push(id, migration, Action::Up);
    }

    fn push(&mut self, id: MigrationId, migration: &Migration, action: Action) {
        let statements = migration.statements();
        let program = matches!(migration.body, dunlin_model::Body::Program(_));
        let directives = migration.directives();
        let pass = self.inputs.ledger.entries.get(&id).map_or(1, |entry| entry.pass.max(1));
        if migration.chunking().is_some() && action == Action::Up {
            // Its segments tell how far it is, not a journal of statements.
            let mode = dunlin_model::Mode::Chunked;
            let migration = migration.clone();
            return self.plan.steps.push(PlannedStep {
                action,
                migration,
                mode,
                pass,
                resume_at: 0,
            });
        }
        let mode =
            mode_of(self.inputs.capabilities, program, directives.no_transaction, statements);
        let resume = resume_at(
            &self.inputs.ledger.steps,
            id,
            Direction::Up,
            pass,
            statements,
            migration.file(),
        );
        match resume {
            Ok(resume_at) => self.plan.steps.push(PlannedStep {
                action,
                migration: migration.clone(),
                mode,
                pass,
                resume_at,
            }),
            Err(error) => self.diagnostics.push(error),
        }
    }

    fn finish(mut self) -> Result<Plan, Refusal> {
        self.diagnostics.extend(circle(&self.plan.held, self.inputs.folder));
        self.diagnostics.extend(elsewhere::refuse(self.inputs.foreign, &self.elsewhere));
        if self.diagnostics.is_empty() {
            Ok(self.plan)
        } else {
            Err(Refusal::Diagnostics(self.diagnostics))
        }
    }
}

/// The candidate that a person most probably meant, if one is near.
pub(super) fn nearest(text: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(text, &candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min()
        .map(|(_, candidate)| candidate)
}
