//! Which tables a statement reads or changes.
//!
//! `None` says that it may be any. Where indexes and sequences share the tables' names
//! (PostgreSQL, SQLite) they count as tables, so that a DROP INDEX meets its CREATE INDEX.

use std::collections::BTreeSet;

use dunlin_model::Dialect;

use super::Reading;
use super::alter::Change;
use super::head::{Act, Head};
use super::source::Name;

type Tables = Option<BTreeSet<String>>;

pub(super) fn read(reading: &Reading<'_>) -> Tables {
    match &reading.head {
        Some(head) => match head.act {
            Act::Create => created(reading, head),
            Act::Alter => altered(reading, head),
            Act::Drop => dropped(reading, head),
        },
        None => other(reading),
    }
}

fn none() -> Tables {
    Some(BTreeSet::new())
}

fn keys<'n>(reading: &Reading<'_>, names: impl IntoIterator<Item = &'n Name>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.key(reading.dialect())).collect()
}

/// The tables of the query in it, and these.
fn with_query(reading: &Reading<'_>, mut tables: BTreeSet<String>) -> Tables {
    if let Some(relations) = &reading.relations {
        tables.extend(relations.tables.iter().cloned());
    }
    Some(tables)
}

fn created(reading: &Reading<'_>, head: &Head) -> Tables {
    let source = reading.source;
    let shares_names = reading.dialect() != Dialect::Mysql;
    match head.object {
        "TABLE" | "FOREIGN TABLE" => {
            if source.contains(head.rest..source.len(), &["AS", "EXECUTE"]) {
                return None;
            }
            let mut tables = keys(reading, &head.names);
            tables.extend(keys(reading, &referenced(reading, head.rest)));
            with_query(reading, tables)
        }
        "VIEW" | "MATERIALIZED VIEW" => with_query(reading, keys(reading, &head.names)),
        "INDEX" => {
            let mut tables = keys(reading, &head.on);
            if shares_names {
                tables.extend(keys(reading, &head.names));
            }
            Some(tables)
        }
        "TRIGGER" => {
            let mut tables = keys(reading, &head.on);
            if source.is(head.rest, "FROM") {
                tables.extend(keys(reading, &source.cursor(head.rest + 1).name()));
            }
            Some(tables)
        }
        "POLICY" => Some(keys(reading, &head.on)),
        "RULE" => with_query(reading, keys(reading, &head.on)),
        "STATISTICS" => with_query(reading, BTreeSet::new()),
        "SEQUENCE" => {
            let mut tables = keys(reading, &head.names);
            tables.extend(owner(reading, head.rest));
            Some(tables)
        }
        "SCHEMA" if source.contains(1..source.len(), &["CREATE"]) => None,
        "PUBLICATION" => published(reading, head.rest),
        "SUBSCRIPTION" => None,
        _ => none(),
    }
}

/// Tables named by REFERENCES, LIKE, INHERITS and PARTITION OF.
fn referenced(reading: &Reading<'_>, from: usize) -> Vec<Name> {
    let source = reading.source;
    let mut names = Vec::new();
    for at in from..source.len() {
        if source.is_any(at, &["REFERENCES", "LIKE"]) {
            names.extend(source.cursor(at + 1).name());
        } else if source.is(at, "INHERITS") && source.punct(at + 1, b'(') {
            names.extend(source.cursor(at + 2).names());
        } else if source.are(at, &["PARTITION", "OF"]) {
            names.extend(source.cursor(at + 2).name());
        }
    }
    names
}

/// The table of `OWNED BY t.c`.
fn owner(reading: &Reading<'_>, from: usize) -> Option<String> {
    let source = reading.source;
    let at = (from..source.len()).find(|&i| source.are(i, &["OWNED", "BY"]))?;
    column_owner(reading, source.cursor(at + 2).name()?)
}

/// The table of a qualified column.
fn column_owner(reading: &Reading<'_>, mut column: Name) -> Option<String> {
    column.parts.pop();
    (!column.parts.is_empty()).then(|| column.key(reading.dialect()))
}

fn published(reading: &Reading<'_>, from: usize) -> Tables {
    let source = reading.source;
    if source.has("ALL") || source.has("TABLES") {
        return None;
    }
    let Some(at) = source.find_outside(from, "TABLE") else {
        return none();
    };
    Some(keys(reading, &source.cursor(at + 1).names()))
}

fn altered(reading: &Reading<'_>, head: &Head) -> Tables {
    let source = reading.source;
    match head.object {
        "TABLE" | "FOREIGN TABLE" => {
            if head.names.first().is_some_and(|n| n.last() == "all") && source.is(head.rest, "IN") {
                return None;
            }
            let mut tables = keys(reading, &head.names);
            for action in &reading.actions {
                match &action.change {
                    Change::AddReference(name)
                    | Change::RenameTable(name)
                    | Change::Exchange(name)
                    | Change::Attach(name)
                    | Change::Inherit(name)
                    | Change::Detach { partition: Some(name), .. } => {
                        tables.insert(renamed(reading, head, name));
                    }
                    Change::MoveTo(schema) => {
                        let name = head.names.first().map_or("", Name::last);
                        tables.insert(format!("{}.{name}", schema.last()));
                    }
                    _ => {}
                }
            }
            Some(tables)
        }
        "VIEW" | "MATERIALIZED VIEW" | "INDEX" | "SEQUENCE" => {
            let mut tables = keys(reading, &head.names);
            tables.extend(keys(reading, &head.on));
            tables.extend(owner(reading, head.rest));
            if source.are(head.rest, &["RENAME", "TO"]) {
                tables.extend(keys(reading, &source.cursor(head.rest + 2).name()));
            }
            with_query(reading, tables)
        }
        "TRIGGER" | "POLICY" | "RULE" => head.on.as_ref().map(|on| keys(reading, [on])),
        "SCHEMA" | "DATABASE" if source.has("RENAME") => None,
        "TYPE" if source.has("ATTRIBUTE") => None,
        "PUBLICATION" => published(reading, head.rest),
        "SUBSCRIPTION" => None,
        _ => none(),
    }
}

/// In PostgreSQL a new name has no schema: it stays in that of the table.
fn renamed(reading: &Reading<'_>, head: &Head, name: &Name) -> String {
    let schema = head.names.first().map(|n| n.parts.as_slice());
    match (reading.dialect(), schema) {
        (Dialect::Postgres, Some([schema, _])) if name.parts.len() == 1 && schema != "public" => {
            format!("{schema}.{}", name.last())
        }
        _ => name.key(reading.dialect()),
    }
}

fn dropped(reading: &Reading<'_>, head: &Head) -> Tables {
    match head.object {
        "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE" => {
            Some(keys(reading, &head.names))
        }
        "INDEX" if reading.dialect() == Dialect::Mysql => Some(keys(reading, &head.on)),
        "INDEX" => Some(keys(reading, &head.names)),
        // Without its table it is not known whose it is.
        "TRIGGER" | "POLICY" | "RULE" => head.on.as_ref().map(|on| keys(reading, [on])),
        "SCHEMA" | "DATABASE" | "OWNED BY" | "SUBSCRIPTION" => None,
        "TYPE" | "DOMAIN" | "EXTENSION" if head.cascades(reading.source) => None,
        _ => none(),
    }
}

fn other(reading: &Reading<'_>) -> Tables {
    let source = reading.source;
    if let Some(relations) = &reading.relations {
        return Some(relations.tables.clone());
    }
    match reading.first.as_str() {
        "TRUNCATE" => {
            if source.has("CASCADE") {
                return None;
            }
            let mut cursor = source.cursor(1);
            cursor.eat("TABLE");
            Some(keys(reading, &cursor.names()))
        }
        "LOCK" => Some(locked(reading)),
        "RENAME" if source.is_any(1, &["TABLE", "TABLES"]) => {
            let pairs = renames(reading);
            Some(keys(reading, pairs.iter().flat_map(|(from, to)| [from, to])))
        }
        "COPY" => Some(keys(reading, &source.cursor(1).name())),
        "COMMENT" => commented(reading),
        "GRANT" | "REVOKE" => granted(reading),
        "REFRESH" => {
            let mut cursor = source.cursor(1);
            cursor.skip(&["MATERIALIZED", "VIEW", "CONCURRENTLY"]);
            Some(keys(reading, &cursor.name()))
        }
        "VACUUM" | "ANALYZE" | "ANALYSE" | "CLUSTER" | "REINDEX" | "OPTIMIZE" | "CHECK"
        | "REPAIR" | "CHECKSUM" => Some(maintained(reading)),
        "SET" | "RESET" | "SHOW" | "PRAGMA" | "USE" | "BEGIN" | "START" | "COMMIT" | "END"
        | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" | "UNLOCK" | "FLUSH" | "KILL"
        | "ATTACH" | "DETACH" | "PREPARE" | "DEALLOCATE" | "LISTEN" | "UNLISTEN" | "NOTIFY"
        | "DISCARD" | "CHECKPOINT" | "SECURITY" | "FETCH" | "CLOSE" | "MOVE" | "HELP"
        | "INSTALL" | "UNINSTALL" | "XA" => none(),
        _ => None,
    }
}

/// The pairs of a MySQL RENAME TABLE.
pub(super) fn renames(reading: &Reading<'_>) -> Vec<(Name, Name)> {
    let mut cursor = reading.source.cursor(2);
    cursor.eat_condition();
    let mut pairs = Vec::new();
    while let Some(from) = cursor.name() {
        // MariaDB: RENAME TABLE a WAIT 5 TO b
        if cursor.eat("WAIT") {
            cursor.at += 1;
        }
        cursor.eat("NOWAIT");
        if !cursor.eat("TO") {
            break;
        }
        let Some(to) = cursor.name() else { break };
        pairs.push((from, to));
        if !cursor.eat_punct(b',') {
            break;
        }
    }
    pairs
}

/// `LOCK TABLE a, b IN … MODE`, `LOCK TABLES a AS x READ, b WRITE`
fn locked(reading: &Reading<'_>) -> BTreeSet<String> {
    let mut cursor = reading.source.cursor(1);
    cursor.skip(&["TABLE", "TABLES"]);
    let mut tables = BTreeSet::new();
    while cursor.at < reading.source.len() {
        cursor.eat("ONLY");
        tables.extend(keys(reading, &cursor.name()));
        while cursor.at < reading.source.len() && !cursor.eat_punct(b',') {
            cursor.at += 1;
        }
    }
    tables
}

/// `COMMENT ON COLUMN t.c IS …` and its like.
fn commented(reading: &Reading<'_>) -> Tables {
    let source = reading.source;
    if !source.is(1, "ON") {
        return None;
    }
    let object = source.word(2).unwrap_or_default().to_ascii_uppercase();
    match object.as_str() {
        "TABLE" | "VIEW" | "INDEX" | "SEQUENCE" => Some(keys(reading, &source.cursor(3).name())),
        "MATERIALIZED" | "FOREIGN" => Some(keys(reading, &source.cursor(4).name())),
        "COLUMN" => {
            let column = source.cursor(3).name()?;
            Some(column_owner(reading, column).into_iter().collect())
        }
        "CONSTRAINT" | "TRIGGER" | "POLICY" | "RULE" => {
            let on = source.find_outside(3, "ON")?;
            if source.is(on + 1, "DOMAIN") {
                return none();
            }
            Some(keys(reading, &source.cursor(on + 1).name()))
        }
        _ => none(),
    }
}

fn granted(reading: &Reading<'_>) -> Tables {
    const OTHER_OBJECTS: [&str; 14] = [
        "SEQUENCE",
        "SCHEMA",
        "DATABASE",
        "FUNCTION",
        "PROCEDURE",
        "ROUTINE",
        "LANGUAGE",
        "TYPE",
        "DOMAIN",
        "TABLESPACE",
        "LARGE",
        "FOREIGN",
        "PARAMETER",
        "PACKAGE",
    ];
    let source = reading.source;
    let Some(on) = source.find_outside(1, "ON") else {
        return none();
    };
    if source.is(on + 1, "ALL") {
        return None;
    }
    if source.is_any(on + 1, &OTHER_OBJECTS) {
        return none();
    }
    let mut cursor = source.cursor(on + 1);
    cursor.eat("TABLE");
    Some(keys(reading, &cursor.names()))
}

/// The tables of VACUUM, ANALYZE, REINDEX and their like; none means all, which harms nothing.
pub(super) fn maintained(reading: &Reading<'_>) -> BTreeSet<String> {
    const OPTIONS: [&str; 17] = [
        "FULL",
        "FREEZE",
        "VERBOSE",
        "ANALYZE",
        "ANALYSE",
        "TABLE",
        "TABLES",
        "INDEX",
        "SCHEMA",
        "DATABASE",
        "SYSTEM",
        "CONCURRENTLY",
        "LOCAL",
        "NO_WRITE_TO_BINLOG",
        "VIEW",
        "INTO",
        "EXTENDED",
    ];
    let source = reading.source;
    let mut cursor = source.cursor(1);
    while cursor.at < source.len() {
        let before = cursor.at;
        if source.is_any(cursor.at, &["SCHEMA", "DATABASE", "SYSTEM", "INTO"]) {
            return BTreeSet::new();
        }
        cursor.skip(&OPTIONS);
        cursor.skip_group();
        if cursor.at == before {
            break;
        }
    }
    let mut tables = BTreeSet::new();
    while let Some(name) = cursor.name() {
        tables.insert(name.key(reading.dialect()));
        cursor.skip_group();
        if !cursor.eat_punct(b',') {
            break;
        }
    }
    tables
}
