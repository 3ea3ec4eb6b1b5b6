//! What a migration waits for, and which other one opens it.
//!
//! A migration that waits is looked at again when what it waits for has come into place within
//! the plan. It watches one migration at a time, the highest: lower ones mostly come first, so
//! that few look again in vain and planning stays linear.

use std::collections::BTreeSet;

use dunlin_model::{
    Body, Destruction, DestructionKind, Diagnostic, Facts, Held, Kind, Migration, MigrationId,
    Place, Reference, WaitsFor,
};

use super::elsewhere;
use super::forward::Planner;
use super::waiting::Shut;
use crate::sql::Destroyers;

/// Held migrations that another one waits for because of a table.
struct Behind {
    first: MigrationId,
    last: MigrationId,
    /// `None`: it is not known which tables the one that waits touches.
    table: Option<String>,
}

impl Planner<'_> {
    pub(super) fn waits_for(&mut self, id: MigrationId, migration: &Migration) -> Vec<WaitsFor> {
        let mut waits = Vec::new();
        let directives = migration.directives();
        if !directives.environments.is_empty() && self.inputs.policy.environment.is_none() {
            waits.push(WaitsFor::Environment { names: directives.environments.clone() });
        }
        for reference in &directives.after {
            if !self.is_satisfied(reference, migration) {
                let hint = elsewhere::unseen(self.inputs.foreign, reference, migration);
                // It may be asked again, when something else has come into place.
                let hint = hint.filter(|hint| !self.plan.notices.contains(hint));
                self.plan.notices.extend(hint);
                waits.push(WaitsFor::After { reference: reference.clone() });
            }
        }
        self.gates(id, migration, &mut waits);
        if id.kind == Kind::Data
            && directives.after.is_empty()
            && let Some(schema) = self.first_schema_left.filter(|schema| *schema < id)
        {
            waits.push(WaitsFor::PendingSchema { schema });
        }
        let mut told = BTreeSet::new();
        for Behind { first: held, table, .. } in self.behind(id, migration) {
            if told.insert(held) {
                waits.push(match table {
                    Some(table) => WaitsFor::SameTable { held, table },
                    None => WaitsFor::Unparsed { held },
                });
            }
        }
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
        if self.unopened.range(..id).next().is_none() {
            return;
        }
        let own = destruction(id.kind, migration);
        let own = own.map(|found| format!("{} {}", found.kind.verb(), found.object));
        let Some(what) = own.or_else(|| self.destruction_by_call(id, migration)) else { return };
        for (data, skipped_by_person) in self.unopened.range(..id) {
            let independent =
                directives.independent_of.iter().any(|r| r.version() == Some(data.version));
            let required = directives.requires.iter().any(|r| r.version() == Some(data.version));
            if !independent && !required {
                waits.push(WaitsFor::DataBeforeDestruction {
                    data: *data,
                    what: what.clone(),
                    skipped_by_person: *skipped_by_person,
                });
            }
        }
    }

    /// What a migration takes away by calling a routine that another file defines.
    fn destruction_by_call(&self, id: MigrationId, migration: &Migration) -> Option<String> {
        // They are made, not called.
        const DEFINES: [&str; 6] = ["CREATE", "DROP", "ALTER", "COMMENT", "GRANT", "REVOKE"];
        let dialect = self.inputs.dialect();
        let files = self.inputs.folder.files.iter().filter(|(_, file)| !file.program);
        let destroyers = self.destroyers.get_or_init(|| {
            Destroyers::read(dialect, files.map(|(id, file)| (*id, file.bytes.as_slice())))
        });
        let statements = migration.statements().iter().filter(|statement| {
            let first = statement.facts.verb.split(' ').next().unwrap_or_default();
            !DEFINES.contains(&first)
        });
        let mut called = statements.filter_map(|s| destroyers.called_by(dialect, &s.text, id));
        called.next().map(|name| format!("drops something in the routine {name}"))
    }

    /// Held schema migrations below this one that may touch the same tables: the lowest of each
    /// table says it all, and has let go when the highest has, which waits for those below it.
    fn behind(&self, id: MigrationId, migration: &Migration) -> Vec<Behind> {
        // With an explicit `after` a data migration has said all that it depends on.
        let says_all = id.kind == Kind::Data && !migration.directives().after.is_empty();
        // What opens a gate is never kept behind it.
        let waits = |shut: &MigrationId| id.kind == Kind::Schema || !self.needs(*shut, id);
        let mut all = Vec::new();
        let mut add = |mut shut: Shut<'_>, table: Option<String>| {
            if let Some(first) = shut.find(waits) {
                let last = shut.rfind(waits).unwrap_or(first);
                all.push(Behind { first, last, table });
            }
        };
        match tables(migration) {
            Some(own) => {
                for table in own {
                    add(self.waiting.shut_for_namesake(&table, id), Some(table.clone()));
                    add(self.waiting.shut_for(&table, id), Some(table));
                }
                if !says_all {
                    add(self.waiting.shut_anywhere(id), Some("any table".to_owned()));
                }
            }
            None if says_all => {}
            None => add(self.waiting.shut(id), None),
        }
        all.sort_by_key(|behind| behind.first);
        all
    }

    /// Whether a shut migration requires a data migration, or is behind one that does.
    fn needs(&self, shut: MigrationId, data: MigrationId) -> bool {
        let mut seen = BTreeSet::from([shut]);
        let mut open = vec![shut];
        while let Some(id) = open.pop() {
            let requires = self.inputs.parsed.get(&id).is_some_and(|held| {
                held.directives().requires.iter().any(|r| r.version() == Some(data.version))
            });
            if requires {
                return true;
            }
            open.extend(self.waiting.waits_for(id).iter().filter_map(|wait| match wait {
                WaitsFor::SameTable { held, .. } | WaitsFor::Unparsed { held } => {
                    seen.insert(*held).then_some(*held)
                }
                _ => None,
            }));
        }
        false
    }

    fn opens(&self, id: MigrationId) -> bool {
        self.planned.contains(&id) || self.inputs.is_in_place(id)
    }

    /// Whether what a reference names is in place before this migration.
    fn is_satisfied(&mut self, reference: &Reference, migration: &Migration) -> bool {
        let Some(version) = reference.version() else {
            let foreign = self.inputs.foreign;
            if foreign.is_none() {
                self.refuse_name(reference, migration);
            }
            return foreign.is_some_and(|f| f.is_applied(&reference.text));
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
        if migration.id == MigrationId::schema(version) {
            self.refuse_itself(migration);
            return false;
        }
        let elsewhere = self.opens(MigrationId::schema(version));
        if !elsewhere {
            self.check_known(reference, migration, Kind::Schema);
        }
        elsewhere
    }

    /// No other migration has that version: it would wait for itself for ever.
    fn refuse_itself(&mut self, migration: &Migration) {
        let id = migration.id;
        let error = Diagnostic::error("circle", format!("`after` names {id} itself"))
            .at(Place::file(migration.file()))
            .help("take it out, or name another version");
        if !self.diagnostics.contains(&error) {
            self.diagnostics.push(error);
        }
    }

    /// Only another tool's versions are names, and this database has no such tool's history.
    fn refuse_name(&mut self, reference: &Reference, migration: &Migration) {
        let message = format!(
            "`after {}` is no version of a migration here, and no other tool's history was found",
            reference.text
        );
        let error = Diagnostic::error("unknown-version", message)
            .at(Place::file(migration.file()))
            .help(
                "put the version right; where another tool brings it, run that tool first, or                  name it in `schema_history`",
            );
        if !self.diagnostics.contains(&error) {
            self.diagnostics.push(error);
        }
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

    pub(super) fn hold(
        &mut self,
        id: MigrationId,
        migration: &Migration,
        waits_for: Vec<WaitsFor>,
    ) {
        // A held data migration changes rows, not what later ones find; only schema shuts.
        if id.kind == Kind::Schema {
            self.waiting.shut_down(id, tables(migration));
        }
        let named = waits_for.iter().filter_map(|wait| self.watched(id, wait)).max();
        let behind = self.behind(id, migration).iter().map(|behind| behind.last).max();
        if let Some(watched) = named.max(behind) {
            self.waiting.watch(id, watched);
        }
        self.waiting.hold(Held { id, name: migration.name.clone(), waits_for });
    }

    /// The migration that a wait names, and that this plan might still put in place.
    fn watched(&self, id: MigrationId, wait: &WaitsFor) -> Option<MigrationId> {
        let either = |reference: &Reference| {
            let version = reference.version()?;
            let both = [MigrationId::data(version), MigrationId::schema(version)];
            both.into_iter().find(|other| {
                reference.kind.is_none_or(|kind| other.kind == kind)
                    && *other != id
                    && self.inputs.parsed.contains_key(other)
                    && !self.opens(*other)
            })
        };
        match wait {
            WaitsFor::After { reference } | WaitsFor::Required { data: reference, .. } => {
                either(reference)
            }
            WaitsFor::DataBeforeDestruction { data, .. } => Some(*data),
            WaitsFor::SameTable { .. }
            | WaitsFor::Unparsed { .. }
            | WaitsFor::Environment { .. }
            | WaitsFor::PendingSchema { .. } => None,
        }
    }

    /// What stays held, with what it waits for now that the whole plan is known.
    pub(super) fn still_held(&mut self) -> Vec<Held> {
        let inputs = self.inputs;
        let mut all = self.waiting.held();
        for held in &mut all {
            if let Some(migration) = inputs.parsed.get(&held.id) {
                held.waits_for = self.waits_for(held.id, migration);
            }
        }
        all
    }
}

/// What of a migration waits for lower data. To delete rows is what a data migration is for, so there
/// a DELETE without WHERE is none.
fn destruction(kind: Kind, migration: &Migration) -> Option<&Destruction> {
    let counts = |facts: &Facts, found: &Destruction| {
        kind == Kind::Schema || found.kind != DestructionKind::Truncate || facts.verb == "TRUNCATE"
    };
    migration
        .statements()
        .iter()
        .find_map(|s| s.facts.destroys.iter().find(|found| counts(&s.facts, found)))
}

/// The tables that a migration touches; `None`: unknown, so any.
fn tables(migration: &Migration) -> Option<BTreeSet<String>> {
    if matches!(migration.body, Body::Program(_) | Body::Rows(_)) {
        return None;
    }
    let mut all = BTreeSet::new();
    for statement in migration.statements() {
        all.extend(statement.facts.tables.as_ref()?.iter().cloned());
    }
    Some(all)
}
