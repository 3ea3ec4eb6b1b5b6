//! How the outcome of a statement is found out on MySQL and MariaDB, where definitions commit by
//! themselves.
//!
//! Four classes: rows of transactional tables commit with their journal row; an atomic definition
//! shows in the catalogue; some statements can be run again; the rest stops the run.

use std::collections::BTreeSet;

use dunlin_model::{ObjectKind, Restart};

use super::alter::Change;
use super::head::{Act, Head};
use super::restart::{by_image, unknowable};
use super::{Reading, own_functions, tables};

pub(super) fn read(reading: &Reading<'_>) -> Restart {
    let source = reading.source;
    if let Some(head) = &reading.head {
        return match head.act {
            Act::Create => created(head),
            Act::Alter => altered(reading, head),
            Act::Drop => dropped(head),
        };
    }
    match reading.first.as_str() {
        "SELECT" | "WITH" | "VALUES" | "TABLE"
            if source.has("OUTFILE") || source.has("DUMPFILE") =>
        {
            unknowable("it writes a file on the server")
        }
        "SELECT" | "WITH" | "VALUES" | "TABLE" | "INSERT" | "UPDATE" | "DELETE" | "REPLACE"
        | "LOAD" => Restart::Transactional,
        // Somebody's function may change rows: once, together with the journal.
        "DO" if own_functions::calls(source, 1).unknown => Restart::Transactional,
        "SET"
            if source.punct(1, b'@')
                && !source.punct(2, b'@')
                && own_functions::calls(source, 1).unknown =>
        {
            Restart::Transactional
        }
        "DO" | "SET" | "USE" | "SHOW" | "EXPLAIN" | "DESCRIBE" | "DESC" | "ANALYZE"
        | "OPTIMIZE" | "CHECK" | "REPAIR" | "CHECKSUM" | "FLUSH" | "GRANT" | "REVOKE"
        | "TRUNCATE" | "LOCK" | "UNLOCK" | "PREPARE" | "DEALLOCATE" | "HELP" | "RESET" | "KILL" => {
            Restart::Repeatable
        }
        "RENAME" if source.is_any(1, &["TABLE", "TABLES"]) => renamed(reading),
        "CALL" => unknowable("a procedure may commit some of its work before the rest"),
        "EXECUTE" => unknowable("what a prepared statement does is not known from the file"),
        "BEGIN" | "IF" | "CASE" | "LOOP" | "WHILE" | "REPEAT" | "FOR" => {
            unknowable("a compound statement may commit some of its work before the rest")
        }
        // Control of transactions is refused or taken out before anything runs.
        "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "XA" => Restart::Transactional,
        other => unknowable(format!("nothing in the catalogue tells whether {other} took effect")),
    }
}

/// The kind that a definition is compared as.
fn kind(object: &str) -> Option<ObjectKind> {
    Some(match object {
        "TABLE" => ObjectKind::Table,
        "VIEW" => ObjectKind::View,
        "FUNCTION" => ObjectKind::Function,
        "PROCEDURE" => ObjectKind::Procedure,
        "TRIGGER" => ObjectKind::Trigger,
        "EVENT" => ObjectKind::Event,
        "SEQUENCE" => ObjectKind::Sequence,
        "DATABASE" => ObjectKind::Database,
        _ => return None,
    })
}

fn no_image(head: &Head) -> Restart {
    let object = head.object.to_ascii_lowercase();
    unknowable(format!("the definition of a {object} is not compared"))
}

fn table_of(head: &Head) -> Restart {
    by_image(head.on.iter().map(|on| (ObjectKind::Table, on.written.clone())))
}

fn created(head: &Head) -> Restart {
    match head.object {
        // It commits nothing, and ends with the session: see `carried`.
        "TABLE" if head.temporary => Restart::Transactional,
        "TABLE" | "SEQUENCE" if head.or_replace => {
            unknowable("running CREATE OR REPLACE again would drop what was written since")
        }
        _ if head.or_replace || head.conditional => Restart::Repeatable,
        "INDEX" => table_of(head),
        // CREATE TABLE … SELECT too: the server takes the table away again if it is stopped before
        // its end, and MariaDB from 10.6 and MySQL from 8.0.21 do so after a crash.
        object => match kind(object) {
            Some(kind) => by_image([(kind, head.written().to_owned())]),
            None => no_image(head),
        },
    }
}

fn dropped(head: &Head) -> Restart {
    match head.object {
        // Without the word TEMPORARY it would commit.
        "TABLE" if head.temporary => Restart::Transactional,
        _ if head.conditional || head.temporary => Restart::Repeatable,
        "INDEX" => table_of(head),
        object => match kind(object) {
            Some(kind) => by_image(head.names.iter().map(|n| (kind, n.written.clone()))),
            None => no_image(head),
        },
    }
}

fn altered(reading: &Reading<'_>, head: &Head) -> Restart {
    let source = reading.source;
    let renames = source.contains(head.rest..source.len(), &["RENAME", "TO"]);
    match head.object {
        "TABLE" => table(reading, head),
        "SEQUENCE" if source.has("RESTART") => {
            unknowable("restarting a sequence again would give numbers twice")
        }
        "EVENT" if renames => by_image([(ObjectKind::Event, head.written().to_owned())]),
        // They say how it shall be, and can say so again.
        "SEQUENCE" | "EVENT" | "VIEW" | "FUNCTION" | "PROCEDURE" | "DATABASE" | "USER" | "ROLE"
        | "INSTANCE" => Restart::Repeatable,
        _ => no_image(head),
    }
}

fn table(reading: &Reading<'_>, head: &Head) -> Restart {
    let mut objects = vec![(ObjectKind::Table, head.written().to_owned())];
    let mut added = BTreeSet::new();
    let mut dropped = BTreeSet::new();
    let mut repeatable = !reading.actions.is_empty();
    for action in &reading.actions {
        let idempotent = matches!(action.change, Change::TruncatePartition(_));
        repeatable &= action.conditional || idempotent || action.change == Change::Manner;
        match &action.change {
            Change::RenameTable(name) => objects.push((ObjectKind::Table, name.written.clone())),
            Change::Exchange(_) => return unknowable("two tables of one shape change places"),
            Change::Tablespace => {
                return unknowable("a tablespace leaves no trace in the definition");
            }
            Change::AddColumn(name) => {
                added.insert(name);
            }
            Change::DropColumn(name) => {
                dropped.insert(name);
            }
            _ => {}
        }
    }
    if added.intersection(&dropped).next().is_some() {
        return unknowable("a column is dropped and added again under one name");
    }
    if repeatable { Restart::Repeatable } else { by_image(objects) }
}

/// A RENAME of several tables is one atomic statement. It shows in the catalogue unless the same
/// names are there afterwards as before.
fn renamed(reading: &Reading<'_>) -> Restart {
    let pairs = tables::renames(reading);
    let key = |name: &super::source::Name| name.written.replace(['`', '"', ' '], "");
    // Names that must have been there before, and the names that are there after each step.
    let mut before = BTreeSet::new();
    let mut now = BTreeSet::new();
    for (from, to) in &pairs {
        let from = key(from);
        if !now.remove(&from) {
            before.insert(from);
        }
        now.insert(key(to));
    }
    if before == now {
        return unknowable("the tables change places, so the same names are there as before");
    }
    by_image(pairs.into_iter().flat_map(|(from, to)| {
        [(ObjectKind::Table, from.written), (ObjectKind::Table, to.written)]
    }))
}
