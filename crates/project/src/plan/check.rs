//! What is refused or noticed about a request and each file, whatever its gate.

use std::collections::BTreeSet;

use dunlin_model::{
    Diagnostic, Direction, Entry, EntryState, Migration, MigrationId, OutOfOrder, Place, Severity,
    StepState,
};

use super::Scope;
use super::forward::Planner;

impl Planner<'_> {
    /// Versions that were named must exist and be pending.
    pub(super) fn check_request(&mut self) {
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

    pub(super) fn unknown_version(&self, id: MigrationId) -> Diagnostic {
        let known = self.inputs.folder.files.keys().filter(|other| other.kind == id.kind);
        let near = nearest(&id.version.to_string(), known.map(|other| other.version.to_string()));
        let error = Diagnostic::error("unknown-version", format!("there is no {id}"));
        match near {
            Some(near) => error.help(format!("did you mean {near}? `dunlin status` lists them")),
            None => error.help("`dunlin status` lists what there is"),
        }
    }

    pub(super) fn check_late(&mut self, id: MigrationId, migration: &Migration) {
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
    pub(super) fn check_environments(&mut self, migration: &Migration) {
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

    /// A way back that stopped half-way is finished before anything goes forward again.
    pub(super) fn check_half_way_down(&mut self) {
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
}

/// The candidate that a person most probably meant, if one is near.
pub(super) fn nearest(text: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(text, &candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min()
        .map(|(_, candidate)| candidate)
}
