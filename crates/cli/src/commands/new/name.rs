//! The name of a migration or a mapping as part of a file's name.

use crate::exit::CliError;

/// The longest name: with a version and an ending it fits the 255 bytes that file systems allow.
const NAME_BYTES_MAX: usize = 200;

/// The name in lower-case snake case: spaces and hyphens become `_`; anything else is refused.
/// `what` it is for, with its article, is for the error.
pub(super) fn snake_case(written: &str, what: &str) -> Result<String, CliError> {
    let joined: Vec<&str> =
        written.split([' ', '-', '_']).filter(|word| !word.is_empty()).collect();
    let name = joined.join("_");
    if name.is_empty() {
        return Err(CliError::usage(
            "the name is empty",
            "say what it does, such as add_published_at",
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(CliError::usage(
            format!("the name has {} bytes, and at most {NAME_BYTES_MAX} fit", name.len()),
            "say in a few words what it does; the rest belongs in a comment",
        ));
    }
    if name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Ok(name);
    }
    let suggestion = suggest(written);
    let help = if suggestion.is_empty() {
        "use a to z, 0 to 9 and _, such as add_published_at".to_owned()
    } else {
        format!("use a to z, 0 to 9 and _: {suggestion}")
    };
    Err(CliError::usage(format!("`{}` is no name for {what}", written.escape_debug()), help))
}

/// What was probably meant: `AddPublishedAt` is `add_published_at`.
fn suggest(written: &str) -> String {
    let mut name = String::new();
    let mut before = '_';
    for c in written.chars() {
        let next = if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let begins_word =
            c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit());
        if (begins_word || next == '_') && !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        if next != '_' {
            name.push(next);
        }
        before = c;
    }
    name.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(written: &str) -> String {
        match snake_case(written, "a migration") {
            Err(CliError::Usage { help: Some(help), .. }) => help,
            other => panic!("{written}: {other:?}"),
        }
    }

    #[test]
    fn words_are_joined() {
        for written in ["add published at", "add-published-at", " add__published_at_"] {
            assert_eq!(snake_case(written, "a migration").expect(written), "add_published_at");
        }
        assert_eq!(snake_case("2fa", "a mapping").expect("digits"), "2fa");
    }

    #[test]
    fn others_are_refused_with_what_was_meant() {
        assert!(help("AddPublishedAt").ends_with(": add_published_at"));
        assert!(help("add/published.at").ends_with(": add_published_at"));
        assert!(help("naïve").ends_with(": na_ve"));
        assert!(help("…").ends_with("such as add_published_at"));
        assert!(help(" - ").contains("say what it does"));
        assert!(help(&"x".repeat(201)).contains("few words"));
        assert!(help("a\nb").ends_with(": a_b"));
    }
}
