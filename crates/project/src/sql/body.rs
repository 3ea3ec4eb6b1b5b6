//! Where a `;` does not end a statement: bodies of routines and triggers.
//!
//! Owns the nesting of BEGIN … END in each server's grammar. It is fed one token at a time and
//! never looks ahead, so splitting stays linear.

use dunlin_model::Dialect;

use super::lex::{Kind, Token};

/// What a MySQL `END` can close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// BEGIN, IF, LOOP, WHILE, REPEAT, FOR, and CASE as a statement.
    Statement,
    /// CASE in an expression, where THEN and ELSE are followed by no statement.
    CaseExpression,
}

/// What a statement is, as far as its end depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Its first words do not tell yet.
    Open,
    /// It ends at the first `;`.
    Plain,
    /// It may have a body.
    Routine,
}

/// Follows one statement's tokens.
#[derive(Debug)]
pub(super) struct Body {
    dialect: Dialect,
    form: Form,
    /// The words so far, while `form` is open.
    words: Vec<String>,
    blocks: Vec<Block>,
    /// The last token: its word in upper case, or its first byte; empty for a string.
    previous: String,
    previous_is_end: bool,
    /// MySQL: a statement that is no compound one has begun, whose FOR is no loop.
    simple: bool,
    /// SQLite: how much of `; END` was just seen.
    closing: u8,
}

impl Body {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            form: Form::Open,
            words: Vec::new(),
            blocks: Vec::new(),
            previous: String::new(),
            previous_is_end: false,
            simple: false,
            closing: 0,
        }
    }

    /// Whether it is a routine, trigger or event: under a DELIMITER only that one ends it.
    pub(super) fn is_routine(&self) -> bool {
        self.form == Form::Routine
    }

    /// Whether a `;` here ends the statement.
    pub(super) fn ends_here(&self) -> bool {
        match self.dialect {
            Dialect::Sqlite => self.form != Form::Routine || self.closing == 2,
            Dialect::Postgres | Dialect::Mysql => self.blocks.is_empty(),
        }
    }

    /// Takes the next token of the statement.
    pub(super) fn push(&mut self, token: Token, text: &str) {
        if self.form == Form::Plain {
            return;
        }
        let piece = token.text(text);
        let word =
            if token.kind == Kind::Word { piece.to_ascii_uppercase() } else { String::new() };
        if self.form == Form::Open {
            self.recognise(&word);
        }
        match self.dialect {
            Dialect::Postgres => self.push_postgres(&word),
            Dialect::Mysql => self.push_mysql(token.kind, &word),
            Dialect::Sqlite => self.push_sqlite(token.kind, &word),
        }
        self.previous = match token.kind {
            Kind::Word => word,
            Kind::Punct(byte) => char::from(byte).to_string(),
            Kind::Quoted | Kind::Number => "name".to_owned(),
            Kind::Str => String::new(),
        };
    }

    /// Tells by the first words whether the statement may have a body.
    fn recognise(&mut self, word: &str) {
        // MySQL's `DEFINER = 'a'@'b'` brings tokens that are no words.
        if word.is_empty() && self.dialect == Dialect::Mysql && !self.words.is_empty() {
            return;
        }
        self.words.push(word.to_owned());
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        self.form = match self.dialect {
            Dialect::Postgres => match words.as_slice() {
                ["CREATE"] | ["CREATE", "OR"] | ["CREATE", "OR", "REPLACE"] => Form::Open,
                ["CREATE", "FUNCTION" | "PROCEDURE"]
                | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE"] => Form::Routine,
                _ => Form::Plain,
            },
            Dialect::Sqlite => match words.as_slice() {
                ["CREATE"] | ["CREATE", "TEMP" | "TEMPORARY"] => Form::Open,
                ["CREATE", "TRIGGER"] | ["CREATE", "TEMP" | "TEMPORARY", "TRIGGER"] => {
                    Form::Routine
                }
                _ => Form::Plain,
            },
            Dialect::Mysql => mysql_form(&words),
        };
    }

    fn push_postgres(&mut self, word: &str) {
        match word {
            "ATOMIC" if self.previous == "BEGIN" => self.blocks.push(Block::Statement),
            "CASE" if !self.blocks.is_empty() => self.blocks.push(Block::CaseExpression),
            "END" => {
                self.blocks.pop();
            }
            _ => {}
        }
    }

    /// A trigger ends at `; END ;`, which is what sqlite3_complete looks for: a CASE … END is
    /// never preceded by a `;`.
    fn push_sqlite(&mut self, kind: Kind, word: &str) {
        self.closing = match (kind, self.closing) {
            (Kind::Punct(b';'), _) => 1,
            (Kind::Word, 1) if word == "END" => 2,
            _ => 0,
        };
    }

    fn push_mysql(&mut self, kind: Kind, word: &str) {
        let after_end = std::mem::take(&mut self.previous_is_end);
        if self.form != Form::Routine
            || kind != Kind::Word
            || matches!(self.previous.as_str(), "." | "@")
        {
            return;
        }
        match word {
            "END" => {
                self.blocks.pop();
                self.previous_is_end = true;
            }
            "IF" | "CASE" | "LOOP" | "WHILE" | "REPEAT" | "FOR" if after_end => {}
            "BEGIN"
                if !matches!(
                    self.previous.as_str(),
                    "," | "=" | "SELECT" | "AS" | "BY" | "SET"
                ) =>
            {
                self.blocks.push(Block::Statement);
            }
            // BEGIN was read before it was known that NOT ATOMIC follows.
            "ATOMIC"
                if self.previous == "NOT" && self.words.first().is_some_and(|w| w == "BEGIN") =>
            {
                self.blocks.push(Block::Statement);
            }
            "CASE" if self.at_statement() => self.blocks.push(Block::Statement),
            "CASE" => self.blocks.push(Block::CaseExpression),
            "IF" | "LOOP" | "WHILE" | "REPEAT" if self.at_statement() => {
                self.blocks.push(Block::Statement);
            }
            // MariaDB's FOR loop; a trigger's FOR EACH ROW comes before any body.
            "FOR" if self.may_loop() && self.at_statement() => {
                self.blocks.push(Block::Statement);
            }
            "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "RETURN" | "CALL" | "WITH" => {
                self.simple = true;
            }
            _ => {}
        }
    }

    /// Whether a FOR here may be a loop: not `FOR EACH ROW`, nor `SELECT … FOR UPDATE`.
    fn may_loop(&self) -> bool {
        let trigger = self.words.last().is_some_and(|word| word == "TRIGGER");
        let begun = if trigger { self.previous != "ROW" } else { self.simple };
        !self.blocks.is_empty() || !begun
    }

    /// Whether a statement of the body can begin here.
    fn at_statement(&self) -> bool {
        let previous = self.previous.as_str();
        match self.blocks.last() {
            Some(Block::CaseExpression) => false,
            Some(Block::Statement) => {
                matches!(previous, ";" | "BEGIN" | "THEN" | "ELSE" | "DO" | "LOOP" | "REPEAT" | ":")
            }
            // The body itself, after the routine's parameters and characteristics.
            None => matches!(
                previous,
                ")" | ""
                    | ":"
                    | "ROW"
                    | "DO"
                    | "DETERMINISTIC"
                    | "DATA"
                    | "SQL"
                    | "INVOKER"
                    | "DEFINER"
            ),
        }
    }
}

/// Tells by its first words whether a MySQL statement may have a body.
fn mysql_form(words: &[&str]) -> Form {
    // Enough for `CREATE OR REPLACE DEFINER = u @ h AGGREGATE FUNCTION`.
    const WORDS_MAX: usize = 12;
    match words {
        ["CREATE" | "ALTER"] | ["BEGIN"] | ["BEGIN", "NOT"] => Form::Open,
        ["BEGIN", "NOT", "ATOMIC"] => Form::Routine,
        // MariaDB's compound statements outside of routines.
        ["IF" | "CASE" | "LOOP" | "WHILE" | "REPEAT" | "FOR"] => Form::Routine,
        ["CREATE" | "ALTER", .., last] => match *last {
            "PROCEDURE" | "FUNCTION" | "TRIGGER" | "EVENT" | "PACKAGE" => Form::Routine,
            "TABLE" | "VIEW" | "INDEX" | "DATABASE" | "SCHEMA" | "USER" | "ROLE" | "SEQUENCE" => {
                Form::Plain
            }
            _ if words.len() > WORDS_MAX => Form::Plain,
            _ => Form::Open,
        },
        _ => Form::Plain,
    }
}
