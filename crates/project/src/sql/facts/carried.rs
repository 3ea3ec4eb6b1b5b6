//! What a statement finds in its session because statements before it left it there: variables,
//! temporary tables, prepared statements, the last number that was given.
//!
//! A session that takes over in the middle of a file is told again what the first part set. That
//! is as good as the first time for `SET @n = 5`, and for whatever was computed after the last
//! statement that changed something: then it is as if the run had stopped before it. Everything
//! else would be another value, or is gone, and what reads it must not go on with it silently.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_model::{Dialect, Statement};

use super::head::{Act, Head};
use super::later::tokens;
use super::own_functions::{Calls, calls, setting_at};
use super::source::Source;
use crate::sql::lex::Kind;

/// A statement that takes over what its session no longer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The statement that reads it, by its place in the file from 0.
    pub reader: usize,
    /// What it reads, for a person: `@n`, `LAST_INSERT_ID()`, `the temporary table t`.
    pub what: String,
    /// The statement that left it there, from 0.
    pub from: usize,
}

/// What the last number that an INSERT was given is known as here.
const LAST_NUMBER: &str = "LAST_INSERT_ID()";

/// How a temporary table is known as here.
const TEMPORARY: &str = "the temporary table ";

/// Settings of the session as a whole.
const SETTINGS: &str = "a setting of the session";

/// The first statement from `resume_at` on that reads something of its session which cannot be had
/// again in another one, after the statements before `resume_at` ran in one that is gone.
#[must_use]
pub fn lost(dialect: Dialect, statements: &[Statement], resume_at: usize) -> Option<Lost> {
    let uses: Vec<Use> = statements.iter().map(|one| Use::of(dialect, one)).collect();
    let done = uses.len().min(resume_at);
    let last_act = uses[..done].iter().rposition(|one| one.acts);
    let mut gone: BTreeMap<String, usize> = BTreeMap::new();
    let mut mentions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (index, one) in uses.iter().enumerate() {
        let said = one.said(&mentions);
        let mut reads = one.reads.clone();
        if one.runs_text {
            reads.extend(said.iter().cloned());
        }
        let missed = |item: &String| gone.contains_key(item);
        if index >= done {
            let unseen = |item: &&String| {
                one.reads_all && item.starts_with('@')
                    || one.any_table && item.starts_with(TEMPORARY)
                    || *item == SETTINGS
            };
            let first = reads.iter().find(|item| missed(item));
            let first = first.or_else(|| gone.keys().find(unseen));
            if let Some(what) = first {
                let from = gone.get(what).copied().unwrap_or_default();
                return Some(Lost { reader: index, what: what.clone(), from });
            }
        }
        let new = last_act.is_none_or(|last| index > last);
        let sound = index >= done
            || one.again && (one.calls.is_steady() || new) && !reads.iter().any(missed);
        let mut sets = one.sets.clone();
        if one.runs_text {
            sets.extend(said.iter().cloned());
        }
        for item in sets {
            mentions.insert(item.clone(), said.clone());
            // Whether a later INSERT is given a number cannot be told from the file.
            let stays = item == LAST_NUMBER || item == SETTINGS;
            if !sound {
                gone.insert(item, index);
            } else if !stays {
                gone.remove(&item);
            }
        }
        gone.retain(|item, _| !one.drops.contains(item));
    }
    None
}

/// What a statement asks of the one that ran right before it, if that matters: between the steps of
/// a file the journal is written, which answers in its place.
#[must_use]
pub fn asks_of_previous(dialect: Dialect, statement: &Statement) -> Option<&'static str> {
    const BODIES: [&str; 10] =
        ["CREATE", "ALTER", "DROP", "BEGIN", "IF", "CASE", "LOOP", "WHILE", "REPEAT", "FOR"];
    // PostgreSQL's `lastval()` goes by sequences, and no statement between steps takes a number.
    if dialect == Dialect::Postgres {
        return None;
    }
    let tokens = tokens(dialect, &statement.text);
    let source = Source { dialect, text: &statement.text, tokens: &tokens }.behind_settings();
    if source.is_any(0, &BODIES) || source.is(0, "SHOW") {
        return None;
    }
    let calls = |at: usize, name: &str| source.is(at, name) && source.punct(at + 1, b'(');
    if dialect == Dialect::Sqlite {
        let idle = source.is(0, "SELECT");
        return (0..source.len()).filter(|_| !idle).find_map(|at| match () {
            () if calls(at, "LAST_INSERT_ROWID") => Some("last_insert_rowid()"),
            () if calls(at, "CHANGES") => Some("changes()"),
            () if calls(at, "TOTAL_CHANGES") => Some("total_changes()"),
            () => None,
        });
    }
    if source.is(0, "GET") && source.has("DIAGNOSTICS") {
        return Some("GET DIAGNOSTICS");
    }
    // Its rows are thrown away.
    let idle = source.is(0, "SELECT")
        && !source.has("INTO")
        && !(0..source.len()).any(|at| source.punct(at, b':') && source.punct(at + 1, b'='));
    (0..source.len()).filter(|_| !idle).find_map(|at| match setting_at(source, at).as_deref() {
        Some("WARNING_COUNT") => Some("@@warning_count"),
        Some("ERROR_COUNT") => Some("@@error_count"),
        _ if calls(at, "ROW_COUNT") => Some("ROW_COUNT()"),
        _ if calls(at, "FOUND_ROWS") => Some("FOUND_ROWS()"),
        _ => None,
    })
}

impl Calls {
    fn is_steady(self) -> bool {
        !self.varying && !self.unknown
    }
}

/// What one statement has to do with its session.
#[derive(Debug, Default)]
struct Use {
    reads: BTreeSet<String>,
    /// A routine of it may read any variable.
    reads_all: bool,
    /// It may read any temporary table.
    any_table: bool,
    sets: BTreeSet<String>,
    drops: BTreeSet<String>,
    /// Variables that its strings name: text that may be run later.
    strings: BTreeSet<String>,
    /// It runs the text that was prepared.
    runs_text: bool,
    /// It is sent again to a session that takes over.
    again: bool,
    calls: Calls,
    /// It changes something that is not of the session.
    acts: bool,
}

impl Use {
    fn of(dialect: Dialect, statement: &Statement) -> Self {
        let tokens = tokens(dialect, &statement.text);
        let source = Source { dialect, text: &statement.text, tokens: &tokens }.behind_settings();
        let mut one = Self { acts: true, ..Self::default() };
        one.temporary_tables(source, statement);
        if dialect == Dialect::Mysql {
            one.variables(source);
            one.statement(source, statement);
        }
        one
    }

    /// All variables that text which it runs, or keeps for later, may name.
    fn said(&self, mentions: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
        let mut said = self.strings.clone();
        said.extend(self.reads.iter().filter_map(|item| mentions.get(item)).flatten().cloned());
        said
    }

    fn temporary_tables(&mut self, source: Source<'_>, statement: &Statement) {
        let item = |table: &str| format!("{TEMPORARY}{table}");
        let made = Head::read(source).filter(|head| head.object == "TABLE");
        let names = |head: &Head| -> BTreeSet<String> {
            head.names.iter().map(|name| item(&name.key(source.dialect))).collect()
        };
        match made {
            Some(head) if head.act == Act::Create && head.temporary => self.sets = names(&head),
            Some(head) if head.act == Act::Drop => self.drops = names(&head),
            _ => {}
        }
        const NO_ROWS: [&str; 7] = ["CREATE", "DROP", "ALTER", "GRANT", "REVOKE", "SET", "COMMENT"];
        self.any_table = statement.facts.tables.is_none() && !source.is_any(0, &NO_ROWS);
        let read = statement.facts.tables.iter().flatten().map(|table| item(table));
        self.reads
            .extend(read.filter(|item| !self.sets.contains(item) && !self.drops.contains(item)));
    }

    fn variables(&mut self, source: Source<'_>) {
        let set = source.is(0, "SET");
        let mut into = false;
        let mut depth = 0_usize;
        let mut at = 0;
        while at < source.len() {
            if source.kind(at) == Some(Kind::Str) {
                self.strings.extend(named_in(source.token_text(at)));
            }
            match source.kind(at) {
                Some(Kind::Punct(b'(')) => depth += 1,
                Some(Kind::Punct(b')')) => depth = depth.saturating_sub(1),
                _ => {}
            }
            into = match source.kind(at) {
                Some(Kind::Word) => source.is(at, "INTO"),
                Some(Kind::Punct(b'@' | b',')) => into,
                _ => into && at > 0 && source.punct(at - 1, b'@'),
            };
            let Some((name, next)) = variable_at(source, at) else {
                at += if source.punct(at, b'@') && source.punct(at + 1, b'@') { 2 } else { 1 };
                continue;
            };
            let by_colon = source.punct(next, b':') && source.punct(next + 1, b'=');
            let begins = at == 1 || depth == 0 && at > 0 && source.punct(at - 1, b',');
            let by_set = set && begins && source.punct(next, b'=');
            if into || by_colon || by_set {
                self.sets.insert(name);
            } else if !(set && self.sets.contains(&name)) {
                self.reads.insert(name);
            }
            at = next;
        }
    }

    fn statement(&mut self, source: Source<'_>, statement: &Statement) {
        let first = source.word(0).unwrap_or_default().to_ascii_uppercase();
        let prepared =
            |at| source.cursor(at).name().map(|name| format!("the statement {}", name.last()));
        self.calls = calls(source, 1);
        let asks = |at: usize| {
            let identity = setting_at(source, at).is_some_and(|setting| setting == "IDENTITY");
            identity || source.is(at, "LAST_INSERT_ID")
        };
        if (0..source.len()).any(asks) {
            self.reads.insert(LAST_NUMBER.to_owned());
        }
        match first.as_str() {
            "SET" => {
                let variables_only = source.punct(1, b'@') && !source.punct(2, b'@');
                if !variables_only {
                    self.sets.insert(SETTINGS.to_owned());
                }
                self.acts = self.calls.unknown;
            }
            "PREPARE" => {
                self.sets.extend(prepared(1));
                // The text is all that counts, and where that comes from.
                self.calls = Calls::default();
                self.acts = false;
            }
            "DEALLOCATE" => {
                self.drops.extend(prepared(2));
                self.acts = false;
            }
            "EXECUTE" => {
                self.reads.extend(prepared(1));
                self.runs_text = true;
            }
            "CALL" => {
                self.reads_all = true;
                self.sets.extend(self.reads.iter().filter(|item| item.starts_with('@')).cloned());
                self.sets.insert(LAST_NUMBER.to_owned());
            }
            "INSERT" | "REPLACE" | "LOAD" => {
                self.sets.insert(LAST_NUMBER.to_owned());
            }
            "USE" | "SHOW" | "EXPLAIN" | "DESCRIBE" | "DESC" | "LOCK" | "UNLOCK" | "HELP" => {
                self.acts = false;
            }
            "SELECT" | "WITH" | "VALUES" | "TABLE" | "DO" => self.acts = self.calls.unknown,
            _ => {}
        }
        // LAST_INSERT_ID(id + 1)
        let gives = (0..source.len()).any(|at| {
            source.is(at, "LAST_INSERT_ID")
                && source.punct(at + 1, b'(')
                && !source.punct(at + 2, b')')
        });
        if gives {
            self.sets.insert(LAST_NUMBER.to_owned());
        }
        let facts = &statement.facts;
        self.again = facts.changes_session && !facts.may_act;
    }
}

/// The user variable that is written at an index, and where what follows it begins.
fn variable_at(source: Source<'_>, at: usize) -> Option<(String, usize)> {
    let adjoins = |at: usize| {
        let (one, next) = (source.tokens.get(at)?, source.tokens.get(at + 1)?);
        (one.end() == next.start()).then_some(())
    };
    if !source.punct(at, b'@') || at > 0 && source.punct(at - 1, b'@') && adjoins(at - 1).is_some()
    {
        return None;
    }
    adjoins(at)?;
    let mut next = at + 1;
    let mut name = String::from("@");
    loop {
        match source.kind(next)? {
            Kind::Word | Kind::Number | Kind::Punct(b'.' | b'$') => {
                name.push_str(&source.token_text(next).to_ascii_lowercase());
            }
            Kind::Quoted | Kind::Str if next == at + 1 => {
                let text = source.token_text(next);
                let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
                name.push_str(&inner.to_ascii_lowercase());
            }
            _ => return None,
        }
        next += 1;
        let goes_on =
            matches!(source.kind(next), Some(Kind::Word | Kind::Number | Kind::Punct(b'.' | b'$')));
        if !goes_on || adjoins(next - 1).is_none() {
            return Some((name, next));
        }
    }
}

/// The variables that a string names: it may become a statement.
fn named_in(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('@').skip(1).filter_map(|rest| {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.');
        let name: String = rest.chars().take_while(|&c| is_part(c)).collect();
        (!name.is_empty()).then(|| format!("@{}", name.to_lowercase()))
    })
}
