//! Kinds of columns: how a value becomes text that reads back as exactly that value.
//!
//! Invariants: texts of keys are ASCII and are checked before they become SQL, since they come from
//! the ledger; strings travel as the hexadecimal bytes of their column's own character set, so that
//! no conversion stands between a key and the key that is compared; nothing here depends on
//! `sql_mode` or on the session's time zone.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::ValueForm;

use super::derived::Literals;

/// What a column holds, as far as texts and literals go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whole numbers.
    Integer { unsigned: bool },
    /// Years: the text `0` is the year 2000, the number is none.
    Year,
    /// Exact numbers with a fraction.
    Decimal,
    /// BIT, ENUM and SET: the server orders them by their number.
    Numbered { bits: bool },
    /// FLOAT and DOUBLE.
    Float,
    /// DATE, DATETIME and TIME, with what they are cast to.
    Temporal(&'static str),
    /// TIMESTAMP: a moment, which prints differently in each time zone.
    Moment,
    /// Text in a character set and collation.
    Text { charset: String, collation: String },
    /// Bytes.
    Bytes,
    /// MariaDB's types with a text of their own: uuid, inet4, inet6.
    Native(&'static str),
    /// MySQL's JSON.
    Json,
    /// Shapes.
    Geometry,
    /// A type that is not known here.
    Other,
}

/// Of the forms that `information_schema` gives its names in: `bigint unsigned`,
/// `varchar character set latin1 collate latin1_bin`.
pub(crate) fn type_name(
    data_type: &str,
    column_type: &str,
    collation: Option<(&str, &str)>,
) -> String {
    let base = data_type.to_ascii_lowercase();
    if let Some((charset, collation)) = collation {
        return format!("{base} character set {charset} collate {collation}");
    }
    if column_type.to_ascii_lowercase().contains("unsigned") {
        return format!("{base} unsigned");
    }
    base
}

impl Kind {
    /// Of a type's name as [`type_name`] writes it.
    pub(crate) fn of(type_name: &str) -> Self {
        let mut words = type_name.split(' ');
        let base = words.next().unwrap_or_default();
        let after = |word: &str| {
            let mut words = type_name.split(' ').skip_while(|each| *each != word);
            // `character set x` has a word in between.
            if word == "character" { words.nth(2) } else { words.nth(1) }
        };
        match base {
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => {
                Self::Integer { unsigned: type_name.contains("unsigned") }
            }
            "year" => Self::Year,
            "decimal" | "numeric" => Self::Decimal,
            "bit" => Self::Numbered { bits: true },
            "enum" | "set" => Self::Numbered { bits: false },
            "float" | "double" | "real" => Self::Float,
            "date" => Self::Temporal("DATE"),
            "datetime" => Self::Temporal("DATETIME(6)"),
            "time" => Self::Temporal("TIME(6)"),
            "timestamp" => Self::Moment,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                let charset = after("character").unwrap_or("utf8mb4").to_owned();
                let collation = after("collate").unwrap_or("utf8mb4_bin").to_owned();
                Self::Text { charset, collation }
            }
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes,
            "uuid" => Self::Native("UUID"),
            "inet6" => Self::Native("INET6"),
            "inet4" => Self::Native("INET4"),
            "json" => Self::Json,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Self::Geometry,
            _ => Self::Other,
        }
    }

    /// Why a table can't be walked by such a column, if it can't.
    pub(crate) fn unusable(&self, moments_are_plain: bool) -> Option<&'static str> {
        match self {
            Self::Float => Some("is a floating point number, whose text is not always its value"),
            Self::Json | Self::Geometry | Self::Other => Some("has a type without an order"),
            Self::Moment if !moments_are_plain => Some(
                "is a TIMESTAMP, and the server's time zone changes its clock: two moments look alike",
            ),
            _ => None,
        }
    }

    /// How values travel to programs.
    pub(crate) fn form(&self, data_type: &str) -> ValueForm {
        match (self, data_type) {
            (Self::Integer { .. }, "bigint") => ValueForm::Text,
            (Self::Integer { .. } | Self::Year, _) => ValueForm::Integer,
            (Self::Float, _) => ValueForm::Float,
            (Self::Bytes | Self::Geometry, _) => ValueForm::Bytes,
            _ => ValueForm::Text,
        }
    }

    /// SQL for the exact text of a value; NULL for NULL.
    pub(crate) fn exact(&self, column: &str) -> String {
        match self {
            Self::Text { .. } | Self::Bytes | Self::Geometry => format!("HEX({column})"),
            Self::Json => format!("HEX(CAST({column} AS CHAR CHARACTER SET utf8mb4))"),
            Self::Numbered { .. } => format!("CAST({column} + 0 AS CHAR)"),
            // FLOAT prints six digits; as a DOUBLE it prints all that it takes. Adding zero would take
            // the sign of minus zero.
            Self::Float => format!("CAST({column} * 1e0 AS CHAR)"),
            Self::Moment => format!("CAST(UNIX_TIMESTAMP({column}) AS CHAR)"),
            Self::Integer { .. }
            | Self::Year
            | Self::Decimal
            | Self::Temporal(_)
            | Self::Native(_)
            | Self::Other => {
                format!("CAST({column} AS CHAR)")
            }
        }
    }

    /// SQL for a short text that is another one for another value; NULL for NULL.
    pub(crate) fn digest(&self, column: &str) -> String {
        match self {
            Self::Text { .. } | Self::Bytes => format!("SHA2({column}, 256)"),
            Self::Json | Self::Geometry => format!("SHA2({}, 256)", self.exact(column)),
            _ => self.exact(column),
        }
    }

    /// A literal that a key column is compared with.
    pub(crate) fn key_literal(&self, text: &str) -> Result<String, TargetError> {
        let of = |good: bool, literal: String| if good { Ok(literal) } else { Err(no_key()) };
        match self {
            Self::Integer { .. } | Self::Year | Self::Numbered { .. } => {
                of(is_number(text, false), text.to_owned())
            }
            Self::Decimal => of(is_number(text, true), text.to_owned()),
            Self::Moment => of(is_number(text, true), format!("FROM_UNIXTIME({text})")),
            Self::Temporal(_) => {
                let good = |c: char| c.is_ascii_digit() || "-: .".contains(c);
                of(!text.is_empty() && text.chars().all(good), format!("'{text}'"))
            }
            Self::Text { charset, .. } => {
                of(is_hex(text) && is_word(charset), format!("_{charset} x'{text}'"))
            }
            Self::Bytes => of(is_hex(text), format!("x'{text}'")),
            Self::Native(_) => {
                let good = |c: char| c.is_ascii_hexdigit() || "-:.".contains(c);
                of(!text.is_empty() && text.chars().all(good), format!("'{text}'"))
            }
            Self::Float | Self::Json | Self::Geometry | Self::Other => Err(no_key()),
        }
    }

    /// A literal of a key's text for a derived table, whose rows must have one type.
    pub(crate) fn derived_key(&self, text: &str) -> Result<String, TargetError> {
        match self {
            Self::Text { .. } if is_hex(text) => Ok(format!("x'{text}'")),
            Self::Moment if is_number(text, true) => Ok(text.to_owned()),
            _ => self.key_literal(text),
        }
    }

    /// What a key column equals, given a derived table's column of [`Kind::derived_key`].
    pub(crate) fn joined_key(&self, derived: &str) -> String {
        match self {
            Self::Integer { unsigned: true } | Self::Year | Self::Numbered { .. } => {
                format!("CAST({derived} AS UNSIGNED)")
            }
            Self::Integer { unsigned: false } => format!("CAST({derived} AS SIGNED)"),
            Self::Temporal(cast) | Self::Native(cast) => format!("CAST({derived} AS {cast})"),
            Self::Moment => format!("FROM_UNIXTIME({derived})"),
            Self::Text { charset, collation } => {
                format!("CONVERT({derived} USING {charset}) COLLATE {collation}")
            }
            _ => derived.to_owned(),
        }
    }

    /// A literal for a derived table of a value's exact text.
    pub(crate) fn exact_literal(&self, text: &str) -> Result<String, TargetError> {
        let of = |good: bool, literal: String| if good { Ok(literal) } else { Err(no_value()) };
        match self {
            Self::Text { .. } | Self::Bytes | Self::Geometry | Self::Json => {
                of(is_hex(text), format!("x'{text}'"))
            }
            Self::Numbered { .. } | Self::Year => of(is_number(text, false), text.to_owned()),
            _ => Ok(crate::literal::text(text)),
        }
    }

    /// What [`Kind::exact_literal`] gives.
    pub(crate) fn exact_literals(&self) -> Literals {
        match self {
            Self::Text { .. } | Self::Bytes | Self::Geometry | Self::Json => Literals::Bytes,
            Self::Numbered { .. } | Self::Year => Literals::Numbers,
            _ => Literals::Texts,
        }
    }

    /// What is assigned, given a derived table's column of [`Kind::exact_literal`].
    pub(crate) fn restored(&self, derived: &str) -> String {
        match self {
            Self::Text { charset, .. } => format!("CONVERT({derived} USING {charset})"),
            Self::Json => format!("CONVERT({derived} USING utf8mb4)"),
            // 0 is no moment, but the zero date.
            Self::Moment => {
                format!("IF({derived} + 0 = 0, '0000-00-00 00:00:00', FROM_UNIXTIME({derived}))")
            }
            _ => derived.to_owned(),
        }
    }

    /// SQL for a value as programs get it.
    pub(crate) fn value(&self, column: &str) -> String {
        match self {
            Self::Bytes | Self::Geometry => format!("LOWER(HEX({column}))"),
            Self::Float => format!("{column} * 1e0"),
            Self::Numbered { bits: true } => format!("{column} + 0"),
            _ => column.to_owned(),
        }
    }

    /// A literal for a derived table of a value as programs give it.
    pub(crate) fn value_literal(&self, text: &str) -> Result<String, TargetError> {
        match self {
            Self::Bytes | Self::Geometry if is_hex(text) => Ok(format!("x'{text}'")),
            Self::Numbered { bits: true } | Self::Year if is_number(text, false) => {
                Ok(text.to_owned())
            }
            Self::Bytes | Self::Geometry | Self::Numbered { bits: true } | Self::Year => {
                let mut error = TargetError::new(
                    ErrorKind::Statement,
                    "a value has not the form that its column's values are given in",
                );
                error.by_row = true;
                Err(error)
            }
            _ => Ok(crate::literal::text(text)),
        }
    }

    /// What [`Kind::value_literal`] gives.
    pub(crate) fn value_literals(&self) -> Literals {
        match self {
            Self::Bytes | Self::Geometry => Literals::Bytes,
            Self::Numbered { bits: true } | Self::Year => Literals::Numbers,
            _ => Literals::Texts,
        }
    }
}

/// A key's text that no driver of ours has written.
pub(crate) fn no_key() -> TargetError {
    TargetError::new(ErrorKind::LedgerFormat, "a key in the ledger is none of its table's")
        .help("rows of dunlin_segments or dunlin_quarantine were changed by hand")
}

fn no_value() -> TargetError {
    TargetError::new(ErrorKind::LedgerFormat, "a captured value is none of its column's type")
        .help("rows of dunlin_captured were changed by hand")
}

fn is_hex(text: &str) -> bool {
    text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_number(text: &str, fraction: bool) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    all(whole) && all(rest) && (fraction || !digits.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_from_names() {
        let name = type_name("varchar", "varchar(40)", Some(("latin1", "latin1_bin")));
        assert_eq!(name, "varchar character set latin1 collate latin1_bin");
        let kind = Kind::of(&name);
        assert_eq!(
            kind,
            Kind::Text { charset: "latin1".to_owned(), collation: "latin1_bin".to_owned() }
        );
        assert_eq!(kind.key_literal("6162").expect("hex"), "_latin1 x'6162'");
        let name = type_name("bigint", "bigint(20) unsigned", None);
        assert_eq!(Kind::of(&name), Kind::Integer { unsigned: true });
    }

    #[test]
    fn texts_that_are_no_keys_never_become_sql() {
        for (kind, text) in [
            ("int", "1 OR 1=1"),
            ("int", ""),
            ("int", "1.5"),
            ("decimal", "1."),
            ("varchar", "6"),
            ("varchar", "zz"),
            ("datetime", "2026' OR '1"),
            ("binary", "'"),
            ("uuid", "x"),
            ("double", "1"),
        ] {
            let error = Kind::of(kind).key_literal(text).expect_err(text);
            assert_eq!(error.kind, ErrorKind::LedgerFormat, "{kind} {text}");
        }
        assert_eq!(
            Kind::of("bigint").key_literal("-9223372036854775808").expect("a key").len(),
            20
        );
    }
}
