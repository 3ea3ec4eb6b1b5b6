//! The actions of one ALTER TABLE.

use std::ops::Range;

use dunlin_model::Dialect;

use super::source::{Name, Source};
use crate::sql::lex::Kind;

/// What one action does, as far as it matters for data, locks and restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    AddColumn(String),
    /// A foreign key, alone or with a column.
    AddReference(Name),
    DropColumn(String),
    DropPartition(String),
    /// MariaDB: the rows as they were.
    DropHistory,
    RenameColumn {
        from: String,
    },
    RenameTable(Name),
    /// ALTER TABLE … SET SCHEMA.
    MoveTo(Name),
    Retype {
        column: String,
    },
    /// CHANGE a b …: another type, and another name where it differs.
    Replace {
        from: String,
        to: String,
    },
    /// MySQL: CONVERT TO CHARACTER SET.
    ConvertText,
    TruncatePartition(String),
    /// MySQL: rows change places with another table's.
    Exchange(Name),
    /// DISCARD or IMPORT TABLESPACE.
    Tablespace,
    Attach(Name),
    Detach {
        partition: Option<Name>,
        concurrently: bool,
    },
    Inherit(Name),
    /// Only says how to go about it: ALGORITHM, LOCK, NOWAIT; and DISABLE or ENABLE KEYS, which a dump
    /// has around a table's rows.
    Manner,
    /// VALIDATE CONSTRAINT, SET STATISTICS, SET (…), CLUSTER ON: PostgreSQL's weaker lock.
    Light,
    /// ENABLE or DISABLE TRIGGER.
    TriggerState,
    Other,
}

/// An action with what is true for all kinds.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) change: Change,
    /// IF EXISTS or IF NOT EXISTS: it can be run twice.
    pub(super) conditional: bool,
}

/// Reads the actions from an index on.
pub(super) fn actions(source: Source<'_>, from: usize) -> Vec<Action> {
    split(source, from)
        .into_iter()
        .filter(|range| !range.is_empty())
        .map(|range| Action {
            conditional: source.contains(range.clone(), &["IF", "EXISTS"])
                || source.contains(range.clone(), &["IF", "NOT", "EXISTS"]),
            change: read(source, range),
        })
        .collect()
}

/// Splits at commas outside of parentheses.
pub(super) fn split(source: Source<'_>, from: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut depth) = (from, 0_usize);
    for index in from..source.len() {
        match source.kind(index) {
            Some(Kind::Punct(b'(')) => depth += 1,
            Some(Kind::Punct(b')')) => depth = depth.saturating_sub(1),
            Some(Kind::Punct(b',')) if depth == 0 => {
                ranges.push(start..index);
                start = index + 1;
            }
            _ => {}
        }
    }
    ranges.push(start..source.len());
    ranges
}

fn read(source: Source<'_>, range: Range<usize>) -> Change {
    let word = source.word(range.start).unwrap_or_default().to_ascii_uppercase();
    let change = match word.as_str() {
        "ADD" => add(source, range.clone()),
        "DROP" => drop_action(source, range.start + 1),
        "RENAME" => rename(source, range.start + 1),
        "ALTER" => alter_column(source, range.start + 1),
        "MODIFY" => column(source, range.start + 1).map(|column| Change::Retype { column }),
        "CHANGE" => change_column(source, range.start + 1),
        "CONVERT" if source.is(range.start + 1, "TO") => Some(Change::ConvertText),
        "CONVERT" => converted(source, range.clone()),
        "TRUNCATE" => partition(source, range.start + 1).map(Change::TruncatePartition),
        "EXCHANGE" => exchange(source, range.clone()),
        "DISCARD" | "IMPORT" => Some(Change::Tablespace),
        "ATTACH" => table_after(source, range.start + 2).map(Change::Attach),
        "DETACH" => Some(Change::Detach {
            partition: table_after(source, range.start + 2),
            concurrently: source.contains(range.clone(), &["CONCURRENTLY"]),
        }),
        "INHERIT" => table_after(source, range.start + 1).map(Change::Inherit),
        "NO" if source.is(range.start + 1, "INHERIT") => {
            table_after(source, range.start + 2).map(Change::Inherit)
        }
        "SET" if source.is(range.start + 1, "SCHEMA") => {
            table_after(source, range.start + 2).map(Change::MoveTo)
        }
        "SET" | "RESET" if source.punct(range.start + 1, b'(') => Some(Change::Light),
        "SET" if source.are(range.start + 1, &["WITHOUT", "CLUSTER"]) => Some(Change::Light),
        "VALIDATE" | "CLUSTER" => Some(Change::Light),
        "ENABLE" | "DISABLE" if source.contains(range.clone(), &["TRIGGER"]) => {
            Some(Change::TriggerState)
        }
        "ENABLE" | "DISABLE" if source.is(range.start + 1, "KEYS") => Some(Change::Manner),
        "ALGORITHM" | "LOCK" | "WAIT" | "NOWAIT" => Some(Change::Manner),
        _ => None,
    };
    change.unwrap_or(Change::Other)
}

fn add(source: Source<'_>, range: Range<usize>) -> Option<Change> {
    if let Some(at) = range.clone().find(|&i| source.is(i, "REFERENCES")) {
        return table_after(source, at + 1).map(Change::AddReference);
    }
    const NO_COLUMN: [&str; 13] = [
        "CONSTRAINT",
        "PRIMARY",
        "UNIQUE",
        "FOREIGN",
        "CHECK",
        "EXCLUDE",
        "INDEX",
        "KEY",
        "FULLTEXT",
        "SPATIAL",
        "PARTITION",
        "PERIOD",
        "SYSTEM",
    ];
    if source.is_any(range.start + 1, &NO_COLUMN) || source.punct(range.start + 1, b'(') {
        return None;
    }
    column(source, range.start + 1).map(Change::AddColumn)
}

fn drop_action(source: Source<'_>, at: usize) -> Option<Change> {
    let not_column: &[&str] = match source.dialect {
        Dialect::Mysql => &[
            "CONSTRAINT",
            "INDEX",
            "KEY",
            "CHECK",
            "PRIMARY",
            "FOREIGN",
            "PARTITION",
            "SYSTEM",
            "PERIOD",
        ],
        Dialect::Postgres | Dialect::Sqlite => &["CONSTRAINT"],
    };
    if source.is_any(at, not_column) {
        if source.is(at, "PARTITION") {
            return partition(source, at).map(Change::DropPartition);
        }
        return source.is(at, "SYSTEM").then_some(Change::DropHistory);
    }
    column(source, at).map(Change::DropColumn)
}

fn rename(source: Source<'_>, at: usize) -> Option<Change> {
    let mut cursor = source.cursor(at);
    if cursor.eat("TO") || cursor.eat("AS") || cursor.eat_punct(b'=') {
        return cursor.name().map(Change::RenameTable);
    }
    if source.is_any(at, &["CONSTRAINT", "INDEX", "KEY"]) && !source.is(at + 1, "TO") {
        return None;
    }
    cursor.eat("COLUMN");
    cursor.eat_condition();
    let name = cursor.name()?;
    if cursor.is("TO") {
        return Some(Change::RenameColumn { from: name.last().to_owned() });
    }
    // MySQL: `RENAME new_name`.
    (source.dialect == Dialect::Mysql).then_some(Change::RenameTable(name))
}

fn alter_column(source: Source<'_>, at: usize) -> Option<Change> {
    if source.is_any(at, &["CONSTRAINT", "INDEX", "KEY", "CHECK"]) {
        return None;
    }
    let mut cursor = source.cursor(at);
    cursor.eat("COLUMN");
    cursor.eat_condition();
    let column = cursor.name()?.last().to_owned();
    if cursor.is("TYPE") || cursor.eat_all(&["SET", "DATA", "TYPE"]) {
        return Some(Change::Retype { column });
    }
    let light = cursor.eat("SET") || cursor.eat("RESET");
    (light && (cursor.is("STATISTICS") || source.punct(cursor.at, b'('))).then_some(Change::Light)
}

fn change_column(source: Source<'_>, at: usize) -> Option<Change> {
    let mut cursor = source.cursor(at);
    cursor.eat("COLUMN");
    cursor.eat_condition();
    let from = cursor.name()?.last().to_owned();
    let to = cursor.name()?.last().to_owned();
    Some(Change::Replace { from, to })
}

fn exchange(source: Source<'_>, range: Range<usize>) -> Option<Change> {
    let at = range.into_iter().find(|&i| source.are(i, &["WITH", "TABLE"]))?;
    table_after(source, at + 2).map(Change::Exchange)
}

/// MariaDB: a partition becomes a table, or a table becomes a partition.
fn converted(source: Source<'_>, range: Range<usize>) -> Option<Change> {
    if source.is(range.start + 1, "TABLE") {
        return table_after(source, range.start + 2).map(Change::Attach);
    }
    let to = range.into_iter().find(|&i| source.are(i, &["TO", "TABLE"]))?;
    Some(Change::Detach { partition: table_after(source, to + 2), concurrently: false })
}

/// `[COLUMN] [IF [NOT] EXISTS] name`
fn column(source: Source<'_>, at: usize) -> Option<String> {
    let mut cursor = source.cursor(at);
    cursor.eat("COLUMN");
    cursor.eat_condition();
    Some(cursor.name()?.last().to_owned())
}

/// `PARTITION [IF EXISTS] name`
fn partition(source: Source<'_>, at: usize) -> Option<String> {
    let mut cursor = source.cursor(at);
    if !cursor.eat("PARTITION") {
        return None;
    }
    cursor.eat_condition();
    Some(cursor.name()?.last().to_owned())
}

fn table_after(source: Source<'_>, at: usize) -> Option<Name> {
    source.cursor(at).name()
}
