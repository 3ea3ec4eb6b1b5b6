//! Values of databases that let a column hold other values than its type says.

/// What a column of SQLite's makes of the values that are put into it. It keeps those that it can
/// make nothing of as they are, so that a value of any class may be in any column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// Texts of numbers. Its own values are texts.
    Text,
    /// Numbers of texts that are some. Its own values are numbers, and texts that are none.
    Numeric,
    /// Floating point numbers of texts that are some, and of whole numbers; those are its own values.
    Real,
    /// Nothing, though bytes are declared; those are its own values.
    Blob,
    /// Nothing, and nothing is declared: its own values are texts.
    None,
}

/// A value that is not one of its column's own, as text: a zero byte, a letter for the class, and the
/// value. A text of the column's own that begins with a zero byte is written so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagged<'a> {
    /// A whole number of 8 bytes.
    Integer(&'a str),
    /// A floating point number, or `Infinity`, or `-Infinity`.
    Real(&'a str),
    /// A text.
    Text(&'a str),
    /// The bytes of a text that are not UTF-8, as lower-case hexadecimal digits.
    TextBytes(&'a str),
    /// Bytes, as lower-case hexadecimal digits.
    Blob(&'a str),
}

impl<'a> Tagged<'a> {
    /// The value of such a text; `None`: it is a column's own, in its usual form.
    #[must_use]
    pub fn read(text: &'a str) -> Option<Self> {
        let tagged = text.strip_prefix('\0')?;
        let value = tagged.get(1..)?;
        Some(match tagged.as_bytes().first()? {
            b'i' => Self::Integer(value),
            b'r' => Self::Real(value),
            b't' => Self::Text(value),
            b'u' => Self::TextBytes(value),
            b'b' => Self::Blob(value),
            _ => return None,
        })
    }

    /// Its text.
    #[must_use]
    pub fn write(self) -> String {
        let (letter, value) = match self {
            Self::Integer(value) => ("i", value),
            Self::Real(value) => ("r", value),
            Self::Text(value) => ("t", value),
            Self::TextBytes(value) => ("u", value),
            Self::Blob(value) => ("b", value),
        };
        ["\0", letter, value].concat()
    }
}
