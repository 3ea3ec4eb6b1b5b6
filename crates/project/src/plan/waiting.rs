//! Held migrations: what they keep others from, and who looks again when one comes into place.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_model::{Held, MigrationId, WaitsFor};

/// Shut migrations, in order.
pub(super) type Shut<'a> = Box<dyn DoubleEndedIterator<Item = MigrationId> + 'a>;

/// What is held at a point of planning.
#[derive(Default)]
pub(super) struct Waiting {
    held: BTreeMap<MigrationId, Held>,
    /// Held schema migrations, which keep others from the tables that they touch.
    shut: BTreeMap<MigrationId, Option<BTreeSet<String>>>,
    /// Those of them that touch a table.
    by_table: BTreeMap<String, BTreeSet<MigrationId>>,
    /// Those of them that touch a qualified table, by its last name.
    by_last_name: BTreeMap<String, BTreeSet<MigrationId>>,
    /// Those of them that may touch any table.
    anywhere: BTreeSet<MigrationId>,
    /// Who looks again once this one is in place.
    watchers: BTreeMap<MigrationId, Vec<MigrationId>>,
    /// Whose gate may be open by now.
    due: BTreeSet<MigrationId>,
}

impl Waiting {
    /// Holds, or holds on for other reasons.
    pub(super) fn hold(&mut self, held: Held) {
        self.held.insert(held.id, held);
    }

    /// From now on others wait for this one. No tables: any.
    pub(super) fn shut_down(&mut self, id: MigrationId, tables: Option<BTreeSet<String>>) {
        if self.shut.contains_key(&id) {
            return;
        }
        for table in tables.iter().flatten() {
            self.by_table.entry(table.clone()).or_default().insert(id);
            if let Some(last) = qualified(table) {
                self.by_last_name.entry(last.to_owned()).or_default().insert(id);
            }
        }
        if tables.is_none() {
            self.anywhere.insert(id);
        }
        self.shut.insert(id, tables);
    }

    /// Looks again once that other one is in place.
    pub(super) fn watch(&mut self, id: MigrationId, other: MigrationId) {
        self.watchers.entry(other).or_default().push(id);
    }

    /// That one is in place after the steps so far.
    pub(super) fn opened(&mut self, id: MigrationId) {
        self.due.extend(self.watchers.remove(&id).unwrap_or_default());
    }

    /// The lowest one that is to look again.
    pub(super) fn due(&mut self) -> Option<MigrationId> {
        self.due.pop_first()
    }

    /// Its gate is open.
    pub(super) fn let_go(&mut self, id: MigrationId) {
        self.held.remove(&id);
        self.anywhere.remove(&id);
        for table in self.shut.remove(&id).flatten().iter().flatten() {
            if let Some(ids) = self.by_table.get_mut(table) {
                ids.remove(&id);
            }
            if let Some(ids) = qualified(table).and_then(|last| self.by_last_name.get_mut(last)) {
                ids.remove(&id);
            }
        }
    }

    /// What a held one waits for.
    pub(super) fn waits_for(&self, id: MigrationId) -> &[WaitsFor] {
        self.held.get(&id).map_or(&[], |held| held.waits_for.as_slice())
    }

    /// Everything that is held, in order.
    pub(super) fn held(&self) -> Vec<Held> {
        self.held.values().cloned().collect()
    }

    /// Shut migrations below one.
    pub(super) fn shut(&self, id: MigrationId) -> Shut<'_> {
        Box::new(self.shut.range(..id).map(|(id, _)| *id))
    }

    /// Those of them that touch a table for certain.
    pub(super) fn shut_for(&self, table: &str, id: MigrationId) -> Shut<'_> {
        let ids = self.by_table.get(table);
        Box::new(ids.into_iter().flat_map(move |ids| ids.range(..id).copied()))
    }

    /// Those of them that may touch that table by another of its names: without its schema it is
    /// whichever the search path finds.
    pub(super) fn shut_for_namesake(&self, table: &str, id: MigrationId) -> Shut<'_> {
        let ids = match qualified(table) {
            Some(last) => self.by_table.get(last),
            None => self.by_last_name.get(table),
        };
        Box::new(ids.into_iter().flat_map(move |ids| ids.range(..id).copied()))
    }

    /// Those of them that may touch any table.
    pub(super) fn shut_anywhere(&self, id: MigrationId) -> Shut<'_> {
        Box::new(self.anywhere.range(..id).copied())
    }
}

/// The last name of a qualified table. The server's own schemas are never found by a search path.
fn qualified(table: &str) -> Option<&str> {
    const SERVERS_OWN: [&str; 5] =
        ["information_schema", "pg_catalog", "performance_schema", "mysql", "sys"];
    let (schema, last) = table.rsplit_once('.')?;
    (!SERVERS_OWN.contains(&schema)).then_some(last)
}
