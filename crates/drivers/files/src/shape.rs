//! What a table's columns are called and hold.

use dunlin_engine::moves::UnreadRecords;
use dunlin_model::moves::{DeclaredType, Field, FileOptions, FileType, Numbering, ValueType};

use crate::folder::TableFiles;

/// A column of the number of a record's line, where a key names it and the files have none.
pub(crate) const LINE: &str = "line";

/// A column of the file's name, in the same way.
pub(crate) const FILE: &str = "file";

/// A table's files, with what the mapping says of them.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) files: TableFiles,
    pub(crate) options: FileOptions,
    pub(crate) types: Vec<DeclaredType>,
    pub(crate) key: Vec<String>,
    /// What an earlier run took columns to hold that nobody declared.
    pub(crate) remembered: Vec<(String, String)>,
    /// A rule, a reason to leave rows out, or a look-up reads it.
    pub(crate) is_read: bool,
}

impl Table {
    /// The first file, as people see it.
    pub(crate) fn shown(&self) -> &str {
        self.files.files.first().map_or("", |file| &file.shown)
    }

    /// What a column held in an earlier run, where nobody declares it.
    pub(crate) fn remembered(&self, name: &str) -> Option<Holds> {
        let (_, holds) = self.remembered.iter().find(|(column, _)| column == name)?;
        Holds::guessed(holds)
    }

    /// The type that the mapping gives a column.
    pub(crate) fn declared(&self, name: &str) -> Option<&FileType> {
        self.types.iter().find(|one| one.column == name).map(|one| &one.file_type)
    }
}

/// What a column of a text format holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Holds {
    One(FileType),
    /// JSON's lists.
    Many(FileType),
}

impl Holds {
    /// For people, and to be remembered.
    fn told(&self) -> String {
        match self {
            Self::One(of) => of.word().to_owned(),
            Self::Many(of) => format!("list of {}", of.word()),
        }
    }

    /// What `told` says of one that was guessed.
    fn guessed(told: &str) -> Option<Self> {
        let all =
            [FileType::Text, FileType::Int64, FileType::Decimal, FileType::Boolean, FileType::Json];
        let many = told.strip_prefix("list of ");
        let of = all.into_iter().find(|of| of.word() == many.unwrap_or(told))?;
        Some(if many.is_some() { Self::Many(of) } else { Self::One(of) })
    }
}

/// A column of a text format.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) holds: Holds,
    pub(crate) origin: Origin,
}

/// Who says what a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The mapping.
    Declared,
    /// Its records, those of this run or of an earlier one.
    Guessed,
    /// Nobody: it is text, for as long as nobody does.
    Unknown,
}

impl Column {
    /// A column whose type is the mapping's, else text.
    pub(crate) fn of(table: &Table, name: &str) -> Self {
        let declared = table.declared(name);
        let holds = Holds::One(declared.cloned().unwrap_or(FileType::Text));
        let origin = if declared.is_some() { Origin::Declared } else { Origin::Unknown };
        Self { name: name.to_owned(), holds, origin }
    }

    pub(crate) fn value_type(&self) -> ValueType {
        match &self.holds {
            Holds::One(of) => of.value_type(),
            Holds::Many(of) => ValueType::List(Box::new(of.value_type())),
        }
    }

    fn type_name(&self) -> String {
        self.holds.told()
    }
}

/// What a table looks like.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Of the text formats; empty for Parquet.
    pub(crate) columns: Vec<Column>,
    /// All columns: the files' own, and then those that number rows.
    pub(crate) fields: Vec<Field>,
    /// Of the own ones, those that nobody declared and of which records tell what they hold, with that.
    pub(crate) guessed: Vec<(String, String)>,
    /// How many of them are the files' own.
    pub(crate) own: usize,
    /// About how many rows.
    pub(crate) rows: Option<u64>,
}

impl Shape {
    /// That of a file that nobody reads.
    pub(crate) fn nothing() -> Self {
        Self { columns: Vec::new(), fields: Vec::new(), guessed: Vec::new(), own: 0, rows: None }
    }

    pub(crate) fn of_texts(table: &Table, columns: Vec<Column>, rows: Option<u64>) -> Self {
        let fields =
            columns.iter().map(|one| field(&one.name, one.type_name(), one.value_type())).collect();
        let guessed = columns.iter().filter(|one| one.origin == Origin::Guessed);
        let guessed = guessed.map(|one| (one.name.clone(), one.holds.told())).collect();
        Self { columns, guessed, ..Self::of_fields(table, fields, rows) }
    }

    pub(crate) fn of_fields(table: &Table, mut fields: Vec<Field>, rows: Option<u64>) -> Self {
        let own = fields.len();
        for (name, of) in [(FILE, ValueType::Text { padded: false }), (LINE, ValueType::Int64)] {
            let is_key = table.key.iter().any(|key| key == name);
            if is_key && fields.iter().all(|field| field.name != name) {
                let what = if name == LINE { "the record's line" } else { "the file's name" };
                fields.push(field(name, what.to_owned(), of));
            }
        }
        for field in &mut fields {
            field.nullable = !table.key.contains(&field.name);
        }
        Self { columns: Vec::new(), fields, guessed: Vec::new(), own, rows }
    }
}

/// A column of a file.
pub(crate) fn field(name: &str, type_name: String, value_type: ValueType) -> Field {
    Field {
        name: name.to_owned(),
        type_name,
        value_type,
        nullable: true,
        has_default: false,
        numbering: Numbering::None,
        generated: false,
        max_chars: None,
        limit: None,
    }
}

/// Records that are listed one by one; the rest is counted.
const UNREAD_LISTED_MAX: usize = 100_000;

/// Counts a record that is no row.
pub(crate) fn note(unread: &mut UnreadRecords, place: String, reason: String) {
    unread.count += 1;
    if unread.first.len() < UNREAD_LISTED_MAX {
        unread.first.push(dunlin_engine::moves::Unread { place, reason });
    }
}
