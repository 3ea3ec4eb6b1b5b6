//! Statements that cannot run inside a transaction.

use dunlin_model::Dialect;

use super::Reading;
use super::alter::Change;
use super::head::{Act, Head};

/// Why it cannot, if it cannot.
pub(super) fn outside(reading: &Reading<'_>) -> Option<String> {
    match reading.dialect() {
        Dialect::Postgres => {
            postgres(reading).map(|what| format!("{what} cannot run inside a transaction"))
        }
        Dialect::Sqlite => sqlite(reading),
        // There everything can be sent inside one; what it ends by itself is a matter of restarts.
        Dialect::Mysql => None,
    }
}

fn postgres(reading: &Reading<'_>) -> Option<String> {
    let source = reading.source;
    if let Some(head) = &reading.head {
        return definition(reading, head);
    }
    let concurrently = source.has("CONCURRENTLY");
    match reading.first.as_str() {
        "VACUUM" => Some("VACUUM".to_owned()),
        "REINDEX" if concurrently => Some("REINDEX CONCURRENTLY".to_owned()),
        "REINDEX" => {
            let mut cursor = source.cursor(1);
            cursor.skip_group();
            let whole = ["DATABASE", "SYSTEM", "SCHEMA"].into_iter().find(|w| cursor.is(w))?;
            Some(format!("REINDEX {whole}"))
        }
        "CLUSTER" => {
            let mut cursor = source.cursor(1);
            cursor.eat("VERBOSE");
            cursor.skip_group();
            cursor.name().is_none().then(|| "CLUSTER without a table".to_owned())
        }
        "DISCARD" if source.is(1, "ALL") => Some("DISCARD ALL".to_owned()),
        _ => None,
    }
}

fn definition(reading: &Reading<'_>, head: &Head) -> Option<String> {
    let source = reading.source;
    let verb = format!("{} {}", reading.first, head.object);
    let whole = match (head.act, head.object) {
        (Act::Create | Act::Drop, "INDEX") if head.concurrently => {
            return Some(format!("{verb} CONCURRENTLY"));
        }
        (Act::Create | Act::Drop, "DATABASE" | "TABLESPACE" | "SUBSCRIPTION") => true,
        (Act::Alter, "SYSTEM") => true,
        (Act::Alter, "DATABASE") => {
            return source
                .contains(head.rest..source.len(), &["SET", "TABLESPACE"])
                .then(|| "ALTER DATABASE … SET TABLESPACE".to_owned());
        }
        (Act::Alter, "SUBSCRIPTION") => source.has("REFRESH"),
        (Act::Alter, "TABLE") => {
            let detaches = reading
                .actions
                .iter()
                .any(|a| matches!(a.change, Change::Detach { concurrently: true, .. }));
            return detaches.then(|| "ALTER TABLE … DETACH PARTITION CONCURRENTLY".to_owned());
        }
        _ => false,
    };
    whole.then_some(verb)
}

fn sqlite(reading: &Reading<'_>) -> Option<String> {
    let source = reading.source;
    match reading.first.as_str() {
        "VACUUM" => Some("VACUUM cannot run inside a transaction".to_owned()),
        "PRAGMA" => {
            let name = source.cursor(1).name()?;
            let name = name.last();
            let assigns = (2..source.len()).any(|i| source.punct(i, b'=') || source.punct(i, b'('));
            // Tried on SQLite 3.40: the first two fail there, the others silently do nothing.
            let wants_none = match name {
                "wal_checkpoint" => true,
                "synchronous" => assigns,
                "journal_mode" | "foreign_keys" | "auto_vacuum" | "page_size" => assigns,
                _ => false,
            };
            wants_none.then(|| format!("PRAGMA {name} has no effect inside a transaction"))
        }
        _ => None,
    }
}
