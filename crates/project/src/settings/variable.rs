//! `${VARIABLE}` and `${VARIABLE:-default}` in URLs.

use std::collections::BTreeMap;

/// What became of a text with variables in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expanded {
    /// Every variable is set.
    Text(String),
    /// This variable is not set and has no default.
    Unset(String),
}

/// Puts the variables' values in. `$${` stands for `${` itself.
///
/// # Errors
/// What is wrong with the form, without quoting the text, which may hold a password.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> Result<Expanded, String> {
    let mut result = String::new();
    let mut rest = text;
    let mut unset = None;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            result.push_str(&rest[..start - 1]);
            result.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        result.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or("a `${` has no closing `}`")?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        let is_name =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            return Err("write a variable as `${NAME}` or `${NAME:-default}`".to_owned());
        }
        // As in a shell, a default also stands for an empty variable.
        let value = variables.get(name).filter(|value| default.is_none() || !value.is_empty());
        match value.map(String::as_str).or(default) {
            Some(value) => result.push_str(value),
            None => unset = unset.or(Some(name.to_owned())),
        }
        rest = &inner[end + 1..];
    }
    result.push_str(rest);
    Ok(match unset {
        Some(name) => Expanded::Unset(name),
        None => Expanded::Text(result),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in() {
        let variables: BTreeMap<String, String> =
            [("A", "1"), ("EMPTY", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let of = |text: &str| expand(text, &variables);
        let text = |text: &str| Ok(Expanded::Text(text.to_owned()));
        assert_eq!(of("x${A}y${A}"), text("x1y1"));
        assert_eq!(of("${B:-d}${EMPTY:-e}"), text("de"));
        assert_eq!(of("${B:-}"), text(""));
        assert_eq!(of("a$b$${A}"), text("a$b${A}"));
        assert_eq!(of("${EMPTY}"), text(""));
        assert_eq!(of("${B}${C}"), Ok(Expanded::Unset("B".to_owned())));
        for wrong in ["${A", "${}", "${A B}", "${A-d}"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
