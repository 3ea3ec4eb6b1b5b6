//! The usual mistakes about `:chunk`, by name.
//!
//! By tokens and levels of parentheses, from the place outwards: a condition that other rows pass as
//! well, one that is turned round, rows that a LIMIT leaves out, a range that stands in a value alone.
//! It is here for what it says: what it does not find is refused all the same, in other words, unless
//! it is known to be right ([`super::query`]).

use std::ops::Range;

use dunlin_model::{ChunkPlace, Statement};

use super::lex::{Kind, Token};

/// Why a statement does not do each row of a chunk, or does others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leak {
    /// The rule's name.
    pub(super) rule: &'static str,
    /// What is wrong.
    pub(super) message: &'static str,
    /// What to write instead.
    pub(super) help: &'static str,
}

const EITHER: Leak = Leak {
    rule: "chunk-or",
    message: "`:chunk` is one side of an OR, so every chunk would do the other side's rows again",
    help: "put parentheses round the OR: WHERE (a OR b) AND :chunk",
};

const TURNED: Leak = Leak {
    rule: "chunk-not",
    message: "`:chunk` stands under a NOT, so every chunk would do the rows of all others",
    help: "write `:chunk` beside the NOT: WHERE NOT EXISTS (…) AND :chunk",
};

pub(super) const SOME: Leak = Leak {
    rule: "chunk-limit",
    message: "a LIMIT (OFFSET, FETCH FIRST) leaves rows of the chunk out, and nothing comes back to \
              them",
    help: "remove it: chunks have their size from `chunk-rows` and `chunk-time`",
};

const VALUE: Leak = Leak {
    rule: "chunk-in-value",
    message: "`:chunk` stands only in a value, so every chunk would write all rows",
    help: "write `AND :chunk` in the WHERE of the statement, for the table that it writes",
};

/// Words between which a condition stands.
const CLAUSES: [&str; 33] = [
    "WHERE",
    "ON",
    "HAVING",
    "SET",
    "SELECT",
    "FROM",
    "USING",
    "WHEN",
    "THEN",
    "ELSE",
    "VALUES",
    "UPDATE",
    "DELETE",
    "INSERT",
    "REPLACE",
    "MERGE",
    "JOIN",
    "INNER",
    "CROSS",
    "NATURAL",
    "GROUP",
    "ORDER",
    "LIMIT",
    "FETCH",
    "OFFSET",
    "RETURNING",
    "WINDOW",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "FOR",
    "DO",
    "WITH",
];

/// What is wrong with where `:chunk` stands in a statement, and the byte of the place.
pub(super) fn leak(statement: &Statement, tokens: &[Token]) -> Option<(Leak, usize)> {
    let places = &statement.facts.chunk_places;
    let text = Text { text: &statement.text, tokens, places };
    let mut only_in_values = true;
    for place in places {
        let first = tokens.iter().position(|token| token.start() == place.start)?;
        let last = tokens.iter().rposition(|token| token.end() == place.end)?;
        match text.look(first, last) {
            Ok(in_value) => only_in_values &= in_value,
            Err(leak) => return Some((leak, place.start)),
        }
    }
    let place = places.first()?;
    only_in_values.then_some((VALUE, place.start))
}

struct Text<'a> {
    text: &'a str,
    tokens: &'a [Token],
    places: &'a [ChunkPlace],
}

impl Text<'_> {
    fn is(&self, at: usize, words: &[&str]) -> bool {
        self.tokens.get(at).is_some_and(|token| {
            token.kind == Kind::Word
                && words.iter().any(|word| token.text(self.text).eq_ignore_ascii_case(word))
        })
    }

    fn punct(&self, at: usize, byte: u8) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == Kind::Punct(byte))
    }

    /// Looks from a place outwards. `true`: it stands in a value that is assigned.
    fn look(&self, first: usize, last: usize) -> Result<bool, Leak> {
        let (mut first, mut last) = (first, last);
        let mut in_value = false;
        loop {
            if self.is_turned(first) {
                return Err(TURNED);
            }
            let (open, assigns) = self.before(first)?;
            let close = self.behind(last)?;
            in_value |= assigns;
            let (Some(open), Some(close)) = (open, close) else { return Ok(in_value) };
            (first, last) = (open, close);
        }
    }

    /// Whether what begins here is turned round: `NOT :chunk`, `NOT (…)`, `NOT EXISTS (…)`,
    /// `NOT IN (…)`, `<> ALL (…)`.
    fn is_turned(&self, at: usize) -> bool {
        let Some(before) = at.checked_sub(1) else { return false };
        if self.is(before, &["EXISTS", "IN"]) {
            return before.checked_sub(1).is_some_and(|at| self.is(at, &["NOT"]));
        }
        if self.is(before, &["ALL"]) {
            let sets = ["UNION", "EXCEPT", "INTERSECT"];
            return !before.checked_sub(1).is_some_and(|at| self.is(at, &sets));
        }
        self.is(before, &["NOT"])
    }

    /// Where the parentheses open in which something stands, and whether a SET comes before it
    /// there.
    fn before(&self, first: usize) -> Result<(Option<usize>, bool), Leak> {
        let mut depth = 0_usize;
        // The end of an OR's other side, while we are in it.
        let mut side = None;
        let mut beside = true;
        let mut clause = None;
        let mut open = None;
        for at in (0..first).rev() {
            if self.punct(at, b')') || self.is(at, &["END"]) {
                depth += 1;
            } else if self.punct(at, b'(') || self.is(at, &["CASE"]) {
                if depth == 0 {
                    open = Some(at);
                    break;
                }
                depth -= 1;
            } else if depth > 0 {
                continue;
            } else if beside && self.is(at, &["OR", "XOR"]) {
                self.confined(side.map(|end| at + 1..end))?;
                side = Some(at);
            } else if self.punct(at, b',') || self.is(at, &CLAUSES) {
                self.confined(side.take().map(|end| at + 1..end))?;
                beside = false;
                if !self.punct(at, b',') {
                    clause.get_or_insert_with(|| self.is(at, &["SET"]));
                }
            }
        }
        self.confined(side.map(|end| open.map_or(0, |open| open + 1)..end))?;
        Ok((open, clause == Some(true)))
    }

    /// Where the parentheses close in which something stands.
    fn behind(&self, last: usize) -> Result<Option<usize>, Leak> {
        let mut depth = 0_usize;
        let mut side = None;
        let mut beside = true;
        let mut close = None;
        for at in last + 1..self.tokens.len() {
            if self.punct(at, b'(') || self.is(at, &["CASE"]) {
                depth += 1;
            } else if self.punct(at, b')') || self.is(at, &["END"]) {
                if depth == 0 {
                    close = Some(at);
                    break;
                }
                depth -= 1;
            } else if depth > 0 {
                continue;
            } else if beside && self.is(at, &["OR", "XOR"]) {
                self.confined(side.map(|begin| begin..at))?;
                side = Some(at + 1);
            } else if self.is(at, &["LIMIT"])
                || (self.is(at, &["FETCH"]) && self.is(at + 1, &["FIRST", "NEXT"]))
                || self.is_offset(at)
            {
                return Err(SOME);
            } else if self.punct(at, b',') || self.is(at, &CLAUSES) {
                self.confined(side.take().map(|begin| begin..at))?;
                beside = false;
            }
        }
        self.confined(side.map(|begin| begin..close.unwrap_or(self.tokens.len())))?;
        Ok(close)
    }

    /// `OFFSET 5`, which PostgreSQL takes without a LIMIT; elsewhere a column may be called so.
    fn is_offset(&self, at: usize) -> bool {
        let number = |at: usize| self.tokens.get(at).is_some_and(|one| one.kind == Kind::Number);
        self.is(at, &["OFFSET"]) && number(at + 1)
    }

    /// Whether the other side of an OR has a `:chunk` of its own.
    fn confined(&self, side: Option<Range<usize>>) -> Result<(), Leak> {
        let Some(tokens) = side.and_then(|side| self.tokens.get(side)) else { return Ok(()) };
        let is_place = |token: &Token| self.places.iter().any(|one| one.start == token.start());
        if tokens.iter().any(is_place) { Ok(()) } else { Err(EITHER) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dunlin_model::Dialect;

    use crate::directive::Subject;
    use crate::sql::parse_script;

    fn rule(statement: &str) -> Option<&'static str> {
        let text = format!("-- dunlin: chunk-by t\n{statement};");
        let read = parse_script(
            Dialect::Postgres,
            Path::new("1_a.sql"),
            text.as_bytes(),
            Subject::DataSql,
        );
        read.err().map(|errors| errors[0].rule)
    }

    #[test]
    fn what_other_rows_pass_as_well_is_refused() {
        for (statement, expected) in [
            ("UPDATE t SET a = 1 WHERE a IS NULL OR :chunk", "chunk-or"),
            ("UPDATE t SET a = 1 WHERE a IS NULL OR b = 1 AND :chunk", "chunk-or"),
            ("UPDATE t SET a = 1 WHERE (a = 2 AND :chunk) or b", "chunk-or"),
            ("DELETE FROM t WHERE b OR id IN (SELECT id FROM t WHERE :chunk)", "chunk-or"),
            ("UPDATE t SET a = 1 WHERE a AND :chunk OR b OR :chunk AND c", "chunk-or"),
            ("UPDATE t SET a = 1 WHERE NOT :chunk", "chunk-not"),
            ("DELETE FROM t WHERE NOT (b AND :chunk)", "chunk-not"),
            ("DELETE FROM o WHERE id NOT IN (SELECT id FROM t WHERE :chunk)", "chunk-not"),
            (
                "DELETE FROM o WHERE NOT EXISTS (SELECT FROM t WHERE t.o = o.id AND :chunk(t))",
                "chunk-not",
            ),
            ("DELETE FROM o WHERE id <> ALL (SELECT id FROM t WHERE :chunk)", "chunk-not"),
            (
                "DELETE FROM t WHERE id IN (SELECT id FROM t WHERE b AND :chunk LIMIT 100)",
                "chunk-limit",
            ),
            ("INSERT INTO o SELECT * FROM t WHERE :chunk FETCH FIRST 5 ROWS ONLY", "chunk-limit"),
            ("INSERT INTO o SELECT * FROM t WHERE :chunk ORDER BY a OFFSET 5", "chunk-limit"),
            (
                "UPDATE o SET n = (SELECT count(*) FROM t WHERE t.o = o.id AND :chunk(t))",
                "chunk-in-value",
            ),
            (
                "UPDATE o SET m = 1, n = (SELECT 1 FROM t WHERE :chunk) WHERE m = 0",
                "chunk-in-value",
            ),
        ] {
            assert_eq!(rule(statement), Some(expected), "{statement}");
        }
    }

    #[test]
    fn what_is_confined_passes() {
        let mut wrong = Vec::new();
        for statement in [
            "UPDATE t SET a = 1 WHERE (a IS NULL OR b) AND :chunk",
            "UPDATE t SET a = b OR c WHERE :chunk",
            "UPDATE t SET a = 1 WHERE a AND :chunk OR (b AND :chunk) OR :chunk AND c",
            "UPDATE t SET a = 1 WHERE CASE WHEN a OR b THEN c OR d END AND :chunk",
            "UPDATE t SET a = 1 WHERE a NOT IN (1, 2) AND b IS NOT NULL AND :chunk",
            "UPDATE t SET a = 1 WHERE :chunk AND NOT EXISTS (SELECT 1 FROM o LIMIT 1)",
            "UPDATE t AS p SET a = o.a FROM o JOIN q ON o.x OR q.x WHERE :chunk(p)",
            "UPDATE t SET a = (SELECT n FROM o WHERE x OR y ORDER BY n LIMIT 1) WHERE :chunk",
            "INSERT INTO o SELECT * FROM t WHERE :chunk ORDER BY offset, id",
            "UPDATE o SET n = 1 FROM (SELECT o, count(*) n FROM t WHERE :chunk GROUP BY o) s \
             WHERE s.o = o.id OR s.o = o.other",
            "WITH x AS (DELETE FROM t WHERE :chunk RETURNING *) INSERT INTO o SELECT * FROM x \
             WHERE a OR b",
            "INSERT INTO o SELECT * FROM t WHERE :chunk ON CONFLICT (id) DO UPDATE SET a = 1 \
             WHERE o.a OR o.b",
            "MERGE INTO o USING (SELECT * FROM t WHERE :chunk) s ON o.a = s.a OR o.b = s.b \
             WHEN MATCHED THEN UPDATE SET c = 1",
            "SELECT f(id) FROM t WHERE :chunk",
        ] {
            wrong.extend(rule(statement).map(|rule| (rule, statement)));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
