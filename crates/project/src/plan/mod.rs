//! Planning: files, a ledger's view and another tool's history in; a plan or diagnostics out.
//!
//! Pure and linear in the number of migrations. Invariants: a plan holds nothing whose gate is
//! shut; what precedes a step in the plan is what its gates rely on; the same inputs give the same
//! plan. What is left out: the clock, the database, and what happens when a step fails (the run
//! loop plans again with the failed migration in [`Inputs::failed`]).

mod baseline;
mod check;
mod circle;
mod drift;
mod elsewhere;
mod forward;
mod gates;
mod half_way;
mod overview;
mod rollback;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use dunlin_model::{
    Capabilities, DataMode, Diagnostic, Dialect, Facts, ForeignHistory, Kind, LedgerView,
    Migration, MigrationId, Mode, OutOfOrder, Restart, Statement, Version,
};

pub use baseline::baseline;
pub use drift::{Drift, drift};
pub use forward::plan;
pub use overview::{Row, Status, overview};
pub use rollback::{RollbackScope, came_after, comes_after, rollback};

use crate::folder::Folder;

/// How this environment wants things done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The environment's name, if one was given.
    pub environment: Option<String>,
    /// Every environment that the project has; empty where it names none.
    pub environments: Vec<String>,
    /// When `migrate` runs data migrations.
    pub data: DataMode,
    /// `--with-data`: now, although the mode is manual.
    pub with_data: bool,
    /// Late-merged files.
    pub out_of_order: OutOfOrder,
}

/// What a forward run is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// `migrate`.
    Migrate {
        /// Nothing above this version.
        to: Option<Version>,
        /// At most so many migrations.
        step_count: Option<usize>,
    },
    /// `data run`.
    Data {
        /// These, by name; empty: all that are pending.
        versions: Vec<Version>,
        /// At most so many migrations.
        step_count: Option<usize>,
        /// `--background`: only those whose header says `background`.
        background_only: bool,
    },
}

/// Everything that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// What the database can do.
    pub capabilities: &'a Capabilities,
    /// The files.
    pub folder: &'a Folder,
    /// Those of them that were needed, parsed: see [`parse`].
    pub parsed: &'a Parsed,
    /// What the database's ledger says.
    pub ledger: &'a LedgerView,
    /// What another tool's history says, if there is one.
    pub foreign: Option<&'a ForeignHistory>,
    /// How this environment wants it.
    pub policy: &'a Policy,
    /// Migrations that failed in this run: still pending, not tried again in it.
    pub failed: &'a BTreeSet<MigrationId>,
}

impl Inputs<'_> {
    pub(crate) fn dialect(&self) -> Dialect {
        self.capabilities.dialect
    }

    /// Whether a migration of ours or of the other tool is in place before this plan.
    pub(crate) fn is_in_place(&self, id: MigrationId) -> bool {
        if self.ledger.entries.get(&id).is_some_and(dunlin_model::Entry::opens_gate) {
            return !self.is_wanted_after_all(id);
        }
        match id.kind {
            Kind::Data => self.folder.retired.contains_key(&id.version),
            Kind::Schema => {
                self.foreign.is_some_and(|foreign| foreign.is_applied(&id.version.to_string()))
            }
        }
    }

    /// Whether a file still has to run by the ledger (and `retired.toml`).
    pub(crate) fn is_pending(&self, id: MigrationId) -> bool {
        if id.kind == Kind::Data && self.folder.retired.contains_key(&id.version) {
            return false;
        }
        self.ledger.state(id).is_none_or(dunlin_model::EntryState::is_pending)
            || self.is_wanted_after_all(id)
    }

    /// Whether a migration was recorded as skipped where another environment was set, and this one
    /// does not skip it: what one environment leaves out is not done for another on the same
    /// database.
    pub(crate) fn is_wanted_after_all(&self, id: MigrationId) -> bool {
        let skipped = self.ledger.entries.get(&id).is_some_and(was_skipped_by_environment);
        skipped && self.parsed.get(&id).is_some_and(|migration| self.policy.wants(migration))
    }
}

impl Policy {
    /// Whether this environment is one that a migration is for. Of one that names environments
    /// nobody knows where none is set.
    fn wants(&self, migration: &Migration) -> bool {
        let named = &migration.directives().environments;
        let here = self.environment.as_ref().is_some_and(|here| named.contains(here));
        let skips = self.data == DataMode::Skip && migration.id.kind == Kind::Data;
        !skips && (named.is_empty() || here)
    }
}

fn was_skipped_by_environment(entry: &dunlin_model::Entry) -> bool {
    entry.state == dunlin_model::EntryState::Skipped && entry.by_environment
}

/// Parsed migrations, by id.
pub type Parsed = BTreeMap<MigrationId, Migration>;

/// Parses every migration that is pending by this ledger and not yet in `parsed`. What is applied
/// is parsed only where something depends on it, so that a long history costs nothing.
///
/// # Errors
/// Everything that is wrong in the files, all at once.
pub fn parse(
    folder: &Folder,
    ledger: &LedgerView,
    dialect: Dialect,
    parsed: &mut Parsed,
) -> Result<(), Vec<Diagnostic>> {
    let mut errors = Vec::new();
    for (id, file) in &folder.files {
        let retired = id.kind == Kind::Data && folder.retired.contains_key(&id.version);
        // One that was skipped may be wanted by its header after all.
        let pending = ledger
            .entries
            .get(id)
            .is_none_or(|entry| entry.state.is_pending() || was_skipped_by_environment(entry));
        if retired || !pending || parsed.contains_key(id) {
            continue;
        }
        match file.parse(dialect) {
            Ok(migration) => {
                parsed.insert(*id, migration);
            }
            Err(mut found) => errors.append(&mut found),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Something in the files or in the request is wrong.
    Diagnostics(Vec<Diagnostic>),
    /// Applied migrations were edited.
    Drift(Vec<Drift>),
}

/// How the statements of a migration are brought together with its ledger row.
pub(crate) fn mode_of(
    capabilities: &Capabilities,
    program: bool,
    no_transaction: bool,
    statements: &[Statement],
) -> Mode {
    if program {
        return Mode::Program;
    }
    if no_transaction {
        return Mode::Stepwise;
    }
    // Settings of the session belong to whatever follows them and are undone afterwards, so they
    // don't make a transaction of row changes impossible where definitions would.
    let in_transaction = |facts: &Facts| {
        facts.restart == Restart::Transactional || (facts.changes_session && facts.verb == "SET")
    };
    let together = capabilities.transactional_ddl
        || statements.iter().all(|statement| in_transaction(&statement.facts));
    if together { Mode::OneTransaction } else { Mode::Stepwise }
}
