//! `reload`: tables that hold nothing but the move's rows are emptied and loaded bare.
//!
//! Three steps, each safe to die after: the tables are kept; then it is looked whether all of their
//! rows are ours, which stays so since nobody else writes them; then they are emptied, and what may be
//! dropped is, with the packs that remembered their rows, in one transaction.

use std::collections::HashSet;

use dunlin_model::moves::TableName;

use super::super::ports::Stored;
use super::super::session::Session;
use super::super::writer::pack_area;
use super::foreign::has_foreign;
use super::journal::{Journal, KeptTable, gone};
use super::orphans::keyed;
use super::strip::{drop_all, droppable, hands};
use crate::TargetError;

/// Empties those of the tables that it safely can. `None`: none, and nothing was done.
pub(super) async fn empty_ours(
    session: &mut Session<'_>,
    tables: Vec<KeptTable>,
) -> Result<Option<Journal>, TargetError> {
    let mut tables = apart(session, tables).await?;
    if tables.is_empty() {
        return Ok(None);
    }
    retried(session, Step::Keep, &tables).await?;
    crate::failpoint("move.kept");
    loop {
        let mut open: HashSet<TableName> = HashSet::new();
        for kept in &tables {
            let of = keyed(session, &kept.table).await?;
            if has_foreign(session, &of, &kept.rules).await? {
                open.insert(kept.table.clone());
            }
        }
        if open.is_empty() {
            break;
        }
        let (others, ours): (Vec<_>, Vec<_>) =
            tables.into_iter().partition(|kept| open.contains(&kept.table));
        // What refers to a table that stays as it is may go; what it refers to may not.
        tables = apart(session, ours.clone()).await?;
        let stays = ours.into_iter().filter(|kept| !tables.contains(kept));
        let others: Vec<KeptTable> = others.into_iter().chain(stays).collect();
        retried(session, Step::LetGo(&others), &tables).await?;
        if tables.is_empty() {
            return Ok(None);
        }
    }
    retried(session, Step::Empty, &tables).await?;
    crate::failpoint("move.stripped");
    Journal::read(session).await
}

/// Those that may be kept, and that no other table refers to.
pub(super) async fn apart(
    session: &mut Session<'_>,
    mut tables: Vec<KeptTable>,
) -> Result<Vec<KeptTable>, TargetError> {
    loop {
        let names: Vec<TableName> = tables.iter().map(|kept| kept.table.clone()).collect();
        let found = hands(session)?.definitions(&names).await?;
        let count = tables.len();
        tables.retain(|kept| {
            found.iter().any(|table| {
                table.table == kept.table && table.stays.is_none() && table.referred_by.is_empty()
            })
        });
        if tables.len() == count {
            return Ok(tables);
        }
    }
}

/// What one transaction does.
#[derive(Clone, Copy)]
enum Step<'t> {
    Keep,
    LetGo(&'t [KeptTable]),
    Empty,
}

async fn retried(
    session: &mut Session<'_>,
    step: Step<'_>,
    tables: &[KeptTable],
) -> Result<(), TargetError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match take(session, step, tables).await {
            Ok(()) => return Ok(()),
            Err(error) => session.failed(error, attempt).await?,
        }
    }
}

async fn take(
    session: &mut Session<'_>,
    step: Step<'_>,
    tables: &[KeptTable],
) -> Result<(), TargetError> {
    let name = session.name.clone();
    let names: Vec<TableName> = tables.iter().map(|kept| kept.table.clone()).collect();
    let mut journal = Journal { tables: tables.to_vec(), definitions: Vec::new() };
    // Read before: it is ours alone, and a transaction should not wait for it.
    let packs = match step {
        Step::Empty => packs_of(session, tables).await?,
        Step::Keep | Step::LetGo(_) => Vec::new(),
    };
    session.begin().await?;
    match step {
        Step::Keep => {
            hands(session)?.keep(&name, &names).await?;
            session.target.put(&name, &[journal.head()?]).await?;
        }
        Step::LetGo(others) => {
            let others: Vec<TableName> = others.iter().map(|kept| kept.table.clone()).collect();
            hands(session)?.open(&name, &others).await?;
            let head = if tables.is_empty() { gone(0) } else { journal.head()? };
            session.target.put(&name, &[head]).await?;
        }
        Step::Empty => {
            let found = hands(session)?.definitions(&names).await?;
            journal.definitions = (1..).zip(droppable(found)).collect();
            drop_all(session, &journal).await?;
            hands(session)?.empty(&names).await?;
            session.target.put(&name, &packs).await?;
        }
    }
    session.commit().await
}

/// The entries of all packs of the tables, as gone.
async fn packs_of(
    session: &mut Session<'_>,
    tables: &[KeptTable],
) -> Result<Vec<Stored>, TargetError> {
    let mut packs = Vec::new();
    for rule in tables.iter().flat_map(|kept| &kept.rules) {
        let area = pack_area(rule);
        let mut from = i64::MIN;
        loop {
            let stored = session.stored(&area, from).await?;
            let Some(last) = stored.last() else { break };
            from = last.number + 1;
            packs.extend(stored.into_iter().map(|entry| Stored { value: None, ..entry }));
        }
    }
    Ok(packs)
}
