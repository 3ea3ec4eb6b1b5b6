//! Routines that take data away, wherever in a folder they are defined.
//!
//! Who calls one takes data away as well, by whatever statement. Names are compared by their last
//! part: which schema an unqualified one is found in is the server's to know.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_model::Dialect;

use super::is_routine_definition;
use super::later::defined_name;
use super::source::Source;
use super::unread::{content, text_destroys};
use crate::sql::lex::{Kind, Lexeme, Lexer, Token};
use crate::sql::split::Splitter;

/// How deep strings in strings are looked into for calls.
const DEPTH_MAX: usize = 4;

/// What one file defines.
#[derive(Debug)]
struct Routine<K> {
    file: K,
    name: String,
    calls: BTreeSet<String>,
}

/// Routines of files that are told one after another, each under a key.
#[derive(Debug)]
pub(crate) struct Destroyers<K> {
    /// By name, the first file that defines it so.
    by_name: BTreeMap<String, K>,
}

impl<K: Copy + Ord> Destroyers<K> {
    /// Reads the files' texts. What can't be read as SQL defines nothing.
    pub(crate) fn read<'a>(dialect: Dialect, files: impl Iterator<Item = (K, &'a [u8])>) -> Self {
        let mut by_name = BTreeMap::new();
        let mut others = Vec::new();
        for (file, bytes) in files {
            let Some(text) = std::str::from_utf8(bytes).ok().filter(|_| may_define(bytes)) else {
                continue;
            };
            let mut splitter = Splitter::new(dialect, text);
            while let Ok(Some(piece)) = splitter.next() {
                let facts = super::read(dialect, text, &splitter.tokens);
                let body = text.get(piece.body).unwrap_or_default();
                if !is_routine_definition(&facts) {
                    continue;
                }
                let Some(name) = defined_name(dialect, body).map(|name| last(&name)) else {
                    continue;
                };
                if text_destroys(dialect, body) {
                    by_name.entry(name).or_insert(file);
                } else {
                    others.push(Routine { file, name, calls: called(dialect, body) });
                }
            }
        }
        // Who calls one that does, does it too.
        loop {
            let before = by_name.len();
            for one in &others {
                if !by_name.contains_key(&one.name)
                    && one.calls.iter().any(|name| by_name.contains_key(name))
                {
                    by_name.insert(one.name.clone(), one.file);
                }
            }
            if by_name.len() == before {
                return Self { by_name };
            }
        }
    }

    /// The first routine of `below` or a lower file that a statement calls.
    pub(crate) fn called_by(&self, dialect: Dialect, text: &str, below: K) -> Option<&str> {
        if self.by_name.is_empty() {
            return None;
        }
        let calls = called(dialect, text);
        let mut known = self.by_name.iter();
        known
            .find(|(name, file)| **file <= below && calls.contains(*name))
            .map(|(name, _)| name.as_str())
    }
}

/// Whether a file may define a routine: most don't, and need not be read.
fn may_define(bytes: &[u8]) -> bool {
    [b"FUNCTION".as_slice(), b"PROCEDURE"].iter().any(|word| {
        let first = [word[0], word[0].to_ascii_lowercase()];
        let mut at = 0;
        while let Some(next) = bytes[at..].iter().position(|byte| first.contains(byte)) {
            at += next;
            if bytes.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word))
            {
                return true;
            }
            at += 1;
        }
        false
    })
}

fn last(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

/// The last names of all that a text calls, its strings included: a body may stand in one.
fn called(dialect: Dialect, text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    note_calls(dialect, text, 0, &mut names);
    names
}

fn note_calls(dialect: Dialect, text: &str, depth: usize, names: &mut BTreeSet<String>) {
    let tokens = tokens(dialect, text);
    let source = Source { dialect, text, tokens: &tokens };
    let mut at = 0;
    while at < source.len() {
        let quoted = source.kind(at) == Some(Kind::Str);
        if quoted && depth < DEPTH_MAX {
            note_calls(dialect, &content(dialect, source.token_text(at)), depth + 1, names);
        }
        let mut cursor = source.cursor(at);
        let Some(name) = cursor.name().filter(|_| !quoted) else {
            at += 1;
            continue;
        };
        let call = at > 0 && source.is(at - 1, "CALL");
        if call || source.punct(cursor.at, b'(') {
            names.insert(last(&name.key(dialect)));
        }
        at = cursor.at;
    }
}

/// The tokens of a text that need not be whole statements.
fn tokens(dialect: Dialect, text: &str) -> Vec<Token> {
    let mut lexer = Lexer::new(dialect, text);
    let mut tokens = Vec::new();
    loop {
        let before = lexer.at;
        match lexer.next(false) {
            Ok(Lexeme::End) => return tokens,
            Ok(Lexeme::Token(token)) => tokens.push(token),
            Ok(_) => {}
            Err(_) if before >= text.len() => return tokens,
            Err(flaw) => lexer.at = (flaw.at + 1).max(before + 1),
        }
    }
}
