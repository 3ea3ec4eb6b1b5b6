//! Splitting: where each statement of a file begins and ends.
//!
//! Invariants: the pieces joined give the file, byte for byte; the file is read once; only the
//! tokens of one statement are in memory at a time. What is left out: what statements mean.

use std::ops::Range;

use dunlin_model::{Diagnostic, Dialect, Place};

use super::body::Body;
use super::lex::{Flaw, Kind, Lexeme, Lexer, Quotes, Token};

/// A stretch of a file: what precedes a statement, the statement, its delimiter and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// All of it. Pieces follow one another without a gap.
    pub range: Range<usize>,
    /// The statement itself, without delimiter and without white space or comments around it.
    /// Empty where the piece holds none, such as the end of the file or a lone `;`.
    pub body: Range<usize>,
    /// The line of the statement's first character, from 1.
    pub line: usize,
    /// The column of the statement's first character, from 1, in characters.
    pub column: usize,
    /// The data lines of a `COPY … FROM stdin`, without the closing `\.`.
    pub copy_data: Option<Range<usize>>,
}

/// Splits a text into pieces.
///
/// # Errors
/// A string, comment, quoted name, body or COPY data that never ends, or a command for a client
/// program; with line and column, and an empty path where the file's belongs.
pub fn split(dialect: Dialect, text: &str) -> Result<Vec<Piece>, Box<Diagnostic>> {
    let mut splitter = Splitter::new(dialect, text);
    let mut pieces = Vec::new();
    loop {
        match splitter.next() {
            Ok(Some(piece)) => pieces.push(piece),
            Ok(None) => return Ok(pieces),
            Err(flaw) => return Err(diagnostic(flaw, text)),
        }
    }
}

/// A flaw with its line and column.
pub(super) fn diagnostic(flaw: Flaw, text: &str) -> Box<Diagnostic> {
    let mut position = Position::default();
    position.advance(text, flaw.at);
    let place = Place::at("", position.line, position.column);
    let found = Diagnostic::error(flaw.rule, flaw.message).at(place);
    Box::new(match flaw.help {
        Some(help) => found.help(help),
        None => found,
    })
}

/// Line and column of an offset; it only moves forward, so that counting stays linear.
#[derive(Debug)]
struct Position {
    at: usize,
    line: usize,
    column: usize,
}

impl Default for Position {
    fn default() -> Self {
        Self { at: 0, line: 1, column: 1 }
    }
}

impl Position {
    fn advance(&mut self, text: &str, to: usize) {
        let to = to.min(text.len());
        for &byte in text.as_bytes().get(self.at..to).unwrap_or_default() {
            if byte == b'\n' {
                self.line += 1;
                self.column = 1;
            } else if byte & 0xc0 != 0x80 {
                // Only the first byte of a character counts.
                self.column += 1;
            }
        }
        if self.at == 0 && to > 0 && text.starts_with('\u{feff}') && self.line == 1 {
            self.column -= 1;
        }
        self.at = self.at.max(to);
    }
}

/// Gives one piece after another, with the tokens of its statement.
#[derive(Debug)]
pub(super) struct Splitter<'a> {
    text: &'a str,
    dialect: Dialect,
    lexer: Lexer<'a>,
    position: Position,
    /// The tokens of the piece that was given last.
    pub(super) tokens: Vec<Token>,
}

/// A statement while it is being read.
struct Open {
    start: Option<usize>,
    end: usize,
    body: Body,
    /// Parentheses that are open, and where the outermost began.
    parentheses: usize,
    outermost: usize,
    /// A `;` was taken for a part of the statement.
    swallowed: bool,
}

impl<'a> Splitter<'a> {
    pub(super) fn new(dialect: Dialect, text: &'a str) -> Self {
        Self {
            text,
            dialect,
            lexer: Lexer::new(dialect, text),
            position: Position::default(),
            tokens: Vec::new(),
        }
    }

    /// The next piece; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, Flaw> {
        let begin = self.position_of_piece();
        self.tokens.clear();
        let mut open = Open {
            start: None,
            end: 0,
            body: Body::new(self.dialect),
            parentheses: 0,
            outermost: 0,
            swallowed: false,
        };
        loop {
            match self.lexer.next(open.start.is_none())? {
                Lexeme::Blank => {}
                Lexeme::Executable { start, end } => {
                    open.start.get_or_insert(start);
                    open.end = end;
                }
                Lexeme::Delimiter { start } => {
                    self.drop_last_semicolon(&mut open);
                    return self.finish(begin, &open, start).map(Some);
                }
                Lexeme::Backslash { at } => return Err(self.client_command(at)),
                Lexeme::Token(token) => {
                    if self.is_delimiter_line(token, &open)? {
                        continue;
                    }
                    if self.take(token, &mut open)? {
                        return self.finish(begin, &open, token.start()).map(Some);
                    }
                }
                Lexeme::End => {
                    self.check_end(&open)?;
                    let end = self.text.len();
                    if begin == end {
                        return Ok(None);
                    }
                    if !self.lexer.delimiter.is_empty() {
                        self.drop_last_semicolon(&mut open);
                    }
                    return self.finish(begin, &open, end).map(Some);
                }
            }
        }
    }

    /// Where the piece that comes next begins: the first one takes the byte order mark along.
    fn position_of_piece(&self) -> usize {
        let first = self.position.at == 0 && self.text.starts_with('\u{feff}');
        if first && self.lexer.at == '\u{feff}'.len_utf8() { 0 } else { self.lexer.at }
    }

    /// Takes a token; `true` where it is the `;` that ends the statement.
    fn take(&mut self, token: Token, open: &mut Open) -> Result<bool, Flaw> {
        if open.start.is_none() {
            self.refuse_client_word(token)?;
        }
        match token.kind {
            Kind::Punct(b';') if self.lexer.executable.is_none() => {
                let guarded = self.dialect == Dialect::Postgres && open.parentheses > 0
                    || !self.lexer.delimiter.is_empty() && open.body.is_routine();
                if !guarded && open.body.ends_here() {
                    return Ok(true);
                }
                open.swallowed = true;
            }
            Kind::Punct(b'(') => {
                if open.parentheses == 0 {
                    open.outermost = token.start();
                }
                open.parentheses += 1;
            }
            Kind::Punct(b')') => open.parentheses = open.parentheses.saturating_sub(1),
            _ => {}
        }
        open.start.get_or_insert(token.start());
        open.end = token.end();
        open.body.push(token, self.text);
        self.tokens.push(token);
        Ok(false)
    }

    /// A routine under DELIMITER often ends with `END;` as well.
    fn drop_last_semicolon(&mut self, open: &mut Open) {
        if self.tokens.last().is_some_and(|t| t.kind == Kind::Punct(b';') && t.end() == open.end) {
            self.tokens.pop();
            open.end = self.tokens.last().map_or(open.end, |t| t.end());
        }
    }

    /// The piece whose delimiter the lexer just passed.
    fn finish(&mut self, begin: usize, open: &Open, delimiter: usize) -> Result<Piece, Flaw> {
        let start = open.start.unwrap_or(delimiter);
        let body = start..if open.start.is_some() { open.end } else { start };
        self.position.advance(self.text, start);
        let (line, column) = (self.position.line, self.position.column);
        let mut copy_data = None;
        if self.dialect == Dialect::Postgres {
            if self.copies_from_stdin() {
                copy_data = Some(self.copy_data(start)?);
            }
            self.follow_string_setting();
        }
        if self.dialect == Dialect::Mysql {
            self.follow_sql_mode();
        }
        Ok(Piece { range: begin..self.lexer.at, body, line, column, copy_data })
    }

    fn word(&self, index: usize) -> Option<&'a str> {
        let token = self.tokens.get(index)?;
        (token.kind == Kind::Word).then(|| token.text(self.text))
    }

    fn is_word(&self, index: usize, word: &str) -> bool {
        self.word(index).is_some_and(|w| w.eq_ignore_ascii_case(word))
    }

    fn copies_from_stdin(&self) -> bool {
        self.is_word(0, "COPY")
            && (1..self.tokens.len())
                .any(|i| self.is_word(i, "FROM") && self.is_word(i + 1, "STDIN"))
    }

    /// Reads the lines after a COPY up to `\.`.
    fn copy_data(&mut self, statement: usize) -> Result<Range<usize>, Flaw> {
        let rest = self.text.get(self.lexer.at..).unwrap_or_default();
        let line_end = rest.find('\n').map_or(rest.len(), |i| i + 1);
        let same_line = rest[..line_end].trim();
        if !same_line.is_empty() && !same_line.starts_with("--") {
            let at = self.lexer.at;
            return Err(Flaw::new(
                "copy-data",
                at,
                "a statement follows COPY … FROM stdin on its line",
            )
            .help("begin the data on the next line, and the next statement after the `\\.`"));
        }
        let begin = self.lexer.at + line_end;
        let mut at = begin;
        while at < self.text.len() {
            let rest = &self.text[at..];
            let length = rest.find('\n').map_or(rest.len(), |i| i + 1);
            if rest[..length].trim_end_matches(['\r', '\n']) == "\\." {
                self.lexer.at = at + length;
                return Ok(begin..at);
            }
            at += length;
        }
        if begin == self.text.len() {
            self.lexer.at = begin;
            return Ok(begin..begin);
        }
        Err(Flaw::new("unterminated", statement, "the data of this COPY … FROM stdin never end")
            .help("end them with a line that holds only `\\.`"))
    }

    /// Old dumps switch `standard_conforming_strings`, which changes how strings are read.
    fn follow_string_setting(&mut self) {
        const SETTING: &str = "standard_conforming_strings";
        if !self.is_word(0, "SET") {
            return;
        }
        let name = if self.is_word(1, "SESSION") || self.is_word(1, "LOCAL") { 2 } else { 1 };
        if !self.is_word(name, SETTING) {
            return;
        }
        let value = self.tokens.get(name + 2).map_or("", |t| t.text(self.text));
        let value = value.trim_matches('\'').to_ascii_lowercase();
        self.lexer.backslash_strings = matches!(value.as_str(), "off" | "false" | "no" | "0");
    }

    /// `SET sql_mode = …` changes how quotes are read from the next statement on. What is put back
    /// from a variable, or by DEFAULT, is taken for a server's usual mode.
    fn follow_sql_mode(&mut self) {
        if !self.is_word(0, "SET") || self.is_word(1, "GLOBAL") {
            return;
        }
        let punct =
            |at: usize, byte| self.tokens.get(at).is_some_and(|t| t.kind == Kind::Punct(byte));
        let assigned = (1..self.tokens.len()).find(|&at| {
            self.is_word(at, "SQL_MODE")
                && (punct(at + 1, b'=') || punct(at + 1, b':') && punct(at + 2, b'='))
        });
        let Some(at) = assigned else { return };
        let from = if punct(at + 1, b':') { at + 3 } else { at + 2 };
        let value: Vec<String> = self
            .tokens
            .get(from..)
            .unwrap_or_default()
            .iter()
            .map(|token| token.text(self.text).to_ascii_uppercase())
            .collect();
        // Takes away what it names.
        let takes = value.iter().any(|word| word == "REPLACE");
        let says = |mode: &str| {
            let has = |text: &String| {
                text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .any(|one| one == mode)
            };
            !takes && value.iter().any(has)
        };
        self.lexer.quotes = Quotes {
            double_is_name: says("ANSI_QUOTES") || says("ANSI"),
            plain_backslash: says("NO_BACKSLASH_ESCAPES"),
        };
    }

    /// At the end of the file nothing may be left open.
    fn check_end(&self, open: &Open) -> Result<(), Flaw> {
        let Some(start) = open.start.filter(|_| open.swallowed) else {
            return Ok(());
        };
        if self.dialect == Dialect::Postgres && open.parentheses > 0 {
            return Err(Flaw::new(
                "unterminated",
                open.outermost,
                "this parenthesis is never closed",
            )
            .help("close it: until then a `;` does not end the statement"));
        }
        if open.body.ends_here() {
            return Ok(());
        }
        let help = match self.dialect {
            Dialect::Mysql => {
                "close every BEGIN, IF, CASE and loop, or put DELIMITER lines around it"
            }
            Dialect::Postgres | Dialect::Sqlite => "close its body with `END;`",
        };
        let message = "the body of the statement that begins here has no END";
        Err(Flaw::new("unterminated", start, message).help(help))
    }

    /// Takes in a mysql `DELIMITER xx` line.
    fn is_delimiter_line(&mut self, token: Token, open: &Open) -> Result<bool, Flaw> {
        if self.dialect != Dialect::Mysql
            || self.lexer.executable.is_some()
            || token.kind != Kind::Word
            || !token.text(self.text).eq_ignore_ascii_case("DELIMITER")
        {
            return Ok(false);
        }
        if open.start.is_some() && !self.begins_line(token.start()) {
            return Ok(false);
        }
        let rest = self.text.get(token.end()..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        let argument = line.split_whitespace().next().unwrap_or_default();
        if open.start.is_some() {
            let looks_like_one =
                !argument.is_empty() && argument.bytes().all(|b| b";$/|#^&!%~".contains(&b));
            if looks_like_one {
                let message = "the statement before this DELIMITER has no delimiter";
                return Err(Flaw::new("unterminated", token.start(), message)
                    .help("end it with the delimiter that was set before"));
            }
            return Ok(false);
        }
        if argument.is_empty() || argument.contains('\\') {
            let message = "DELIMITER needs a delimiter without backslashes";
            return Err(Flaw::new("mysql-client-command", token.start(), message)
                .help("write for example `DELIMITER //`"));
        }
        // The client takes a quoted argument too.
        let argument = argument.trim_matches(['\'', '"', '`']);
        self.lexer.delimiter.clear();
        if argument != ";" && !argument.is_empty() {
            self.lexer.delimiter.extend_from_slice(argument.as_bytes());
        }
        self.lexer.at = token.end() + line.len();
        Ok(true)
    }

    fn begins_line(&self, at: usize) -> bool {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        before.iter().rev().take_while(|&&b| b != b'\n').all(|&b| matches!(b, b' ' | b'\t'))
    }

    /// Words and marks at the beginning of a statement that only a client program knows.
    fn refuse_client_word(&self, token: Token) -> Result<(), Flaw> {
        let at = token.start();
        match (self.dialect, token.kind) {
            (Dialect::Sqlite, Kind::Punct(b'.')) => {
                let command = self.text[at..].split_whitespace().next().unwrap_or_default();
                let message = format!("`{command}` is a command of the sqlite3 shell, not SQL");
                Err(Flaw::new("sqlite-dot-command", at, message).help("remove it"))
            }
            (Dialect::Mysql, Kind::Word) if is_mysql_command(token.text(self.text)) => {
                let command = token.text(self.text);
                let message = format!("`{command}` is a command of the mysql client, not SQL");
                Err(Flaw::new("mysql-client-command", at, message).help(
                    "remove it; the content of another file goes into a migration of its own",
                ))
            }
            _ => Ok(()),
        }
    }

    /// A backslash outside of strings.
    fn client_command(&self, at: usize) -> Flaw {
        let rest = self.text.get(at..).unwrap_or_default();
        let command: String = rest
            .chars()
            .enumerate()
            .take_while(|&(i, c)| i < 20 && (i < 2 || c.is_ascii_alphanumeric() || c == '_'))
            .map(|(_, c)| c)
            .collect();
        let command = command.trim_end();
        if self.dialect == Dialect::Mysql {
            let message = format!("`{command}` is a command of the mysql client, not SQL");
            return Flaw::new("mysql-client-command", at, message)
                .help("remove it, or end the statement with `;`");
        }
        let message = format!("`{command}` is a meta-command of psql, not SQL");
        Flaw::new("psql-meta-command", at, message)
            .help("remove it; the content of another file goes into a migration of its own")
    }
}

fn is_mysql_command(word: &str) -> bool {
    const COMMANDS: [&str; 17] = [
        "SOURCE",
        "SYSTEM",
        "TEE",
        "NOTEE",
        "PAGER",
        "NOPAGER",
        "WARNINGS",
        "NOWARNING",
        "REHASH",
        "STATUS",
        "PROMPT",
        "PRINT",
        "CONNECT",
        "EGO",
        "GO",
        "EXIT",
        "QUIT",
    ];
    COMMANDS.iter().any(|c| c.eq_ignore_ascii_case(word))
}
