//! What a run would drop, for people.

use dunlin_model::moves::MoveMode;
use serde::Serialize;

use super::super::gate::Gate;
use super::super::plan::MovePlan;
use super::super::run::{MoveJob, no_lease};
use super::super::session::Session;
use super::load::{empty, tables_of};
use super::port::DefinitionKind;
use super::reload::apart;
use super::strip::hands;
use crate::report::EngineError;

/// How one table is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableOutlook {
    /// The table.
    pub table: String,
    /// It is loaded bare: it is empty, or `reload` empties it if all of its rows are the move's; and
    /// nobody else may write it meanwhile.
    pub bare: bool,
    /// Indexes that are dropped and rebuilt.
    pub indexes: Vec<String>,
    /// Foreign keys that are dropped and rebuilt.
    pub foreign_keys: Vec<String>,
    /// What stays although it costs time with every row, and why.
    pub stays: Vec<String>,
}

/// How the next run loads each table. It looks only.
///
/// # Errors
/// The database's.
pub async fn outlook(
    move_job: &MoveJob,
    plan: &MovePlan,
) -> Result<Vec<TableOutlook>, EngineError> {
    let (job, name) = (&move_job.job, &move_job.mapping.name);
    let target = move_job.target.move_target().await?;
    let mut session =
        Session::new(job, target, no_lease(job, name), name, 0, true, Gate::new(job, None));
    let mut all = Vec::new();
    if session.target.bare().is_none() {
        for kept in tables_of(plan) {
            all.push(TableOutlook::in_place(
                kept.table.to_string(),
                "everything: this database has no way to keep others out meanwhile".to_owned(),
            ));
        }
        return Ok(all);
    }
    let all_tables: Vec<_> = tables_of(plan).into_iter().map(|kept| kept.table).collect();
    let loaded = match plan.mapping.mode {
        MoveMode::Reload => apart(&mut session, tables_of(plan)).await?,
        MoveMode::Sync | MoveMode::Swap => empty(plan, &mut session).await?,
    };
    let empty: Vec<_> = loaded.into_iter().map(|kept| kept.table).collect();
    let found = hands(&mut session)?.definitions(&empty).await?;
    let free: Vec<_> =
        found.into_iter().filter(|table| table.stays.is_none()).map(|table| table.table).collect();
    let bare = hands(&mut session)?.definitions(&free).await?;
    let refused = hands(&mut session)?.definitions(&all_tables).await?;
    for kept in tables_of(plan) {
        let name = kept.table.to_string();
        if let Some(table) = bare.iter().find(|table| table.table == kept.table) {
            let mut one = TableOutlook { bare: true, ..TableOutlook::new(name) };
            for definition in &table.definitions {
                match (&definition.stays, definition.kind) {
                    (Some(why), _) => one.stays.push(format!("{}: {why}", definition.name)),
                    (None, DefinitionKind::Index) => one.indexes.push(definition.name.clone()),
                    (None, DefinitionKind::ForeignKey) => {
                        one.foreign_keys.push(definition.name.clone());
                    }
                }
            }
            all.push(one);
        } else {
            let why = refused
                .iter()
                .find(|table| table.table == kept.table)
                .and_then(|table| match (&table.stays, table.referred_by.first()) {
                    (Some(why), _) => Some(why.clone()),
                    (None, Some(other)) if plan.mapping.mode == MoveMode::Reload => {
                        Some(format!("{other} refers to it, and is not loaded with it"))
                    }
                    (None, _) => None,
                })
                .unwrap_or_else(|| "it has rows".to_owned());
            all.push(TableOutlook::in_place(name, format!("everything: {why}")));
        }
    }
    Ok(all)
}

impl TableOutlook {
    fn new(table: String) -> Self {
        Self {
            table,
            bare: false,
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            stays: Vec::new(),
        }
    }

    fn in_place(table: String, stays: String) -> Self {
        Self { stays: vec![stays], ..Self::new(table) }
    }
}
