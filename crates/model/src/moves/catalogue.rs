//! What a database looks like to a move.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::FileGuess;

/// What a column holds, whatever the database calls it. Each has one form in memory: see
/// `dunlin_engine::moves::arrow_type`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// True or false. MySQL: `tinyint(1)`. SQLite: declared `boolean`.
    Boolean,
    /// Whole numbers of 16 bits (and fewer).
    Int16,
    /// Of 32 bits.
    Int32,
    /// Of 64 bits. SQLite: every integer.
    Int64,
    /// Of 64 bits without a sign.
    UInt64,
    /// Binary floating point of 32 bits.
    Float32,
    /// Of 64 bits.
    Float64,
    /// A decimal of any precision, as its digits: `-12.50`, `NaN`. `scale`: digits after the point
    /// where the column fixes them.
    Numeric {
        /// Digits after the point, where the column fixes them.
        scale: Option<i16>,
    },
    /// Text. `padded`: PostgreSQL's `char(n)`, whose trailing blanks mean nothing.
    Text {
        /// Trailing blanks mean nothing.
        padded: bool,
    },
    /// Bytes.
    Bytes,
    /// A day. PostgreSQL's infinities are the largest and the smallest number of days.
    Date,
    /// A time of day in microseconds; 24:00 is one.
    Time,
    /// A day and a time without a zone, in microseconds; infinities as for days.
    Timestamp,
    /// An instant, in microseconds; infinities as for days.
    TimestampTz,
    /// 16 bytes; as text in a source, `8-4-4-4-12` digits.
    Uuid,
    /// JSON. `binary`: the database keeps its meaning and not its text (`jsonb`).
    Json {
        /// The database keeps its meaning and not its text.
        binary: bool,
    },
    /// Texts by name: PostgreSQL's `hstore`.
    Map,
    /// A list of one dimension.
    List(Box<Self>),
    /// One of these labels, as text.
    Enum(Vec<String>),
    /// Anything else, as the server's own text of it: `inet`, `interval`, ranges, shapes.
    Other,
}

/// The largest number that a column of whole numbers can hold and a database gives: they are signed.
/// `None`: it holds no whole numbers.
#[must_use]
pub fn largest_number(of: &ValueType) -> Option<i64> {
    match of {
        ValueType::Int16 => Some(i16::MAX.into()),
        ValueType::Int32 => Some(i32::MAX.into()),
        ValueType::Int64 | ValueType::UInt64 => Some(i64::MAX),
        _ => None,
    }
}

/// A table's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// PostgreSQL's schema, MySQL's database where it isn't the connection's; `None`: the default.
    pub schema: Option<String>,
    /// Its own name.
    pub name: String,
}

impl TableName {
    /// A table of the default schema.
    pub fn of(name: impl Into<String>) -> Self {
        Self { schema: None, name: name.into() }
    }

    /// `name`, or `schema.name`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once('.') {
            Some((schema, name)) => Self { schema: Some(schema.to_owned()), name: name.to_owned() },
            None => Self::of(text),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// How a database numbers a column, where nothing is given for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbering {
    /// It doesn't.
    #[default]
    None,
    /// By a counter, which can be set: an identity, a serial, `AUTO_INCREMENT`, SQLite's
    /// `AUTOINCREMENT`.
    Counter,
    /// Right above the largest number that is there: SQLite's rowid. Nothing can be set.
    LargestThere,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Field {
    /// Its name, as the database spells it.
    pub name: String,
    /// The database's own name of its type: `character varying(80)`.
    pub type_name: String,
    /// What it holds.
    pub value_type: ValueType,
    /// It may be NULL.
    pub nullable: bool,
    /// Something stands in it where nothing is given: a default, an identity.
    pub has_default: bool,
    /// Whether, and how, the database numbers it itself.
    pub numbering: Numbering,
    /// It is computed and can't be written.
    pub generated: bool,
    /// At most so many characters (`varchar(n)`), where that is limited.
    pub max_chars: Option<u32>,
    /// What it takes of the values' texts, where that is known and `value_type` doesn't say it. Of a
    /// list: of its items.
    #[serde(skip)]
    pub limit: Option<Limit>,
}

/// What a column's type takes of the texts that its values come as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Numbers between ten to this power and its negative: `numeric(8,1)` is below 10^7.
    Below(i16),
    /// Addresses, perhaps with their network: PostgreSQL's `inet`.
    Inet,
    /// Networks: PostgreSQL's `cidr`.
    Cidr,
    /// PostgreSQL's `macaddr`.
    MacAddress,
    /// PostgreSQL's `macaddr8`.
    MacAddress8,
    /// Exactly so many bits: PostgreSQL's `bit(n)`. `None`: as many as there are.
    Bits(Option<u32>),
    /// At most so many: PostgreSQL's `bit varying(n)`.
    BitsUpTo(Option<u32>),
}

impl Field {
    /// The database numbers it itself.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        self.numbering != Numbering::None
    }
}

/// A foreign key of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForeignKey {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// The columns that refer.
    pub columns: Vec<String>,
    /// To which table.
    pub to: TableName,
    /// To which of its columns, in the same order.
    pub to_columns: Vec<String>,
    /// What deleting the row referred to does: `NO ACTION`, `RESTRICT`, `CASCADE`, `SET NULL`,
    /// `SET DEFAULT`.
    pub on_delete: String,
}

/// A table or view, or a query's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Relation {
    /// Its name; for a query, the name that the mapping gives it.
    pub name: TableName,
    /// The query, where it is one.
    pub query: Option<String>,
    /// Its columns, in order.
    pub fields: Vec<Field>,
    /// The primary key's columns, else those of the best unique index over NOT NULL columns. Empty:
    /// it has none.
    pub key: Vec<String>,
    /// The columns of every unique index or constraint, the key's included; those over expressions
    /// or parts of the rows are left out.
    pub unique: Vec<Vec<String>>,
    /// The columns that each other unique index reads: over an expression, over some of the rows, over
    /// the first letters of a text. What stands in them may be in another row's way, and is not
    /// unique by itself.
    pub unique_in_part: Vec<Vec<String>>,
    /// What it refers to.
    pub foreign_keys: Vec<ForeignKey>,
    /// About how many rows it has, by the database's statistics.
    pub row_count_estimate: Option<u64>,
    /// It can be written: it is a table.
    pub is_table: bool,
}

impl Relation {
    /// A query's result, under the name that the mapping gives it.
    #[must_use]
    pub fn of_query(name: TableName, query: &str, fields: Vec<Field>, key: Vec<String>) -> Self {
        Self {
            name,
            query: Some(query.to_owned()),
            fields,
            key,
            unique: Vec::new(),
            unique_in_part: Vec::new(),
            foreign_keys: Vec::new(),
            row_count_estimate: None,
            is_table: false,
        }
    }

    /// The column of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// All tables and views of a database that its login sees on its search path, or named with their
/// schema.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Catalogue {
    /// By name, sorted. Ours are left out.
    pub relations: Vec<Relation>,
    /// Files: what those seem to be of which no mapping says anything. `None`: it is a database.
    pub files: Option<Vec<FileGuess>>,
    /// No decimal has more digits after the point than its column's type says. Not so in SQLite.
    pub scales_hold: bool,
}

impl Catalogue {
    /// The relation of that name. A name with a dot is a table's whole name, where there is such a
    /// table, before it is a schema's and a table's.
    #[must_use]
    pub fn relation(&self, name: &TableName) -> Option<&Relation> {
        let whole = name.schema.is_some().then(|| TableName::of(name.to_string()));
        let find = |name: &TableName| self.relations.iter().find(|one| one.name == *name);
        whole.as_ref().and_then(find).or_else(|| find(name))
    }
}
