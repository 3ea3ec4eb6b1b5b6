//! One statement's tokens, and a reading position in them.

use std::ops::Range;

use dunlin_model::Dialect;

use crate::sql::lex::{Kind, Token};

/// Words that follow a table and are not its alias.
pub(in crate::sql) const NO_ALIAS: [&str; 42] = [
    "SET",
    "WHERE",
    "FROM",
    "USING",
    "ON",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "CROSS",
    "NATURAL",
    "OUTER",
    "STRAIGHT_JOIN",
    "RETURNING",
    "ORDER",
    "GROUP",
    "HAVING",
    "WINDOW",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "FOR",
    "LOCK",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "PARTITION",
    "FORCE",
    "USE",
    "IGNORE",
    "INDEXED",
    "NOT",
    "VALUES",
    "SELECT",
    "WITH",
    "TABLESAMPLE",
    "WHEN",
    "DEFAULT",
    "OVERRIDING",
    "LATERAL",
    "AND",
];

/// The tokens of one statement.
#[derive(Debug, Clone, Copy)]
pub(in crate::sql) struct Source<'a> {
    pub(in crate::sql) dialect: Dialect,
    pub(in crate::sql) text: &'a str,
    pub(in crate::sql) tokens: &'a [Token],
}

/// MySQL's own databases: their tables are nobody's.
const SERVERS_OWN: [&str; 4] = ["information_schema", "performance_schema", "mysql", "sys"];

/// A name of a table, column or anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sql) struct Name {
    /// Folded to the server's case, without quotes.
    pub(in crate::sql) parts: Vec<String>,
    /// As written, quotes and qualifier included.
    pub(in crate::sql) written: String,
}

impl Name {
    /// The last part: a column's or table's own name.
    pub(in crate::sql) fn last(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }

    /// How a table is known, so that two statements' tables can be compared.
    pub(in crate::sql) fn key(&self, dialect: Dialect) -> String {
        match (dialect, self.parts.as_slice()) {
            (Dialect::Mysql, [schema, _]) if SERVERS_OWN.contains(&schema.as_str()) => {
                self.parts.join(".")
            }
            // Which database is the default one is not known here; to take two tables for one
            // can only hold something back.
            (Dialect::Mysql, [.., last]) => last.clone(),
            (Dialect::Postgres, [schema, table]) if schema == "public" => table.clone(),
            (Dialect::Sqlite, [schema, table]) if schema == "main" => table.clone(),
            (_, parts) => parts.join("."),
        }
    }
}

impl<'a> Source<'a> {
    pub(in crate::sql) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(in crate::sql) fn kind(&self, index: usize) -> Option<Kind> {
        self.tokens.get(index).map(|t| t.kind)
    }

    pub(in crate::sql) fn token_text(&self, index: usize) -> &'a str {
        self.tokens.get(index).map_or("", |t| t.text(self.text))
    }

    /// The unquoted word at an index.
    pub(in crate::sql) fn word(&self, index: usize) -> Option<&'a str> {
        (self.kind(index)? == Kind::Word).then(|| self.token_text(index))
    }

    pub(in crate::sql) fn is(&self, index: usize, word: &str) -> bool {
        self.word(index).is_some_and(|w| w.eq_ignore_ascii_case(word))
    }

    pub(in crate::sql) fn is_any(&self, index: usize, words: &[&str]) -> bool {
        words.iter().any(|w| self.is(index, w))
    }

    /// Whether these words stand at an index, one after another.
    pub(in crate::sql) fn are(&self, index: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, w)| self.is(index + i, w))
    }

    pub(in crate::sql) fn punct(&self, index: usize, byte: u8) -> bool {
        self.kind(index) == Some(Kind::Punct(byte))
    }

    /// Whether these words stand one after another anywhere in a range.
    pub(in crate::sql) fn contains(&self, range: Range<usize>, words: &[&str]) -> bool {
        range.into_iter().any(|i| self.are(i, words))
    }

    pub(in crate::sql) fn has(&self, word: &str) -> bool {
        self.contains(0..self.len(), &[word])
    }

    /// Where a word stands outside of parentheses, from an index on.
    pub(in crate::sql) fn find_outside(&self, from: usize, word: &str) -> Option<usize> {
        let mut depth = 0_usize;
        for index in from..self.len() {
            match self.kind(index) {
                Some(Kind::Punct(b'(')) => depth += 1,
                Some(Kind::Punct(b')')) => depth = depth.saturating_sub(1),
                Some(Kind::Word) if depth == 0 && self.is(index, word) => return Some(index),
                _ => {}
            }
        }
        None
    }

    /// MariaDB: the statement behind `SET STATEMENT a = 1, b = 2 FOR` and `ANALYZE FORMAT=JSON`, which
    /// is what runs.
    pub(in crate::sql) fn behind_settings(mut self) -> Self {
        while self.dialect == Dialect::Mysql {
            let at = if self.are(0, &["SET", "STATEMENT"]) {
                self.find_outside(2, "FOR").map(|at| at + 1)
            } else {
                self.analyzed()
            };
            let Some(at) = at else { break };
            self.tokens = self.tokens.get(at..).unwrap_or_default();
        }
        self
    }

    /// Where the statement begins that an ANALYZE runs: not one of a table, whose statistics are read.
    fn analyzed(&self) -> Option<usize> {
        const RUN: [&str; 6] = ["SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "REPLACE"];
        // As MySQL has it.
        let explains = self.is_any(0, &["EXPLAIN", "DESCRIBE", "DESC"]);
        let words = if explains && self.is(1, "ANALYZE") { 2 } else { 1 };
        if words == 1 && !self.is(0, "ANALYZE") {
            return None;
        }
        let format = self.is(words, "FORMAT") && self.punct(words + 1, b'=');
        let at = if format { words + 3 } else { words };
        (self.is_any(at, &RUN) || self.punct(at, b'(')).then_some(at)
    }

    pub(in crate::sql) fn cursor(self, at: usize) -> Cursor<'a> {
        Cursor { source: self, at }
    }

    /// MySQL folds letters of all alphabets, the others those of ASCII.
    fn folded(&self, text: &str) -> String {
        match self.dialect {
            Dialect::Mysql => text.to_lowercase(),
            Dialect::Postgres | Dialect::Sqlite => text.to_ascii_lowercase(),
        }
    }

    /// One part of a name, folded.
    fn part(&self, index: usize) -> Option<String> {
        let text = self.token_text(index);
        let folds_quoted = self.dialect != Dialect::Postgres;
        match self.kind(index)? {
            Kind::Word => Some(self.folded(text)),
            Kind::Number if self.dialect == Dialect::Mysql && is_name(text) => {
                Some(self.folded(text))
            }
            Kind::Quoted if folds_quoted => Some(self.folded(&unquoted(text))),
            Kind::Quoted => Some(unquoted(text)),
            // MySQL with ANSI_QUOTES, and SQLite's leniency.
            Kind::Str if folds_quoted => Some(self.folded(&unquoted(text))),
            Kind::Number | Kind::Str | Kind::Punct(_) => None,
        }
    }
}

fn is_name(number: &str) -> bool {
    number.bytes().any(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'$')
}

fn unquoted(text: &str) -> String {
    let mut chars = text.chars();
    let open = chars.next();
    chars.next_back();
    let inner = chars.as_str();
    match open {
        Some(quote @ ('"' | '`' | '\'')) if inner.contains(quote) => {
            inner.replace(&format!("{quote}{quote}"), &quote.to_string())
        }
        _ => inner.to_owned(),
    }
}

/// A reading position.
#[derive(Debug, Clone, Copy)]
pub(in crate::sql) struct Cursor<'a> {
    pub(in crate::sql) source: Source<'a>,
    pub(in crate::sql) at: usize,
}

impl Cursor<'_> {
    pub(in crate::sql) fn is(&self, word: &str) -> bool {
        self.source.is(self.at, word)
    }

    /// Passes a word if it is there.
    pub(in crate::sql) fn eat(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    /// Passes these words if all are there.
    pub(in crate::sql) fn eat_all(&mut self, words: &[&str]) -> bool {
        let found = self.source.are(self.at, words);
        if found {
            self.at += words.len();
        }
        found
    }

    /// Passes any of these words, as often as they come.
    pub(in crate::sql) fn skip(&mut self, words: &[&str]) {
        while self.source.is_any(self.at, words) {
            self.at += 1;
        }
    }

    pub(in crate::sql) fn eat_punct(&mut self, byte: u8) -> bool {
        let found = self.source.punct(self.at, byte);
        self.at += usize::from(found);
        found
    }

    /// IF EXISTS or IF NOT EXISTS.
    pub(in crate::sql) fn eat_condition(&mut self) -> bool {
        self.eat_all(&["IF", "EXISTS"]) || self.eat_all(&["IF", "NOT", "EXISTS"])
    }

    /// Reads a name, qualified or not.
    pub(in crate::sql) fn name(&mut self) -> Option<Name> {
        let first = self.at;
        let mut parts = vec![self.source.part(self.at)?];
        self.at += 1;
        while self.source.punct(self.at, b'.') {
            let Some(part) = self.source.part(self.at + 1) else {
                break;
            };
            parts.push(part);
            self.at += 2;
        }
        let start = self.source.tokens.get(first)?.start();
        let end = self.source.tokens.get(self.at - 1)?.end();
        let written = self.source.text.get(start..end)?.to_owned();
        Some(Name { parts, written })
    }

    /// Reads names with commas between them.
    pub(in crate::sql) fn names(&mut self) -> Vec<Name> {
        let mut names = Vec::new();
        loop {
            self.eat("ONLY");
            // `TRUNCATE ONLY (t)`
            let wrapped = self.eat_punct(b'(');
            let Some(name) = self.name() else {
                return names;
            };
            names.push(name);
            if wrapped {
                self.eat_punct(b')');
            }
            // PostgreSQL: `t *` means with the tables that inherit from it.
            self.eat_punct(b'*');
            if !self.eat_punct(b',') {
                return names;
            }
        }
    }

    /// Passes a parenthesised group if one begins here.
    pub(in crate::sql) fn skip_group(&mut self) -> bool {
        if !self.source.punct(self.at, b'(') {
            return false;
        }
        let mut depth = 0_usize;
        while self.at < self.source.len() {
            match self.source.kind(self.at) {
                Some(Kind::Punct(b'(')) => depth += 1,
                Some(Kind::Punct(b')')) => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
        true
    }
}
