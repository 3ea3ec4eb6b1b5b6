//! Keeps tables and drops what is rebuilt afterwards: all in one transaction with the store's
//! entries about it.

use dunlin_model::moves::TableName;

use super::super::session::Session;
use super::journal::{Journal, KeptTable};
use super::port::{BareTarget, Definition, TableDefinitions};
use crate::{ErrorKind, TargetError};

/// How often it is tried to get the tables' locks.
const STRIP_TRIES: u32 = 3;

/// The target's hands for this; asked for only where it is known that it has some.
pub(super) fn hands<'s>(
    session: &'s mut Session<'_>,
) -> Result<&'s mut dyn BareTarget, TargetError> {
    let missing = || TargetError::new(ErrorKind::Bug, "this target can't load tables bare");
    session.target.bare().ok_or_else(missing)
}

/// Everything of these tables that can be dropped, in the order in which it was made.
pub(super) fn droppable(found: Vec<TableDefinitions>) -> Vec<Definition> {
    let all = found.into_iter().filter(|table| table.stays.is_none());
    all.flat_map(|table| table.definitions).filter(|one| one.stays.is_none()).collect()
}

/// Keeps those of the tables that are still empty and drops what can be. `None`: there is nothing to
/// drop, and nothing was done.
pub(super) async fn strip(
    session: &mut Session<'_>,
    tables: &[KeptTable],
) -> Result<Option<Journal>, TargetError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match try_strip(session, tables.to_vec()).await {
            Ok(journal) => return Ok(journal),
            // While we wait for the lock others wait behind us: rather not, than long.
            Err(error) if attempt >= STRIP_TRIES => {
                session.target.rollback().await?;
                return Err(error);
            }
            Err(error) => session.failed(error, attempt).await?,
        }
    }
}

async fn try_strip(
    session: &mut Session<'_>,
    mut tables: Vec<KeptTable>,
) -> Result<Option<Journal>, TargetError> {
    let name = session.name.clone();
    loop {
        session.begin().await?;
        let names: Vec<TableName> = tables.iter().map(|kept| kept.table.clone()).collect();
        hands(session)?.keep(&name, &names).await?;
        // Only now, when nobody else writes, is what is seen here true until the end.
        let mut filled = Vec::new();
        for table in &names {
            if hands(session)?.has_rows(table).await? {
                filled.push(table.clone());
            }
        }
        if !filled.is_empty() {
            session.target.rollback().await?;
            tables.retain(|kept| !filled.contains(&kept.table));
            if tables.is_empty() {
                return Ok(None);
            }
            continue;
        }
        let found = hands(session)?.definitions(&names).await?;
        let definitions = droppable(found);
        if definitions.is_empty() {
            session.target.rollback().await?;
            return Ok(None);
        }
        let journal = Journal { tables, definitions: (1..).zip(definitions).collect() };
        drop_all(session, &journal).await?;
        session.commit().await?;
        crate::failpoint("move.stripped");
        return Ok(Some(journal));
    }
}

/// Puts the journal, and drops what it says.
pub(super) async fn drop_all(
    session: &mut Session<'_>,
    journal: &Journal,
) -> Result<(), TargetError> {
    let name = session.name.clone();
    session.target.put(&name, &journal.entries()?).await?;
    // The last made first: a foreign key before what it stands on.
    for (_, definition) in journal.definitions.iter().rev() {
        hands(session)?.drop_definition(definition).await?;
    }
    Ok(())
}
