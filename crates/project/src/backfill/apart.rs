//! Whether rows that belong together lie in one chunk, and whether what one chunk writes is nothing that
//! another one reads or writes, by what the catalogue tells.

use std::collections::BTreeSet;

use dunlin_model::{
    Backfill, Beside, Diagnostic, Dialect, Index, KeyColumn, Migration, Table, Verb,
};

use super::{Planner, column};
use crate::sql;

/// What the catalogue tells of other tables than the one that is walked.
#[derive(Debug, Clone, Default)]
pub struct Others {
    /// The tables that the statements read and write.
    pub tables: Vec<Table>,
    /// Tables, each with what the database does by itself where its rows change.
    pub beside: Vec<(String, Vec<Beside>)>,
}

/// The tables that a migration reads or writes, as they are written, and the one that it walks.
#[must_use]
pub fn touched(migration: &Migration, table: &Table, dialect: Dialect) -> BTreeSet<String> {
    let walked = sql::table_parts(dialect, &table.name);
    let statements = migration.statements().iter();
    statements.flat_map(|statement| sql::touched(dialect, &walked, statement)).collect()
}

/// What chunks would leave otherwise than one run, as other tables and foreign keys are.
#[must_use]
pub fn not_apart(
    migration: &Migration,
    table: &Table,
    work: &Backfill,
    dialect: Dialect,
    others: &Others,
) -> Vec<Diagnostic> {
    let Some(chunking) = migration.chunking() else { return Vec::new() };
    let parts = |name: &str| sql::table_parts(dialect, name);
    let other = others.tables.iter().filter(|one| one.name != table.name);
    let mut known = sql::Known::new(dialect, std::iter::once(table).chain(other));
    for (parent, beside) in &others.beside {
        for (one, taken) in beside.iter().filter_map(|one| Some((one, one.takes.as_ref()?))) {
            let folded = |name: &String| match dialect {
                Dialect::Postgres => name.clone(),
                Dialect::Mysql | Dialect::Sqlite => name.to_lowercase(),
            };
            known.cascades.extend(one.on.iter().map(|on| {
                sql::Cascade {
                    parent: parts(parent),
                    on: *on,
                    columns: one.columns.iter().map(folded).collect(),
                    child: parts(&taken.table),
                    does: taken.verb,
                    pairs: taken
                        .columns
                        .iter()
                        .map(|(mine, theirs)| (folded(mine), folded(theirs)))
                        .collect(),
                    what: one.what.clone(),
                }
            }));
        }
    }
    let mut planner = Planner { migration, chunking, table, dialect, errors: Vec::new() };
    planner.check_apart(&work.key, &known);
    planner.errors
}

impl Planner<'_> {
    /// Rows that are counted together must lie in one chunk, and none may be written by two.
    pub(super) fn check_apart(&mut self, key: &[KeyColumn], known: &sql::Known<'_>) {
        let walked = sql::table_parts(self.dialect, &self.table.name);
        let keys = self.unique_columns(key, known, &walked);
        let every = self.every_unique();
        let (dialect, table) = (self.dialect, self.table);
        let is_solid = |folded: &String| {
            column::by_folded(dialect, table, folded).is_some_and(|column| !column.nullable)
        };
        let told_apart = |one: &sql::Spread| {
            let shared = |name: &String| {
                one.within.iter().any(|folded| column::is_same(dialect, folded, name))
            };
            let has_all = |columns: &Vec<String>| columns.iter().all(shared);
            let tied = match one.every {
                true => every.as_ref().is_some_and(|every| every.iter().all(has_all)),
                false => keys.iter().any(has_all),
            };
            let caught = |one: &sql::Caught| known.finds(one, &is_solid);
            tied || (one.solid.as_ref().is_some_and(|columns| columns.iter().all(is_solid))
                && one.caught.iter().all(caught))
        };
        let migration = self.migration;
        let found = sql::spread(
            dialect,
            migration.file(),
            &walked,
            migration.statements(),
            known,
            told_apart,
        );
        let names: Vec<&str> = key.iter().map(|column| column.name.as_str()).collect();
        let chunks =
            format!(" (chunks of {} are ranges of `{}`)", self.table.name, names.join("`, `"));
        self.errors.extend(found.into_iter().map(|mut one| {
            one.message.push_str(&chunks);
            one
        }));
    }

    /// Whether what the statements leave depends on which of several rows of different chunks comes
    /// first.
    pub(super) fn in_order(&self, key: &[KeyColumn], known: &sql::Known<'_>) -> bool {
        let walked = sql::table_parts(self.dialect, &self.table.name);
        let keys = self.unique_columns(key, known, &walked);
        let is_apart = |shared: BTreeSet<String>| {
            let is_shared = |name: &String| {
                shared.iter().any(|folded| column::is_same(self.dialect, folded, name))
            };
            keys.iter().any(|columns| columns.iter().all(is_shared))
        };
        self.migration.statements().iter().any(|statement| {
            let met = sql::first_counts(self.dialect, &walked, statement, known);
            !met.into_iter().all(is_apart)
        })
    }

    /// Columns that no two rows share: the key's, and those of every other unique index that nothing
    /// here changes.
    fn unique_columns(
        &self,
        key: &[KeyColumn],
        known: &sql::Known<'_>,
        walked: &[String],
    ) -> Vec<Vec<String>> {
        let names = self.names(false);
        let statements = self.migration.statements().iter();
        let deeds = statements.flat_map(|statement| sql::deeds(self.dialect, statement));
        let here = deeds.filter(|deed| deed.verb != Verb::Delete && names.contains(&deed.table));
        let mut changed: BTreeSet<String> = here.flat_map(|deed| deed.columns).collect();
        changed.extend(known.computed(walked, &changed));
        let stays = |name: &String| {
            !changed.iter().any(|folded| column::is_same(self.dialect, folded, name))
        };
        let named = |index: &Index| -> Option<Vec<String>> {
            let tells = |name: &String| {
                self.table.column(name).is_some_and(|one| !one.nullable) && stays(name)
            };
            let names = index.columns.iter().map(|part| part.name.clone().filter(tells));
            let names: Option<Vec<String>> = names.collect();
            names.filter(|_| index.unique && index.unusable.is_none() && !index.columns.is_empty())
        };
        let own = key.iter().map(|column| column.name.clone()).collect();
        std::iter::once(own).chain(self.table.indexes.iter().filter_map(named)).collect()
    }

    /// The columns of each unique index; `None`: one is on expressions.
    fn every_unique(&self) -> Option<Vec<Vec<String>>> {
        let unique = self.table.indexes.iter().filter(|index| index.unique);
        unique.map(|index| index.columns.iter().map(|part| part.name.clone()).collect()).collect()
    }
}
