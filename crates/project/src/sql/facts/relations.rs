//! The tables of a query or of a statement that changes rows.
//!
//! A set that is too large only holds a migration back for longer, one that is too small lets it
//! run too early: so whatever stands where a table can stand is taken for one. Reading tokens
//! instead of a syntax tree makes that possible for every server's syntax, in linear time and
//! without recursion; the tests compare it with the `sqlparser` crate.

use std::collections::BTreeSet;

use dunlin_model::Dialect;

use super::source::{Name, Source};
use crate::sql::lex::Kind;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Relations {
    pub(super) tables: BTreeSet<String>,
    /// Tables that a DELETE without WHERE empties.
    pub(super) emptied: Vec<String>,
    /// The tables whose rows are changed, as written.
    pub(super) written: Vec<String>,
}

/// What the next name would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Nothing,
    /// A table that is read; a name before a parenthesis is a function.
    Read,
    /// A table that is written.
    Write,
    /// The name of a common table expression.
    Expression,
}

/// A level of parentheses.
#[derive(Debug, Default)]
struct Frame {
    /// A comma leads to another table.
    list: bool,
    /// A comma leads to another common table expression.
    with: bool,
    recursive: bool,
    /// The arguments of `EXTRACT(x FROM y)` and its like.
    function: bool,
    merge: bool,
    /// The expression whose body is being read: not yet a name for itself.
    pending: Option<String>,
    /// How many expressions were known outside.
    known_outside: usize,
    /// A DELETE that has no WHERE so far.
    delete: Option<String>,
}

/// Words that can stand between a keyword and its table.
const BEFORE_NAME: [&str; 14] = [
    "ONLY",
    "LATERAL",
    "TABLE",
    "IGNORE",
    "LOW_PRIORITY",
    "HIGH_PRIORITY",
    "QUICK",
    "DELAYED",
    "TEMP",
    "TEMPORARY",
    "UNLOGGED",
    "LOCAL",
    "GLOBAL",
    "OVERWRITE",
];

/// Words after which no further table of a list comes.
const ENDS_LIST: [&str; 15] = [
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "SET",
    "VALUES",
    "WINDOW",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "RETURNING",
    "FETCH",
    "OFFSET",
    "FOR",
];

/// Reads the tables from an index to the end of the statement.
pub(super) fn read(source: Source<'_>, from: usize) -> Relations {
    let mut reader = Reader {
        source,
        at: from,
        frames: vec![Frame::default()],
        known: Vec::new(),
        expect: Expect::Nothing,
        found: Relations::default(),
    };
    while reader.at < source.len() {
        reader.step();
    }
    while reader.frames.len() > 1 {
        reader.close();
    }
    reader.end_delete();
    reader.found
}

struct Reader<'a> {
    source: Source<'a>,
    at: usize,
    /// Never empty.
    frames: Vec<Frame>,
    /// Common table expressions that a FROM can name here.
    known: Vec<String>,
    expect: Expect,
    found: Relations,
}

impl Reader<'_> {
    fn frame(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn step(&mut self) {
        let at = self.at;
        self.at += 1;
        match self.source.kind(at) {
            Some(Kind::Punct(b'(')) => self.open(at),
            Some(Kind::Punct(b')')) => self.close(),
            Some(Kind::Punct(b',')) => self.comma(),
            Some(Kind::Punct(b';')) => {
                self.end_delete();
                *self.frame() =
                    Frame { known_outside: self.frame().known_outside, ..Frame::default() };
                self.expect = Expect::Nothing;
            }
            // A variable or parameter, which is no table.
            Some(Kind::Punct(b'@' | b':' | b'$' | b'?')) => self.expect = Expect::Nothing,
            Some(Kind::Word) if !self.keyword(at) => self.name(at),
            Some(Kind::Quoted | Kind::Str | Kind::Number) => self.name(at),
            _ => {}
        }
    }

    fn open(&mut self, at: usize) {
        const SPECIAL: [&str; 8] =
            ["EXTRACT", "SUBSTRING", "SUBSTR", "TRIM", "OVERLAY", "POSITION", "CONVERT", "MID"];
        let query = self.source.is_any(at + 1, &["SELECT", "WITH", "VALUES", "TABLE"]);
        let list = self.expect == Expect::Read && !query;
        let function = at > 0 && self.source.is_any(at - 1, &SPECIAL);
        let known_outside = self.known.len();
        self.frames.push(Frame { list, function, known_outside, ..Frame::default() });
        self.expect = if list { Expect::Read } else { Expect::Nothing };
    }

    fn close(&mut self) {
        self.end_delete();
        self.expect = Expect::Nothing;
        if self.frames.len() > 1
            && let Some(frame) = self.frames.pop()
        {
            self.known.truncate(frame.known_outside);
        }
    }

    fn comma(&mut self) {
        let frame = self.frame();
        self.expect = if frame.with {
            Expect::Expression
        } else if frame.list {
            Expect::Read
        } else {
            Expect::Nothing
        };
        self.publish();
    }

    /// From here on the expression that was defined can be named.
    fn publish(&mut self) {
        if let Some(name) = self.frame().pending.take() {
            self.known.push(name);
        }
    }

    fn end_delete(&mut self) {
        if let Some(table) = self.frame().delete.take() {
            self.found.emptied.push(table);
        }
    }

    /// Takes a word for a keyword; `false`: it is a name or means nothing here.
    fn keyword(&mut self, at: usize) -> bool {
        let source = self.source;
        if self.expect != Expect::Nothing && source.is_any(at, &BEFORE_NAME) {
            return true;
        }
        // A qualified name's later parts are never keywords.
        if at > 0 && source.punct(at - 1, b'.') {
            return true;
        }
        let word = source.word(at).unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            // The functions of those names.
            "REPLACE" | "INSERT" if source.punct(at + 1, b'(') => return false,
            "WITH" => self.with(at),
            "RECURSIVE" if self.frame().with => self.frame().recursive = true,
            "SELECT" | "VALUES" | "INSERT" | "REPLACE" | "MERGE" => self.query_begins(&word),
            "FROM" => self.from(at),
            "JOIN" | "STRAIGHT_JOIN" => {
                self.frame().delete = None;
                self.expect = Expect::Read;
            }
            "INTO" => self.expect = Expect::Write,
            "UPDATE" => self.update(at),
            "DELETE" => self.query_begins(&word),
            "USING" => self.using(at),
            "TABLE" => self.expect = Expect::Read,
            "OR" if self.expect == Expect::Write => self.at += 1,
            _ if ENDS_LIST.contains(&word.as_str()) => {
                self.frame().list = false;
                if word == "WHERE" {
                    self.frame().delete = None;
                }
                self.expect = Expect::Nothing;
            }
            _ => return false,
        }
        true
    }

    fn with(&mut self, at: usize) {
        const OTHER_WITHS: [&str; 9] =
            ["ORDINALITY", "TIES", "CHECK", "ROLLUP", "DATA", "NO", "TIME", "CASCADED", "LOCAL"];
        if !self.source.is_any(at + 1, &OTHER_WITHS) && !self.source.punct(at + 1, b'(') {
            self.frame().with = true;
            self.expect = Expect::Expression;
        }
    }

    fn query_begins(&mut self, word: &str) {
        self.publish();
        let frame = self.frame();
        frame.with = false;
        frame.list = false;
        frame.merge |= word == "MERGE";
        self.expect = if word == "REPLACE" && self.source.kind(self.at) == Some(Kind::Word) {
            // MySQL: INTO may be left out.
            Expect::Write
        } else if word == "INSERT" && self.source.dialect == Dialect::Mysql {
            if self.source.punct(self.at, b'(') { Expect::Nothing } else { Expect::Write }
        } else {
            Expect::Nothing
        };
    }

    fn from(&mut self, at: usize) {
        let source = self.source;
        let distinct =
            at > 1 && source.is(at - 1, "DISTINCT") && source.is_any(at - 2, &["IS", "NOT"]);
        if self.frame().function || distinct {
            return;
        }
        let mut before = at;
        while before > 0 && source.is_any(before - 1, &["LOW_PRIORITY", "QUICK", "IGNORE"]) {
            before -= 1;
        }
        let deletes = before > 0 && source.is(before - 1, "DELETE");
        self.expect = if deletes { Expect::Write } else { Expect::Read };
        self.frame().list = true;
        if deletes {
            let mut cursor = source.cursor(at + 1);
            cursor.skip(&BEFORE_NAME);
            let name = cursor.name().map(|name| name.key(source.dialect));
            self.frame().delete = name;
        }
    }

    fn update(&mut self, at: usize) {
        const NO_STATEMENT: [&str; 8] = ["FOR", "KEY", "ON", "DO", "THEN", "BEFORE", "AFTER", "OF"];
        if at > 0 && self.source.is_any(at - 1, &NO_STATEMENT) {
            return;
        }
        self.publish();
        self.expect = Expect::Write;
        let frame = self.frame();
        frame.with = false;
        // MySQL: UPDATE a, b SET …
        frame.list = true;
    }

    fn using(&mut self, at: usize) {
        let frame = self.frame();
        let lists_tables = frame.merge || frame.delete.is_some();
        frame.delete = None;
        if lists_tables && (frame.merge || !self.source.punct(at + 1, b'(')) {
            self.expect = Expect::Read;
        }
    }

    fn name(&mut self, at: usize) {
        let expect = std::mem::replace(&mut self.expect, Expect::Nothing);
        if expect == Expect::Nothing {
            return;
        }
        let mut cursor = self.source.cursor(at);
        let Some(name) = cursor.name() else { return };
        self.at = cursor.at;
        match expect {
            Expect::Nothing => {}
            Expect::Expression => {
                if self.frame().recursive {
                    self.known.push(name.last().to_owned());
                } else {
                    self.frame().pending = Some(name.last().to_owned());
                }
            }
            Expect::Write => self.written(&name),
            Expect::Read => {
                let function = self.source.punct(self.at, b'(');
                let expression =
                    name.parts.len() == 1 && self.known.iter().any(|k| k == name.last());
                if !function && !expression {
                    self.found.tables.insert(name.key(self.source.dialect));
                }
            }
        }
    }

    fn written(&mut self, name: &Name) {
        // SELECT … INTO OUTFILE 'x' and INTO @x write no table.
        if self.source.is_any(self.at - 1, &["OUTFILE", "DUMPFILE"]) {
            return;
        }
        self.found.tables.insert(name.key(self.source.dialect));
        if !self.found.written.contains(&name.written) {
            self.found.written.push(name.written.clone());
        }
    }
}
