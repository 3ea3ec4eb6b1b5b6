//! One statement of a file, and what is known about it before it runs.

use std::collections::BTreeSet;

use serde::Serialize;

/// One statement as it is sent to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// The text without its delimiter, and without white space or comments around it.
    pub text: String,
    /// The line of its first character in the file, from 1.
    pub line: usize,
    /// The column of its first character, from 1, in characters.
    pub column: usize,
    /// The data lines of a `COPY … FROM stdin`, with their line ends, without the closing `\.`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_data: Option<String>,
    /// What is known about it.
    pub facts: Facts,
}

impl Statement {
    /// Line and column in the file, from 1, of the character that comes after `offset` others.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before: Vec<char> = self.text.chars().take(offset).collect();
        let line_ends = before.iter().filter(|&&c| c == '\n').count();
        let since = before.iter().rev().take_while(|&&c| c != '\n').count();
        let column = if line_ends == 0 { self.column + since } else { since + 1 };
        (self.line + line_ends, column)
    }

    /// The text with the range of a chunk in each of its places. `predicate` gets the alias.
    #[must_use]
    pub fn with_chunk(&self, predicate: impl Fn(Option<&str>) -> String) -> String {
        let mut text = String::with_capacity(self.text.len() + 64);
        let mut from = 0;
        for place in &self.facts.chunk_places {
            text.push_str(self.text.get(from..place.start).unwrap_or_default());
            text.push('(');
            text.push_str(&predicate(place.alias.as_deref()));
            text.push(')');
            from = place.end;
        }
        text.push_str(self.text.get(from..).unwrap_or_default());
        text
    }

    /// The first line, shortened to a width, for one-line lists.
    #[must_use]
    pub fn summary(&self, width: usize) -> String {
        let mut words = String::new();
        for word in self.text.split_whitespace() {
            if words.chars().count() > width {
                break;
            }
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        if words.chars().count() <= width {
            return words;
        }
        let mut short: String = words.chars().take(width.saturating_sub(1)).collect();
        short.push('…');
        short
    }
}

/// What is known of a statement by reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The leading words, upper case: `CREATE INDEX`, `ALTER TABLE`, `UPDATE`.
    pub verb: String,
    /// Set where it controls transactions itself.
    pub control: Option<Control>,
    /// Why it cannot run inside a transaction block, if it cannot. A sentence without a full stop:
    /// "CREATE INDEX CONCURRENTLY cannot run inside a transaction".
    pub outside_transaction: Option<String>,
    /// What it drops, renames, retypes or truncates.
    pub destroys: Vec<Destruction>,
    /// The tables that it reads or changes, as written but folded to the server's case and
    /// without a default schema. `None`: it could not be parsed, so it may touch any.
    pub tables: Option<BTreeSet<String>>,
    /// How a death in the middle of it is settled when it runs as a step of its own.
    pub restart: Restart,
    /// What it leaves in a definition, by name; empty where that is not known.
    #[serde(skip)]
    pub traces: Vec<Trace>,
    /// The lock that it takes, where known: "ACCESS EXCLUSIVE on posts".
    pub lock: Option<String>,
    /// It changes settings of the session (SET, PRAGMA, USE), which must be reset afterwards.
    pub changes_session: bool,
    /// It does so by a function that is not known to be the server's own, and may change rows: a
    /// session that takes over must not run it once more.
    #[serde(skip)]
    pub may_act: bool,
    /// Where `:chunk` stands in it, in order.
    pub chunk_places: Vec<ChunkPlace>,
    /// The rows that it writes, where reading it tells.
    pub writes: Option<Write>,
}

/// A place in a statement where the range of a chunk goes: `:chunk`, or `:chunk(p)` for an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChunkPlace {
    /// Where it begins, in bytes of the statement's text.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// The alias (as written, quotes included) that the key's columns are qualified with.
    pub alias: Option<String>,
}

/// What a statement does to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// INSERT, REPLACE.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
}

/// The rows that a statement writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Write {
    /// How.
    pub verb: Verb,
    /// The table, folded as in [`Facts::tables`].
    pub table: String,
    /// For an UPDATE the columns that it assigns, folded; empty where they can't be told.
    pub columns: BTreeSet<String>,
}

impl Facts {
    /// Facts of a statement of which only the leading words are known.
    pub fn opaque(verb: impl Into<String>) -> Self {
        Self {
            verb: verb.into(),
            control: None,
            outside_transaction: None,
            destroys: Vec::new(),
            tables: None,
            restart: Restart::Transactional,
            traces: Vec::new(),
            lock: None,
            changes_session: false,
            may_act: false,
            chunk_places: Vec::new(),
            writes: None,
        }
    }
}

/// Transaction control in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT (not ROLLBACK TO).
    Rollback,
    /// SAVEPOINT, RELEASE, ROLLBACK TO, PREPARE TRANSACTION and the like.
    Other,
}

/// How something is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DestructionKind {
    /// DROP TABLE, DROP COLUMN, DROP SCHEMA …
    Drop,
    /// RENAME of a table or column.
    Rename,
    /// Another type for a column.
    Retype,
    /// TRUNCATE, or a DELETE without WHERE in a schema migration.
    Truncate,
}

impl DestructionKind {
    /// The verb for a sentence: "drops", "renames" …
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Drop => "drops",
            Self::Rename => "renames",
            Self::Retype => "retypes",
            Self::Truncate => "truncates",
        }
    }
}

/// Something that a statement takes away from data that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Destruction {
    /// How.
    pub kind: DestructionKind,
    /// What, for a person: `column posts.title`, `table posts`.
    pub object: String,
}

/// The kind of a thing whose definition can be read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A table with all its indexes, keys and partitions.
    Table,
    /// A view or materialised view.
    View,
    /// A function.
    Function,
    /// A procedure.
    Procedure,
    /// A trigger.
    Trigger,
    /// A scheduled event (MySQL).
    Event,
    /// A sequence.
    Sequence,
    /// A named index whose table is not written in the statement.
    Index,
    /// A type, with its enum's labels.
    Type,
    /// A whole database or schema.
    Database,
}

/// A thing whose definition, read before and after, tells whether a statement took effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ImageObject {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name as written in the statement, quotes and qualifier included.
    pub name: String,
}

/// The kind of a part of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceKind {
    /// A column.
    Column,
    /// An index, by its name.
    Index,
    /// An index without a name in the statement. PostgreSQL: what stands behind the table, as
    /// written; MySQL: its columns, with commas between them.
    IndexOn,
    /// The primary key; it has no name.
    PrimaryKey,
    /// A constraint, by its name.
    Constraint,
    /// A foreign key without a name in the statement, by its columns, with commas between them.
    ForeignKeyOn,
    /// A partition. PostgreSQL: the name as written.
    Partition,
    /// A label of an enum type, as written.
    Label,
    /// What a table has as a whole; it has no name.
    Options,
}

/// How a part of a definition is once a statement has taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It is there, and was not.
    There,
    /// It was there, and is not.
    Gone,
    /// It may be another than it was, or the same.
    Changed,
}

/// A part of a definition that tells whether a statement took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Its kind.
    pub kind: TraceKind,
    /// Its own name, folded as the server does, unless the kind says otherwise.
    pub name: String,
    /// How it is afterwards.
    pub after: After,
}

/// How the outcome of a statement is found out when its runner died in the middle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "class", rename_all = "lowercase")]
pub enum Restart {
    /// It commits together with its journal row: nothing to find out.
    Transactional,
    /// It is atomic on its own: it took effect exactly when these definitions differ from those in
    /// the journal in what it names ([`Facts::traces`]); others may change them too.
    ByImage {
        /// What to look at; never empty.
        objects: Vec<ImageObject>,
    },
    /// Running it again does no harm.
    Repeatable,
    /// It cannot be known; the run stops with the evidence.
    Unknowable {
        /// Why, for a person.
        reason: String,
    },
}
