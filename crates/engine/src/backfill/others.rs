//! What the catalogue tells of the other tables of a backfill: those that its statements read and write,
//! and those of which foreign keys take rows along.

use std::collections::BTreeSet;

use dunlin_model::{Backfill, Dialect, Migration, Table, TableKind};
use dunlin_project::backfill::{Others, touched};

use crate::{Target, TargetError};

/// Foreign keys are followed from so many tables: no chain that people make is as long.
const TABLES_MAX: usize = 100;

/// Looks at them. A table that is not there is the server's to name, with its place.
pub(super) async fn look(
    target: &mut dyn Target,
    migration: &Migration,
    table: &Table,
    work: &Backfill,
    dialect: Dialect,
) -> Result<Others, TargetError> {
    let mut others = Others::default();
    if migration.statements().is_empty() {
        return Ok(others);
    }
    for name in touched(migration, table, dialect) {
        if let Some(other) = target.table(&name).await?
            && other.name != table.name
            && !others.tables.contains(&other)
        {
            others.tables.push(other);
        }
    }
    let with_rows = |one: &&Table| matches!(one.kind, TableKind::Table | TableKind::Partitioned);
    let named = others.tables.iter().filter(with_rows).map(|one| one.name.clone());
    let mut open: Vec<String> = named.chain([table.name.clone()]).collect();
    let mut seen: BTreeSet<String> = open.iter().cloned().collect();
    while let Some(name) = open.pop().filter(|_| others.beside.len() < TABLES_MAX) {
        let beside = target.beside(&Backfill { table: name.clone(), ..work.clone() }).await?;
        for takes in beside.iter().filter_map(|one| one.takes.as_ref()) {
            if seen.insert(takes.table.clone()) {
                open.push(takes.table.clone());
            }
        }
        others.beside.push((name, beside));
    }
    Ok(others)
}
