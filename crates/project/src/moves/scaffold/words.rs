//! Names: as TOML and SQL write them, and when two are alike.

use std::fmt::Write as _;

/// How long a comment's line may be.
const COMMENT_CHARACTERS_MAX: usize = 98;

/// Words that SQL would take for its own: as a column's name they are quoted.
const RESERVED: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "between",
    "both",
    "by",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "create",
    "cross",
    "current_date",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "false",
    "fetch",
    "filter",
    "for",
    "from",
    "full",
    "group",
    "having",
    "in",
    "inner",
    "intersect",
    "interval",
    "into",
    "is",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "natural",
    "new",
    "not",
    "null",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "overlaps",
    "partition",
    "primary",
    "references",
    "right",
    "select",
    "session_user",
    "set",
    "some",
    "table",
    "then",
    "to",
    "trailing",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "when",
    "where",
    "window",
    "with",
];

/// A text as TOML writes it.
pub(super) fn toml_string(text: &str) -> String {
    if text.contains('"') && !text.chars().any(|c| c == '\'' || c.is_control()) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A key as TOML writes it.
pub(super) fn toml_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { toml_string(name) }
}

/// A column in an expression.
pub(super) fn expression_of(column: &str) -> String {
    let mut characters = column.chars();
    let plain = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !RESERVED.contains(&column.to_ascii_lowercase().as_str());
    if plain { column.to_owned() } else { format!("\"{}\"", column.replace('"', "\"\"")) }
}

/// A name in a comment: it stays on its line.
pub(super) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A text as comment lines.
pub(super) fn comment_lines(text: &mut String, comment: &str) {
    let mut length = 0;
    for word in comment.split(' ') {
        let next = word.chars().count();
        if length == 0 || length + next + 1 > COMMENT_CHARACTERS_MAX {
            if length > 0 {
                text.push('\n');
            }
            text.push('#');
            length = 1;
        }
        text.push(' ');
        text.push_str(word);
        length += next + 1;
    }
    text.push('\n');
}

/// Lower case, and nothing between the words.
pub(super) fn fold(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// One of what a name names several of.
pub(super) fn singular(name: &str) -> String {
    for (several, one) in [("people", "person"), ("children", "child")] {
        if let Some(start) = name.strip_suffix(several) {
            return format!("{start}{one}");
        }
    }
    if let Some(start) = name.strip_suffix("ies").filter(|start| start.len() > 1) {
        return format!("{start}y");
    }
    let two = ["sses", "xes", "ches", "shes", "tuses", "ruses"];
    let one = ["ss", "us", "is"];
    if two.iter().any(|end| name.ends_with(end)) {
        return name[..name.len() - 2].to_owned();
    }
    match name.strip_suffix('s') {
        Some(start) if !start.is_empty() && !one.iter().any(|end| name.ends_with(end)) => {
            start.to_owned()
        }
        _ => name.to_owned(),
    }
}

/// What the ids of a table's rows are called.
pub(super) fn id_name(table: &str) -> String {
    let fits = |c: char| if c.is_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = singular(table).to_lowercase().chars().map(fits).collect();
    if name.is_empty() { "id".to_owned() } else { name }
}

/// The words of a name: `first_name`, `firstName`.
pub(super) fn parts(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut was_lower = false;
    let mut begin = true;
    for c in name.chars() {
        if !c.is_alphanumeric() {
            begin = true;
            continue;
        }
        if begin || (was_lower && c.is_uppercase()) {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.extend(c.to_lowercase());
        }
        begin = false;
        was_lower = c.is_lowercase();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        assert_eq!(toml_key("sales.orders"), "\"sales.orders\"");
        assert_eq!(toml_string("\"Last Name\""), "'\"Last Name\"'");
        assert_eq!(toml_string("a\"b'c\\d\u{1}"), "\"a\\\"b'c\\\\d\\U00000001\"");
        assert_eq!(expression_of("created_at"), "created_at");
        assert_eq!(expression_of("order"), "\"order\"");
        assert_eq!(expression_of("Last Name"), "\"Last Name\"");
    }

    #[test]
    fn one_of_several() {
        for (several, one) in [
            ("users", "user"),
            ("entries", "entry"),
            ("addresses", "address"),
            ("statuses", "status"),
            ("status", "status"),
            ("boxes", "box"),
            ("people", "person"),
            ("news", "new"),
            ("s", "s"),
            ("", ""),
        ] {
            assert_eq!(singular(several), one);
        }
        assert_eq!(parts("firstName_of-X2"), ["first", "name", "of", "x2"]);
    }
}
