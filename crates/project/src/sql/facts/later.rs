//! What one statement of a file tells about a later one.

use std::collections::BTreeMap;

use dunlin_model::{Destruction, DestructionKind, Dialect, Facts, Statement};

use super::Source;
use super::head::Head;
use super::unread::text_destroys;
use crate::sql::lex::{Kind, Token};
use crate::sql::split::Splitter;

/// Whether it defines a function or procedure.
pub(in crate::sql) fn is_routine_definition(facts: &Facts) -> bool {
    matches!(facts.verb.as_str(), "CREATE FUNCTION" | "CREATE PROCEDURE")
}

/// The tokens of a text that is one statement.
pub(super) fn tokens(dialect: Dialect, text: &str) -> Vec<Token> {
    let mut splitter = Splitter::new(dialect, text);
    match splitter.next() {
        Ok(_) => splitter.tokens,
        // It was read once; alone it may lack the DELIMITER that it was written under.
        Err(_) => Vec::new(),
    }
}

/// The folded name of what a CREATE defines.
pub(in crate::sql) fn defined_name(dialect: Dialect, text: &str) -> Option<String> {
    let tokens = tokens(dialect, text);
    let head = Head::read(Source { dialect, text, tokens: &tokens })?;
    head.names.first().map(|name| name.key(dialect))
}

/// Type and label, as written with its quotes, of an ALTER TYPE … ADD VALUE.
pub(in crate::sql) fn added_value(text: &str) -> Option<(String, String)> {
    let dialect = Dialect::Postgres;
    let tokens = tokens(dialect, text);
    let source = Source { dialect, text, tokens: &tokens };
    let head = Head::read(source)?;
    let mut cursor = source.cursor(head.rest);
    if !cursor.eat_all(&["ADD", "VALUE"]) {
        return None;
    }
    cursor.eat_condition();
    let name = head.names.first()?.key(dialect);
    let is_label = source.kind(cursor.at) == Some(Kind::Str);
    is_label.then(|| (name, source.token_text(cursor.at).to_owned()))
}

/// The routines that a file has defined so far: folded name, and whether the body destroys data.
#[derive(Debug, Default)]
pub(in crate::sql) struct Routines(BTreeMap<String, bool>);

impl Routines {
    /// Takes in a CREATE FUNCTION or CREATE PROCEDURE.
    pub(in crate::sql) fn define(&mut self, dialect: Dialect, text: &str) {
        if let Some(name) = defined_name(dialect, text) {
            let destroys = text_destroys(dialect, text);
            *self.0.entry(name).or_default() |= destroys;
        }
    }

    /// Notes what a statement does by calling one of them.
    pub(in crate::sql) fn note_calls(&self, dialect: Dialect, statement: &mut Statement) {
        let defines = matches!(
            statement.facts.verb.split(' ').next(),
            Some("CREATE" | "DROP" | "ALTER" | "COMMENT" | "GRANT" | "REVOKE")
        );
        if defines {
            return;
        }
        self.note_unknown(dialect, statement);
        if self.0.is_empty() {
            return;
        }
        let called = self.called(dialect, &statement.text);
        for (name, destroys) in called {
            statement.facts.tables = None;
            if destroys {
                statement.facts.destroys.push(Destruction {
                    kind: DestructionKind::Drop,
                    object: format!("something in the routine {name}"),
                });
            }
        }
    }

    /// A procedure that this file does not define may do anything: in doubt it destroys.
    fn note_unknown(&self, dialect: Dialect, statement: &mut Statement) {
        if statement.facts.verb != "CALL" {
            return;
        }
        let tokens = tokens(dialect, &statement.text);
        let source = Source { dialect, text: &statement.text, tokens: &tokens }.behind_settings();
        let name = source.cursor(1).name().map(|name| name.key(dialect)).unwrap_or_default();
        if !self.0.contains_key(&name) && statement.facts.destroys.is_empty() {
            statement.facts.destroys.push(Destruction {
                kind: DestructionKind::Drop,
                object: format!("perhaps something in the routine {name}, defined elsewhere"),
            });
        }
    }

    fn called(&self, dialect: Dialect, text: &str) -> BTreeMap<String, bool> {
        let tokens = tokens(dialect, text);
        let source = Source { dialect, text, tokens: &tokens }.behind_settings();
        let mut called = BTreeMap::new();
        let mut at = 0;
        while at < source.len() {
            let mut cursor = source.cursor(at);
            let Some(name) = cursor.name() else {
                at += 1;
                continue;
            };
            let call = source.punct(cursor.at, b'(') || source.is(0, "CALL");
            let key = name.key(dialect);
            if call && let Some(destroys) = self.0.get(&key) {
                called.insert(key, *destroys);
            }
            at = cursor.at;
        }
        called
    }
}
