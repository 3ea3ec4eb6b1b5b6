//! The history that another schema migrator keeps, as far as we read it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A schema migrator whose history we can read. We never write one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HistoryTool {
    /// Rails (Active Record).
    Rails,
    /// Ecto.
    Ecto,
    /// Django.
    Django,
    /// sqlx.
    Sqlx,
    /// Diesel.
    Diesel,
    /// Flyway.
    Flyway,
    /// golang-migrate.
    GolangMigrate,
    /// goose.
    Goose,
    /// dbmate.
    Dbmate,
    /// refinery.
    Refinery,
    /// tern.
    Tern,
    /// node-pg-migrate.
    NodePgMigrate,
    /// SeaORM.
    SeaOrm,
    /// Alembic.
    Alembic,
    /// Atlas.
    Atlas,
    /// Prisma.
    Prisma,
}

impl HistoryTool {
    /// Every tool, in the order of the documentation.
    pub const ALL: [Self; 16] = [
        Self::Rails,
        Self::Ecto,
        Self::Django,
        Self::Sqlx,
        Self::Diesel,
        Self::Flyway,
        Self::GolangMigrate,
        Self::Goose,
        Self::Dbmate,
        Self::Refinery,
        Self::Tern,
        Self::NodePgMigrate,
        Self::SeaOrm,
        Self::Alembic,
        Self::Atlas,
        Self::Prisma,
    ];

    /// As it is written after `schema_history =`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rails => "rails",
            Self::Ecto => "ecto",
            Self::Django => "django",
            Self::Sqlx => "sqlx",
            Self::Diesel => "diesel",
            Self::Flyway => "flyway",
            Self::GolangMigrate => "golang-migrate",
            Self::Goose => "goose",
            Self::Dbmate => "dbmate",
            Self::Refinery => "refinery",
            Self::Tern => "tern",
            Self::NodePgMigrate => "node-pg-migrate",
            Self::SeaOrm => "sea-orm",
            Self::Alembic => "alembic",
            Self::Atlas => "atlas",
            Self::Prisma => "prisma",
        }
    }
}

impl fmt::Display for HistoryTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One migration in another tool's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForeignEntry {
    /// How that tool names it: `20260110093000`, `blog.0003_split_names`, `ae1027a6acf`.
    pub version: String,
    /// A description, where the tool keeps one.
    pub name: Option<String>,
    /// Whether it is applied; `false` for one that is dirty, failed or undone.
    pub applied: bool,
    /// When, as the server's text, where the tool keeps it.
    pub at: Option<String>,
}

impl ForeignEntry {
    /// Numbers are compared as numbers.
    fn is_of(&self, version: &str) -> bool {
        let number = version.parse::<i64>().ok();
        self.version == version || (number.is_some() && self.version.parse::<i64>().ok() == number)
    }
}

/// Another tool's history in one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForeignHistory {
    /// Whose.
    pub tool: HistoryTool,
    /// Its table, as found.
    pub table: String,
    /// Its entries, in its order.
    pub entries: Vec<ForeignEntry>,
    /// For tools that keep one number (golang-migrate, tern), and for a baseline (Flyway, Atlas):
    /// every numeric version up to it is applied. For tools with a graph (Alembic): the entries are its heads, and an ancestor of a
    /// head cannot be told from the table alone.
    pub applied_up_to: Option<i64>,
    /// Set where the tool says that a migration stopped half-way.
    pub dirty: bool,
}

impl ForeignHistory {
    /// Whether a version, as that tool names it, is applied. Numbers are compared as numbers, so
    /// leading zeros do not count.
    #[must_use]
    pub fn is_applied(&self, version: &str) -> bool {
        let number = version.parse::<i64>().ok();
        // Above the limit an entry of its own may still say so: what came after a baseline.
        if let (Some(number), Some(limit)) = (number, self.applied_up_to)
            && number <= limit
        {
            return !self.dirty;
        }
        self.entries.iter().any(|entry| entry.applied && entry.is_of(version))
    }

    /// Whether a version may have taken effect, or a part of it, without being applied: the tool
    /// stopped half-way, at this version or, where it keeps one number, at it or above it.
    #[must_use]
    pub fn may_be_half_way(&self, version: &str) -> bool {
        let number = version.parse::<i64>().ok();
        let below = number.zip(self.applied_up_to).is_some_and(|(number, limit)| number <= limit);
        // golang-migrate notes the version that it goes to, so that on its way down the one that is
        // half undone is the next above. Which one that is only its files tell.
        let any = self.tool == HistoryTool::GolangMigrate;
        self.dirty
            && !self.is_applied(version)
            && (any
                || below
                || self.entries.iter().any(|entry| !entry.applied && entry.is_of(version)))
    }

    /// The versions that are not whole where the tool stopped half-way, as it names them.
    #[must_use]
    pub fn half_way(&self) -> Vec<&str> {
        let left = self.entries.iter().filter(|entry| self.dirty && !entry.applied);
        left.map(|entry| entry.version.as_str()).collect()
    }
}

/// A table that exists, with its columns, for recognising another tool's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableShape {
    /// As it can be put into [`TableQuery::table`]; quoted and qualified as the server needs it.
    pub table: String,
    /// Its bare name.
    pub name: String,
    /// Column names and their types in the server's words, lower case, in order.
    pub columns: Vec<(String, String)>,
}

/// Rows of another tool's table, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableQuery {
    /// From [`TableShape::table`].
    pub table: String,
    /// Bare column names.
    pub columns: Vec<String>,
    /// Bare column names to order by, ascending.
    pub order_by: Vec<String>,
}
