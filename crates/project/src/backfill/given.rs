//! Keys that the database gives to new rows.

use std::collections::BTreeSet;

use dunlin_model::{Dialect, KeyColumn, Migration, Table};

use super::{Planner, column};
use crate::sql;

/// The least key that new rows can get which a migration adds to the table that it walks; `None`: it
/// adds none. The walk must end below it, or it would do them as well.
#[must_use]
pub fn adds_from(
    migration: &Migration,
    table: &Table,
    key: &[KeyColumn],
    dialect: Dialect,
) -> Option<i64> {
    let chunking = migration.chunking()?;
    let planner = Planner { migration, chunking, table, dialect, errors: Vec::new() };
    let names = planner.names(false);
    let adds = migration.statements().iter().any(|statement| {
        let deeds = sql::deeds(dialect, statement);
        let here = deeds.iter().filter(|deed| names.contains(&deed.table));
        here.into_iter().any(|deed| planner.adds(key, deed).is_some())
    });
    let (_, next) = table.next_number.as_ref().filter(|_| adds)?;
    Some(*next)
}

impl Planner<'_> {
    /// The columns that it names of rows that it adds, and does not put in the place of those that are
    /// there.
    pub(super) fn adds<'d>(
        &self,
        key: &[KeyColumn],
        deed: &'d sql::Deed,
    ) -> Option<&'d BTreeSet<String>> {
        deed.adds.as_ref().filter(|_| !self.keeps(key, &deed.keeps))
    }

    /// Whether rows that are inserted may lie behind the end of the walk: their key is a number that
    /// the database gives, which grows.
    pub(super) fn adds_behind(&self, key: &[KeyColumn], named: &BTreeSet<String>) -> bool {
        let [only] = key else { return false };
        let given = !named.is_empty()
            && !named.iter().any(|name| column::is_same(self.dialect, name, &only.name));
        let numbered = self.table.next_number.as_ref().is_some_and(|(name, _)| *name == only.name);
        given && numbered && !only.descending
    }

    /// Whether the rows that a statement puts are those that it is about: each has its own key again.
    fn keeps(&self, key: &[KeyColumn], kept: &BTreeSet<String>) -> bool {
        let is_kept = |column: &KeyColumn| {
            kept.iter().any(|name| name == "*" || column::is_same(self.dialect, name, &column.name))
        };
        key.iter().all(is_kept)
    }
}
