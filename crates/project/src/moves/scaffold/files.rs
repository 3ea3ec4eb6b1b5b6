//! What a first mapping says of files.

use std::fmt::Write as _;

use dunlin_model::moves::{FileGuess, FileOptions};

use super::words::{toml_key, toml_string};

/// The keys of `[files]`, a line each.
pub(super) fn lines(options: &FileOptions) -> String {
    let mut text = String::new();
    for (key, value) in pairs(options) {
        let _ = writeln!(text, "{key} = {value}");
    }
    text
}

/// Guesses cover these alone.
fn pairs(options: &FileOptions) -> Vec<(&'static str, String)> {
    let encoding = options.encoding.as_ref().map(|name| ("encoding", toml_string(name)));
    let delimiter = options
        .delimiter
        .map(|byte| ("delimiter", toml_string(char::from(byte).encode_utf8(&mut [0; 4]))));
    encoding.into_iter().chain(delimiter).collect()
}

/// The lines under `[from.NAME]` of a file.
pub(super) fn said(guess: &FileGuess, usual: Option<&FileOptions>) -> String {
    let mut text = String::new();
    if !guess.key.is_empty() {
        let names: Vec<String> = guess.key.iter().map(|name| toml_string(name)).collect();
        let _ =
            writeln!(text, "key = [{}]   # a guess: the first rows differ in it", names.join(", "));
    }
    if !guess.types.is_empty() {
        let types: Vec<String> = guess
            .types
            .iter()
            .map(|one| format!("{} = {}", toml_key(&one.column), toml_string(one.file_type.word())))
            .collect();
        let types = types.join(", ");
        let _ =
            writeln!(text, "types = {{ {types} }}   # a guess by the first rows; all else is text");
    }
    if usual.is_some_and(|usual| *usual != guess.options) {
        let all: Vec<String> = pairs(&guess.options)
            .into_iter()
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        let _ = writeln!(text, "file = {{ {} }}", all.join(", "));
    }
    text
}
