//! Whether a `:chunk` really keeps a statement inside its chunk.
//!
//! A statement that has `:chunk` and still touches other rows does so once for every chunk, and on
//! a small table no plan gives it away. Owns what its tokens alone tell: a `:chunk` beside an OR or
//! a UNION without one, below a NOT, in the ON of an outer join, or cut short by a LIMIT. What is
//! left out: groups that reach over chunks, which need the key, and what only a server knows.

use super::lex::{Kind, Token};

/// Why a statement leaves its chunk, with what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) rule: &'static str,
    pub(super) message: &'static str,
    pub(super) help: &'static str,
}

const OR: Stray = Stray {
    rule: "chunk-beside-or",
    message: "rows on the other side of the OR are in every chunk",
    help: "put the condition into parentheses: (a OR b) AND :chunk",
};

const UNION: Stray = Stray {
    rule: "chunk-beside-union",
    message: "the other query of the UNION has no `:chunk`, so every chunk would run it",
    help: "give each of them a `:chunk`, or make them statements of their own",
};

const NOT: Stray = Stray {
    rule: "chunk-under-not",
    message: "below NOT, `:chunk` means every row outside of the chunk",
    help: "put `:chunk` beside the NOT, on the table that is walked: NOT (…) AND :chunk",
};

const OUTER: Stray = Stray {
    rule: "chunk-in-outer-join",
    message: "the ON of an outer join leaves no row out, so every chunk would have all of them",
    help: "put `:chunk` into the WHERE",
};

const LIMIT: Stray = Stray {
    rule: "chunk-cut-short",
    message: "a chunk holds rows that LIMIT, FETCH or SKIP LOCKED leaves out, and nothing comes \
              back for them",
    help: "leave it out (`chunk-rows` sets a chunk's size)",
};

/// Words that a condition neither begins before nor goes on behind, at its own depth.
const BORDERS: [&str; 31] = [
    "WHERE",
    "ON",
    "HAVING",
    "SELECT",
    "SET",
    "FROM",
    "USING",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "NATURAL",
    "GROUP",
    "ORDER",
    "LIMIT",
    "FETCH",
    "OFFSET",
    "WINDOW",
    "FOR",
    "RETURNING",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "WHEN",
    "THEN",
    "VALUES",
    "UPDATE",
    "DELETE",
    "INSERT",
];

/// So many places and pairs of parentheses around one are looked at. People write a few of each,
/// and reading a file takes no more than its length.
const LOOKS_MAX: usize = 64;

/// A statement's tokens.
#[derive(Clone, Copy)]
struct Text<'a> {
    text: &'a str,
    tokens: &'a [Token],
    /// Where each `:chunk` begins.
    places: &'a [usize],
}

/// Looks at each `:chunk` of a statement, by the offsets at which they begin.
pub(super) fn stray(text: &str, tokens: &[Token], places: &[usize]) -> Option<(usize, Stray)> {
    let text = Text { text, tokens, places };
    places.iter().take(LOOKS_MAX).find_map(|place| {
        let at = tokens.iter().position(|token| token.start() == *place)?;
        text.stray_at(at).map(|stray| (*place, stray))
    })
}

impl Text<'_> {
    /// From the place outwards, one pair of parentheses after the other.
    fn stray_at(self, place: usize) -> Option<Stray> {
        let mut at = place;
        for _ in 0..LOOKS_MAX {
            let open = self.opening(at);
            let begin = open.map_or(0, |open| open + 1);
            let flat = self.flat(begin);
            let own = flat.iter().position(|one| *one >= at).unwrap_or(flat.len());
            if let Some(stray) = self.stray_among(&flat, own, at == place) {
                return Some(stray);
            }
            at = open?;
        }
        None
    }

    /// `flat[own]` is the place, or the parenthesis around it.
    fn stray_among(self, flat: &[usize], own: usize, direct: bool) -> Option<Stray> {
        let before = |back: usize| own.checked_sub(back).map(|at| flat[at]);
        let is = |at: Option<usize>, words: &[&str]| at.is_some_and(|at| self.is(at, words));
        let negated = is(before(1), &["NOT"])
            || is(before(1), &["IN", "EXISTS"]) && is(before(2), &["NOT"])
            || is(before(1), &["ALL"]) && !direct && !is(before(2), &["UNION"]);
        if negated {
            return Some(NOT);
        }
        let border = |at: &usize| self.is(*at, &BORDERS);
        let first = flat[..own].iter().rposition(border).map_or(0, |at| at + 1);
        let last =
            flat[own..].iter().skip(1).position(border).map_or(flat.len(), |at| own + 1 + at);
        if !self.each_has_a_place(&flat[first..last], flat.get(last), &["OR", "XOR"]) {
            return Some(OR);
        }
        if !self.each_has_a_place(flat, None, &["UNION"]) {
            return Some(UNION);
        }
        if direct && first > 0 && self.is_outer_join(&flat[..first]) {
            return Some(OUTER);
        }
        let cut = flat[own..].iter().enumerate().any(|(at, token)| {
            let next = flat.get(own + at + 1).copied();
            self.is(*token, &["LIMIT"])
                || self.is(*token, &["FETCH"]) && is(next, &["FIRST", "NEXT"])
                || self.is(*token, &["SKIP"]) && is(next, &["LOCKED"])
        });
        cut.then_some(LIMIT)
    }

    /// Whether all parts between these words hold a `:chunk`, at any depth.
    fn each_has_a_place(self, flat: &[usize], behind: Option<&usize>, words: &[&str]) -> bool {
        let mut begin = flat.first().copied().unwrap_or(0);
        let cuts = flat.iter().copied().filter(|at| self.is(*at, words));
        let cuts: Vec<usize> = cuts.chain([self.end(flat, behind)]).collect();
        let alone = cuts.len() == 1;
        alone
            || cuts.into_iter().all(|cut| {
                let from = self.tokens.get(begin).map_or(usize::MAX, |token| token.start());
                let upto = self.tokens.get(cut).map_or(usize::MAX, |token| token.start());
                begin = cut + 1;
                self.places.iter().any(|place| (from..upto).contains(place))
            })
    }

    /// The token behind these, those in parentheses included.
    fn end(self, flat: &[usize], behind: Option<&usize>) -> usize {
        if let Some(behind) = behind {
            return *behind;
        }
        let last = flat.last().copied().unwrap_or(0);
        if self.kind(last) == Some(Kind::Punct(b'(')) { self.closing(last) + 1 } else { last + 1 }
    }

    /// `… LEFT JOIN b ON`, up to the ON.
    fn is_outer_join(self, flat: &[usize]) -> bool {
        let on = flat.last().is_some_and(|at| self.is(*at, &["ON"]));
        let join = flat.iter().rposition(|at| self.is(*at, &["JOIN"]));
        let mut kinds = flat[..join.unwrap_or(0)].iter().rev().take(2);
        on && kinds.any(|at| self.is(*at, &["LEFT", "RIGHT", "FULL"]))
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
        for before in (0..at).rev() {
            match self.kind(before) {
                Some(Kind::Punct(b')')) => depth += 1,
                Some(Kind::Punct(b'(')) if depth == 0 => return Some(before),
                Some(Kind::Punct(b'(')) => depth -= 1,
                _ => {}
            }
        }
        None
    }

    /// Where a parenthesis closes; behind the last token if it doesn't.
    fn closing(self, open: usize) -> usize {
        let mut depth = 0_usize;
        for at in open..self.tokens.len() {
            match self.kind(at) {
                Some(Kind::Punct(b'(')) => depth += 1,
                Some(Kind::Punct(b')')) if depth <= 1 => return at,
                Some(Kind::Punct(b')')) => depth -= 1,
                _ => {}
            }
        }
        self.tokens.len()
    }

    /// The tokens at one depth, from its first one on: of what is in parentheses only the opening
    /// one, of CASE … END only the END.
    fn flat(self, begin: usize) -> Vec<usize> {
        let mut flat = Vec::new();
        let mut cases = Vec::new();
        let mut at = begin;
        while let Some(kind) = self.kind(at) {
            match kind {
                Kind::Punct(b')') => break,
                Kind::Word if self.is(at, &["CASE"]) => cases.push(flat.len()),
                Kind::Word if self.is(at, &["END"]) => {
                    if let Some(case) = cases.pop() {
                        flat.truncate(case);
                    }
                }
                _ => {}
            }
            flat.push(at);
            at = if kind == Kind::Punct(b'(') { self.closing(at) + 1 } else { at + 1 };
        }
        flat
    }
}
