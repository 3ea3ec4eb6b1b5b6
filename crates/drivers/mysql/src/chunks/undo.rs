//! Captured values, put back.
//!
//! Invariants: a row is put back only where it is exactly as the chunk left it, in the columns that
//! were kept; what can't be compared any more is refused, and stays kept.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_engine::{TargetError, UndoSlice, Undone, failpoint};
use dunlin_model::{Backfill, Column, Key, Lease};

use super::capture::{kept_of, list, object};
use super::catalogue::require_shape;
use super::derived::{Derived, Literals};
use super::kind::Kind;
use super::range::KeySql;
use super::walk::{first_number, too_little};
use crate::facts::require_writable;
use crate::ledger::BEGIN;
use crate::literal::{self, text};
use crate::session::Cells;
use crate::target::{MysqlTarget, fence_failure};
use crate::work::{WorkSession, lock_timeout};

/// Of which columns values were kept, and the tag of their types. Without one, an older program kept
/// them, as a list.
type Group = (Option<String>, Vec<String>);

/// One captured row.
#[derive(Debug)]
struct Captured {
    number: u64,
    key: Key,
    group: Group,
    old: Vec<Option<String>>,
    /// The chunk deleted it.
    is_deleted: bool,
}

impl Captured {
    fn read(work: &Backfill, row: &Cells) -> Option<Self> {
        let (group, old) = values(work, &row.text(2))?;
        Some(Self {
            number: row.number(0)?,
            key: Key::decode(&row.text(1))?,
            group,
            old,
            is_deleted: row.number(3) == Some(1),
        })
    }
}

/// What a captured row's values say, in the order of its columns.
fn values(work: &Backfill, text: &str) -> Option<(Group, Vec<Option<String>>)> {
    if text.starts_with('[') {
        let names = work.capture.iter().flat_map(|capture| capture.columns.clone()).collect();
        return Some(((None, names), serde_json::from_str(text).ok()?));
    }
    let mut all: BTreeMap<String, Option<String>> = serde_json::from_str(text).ok()?;
    let tag = all.remove("")??;
    let (names, old) = all.into_iter().unzip();
    Some(((Some(tag), names), old))
}

impl MysqlTarget {
    pub(crate) async fn undo(
        &mut self,
        lease: &mut Lease,
        work: &Backfill,
        slice: UndoSlice,
    ) -> Result<Undone, TargetError> {
        require_writable(&self.facts)?;
        let columns = self.columns(work).await?;
        let mut session = self.take_work().await?;
        let result = self.undo_on(&mut session, lease, work, &columns, slice).await;
        let undone = self.concluded(session, result).await?;
        lease.count_commit();
        Ok(undone)
    }

    async fn undo_on(
        &self,
        session: &mut WorkSession,
        lease: &Lease,
        work: &Backfill,
        columns: &[Column],
        slice: UndoSlice,
    ) -> Result<Undone, TargetError> {
        session.prepare_rows().await?;
        // A row whose number is 0 comes back with it, and not with the next that is free; and dates
        // that are none as they were.
        let packet = format!(
            "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, \
             ',NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'); {}; \
             {BEGIN}{}DO 0",
            lock_timeout(work.lock_timeout),
            self.ledger.fence(lease)
        );
        if let Err(error) = session.session.run(&packet).await {
            return Err(session.session.rolled_back(fence_failure(error, lease)).await);
        }
        match self.put_values_back(session, work, columns, slice).await {
            Ok(undone) => {
                failpoint("undo.executed");
                super::commit::commit(session).await?;
                failpoint("undo.done");
                Ok(undone)
            }
            Err(error) => Err(session.session.rolled_back(error).await),
        }
    }

    async fn put_values_back(
        &self,
        session: &mut WorkSession,
        work: &Backfill,
        columns: &[Column],
        slice: UndoSlice,
    ) -> Result<Undone, TargetError> {
        // Its metadata lock keeps the shape that is looked at until the COMMIT.
        let shape = format!("{}; {}", self.metadata_lock(work), self.shape_queries(work)?);
        let answers = session.session.run_rows(&shape).await?;
        let [_, catalogue, statistics] = answers.as_slice() else {
            return Err(too_little());
        };
        require_shape(work, catalogue, statistics)?;
        let table = self.ledger.table("captured");
        let of = captured_of(work);
        let below = |number: u64| format!("{of} AND number < {number}");
        let query = format!(
            "SELECT number, `key`, old_values, new_values IS NULL FROM {table} WHERE {} \
             ORDER BY number DESC LIMIT {}",
            slice.below.map_or_else(|| of.clone(), below),
            slice.count_max
        );
        let answers = session.session.run_rows(&query).await?;
        let read =
            answers.iter().flat_map(|answer| &answer.rows).map(|row| Captured::read(work, row));
        let read: Option<Vec<Captured>> = read.collect();
        // A row that was kept twice goes back step by step.
        let mut keys = BTreeSet::new();
        let rows: Vec<Captured> = read
            .ok_or_else(super::kind::no_key)?
            .into_iter()
            .take_while(|row| keys.insert(row.key.clone()))
            .collect();
        let Some(lowest) = rows.last().map(|row| row.number) else {
            return Ok(Undone::default());
        };
        let restored = if slice.singly {
            self.restore_singly(session, work, columns, &rows).await?
        } else {
            let all: Vec<&Captured> = rows.iter().collect();
            self.restore(session, work, columns, &all).await?
        };
        let count = restored.len() as u64;
        let passed = (rows.len() as u64).saturating_sub(count);
        // How far the undo is, in the transaction of what it did: a death can't make the two differ.
        let counted = format!(
            "UPDATE {} SET rows_before = rows_before + {count} WHERE job = {}",
            self.ledger.table("backfills"),
            text(&format!("data/{}", work.id.version)),
        );
        let mut numbers = vec!["0".to_owned()];
        numbers.extend(restored.iter().map(u64::to_string));
        let packet = format!(
            "{counted}; DELETE FROM {table} WHERE number IN ({}); SELECT EXISTS (SELECT 1 FROM \
             {table} WHERE {})",
            numbers.join(", "),
            below(lowest),
        );
        let answers = session.session.run_rows(&packet).await?;
        let left = answers.get(2..).and_then(first_number) == Some(1);
        Ok(Undone { restored: count, passed, lowest: Some(lowest), left })
    }

    /// One by one; the numbers of those that have their old values again. An error ends the statement
    /// of one row only.
    async fn restore_singly(
        &self,
        session: &mut WorkSession,
        work: &Backfill,
        columns: &[Column],
        rows: &[Captured],
    ) -> Result<Vec<u64>, TargetError> {
        let mut done = Vec::new();
        let mut rows: Vec<&Captured> = rows.iter().collect();
        // What is in one's way may be gone with another that is further down, so back and forth.
        loop {
            let tried = rows.len();
            let mut stuck = Vec::new();
            for row in rows {
                match self.restore(session, work, columns, &[row]).await {
                    Ok(restored) if restored.is_empty() => stuck.push(row),
                    Ok(restored) => done.extend(restored),
                    Err(error) if error.by_row => stuck.push(row),
                    Err(error) => return Err(error),
                }
            }
            if stuck.is_empty() || stuck.len() == tried {
                return Ok(done);
            }
            stuck.reverse();
            rows = stuck;
        }
    }

    /// Writes the old values of rows that are as the chunk left them; the numbers of those that have
    /// them.
    async fn restore(
        &self,
        session: &mut WorkSession,
        work: &Backfill,
        columns: &[Column],
        rows: &[&Captured],
    ) -> Result<Vec<u64>, TargetError> {
        let mut groups: BTreeMap<&Group, Vec<&Captured>> = BTreeMap::new();
        for &row in rows {
            groups.entry(&row.group).or_default().push(row);
        }
        let mut restored = Vec::new();
        for (group, rows) in groups {
            self.refuse_unlike(work, group)?;
            self.restore_group(session, work, columns, group, &rows).await?;
            restored.extend(self.restored(session, work, columns, group, &rows).await?);
        }
        Ok(restored)
    }

    async fn restore_group(
        &self,
        session: &mut WorkSession,
        work: &Backfill,
        columns: &[Column],
        (tag, names): &Group,
        rows: &[&Captured],
    ) -> Result<(), TargetError> {
        let kept = kept_of(work, columns, names)?;
        let literals: Vec<Literals> = std::iter::once(Literals::Numbers)
            .chain(kept.iter().map(|(_, kind)| kind.exact_literals()))
            .collect();
        let mut changed = Derived::new(work, self.facts.is_mariadb, &literals);
        let mut deleted = Derived::new(work, self.facts.is_mariadb, &literals);
        for (number, row) in rows.iter().enumerate() {
            if row.old.len() != kept.len() {
                return Err(super::kind::no_key());
            }
            let mut literals = vec![row.number.to_string()];
            for ((_, kind), value) in kept.iter().zip(&row.old) {
                literals.push(match value {
                    Some(value) => kind.exact_literal(value)?,
                    None => "NULL".to_owned(),
                });
            }
            let into = if row.is_deleted { &mut deleted } else { &mut changed };
            into.push(number, &row.key, &literals)?;
        }
        let written: Vec<(usize, &(&Column, Kind))> =
            kept.iter().enumerate().filter(|(_, (column, _))| !column.generated).collect();
        let limit = session.session.packet_bytes_max;
        let sets: Vec<String> = written
            .iter()
            .map(|(at, (column, kind))| {
                let value = kind.restored(&format!("d.c{}", at + 1));
                format!("t.{} = {value}", literal::name(&column.name))
            })
            .collect();
        let sets = sets.join(", ");
        let now = tag.as_ref().map_or_else(|| list(&kept, "t"), |tag| object(&kept, "t", tag));
        for table in changed.tables(limit, sets.len() + now.len()) {
            let update = format!(
                // New values are compared where they are: beside the old ones they might be more than a
                // packet takes.
                "UPDATE {table} STRAIGHT_JOIN {} t ON {} STRAIGHT_JOIN {} c ON c.number = d.c0 \
                 SET {sets} WHERE BINARY {now} = BINARY c.new_values",
                work.table,
                changed.joined(),
                self.ledger.table("captured"),
            );
            session.session.run_rows(&update).await?;
        }
        let insert = reinsertion(work, &written, &deleted);
        for table in deleted.tables(limit, insert.len()) {
            let insert = insert.replace(DERIVED, &table);
            session.session.run_rows(&insert).await?;
        }
        Ok(())
    }

    /// The numbers of rows that have their old values.
    async fn restored(
        &self,
        session: &mut WorkSession,
        work: &Backfill,
        columns: &[Column],
        (tag, names): &Group,
        rows: &[&Captured],
    ) -> Result<Vec<u64>, TargetError> {
        let kept = kept_of(work, columns, names)?;
        let mut derived = Derived::new(work, self.facts.is_mariadb, &[Literals::Numbers]);
        for (at, row) in rows.iter().enumerate() {
            derived.push(at, &row.key, &[row.number.to_string()])?;
        }
        let now = tag.as_ref().map_or_else(|| list(&kept, "t"), |tag| object(&kept, "t", tag));
        let rest = format!(
            "STRAIGHT_JOIN {} t ON {} STRAIGHT_JOIN {} c ON c.number = d.c0 \
             WHERE BINARY {now} = BINARY c.old_values",
            work.table,
            derived.joined(),
            self.ledger.table("captured"),
        );
        let mut numbers = Vec::new();
        for table in derived.tables(session.session.packet_bytes_max, rest.len()) {
            let answers =
                session.session.run_rows(&format!("SELECT d.c0 FROM {table} {rest}")).await?;
            let found = answers.iter().flat_map(|answer| &answer.rows);
            numbers.extend(found.filter_map(|row| row.number::<u64>(0)));
        }
        Ok(numbers)
    }

    /// Refuses values that were kept of columns, or under keys, that have other types by now.
    fn refuse_unlike(&self, work: &Backfill, (tag, names): &Group) -> Result<(), TargetError> {
        if tag.is_none() || *tag == self.tag(work, names) {
            return Ok(());
        }
        Err(TargetError::captured_unlike(&work.table, names, "dunlin_captured"))
    }

    /// Refuses an undo whose first or last rows could not be put back.
    pub(crate) async fn refuse_unlike_ends(&mut self, work: &Backfill) -> Result<(), TargetError> {
        self.columns(work).await?;
        let end = |order: &str| {
            format!(
                "(SELECT old_values FROM {} WHERE job = {} ORDER BY number {order} LIMIT 1)",
                self.ledger.table("captured"),
                text(&format!("data/{}", work.id.version)),
            )
        };
        let query = format!("{} UNION ALL {}", end("ASC"), end("DESC"));
        let answers = self.repeated(&query).await?;
        for row in answers.iter().flat_map(|answer| &answer.rows) {
            let (group, _) = values(work, &row.text(0)).ok_or_else(super::kind::no_key)?;
            self.refuse_unlike(work, &group)?;
        }
        Ok(())
    }
}

fn captured_of(work: &Backfill) -> String {
    format!("job = {} AND pass = {}", text(&format!("data/{}", work.id.version)), work.pass)
}

/// Stands where the rows go.
const DERIVED: &str = "/*derived*/";

/// Inserts deleted rows whose keys nobody has taken since.
fn reinsertion(
    work: &Backfill,
    written: &[(usize, &(&Column, Kind))],
    deleted: &Derived,
) -> String {
    let mut names: Vec<String> = Vec::new();
    let mut values: Vec<String> = Vec::new();
    for (at, (column, kind)) in written {
        names.push(literal::name(&column.name));
        values.push(kind.restored(&format!("d.c{}", at + 1)));
    }
    for (number, (column, kind)) in KeySql::of(work).columns().iter().enumerate() {
        let name = literal::name(&column.name);
        if !names.contains(&name) {
            names.push(name);
            values.push(kind.joined_key(&format!("d.k{number}")));
        }
    }
    format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {DERIVED} \
         WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {})",
        names.join(", "),
        values.join(", "),
        deleted.joined(),
        table = work.table,
    )
}
