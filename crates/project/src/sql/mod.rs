//! SQL files: split into statements by each server's own rules, and read.
//!
//! Owns what a statement is ([`split`]), what is known of it ([`dunlin_model::Facts`]), and which
//! statements a migration may hold. Invariants: nothing here changes a statement's text, except
//! that a MySQL DROP of several tables becomes one statement for each; no input makes it panic;
//! the time is linear in the file's length. What is left out: the header's directives, and
//! everything that only a server can know.

mod body;
mod chunked;
mod confinement;
mod facts;
pub(crate) mod finder;
mod lex;
mod policy;
mod query;
mod reach;
mod split;
#[cfg(test)]
mod tests;
pub(crate) mod trigger;
mod variables;

use std::path::Path;

use dunlin_model::{Diagnostic, Dialect, Place, Script, Statement};

use crate::directive::Subject;

pub(crate) use self::chunked::{
    Cascade, Caught, Known, Spread, column_key, deeds, first_counts, names, settle, spread,
    table_key, table_parts, touched, written,
};
pub(crate) use self::facts::{Deed, Destroyers};
pub use self::facts::{Lost, asks_of_previous, lost};
pub use self::split::{Piece, split};
pub use self::variables::user_variable;

/// The largest file that is read. Offsets are kept in 32 bits, and a file is held in memory.
pub const FILE_BYTES_MAX: usize = 1 << 30;

/// Reads a SQL file: header, statements, what is known of each.
///
/// # Errors
/// Whatever is wrong in the file, with line and column.
pub fn parse_script(
    dialect: Dialect,
    file: &Path,
    bytes: &[u8],
    subject: Subject,
) -> Result<Script, Vec<Diagnostic>> {
    let text = decode(file, bytes).map_err(|found| vec![*found])?;
    let said = crate::directive::read_sql(file, text, subject)?;
    let directives = settle(dialect, file, said)?;
    let statements = read(dialect, text).map_err(|found| vec![placed(*found, file)])?;
    let statements = policy::apply(dialect, file, statements, &directives)?;
    Ok(Script {
        file: file.to_path_buf(),
        statements: known_later(dialect, statements),
        directives,
    })
}

/// The file's text.
fn decode<'a>(file: &Path, bytes: &'a [u8]) -> Result<&'a str, Box<Diagnostic>> {
    let refuse = |rule, at: Option<usize>, message: String, help: &str| {
        let line = at.map(|at| 1 + bytes.iter().take(at).filter(|&&b| b == b'\n').count());
        let place = Place { file: file.to_path_buf(), line, column: None };
        Box::new(Diagnostic::error(rule, message).at(place).help(help))
    };
    if bytes.len() > FILE_BYTES_MAX {
        let message =
            format!("the file has {} bytes; a migration has at most {FILE_BYTES_MAX}", bytes.len());
        let help = "load data of that size by a program or a move";
        return Err(refuse("file-too-large", None, message, help));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = "the file is not UTF-8".to_owned();
        let help = "save it as UTF-8; write binary values in hex";
        refuse("not-utf8", Some(error.valid_up_to()), message, help)
    })?;
    if let Some(at) = bytes.iter().position(|&b| b == 0) {
        let message = "the file holds a NUL byte".to_owned();
        let help = "save it as UTF-8 without NUL bytes; write binary values in hex";
        return Err(refuse("nul-byte", Some(at), message, help));
    }
    Ok(text)
}

/// A finding of [`split`], with the file that it lacks.
fn placed(mut found: Diagnostic, file: &Path) -> Diagnostic {
    if let Some(place) = &mut found.place {
        place.file = file.to_path_buf();
    }
    found
}

/// Splits and reads.
fn read(dialect: Dialect, text: &str) -> Result<Vec<Statement>, Box<Diagnostic>> {
    let mut splitter = split::Splitter::new(dialect, text);
    let mut statements = Vec::new();
    while let Some(piece) = splitter.next().map_err(|flaw| split::diagnostic(flaw, text))? {
        if piece.body.is_empty() {
            continue;
        }
        let slice = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().to_owned();
        let begin = piece.body.start;
        let mut facts = facts::read(dialect, text, &splitter.tokens);
        facts.chunk_places = facts::places::read(dialect, text, &splitter.tokens, begin);
        let statement = Statement {
            facts,
            text: slice(piece.body),
            line: piece.line,
            column: piece.column,
            copy_data: piece.copy_data.map(slice),
        };
        if dialect == Dialect::Mysql {
            let drops = facts::dropped_one_by_one(dialect, text, &splitter.tokens);
            if !drops.is_empty() {
                statements.extend(drops.into_iter().map(|text| drop_one(&statement, text)));
                continue;
            }
        }
        statements.push(statement);
    }
    Ok(statements)
}

/// One of the tables of a DROP that lists several: each of them commits by itself in MySQL, so
/// each is a step of its own.
fn drop_one(whole: &Statement, text: String) -> Statement {
    let mut splitter = split::Splitter::new(Dialect::Mysql, &text);
    let facts = match splitter.next() {
        Ok(Some(_)) => facts::read(Dialect::Mysql, &text, &splitter.tokens),
        // The name was read from the same rules; should it not read again, the whole's facts hold.
        Ok(None) | Err(_) => whole.facts.clone(),
    };
    Statement { text, line: whole.line, column: whole.column, copy_data: None, facts }
}

/// What a statement may touch or destroy by calling a routine that an earlier one of the file
/// defined.
fn known_later(dialect: Dialect, mut statements: Vec<Statement>) -> Vec<Statement> {
    let mut routines = facts::Routines::default();
    for statement in &mut statements {
        if facts::is_routine_definition(&statement.facts) {
            routines.define(dialect, &statement.text);
        } else {
            routines.note_calls(dialect, statement);
        }
    }
    statements
}
