//! A table's name as a user writes it.

/// The table that a name means in the database's own schema; `None`: it names another schema, or
/// is no name.
pub(crate) fn table_in_main(written: &str) -> Option<String> {
    let mut parts = Vec::new();
    let mut rest = written.trim();
    loop {
        let (part, after) = part(rest)?;
        parts.push(part);
        let after = after.trim_start();
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix('.')?.trim_start();
    }
    match &mut parts[..] {
        [table] => Some(std::mem::take(table)),
        [schema, table] if schema.eq_ignore_ascii_case("main") => Some(std::mem::take(table)),
        _ => None,
    }
}

/// The last part of an alias or a name, as SQLite's EXPLAIN shows it.
pub(crate) fn bare(written: &str) -> String {
    part(written.trim()).map_or_else(|| written.to_owned(), |(part, _)| part)
}

fn part(text: &str) -> Option<(String, &str)> {
    let close = match text.chars().next()? {
        open @ ('"' | '`' | '\'') => open,
        '[' => {
            let (name, rest) = text.get(1..)?.split_once(']')?;
            return Some((name.to_owned(), rest));
        }
        _ => {
            let end = text.find(|c: char| c == '.' || c.is_whitespace()).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            return (!name.is_empty()).then(|| (name.to_owned(), rest));
        }
    };
    let mut name = String::new();
    let mut rest = text.get(1..)?;
    loop {
        let (piece, after) = rest.split_once(close)?;
        name.push_str(piece);
        match after.strip_prefix(close) {
            Some(more) => {
                name.push(close);
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sqlite_does() {
        let read = |text| table_in_main(text);
        assert_eq!(read("posts").as_deref(), Some("posts"));
        assert_eq!(read(" MAIN . \"a \"\" . b\" ").as_deref(), Some("a \" . b"));
        assert_eq!(read("[a.b]").as_deref(), Some("a.b"));
        assert_eq!(read("`x`").as_deref(), Some("x"));
        assert_eq!(read("temp.posts"), None);
        assert_eq!(read(""), None);
        assert_eq!(read("a b"), None);
        assert_eq!(read("\"a"), None);
    }
}
