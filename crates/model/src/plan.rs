//! The plan: what will run, what will not, and why.

use std::path::PathBuf;

use serde::Serialize;

use crate::{Diagnostic, Direction, Migration, MigrationId, Reference, Statement};

/// How a step's statements and its ledger row are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// All statements and the ledger row in one transaction.
    OneTransaction,
    /// Statement by statement, journalled before and after.
    Stepwise,
    /// A program, journalled before and after.
    Program,
    /// Chunk by chunk, each with its checkpoint in one transaction.
    Chunked,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// Runs the migration.
    Up,
    /// Undoes it, and makes these data migrations pending again.
    Down {
        /// Data migrations that came after it.
        resets: Vec<MigrationId>,
    },
    /// Records it as skipped.
    Skip {
        /// Why: "only for production and staging".
        reason: String,
    },
}

/// One step of a plan: one migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStep {
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
    /// The migration itself.
    pub migration: Migration,
    /// How.
    pub mode: Mode,
    /// The pass that this run makes, from 1.
    pub pass: u32,
    /// For a stepwise migration whose earlier attempt stopped: statements before this one are
    /// known to have taken effect.
    pub resume_at: u32,
}

impl PlannedStep {
    /// Up or down; a skip counts as up.
    #[must_use]
    pub fn direction(&self) -> Direction {
        match self.action {
            Action::Down { .. } => Direction::Down,
            Action::Up | Action::Skip { .. } => Direction::Up,
        }
    }

    /// The statements that it runs, in order.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        match (&self.action, &self.migration.down) {
            (Action::Up, _) => self.migration.statements(),
            (Action::Down { .. }, Some(down)) => &down.statements,
            (Action::Down { .. }, None) | (Action::Skip { .. }, _) => &[],
        }
    }

    /// The file that it runs.
    #[must_use]
    pub fn file(&self) -> &PathBuf {
        match (&self.action, &self.migration.down) {
            (Action::Down { .. }, Some(down)) => &down.file,
            _ => self.migration.file(),
        }
    }
}

/// What a migration waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum WaitsFor {
    /// A data migration that is not done, because this one destroys something.
    DataBeforeDestruction {
        /// The data migration.
        data: MigrationId,
        /// What is destroyed: "drops column posts.title".
        what: String,
        /// A person skipped it, which opens no gate.
        skipped_by_person: bool,
    },
    /// A data migration that a `requires` names.
    Required {
        /// The data migration as written.
        data: Reference,
        /// A person skipped it, which opens no gate.
        skipped_by_person: bool,
    },
    /// Something that an `after` names and that is not applied.
    After {
        /// As written.
        reference: Reference,
    },
    /// A lower migration is held and touches the same table.
    SameTable {
        /// The held migration.
        held: MigrationId,
        /// The table.
        table: String,
    },
    /// A lower migration is held, and this one can't be parsed, so it may touch the same table.
    Unparsed {
        /// The held migration.
        held: MigrationId,
    },
    /// Its header names environments, and none is set here.
    Environment {
        /// Those that it names.
        names: Vec<String>,
    },
    /// Lower schema migrations are pending, and this data migration has no `after`.
    PendingSchema {
        /// The first of them.
        schema: MigrationId,
    },
}

/// A migration that is passed over until its gate opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Which.
    pub id: MigrationId,
    /// Its name.
    pub name: String,
    /// For what; never empty.
    pub waits_for: Vec<WaitsFor>,
}

/// Why a pending migration is not part of the plan although nothing holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Deferral {
    /// Data migrations run only when asked for here (`data = "manual"`).
    DataManual,
    /// Its header says `manual`.
    ByName,
    /// Its header says `background`: `data run --background` runs it.
    Background,
    /// Its header says `disabled`.
    Disabled {
        /// The reason given.
        reason: String,
    },
    /// Beyond `--to`, `--step` or the versions that were named.
    OutOfScope,
}

/// A pending migration that this plan leaves alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deferred {
    /// Which.
    pub id: MigrationId,
    /// Its name.
    pub name: String,
    /// Why.
    #[serde(flatten)]
    pub why: Deferral,
}

/// Ordered steps for one database. What is printed is what is executed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// What runs, in order.
    pub steps: Vec<PlannedStep>,
    /// What waits for something.
    pub held: Vec<Held>,
    /// What is pending and left alone.
    pub deferred: Vec<Deferred>,
    /// Notices, such as a late-merged file.
    pub notices: Vec<Diagnostic>,
}

impl Plan {
    /// Whether nothing is pending at all: nothing to run, nothing held, nothing deferred.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        self.steps.is_empty() && self.held.is_empty() && self.deferred.is_empty()
    }
}
