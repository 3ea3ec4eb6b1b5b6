//! Versions, kinds and the one order in which migrations run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A migration's version: a whole number from 0 that fits a signed 64-bit integer.
///
/// New ones are UTC timestamps (`20260110093000`); leading zeros carry no meaning, so `0007` and
/// `7` are one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(i64);

impl Version {
    /// The lowest there may be.
    pub const ZERO: Self = Self(0);

    /// The version of that number, or `None` for a negative one.
    #[must_use]
    pub fn new(number: i64) -> Option<Self> {
        (number >= 0).then_some(Self(number))
    }

    /// The number itself, never negative.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseVersionError {
    /// Something else than the digits 0 to 9, or nothing.
    #[error("`{0}` is not a version: a version is a whole number such as 20260110093000")]
    NotDigits(String),
    /// More than 9223372036854775807.
    #[error("version {0} is too large: the largest is 9223372036854775807")]
    TooLarge(String),
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseVersionError::NotDigits(text.to_owned()));
        }
        text.parse().map(Self).map_err(|_| ParseVersionError::TooLarge(text.to_owned()))
    }
}

/// What a migration changes: the schema, or the data in it.
///
/// The order matters: at one version the schema migration runs before the data migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Changes tables, indexes and other definitions.
    Schema,
    /// Changes rows, or something outside the database.
    Data,
}

impl Kind {
    /// `schema` or `data`, as the ledger stores it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Data => "data",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "schema" => Ok(Self::Schema),
            "data" => Ok(Self::Data),
            other => Err(format!("`{other}` is neither `schema` nor `data`")),
        }
    }
}

/// One migration of a database: its version and kind, in the order in which migrations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MigrationId {
    /// The place in the order.
    pub version: Version,
    /// Schema before data at one version.
    pub kind: Kind,
}

impl MigrationId {
    /// The schema migration of a version.
    #[must_use]
    pub fn schema(version: Version) -> Self {
        Self { version, kind: Kind::Schema }
    }

    /// The data migration of a version.
    #[must_use]
    pub fn data(version: Version) -> Self {
        Self { version, kind: Kind::Data }
    }
}

impl fmt::Display for MigrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.version)
    }
}

/// What a directive points at: a version of ours, or an entry of another tool's history
/// (`blog.0003_split_names` of Django, `ae1027a6acf` of Alembic).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// Set by `data V` or `schema V`; `None` where only a version was written.
    pub kind: Option<Kind>,
    /// As written.
    pub text: String,
}

impl Reference {
    /// The version that was written, if it is one of ours by its form.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.text.parse().ok()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "{kind} {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}
