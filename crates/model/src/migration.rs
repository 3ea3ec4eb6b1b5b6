//! One authored, versioned file, read.

use std::path::PathBuf;

use serde::Serialize;

use crate::{Checksums, Chunking, Directives, MigrationId, Statement};

/// Up, or back down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Runs what the migration is for.
    Up,
    /// Undoes it.
    Down,
}

impl Direction {
    /// `up` or `down`, as the ledger stores it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A SQL file's statements, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Script {
    /// The file, relative to the project's root where it is below it.
    #[serde(serialize_with = "crate::diagnostic::shown_path")]
    pub file: PathBuf,
    /// The statements, without a BEGIN … COMMIT around all of them.
    pub statements: Vec<Statement>,
    /// The directives of this file's own header (a down file has its own).
    pub directives: Directives,
}

/// A data migration in another language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Program {
    /// The file, relative to the project's root where it is below it.
    #[serde(serialize_with = "crate::diagnostic::shown_path")]
    pub file: PathBuf,
    /// Program and arguments; never empty. It runs in the project's root.
    pub command: Vec<String>,
    /// What its header says.
    pub directives: Directives,
}

/// A chunked data migration whose rows go through a program: `[rows]` beside `[program]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowCode {
    /// The program and its directives; its chunking is always set.
    pub program: Program,
    /// The columns that the program gets beside the key, in order; empty: all of them.
    pub columns: Vec<String>,
    /// Rows are locked while the program has them, instead of being compared afterwards.
    pub lock: bool,
}

/// What a migration runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// SQL.
    Sql(Script),
    /// A program.
    Program(Program),
    /// A program that gets rows and gives rows, chunk by chunk.
    Rows(RowCode),
}

/// One migration, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// Version and kind.
    pub id: MigrationId,
    /// The file's name after the version, without its ending.
    pub name: String,
    /// What it runs.
    pub body: Body,
    /// How it is undone, if it can be; only read for a way back.
    pub down: Option<Script>,
    /// Of the up text.
    pub checksums: Checksums,
    /// The up text, for the ledger.
    pub text: String,
}

impl Migration {
    /// The directives of the up text.
    #[must_use]
    pub fn directives(&self) -> &Directives {
        match &self.body {
            Body::Sql(script) => &script.directives,
            Body::Program(program) => &program.directives,
            Body::Rows(rows) => &rows.program.directives,
        }
    }

    /// The file of the up text.
    #[must_use]
    pub fn file(&self) -> &PathBuf {
        match &self.body {
            Body::Sql(script) => &script.file,
            Body::Program(program) => &program.file,
            Body::Rows(rows) => &rows.program.file,
        }
    }

    /// The statements of the up text; none for a program.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        match &self.body {
            Body::Sql(script) => &script.statements,
            Body::Program(_) | Body::Rows(_) => &[],
        }
    }

    /// How it is chunked, if it is.
    #[must_use]
    pub fn chunking(&self) -> Option<&Chunking> {
        self.directives().chunking.as_deref()
    }
}
