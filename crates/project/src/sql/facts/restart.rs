//! How the outcome of a statement is found out when its runner died in the middle of it:
//! PostgreSQL and SQLite. Nearly everything there commits together with its journal row.

use dunlin_model::{Dialect, ImageObject, ObjectKind, Restart};

use super::alter::Change;
use super::head::{Act, Head};
use super::{Reading, restart_mysql};

pub(super) fn read(reading: &Reading<'_>) -> Restart {
    match reading.dialect() {
        Dialect::Postgres => postgres(reading),
        Dialect::Mysql => restart_mysql::read(reading),
        Dialect::Sqlite => match reading.first.as_str() {
            // Numbers in the file's header are rolled back like rows.
            "PRAGMA" if numbers_the_file(reading) => Restart::Transactional,
            "VACUUM" | "PRAGMA" | "ATTACH" | "DETACH" => Restart::Repeatable,
            _ => Restart::Transactional,
        },
    }
}

/// `PRAGMA user_version = 3`, `PRAGMA main.application_id = 3`.
fn numbers_the_file(reading: &Reading<'_>) -> bool {
    const NUMBERS: [&str; 3] = ["user_version", "application_id", "schema_version"];
    let name = reading.source.cursor(1).name();
    name.is_some_and(|name| NUMBERS.iter().any(|known| name.last().eq_ignore_ascii_case(known)))
}

pub(super) fn by_image(objects: impl IntoIterator<Item = (ObjectKind, String)>) -> Restart {
    let mut images: Vec<ImageObject> = Vec::new();
    for (kind, name) in objects {
        let image = ImageObject { kind, name };
        if !image.name.is_empty() && !images.contains(&image) {
            images.push(image);
        }
    }
    let objects = images;
    if objects.is_empty() {
        return unknowable("the statement names nothing whose definition could be compared");
    }
    Restart::ByImage { objects }
}

pub(super) fn unknowable(reason: impl Into<String>) -> Restart {
    Restart::Unknowable { reason: reason.into() }
}

fn postgres(reading: &Reading<'_>) -> Restart {
    let source = reading.source;
    if let Some(head) = &reading.head {
        return definition(reading, head);
    }
    match reading.first.as_str() {
        "VACUUM" | "ANALYZE" | "ANALYSE" | "REINDEX" | "CLUSTER" | "CHECKPOINT" | "DISCARD" => {
            Restart::Repeatable
        }
        // A procedure's body may commit; it is not here to be read.
        "CALL" => unknowable("a procedure may commit some of its work before the rest"),
        "DO" if (0..source.len())
            .any(|i| super::is_string(source.kind(i)) && commits(source.token_text(i))) =>
        {
            unknowable("the DO block commits some of its work before the rest")
        }
        _ => Restart::Transactional,
    }
}

/// Whether a PL/pgSQL body ends transactions itself.
fn commits(body: &str) -> bool {
    body.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .any(|word| word.eq_ignore_ascii_case("COMMIT") || word.eq_ignore_ascii_case("ROLLBACK"))
}

fn definition(reading: &Reading<'_>, head: &Head) -> Restart {
    let source = reading.source;
    let one = |kind| by_image([(kind, head.written().to_owned())]);
    match (head.act, head.object) {
        (Act::Create, "INDEX") if head.concurrently => {
            by_image(head.on.iter().map(|on| (ObjectKind::Table, on.written.clone())))
        }
        (Act::Drop, "INDEX") if head.concurrently => one(ObjectKind::Index),
        (Act::Alter, "TYPE") if source.are(head.rest, &["ADD", "VALUE"]) => one(ObjectKind::Type),
        (Act::Create | Act::Drop, "DATABASE") => one(ObjectKind::Database),
        (Act::Alter, "SYSTEM" | "DATABASE") => Restart::Repeatable,
        (Act::Create | Act::Drop, "TABLESPACE" | "SUBSCRIPTION") => unknowable(format!(
            "the definition of a {} is not compared",
            head.object.to_ascii_lowercase()
        )),
        (Act::Alter, "TABLE") => {
            let detaches = reading
                .actions
                .iter()
                .any(|a| matches!(a.change, Change::Detach { concurrently: true, .. }));
            if detaches { one(ObjectKind::Table) } else { Restart::Transactional }
        }
        _ => Restart::Transactional,
    }
}
