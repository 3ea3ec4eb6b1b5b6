//! A mapping, as its file says it: `moves/NAME.toml`.

use std::path::PathBuf;

use super::{DeclaredType, FileOptions, TableName};

/// An expression with where it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// Its text: SQL over the old row.
    pub text: String,
    /// The line that it begins in, from 1.
    pub line: usize,
}

/// Something with the line that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// What.
    pub value: T,
    /// The line, from 1.
    pub line: usize,
}

/// How a move treats what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MoveMode {
    /// Writes what differs.
    #[default]
    Sync,
    /// Empties the tables that it owns and loads.
    Reload,
    /// Loads beside them, and applies the difference in one transaction.
    Swap,
}

impl MoveMode {
    /// As the mapping says it: `sync`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Reload => "reload",
            Self::Swap => "swap",
        }
    }
}

/// How an old key becomes a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdKind {
    /// It stays as it is.
    Keep,
    /// A UUID that follows from namespace, key and the move's secret.
    Derived,
    /// A number of the target's own, stored.
    Assigned,
    /// That of a row that is there, found by a natural key.
    Matched,
}

/// A namespace of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdSpec {
    /// Its name: `user`.
    pub name: String,
    /// How.
    pub kind: IdKind,
    /// `keep`: the target's own numbers go on this far above the highest.
    pub headroom: Option<u64>,
    /// `matched`: the target's table.
    pub table: Option<TableName>,
    /// `matched`: the target's columns that hold the natural key.
    pub by: Vec<String>,
    /// `matched`: what each of them is, over the old row of `from`. Empty: what the rule that makes
    /// these ids sets them to, or, where none does, the value of a reference's `of`.
    pub by_values: Vec<Expression>,
    /// `matched`: the old table whose rows are looked for, where no rule makes these ids.
    pub from: Option<Placed<String>>,
    /// Where it is said.
    pub line: usize,
}

/// What to do with a row that the application changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Changed {
    /// Leave it as it is.
    #[default]
    KeepTheirs,
    /// Write ours over it.
    Overwrite,
    /// End the run.
    Stop,
}

/// What to do with a row that the application deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deleted {
    /// It stays deleted.
    #[default]
    LeaveDeleted,
    /// Write it again.
    Restore,
    /// End the run.
    Stop,
}

/// What to do with a row that we wrote and that is gone from the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gone {
    /// Delete it.
    #[default]
    Delete,
    /// Keep it.
    Keep,
}

/// What happens where the new application is used meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conflicts {
    /// Rows that it changed.
    pub changed_there: Changed,
    /// Rows that it deleted.
    pub deleted_there: Deleted,
    /// Rows that are gone from the source.
    pub gone_here: Gone,
    /// Of a table's rows, how many hundredths may be deleted in one run. `None`: 10.
    pub max_deleted_percent: Option<u8>,
}

/// A value of another source table's row, found by its key, under a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// The name that expressions use.
    pub name: String,
    /// The source that is looked in, by the name that rules use.
    pub within: String,
    /// The columns of the old row that say which row; earlier look-ups among them.
    pub of: Vec<String>,
    /// The columns there that must be equal to them, in the same order. Empty: its key.
    pub by: Vec<String>,
    /// The column whose value is taken. `None`: the one that has the look-up's name.
    pub take: Option<String>,
    /// Where it is said.
    pub line: usize,
}

impl LookUp {
    /// The column whose value is taken.
    #[must_use]
    pub fn taken(&self) -> &str {
        self.take.as_deref().unwrap_or(&self.name)
    }
}

/// What is said about a source table once, for all rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpec {
    /// The name that rules use.
    pub name: String,
    /// The table or view, where it has another name.
    pub table: Option<TableName>,
    /// A query of the source's own SQL instead of a table.
    pub query: Option<Placed<String>>,
    /// Its key's columns, where the catalogue doesn't tell, or another is meant.
    pub key: Vec<String>,
    /// Columns that are known and not wanted.
    pub unused: Vec<Placed<String>>,
    /// Values of other sources' rows, in order; later ones may go by earlier ones.
    pub look_ups: Vec<LookUp>,
    /// Named expressions, in order; later ones may use earlier ones.
    pub lets: Vec<(String, Expression)>,
    /// Files: what their columns hold, where that isn't text.
    pub types: Vec<DeclaredType>,
    /// Files: how these are written, where that differs from the others.
    pub file: Option<Placed<FileOptions>>,
    /// Where it is said.
    pub line: usize,
}

impl SourceSpec {
    /// The table or view that it is; for a query, its name here.
    #[must_use]
    pub fn relation(&self) -> TableName {
        match (&self.query, &self.table) {
            (Some(_), _) => TableName::of(&self.name),
            (None, Some(table)) => table.clone(),
            (None, None) => TableName::parse(&self.name),
        }
    }

    /// A source of which nothing more is said than its name.
    #[must_use]
    pub fn of(name: &str, line: usize) -> Self {
        Self {
            name: name.to_owned(),
            table: None,
            query: None,
            key: Vec::new(),
            unused: Vec::new(),
            look_ups: Vec::new(),
            lets: Vec::new(),
            types: Vec::new(),
            file: None,
            line,
        }
    }
}

/// One row for each of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Each {
    /// Of a list: `who IN subscriptions`.
    Element {
        /// What an element is called.
        name: String,
        /// The list.
        list: Expression,
    },
    /// Of several sets of named values, each with the same names.
    Case(Vec<Vec<(String, Expression)>>),
}

/// What to do with rows of one key in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// They are errors.
    #[default]
    Refuse,
    /// The first by old key stays; the rest is counted.
    KeepTheFirst,
}

/// What to do where a row refers to one that isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// It is an error of that row.
    #[default]
    Error,
    /// NULL.
    Null,
    /// The row is left out, and counted.
    LeaveOut,
}

/// What to do where an expression fails on a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRowError {
    /// The row is rejected, and the run is not verified.
    #[default]
    Error,
    /// NULL, and counted.
    Null,
    /// The row is left out, and counted.
    LeaveOut,
}

/// A reference to a row that becomes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReference {
    /// The namespace.
    pub new: String,
    /// The old key.
    pub of: Expression,
    /// Only where this holds; NULL elsewhere.
    pub when: Option<Expression>,
    /// Where the row isn't there.
    pub missing: Missing,
}

/// What a column is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An expression over the old row, and over `new.column` of the new one.
    Expression {
        /// It.
        expression: Expression,
        /// Where it fails.
        on_error: OnRowError,
    },
    /// A new id.
    Reference(NewReference),
}

/// A column and what it is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The target's column.
    pub column: String,
    /// To what.
    pub value: Value,
    /// Where it is said.
    pub line: usize,
}

/// What goes into one target table from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name: `users` of `[into.users]`. The target table's name too, unless `table` says another.
    pub name: String,
    /// The target table.
    pub table: TableName,
    /// The source's name.
    pub from: Placed<String>,
    /// The namespace whose ids it makes. The id goes into the target's primary key.
    pub makes: Option<Placed<String>>,
    /// Which old rows; all without it.
    pub filter: Option<Expression>,
    /// Several rows of one.
    pub each: Option<Placed<Each>>,
    /// Old rows that share this are one new row, the lowest key's. NULL never merges.
    pub one_per: Option<Expression>,
    /// Rows of one key in the target.
    pub duplicates: Duplicates,
    /// The columns, in the order of the file.
    pub set: Vec<Setting>,
    /// Whether the target's triggers fire. `None`: they do.
    pub triggers: Option<bool>,
    /// Where it begins.
    pub line: usize,
}

/// Old rows that go nowhere, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveOut {
    /// The source's name.
    pub from: Placed<String>,
    /// Which of its rows; all without it.
    pub filter: Option<Expression>,
    /// Why.
    pub because: String,
    /// Where it is said.
    pub line: usize,
}

/// A whole mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its name: the file's.
    pub name: String,
    /// The file, relative to the project's root.
    pub file: PathBuf,
    /// The database in `dunlin.toml` that is read.
    pub source: Placed<String>,
    /// The one that is written.
    pub target: Placed<String>,
    /// How.
    pub mode: MoveMode,
    /// The zone of timestamps that carry none: `UTC`.
    pub time_zone: String,
    /// Goes into every derived id, beside the move's secret.
    pub id_key: Option<String>,
    /// Namespaces of ids.
    pub ids: Vec<IdSpec>,
    /// What happens where the application is used meanwhile.
    pub conflicts: Conflicts,
    /// How files are written, where the source is a folder of them.
    pub files: Option<Placed<FileOptions>>,
    /// What is said about sources; those that aren't mentioned are tables of their own name.
    pub sources: Vec<SourceSpec>,
    /// What goes where, in the order of the file.
    pub rules: Vec<Rule>,
    /// What goes nowhere.
    pub leave_out: Vec<LeaveOut>,
    /// The day on which it was finished and its ledger dropped: it runs no more.
    pub finished: Option<Placed<String>>,
}
