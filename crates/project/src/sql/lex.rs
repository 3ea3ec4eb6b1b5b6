//! Tokens of a SQL text, by each server's own rules.
//!
//! Owns what a string, a comment, a quoted name and a word are. Invariants: a lexeme never
//! overlaps the next one, every byte belongs to exactly one, and a text is read once from front
//! to back, so that the time is linear in its length. What is left out: where statements end.

use dunlin_model::Dialect;

/// What a token is, as far as statements are told apart by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or an unquoted name.
    Word,
    /// A quoted name: `"a"`, `` `a` ``, `[a]`.
    Quoted,
    /// A string in any of its forms, dollar quotes included.
    Str,
    /// Something that begins with a digit. In MySQL it can be a name (`2fa_codes`).
    Number,
    /// Any other byte.
    Punct(u8),
}

/// A token's kind and place. 32 bits are enough: longer files are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    start: u32,
    end: u32,
}

impl Token {
    fn new(kind: Kind, start: usize, end: usize) -> Self {
        // `FILE_BYTES_MAX` keeps every offset below 2^32.
        Self { kind, start: start as u32, end: end as u32 }
    }

    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    pub(super) fn end(self) -> usize {
        self.end as usize
    }

    pub(super) fn text(self, text: &str) -> &str {
        text.get(self.start()..self.end()).unwrap_or_default()
    }
}

/// What the lexer found next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lexeme {
    /// White space or a comment.
    Blank,
    /// Part of a statement.
    Token(Token),
    /// `/*!50003` or the `*/` that closes it: part of a statement, but no token of it.
    Executable { start: usize, end: usize },
    /// The delimiter that a DELIMITER line asked for.
    Delimiter { start: usize },
    /// A backslash outside of strings: a command for a client program.
    Backslash { at: usize },
    /// Nothing is left.
    End,
}

/// Something that cannot be read, before it has a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) rule: &'static str,
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Flaw {
    pub(super) fn new(rule: &'static str, at: usize, message: impl Into<String>) -> Self {
        Self { rule, at, message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Reads a text from front to back.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    dialect: Dialect,
    pub(super) at: usize,
    /// MySQL: what DELIMITER asked for; empty while it is `;`.
    pub(super) delimiter: Vec<u8>,
    /// MySQL: where the executable comment that we are in began.
    pub(super) executable: Option<usize>,
    /// PostgreSQL: `standard_conforming_strings` is off, so every string knows backslashes.
    pub(super) backslash_strings: bool,
    /// MySQL: what `sql_mode` says of quotes.
    pub(super) quotes: Quotes,
}

/// How MySQL reads quotes under a `sql_mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Quotes {
    /// ANSI_QUOTES: `"a"` is a name.
    pub(super) double_is_name: bool,
    /// NO_BACKSLASH_ESCAPES: a backslash in a string is a character like any other.
    pub(super) plain_backslash: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(dialect: Dialect, text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            dialect,
            // A byte order mark is no part of the first statement.
            at: if text.starts_with('\u{feff}') { 3 } else { 0 },
            delimiter: Vec::new(),
            executable: None,
            backslash_strings: false,
            quotes: Quotes::default(),
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// The next lexeme. `between` is set between statements, where mysql also takes `--x` for a
    /// comment.
    pub(super) fn next(&mut self, between: bool) -> Result<Lexeme, Flaw> {
        let start = self.at;
        let Some(byte) = self.peek(0) else {
            return match self.executable {
                Some(at) => Err(unterminated(at, "executable comment", "*/")),
                None => Ok(Lexeme::End),
            };
        };
        if is_blank(byte) {
            self.skip_while(is_blank);
            return Ok(Lexeme::Blank);
        }
        if !self.delimiter.is_empty() && self.bytes[start..].starts_with(&self.delimiter) {
            self.at += self.delimiter.len();
            return Ok(Lexeme::Delimiter { start });
        }
        if let Some(lexeme) = self.comment(byte, between)? {
            return Ok(lexeme);
        }
        match byte {
            b'\'' => self.string(b'\'', self.escapes(), Kind::Str),
            b'"' if self.dialect == Dialect::Mysql && !self.quotes.double_is_name => {
                self.string(b'"', self.escapes(), Kind::Str)
            }
            b'"' => self.string(b'"', false, Kind::Quoted),
            b'`' if self.dialect != Dialect::Postgres => self.string(b'`', false, Kind::Quoted),
            b'[' if self.dialect == Dialect::Sqlite => self.bracketed(),
            b'$' if self.dialect == Dialect::Postgres => self.dollar(),
            b'\\' if self.dialect != Dialect::Sqlite => {
                self.at += 1;
                Ok(Lexeme::Backslash { at: start })
            }
            b'0'..=b'9' => Ok(self.number()),
            _ if is_word_start(byte) => self.word(),
            _ => {
                self.at += 1;
                Ok(self.token(Kind::Punct(byte), start))
            }
        }
    }

    fn token(&self, kind: Kind, start: usize) -> Lexeme {
        Lexeme::Token(Token::new(kind, start, self.at))
    }

    /// Whether a plain string knows backslashes.
    fn escapes(&self) -> bool {
        match self.dialect {
            Dialect::Mysql => !self.quotes.plain_backslash,
            Dialect::Postgres => self.backslash_strings,
            Dialect::Sqlite => false,
        }
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|&b| !wanted(b)).unwrap_or(rest.len());
    }

    fn skip_line(&mut self) {
        // PostgreSQL ends a line comment at a carriage return too.
        let both = self.dialect == Dialect::Postgres;
        self.skip_while(|b| b != b'\n' && !(both && b == b'\r'));
    }

    fn comment(&mut self, byte: u8, between: bool) -> Result<Option<Lexeme>, Flaw> {
        let mysql = self.dialect == Dialect::Mysql;
        match (byte, self.peek(1)) {
            (b'#', _) if mysql => {
                self.skip_line();
                Ok(Some(Lexeme::Blank))
            }
            (b'-', Some(b'-')) => {
                let spaced = self.peek(2).is_none_or(|b| b.is_ascii_whitespace() || b < b' ');
                if mysql && !spaced && !between {
                    return Ok(None);
                }
                self.skip_line();
                Ok(Some(Lexeme::Blank))
            }
            (b'/', Some(b'*')) if mysql => self.mysql_comment().map(Some),
            (b'/', Some(b'*')) => self.block_comment().map(Some),
            (b'*', Some(b'/')) if self.executable.take().is_some() => {
                let start = self.at;
                self.at += 2;
                Ok(Some(Lexeme::Executable { start, end: self.at }))
            }
            _ => Ok(None),
        }
    }

    /// `/*! … */` and `/*M! … */` are statements to the server: their content is read as such.
    fn mysql_comment(&mut self) -> Result<Lexeme, Flaw> {
        let start = self.at;
        let marker = match (self.peek(2), self.peek(3)) {
            (Some(b'!'), _) => 3,
            (Some(b'M'), Some(b'!')) => 4,
            _ => return self.block_comment(),
        };
        if self.executable.is_some() {
            return self.block_comment();
        }
        self.at += marker;
        // A version is 5 or 6 digits directly after the mark.
        let rest = &self.bytes[self.at..];
        let digits = rest.iter().take(6).take_while(|b| b.is_ascii_digit()).count();
        if rest.starts_with(b"999999") {
            // No server is that new. MariaDB's dumps begin with a word to their client in it.
            self.at = start;
            return self.block_comment();
        }
        if digits >= 5 {
            self.at += digits;
        }
        self.executable = Some(start);
        Ok(Lexeme::Executable { start, end: self.at })
    }

    fn block_comment(&mut self) -> Result<Lexeme, Flaw> {
        let start = self.at;
        let nests = self.dialect == Dialect::Postgres;
        let mut depth = 1_usize;
        self.at += 2;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'*', Some(b'/')) => {
                    self.at += 2;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(Lexeme::Blank);
                    }
                }
                (b'/', Some(b'*')) if nests => {
                    self.at += 2;
                    depth += 1;
                }
                _ => self.at += 1,
            }
        }
        Err(unterminated(start, "comment", "*/"))
    }

    /// A string or quoted name whose quote is doubled inside.
    fn string(&mut self, quote: u8, escapes: bool, kind: Kind) -> Result<Lexeme, Flaw> {
        let start = self.at;
        self.quoted(start, quote, escapes)?;
        Ok(self.token(kind, start))
    }

    /// Moves behind the closing quote; we stand on the opening one.
    fn quoted(&mut self, start: usize, quote: u8, escapes: bool) -> Result<(), Flaw> {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            if byte == b'\\' && escapes {
                self.at = (self.at + 2).min(self.bytes.len());
            } else if byte != quote {
                self.at += 1;
            } else if self.peek(1) == Some(quote) {
                self.at += 2;
            } else {
                self.at += 1;
                return Ok(());
            }
        }
        let what = match quote {
            b'\'' => "string",
            b'"' if self.dialect == Dialect::Mysql && !self.quotes.double_is_name => "string",
            _ => "quoted name",
        };
        Err(unterminated(start, what, &char::from(quote).to_string()))
    }

    fn bracketed(&mut self) -> Result<Lexeme, Flaw> {
        let start = self.at;
        self.skip_while(|b| b != b']');
        if self.peek(0).is_none() {
            return Err(unterminated(start, "quoted name", "]"));
        }
        self.at += 1;
        Ok(self.token(Kind::Quoted, start))
    }

    /// `$tag$ … $tag$`, or the `$` of a parameter.
    fn dollar(&mut self) -> Result<Lexeme, Flaw> {
        let start = self.at;
        let rest = &self.bytes[start + 1..];
        let tag = rest
            .iter()
            .enumerate()
            .take_while(|&(i, &b)| is_word_start(b) || (i > 0 && b.is_ascii_digit()))
            .count();
        if rest.get(tag) != Some(&b'$') {
            self.at += 1;
            return Ok(self.token(Kind::Punct(b'$'), start));
        }
        let mark = &self.bytes[start..start + tag + 2];
        self.at += mark.len();
        while self.at < self.bytes.len() {
            self.skip_while(|b| b != b'$');
            if self.bytes[self.at..].starts_with(mark) {
                self.at += mark.len();
                return Ok(self.token(Kind::Str, start));
            }
            self.at = (self.at + 1).min(self.bytes.len());
        }
        let mark = String::from_utf8_lossy(mark);
        Err(unterminated(start, &format!("{mark} string"), &mark))
    }

    fn number(&mut self) -> Lexeme {
        let start = self.at;
        let dollars = self.dialect == Dialect::Mysql;
        self.skip_while(|b| is_word_start(b) || b.is_ascii_digit() || (dollars && b == b'$'));
        self.cut_at_delimiter(start);
        // A fraction; `1.` followed by a word is a qualified name in MySQL.
        if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
            self.skip_while(|b| b.is_ascii_alphanumeric());
        }
        self.token(Kind::Number, start)
    }

    fn word(&mut self) -> Result<Lexeme, Flaw> {
        let start = self.at;
        self.skip_while(|b| is_word_start(b) || b.is_ascii_digit() || b == b'$');
        self.cut_at_delimiter(start);
        let escape_string = self.dialect == Dialect::Postgres
            && self.at == start + 1
            && matches!(self.bytes[start], b'e' | b'E')
            && self.peek(0) == Some(b'\'');
        if !escape_string {
            return Ok(self.token(Kind::Word, start));
        }
        self.quoted(start, b'\'', true)?;
        while let Some(next) = self.continuation() {
            self.at = next;
            self.quoted(start, b'\'', true)?;
        }
        Ok(self.token(Kind::Str, start))
    }

    /// mysql looks for its delimiter at every byte, so `END$$` is a word and a delimiter.
    fn cut_at_delimiter(&mut self, start: usize) {
        if self.delimiter.is_empty() {
            return;
        }
        let cut = (start..self.at).find(|&i| self.bytes[i..].starts_with(&self.delimiter));
        if let Some(cut) = cut.filter(|&cut| cut > start) {
            self.at = cut;
        }
    }

    /// Where a `'…'` on a later line goes on with the string that ends here. It matters only
    /// for `E''`, whose backslashes count in the continuation too.
    fn continuation(&self) -> Option<usize> {
        let mut at = self.at;
        let mut new_line = false;
        loop {
            let byte = *self.bytes.get(at)?;
            if byte == b'\'' {
                return new_line.then_some(at);
            } else if is_blank(byte) {
                new_line |= byte == b'\n' || byte == b'\r';
                at += 1;
            } else if byte == b'-' && self.bytes.get(at + 1) == Some(&b'-') {
                let rest = &self.bytes[at..];
                at += rest.iter().position(|&b| b == b'\n' || b == b'\r')?;
            } else {
                return None;
            }
        }
    }
}

fn unterminated(at: usize, what: &str, closing: &str) -> Flaw {
    Flaw::new("unterminated", at, format!("the {what} that begins here is never closed"))
        .help(format!("close it with {closing}"))
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}
