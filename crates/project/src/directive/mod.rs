//! The header of a migration: `-- dunlin: word value`, one a line, before the first statement.
//!
//! Invariant: a line that a person could have meant as a directive is obeyed or refused, never
//! ignored. What is left out: whether the versions exist, which planning knows.

mod chunks;
mod comment;
mod line;
mod reader;
mod reference;
mod table;
mod token;
mod words;

use std::path::Path;

use dunlin_model::{Diagnostic, Directives, Place};

pub(crate) use chunks::{CHUNK_TIME_MAX, key_columns};
use comment::{Comment, Header};
use line::Line;
pub(crate) use reader::{Reader, is_name};
pub use reference::reference;
pub(crate) use table::of_table;
pub(crate) use token::{Token, tokens};
pub use words::{WORDS, Word};

/// What a header belongs to: some words make sense only for some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A schema migration's up file.
    SchemaUp,
    /// A schema migration's down file.
    SchemaDown,
    /// A data migration in SQL.
    DataSql,
    /// A data migration that is a program.
    Program,
    /// A data migration whose rows go through a program: a `.toml` with `[rows]`.
    Rows,
}

impl Subject {
    /// With its article, for a sentence.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::SchemaUp => "a schema migration",
            Self::SchemaDown => "a schema migration's down file",
            Self::DataSql => "a data migration in SQL",
            Self::Program => "a data migration that is a program",
            Self::Rows => "row code (a `.toml` with `[rows]`)",
        }
    }
}

/// Reads the header of a SQL file: comments before the first statement.
///
/// # Errors
/// Every unknown or malformed directive, with file, line and a suggestion; directives below the
/// first statement; the marks of another tool's two-way files.
pub fn of_sql(file: &Path, text: &str, subject: Subject) -> Result<Directives, Vec<Diagnostic>> {
    read_sql(file, text, subject).map(|said| said.directives)
}

/// What a header says, and where.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) directives: Directives,
    /// Words with the places of their values.
    pub(crate) places: Vec<(&'static str, Place)>,
}

impl Said {
    /// Where a word's value stands; the whole file where it is not written.
    pub(crate) fn place(&self, word: &str, file: &Path) -> Place {
        let found = self.places.iter().find(|(name, _)| *name == word);
        found.map_or_else(|| Place::file(file), |(_, place)| place.clone())
    }
}

/// As [`of_sql`], with the places of what was said.
pub(crate) fn read_sql(file: &Path, text: &str, subject: Subject) -> Result<Said, Vec<Diagnostic>> {
    let header = comment::sql_header(text);
    let mut reader = Reader::new(file, subject);
    if is_sqlx_no_transaction(text) {
        reader.directives.no_transaction = true;
    }
    read_header(&mut reader, &header, "--");
    if text.get(header.end..).is_some_and(line::may_hold_more) {
        for comment in comment::sql_comments_after(text, header.end) {
            refuse_below(&mut reader, &comment, "the first statement");
        }
    }
    reader.finish()
}

/// Reads the header of a program: comment lines (`#`, `//` or `--`) before the first line of code.
///
/// # Errors
/// Every unknown or malformed directive, with file, line and a suggestion; directives below the
/// first line of code.
pub fn of_program(file: &Path, text: &str) -> Result<Directives, Vec<Diagnostic>> {
    read_program(file, text).map(|said| said.directives)
}

/// As [`of_program`], with the places of what was said.
pub(crate) fn read_program(file: &Path, text: &str) -> Result<Said, Vec<Diagnostic>> {
    let header = comment::program_header(text);
    let mut reader = Reader::new(file, Subject::Program);
    let marker = header.lines.first().map_or("#", |comment| comment.marker);
    read_header(&mut reader, &header, marker);
    if text.get(header.end..).is_some_and(line::may_hold_more) {
        for comment in comment::program_comments_after(text, header.end) {
            // Only the exact form: below the header a line may be part of a string.
            if matches!(line::classify(&comment), Line::Directive(..)) {
                refuse_below(&mut reader, &comment, "the first line of code");
            }
        }
    }
    reader.finish()
}

/// Complains of header comments in a `.toml`, where directives are keys.
pub(crate) fn refuse_in_toml(file: &Path, text: &str, errors: &mut Vec<Diagnostic>) {
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let Some(body) = trimmed.strip_prefix('#') else { continue };
        let column = line.chars().count() - trimmed.chars().count() + 1;
        let comment = Comment { marker: "#", body, offset: 0, line: index + 1, column };
        if matches!(
            line::classify(&comment),
            Line::Directive(..) | Line::Continuation(..) | Line::Near(_)
        ) {
            errors.push(
                Diagnostic::error("misplaced-directive", "a `.toml` has no directives in comments")
                    .at(Place::at(file, index + 1, column))
                    .help("write it as a key under [migration], such as `manual = true`"),
            );
        }
    }
}

/// sqlx runs a file outside a transaction if it starts with exactly this.
fn is_sqlx_no_transaction(text: &str) -> bool {
    text.trim_start_matches('\u{feff}')
        .strip_prefix("-- no-transaction")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn read_header(reader: &mut Reader<'_>, header: &Header<'_>, marker: &'static str) {
    let mut open: Option<Open> = None;
    let mut next_line = 0;
    for comment in &header.lines {
        let adjoins = comment.line == next_line;
        next_line = comment.line + 1;
        let wrong_marker = marker == "--" && comment.marker != marker;
        match line::classify(comment) {
            Line::Directive(value, start) if !wrong_marker => {
                apply(reader, open.take());
                open = Open::new(reader, comment, value, start);
            }
            Line::Continuation(value, start) if !wrong_marker => {
                match open.as_mut().filter(|_| adjoins) {
                    Some(open) => open.go_on(reader, comment, value, start),
                    None => reader.refuse_continuation(comment.line, comment.column, marker),
                }
            }
            Line::Directive(meant, _) | Line::Near(meant) => {
                apply(reader, open.take());
                reader.refuse_near(
                    comment.line,
                    comment.column,
                    &format!("{marker} dunlin: {}", meant.trim()),
                );
            }
            Line::Continuation(meant, _) => {
                apply(reader, open.take());
                reader.refuse_near(
                    comment.line,
                    comment.column,
                    &format!("{marker} dunlin+ {}", meant.trim()),
                );
            }
            Line::OtherTool(tool) => refuse_other_tool(reader, comment, tool),
            Line::Other => apply(reader, open.take()),
        }
    }
    apply(reader, open);
    for comment in &header.blocks {
        // A commented-out `-- dunlin: …` is prose; a line that starts with the name is not.
        let text = comment.body.trim_start_matches([' ', '\t', '*']);
        if let Some(meant) = text.strip_prefix("dunlin:") {
            reader.refuse_near(
                comment.line,
                comment.column,
                &format!("{marker} dunlin: {}", meant.trim()),
            );
        }
    }
}

/// A directive that the next line may continue.
enum Open {
    /// A word and its values.
    Items { tokens: Vec<Token>, line: usize },
    /// A word, and the SQL after it as it is written.
    Sql { word: Token, sql: Token },
}

impl Open {
    fn new(
        reader: &mut Reader<'_>,
        comment: &Comment<'_>,
        value: &str,
        start: usize,
    ) -> Option<Self> {
        let column = place_of_value(comment, start);
        if let Some((word, sql)) = token::word_and_sql(value, comment.line, column) {
            return Some(Self::Sql { word, sql });
        }
        let tokens = reader.tokens(value, comment.line, column)?;
        Some(Self::Items { tokens, line: comment.line })
    }

    fn go_on(&mut self, reader: &mut Reader<'_>, comment: &Comment<'_>, value: &str, start: usize) {
        match self {
            Self::Items { tokens, .. } => {
                let more = reader.tokens(value, comment.line, place_of_value(comment, start));
                tokens.extend(more.unwrap_or_default());
            }
            // A line's end stays one: a `--` in the SQL ends there.
            Self::Sql { sql, .. } => {
                sql.text.push('\n');
                sql.text.push_str(value.trim());
            }
        }
    }
}

fn apply(reader: &mut Reader<'_>, open: Option<Open>) {
    match open {
        Some(Open::Items { tokens, line }) => reader.directive(&tokens, line),
        Some(Open::Sql { word, mut sql }) => {
            sql.text = sql.text.trim().to_owned();
            let line = word.line;
            reader.directive(&[word, sql], line);
        }
        None => {}
    }
}

/// The column of a directive's value, from the byte offset in the comment's body.
fn place_of_value(comment: &Comment<'_>, start: usize) -> usize {
    let before = comment.body.get(..start).unwrap_or_default();
    comment.column + comment.marker.len() + before.chars().count()
}

fn refuse_below(reader: &mut Reader<'_>, comment: &Comment<'_>, what: &str) {
    match line::classify(comment) {
        Line::Directive(..) | Line::Continuation(..) | Line::Near(_) => {
            reader.errors.push(
                Diagnostic::error(
                    "misplaced-directive",
                    format!("a directive below {what} would not be obeyed"),
                )
                .at(Place::at(reader.file, comment.line, comment.column))
                .help(format!("move it to the top of the file, above {what}")),
            );
        }
        Line::OtherTool(tool) => refuse_other_tool(reader, comment, tool),
        Line::Other => {}
    }
}

fn refuse_other_tool(reader: &mut Reader<'_>, comment: &Comment<'_>, tool: &str) {
    if reader.errors.iter().any(|error| error.rule == "other-tool-format") {
        return;
    }
    reader.errors.push(
        Diagnostic::error("other-tool-format", format!("this file is in {tool}'s format"))
            .at(Place::at(reader.file, comment.line, comment.column))
            .help(
                "run as it is, it could do and undo in one go: put the way up into \
                 VERSION_name.up.sql and the way down into VERSION_name.down.sql, without the marks",
            ),
    );
}
