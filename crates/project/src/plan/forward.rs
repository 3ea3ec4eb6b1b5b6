//! The forward plan: `migrate` and `data run`.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dunlin_model::{
    Action, DataMode, Deferral, Deferred, Diagnostic, Direction, Kind, Migration, MigrationId,
    Mode, Plan, PlannedStep,
};

use super::circle::circle;
use super::half_way::Pass;
use super::waiting::Waiting;
use super::{Inputs, Refusal, Scope, drift, elsewhere, mode_of};
use crate::sql::Destroyers;

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
            planner.consider_again();
        }
    }
    planner.finish()
}

pub(super) struct Planner<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) scope: &'a Scope,
    pub(super) plan: Plan,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// In place once the steps so far have run.
    pub(super) planned: BTreeSet<MigrationId>,
    /// What is held, so far.
    pub(super) waiting: Waiting,
    /// Data migrations that gate destructive schema migrations above them, in order.
    pub(super) unopened: BTreeMap<MigrationId, bool>,
    /// Schema migrations that `migrate` would run now and that this scope leaves alone.
    pub(super) first_schema_left: Option<MigrationId>,
    pub(super) counted: usize,
    /// Routines of the files that take data away, once somebody asks for them.
    pub(super) destroyers: OnceCell<Destroyers<MigrationId>>,
    /// Pending here, but applied by the other tool, in order.
    pub(super) elsewhere: Vec<(MigrationId, PathBuf)>,
    /// Pending here, but the other tool may have begun them, in order.
    pub(super) half_way_elsewhere: Vec<(MigrationId, PathBuf)>,
}

impl<'a> Planner<'a> {
    fn new(inputs: &'a Inputs<'a>, scope: &'a Scope) -> Self {
        // What the ledger knows as not done gates too, whether or not its file is still there.
        let mut unopened = BTreeMap::new();
        for (id, entry) in &inputs.ledger.entries {
            // One that was only ever passed over, and whose file is gone, never was.
            let seen = entry.checksums.is_some() || inputs.folder.files.contains_key(id);
            if id.kind == Kind::Data && seen && !inputs.is_in_place(*id) {
                let by_person = entry.state == dunlin_model::EntryState::Skipped
                    && !super::was_skipped_by_environment(entry);
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
            waiting: Waiting::default(),
            unopened,
            first_schema_left: None,
            counted: 0,
            destroyers: OnceCell::new(),
            elsewhere: Vec::new(),
            half_way_elsewhere: Vec::new(),
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
        self.pass_gate(id, migration);
    }

    /// What waited for the steps so far, perhaps for one of a higher version, comes next.
    fn consider_again(&mut self) {
        let inputs = self.inputs;
        while let Some(id) = self.waiting.due() {
            if let Some(migration) = inputs.parsed.get(&id) {
                self.pass_gate(id, migration);
            }
        }
    }

    fn pass_gate(&mut self, id: MigrationId, migration: &Migration) {
        let waits_for = self.waits_for(id, migration);
        if !waits_for.is_empty() {
            return self.hold(id, migration, waits_for);
        }
        self.waiting.let_go(id);
        match self.out_of_turn(id, migration) {
            Some(why) => self.defer(id, migration, why),
            None => self.step(id, migration),
        }
    }

    /// A schema migration that another tool's history holds, or may have begun, must not run a
    /// second time.
    fn applied_elsewhere(&mut self, id: MigrationId, migration: &Migration) -> bool {
        let Some(foreign) = self.inputs.foreign.filter(|_| id.kind == Kind::Schema) else {
            return false;
        };
        let version = id.version.to_string();
        let found = if foreign.is_applied(&version) {
            &mut self.elsewhere
        } else if foreign.may_be_half_way(&version) {
            &mut self.half_way_elsewhere
        } else {
            return false;
        };
        found.push((id, migration.file().clone()));
        true
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

    fn defer(&mut self, id: MigrationId, migration: &Migration, why: Deferral) {
        self.plan.deferred.push(Deferred { id, name: migration.name.clone(), why });
    }

    fn skip(&mut self, id: MigrationId, migration: &Migration, reason: String) {
        if self.is_beyond(id) || self.out_of_turn_for_skip(id) {
            return self.defer(id, migration, Deferral::OutOfScope);
        }
        self.put_in_place(id);
        self.push(id, migration, Action::Skip { reason });
    }

    fn out_of_turn_for_skip(&self, id: MigrationId) -> bool {
        matches!(self.scope, Scope::Data { .. }) && id.kind == Kind::Schema
    }

    fn put_in_place(&mut self, id: MigrationId) {
        self.planned.insert(id);
        self.unopened.remove(&id);
        self.waiting.opened(id);
    }

    fn step(&mut self, id: MigrationId, migration: &Migration) {
        if self.inputs.failed.contains(&id) {
            return;
        }
        self.counted += 1;
        self.put_in_place(id);
        self.push(id, migration, Action::Up);
    }

    fn push(&mut self, id: MigrationId, migration: &Migration, action: Action) {
        let statements = migration.statements();
        let program = matches!(migration.body, dunlin_model::Body::Program(_));
        let directives = migration.directives();
        let pass = self.inputs.ledger.entries.get(&id).map_or(1, |entry| entry.pass.max(1));
        let mode = if migration.chunking().is_some() && action == Action::Up {
            // Its segments tell how far it is, not a journal of statements.
            Mode::Chunked
        } else {
            mode_of(self.inputs.capabilities, program, directives.no_transaction, statements)
        };
        let file = migration.file();
        let whole = Pass { id, direction: Direction::Up, pass, mode, statements, file };
        let half_way = whole.half_way(&self.inputs.ledger.steps).and_then(|half_way| {
            if action == Action::Up {
                whole.check_asks(self.inputs.dialect(), half_way)?;
            }
            Ok(half_way)
        });
        match half_way {
            Ok(half_way) => self.plan.steps.push(PlannedStep {
                action,
                migration: migration.clone(),
                mode: half_way.mode(mode),
                pass,
                resume_at: half_way.resume_at,
            }),
            Err(error) => self.diagnostics.push(error),
        }
    }

    fn finish(mut self) -> Result<Plan, Refusal> {
        self.plan.held = self.still_held();
        self.diagnostics.extend(circle(&self.plan.held, self.inputs.folder));
        let foreign = self.inputs.foreign;
        self.diagnostics.extend(elsewhere::refuse(foreign, &self.elsewhere));
        self.diagnostics.extend(elsewhere::stopped(foreign, &self.half_way_elsewhere));
        if self.diagnostics.is_empty() {
            Ok(self.plan)
        } else {
            Err(Refusal::Diagnostics(self.diagnostics))
        }
    }
}
