//! SQL that is not read as a statement: the body of a routine or a DO block, and strings that
//! dynamic SQL may run.
//!
//! Its words decide, strings within strings included, comments left out; in doubt it destroys.
//! Which word may follow DROP or RENAME without data going depends on the grammar there: after
//! ALTER TABLE a column may be named `role`, elsewhere DROP ROLE drops a role.

use dunlin_model::Dialect;

use super::source::Source;
use crate::sql::lex::{Kind, Lexeme, Lexer};

/// Whether a body, or another text that is not read as a statement, names something that destroys
/// data.
pub(super) fn text_destroys(dialect: Dialect, text: &str) -> bool {
    let mut words = Words { dialect, pieces: Vec::new(), too_odd: false };
    words.take(text, 0);
    words.destroy()
}

/// Whether the strings of a statement, put together as they stand, hold SQL that destroys data.
pub(super) fn strings_destroy(source: Source<'_>) -> bool {
    let mut words = Words { dialect: source.dialect, pieces: Vec::new(), too_odd: false };
    for (index, kind) in (0..source.len()).filter_map(|i| Some((i, source.kind(i)?))) {
        // The statement's own words are read elsewhere.
        let kind = if kind == Kind::Word { Kind::Quoted } else { kind };
        words.push(kind, source.token_text(index), 0);
    }
    words.destroy()
}

/// A token, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// In upper case.
    Word(String),
    /// A quoted name.
    Name,
    /// Where a string begins or ends, and in how many strings the next piece is.
    Edge(usize),
    /// Any other byte.
    Mark(u8),
}

/// The tokens of a text, those of its strings in their place.
struct Words {
    dialect: Dialect,
    pieces: Vec<Piece>,
    /// Nested too deeply, or too broken, to be told anything about.
    too_odd: bool,
}

impl Words {
    fn destroy(&self) -> bool {
        self.too_odd || Scan::new(self.dialect, &self.pieces).finds()
    }

    fn take(&mut self, text: &str, depth: usize) {
        const DEPTH_MAX: usize = 12;
        // A part of a statement need not be whole: `it's` is read on behind the quote.
        const FLAWS_MAX: usize = 64;
        if depth > DEPTH_MAX {
            self.too_odd = true;
            return;
        }
        let mut lexer = Lexer::new(self.dialect, text);
        let mut flaws = 0;
        loop {
            let before = lexer.at;
            match lexer.next(false) {
                Ok(Lexeme::End) => return,
                Ok(Lexeme::Token(token)) => self.push(token.kind, token.text(text), depth),
                Ok(Lexeme::Backslash { .. }) => self.pieces.push(Piece::Mark(b'\\')),
                Ok(_) => {}
                Err(_) if before >= text.len() => return,
                Err(flaw) => {
                    flaws += 1;
                    if flaws > FLAWS_MAX {
                        self.too_odd = true;
                        return;
                    }
                    lexer.at = flaw.at + 1;
                }
            }
        }
    }

    fn push(&mut self, kind: Kind, text: &str, depth: usize) {
        match kind {
            Kind::Word => self.pieces.push(Piece::Word(text.to_ascii_uppercase())),
            Kind::Quoted | Kind::Number => self.pieces.push(Piece::Name),
            Kind::Punct(byte) => self.pieces.push(Piece::Mark(byte)),
            Kind::Str => {
                self.pieces.push(Piece::Edge(depth + 1));
                self.take(&content(self.dialect, text), depth + 1);
                self.pieces.push(Piece::Edge(depth));
            }
        }
    }
}

/// What a string says, near enough for words: of its escapes only those for white space count.
pub(super) fn content(dialect: Dialect, text: &str) -> String {
    if text.starts_with('$') {
        let mark = text.get(1..).and_then(|rest| rest.find('$')).map_or(0, |at| at + 2);
        let end = text.len().saturating_sub(mark);
        return text.get(mark..end).unwrap_or_default().to_owned();
    }
    let escapes = dialect == Dialect::Mysql || text.starts_with(['e', 'E']);
    let Some((open, quote)) = text.char_indices().find(|(_, c)| matches!(c, '\'' | '"')) else {
        return text.to_owned();
    };
    let mut inner = text.get(open + 1..).unwrap_or_default().chars().peekable();
    let mut said = String::with_capacity(text.len());
    while let Some(c) = inner.next() {
        if c == '\\' && escapes {
            said.push(match inner.next() {
                Some('n' | 't' | 'r' | 'b' | 'f' | '0') | None => ' ',
                Some(other) => other,
            });
        } else if c != quote || inner.next_if_eq(&quote).is_some() {
            said.push(c);
        } else {
            // The end, or the gap of a string that goes on in the next line.
            said.push(' ');
        }
    }
    said
}

/// What is being altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Altered {
    Nothing,
    /// A table, or what cannot be told.
    Table,
    /// A schema or database.
    Container,
    Type,
    /// Something that holds no data.
    Harmless,
}

/// Kinds of objects that hold no data.
const HOLDS_NOTHING: [&str; 25] = [
    "INDEX",
    "FUNCTION",
    "PROCEDURE",
    "ROUTINE",
    "AGGREGATE",
    "TRIGGER",
    "VIEW",
    "POLICY",
    "RULE",
    "ROLE",
    "USER",
    "GROUP",
    "PUBLICATION",
    "SUBSCRIPTION",
    "PREPARE",
    "SEQUENCE",
    "EVENT",
    "MATERIALIZED",
    "OPERATOR",
    "CAST",
    "COLLATION",
    "STATISTICS",
    "TEMPORARY",
    "LANGUAGE",
    "PACKAGE",
];

/// Reads the pieces from front to back.
struct Scan<'a> {
    dialect: Dialect,
    pieces: &'a [Piece],
    at: usize,
    /// In how many strings we are.
    depth: usize,
    altered: Altered,
    /// An ALTER [COLUMN] of a table began in a string of this depth.
    column: Option<usize>,
    /// A DELETE that has no WHERE so far, and how many parentheses were open there.
    delete: Option<i64>,
    parentheses: i64,
}

impl<'a> Scan<'a> {
    fn new(dialect: Dialect, pieces: &'a [Piece]) -> Self {
        Self {
            dialect,
            pieces,
            at: 0,
            depth: 0,
            altered: Altered::Nothing,
            column: None,
            delete: None,
            parentheses: 0,
        }
    }

    fn finds(mut self) -> bool {
        while let Some(piece) = self.pieces.get(self.at) {
            let found = match piece {
                Piece::Word(word) => self.word(word),
                Piece::Mark(byte) => self.mark(*byte),
                Piece::Edge(depth) => {
                    self.depth = *depth;
                    false
                }
                Piece::Name => false,
            };
            if found {
                return true;
            }
            self.at += 1;
        }
        self.delete.is_some()
    }

    /// Whether one of these words stands so many pieces further on.
    fn is(&self, ahead: usize, words: &[&str]) -> bool {
        matches!(self.pieces.get(self.at + ahead), Some(Piece::Word(w)) if words.contains(&w.as_str()))
    }

    fn is_before(&self, words: &[&str]) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.pieces.get(at));
        matches!(before, Some(Piece::Word(w)) if words.contains(&w.as_str()))
    }

    fn mark(&mut self, byte: u8) -> bool {
        match byte {
            b';' => {
                self.altered = Altered::Nothing;
                self.column = None;
                return self.delete.take().is_some();
            }
            // Not that of CONCAT, which puts the next part behind this one.
            b',' if self.column.is_some_and(|begun| begun <= self.depth) => self.column = None,
            b'(' => self.parentheses += 1,
            b')' => {
                self.parentheses -= 1;
                return self.delete.is_some_and(|open| self.parentheses < open);
            }
            _ => {}
        }
        false
    }

    fn word(&mut self, word: &str) -> bool {
        let table = self.altered == Altered::Table;
        let mysql = self.dialect == Dialect::Mysql;
        match word {
            "ALTER" => self.alter(),
            "DROP" => return self.drops(),
            "RENAME" => return self.renames(),
            "TYPE" => {
                return self.column.is_some() && !self.is_before(&["ALTER", "COLUMN", "EXISTS"]);
            }
            "SET" => return table && self.is(1, &["SCHEMA"]),
            "DETACH" => return table && self.is(1, &["PARTITION"]),
            "MODIFY" | "CHANGE" | "DISCARD" | "EXCHANGE" => return table && mysql,
            "CONVERT" => return table && mysql && self.is(1, &["TO", "PARTITION"]),
            "REPLACE" => return mysql && self.is(1, &["TABLE"]),
            // Not a function of that name, a trigger's event or a privilege.
            "TRUNCATE" => {
                let function = matches!(self.pieces.get(self.at + 1), Some(Piece::Mark(b'(')));
                return !function && !self.is(1, &["ON", "OR"]);
            }
            "DELETE" => {
                let modifier = |ahead| self.is(ahead, &["LOW_PRIORITY", "QUICK", "IGNORE"]);
                let from = (1..=3).find(|&ahead| !modifier(ahead)).unwrap_or(1);
                if self.is(from, &["FROM"]) {
                    self.delete = Some(self.parentheses);
                }
            }
            "WHERE" | "JOIN" => self.delete = None,
            _ => {}
        }
        false
    }

    fn alter(&mut self) {
        if self.is(1, &["TABLE", "FOREIGN", "ONLINE", "IGNORE", "OFFLINE"]) {
            (self.altered, self.column) = (Altered::Table, None);
        } else if self.altered == Altered::Table {
            self.column = Some(self.depth);
        } else if self.is(1, &["SCHEMA", "DATABASE"]) {
            self.altered = Altered::Container;
        } else if self.is(1, &["TYPE"]) {
            self.altered = Altered::Type;
        } else if self.is(1, &HOLDS_NOTHING) || self.is(1, &["DOMAIN", "SYSTEM", "DEFAULT"]) {
            self.altered = Altered::Harmless;
        } else {
            // Its table may be named elsewhere.
            (self.altered, self.column) = (Altered::Table, Some(self.depth));
        }
    }

    fn drops(&self) -> bool {
        // CREATE TEMPORARY TABLE … ON COMMIT DROP
        if self.is_before(&["COMMIT"]) {
            return false;
        }
        let mysql = self.dialect == Dialect::Mysql;
        let own_part = if mysql {
            self.is(1, &["CONSTRAINT", "INDEX", "KEY", "PRIMARY", "CHECK", "DEFAULT"])
                || self.is(1, &["FOREIGN"]) && self.is(2, &["KEY"])
        } else {
            self.is(1, &["CONSTRAINT", "NOT", "DEFAULT"])
                || self.column.is_some() && self.is(1, &["IDENTITY", "EXPRESSION"])
        };
        let harmless = match self.altered {
            Altered::Table => false,
            // The rest of an ALTER DOMAIN, or of one whose beginning is elsewhere.
            _ => self.is(1, &HOLDS_NOTHING) || self.is(1, &["FOREIGN"]) && self.is(2, &["DATA"]),
        };
        !own_part && !harmless
    }

    fn renames(&self) -> bool {
        let own_part = match self.dialect {
            Dialect::Mysql => self.is(1, &["INDEX", "KEY"]),
            Dialect::Postgres | Dialect::Sqlite => self.is(1, &["CONSTRAINT"]),
        };
        let harmless = match self.altered {
            Altered::Harmless => true,
            Altered::Container => !self.is(1, &["TO"]),
            Altered::Type => !self.is(1, &["ATTRIBUTE", "VALUE"]),
            Altered::Table => false,
            Altered::Nothing => self.is(1, &["USER"]),
        };
        !own_part && !harmless
    }
}
