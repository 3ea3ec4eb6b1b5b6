//! One comment line: a directive, its continuation, what was surely meant to be one, or prose.

use super::comment::Comment;
use super::words::{WORDS, find};

/// What a comment line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `-- dunlin: …`: what follows the colon, and where it starts in the comment's body.
    Directive(&'a str, usize),
    /// `-- dunlin+ …`: what follows the plus, and where it starts in the comment's body.
    Continuation(&'a str, usize),
    /// Nearly a directive: what it seems to say.
    Near(&'a str),
    /// Part of another migrator's file format.
    OtherTool(&'static str),
    /// Prose.
    Other,
}

/// The name that directives begin with.
const NAME: &str = "dunlin";

/// The whole line before the way down in node-pg-migrate's SQL files.
const DOWN_MIGRATION: &str = "down migration";

/// Marks of files that hold both directions, or settings, for another tool. Run as they are, such
/// files would do and undo in one go.
const OTHER_TOOLS: &[(&str, &str)] = &[
    ("+goose ", "goose"),
    ("migrate:up", "dbmate"),
    ("migrate:down", "dbmate"),
    ("+migrate up", "sql-migrate"),
    ("+migrate down", "sql-migrate"),
    ("create above / drop below", "tern"),
    (DOWN_MIGRATION, "node-pg-migrate"),
];

/// Tells what a comment line is.
pub(crate) fn classify<'a>(comment: &Comment<'a>) -> Line<'a> {
    let body = comment.body;
    let trimmed = body.trim_start_matches([' ', '\t']);
    let indent = body.len() - trimmed.len();
    if indent > 0
        && let Some(rest) = trimmed.strip_prefix(NAME)
    {
        let start = indent + NAME.len() + 1;
        if let Some(value) = rest.strip_prefix(':').filter(|value| begins_apart(value)) {
            return Line::Directive(value, start);
        }
        if let Some(value) = rest.strip_prefix('+').filter(|value| begins_apart(value)) {
            return Line::Continuation(value, start);
        }
    }
    if let Some(meant) = near(body) {
        return Line::Near(meant);
    }
    other_tool(body).map_or(Line::Other, Line::OtherTool)
}

/// Whether a text below the header can hold anything to complain about: a cheap look before the
/// costly one.
pub(crate) fn may_hold_more(text: &str) -> bool {
    let bytes = text.as_bytes();
    let contains = |needle: &str| {
        bytes.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
    };
    contains(NAME) || OTHER_TOOLS.iter().any(|(mark, _)| contains(mark))
}

fn begins_apart(value: &str) -> bool {
    value.is_empty() || value.starts_with([' ', '\t'])
}

/// What a line says that was surely meant as a directive, without the part before the word.
fn near(body: &str) -> Option<&str> {
    let text = body.trim_matches(|c: char| c.is_whitespace() || "-#/*!@".contains(c));
    let name_length = text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_length);
    let tail = rest.trim_start();
    if name.eq_ignore_ascii_case(NAME) {
        if let Some(meant) = tail.strip_prefix([':', '+', '=']) {
            return Some(meant.trim_start());
        }
        // Without its colon a sentence may begin like this: "Dunlin requires …".
        return (rest.len() > tail.len() && reads_as_directive(tail)).then_some(tail);
    }
    let meant = tail.strip_prefix(':')?.trim_start();
    let is_typo = strsim::osa_distance(&name.to_ascii_lowercase(), NAME) <= 2;
    (is_typo && find(first_word(meant)).is_some()).then_some(meant)
}

/// Whether a text without its colon is a directive rather than a sentence: a hyphenated word is
/// ours alone; the others must be followed by what they take.
fn reads_as_directive(text: &str) -> bool {
    let word = first_word(text);
    let rest = text[word.len()..].trim();
    if word.contains('-') && WORDS.iter().any(|known| known.name == word) {
        return true;
    }
    match word {
        "manual" | "background" => rest.is_empty(),
        "workers" | "rate" => rest.starts_with(|c: char| c.is_ascii_digit()),
        "undo" => rest.starts_with("capture"),
        "repeat" => rest.starts_with("until-done"),
        "disabled" => rest.starts_with('"'),
        "after" => {
            let version = rest.trim_start_matches("data ").trim_start_matches("schema ");
            version.starts_with(|c: char| c.is_ascii_digit())
        }
        "requires" => {
            rest.strip_prefix("data ").is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()))
        }
        _ => false,
    }
}

fn first_word(text: &str) -> &str {
    text.split(char::is_whitespace).next().unwrap_or_default()
}

fn other_tool(body: &str) -> Option<&'static str> {
    let text = body.trim_start_matches(['-', ' ', '\t']);
    OTHER_TOOLS
        .iter()
        .find(|(mark, _)| {
            // node-pg-migrate's mark is a plain English phrase: only a line of nothing else is one.
            let alone = *mark != DOWN_MIGRATION
                || text.trim_end_matches(['-', ' ', '\t', '\r']).len() == mark.len();
            let begins =
                text.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark));
            begins && alone
        })
        .map(|(_, tool)| *tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Line<'_> {
        classify(&Comment { marker: "--", body, offset: 0, line: 1, column: 1 })
    }

    #[test]
    fn the_exact_form_and_nothing_else_is_a_directive() {
        assert_eq!(of(" dunlin: manual"), Line::Directive(" manual", 8));
        assert_eq!(of("\tdunlin:\tmanual"), Line::Directive("\tmanual", 8));
        assert_eq!(of(" dunlin+ 3"), Line::Continuation(" 3", 8));
        assert_eq!(of(" dunlin:"), Line::Directive("", 8));
        for (body, meant) in [
            ("dunlin: manual", "manual"),
            (" Dunlin: manual", "manual"),
            (" DUNLIN : manual", "manual"),
            (" dunlin:manual", "manual"),
            ("- dunlin: manual", "manual"),
            (" dunlin = manual", "manual"),
            (" dunlin manual", "manual"),
            (" dunlin no-transaction", "no-transaction"),
            (" dunlin after data 3", "after data 3"),
            (" dunlni: no-transaction", "no-transaction"),
            (" @dunlin: manual", "manual"),
        ] {
            assert_eq!(of(body), Line::Near(meant), "{body}");
        }
        for prose in [
            "",
            " a comment",
            " Dunlin runs this after the deploy",
            " dunlin requires the column to be there",
            " dunlin manual mode is fine",
            " see dunlin: no",
            " note: manual",
        ] {
            assert_eq!(of(prose), Line::Other, "{prose}");
        }
    }

    #[test]
    fn other_tools_marks_are_known() {
        assert_eq!(of(" +goose Down"), Line::OtherTool("goose"));
        assert_eq!(of(" migrate:up transaction:false"), Line::OtherTool("dbmate"));
        assert_eq!(of("-- create above / drop below ----"), Line::OtherTool("tern"));
        assert_eq!(of(" Down Migration"), Line::OtherTool("node-pg-migrate"));
        assert_eq!(of(" down migration --"), Line::OtherTool("node-pg-migrate"));
        assert_eq!(of(" Down migrations of this release are kept elsewhere"), Line::Other);
        assert_eq!(of(" Down migration is not possible"), Line::Other);
    }
}
