//! The first phase: which rows there will be, and with which ids, before the first is written. With
//! that known, rows can be loaded in any order.

use std::collections::{BTreeSet, HashMap, HashSet};

use dunlin_model::moves::{Duplicates, IdKind};

use super::assign::assign;
use super::candidates::{Candidates, candidates, leave_out_orphans};
use super::columns::{Columns, read_all};
use super::ids::IdCipher;
use super::key::{KeyColumns, RowKey};
use super::key_set::{KeySet, key_hash};
use super::leaders::{lead, written};
use super::plan::{Layout, MovePlan, PlannedRule};
use super::ports::{Applied, Compiled, Source};
use super::produce::{Decided, deciding_keys};
use super::session::Session;
use super::stored_lists::{read_pairs, write_pairs};
use super::translate::Ids;
use crate::TargetError;

/// Decides.
pub(super) async fn decide(
    plan: &MovePlan,
    source: &mut dyn Source,
    session: &mut Session<'_>,
    cipher: IdCipher,
) -> Result<Decided, TargetError> {
    let mut decided = Decided {
        cipher,
        ids: plan
            .namespaces
            .iter()
            .map(|namespace| Ids {
                name: namespace.spec.name.clone(),
                kind: namespace.spec.kind,
                tag: namespace.tag,
                made: None,
                leaders: HashMap::new(),
                assigned: HashMap::new(),
            })
            .collect(),
        merged: vec![KeySet::default(); plan.rules.len()],
        winners: vec![HashMap::new(); plan.rules.len()],
    };
    for circle in in_order(plan) {
        let mut all = Vec::new();
        for &rule in &circle {
            all.push(
                candidates(
                    plan,
                    rule,
                    source,
                    &decided,
                    circle.len() > 1 || refers_to_itself(plan, rule),
                )
                .await?,
            );
        }
        for (found, &rule) in all.iter_mut().zip(&circle) {
            if let Some(makes) = plan.rules[rule].makes {
                decided.ids[makes].made = Some(std::mem::take(&mut found.made));
            }
        }
        leave_out_orphans(plan, &circle, &mut all, &mut decided);
        for (found, &rule) in all.into_iter().zip(&circle) {
            merge(plan, rule, found, session, &mut decided).await?;
        }
    }
    for rule in 0..plan.rules.len() {
        if plan.rules[rule].rule.duplicates == Duplicates::KeepTheFirst {
            decided.winners[rule] = winners(plan, rule, source, &decided).await?;
        }
    }
    Ok(decided)
}

/// Rules that must be looked at, those that others depend on first; rules that depend on each other
/// in a circle together.
fn in_order(plan: &MovePlan) -> Vec<Vec<usize>> {
    let decides = |rule: usize| {
        plan.rules[rule].deciding.is_some()
            && (plan.rules[rule].makes.is_some() || plan.rules[rule].rule.one_per.is_some())
    };
    let mut open: BTreeSet<usize> = (0..plan.rules.len()).filter(|rule| decides(*rule)).collect();
    let mut order = Vec::new();
    while !open.is_empty() {
        let ready = open.iter().copied().find(|&rule| {
            parents(plan, rule).into_iter().all(|parent| parent == rule || !open.contains(&parent))
        });
        let next = match ready {
            Some(rule) => vec![rule],
            // The smallest circle that waits for nobody else.
            None => open
                .iter()
                .map(|&rule| reachable(plan, rule, &open))
                .min_by_key(BTreeSet::len)
                .map(|circle| circle.into_iter().collect())
                .unwrap_or_default(),
        };
        next.iter().for_each(|rule| {
            open.remove(rule);
        });
        order.push(next);
    }
    order
}

/// Rules without whose rows those of this rule are left out.
fn parents(plan: &MovePlan, rule: usize) -> Vec<usize> {
    let Some((_, layout)) = &plan.rules[rule].deciding else { return Vec::new() };
    layout.references.iter().map(|reference| plan.namespaces[reference.namespace].maker).collect()
}

fn reachable(plan: &MovePlan, from: usize, open: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([from]);
    let mut todo = vec![from];
    while let Some(rule) = todo.pop() {
        for parent in parents(plan, rule) {
            if open.contains(&parent) && found.insert(parent) {
                todo.push(parent);
            }
        }
    }
    found
}

/// Its ids are numbers of the target's own.
pub(super) fn gets_numbers(plan: &MovePlan, rule: &PlannedRule) -> bool {
    rule.makes.is_some_and(|makes| plan.namespaces[makes].spec.kind == IdKind::Assigned)
}

fn refers_to_itself(plan: &MovePlan, rule: usize) -> bool {
    parents(plan, rule).contains(&rule)
}

/// Merges rows that share what they are one per, and allots numbers.
async fn merge(
    plan: &MovePlan,
    number: usize,
    found: Candidates,
    session: &mut Session<'_>,
    decided: &mut Decided,
) -> Result<(), TargetError> {
    let rule = &plan.rules[number];
    let mut keys: Vec<RowKey> = Vec::new();
    if rule.rule.one_per.is_some() {
        let mut groups: HashMap<u128, Vec<RowKey>> = HashMap::new();
        for candidate in found.keys {
            if let Some(group) = candidate.group {
                groups.entry(group).or_default().push(candidate.old.clone());
            }
            keys.push(candidate.old);
        }
        let groups = groups.into_values().filter(|members| members.len() > 1);
        let groups: Vec<Vec<RowKey>> = groups.map(sorted).collect();
        for members in &groups {
            members[1..].iter().for_each(|loser| {
                decided.merged[number].insert(loser);
            });
        }
        if let Some(makes) = rule.makes {
            let name = plan.namespaces[makes].spec.name.clone();
            let area = format!("leaders/{name}");
            let stored = read_pairs(&session.all_stored(&area).await?)?;
            let written = written(session, &rule.rule.name, &groups).await?;
            let (leaders, kept) = lead(&groups, &keys, &written, stored.clone());
            decided.ids[makes].leaders = leaders;
            if kept != stored {
                session.put(&write_pairs(&area, &kept, stored.len())).await?;
            }
        }
    } else {
        keys.extend(found.keys.into_iter().map(|candidate| candidate.old));
    }
    match rule.makes {
        Some(makes) if plan.namespaces[makes].spec.kind == IdKind::Assigned => {
            assign(plan, number, makes, keys, session, decided).await
        }
        _ => Ok(()),
    }
}

fn sorted(mut members: Vec<RowKey>) -> Vec<RowKey> {
    members.sort();
    members
}

/// Whose each key in the target is, where several old rows would have it: the lowest old key's.
async fn winners(
    plan: &MovePlan,
    number: usize,
    source: &mut dyn Source,
    decided: &Decided,
) -> Result<HashMap<u128, RowKey>, TargetError> {
    let rule = &plan.rules[number];
    let mut first: HashMap<u128, RowKey> = HashMap::new();
    let mut shared: HashSet<u128> = HashSet::new();
    each_batch(plan, rule, source, |applied, keys, layout| {
        let rows = deciding_keys(rule, layout, decided, number, applied, keys)?;
        for (old, new) in rows.into_iter().flatten() {
            let hash = key_hash(&new);
            match first.get_mut(&hash) {
                None => drop(first.insert(hash, old)),
                Some(known) if *known != old => {
                    shared.insert(hash);
                    if old < *known {
                        *known = old;
                    }
                }
                Some(_) => {}
            }
        }
        Ok(())
    })
    .await?;
    first.retain(|hash, _| shared.contains(hash));
    Ok(first)
}

/// Evaluates what decides about a rule's rows, batch by batch.
pub(super) async fn each_batch(
    plan: &MovePlan,
    rule: &PlannedRule,
    source: &mut dyn Source,
    mut each: impl FnMut(&Applied, &KeyColumns, &Layout) -> Result<(), TargetError>,
) -> Result<(), TargetError> {
    let Some((compiled, layout)) = &rule.deciding else { return Ok(()) };
    let compiled: &dyn Compiled = compiled.as_ref();
    let from = &plan.sources[rule.source];
    let columns = Columns::of(from, std::iter::once(compiled.used()));
    let extract = columns.extract(from, false);
    read_all(source, &extract, |batch| {
        let keys = columns.keys(&batch)?;
        let applied = compiled.apply(&columns.project(&batch, compiled.used())?)?;
        each(&applied, &keys, layout)
    })
    .await
}
