//! Old rows that may become new ones, and those that go with one that doesn't.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray};
use dunlin_model::moves::OnRowError;

use super::decide::{each_batch, gets_numbers};
use super::key::{KeyColumns, Part, RowKey};
use super::key_set::{KeySet, key_hash};
use super::plan::{Layout, MovePlan};
use super::ports::{Applied, Source};
use super::produce::Decided;
use crate::TargetError;

/// An old row that may become a new one.
pub(super) struct Candidate {
    pub(super) old: RowKey,
    /// What it merges by.
    pub(super) group: Option<u128>,
    /// What must be there for it to be: (namespace, old key). Only of rules in a circle.
    pub(super) needs: Vec<(usize, RowKey)>,
}

/// Rows of a rule that there may be.
#[derive(Default)]
pub(super) struct Candidates {
    /// One by one, where they merge, get numbers, or need each other.
    pub(super) keys: Vec<Candidate>,
    /// All of them.
    pub(super) made: KeySet,
}

pub(super) async fn candidates(
    plan: &MovePlan,
    number: usize,
    source: &mut dyn Source,
    decided: &Decided,
    in_circle: bool,
) -> Result<Candidates, TargetError> {
    let rule = &plan.rules[number];
    let mut found = Candidates::default();
    let one_by_one = in_circle || rule.rule.one_per.is_some() || gets_numbers(plan, rule);
    each_batch(plan, rule, source, |applied, keys, layout| {
        let failed: HashSet<u32> = applied
            .failures
            .iter()
            .filter(|failure| failure.on_error == OnRowError::LeaveOut)
            .map(|failure| failure.row)
            .collect();
        let groups = layout.one_per.map(|output| group_hashes(applied.rows.column(output)));
        let groups = groups.transpose()?;
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
                let field = &rule.written.fields[reference.field];
                if !counts || key.0 == [Part::Null] {
                    is_there &= field.nullable;
                    continue;
                }
                let ids = &decided.ids[reference.namespace];
                match &ids.made {
                    Some(made) => is_there &= made.contains(&key),
                    None if in_circle => needs.push((reference.namespace, key)),
                    None => {}
                }
            }
            if is_there {
                found.made.insert(&old);
            }
            if is_there && one_by_one {
                let group = groups.as_ref().and_then(|groups| groups[row]);
                found.keys.push(Candidate { old, group, needs });
            }
        }
        Ok(())
    })
    .await?;
    Ok(found)
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
) {
    loop {
        let mut changed = false;
        for (found, &rule) in all.iter_mut().zip(circle) {
            let mut orphans = Vec::new();
            found.keys.retain(|candidate| {
                let is_there = candidate.needs.iter().all(|(namespace, key)| {
                    decided.ids[*namespace].made.as_ref().is_none_or(|made| made.contains(key))
                });
                if !is_there {
                    orphans.push(candidate.old.clone());
                }
                is_there
            });
            changed |= !orphans.is_empty();
            if let Some(made) =
                plan.rules[rule].makes.and_then(|makes| decided.ids[makes].made.as_mut())
            {
                orphans.iter().for_each(|old| {
                    made.remove(old);
                });
            }
        }
        if !changed {
            return;
        }
    }
}
