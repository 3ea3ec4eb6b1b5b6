//! What a statement takes away from data that is there.
//!
//! Only what holds data counts: a view, an index or a routine can be made again. Where a body is
//! not read (DO, dynamic SQL) its words decide: see `unread`.

use dunlin_model::{Destruction, DestructionKind, Dialect};

use super::alter::Change;
use super::head::{Act, Head};
use super::source::Name;
use super::unread::{strings_destroy, text_destroys};
use super::{Reading, is_table, tables};

pub(super) fn read(reading: &Reading<'_>) -> Vec<Destruction> {
    let mut found = match &reading.head {
        Some(head) => match head.act {
            Act::Create => replaced(reading, head),
            Act::Alter if is_table(head.object) => altered(reading, head),
            Act::Alter => altered_otherwise(reading, head),
            Act::Drop => dropped(reading, head),
        },
        None => other(reading),
    };
    if let Some(relations) = &reading.relations {
        found.extend(relations.emptied.iter().map(|t| of(DestructionKind::Truncate, "table", t)));
    }
    found
}

fn of(kind: DestructionKind, what: &str, name: &str) -> Destruction {
    Destruction { kind, object: format!("{what} {name}") }
}

fn key(reading: &Reading<'_>, name: &Name) -> String {
    name.key(reading.dialect())
}

/// MariaDB: CREATE OR REPLACE TABLE drops the table that is there.
fn replaced(reading: &Reading<'_>, head: &Head) -> Vec<Destruction> {
    if !head.or_replace || head.temporary || head.object != "TABLE" {
        return Vec::new();
    }
    head.names.iter().map(|n| of(DestructionKind::Drop, "table", &key(reading, n))).collect()
}

fn altered(reading: &Reading<'_>, head: &Head) -> Vec<Destruction> {
    use DestructionKind::{Drop, Rename, Retype, Truncate};
    let table = head.names.first().map(|n| key(reading, n)).unwrap_or_default();
    let column = |kind, name: &str| of(kind, "column", &format!("{table}.{name}"));
    let mut found = Vec::new();
    for action in &reading.actions {
        match &action.change {
            Change::DropColumn(name) => found.push(column(Drop, name)),
            Change::DropPartition(name) => {
                found.push(of(Drop, "partition", &format!("{name} of {table}")));
            }
            Change::DropHistory => found.push(of(Drop, "the history of", &table)),
            Change::RenameColumn { from } => found.push(column(Rename, from)),
            Change::RenameTable(_) | Change::MoveTo(_) => found.push(of(Rename, "table", &table)),
            Change::Retype { column: name } => found.push(column(Retype, name)),
            Change::Replace { from, to } => {
                if from != to {
                    found.push(column(Rename, from));
                }
                found.push(column(Retype, from));
            }
            Change::ConvertText => found.push(of(Retype, "the text columns of", &table)),
            Change::TruncatePartition(name) => {
                found.push(of(Truncate, "partition", &format!("{name} of {table}")));
            }
            // Its rows are no longer found in the table.
            Change::Detach { partition, .. } => {
                let name = partition.as_ref().map_or("", Name::last);
                found.push(of(Drop, "partition", &format!("{name} of {table}")));
            }
            Change::Exchange(_) | Change::Tablespace => found.push(of(Drop, "rows of", &table)),
            _ => {}
        }
    }
    found
}

fn altered_otherwise(reading: &Reading<'_>, head: &Head) -> Vec<Destruction> {
    use DestructionKind::{Drop, Rename, Retype};
    let source = reading.source;
    let Some(name) = head.names.first() else {
        return Vec::new();
    };
    let whole = key(reading, name);
    let at = head.rest;
    match head.object {
        "SCHEMA" | "DATABASE" if source.are(at, &["RENAME", "TO"]) => {
            vec![of(Rename, &head.object.to_ascii_lowercase(), &whole)]
        }
        "TYPE" => {
            let mut found = Vec::new();
            for i in at..source.len() {
                let kind = match () {
                    () if source.are(i, &["DROP", "ATTRIBUTE"]) => Drop,
                    () if source.are(i, &["RENAME", "ATTRIBUTE"]) => Rename,
                    () if source.are(i, &["ALTER", "ATTRIBUTE"]) => Retype,
                    () if source.are(i, &["RENAME", "VALUE"]) => {
                        found.push(of(Rename, "a value of type", &whole));
                        continue;
                    }
                    () => continue,
                };
                let mut cursor = source.cursor(i + 2);
                cursor.eat_condition();
                if let Some(attribute) = cursor.name() {
                    found.push(of(kind, "attribute", &format!("{whole}.{}", attribute.last())));
                }
            }
            found
        }
        _ => Vec::new(),
    }
}

fn dropped(reading: &Reading<'_>, head: &Head) -> Vec<Destruction> {
    if head.temporary {
        return Vec::new();
    }
    let what = match head.object {
        "TABLE" | "FOREIGN TABLE" => "table",
        "SCHEMA" => "schema",
        "DATABASE" => "database",
        "TYPE" => "type",
        "DOMAIN" => "domain",
        "OWNED BY" => "everything owned by",
        // Columns of its types go with it.
        "EXTENSION" if head.cascades(reading.source) => "extension",
        _ => return Vec::new(),
    };
    head.names.iter().map(|n| of(DestructionKind::Drop, what, &key(reading, n))).collect()
}

fn other(reading: &Reading<'_>) -> Vec<Destruction> {
    use DestructionKind::{Drop, Rename, Truncate};
    let source = reading.source;
    match (reading.first.as_str(), reading.dialect()) {
        ("TRUNCATE", _) => {
            let mut cursor = source.cursor(1);
            cursor.eat("TABLE");
            cursor.names().iter().map(|n| of(Truncate, "table", &key(reading, n))).collect()
        }
        ("RENAME", Dialect::Mysql) if source.is_any(1, &["TABLE", "TABLES"]) => {
            tables::renames(reading)
                .iter()
                .map(|(from, _)| of(Rename, "table", &key(reading, from)))
                .collect()
        }
        ("DO", Dialect::Postgres) if strings_destroy(source) => {
            vec![Destruction { kind: Drop, object: "something in a DO block".to_owned() }]
        }
        // MySQL's dynamic SQL: the text that EXECUTE will run is written here.
        ("SET" | "PREPARE" | "SELECT" | "WITH" | "EXECUTE" | "CALL", Dialect::Mysql)
            if (source.punct(1, b'@') || reading.first != "SET") && strings_destroy(source) =>
        {
            vec![Destruction { kind: Drop, object: "something in dynamic SQL".to_owned() }]
        }
        ("BEGIN" | "IF" | "CASE" | "LOOP" | "WHILE" | "REPEAT" | "FOR", Dialect::Mysql)
            if text_destroys(Dialect::Mysql, body_text(reading)) =>
        {
            vec![Destruction { kind: Drop, object: "something in a compound statement".to_owned() }]
        }
        _ => Vec::new(),
    }
}

fn body_text<'a>(reading: &Reading<'a>) -> &'a str {
    let tokens = reading.source.tokens;
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return "";
    };
    reading.source.text.get(first.start()..last.end()).unwrap_or_default()
}
