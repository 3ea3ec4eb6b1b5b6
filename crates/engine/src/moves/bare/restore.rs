//! Brings back what was dropped, and lets others write the tables again.

use dunlin_model::moves::TableName;
use serde::Serialize;

use super::super::gate::Gate;
use super::super::ports::MoveTarget;
use super::super::report::Note;
use super::super::run::{MoveJob, lease_of};
use super::super::session::Session;
use super::super::state::{AREA, MoveState};
use super::journal::{Journal, gone};
use super::orphans::remove;
use super::port::{Definition, DefinitionKind};
use super::strip::hands;
use crate::TargetError;
use crate::report::EngineError;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Restored {
    /// Indexes.
    pub indexes: usize,
    /// Foreign keys.
    pub foreign_keys: usize,
    /// Rows that were taken out again, since they referred to nothing.
    pub rows_taken_out: usize,
    /// Those rows, by rule.
    #[serde(skip)]
    pub(in super::super) removed: Vec<(String, Note)>,
}

/// Brings everything back that the journal has, in transactions of one thing each. What is done is
/// done, also if the next fails.
pub(in super::super) async fn restore(
    session: &mut Session<'_>,
) -> Result<Option<Restored>, TargetError> {
    let Some(journal) = Journal::read(session).await? else { return Ok(None) };
    let mut restored = Restored::default();
    let of = |kind| journal.definitions.iter().filter(move |(_, one)| one.kind == kind);
    for (number, definition) in of(DefinitionKind::Index) {
        tell(session, "indexing", definition);
        bring_back(session, &journal, *number, definition, &mut restored).await?;
        restored.indexes += 1;
    }
    for kept in &journal.tables {
        counted(session, kept).await?;
    }
    for (number, definition) in parents_first(of(DefinitionKind::ForeignKey).collect()) {
        tell(session, "checking", definition);
        bring_back(session, &journal, *number, definition, &mut restored).await?;
        restored.foreign_keys += 1;
    }
    open(session, &journal).await?;
    Ok(Some(restored))
}

/// Foreign keys in the order in which they come back: those of a table before those that refer to it. For
/// the former rows may have to be taken out, which the latter would hold; what refers to those rows is
/// found when its own comes back.
fn parents_first(mut keys: Vec<&(i64, Definition)>) -> Vec<&(i64, Definition)> {
    let mut ordered = Vec::with_capacity(keys.len());
    while !keys.is_empty() {
        let waits = |key: &Definition| {
            // One that a table has to itself comes after its others.
            let is_own = |one: &Definition| one.table == key.table && refers_to(one, &one.table);
            keys.iter().any(|(_, other)| refers_to(key, &other.table) && !is_own(other))
        };
        // In a circle one order is as good as another.
        let next = keys.iter().position(|(_, key)| !waits(key)).unwrap_or(0);
        ordered.push(keys.remove(next));
    }
    ordered
}

/// Whether it does, as far as its SQL tells, which may name a schema that the table's own name leaves
/// out. It decides about an order only.
fn refers_to(key: &Definition, table: &TableName) -> bool {
    let to = key.to.as_deref().unwrap_or_default().replace('"', "");
    to == table.to_string() || to.rsplit('.').next() == Some(table.name.as_str())
}

fn tell(session: &Session<'_>, phase: &str, definition: &Definition) {
    let of = format!("{} of {}", definition.name, definition.table);
    session.gate.phase(phase, Some(&of));
}

async fn counted(
    session: &mut Session<'_>,
    kept: &super::journal::KeptTable,
) -> Result<(), TargetError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let done = async {
            session.begin().await?;
            hands(session)?.analyse(&kept.table).await?;
            session.commit().await
        };
        match done.await {
            Ok(()) => return Ok(()),
            Err(error) => session.failed(error, attempt).await?,
        }
    }
}

async fn bring_back(
    session: &mut Session<'_>,
    journal: &Journal,
    number: i64,
    definition: &Definition,
    restored: &mut Restored,
) -> Result<(), TargetError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match try_bring_back(session, number, definition).await {
            Ok(()) => {
                crate::failpoint("move.rebuilt");
                return Ok(());
            }
            // Rows that were to be referred to were rejected, or have not been written yet.
            Err(error) if error.by_row && definition.kind == DefinitionKind::ForeignKey => {
                session.target.rollback().await?;
                let removed = remove(session, journal, definition).await?;
                if removed.is_empty() {
                    return Err(stays_away(session, error, definition));
                }
                restored.rows_taken_out += removed.len();
                restored.removed.extend(removed);
            }
            Err(error) => {
                if let Err(error) = session.failed(error, attempt).await {
                    return Err(stays_away(session, error, definition));
                }
            }
        }
    }
}

async fn try_bring_back(
    session: &mut Session<'_>,
    number: i64,
    definition: &Definition,
) -> Result<(), TargetError> {
    session.begin().await?;
    hands(session)?.restore_definition(definition).await?;
    let name = session.name.clone();
    session.target.put(&name, &[gone(number)]).await?;
    session.commit().await
}

/// Others may write the tables again. First that, which waits for no reader, and then the rest, which
/// may have to wait for a backup.
async fn open(session: &mut Session<'_>, journal: &Journal) -> Result<(), TargetError> {
    let tables = journal.names();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let done = async {
            let name = session.name.clone();
            session.begin().await?;
            hands(session)?.admit(&name, &tables).await?;
            session.commit().await
        };
        match done.await {
            Ok(()) => break,
            Err(error) => session.failed(error, attempt).await?,
        }
    }
    let mut attempt = 0;
    loop {
        attempt += 1;
        let done = async {
            session.begin().await?;
            let name = session.name.clone();
            hands(session)?.open(&name, &tables).await?;
            session.target.put(&name, &[gone(0)]).await?;
            session.commit().await
        };
        match done.await {
            Ok(()) => break,
            Err(error) => session.failed(error, attempt).await?,
        }
    }
    crate::failpoint("move.opened");
    Ok(())
}

fn stays_away(session: &Session<'_>, error: TargetError, definition: &Definition) -> TargetError {
    let what = match definition.kind {
        DefinitionKind::Index => "index",
        DefinitionKind::ForeignKey => "foreign key",
    };
    error.note(format!(
        "the {what} {} of {} was dropped for loading and is not back yet: the next run brings it \
         back, or `dunlin move restore {}`",
        definition.name, definition.table, session.name
    ))
}

/// Brings back what a run that did not come to its end has left dropped. `None`: nothing is.
///
/// # Errors
/// The database's; a lease that is held; rows of others that are in the way.
pub async fn restore_move(move_job: &MoveJob) -> Result<Option<Restored>, EngineError> {
    let (job, name) = (&move_job.job, &move_job.mapping.name);
    let mut target = move_job.target.move_target().await?;
    if target.stored(name, AREA, 0, 1).await?.is_empty() {
        return Ok(None);
    }
    let held = lease_of(job, name).await?;
    // Others may have run it until now.
    let runs = match runs(target.as_mut(), name).await {
        Ok(Some(runs)) => runs,
        other => {
            held.release().await;
            return Ok(other.map(|_| None)?);
        }
    };
    let mut session =
        Session::new(job, target, held.lease.clone(), name, runs, false, Gate::new(job, None));
    let done = restore(&mut session).await;
    held.release().await;
    Ok(done?)
}

/// How many runs there have been; `None`: none.
async fn runs(target: &mut dyn MoveTarget, name: &str) -> Result<Option<u32>, TargetError> {
    let stored = target.stored(name, AREA, 0, 1).await?;
    stored.first().map(|stored| Ok(MoveState::read(stored)?.runs)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_own_keys_come_back_before_those_that_refer_to_it() {
        let key = |number: i64, table: &str, to: &str| {
            let definition = Definition {
                kind: DefinitionKind::ForeignKey,
                name: format!("{table}_{to}"),
                table: TableName::parse(table),
                columns: Vec::new(),
                to: Some(to.to_owned()),
                to_columns: Vec::new(),
                drop: String::new(),
                restore: Vec::new(),
                stays: None,
            };
            (number, definition)
        };
        let all = [
            key(1, "tags", "shop.\"orders\""),
            key(2, "orders", "customers"),
            key(3, "customers", "customers"),
            key(6, "jobs", "jobs"),
            key(7, "jobs", "customers"),
            key(4, "a", "b"),
            key(5, "b", "a"),
        ];
        let ordered: Vec<i64> =
            parents_first(all.iter().collect()).iter().map(|(number, _)| *number).collect();
        assert_eq!(ordered, [3, 2, 1, 7, 6, 4, 5]);
    }
}
