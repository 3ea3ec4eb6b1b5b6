//! What a chunker must know of a table, as its server's catalogue tells.

use serde::Serialize;

use super::Affinity;
use crate::Verb;

/// What kind of thing a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableKind {
    /// A table with rows of its own.
    Table,
    /// A partitioned table: its rows are in its partitions, walked in one order of keys.
    Partitioned,
    /// A view or materialised view.
    View,
    /// Anything else: a foreign table, a virtual table.
    Other,
}

/// How a column's values travel as text, and what they become in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueForm {
    /// A whole number that every JSON reader keeps (at most 4 bytes): a JSON number.
    Integer,
    /// A floating point number: a JSON number, or a string where it is not finite.
    Float,
    /// `true` or `false`: a JSON boolean.
    Boolean,
    /// Bytes. As text: lower-case hexadecimal, two digits a byte. In JSON: a string of base64.
    Bytes,
    /// Everything else, in the server's own text: a JSON string. So whole numbers of 8 bytes and
    /// decimals keep their value in every reader.
    Text,
    /// The column may hold values of any class. Its own travel as [`ValueForm::plain`] says; others
    /// are [`super::Tagged`], in JSON an object that says the class.
    Loose(Affinity),
}

impl ValueForm {
    /// The form of the column's own values.
    #[must_use]
    pub fn plain(self) -> Self {
        match self {
            Self::Loose(Affinity::Real) => Self::Float,
            Self::Loose(Affinity::Blob) => Self::Bytes,
            Self::Loose(Affinity::Text | Affinity::Numeric | Affinity::None) => Self::Text,
            strict => strict,
        }
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name, unquoted.
    pub name: String,
    /// Its type in the server's words.
    pub type_name: String,
    /// How its values travel.
    pub form: ValueForm,
    /// It may be NULL.
    pub nullable: bool,
    /// It can't be written: a generated column, an identity that is always generated.
    pub generated: bool,
    /// It is such an identity: an INSERT that says so may give it its value all the same.
    pub identity: bool,
}

/// One column of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexColumn {
    /// Its name, unquoted; `None` for an expression.
    pub name: Option<String>,
    /// High to low.
    pub descending: bool,
    /// Only the beginning of the value is in the index (MySQL's prefixes).
    pub prefix: bool,
}

/// One index, in the server's order: the primary key first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Index {
    /// Its name; for a table's own rowid `rowid`.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<IndexColumn>,
    /// No two rows share its columns' values (NULLs aside).
    pub unique: bool,
    /// It is the primary key.
    pub primary: bool,
    /// Not usable to walk the whole table in order: partial, invalid, invisible, of a kind without
    /// order (hash), or with a unique check that is deferred.
    pub unusable: Option<String>,
}

/// One table, as the server's catalogue tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its qualified name, quoted as the server needs it.
    pub name: String,
    /// What it is.
    pub kind: TableKind,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Its indexes.
    pub indexes: Vec<Index>,
    /// About how many rows it has, if the server keeps such a number.
    pub row_count_estimate: Option<u64>,
    /// About how many bytes a row takes on disk, indexes aside, if the server knows.
    pub row_bytes_estimate: Option<u64>,
    /// Writes to it can be rolled back.
    pub transactional: bool,
    /// Rows of it may be hidden from this login (row security): what can't be seen would be left
    /// out in silence.
    pub hides_rows: bool,
    /// Columns whose values the server makes itself when a row is updated, each with the expression
    /// that it makes them from; empty: of anything, at any update.
    pub computed: Vec<(String, String)>,
    /// The tree of partitions, or of tables that inherit from each other, that it is in: the same for
    /// all tables of one tree. Each of them may hold another one's rows.
    pub family: Option<String>,
    /// The column that gets a number from the database in new rows, if one does and its numbers
    /// ascend, and the least that the next of them can be.
    pub next_number: Option<(String, i64)>,
    /// A hash of columns, types and keys: another one means that the table's shape changed.
    pub shape: String,
}

impl Table {
    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether an index is only the number that the database itself has given to each row, no
    /// column of the table's: it may give other numbers, as SQLite's VACUUM does.
    #[must_use]
    pub fn is_row_number(&self, index: &Index) -> bool {
        let [part] = index.columns.as_slice() else { return false };
        let Some(name) = &part.name else { return false };
        index.name == ROWID
            && !index.primary
            && self.column(name).is_none_or(|column| column.generated)
    }
}

/// The name of an index that is a table's own row number.
const ROWID: &str = "rowid";

/// Something that the database does by itself where rows of a table change: a trigger, a rule, a
/// foreign key of another table that takes rows along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// What it is, for people: `trigger audit`, `foreign key comments_post_fkey of blog.comments (ON
    /// DELETE CASCADE)`.
    pub what: String,
    /// What brings it about.
    pub on: Vec<Verb>,
    /// An UPDATE does only where it assigns one of these; empty: any UPDATE.
    pub columns: Vec<String>,
    /// Its text, in the server's language for such, where that may show that it does nothing but
    /// set columns of the row that is changed.
    pub body: Option<String>,
    /// Rows of another table that it takes along, where that is all that it does.
    pub takes: Option<Takes>,
}

/// What a foreign key does to the rows that refer to a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Takes {
    /// Their table, qualified and quoted as the server needs it.
    pub table: String,
    /// Whether they are deleted or updated.
    pub verb: Verb,
    /// The key's columns, each with the one that it refers to.
    pub columns: Vec<(String, String)>,
}

/// How the server would reach rows, as its EXPLAIN tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Access {
    /// What was explained: `the walk`, `statement 1`.
    pub what: String,
    /// The index that is used for the range of keys, if one is.
    pub index: Option<String>,
    /// The server would sort rows, or read rows outside the range: refused unless the table is
    /// small.
    pub complaint: Option<String>,
}
