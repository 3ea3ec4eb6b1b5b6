//! Values exactly as SQLite has them, and the SQL literals that stand for them.
//!
//! A column of SQLite's may hold values of any storage class, so a key is kept as a literal, which
//! tells class and value. Literals have no affinity and no collation: in a comparison those of the
//! column decide, as they do in its index.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::Key;
use rusqlite::Connection;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use crate::fault::Outcome;

/// A value with its storage class.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Exact {
    Null,
    Integer(i64),
    Real(f64),
    /// Bytes, since nothing keeps a program from storing texts that are not UTF-8.
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl From<ValueRef<'_>> for Exact {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(bytes) => Self::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }
}

impl ToSql for Exact {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Exact {
    /// The literal for it.
    pub(crate) fn literal(&self, connection: &Connection) -> Outcome<String> {
        Ok(match self {
            Self::Null => "NULL".to_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Real(number) if *number == f64::INFINITY => "9e999".to_owned(),
            Self::Real(number) if *number == f64::NEG_INFINITY => "-9e999".to_owned(),
            // SQLite's own words for a number, since only SQLite will read them.
            Self::Real(number) => connection
                .prepare_cached("SELECT quote(?1)")?
                .query_row([number], |row| row.get(0))?,
            Self::Text(bytes) => text_literal(bytes),
            Self::Blob(bytes) => format!("X'{}'", hex(bytes)),
        })
    }

    /// The value of a literal that [`Exact::literal`] made.
    pub(crate) fn parse(connection: &Connection, literal: &str) -> Outcome<Self> {
        match parse(literal).ok_or_else(damaged_key)? {
            Literal::Value(value) => Ok(value),
            Literal::Real => {
                let sql = format!("SELECT {literal}");
                Ok(Self::Real(connection.query_row(&sql, [], |row| row.get(0))?))
            }
        }
    }

    /// Appends what tells this value from every other.
    pub(crate) fn append_version(&self, version: &mut String) {
        match self {
            Self::Null => version.push_str("n;"),
            Self::Integer(number) => version.push_str(&format!("i{number};")),
            Self::Real(number) => version.push_str(&format!("r{:x};", number.to_bits())),
            Self::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => version.push_str(&format!("t{}:{text};", text.len())),
                Err(_) => version.push_str(&format!("u{};", hex(bytes))),
            },
            Self::Blob(bytes) => version.push_str(&format!("b{};", hex(bytes))),
        }
    }
}

/// Checks that a key from the ledger consists of literals, before it becomes part of a statement.
pub(crate) fn checked(key: &Key, width: usize) -> Outcome<&[String]> {
    if key.0.len() == width && key.0.iter().all(|part| parse(part).is_some()) {
        return Ok(&key.0);
    }
    Err(damaged_key().into())
}

/// The values of a key.
pub(crate) fn values(connection: &Connection, key: &Key) -> Outcome<Vec<Exact>> {
    key.0.iter().map(|part| Exact::parse(connection, part)).collect()
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
    text
}

/// The bytes of hexadecimal digits; `None` if they are none.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

fn damaged_key() -> TargetError {
    TargetError::new(ErrorKind::LedgerFormat, "the ledger cannot be understood: a key is damaged")
        .help("was a table whose name begins with dunlin_ changed by hand?")
}

/// SQLite ends a statement at a NUL, and has no literal for text that is not UTF-8.
fn text_literal(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return format!("(''||CAST(X'{}' AS TEXT))", hex(bytes));
    };
    let pieces: Vec<String> =
        text.split('\0').map(|piece| format!("'{}'", piece.replace('\'', "''"))).collect();
    match &pieces[..] {
        [one] => one.clone(),
        many => format!("({})", many.join("||char(0)||")),
    }
}

enum Literal {
    Value(Exact),
    /// A number that only SQLite reads.
    Real,
}

fn parse(literal: &str) -> Option<Literal> {
    let value = match literal.as_bytes().first()? {
        b'N' if literal == "NULL" => Exact::Null,
        b'X' => Exact::Blob(unhex(literal.strip_prefix("X'")?.strip_suffix('\'')?)?),
        b'\'' => {
            let (text, rest) = quoted_text(literal)?;
            if !rest.is_empty() {
                return None;
            }
            Exact::Text(text.into_bytes())
        }
        b'(' => Exact::Text(joined_text(literal.strip_prefix('(')?.strip_suffix(')')?)?),
        _ => return parse_number(literal),
    };
    Some(Literal::Value(value))
}

fn parse_number(literal: &str) -> Option<Literal> {
    if let Ok(number) = literal.parse::<i64>() {
        let canonical = number.to_string() == literal;
        return canonical.then_some(Literal::Value(Exact::Integer(number)));
    }
    let written = |byte: u8| byte.is_ascii_digit() || b"-+.e".contains(&byte);
    let real = literal.bytes().all(written) && literal.parse::<f64>().is_ok();
    (real && literal.contains(['.', 'e'])).then_some(Literal::Real)
}

/// The text of the quoted literal at the beginning, and what comes after it.
fn quoted_text(literal: &str) -> Option<(String, &str)> {
    let mut rest = literal.strip_prefix('\'')?;
    let mut text = String::new();
    loop {
        let (piece, after) = rest.split_once('\'')?;
        text.push_str(piece);
        match after.strip_prefix('\'') {
            Some(more) => {
                text.push('\'');
                rest = more;
            }
            None => return Some((text, after)),
        }
    }
}

fn joined_text(mut rest: &str) -> Option<Vec<u8>> {
    if let Some(bytes) = rest.strip_prefix("''||CAST(X'") {
        return unhex(bytes.strip_suffix("' AS TEXT)")?);
    }
    let mut whole = Vec::new();
    loop {
        let (text, after) = quoted_text(rest)?;
        if text.contains('\0') {
            return None;
        }
        whole.extend_from_slice(text.as_bytes());
        if after.is_empty() {
            return Some(whole);
        }
        whole.push(0);
        rest = after.strip_prefix("||char(0)||")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_read_back_exactly() {
        let connection = Connection::open_in_memory().unwrap();
        let values = [
            Exact::Null,
            Exact::Integer(i64::MIN),
            Exact::Integer(i64::MAX),
            Exact::Integer(-1),
            Exact::Real(0.1),
            Exact::Real(1.0),
            Exact::Real(-5e-324),
            Exact::Real(f64::MAX),
            Exact::Real(f64::INFINITY),
            Exact::Real(f64::NEG_INFINITY),
            Exact::Real(0.1 + 0.2),
            Exact::Text(Vec::new()),
            Exact::Text(b"it's \"quoted\" \\ '' ; --".to_vec()),
            Exact::Text(b"a\0b\0".to_vec()),
            Exact::Text(b"\0'".to_vec()),
            Exact::Text(vec![0xff, 0, b'\'']),
            Exact::Text("鸟 🐦".into()),
            Exact::Blob(Vec::new()),
            Exact::Blob(vec![0, 255, 39]),
        ];
        for value in values {
            let literal = value.literal(&connection).unwrap();
            assert_eq!(Exact::parse(&connection, &literal).unwrap(), value, "{literal}");
            let read: Exact = connection
                .query_row(&format!("SELECT {literal}"), [], |row| Ok(row.get_ref(0)?.into()))
                .unwrap();
            assert_eq!(read, value, "{literal}");
        }
    }

    #[test]
    fn what_is_no_literal_is_refused() {
        for text in [
            "",
            "1; DROP TABLE t",
            "'a' OR 1",
            "'a",
            "X'0",
            "X'0g'",
            "1e",
            "--1",
            "e",
            "01",
            "(1)",
            "('a'||b)",
            "nan",
            "abc",
            "NULL OR 1",
            "('a'",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
