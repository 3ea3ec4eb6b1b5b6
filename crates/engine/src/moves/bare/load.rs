//! A run that loads empty tables bare: from the first look to the last thing restored.

use std::collections::BTreeSet;

use dunlin_model::moves::TableName;

use super::super::plan::{MovePlan, PlannedRule};
use super::super::session::Session;
use super::super::writer::{RuleWriter, pack_area};
use super::journal::{Journal, KeptTable};
use super::port::DefinitionKind;
use super::reload::empty_ours;
use super::restore::restore;
use super::strip::{droppable, hands, strip};
use crate::{ErrorKind, TargetError};

/// Whether tables are loaded bare, and what still stands in the way of rows there.
#[derive(Debug, Default)]
pub(in super::super) struct BareLoad {
    /// Tables that are kept. Empty: nothing is dropped.
    tables: Vec<TableName>,
    /// Columns of foreign keys that are in force.
    in_force: Vec<(TableName, Vec<String>)>,
}

impl BareLoad {
    /// Keeps the tables that this run is the first to fill, and drops what is rebuilt afterwards; or
    /// goes on where a run that died has left them bare. Where that can't be done, nothing is
    /// dropped.
    ///
    /// `reload`: tables that hold nothing but the move's rows are emptied first, but for those that
    /// are named.
    pub(in super::super) async fn begin(
        plan: &MovePlan,
        session: &mut Session<'_>,
        reload: Option<&BTreeSet<TableName>>,
    ) -> Result<Self, TargetError> {
        if session.dry_run || session.target.bare().is_none() {
            return Ok(Self::default());
        }
        if let Some(journal) = Journal::read(session).await? {
            return Self::go_on(session, &journal).await;
        }
        let begun = match reload {
            Some(but) => {
                let mut tables = tables_of(plan);
                tables.retain(|kept| !but.contains(&kept.table));
                empty_ours(session, tables).await
            }
            None => {
                let tables = empty(plan, session).await?;
                let tables = eligible(session, tables).await?;
                if tables.is_empty() { Ok(None) } else { strip(session, &tables).await }
            }
        };
        match begun {
            Ok(Some(journal)) => {
                let count = journal.definitions.len();
                let of = format!("{count} indexes and foreign keys are dropped, to be rebuilt");
                session.gate.phase("baring", Some(&of));
                Self::of(session, &journal).await
            }
            Ok(None) => Ok(Self::default()),
            Err(error) if may_go_without(error.kind) => {
                let of = format!("nothing: {}", error.message);
                session.gate.phase("baring", Some(&of));
                // A reload may have kept tables already.
                restore(session).await?;
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }

    /// What a run before this one has left bare is filled further, if nobody else came to it.
    async fn go_on(session: &mut Session<'_>, journal: &Journal) -> Result<Self, TargetError> {
        let (name, tables) = (session.name.clone(), journal.names());
        let kept = hands(session)?.kept(&name, &tables).await?;
        if kept.len() == tables.len() {
            return Self::of(session, journal).await;
        }
        restore(session).await?;
        Ok(Self::default())
    }

    async fn of(session: &mut Session<'_>, journal: &Journal) -> Result<Self, TargetError> {
        let tables = journal.names();
        let found = hands(session)?.definitions(&tables).await?;
        let keys = found.into_iter().flat_map(|table| table.definitions);
        let in_force = keys
            .filter(|one| one.kind == DefinitionKind::ForeignKey)
            .map(|key| (key.table, key.columns))
            .collect();
        Ok(Self { tables, in_force })
    }

    /// Whether a run before this one has left tables bare, to be filled further.
    pub(in super::super) async fn is_under_way(
        session: &mut Session<'_>,
    ) -> Result<bool, TargetError> {
        Ok(Journal::read(session).await?.is_some())
    }

    /// Whether a table is loaded bare.
    pub(in super::super) fn has(&self, table: &TableName) -> bool {
        self.tables.contains(table)
    }

    /// Whether columns that wait for later rows elsewhere can be written at once: no foreign key
    /// looks at them.
    pub(in super::super) fn is_whole(&self, rule: &PlannedRule) -> bool {
        let table = &rule.written.table;
        let is_free = |place: &usize| {
            let name = &rule.written.fields[*place].name;
            self.in_force.iter().all(|(of, columns)| of != table || !columns.contains(name))
        };
        self.tables.contains(table) && rule.deferred.iter().all(is_free)
    }

    /// Brings everything back. Rows that turn out to refer to nothing are told of as rejected.
    pub(in super::super) async fn end(
        self,
        session: &mut Session<'_>,
        writers: &mut [RuleWriter<'_>],
    ) -> Result<(), TargetError> {
        if self.tables.is_empty() {
            return Ok(());
        }
        let Some(restored) = restore(session).await? else { return Ok(()) };
        for (rule, note) in restored.removed {
            if let Some(writer) = writers.iter_mut().find(|one| one.rule.rule.name == rule) {
                writer.report.inserted = writer.report.inserted.saturating_sub(1);
                writer.notes.push(note);
            }
        }
        Ok(())
    }
}

/// Without dropping anything a run is slower and no more; a connection that broke is another matter.
fn may_go_without(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Permission
            | ErrorKind::LockTimeout
            | ErrorKind::Conflict
            | ErrorKind::Statement
            | ErrorKind::Unsupported
            | ErrorKind::Refused
    )
}

/// The tables that the move has never written and that have no rows, as far as a look can tell.
pub(super) async fn empty(
    plan: &MovePlan,
    session: &mut Session<'_>,
) -> Result<Vec<KeptTable>, TargetError> {
    let mut empty = Vec::new();
    for kept in tables_of(plan) {
        let mut is_new = true;
        for rule in &kept.rules {
            is_new &= session.stored(&pack_area(rule), i64::MIN).await?.is_empty();
        }
        if is_new && !hands(session)?.has_rows(&kept.table).await? {
            empty.push(kept);
        }
    }
    Ok(empty)
}

/// The tables that a move fills, each with its rules.
pub(super) fn tables_of(plan: &MovePlan) -> Vec<KeptTable> {
    let mut all: Vec<KeptTable> = Vec::new();
    for rule in &plan.rules {
        let (table, name) = (&rule.written.table, rule.rule.name.clone());
        match all.iter_mut().find(|kept| kept.table == *table) {
            Some(kept) => kept.rules.push(name),
            None => all.push(KeptTable { table: table.clone(), rules: vec![name] }),
        }
    }
    all
}

/// Those of the tables that may be kept, if there is anything to drop.
async fn eligible(
    session: &mut Session<'_>,
    mut tables: Vec<KeptTable>,
) -> Result<Vec<KeptTable>, TargetError> {
    let names = |tables: &[KeptTable]| -> Vec<TableName> {
        tables.iter().map(|kept| kept.table.clone()).collect()
    };
    let found = hands(session)?.definitions(&names(&tables)).await?;
    tables.retain(|kept| {
        found.iter().any(|table| table.table == kept.table && table.stays.is_none())
    });
    if tables.is_empty()
        || droppable(hands(session)?.definitions(&names(&tables)).await?).is_empty()
    {
        return Ok(Vec::new());
    }
    Ok(tables)
}
