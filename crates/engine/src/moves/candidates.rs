//! Old rows that may become new ones, and those that go with one that doesn't.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use dunlin_model::moves::{IdKind, OnRowError};

use super::decide::{each_applied, is_one_by_one};
use super::expressions::Applied;
use super::key::{KeyColumns, Part, RowKey, read_varint, write_varint};
use super::key_set::{KeySet, key_hash};
use super::plan::{Layout, MovePlan, PlannedRule};
use super::ports::Source;
use super::produce::Decided;
use super::spill::{Pieces, Room, Spool};
use crate::{ErrorKind, TargetError};

/// So many rows that can't be read keep their place in a merge, about 10 MB of them.
const UNREAD_MAX: usize = 100_000;

/// An old row that may become a new one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) old: RowKey,
    /// What it merges by.
    pub(super) group: Option<u128>,
    /// The natural key that its new row is looked for by.
    pub(super) natural: Option<RowKey>,
    /// What must be there for it to be: (namespace, old key). Only of rules in a circle.
    needs: Vec<(usize, RowKey)>,
}

impl Candidate {
    fn bytes(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(32);
        to.push(self.group.is_some().into());
        if let Some(group) = self.group {
            to.extend_from_slice(&group.to_be_bytes());
        }
        write_key(&self.old, &mut to);
        match &self.natural {
            Some(natural) => write_key(natural, &mut to),
            None => write_varint(&mut to, 0),
        }
        for (namespace, key) in &self.needs {
            write_varint(&mut to, *namespace as u64);
            write_key(key, &mut to);
        }
        to
    }

    fn read(mut from: &[u8]) -> Option<Self> {
        let from = &mut from;
        let (&[has_group], rest) = from.split_first_chunk::<1>()?;
        *from = rest;
        let mut group = None;
        if has_group != 0 {
            let (hash, rest) = from.split_first_chunk::<16>()?;
            *from = rest;
            group = Some(u128::from_be_bytes(*hash));
        }
        let old = read_key(from)?;
        let natural = Some(read_key(from)?).filter(|key| !key.0.is_empty());
        let mut needs = Vec::new();
        while !from.is_empty() {
            let namespace = usize::try_from(read_varint(from)?).ok()?;
            needs.push((namespace, read_key(from)?));
        }
        Some(Self { old, group, natural, needs })
    }
}

fn write_key(key: &RowKey, to: &mut Vec<u8>) {
    write_varint(to, key.0.len() as u64);
    key.write(to);
}

fn read_key(from: &mut &[u8]) -> Option<RowKey> {
    let parts = usize::try_from(read_varint(from)?).ok()?;
    RowKey::read(from, parts)
}

/// Rows of a rule that there may be.
pub(super) struct Candidates {
    /// One by one, where they merge, get stored ids, or need each other.
    pub(super) list: Spool,
    /// All of them; `None` once it is the namespace's.
    pub(super) made: Option<KeySet>,
    /// Rows that merge, and of which it can't be read by what; not all, if they are many.
    pub(super) unread: HashSet<RowKey>,
    /// Some need rows of a circle.
    has_needs: bool,
}

impl Candidates {
    /// The next of the list.
    pub(super) fn next(&self, list: &mut Pieces<'_>) -> Result<Option<Candidate>, TargetError> {
        let Some(bytes) = list.next()? else { return Ok(None) };
        let candidate = Candidate::read(bytes);
        candidate.map(Some).ok_or_else(|| {
            TargetError::new(ErrorKind::Bug, "a row in a temporary file can't be read")
        })
    }
}

/// Finds the rows that there may be of some rules; of each it is said whether it may need rows of a
/// circle. A source is read once for all of its rules.
pub(super) async fn candidates(
    plan: &MovePlan,
    rules: &[(usize, bool)],
    source: &mut dyn Source,
    decided: &Decided,
    room: &Room,
) -> Result<Vec<Candidates>, TargetError> {
    let mut all: Vec<Looking<'_>> = rules
        .iter()
        .map(|(number, in_circle)| Looking::of(plan, *number, *in_circle, room))
        .collect();
    let mut sources: Vec<usize> = all.iter().map(|one| one.rule.source).collect();
    sources.sort_unstable();
    sources.dedup();
    for from in sources {
        let mut some = Vec::new();
        let mut compiled = Vec::new();
        for one in all.iter_mut().filter(|one| one.rule.source == from) {
            if let Some((deciding, layout)) = &one.rule.deciding {
                compiled.push(Arc::clone(deciding));
                some.push((one, layout));
            }
        }
        each_applied(plan, from, compiled, source, |place, applied, keys, flawed| {
            let (one, layout) = &mut some[place];
            one.take(decided, layout, applied, (keys, flawed))
        })
        .await?;
    }
    for one in &mut all {
        one.made.settle()?;
    }
    let found = all.into_iter().map(|one| {
        let Looking { list, made, unread, has_needs, .. } = one;
        Candidates { list, made: Some(made), unread, has_needs }
    });
    Ok(found.collect())
}

/// One rule whose rows are looked for.
struct Looking<'a> {
    number: usize,
    rule: &'a PlannedRule,
    in_circle: bool,
    one_by_one: bool,
    /// Each row gets a number, which is stored.
    has_numbers: bool,
    list: Spool,
    made: KeySet,
    unread: HashSet<RowKey>,
    has_needs: bool,
}

impl<'a> Looking<'a> {
    fn of(plan: &'a MovePlan, number: usize, in_circle: bool, room: &Room) -> Self {
        let rule: &PlannedRule = &plan.rules[number];
        Self {
            number,
            rule,
            in_circle,
            has_numbers: rule
                .makes
                .is_some_and(|makes| plan.namespaces[makes].spec.kind == IdKind::Assigned),
            one_by_one: in_circle || is_one_by_one(plan, rule),
            list: Spool::new(room),
            made: KeySet::new(room),
            unread: HashSet::new(),
            has_needs: false,
        }
    }

    fn take(
        &mut self,
        decided: &Decided,
        layout: &Layout,
        applied: &Applied,
        (keys, flawed): (&KeyColumns, &HashSet<u32>),
    ) -> Result<(), TargetError> {
        let failed: HashSet<u32> = applied
            .failures
            .iter()
            .filter(|failure| failure.on_error == OnRowError::LeaveOut)
            .map(|failure| failure.row)
            .collect();
        // What can't be read tonight is there all the same: what refers to it must not change.
        for row in unread(applied, flawed) {
            let old = keys.key(row as usize);
            self.made.insert(&old)?;
            if layout.one_per.is_some() && self.unread.len() < UNREAD_MAX {
                self.unread.insert(old.clone());
            }
            if self.has_numbers {
                let candidate = Candidate { old, group: None, natural: None, needs: Vec::new() };
                self.list.push(&candidate.bytes())?;
            }
        }
        let groups = layout.one_per.map(|output| group_hashes(applied.rows.column(output)));
        let groups = groups.transpose()?;
        let naturals = naturals(applied, layout)?;
        let references = references(applied, layout)?;
        for (row, &of) in applied.of.values().iter().enumerate() {
            if failed.contains(&of) {
                continue;
            }
            let old = keys.key(of as usize);
            let mut needs = Vec::new();
            let mut is_there = true;
            for (reference, column, when) in &references {
                let counts = when.as_ref().is_none_or(|when| when.is_valid(row) && when.value(row));
                let key = column.key(row);
                let field = &self.rule.written.fields[reference.field];
                if !counts || key.0 == [Part::Null] {
                    is_there &= field.nullable;
                    continue;
                }
                let ids = &decided.ids[reference.namespace];
                match &ids.made {
                    Some(made) => {
                        let is_deleted = || decided.deleted[self.number].contains(&old);
                        is_there &= made.contains(&key)?
                            && !ids.is_absent(&decided.cipher, &key, is_deleted)?;
                    }
                    None if self.in_circle => needs.push((reference.namespace, key)),
                    None => {}
                }
            }
            if is_there {
                self.made.insert(&old)?;
            }
            if is_there && self.one_by_one {
                self.has_needs |= !needs.is_empty();
                let group = groups.as_ref().and_then(|groups| groups[row]);
                let natural = naturals.as_ref().map(|naturals| naturals.key(row));
                self.list.push(&Candidate { old, group, natural, needs }.bytes())?;
            }
        }
        Ok(())
    }
}

/// Rows that failed, and of which something could not be read; each once.
fn unread(applied: &Applied, flawed: &HashSet<u32>) -> HashSet<u32> {
    let failures = applied.failures.iter().filter(|one| one.on_error == OnRowError::Error);
    failures.map(|failure| failure.row).filter(|row| flawed.contains(row)).collect()
}

/// The natural keys of rows, where new rows are looked for by them.
fn naturals(applied: &Applied, layout: &Layout) -> Result<Option<KeyColumns>, TargetError> {
    if layout.natural.is_empty() {
        return Ok(None);
    }
    let columns: Vec<ArrayRef> =
        layout.natural.iter().map(|output| applied.rows.column(*output).clone()).collect();
    KeyColumns::of(&columns).map(Some)
}

type Referring<'a> =
    (&'a super::plan::PlannedReference, KeyColumns, Option<arrow::array::BooleanArray>);

fn references<'a>(
    applied: &Applied,
    layout: &'a Layout,
) -> Result<Vec<Referring<'a>>, TargetError> {
    layout
        .references
        .iter()
        .filter(|reference| reference.missing == dunlin_model::moves::Missing::LeaveOut)
        .map(|reference| {
            let column = KeyColumns::of(&[applied.rows.column(reference.of).clone()])?;
            let when = reference.when.map(|when| applied.rows.column(when).as_boolean().clone());
            Ok((reference, column, when))
        })
        .collect()
}

/// 128 bits for each value that rows merge by; NULL merges with nothing.
fn group_hashes(column: &ArrayRef) -> Result<Vec<Option<u128>>, TargetError> {
    let keys = KeyColumns::of(std::slice::from_ref(column))?;
    Ok((0..column.len())
        .map(|row| (!column.is_null(row)).then(|| key_hash(&keys.key(row))))
        .collect())
}

/// Takes away rows that need one that isn't there, until nothing changes: a child of a row that is
/// left out is left out.
pub(super) fn leave_out_orphans(
    plan: &MovePlan,
    circle: &[usize],
    all: &mut [Candidates],
    decided: &mut Decided,
    room: &Room,
) -> Result<(), TargetError> {
    if !all.iter().any(|found| found.has_needs) {
        return Ok(());
    }
    loop {
        let mut changed = false;
        for (found, &rule) in all.iter_mut().zip(circle) {
            let mut kept = Spool::new(room);
            let mut orphans = Spool::new(room);
            let mut has_orphans = false;
            let mut list = found.list.pieces();
            while let Some(candidate) = found.next(&mut list)? {
                if is_whole(&candidate, rule, decided)? {
                    kept.push(&candidate.bytes())?;
                } else {
                    orphans.push(&candidate.bytes())?;
                    has_orphans = true;
                }
            }
            if !has_orphans {
                continue;
            }
            changed = true;
            found.list = kept;
            let made = plan.rules[rule].makes.and_then(|makes| decided.ids[makes].made.as_mut());
            if let Some(made) = made {
                let mut orphans = orphans.pieces();
                while let Some(orphan) = found.next(&mut orphans)? {
                    made.remove(&orphan.old)?;
                }
                made.settle()?;
            }
        }
        if !changed {
            return Ok(());
        }
    }
}

/// Whether all that it needs is there.
fn is_whole(candidate: &Candidate, rule: usize, decided: &Decided) -> Result<bool, TargetError> {
    let is_deleted = || decided.deleted[rule].contains(&candidate.old);
    for (namespace, key) in &candidate.needs {
        let ids = &decided.ids[*namespace];
        if !ids.exists(key)? || ids.is_absent(&decided.cipher, key, is_deleted)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_go_there_and_back() {
        let key = |number: i64| RowKey(vec![Part::Number(number), Part::Null]);
        for group in [None, Some(7)] {
            for natural in [None, Some(key(3))] {
                for needs in [vec![], vec![(0, key(1)), (300, key(2))]] {
                    let candidate =
                        Candidate { old: key(-5), group, natural: natural.clone(), needs };
                    assert_eq!(Candidate::read(&candidate.bytes()), Some(candidate));
                }
            }
        }
    }
}
