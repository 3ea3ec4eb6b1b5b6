//! Mistakes beside the condition in which `:chunk` stands, by name: the ON of an outer join, rows that
//! are skipped.
//!
//! As [`super::confinement`], for what it says; what is right is known to [`super::query`].

use dunlin_model::Statement;

use super::confinement::Leak;
use super::lex::{Kind, Token};

const OUTER: Leak = Leak {
    rule: "chunk-outer-join",
    message: "the ON of an outer join leaves no row out, so every chunk would have all of them",
    help: "put `:chunk` into the WHERE",
};

const SKIPS: Leak = Leak {
    rule: "chunk-skip-locked",
    message: "SKIP LOCKED leaves rows of the chunk out, and nothing comes back to them",
    help: "remove it: `lock-timeout` bounds how long a chunk waits, and it is tried again",
};

/// So many places, and pairs of parentheses around one, are looked at: people write a few of each,
/// and reading a file must take no more than its length.
const LOOKS_MAX: usize = 64;

/// What else a statement does, and the byte of the place that does not bound it.
pub(super) fn leak(statement: &Statement, tokens: &[Token]) -> Option<(Leak, usize)> {
    let places = &statement.facts.chunk_places;
    let text = Text { text: &statement.text, tokens };
    places.iter().take(LOOKS_MAX).find_map(|place| {
        let at = tokens.iter().position(|token| token.start() == place.start)?;
        text.outwards(at).map(|leak| (leak, place.start))
    })
}

#[derive(Clone, Copy)]
struct Text<'a> {
    text: &'a str,
    tokens: &'a [Token],
}

impl Text<'_> {
    /// From a place outwards, one pair of parentheses after the other.
    fn outwards(self, place: usize) -> Option<Leak> {
        let mut at = place;
        let mut in_query = false;
        for _ in 0..LOOKS_MAX {
            let open = self.opening(at);
            let begin = open.map_or(0, |open| open + 1);
            let flat = self.flat(begin);
            let (before, behind) = flat.split_at(flat.partition_point(|one| *one < at));
            if !in_query && self.is_in_outer_join(before) {
                return Some(OUTER);
            }
            let skips =
                |pair: &[usize]| self.is(pair[0], &["SKIP"]) && self.is(pair[1], &["LOCKED"]);
            if behind.windows(2).any(skips) {
                return Some(SKIPS);
            }
            in_query |= before.iter().any(|at| self.is(*at, &["SELECT"]));
            at = open?;
        }
        None
    }

    /// `… LEFT JOIN b ON …`, up to the place, with nothing but a condition behind the ON.
    fn is_in_outer_join(self, before: &[usize]) -> bool {
        const CLAUSES: [&str; 9] =
            ["ON", "WHERE", "HAVING", "SET", "SELECT", "JOIN", "GROUP", "ORDER", "WHEN"];
        let Some(clause) = before.iter().rposition(|at| self.is(*at, &CLAUSES)) else {
            return false;
        };
        let Some(join) = before[..clause].iter().rposition(|at| self.is(*at, &["JOIN"])) else {
            return false;
        };
        let mut kinds = before[..join].iter().rev().take(2);
        self.is(before[clause], &["ON"]) && kinds.any(|at| self.is(*at, &["LEFT", "RIGHT", "FULL"]))
    }

    fn kind(self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    fn is(self, at: usize, words: &[&str]) -> bool {
        self.tokens.get(at).is_some_and(|token| {
            let word = token.text(self.text);
            token.kind == Kind::Word && words.iter().any(|one| one.eq_ignore_ascii_case(word))
        })
    }

    /// The parenthesis around a token.
    fn opening(self, at: usize) -> Option<usize> {
        let mut depth = 0_usize;
        (0..at).rev().find(|before| match self.kind(*before) {
            Some(Kind::Punct(b')')) => {
                depth += 1;
                false
            }
            Some(Kind::Punct(b'(')) if depth == 0 => true,
            Some(Kind::Punct(b'(')) => {
                depth -= 1;
                false
            }
            _ => false,
        })
    }

    /// The tokens at one depth, from its first one on; of parentheses the opening one alone.
    fn flat(self, begin: usize) -> Vec<usize> {
        let mut flat = Vec::new();
        let mut depth = 0_usize;
        for at in begin..self.tokens.len() {
            match self.kind(at) {
                Some(Kind::Punct(b')')) if depth == 0 => break,
                Some(Kind::Punct(b')')) => depth -= 1,
                kind => {
                    if depth == 0 {
                        flat.push(at);
                    }
                    depth += usize::from(kind == Some(Kind::Punct(b'(')));
                }
            }
        }
        flat
    }
}
