//! How files are read as tables, as a mapping says it.

use serde::{Deserialize, Serialize};

use super::{TableName, ValueType};

/// How the files of a source are written. What isn't said is `None`, and stands in the reader.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct FileOptions {
    /// The encoding of text files, by its name in [`ENCODINGS`]. A byte order mark comes first.
    pub encoding: Option<String>,
    /// CSV: what stands between two fields: one ASCII character.
    pub delimiter: Option<u8>,
    /// CSV: what stands around a field: one ASCII character; `Some(None)`: nothing does.
    pub quote: Option<Option<u8>>,
    /// CSV: lines at the beginning that are no part of the table.
    pub skip: Option<u32>,
    /// CSV: the columns' names, of a file without a header.
    pub names: Option<Vec<String>>,
    /// CSV: fields without quotes that mean NULL.
    pub null: Option<Vec<String>>,
    /// CSV and NDJSON: a comma stands before the fraction of a number.
    pub decimal_comma: Option<bool>,
}

impl FileOptions {
    /// These, and what they don't say as `other` says it.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            encoding: self.encoding.clone().or_else(|| other.encoding.clone()),
            delimiter: self.delimiter.or(other.delimiter),
            quote: self.quote.or(other.quote),
            skip: self.skip.or(other.skip),
            names: self.names.clone().or_else(|| other.names.clone()),
            null: self.null.clone().or_else(|| other.null.clone()),
            decimal_comma: self.decimal_comma.or(other.decimal_comma),
        }
    }
}

/// The encodings of text files, by the names that people use for them.
pub const ENCODINGS: &[&str] = &[
    "utf-8",
    "utf-16",
    "utf-16le",
    "utf-16be",
    "latin1",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-3",
    "iso-8859-4",
    "iso-8859-5",
    "iso-8859-6",
    "iso-8859-7",
    "iso-8859-8",
    "iso-8859-10",
    "iso-8859-13",
    "iso-8859-14",
    "iso-8859-15",
    "iso-8859-16",
    "koi8-r",
    "koi8-u",
    "macintosh",
    "ibm866",
    "windows-874",
    "gbk",
    "gb18030",
    "big5",
    "euc-jp",
    "shift_jis",
    "euc-kr",
];

/// What a column of texts holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileType {
    /// Text as it stands.
    Text,
    /// True or false: `true`, `t`, `yes`, `y`, `1` and their opposites, in any case.
    Boolean,
    /// Whole numbers of 16 bits.
    Int16,
    /// Of 32 bits.
    Int32,
    /// Of 64 bits.
    Int64,
    /// Of 64 bits without a sign.
    UInt64,
    /// Binary floating point of 64 bits.
    Float64,
    /// A decimal of any precision.
    Decimal,
    /// A day: `2026-01-31`, or as the format says.
    Date(Option<String>),
    /// A time of day: `23:59:59.5`.
    Time(Option<String>),
    /// A day and a time without a zone: `2026-01-31 23:59:59`.
    Timestamp(Option<String>),
    /// An instant: the same with an offset from UTC, or `Z`.
    TimestampTz(Option<String>),
    /// A UUID.
    Uuid,
    /// JSON.
    Json,
    /// Bytes as hexadecimal digits, with or without `\x` or `0x` before them.
    Hex,
    /// Bytes as base64.
    Base64,
}

/// The words for types, with what they stand for where no format follows.
pub const FILE_TYPES: &[(&str, FileType)] = &[
    ("text", FileType::Text),
    ("bool", FileType::Boolean),
    ("int16", FileType::Int16),
    ("int32", FileType::Int32),
    ("int64", FileType::Int64),
    ("uint64", FileType::UInt64),
    ("float64", FileType::Float64),
    ("decimal", FileType::Decimal),
    ("date", FileType::Date(None)),
    ("time", FileType::Time(None)),
    ("timestamp", FileType::Timestamp(None)),
    ("timestamptz", FileType::TimestampTz(None)),
    ("uuid", FileType::Uuid),
    ("json", FileType::Json),
    ("hex", FileType::Hex),
    ("base64", FileType::Base64),
];

impl FileType {
    /// What such a column holds.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Text => ValueType::Text { padded: false },
            Self::Boolean => ValueType::Boolean,
            Self::Int16 => ValueType::Int16,
            Self::Int32 => ValueType::Int32,
            Self::Int64 => ValueType::Int64,
            Self::UInt64 => ValueType::UInt64,
            Self::Float64 => ValueType::Float64,
            Self::Decimal => ValueType::Numeric { scale: None },
            Self::Date(_) => ValueType::Date,
            Self::Time(_) => ValueType::Time,
            Self::Timestamp(_) => ValueType::Timestamp,
            Self::TimestampTz(_) => ValueType::TimestampTz,
            Self::Uuid => ValueType::Uuid,
            Self::Json => ValueType::Json { binary: false },
            Self::Hex | Self::Base64 => ValueType::Bytes,
        }
    }

    /// The same with a format, where the type takes one.
    #[must_use]
    pub fn with_format(&self, format: &str) -> Option<Self> {
        let format = Some(format.to_owned());
        match self {
            Self::Date(_) => Some(Self::Date(format)),
            Self::Time(_) => Some(Self::Time(format)),
            Self::Timestamp(_) => Some(Self::Timestamp(format)),
            Self::TimestampTz(_) => Some(Self::TimestampTz(format)),
            _ => None,
        }
    }

    /// Its word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        let same = |other: &Self| std::mem::discriminant(self) == std::mem::discriminant(other);
        FILE_TYPES.iter().find(|(_, one)| same(one)).map_or("text", |(word, _)| word)
    }
}

/// The type that a mapping gives a file's column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeclaredType {
    /// The column.
    pub column: String,
    /// What it holds.
    pub file_type: FileType,
    /// Where it is said.
    pub line: usize,
}

/// What a file seems to be, by its first rows: a beginning for a mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileGuess {
    /// The table.
    pub table: TableName,
    /// How it is written, where that isn't the usual.
    pub options: FileOptions,
    /// The columns that may be its key.
    pub key: Vec<String>,
    /// What its columns hold, where that isn't text.
    pub types: Vec<DeclaredType>,
}

/// What a file's column was taken to hold, where nobody declared it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuessedColumn {
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// What it holds, as its type is called.
    pub holds: String,
}

/// Something that a mapping says of files and that does not fit them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMistake {
    /// The line of the mapping, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}
