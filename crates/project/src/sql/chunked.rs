//! Which statements a file that runs chunk by chunk may hold, and the SQL in its header.

use std::collections::BTreeSet;
use std::path::Path;

use dunlin_model::{Diagnostic, Dialect, Directives, Place, Statement};

use super::lex::{Kind, Lexeme, Lexer, Token};
use super::{confinement, facts, query, reach};

pub(crate) use super::query::{Cascade, Caught, Known, Spread};
use crate::directive::Said;
use crate::position::line_and_column;
use crate::suggestion;

/// What a chunk may do. Everything else has no range of rows, or commits.
const VERBS: [&str; 7] = ["UPDATE", "DELETE", "INSERT", "REPLACE", "MERGE", "SELECT", "WITH"];

/// Takes the statements of a file with `chunk-by`, or says which of them it may not hold.
pub(super) fn admit(
    dialect: Dialect,
    file: &Path,
    table: &str,
    statements: Vec<Statement>,
) -> Result<Vec<Statement>, Vec<Diagnostic>> {
    let table = table_parts(dialect, table);
    let mut found: Vec<Diagnostic> =
        statements.iter().filter_map(|one| refuse(dialect, file, one)).collect();
    if found.is_empty() {
        // With columns of the table it depends on the key, which only the catalogue knows.
        let may_be = |one: &Spread| !one.within.is_empty() || one.solid.is_some();
        found = spread(dialect, file, &table, &statements, &Known::default(), may_be);
    }
    if statements.is_empty() {
        let message = "the file has `chunk-by` and no statement";
        found.push(
            Diagnostic::error("no-statement", message)
                .at(Place::file(file))
                .help("write what is done to each chunk: UPDATE … WHERE … AND :chunk"),
        );
    }
    if found.is_empty() { Ok(statements) } else { Err(found) }
}

fn refuse(dialect: Dialect, file: &Path, statement: &Statement) -> Option<Diagnostic> {
    let words = statement.summary(40);
    let at = Place::at(file, statement.line, statement.column);
    let error = |rule, message: String, help: &str| {
        Some(Diagnostic::error(rule, message).at(at.clone()).help(help))
    };
    if statement.facts.control.is_some() {
        let message = format!("`{words}` controls a transaction, which belongs to the chunk");
        let help = "remove it (and a BEGIN … COMMIT around the file): each chunk is a transaction \
                    of its own, with its checkpoint";
        return error("transaction-control", message, help);
    }
    let Ok(tokens) = tokens(dialect, &statement.text) else {
        let message = format!("`{words}` holds a comment that some servers run (`/*! … */`)");
        let help = "write out what is to be run, or remove it: what a chunk does must not depend on the \
                    server's version";
        return error("chunk-comment", message, help);
    };
    if let Some(variable) = read_variable(dialect, &statement.text, &tokens) {
        let message = format!(
            "`{words}` reads `@{variable}`, which is carried from row to row and not from chunk to chunk"
        );
        let help = "take the value from a sub-query: SET n = (SELECT count(*) FROM posts b WHERE b.id <= \
                    a.id)";
        return error("chunk-variable", message, help);
    }
    let verb = statement.facts.verb.as_str();
    let selects_into =
        matches!(verb, "SELECT" | "WITH") && facts::selects_into(dialect, &statement.text, &tokens);
    if !VERBS.contains(&verb) || statement.facts.changes_session || selects_into {
        let message = format!("`{words}` cannot run chunk by chunk");
        let help = "a file with `chunk-by` holds UPDATE, DELETE, INSERT, REPLACE, MERGE and SELECT \
                    (without INTO); put anything else into a migration of its own, and name it with \
                    `after`";
        return error("not-in-chunks", message, help);
    }
    if statement.facts.chunk_places.is_empty() {
        let message =
            format!("`{words}` has no `:chunk`, so every chunk would run it over all rows");
        let help = "add `AND :chunk` to its WHERE (`:chunk(p)` if the table has the alias p)";
        if let Some(near) = near_place(&statement.text, &tokens) {
            let help = format!("did you mean `:chunk` where it says `:{near}`?");
            return error("no-chunk-place", message, &help);
        }
        return error("no-chunk-place", message, help);
    }
    let odd = statement.facts.chunk_places.iter().find(|place| {
        let rest = statement.text.get(place.end..).unwrap_or_default();
        place.alias.is_none() && rest.starts_with('(')
    });
    if let Some(odd) = odd {
        return Some(
            Diagnostic::error("malformed-chunk-place", "`:chunk(…)` takes the alias of a table")
                .at(place_in(file, statement, odd.start))
                .help("write `:chunk(p)` for an alias, or `:chunk` alone"),
        );
    }
    let leak = confinement::leak(statement, &tokens).or_else(|| reach::leak(statement, &tokens));
    let (leak, start) = leak?;
    let at = place_in(file, statement, start);
    Some(Diagnostic::error(leak.rule, leak.message).at(at).help(leak.help))
}

/// MySQL: a user's variable that a statement reads.
fn read_variable<'a>(dialect: Dialect, text: &'a str, tokens: &[Token]) -> Option<&'a str> {
    let punct =
        |at: usize, byte: u8| tokens.get(at).is_some_and(|token| token.kind == Kind::Punct(byte));
    (0..tokens.len()).filter(|_| dialect == Dialect::Mysql).find_map(|at| {
        let system = at > 0 && punct(at - 1, b'@');
        let name =
            tokens.get(at + 1).filter(|_| punct(at, b'@') && !punct(at + 1, b'@') && !system)?;
        let assigned = punct(at + 2, b':') && punct(at + 3, b'=');
        (!assigned).then(|| name.text(text))
    })
}

/// A word after a colon that is nearly `:chunk`, as it is written.
fn near_place<'a>(text: &'a str, tokens: &[Token]) -> Option<&'a str> {
    let is_colon = |token: &Token| token.kind == Kind::Punct(b':');
    (0..tokens.len()).find_map(|at| {
        let (colon, word) = (tokens.get(at)?, tokens.get(at + 1)?);
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let cast = before.is_some_and(|one| is_colon(one) && one.end() == colon.start());
        if cast || !is_colon(colon) || colon.end() != word.start() {
            return None;
        }
        let written = word.text(text);
        suggestion::nearest(&written.to_ascii_lowercase(), std::iter::once("chunk"))?;
        Some(written)
    })
}

/// What in a file's statements is not of the rows of a chunk alone. `told_apart` says whether
/// something that depends on the key and the columns of the table is none of that; `known` is what
/// the catalogue tells. One for each
/// statement at most.
pub(crate) fn spread(
    dialect: Dialect,
    file: &Path,
    table: &[String],
    statements: &[Statement],
    known: &Known<'_>,
    told_apart: impl Fn(&Spread) -> bool,
) -> Vec<Diagnostic> {
    let tokens: Vec<Vec<Token>> =
        statements.iter().map(|one| tokens(dialect, &one.text).unwrap_or_default()).collect();
    let readers: Vec<query::Reader<'_>> = statements
        .iter()
        .zip(&tokens)
        .map(|(one, tokens)| query::Reader::read(dialect, one, tokens, table, known))
        .collect();
    let meetings = query::meetings(&readers, known);
    let mut found = Vec::new();
    for (number, (statement, reader)) in statements.iter().zip(readers).enumerate() {
        let refuse = |rule, message: &str, help, start| {
            Diagnostic::error(rule, message).at(place_in(file, statement, start)).help(help)
        };
        if let Some((leak, start)) = query::leak(&reader) {
            found.push(refuse(leak.rule, leak.message, leak.help, start));
            continue;
        }
        let own = query::spread(reader);
        let met = meetings.iter().filter(|(of, _)| *of == number).map(|(_, one)| one);
        let wrong = own.iter().chain(met).find(|one| !told_apart(one));
        found.extend(wrong.map(|one| refuse(one.rule, &one.message, one.help, one.start)));
    }
    found
}

/// The tables that a statement writes, other than this one, as they are written.
pub(crate) fn written(
    dialect: Dialect,
    table: &[String],
    statement: &Statement,
) -> BTreeSet<String> {
    let tokens = tokens(dialect, &statement.text).unwrap_or_default();
    let known = Known::default();
    query::written(&query::Reader::read(dialect, statement, &tokens, table, &known), table)
}

/// Of each INSERT for which it counts which of several rows comes first: the columns of the walked
/// table that those rows share.
pub(crate) fn first_counts(
    dialect: Dialect,
    table: &[String],
    statement: &Statement,
    known: &Known<'_>,
) -> Vec<BTreeSet<String>> {
    let tokens = tokens(dialect, &statement.text).unwrap_or_default();
    query::first_counts(&query::Reader::read(dialect, statement, &tokens, table, known))
}

/// The tables that a statement reads or writes, as they are written.
pub(crate) fn touched(
    dialect: Dialect,
    table: &[String],
    statement: &Statement,
) -> BTreeSet<String> {
    let tokens = tokens(dialect, &statement.text).unwrap_or_default();
    query::touched(&query::Reader::read(dialect, statement, &tokens, table, &Known::default()))
}

/// The names in an expression, folded.
pub(crate) fn names(dialect: Dialect, expression: &str) -> BTreeSet<String> {
    let tokens = tokens(dialect, expression).unwrap_or_default();
    let source = facts::source::Source { dialect, text: expression, tokens: &tokens };
    let names = (0..tokens.len()).filter_map(|at| source.cursor(at).name());
    names.flat_map(|name| name.parts).collect()
}

/// The place of a byte of a statement.
fn place_in(file: &Path, statement: &Statement, offset: usize) -> Place {
    let (line, column) = line_and_column(&statement.text, offset);
    let column = if line == 1 { statement.column + column - 1 } else { column };
    Place::at(file, statement.line + line - 1, column)
}

/// `:chunk` in a file without `chunk-by`.
pub(super) fn refuse_places(file: &Path, statements: &[Statement]) -> Vec<Diagnostic> {
    let refused = statements.iter().filter_map(|statement| {
        let place = statement.facts.chunk_places.first()?;
        let message = "`:chunk` stands for nothing: the file has no `chunk-by`";
        Some(
            Diagnostic::error("needs-chunk-by", message)
                .at(place_in(file, statement, place.start))
                .help("add the header line `-- dunlin: chunk-by TABLE` (data migrations only)"),
        )
    });
    refused.collect()
}

/// The directives with the SQL in them read: a query is one query, a condition one condition, a
/// table a name; without white space or comments around it.
pub(crate) fn settle(
    dialect: Dialect,
    file: &Path,
    said: Said,
) -> Result<Directives, Vec<Diagnostic>> {
    let mut directives = said.directives.clone();
    let mut errors = Vec::new();
    let mut refuse = |word: &str, message: String, help: &str| {
        let message = format!("`{word}`: {message}");
        errors.push(
            Diagnostic::error("malformed-directive", message).at(said.place(word, file)).help(help),
        );
    };
    if let Some(query) = &mut directives.done_when {
        directives.done_when_line = said.place("done-when", file).line;
        match one_query(dialect, query) {
            Ok(read) => *query = read,
            Err(message) => refuse(
                "done-when",
                message,
                "for example: done-when SELECT NOT EXISTS (SELECT 1 FROM posts WHERE published_at \
                 IS NULL)",
            ),
        }
    }
    if let Some(chunking) = &mut directives.chunking {
        if let Some(filter) = &mut chunking.filter {
            chunking.filter_line = said.place("chunk-where", file).line;
            match condition(dialect, filter) {
                Ok(read) => *filter = read,
                Err(message) => {
                    refuse("chunk-where", message, "for example: chunk-where published_at IS NULL");
                }
            }
        }
        if table_key(dialect, &chunking.table).is_none() {
            let message = format!("`{}` is not the name of a table", chunking.table);
            refuse("chunk-by", message, "for example: chunk-by posts");
        }
        for column in &chunking.key {
            if column_key(dialect, column).is_none() {
                let message = format!("`{column}` is not the name of a column");
                refuse("chunk-key", message, "for example: chunk-key tenant_id, id");
            }
        }
    }
    if errors.is_empty() { Ok(directives) } else { Err(errors) }
}

/// The tokens of a text that is at most one statement.
///
/// # Errors
/// A sentence for a person, without a full stop.
pub(super) fn tokens(dialect: Dialect, text: &str) -> Result<Vec<Token>, String> {
    let mut lexer = Lexer::new(dialect, text);
    let mut tokens = Vec::new();
    loop {
        match lexer.next(false).map_err(|flaw| flaw.message)? {
            Lexeme::Blank => {}
            Lexeme::Token(token) => tokens.push(token),
            Lexeme::End => return Ok(tokens),
            Lexeme::Executable { .. } | Lexeme::Delimiter { .. } | Lexeme::Backslash { .. } => {
                return Err("it holds something other than SQL".to_owned());
            }
        }
    }
}

/// The stretch of a text that its tokens cover, if parentheses match and nothing ends in it.
fn covered(text: &str, tokens: &[Token]) -> Result<String, String> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Err("it is empty".to_owned());
    };
    let mut depth = 0_i64;
    for token in tokens {
        match token.kind {
            Kind::Punct(b'(') => depth += 1,
            Kind::Punct(b')') => depth -= 1,
            Kind::Punct(b';') => return Err("it is more than one".to_owned()),
            _ => {}
        }
        if depth < 0 {
            break;
        }
    }
    if depth != 0 {
        return Err("its parentheses do not match".to_owned());
    }
    Ok(text.get(first.start()..last.end()).unwrap_or_default().to_owned())
}

/// A condition on a table's columns.
fn condition(dialect: Dialect, text: &str) -> Result<String, String> {
    let tokens = tokens(dialect, text)?;
    if !facts::places::read(dialect, text, &tokens, 0).is_empty() {
        return Err("`:chunk` stands only in statements".to_owned());
    }
    let first = tokens.first().map(|token| token.text(text)).unwrap_or_default();
    if first.eq_ignore_ascii_case("WHERE") {
        return Err("leave the WHERE out: it takes the condition alone".to_owned());
    }
    covered(text, &tokens)
}

/// A query, with or without a `;` in the end.
fn one_query(dialect: Dialect, text: &str) -> Result<String, String> {
    let mut tokens = tokens(dialect, text)?;
    if tokens.last().is_some_and(|token| token.kind == Kind::Punct(b';')) {
        tokens.pop();
    }
    if !facts::places::read(dialect, text, &tokens, 0).is_empty() {
        return Err("`:chunk` stands only in statements".to_owned());
    }
    let query = covered(text, &tokens)?;
    let read = facts::read(dialect, text, &tokens);
    let writes = !facts::deeds(dialect, text, &tokens).is_empty()
        || facts::selects_into(dialect, text, &tokens);
    if !matches!(read.verb.as_str(), "SELECT" | "WITH" | "VALUES") || writes {
        return Err("it takes one query that writes nothing (SELECT, WITH or VALUES)".to_owned());
    }
    Ok(query)
}

/// How a table is known in [`dunlin_model::Facts::tables`], from its name as it is written.
pub(crate) fn table_key(dialect: Dialect, written: &str) -> Option<String> {
    let tokens = tokens(dialect, written).ok()?;
    facts::table_key(dialect, written, &tokens)
}

/// The parts of a table's name, folded, from how it is written; none where that is no name.
pub(crate) fn table_parts(dialect: Dialect, written: &str) -> Vec<String> {
    let tokens = tokens(dialect, written).unwrap_or_default();
    facts::table_parts(dialect, written, &tokens)
}

/// A column's name, folded to the server's case, from how it is written.
pub(crate) fn column_key(dialect: Dialect, written: &str) -> Option<String> {
    let tokens = tokens(dialect, written).ok()?;
    facts::column_key(dialect, written, &tokens)
}

/// Every write of a statement: more than one where a WITH holds several.
pub(crate) fn deeds(dialect: Dialect, statement: &Statement) -> Vec<super::Deed> {
    let tokens = tokens(dialect, &statement.text).unwrap_or_default();
    facts::deeds(dialect, &statement.text, &tokens)
}
