//! Values and names inside SQL text that we write ourselves.
//!
//! Invariant: what leaves here is ASCII (names aside) and means the same under every `sql_mode`
//! and character set, because ledger rows are also written in sessions whose settings a user's
//! file has changed. So texts are hex literals: no quote, no backslash, nothing to escape.

use std::fmt::Write as _;

/// A text value.
pub(crate) fn text(value: &str) -> String {
    let mut literal = String::with_capacity(value.len() * 2 + 12);
    literal.push_str("_utf8mb4 x'");
    for byte in value.bytes() {
        // Writing to a String cannot fail.
        let _ = write!(literal, "{byte:02x}");
    }
    literal.push('\'');
    literal
}

/// A text value or NULL.
pub(crate) fn optional_text(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".to_owned(), text)
}

/// A truth value.
pub(crate) fn flag(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

/// A name, quoted. Backticks quote names under every `sql_mode`.
pub(crate) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The parts of a name as a file writes it: `` `a`.b ``, `"a"."b"`, `a . b`. `None` where it is
/// not a name.
pub(crate) fn name_parts(written: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = written.trim();
    loop {
        let (part, after) = match rest.chars().next()? {
            quote @ ('`' | '"') => quoted_part(rest, quote)?,
            _ => bare_part(rest),
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match after.trim_start() {
            "" => return Some(parts),
            after => rest = after.strip_prefix('.')?.trim_start(),
        }
    }
}

fn quoted_part(text: &str, quote: char) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != quote {
            part.push(character);
        } else if characters.peek().is_some_and(|&(_, next)| next == quote) {
            part.push(quote);
            characters.next();
        } else {
            return Some((part, &text[at + quote.len_utf8()..]));
        }
    }
    None
}

fn bare_part(text: &str) -> (String, &str) {
    let end =
        text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
    (text[..end].to_owned(), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_plain_ascii_whatever_they_hold() {
        assert_eq!(text("a'\\é"), "_utf8mb4 x'61275cc3a9'");
        assert_eq!(text(""), "_utf8mb4 x''");
        assert_eq!(optional_text(None), "NULL");
    }

    #[test]
    fn names_as_written_are_taken_apart() {
        assert_eq!(name_parts("`a``b` . c").as_deref(), Some(&["a`b".into(), "c".into()][..]));
        assert_eq!(name_parts("\"x.y\".z").as_deref(), Some(&["x.y".into(), "z".into()][..]));
        assert_eq!(name_parts("posts").as_deref(), Some(&["posts".into()][..]));
        for broken in ["", "`a", "a b", "a.", "a;drop", "`a`b"] {
            assert_eq!(name_parts(broken), None, "{broken}");
        }
    }
}
