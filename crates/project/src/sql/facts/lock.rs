//! The lock that a statement takes, for people who read the plan.

use dunlin_model::Dialect;

use super::alter::Change;
use super::head::{Act, Head};
use super::{Reading, is_table, tables};

pub(super) fn read(reading: &Reading<'_>) -> Option<String> {
    match reading.dialect() {
        Dialect::Postgres => postgres(reading),
        Dialect::Mysql => mysql(reading),
        Dialect::Sqlite => sqlite(reading),
    }
}

/// PostgreSQL's lock modes that matter here, from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

impl Mode {
    fn title(self) -> &'static str {
        match self {
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    fn on<S: AsRef<str>>(self, names: &[S]) -> Option<String> {
        if names.is_empty() {
            return None;
        }
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        Some(format!("{} on {}", self.title(), names.join(", ")))
    }
}

fn postgres(reading: &Reading<'_>) -> Option<String> {
    let source = reading.source;
    if let Some(head) = &reading.head {
        return definition(reading, head);
    }
    let touched: Vec<String> = tables::read(reading).unwrap_or_default().into_iter().collect();
    let concurrently = source.has("CONCURRENTLY");
    match reading.first.as_str() {
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "WITH" => {
            Mode::RowExclusive.on(&reading.relations.as_ref()?.written)
        }
        "COPY" if source.has("FROM") && !source.punct(1, b'(') => Mode::RowExclusive.on(&touched),
        "TRUNCATE" => Mode::AccessExclusive.on(&touched),
        "REFRESH" if concurrently => Mode::Exclusive.on(&touched),
        "REFRESH" | "CLUSTER" => Mode::AccessExclusive.on(&touched),
        "VACUUM" if source.has("FULL") => Mode::AccessExclusive.on(&touched),
        "VACUUM" | "ANALYZE" | "ANALYSE" => Mode::ShareUpdateExclusive.on(&touched),
        "REINDEX" if concurrently => Mode::ShareUpdateExclusive.on(&touched),
        "REINDEX" => Mode::Share.on(&touched),
        "COMMENT" => Mode::ShareUpdateExclusive.on(&touched),
        "LOCK" => {
            let mode = source.find_outside(1, "IN").map_or("ACCESS EXCLUSIVE".to_owned(), |at| {
                let words = (at + 1..source.len()).map_while(|i| source.word(i));
                let words: Vec<&str> =
                    words.take_while(|w| !w.eq_ignore_ascii_case("MODE")).collect();
                words.join(" ").to_ascii_uppercase()
            });
            (!touched.is_empty()).then(|| format!("{mode} on {}", touched.join(", ")))
        }
        _ => None,
    }
}

fn definition(reading: &Reading<'_>, head: &Head) -> Option<String> {
    let named: Vec<&str> = head.names.iter().map(|n| n.written.as_str()).collect();
    let on: Vec<&str> = head.on.iter().map(|n| n.written.as_str()).collect();
    let mode = if head.concurrently { Mode::ShareUpdateExclusive } else { Mode::Share };
    match (head.act, head.object) {
        (Act::Create, "INDEX") => mode.on(&on),
        (Act::Create, "TRIGGER") => Mode::ShareRowExclusive.on(&on),
        (Act::Create | Act::Alter | Act::Drop, "POLICY" | "RULE") => Mode::AccessExclusive.on(&on),
        (Act::Alter | Act::Drop, "TRIGGER") => Mode::AccessExclusive.on(&on),
        (Act::Create, "STATISTICS") => {
            let tables = reading.relations.as_ref()?.tables.iter().cloned();
            Mode::ShareUpdateExclusive.on(&tables.collect::<Vec<_>>())
        }
        (Act::Create, "TABLE") => {
            // The new table is nobody else's yet; those that it points at are.
            let own = head.names.first().map(|n| n.key(reading.dialect()));
            let source = reading.source;
            let referenced = (head.rest..source.len())
                .filter(|&i| source.is(i, "REFERENCES"))
                .filter_map(|i| source.cursor(i + 1).name())
                .filter(|n| Some(n.key(reading.dialect())) != own);
            let mut names: Vec<String> = referenced.map(|n| n.written).collect();
            names.sort_unstable();
            names.dedup();
            Mode::ShareRowExclusive.on(&names)
        }
        (Act::Alter, object) if is_table(object) => altered(reading, head),
        (Act::Alter, "INDEX" | "SEQUENCE") => Mode::ShareUpdateExclusive.on(&named),
        (Act::Alter, "VIEW" | "MATERIALIZED VIEW") => Mode::AccessExclusive.on(&named),
        (Act::Drop, "INDEX") if head.concurrently => {
            Some(format!("SHARE UPDATE EXCLUSIVE on the table of {}", named.join(", ")))
        }
        (Act::Drop, "INDEX") if !named.is_empty() => {
            Some(format!("ACCESS EXCLUSIVE on the table of {}", named.join(", ")))
        }
        (Act::Drop, "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE") => {
            Mode::AccessExclusive.on(&named)
        }
        _ => None,
    }
}

/// The strongest mode that any of the actions needs.
fn altered(reading: &Reading<'_>, head: &Head) -> Option<String> {
    let mode = reading.actions.iter().map(|action| match &action.change {
        Change::Light | Change::Attach(_) | Change::Detach { concurrently: true, .. } => {
            Mode::ShareUpdateExclusive
        }
        Change::AddReference(_) if !adds_column(reading) => Mode::ShareRowExclusive,
        Change::TriggerState => Mode::ShareRowExclusive,
        _ => Mode::AccessExclusive,
    });
    let mode = mode.max()?;
    let mut names = vec![head.written()];
    names.extend(reading.actions.iter().filter_map(|action| match &action.change {
        Change::AddReference(other) => Some(other.written.as_str()),
        _ => None,
    }));
    names.dedup();
    mode.on(&names)
}

/// Whether a REFERENCES belongs to a new column rather than to a constraint alone.
fn adds_column(reading: &Reading<'_>) -> bool {
    let source = reading.source;
    !(source.has("CONSTRAINT") || source.has("FOREIGN"))
}

fn mysql(reading: &Reading<'_>) -> Option<String> {
    let source = reading.source;
    let names: Vec<String> = match &reading.head {
        Some(head) => match (head.act, head.object) {
            (Act::Alter | Act::Drop, "TABLE") | (Act::Drop | Act::Alter, "VIEW")
                if !head.temporary =>
            {
                head.names.iter().map(|n| n.written.clone()).collect()
            }
            (_, "INDEX" | "TRIGGER") => head.on.iter().map(|n| n.written.clone()).collect(),
            _ => Vec::new(),
        },
        None if reading.first == "RENAME" && source.is_any(1, &["TABLE", "TABLES"]) => {
            tables::renames(reading).into_iter().map(|(from, _)| from.written).collect()
        }
        None if matches!(reading.first.as_str(), "TRUNCATE" | "OPTIMIZE" | "REPAIR") => {
            tables::read(reading).unwrap_or_default().into_iter().collect()
        }
        None => Vec::new(),
    };
    (!names.is_empty()).then(|| format!("metadata lock (exclusive) on {}", names.join(", ")))
}

fn sqlite(reading: &Reading<'_>) -> Option<String> {
    let looks = match reading.first.as_str() {
        "SELECT" | "VALUES" | "EXPLAIN" | "PRAGMA" | "ATTACH" | "DETACH" => true,
        "WITH" => reading.relations.as_ref().is_some_and(|r| r.written.is_empty()),
        _ => super::control(reading.source).is_some(),
    };
    (!looks).then(|| "the whole database, for writing".to_owned())
}
