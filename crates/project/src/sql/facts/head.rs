//! The beginning of a definition statement: CREATE, ALTER or DROP, of what, named how.

use dunlin_model::Dialect;

use super::source::{Name, Source};

/// What a definition statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Create,
    Alter,
    Drop,
}

/// `CREATE OR REPLACE VIEW IF NOT EXISTS a …`, read up to its names.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) act: Act,
    /// What it is about, in upper case: `TABLE`, `MATERIALIZED VIEW`.
    pub(super) object: &'static str,
    pub(super) or_replace: bool,
    pub(super) temporary: bool,
    /// IF EXISTS or IF NOT EXISTS.
    pub(super) conditional: bool,
    pub(super) concurrently: bool,
    /// What it creates, alters or drops. Several only for DROP.
    pub(super) names: Vec<Name>,
    /// The table of an index, trigger, policy or rule.
    pub(super) on: Option<Name>,
    /// Where the rest begins, after the names.
    pub(super) rest: usize,
}

/// Longer phrases come before those that begin them.
const OBJECTS: [&str; 47] = [
    "MATERIALIZED VIEW",
    "FOREIGN TABLE",
    "FOREIGN DATA WRAPPER",
    "EVENT TRIGGER",
    "ACCESS METHOD",
    "TEXT SEARCH",
    "USER MAPPING",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "DEFAULT PRIVILEGES",
    "LARGE OBJECT",
    "OWNED BY",
    "TABLE",
    "TABLES",
    "INDEX",
    "VIEW",
    "SEQUENCE",
    "FUNCTION",
    "PROCEDURE",
    "ROUTINE",
    "AGGREGATE",
    "TRIGGER",
    "EVENT",
    "TYPE",
    "DOMAIN",
    "SCHEMA",
    "DATABASE",
    "EXTENSION",
    "POLICY",
    "RULE",
    "ROLE",
    "USER",
    "GROUP",
    "LANGUAGE",
    "CAST",
    "COLLATION",
    "CONVERSION",
    "OPERATOR",
    "PUBLICATION",
    "SUBSCRIPTION",
    "SERVER",
    "STATISTICS",
    "TABLESPACE",
    "TRANSFORM",
    "SYSTEM",
    "PACKAGE",
    "INSTANCE",
];

impl Head {
    /// Reads the head; `None` where the statement is no definition of a known kind.
    pub(super) fn read(source: Source<'_>) -> Option<Self> {
        let act = match source.word(0)?.to_ascii_uppercase().as_str() {
            "CREATE" => Act::Create,
            "ALTER" => Act::Alter,
            "DROP" => Act::Drop,
            _ => return None,
        };
        let mut head = Self {
            act,
            object: "",
            or_replace: false,
            temporary: false,
            conditional: false,
            concurrently: false,
            names: Vec::new(),
            on: None,
            rest: 0,
        };
        let at = head.object(source)?;
        head.names(source, at);
        Some(head)
    }

    /// Finds what it is about behind any modifiers; gives the index after it.
    fn object(&mut self, source: Source<'_>) -> Option<usize> {
        // `CREATE OR REPLACE ALGORITHM = x DEFINER = a @ b SQL SECURITY INVOKER VIEW`
        const TOKENS_MAX: usize = 20;
        let mut at = 1;
        while at < source.len().min(TOKENS_MAX) {
            if source.is(at, "DEFINER") && source.punct(at + 1, b'=') {
                at += 3;
                // `user @ host` or `CURRENT_USER()`
                if source.punct(at, b'@') || source.punct(at, b'(') {
                    at += 2;
                }
                continue;
            }
            self.or_replace |= source.are(at, &["OR", "REPLACE"]);
            self.temporary |= source.is_any(at, &["TEMP", "TEMPORARY"]);
            if let Some((object, words)) = object_at(source, at) {
                self.object = match object {
                    "SCHEMA" if source.dialect == Dialect::Mysql => "DATABASE",
                    "TABLES" => "TABLE",
                    object => object,
                };
                return Some(at + words);
            }
            at += 1;
        }
        None
    }

    fn names(&mut self, source: Source<'_>, at: usize) {
        let mut cursor = source.cursor(at);
        self.concurrently = cursor.eat("CONCURRENTLY");
        self.conditional = cursor.eat_condition();
        cursor.eat("ONLY");
        let has_table = matches!(self.object, "INDEX" | "TRIGGER" | "POLICY" | "RULE");
        if self.act == Act::Drop && !matches!(self.object, "TRIGGER" | "POLICY" | "RULE") {
            self.names =
                if matches!(self.object, "FUNCTION" | "PROCEDURE" | "ROUTINE" | "AGGREGATE") {
                    routine_names(&mut cursor)
                } else {
                    cursor.names()
                };
        } else if !cursor.is("ON") {
            self.names.extend(cursor.name());
            cursor.eat_punct(b'*');
        }
        if has_table && let Some(on) = source.find_outside(cursor.at, "ON") {
            // `CREATE RULE r AS ON INSERT TO t`
            let mut table = source.cursor(on + 1);
            if self.object == "RULE" && self.act == Act::Create {
                table.at += 1;
                table.eat("TO");
            }
            table.eat("ONLY");
            self.on = table.name();
            cursor.at = table.at;
        }
        if self.act == Act::Alter && self.object == "TABLE" && source.dialect == Dialect::Mysql {
            // MariaDB: ALTER TABLE a WAIT 5 DROP COLUMN b
            if cursor.eat("WAIT") {
                cursor.at += 1;
            }
            cursor.eat("NOWAIT");
        }
        self.rest = cursor.at;
    }

    /// Whether CASCADE ends it.
    pub(super) fn cascades(&self, source: Source<'_>) -> bool {
        self.act == Act::Drop && source.contains(self.rest..source.len(), &["CASCADE"])
    }

    /// The first name, as written; empty where there is none.
    pub(super) fn written(&self) -> &str {
        self.names.first().map_or("", |name| name.written.as_str())
    }
}

fn object_at(source: Source<'_>, at: usize) -> Option<(&'static str, usize)> {
    let first = source.word(at)?;
    OBJECTS.into_iter().find_map(|object| {
        let mut words = object.split(' ');
        if !words.next().is_some_and(|word| word.eq_ignore_ascii_case(first)) {
            return None;
        }
        // MySQL knows `CREATE AGGREGATE FUNCTION`.
        if object == "AGGREGATE" && source.is(at + 1, "FUNCTION") {
            return None;
        }
        let rest: Vec<&str> = words.collect();
        source.are(at + 1, &rest).then_some((object, rest.len() + 1))
    })
}

/// `f(int), g`: names with their parameter lists.
fn routine_names(cursor: &mut super::source::Cursor<'_>) -> Vec<Name> {
    let mut names = Vec::new();
    while let Some(name) = cursor.name() {
        names.push(name);
        cursor.skip_group();
        if !cursor.eat_punct(b',') {
            break;
        }
    }
    names
}
