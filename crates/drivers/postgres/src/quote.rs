//! The one place where values and names become SQL text.

/// A string literal. It means the same with `standard_conforming_strings` on and off. PostgreSQL's
/// text has no zero byte; one in a value becomes U+FFFD rather than an error in the ledger.
pub(crate) fn text(value: &str) -> String {
    let backslash = value.contains('\\');
    let mut quoted = String::with_capacity(value.len() + 3);
    quoted.push_str(if backslash { "E'" } else { "'" });
    for character in value.chars() {
        match character {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\0' => quoted.push('\u{fffd}'),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

/// A string literal or NULL.
pub(crate) fn optional(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".to_owned(), text)
}

/// A name, always in quotes.
pub(crate) fn name(value: &str) -> String {
    format!("\"{}\"", value.replace('\0', "\u{fffd}").replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes() {
        assert_eq!(text("a"), "'a'");
        assert_eq!(text("it's"), "'it''s'");
        assert_eq!(text(r"\'; DROP"), r"E'\\''; DROP'");
        assert_eq!(optional(None), "NULL");
        assert_eq!(name(r#"a"b"#), r#""a""b""#);
    }
}
