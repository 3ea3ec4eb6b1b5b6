//! Which rows a statement writes: of what table, how, and which columns it assigns.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_model::{Dialect, Verb, Write};

use super::source::{Cursor, NO_ALIAS, Name, Source};
use crate::sql::lex::Kind;

/// One write of a statement. A WITH can hold several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) verb: Verb,
    /// Folded as in [`dunlin_model::Facts::tables`].
    pub(crate) table: String,
    /// Every column that it may assign in rows that are there, folded.
    pub(crate) columns: BTreeSet<String>,
    /// The columns are surely this table's, and it does nothing else.
    pub(crate) certain: bool,
    /// The columns that it names of rows that it adds, folded; empty: all, as far as is known.
    /// `None`: it adds none.
    pub(crate) adds: Option<BTreeSet<String>>,
    /// Rows that are there take the place of those that it adds, and these columns of theirs it takes
    /// from the columns of the same name; `*`: all.
    pub(crate) keeps: BTreeSet<String>,
}

/// Words that end a list of assignments.
const ENDS_SET: [&str; 8] = ["WHERE", "FROM", "RETURNING", "ORDER", "LIMIT", "WHEN", "ON", "UNION"];

/// Words between a verb and its table.
const BEFORE_TABLE: [&str; 8] =
    ["LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "IGNORE", "OVERWRITE", "INTO", "ONLY"];

/// The one write of a statement that has exactly one.
pub(super) fn only(source: Source<'_>) -> Option<Write> {
    let mut deeds = read(source);
    let one = deeds.pop().filter(|_| deeds.is_empty())?;
    if source.is(0, "MERGE") {
        return None;
    }
    let told = one.certain && one.verb == Verb::Update;
    let columns = if told { one.columns } else { BTreeSet::new() };
    Some(Write { verb: one.verb, table: one.table, columns })
}

/// Every write, in order.
pub(super) fn read(source: Source<'_>) -> Vec<Deed> {
    let mut deeds = Vec::new();
    for at in 0..source.len() {
        if !begins_statement(source, at) {
            continue;
        }
        if source.is(at, "UPDATE") {
            deeds.extend(update(source, at + 1));
        } else if source.is(at, "DELETE") {
            deeds.extend(delete(source, at + 1));
        } else if source.is_any(at, &["INSERT", "REPLACE"]) && !source.punct(at + 1, b'(') {
            deeds.extend(insert(source, at + 1));
        } else if source.is(at, "MERGE") {
            deeds.extend(merge(source, at + 1));
        }
    }
    deeds
}

/// Whether a statement can begin here: in front, in parentheses (WITH x AS (UPDATE …)), or after
/// the last of a WITH's.
fn begins_statement(source: Source<'_>, at: usize) -> bool {
    at == 0 || source.punct(at - 1, b'(') || (source.punct(at - 1, b')') && source.is(0, "WITH"))
}

/// Where the parentheses that we stand in close, or the statement ends.
fn end_of_level(source: Source<'_>, from: usize) -> usize {
    let mut depth = 0_usize;
    for at in from..source.len() {
        match source.kind(at) {
            Some(Kind::Punct(b'(')) => depth += 1,
            Some(Kind::Punct(b')')) if depth == 0 => return at,
            Some(Kind::Punct(b')')) => depth -= 1,
            _ => {}
        }
    }
    source.len()
}

/// Passes `OR IGNORE` and words like LOW_PRIORITY.
fn skip_modifiers(cursor: &mut Cursor<'_>) {
    if cursor.eat("OR") {
        cursor.at += 1;
    }
    cursor.skip(&BEFORE_TABLE);
}

/// The tables of a FROM-like list, by the names that the rest of the statement knows them by.
/// `None` stands for what is no table: a subquery.
#[derive(Debug, Default)]
struct References {
    known: BTreeMap<String, Option<String>>,
    /// In order.
    tables: Vec<String>,
}

impl References {
    fn read(source: Source<'_>, range: std::ops::Range<usize>) -> Self {
        let mut found = Self::default();
        let mut cursor = source.cursor(range.start);
        let mut expects = true;
        while cursor.at < range.end {
            if expects && source.punct(cursor.at, b'(') {
                if source.is_any(cursor.at + 1, &["SELECT", "WITH", "VALUES", "TABLE"]) {
                    cursor.skip_group();
                    if let Some(alias) = alias(&mut cursor) {
                        found.known.insert(alias.last().to_owned(), None);
                    }
                    expects = false;
                } else {
                    // `(a JOIN b)`
                    cursor.at += 1;
                }
                continue;
            }
            if expects {
                cursor.skip(&["ONLY", "LATERAL"]);
                if let Some(name) = cursor.name() {
                    cursor.eat_punct(b'*');
                    let key = name.key(source.dialect);
                    let called = alias(&mut cursor).unwrap_or(name);
                    found.known.insert(called.last().to_owned(), Some(key.clone()));
                    found.tables.push(key);
                }
                expects = false;
                continue;
            }
            expects = source.punct(cursor.at, b',')
                || source.is_any(cursor.at, &["JOIN", "STRAIGHT_JOIN"]);
            // Conditions and USING (…) hold no tables of the list.
            if !cursor.skip_group() {
                cursor.at += 1;
            }
        }
        found
    }

    fn resolve(&self, name: &str) -> Option<String> {
        self.known.get(name).cloned().flatten()
    }
}

/// An alias, with or without AS.
fn alias(cursor: &mut Cursor<'_>) -> Option<Name> {
    if cursor.eat("AS") {
        return cursor.name();
    }
    let quoted = matches!(cursor.source.kind(cursor.at), Some(Kind::Quoted));
    let word = cursor.source.word(cursor.at).is_some();
    let is_alias = quoted || (word && !cursor.source.is_any(cursor.at, &NO_ALIAS));
    if is_alias { cursor.name() } else { None }
}

/// One assignment's column, with its qualifier where it has one.
struct Assigned {
    qualifier: Option<String>,
    column: String,
}

/// The columns that a list of assignments sets.
fn assignments(source: Source<'_>, from: usize) -> Vec<Assigned> {
    let end = end_of_level(source, from);
    let mut found = Vec::new();
    let mut cursor = source.cursor(from);
    let mut expects = true;
    while cursor.at < end {
        if expects {
            expects = false;
            if cursor.eat_punct(b'(') {
                found.extend(cursor.names().into_iter().map(|name| assigned(source, name)));
                cursor.eat_punct(b')');
            } else if let Some(name) = cursor.name() {
                found.push(assigned(source, name));
            }
            continue;
        }
        if ends_set(source, cursor.at) {
            break;
        }
        expects = source.punct(cursor.at, b',');
        if !cursor.skip_group() {
            cursor.at += 1;
        }
    }
    found
}

fn ends_set(source: Source<'_>, at: usize) -> bool {
    // `a IS DISTINCT FROM b`
    let distinct = source.is(at, "FROM") && at > 0 && source.is(at - 1, "DISTINCT");
    // `CASE WHEN …`, which has an END; a MERGE's WHEN comes after none.
    let in_case = source.is(at, "WHEN") && !source.is_any(at + 1, &["MATCHED", "NOT"]);
    source.is_any(at, &ENDS_SET) && !distinct && !in_case
}

fn assigned(source: Source<'_>, name: Name) -> Assigned {
    let mut parts = name.parts;
    if source.dialect != Dialect::Mysql {
        // PostgreSQL takes no qualifier there: `a.b` is a field of the composite column `a`.
        let column = if parts.is_empty() { String::new() } else { parts.swap_remove(0) };
        return Assigned { qualifier: None, column };
    }
    let column = parts.pop().unwrap_or_default();
    Assigned { qualifier: parts.pop(), column }
}

/// Where SET stands on this level.
fn find_set(source: Source<'_>, from: usize) -> Option<usize> {
    source.find_outside(from, "SET").filter(|at| *at < end_of_level(source, from))
}

fn update(source: Source<'_>, from: usize) -> Vec<Deed> {
    let mut cursor = source.cursor(from);
    skip_modifiers(&mut cursor);
    let Some(set) = find_set(source, cursor.at) else { return Vec::new() };
    let references = References::read(source, cursor.at..set);
    let mut by_table: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut unclear = BTreeSet::new();
    for Assigned { qualifier, column } in assignments(source, set + 1) {
        let table = match (&qualifier, references.tables.as_slice()) {
            (_, [only]) if references.known.len() == 1 => Some(only.clone()),
            (Some(qualifier), _) => references.resolve(qualifier),
            (None, _) => None,
        };
        match table {
            Some(table) => {
                by_table.entry(table).or_default().insert(column);
            }
            None => {
                unclear.insert(column);
            }
        }
    }
    if unclear.is_empty() {
        let deed = |(table, columns)| Deed {
            verb: Verb::Update,
            table,
            columns,
            certain: true,
            adds: None,
            keeps: BTreeSet::new(),
        };
        return by_table.into_iter().map(deed).collect();
    }
    // Only the catalogue tells whose columns those are: any of the tables' may be meant.
    let mut tables: Vec<String> = Vec::new();
    for table in references.tables {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    let deed = |table: String| {
        let mut columns = by_table.get(&table).cloned().unwrap_or_default();
        columns.extend(unclear.iter().cloned());
        let keeps = BTreeSet::new();
        Deed { verb: Verb::Update, table, columns, certain: false, adds: None, keeps }
    };
    tables.into_iter().map(deed).collect()
}

fn delete(source: Source<'_>, from: usize) -> Vec<Deed> {
    let mut cursor = source.cursor(from);
    cursor.skip(&BEFORE_TABLE);
    let named_first = !cursor.eat("FROM");
    cursor.skip(&BEFORE_TABLE);
    let targets = targets(&mut cursor);
    let end = end_of_level(source, from);
    let mysql = source.dialect == Dialect::Mysql;
    let references = if mysql && (named_first || cursor.is("USING") || targets.len() > 1) {
        // `DELETE p FROM posts p JOIN …`, `DELETE FROM p USING posts p JOIN …`
        cursor.skip(&["FROM", "USING"]);
        let stop = source.find_outside(cursor.at, "WHERE").map_or(end, |at| at.min(end));
        References::read(source, cursor.at..stop)
    } else {
        References::default()
    };
    let table = |name: &Name| {
        let resolved = (name.parts.len() == 1).then(|| references.resolve(name.last())).flatten();
        resolved.unwrap_or_else(|| name.key(source.dialect))
    };
    let deed = |name: &Name| Deed {
        verb: Verb::Delete,
        table: table(name),
        columns: BTreeSet::new(),
        certain: true,
        adds: None,
        keeps: BTreeSet::new(),
    };
    targets.iter().map(deed).collect()
}

/// `a, b.*`
fn targets(cursor: &mut Cursor<'_>) -> Vec<Name> {
    let mut names = Vec::new();
    while let Some(name) = cursor.name() {
        names.push(name);
        cursor.eat_punct(b'.');
        cursor.eat_punct(b'*');
        if !cursor.eat_punct(b',') {
            break;
        }
    }
    names
}

/// What an INSERT does to rows that are there belongs to it.
fn insert(source: Source<'_>, from: usize) -> Option<Deed> {
    let mut cursor = source.cursor(from);
    let mut replaces =
        source.is(from - 1, "REPLACE") || (cursor.is("OR") && source.is(from + 1, "REPLACE"));
    skip_modifiers(&mut cursor);
    let table = cursor.name()?.key(source.dialect);
    let end = end_of_level(source, from);
    let named = added(cursor);
    let mut columns = BTreeSet::new();
    for at in cursor.at..end {
        let upserts = source.are(at, &["DO", "UPDATE", "SET"])
            || source.are(at, &["DUPLICATE", "KEY", "UPDATE"]);
        if !upserts {
            continue;
        }
        replaces = true;
        columns.extend(assignments(source, at + 3).into_iter().map(|one| one.column));
    }
    let keeps = if replaces { kept(source, cursor.at, end, &named) } else { BTreeSet::new() };
    let adds = Some(named.into_iter().collect());
    Some(Deed { verb: Verb::Insert, table, columns, certain: true, adds, keeps })
}

/// The columns that an INSERT's query gives from the columns of the same name; `*` for all of them.
fn kept(source: Source<'_>, from: usize, end: usize, named: &[String]) -> BTreeSet<String> {
    let mut kept = BTreeSet::new();
    let Some(select) = source.find_outside(from, "SELECT").filter(|at| *at < end) else {
        return kept;
    };
    let until = source.find_outside(select, "FROM").map_or(end, |at| at.min(end));
    let mut places = named.iter();
    if named.is_empty() {
        if source.punct(select + 1, b'*') && select + 2 == until {
            kept.insert("*".to_owned());
        }
        return kept;
    }
    let (mut begin, mut depth) = (select + 1, 0_usize);
    for at in select + 1..=until {
        match source.kind(at).filter(|_| at < until) {
            Some(Kind::Punct(b'(')) => depth += 1,
            Some(Kind::Punct(b')')) => depth = depth.saturating_sub(1),
            Some(Kind::Punct(b',')) if depth > 0 => {}
            Some(Kind::Punct(b',')) | None => {
                let Some(place) = places.next() else { break };
                let mut item = source.cursor(begin);
                let name = item.name().filter(|_| item.at == at);
                if name.is_some_and(|name| name.last() == place) {
                    kept.insert(place.clone());
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
    kept
}

/// The list of columns after an INSERT's table, in order; empty where there is none.
fn added(mut cursor: Cursor<'_>) -> Vec<String> {
    if cursor.eat("AS") {
        cursor.name();
    }
    if !cursor.eat_punct(b'(') || cursor.source.is_any(cursor.at, &["SELECT", "WITH", "VALUES"]) {
        return Vec::new();
    }
    cursor.names().iter().map(|name| name.last().to_owned()).collect()
}

fn merge(source: Source<'_>, from: usize) -> Option<Deed> {
    let mut cursor = source.cursor(from);
    cursor.skip(&BEFORE_TABLE);
    let table = cursor.name()?.key(source.dialect);
    let mut columns = BTreeSet::new();
    let mut adds: Option<BTreeSet<String>> = None;
    for at in cursor.at..end_of_level(source, from) {
        if source.are(at, &["THEN", "UPDATE", "SET"]) {
            columns.extend(assignments(source, at + 3).into_iter().map(|one| one.column));
        } else if source.are(at, &["THEN", "INSERT"]) {
            let named = added(source.cursor(at + 2)).into_iter().collect::<BTreeSet<_>>();
            match &mut adds {
                // Without a list it names all of them.
                Some(known) if known.is_empty() || named.is_empty() => known.clear(),
                Some(known) => known.extend(named),
                None => adds = Some(named),
            }
        }
    }
    let keeps = BTreeSet::new();
    Some(Deed { verb: Verb::Update, table, columns, certain: false, adds, keeps })
}
