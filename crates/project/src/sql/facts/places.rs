//! Where `:chunk` stands in a statement.
//!
//! By tokens, so never in a string, a comment or a dollar quote; and neither in `::chunk`, which is
//! a cast, in `a[1:chunk]`, which is a slice, nor in `:chunky`.

use dunlin_model::{ChunkPlace, Dialect};

use super::source::Source;
use crate::sql::lex::{Kind, Token};

/// The word after the colon. psql's variables know upper from lower case, and so do we.
const CHUNK: &str = "chunk";

/// The places in a statement; `begin` is where its text begins in the file.
pub(in crate::sql) fn read(
    dialect: Dialect,
    text: &str,
    tokens: &[Token],
    begin: usize,
) -> Vec<ChunkPlace> {
    let source = Source { dialect, text, tokens };
    let mut places = Vec::new();
    let mut brackets = 0_usize;
    for at in 0..source.len() {
        match source.kind(at) {
            Some(Kind::Punct(b'[')) => brackets += 1,
            Some(Kind::Punct(b']')) => brackets = brackets.saturating_sub(1),
            Some(Kind::Punct(b':')) if brackets == 0 && is_place(source, at) => {
                let (end, alias) = alias(source, at + 1);
                let Some(start) = tokens.get(at).map(|token| token.start()) else { continue };
                places.push(ChunkPlace {
                    start: start.saturating_sub(begin),
                    end: end.saturating_sub(begin),
                    alias,
                });
            }
            _ => {}
        }
    }
    places
}

/// Whether two neighbouring tokens have nothing between them.
fn adjoin(source: Source<'_>, at: usize) -> bool {
    match (source.tokens.get(at), source.tokens.get(at + 1)) {
        (Some(one), Some(next)) => one.end() == next.start(),
        _ => false,
    }
}

fn is_place(source: Source<'_>, at: usize) -> bool {
    let cast = at > 0 && source.punct(at - 1, b':') && adjoin(source, at - 1);
    !cast && source.word(at + 1) == Some(CHUNK) && adjoin(source, at)
}

/// The end of `:chunk` or `:chunk(alias)` in the file, and the alias as it is written. A
/// parenthesis that holds anything else is left alone, and refused later.
fn alias(source: Source<'_>, word: usize) -> (usize, Option<String>) {
    let end = source.tokens.get(word).map_or(0, |token| token.end());
    if !adjoin(source, word) || !source.punct(word + 1, b'(') {
        return (end, None);
    }
    let mut cursor = source.cursor(word + 2);
    match (cursor.name(), source.tokens.get(cursor.at)) {
        (Some(name), Some(close)) if close.kind == Kind::Punct(b')') => {
            (close.end(), Some(name.written))
        }
        _ => (end, None),
    }
}
