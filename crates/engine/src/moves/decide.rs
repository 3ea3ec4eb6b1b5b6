//! The first phase: which rows there will be, and with which ids, before the first is written. With
//! that known, rows can be loaded in any order.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use dunlin_model::moves::{Duplicates, IdKind};
use tokio::sync::mpsc;

use super::absent::find_absent;
use super::ahead::Ahead;
use super::assign::assign;
use super::candidates::{Candidates, candidates, leave_out_orphans};
use super::columns::{Columns, QUEUE};
use super::expressions::{Applied, Compiled};
use super::ids::IdCipher;
use super::key::{KeyColumns, RowKey};
use super::key_set::{KeyMap, KeySet, decoded, key_hash};
use super::leading::Leading;
use super::matched_rule::match_rule;
use super::ordered::append_ordered;
use super::plan::{Layout, MovePlan, PlannedRule};
use super::ports::Source;
use super::produce::{Decided, deciding_keys};
use super::read_rows::ReadRows;
use super::referred::match_referred;
use super::session::Session;
use super::spill::{Room, Sorter};
use super::translate::Ids;
use super::unread_groups::UnreadGroups;
use crate::TargetError;

/// Decides. What it comes to is remembered within the room.
pub(super) async fn decide(
    plan: &MovePlan,
    source: &mut dyn Source,
    session: &mut Session<'_>,
    cipher: IdCipher,
    room: &Room,
) -> Result<Decided, TargetError> {
    let mut decided = Decided {
        room: room.clone(),
        cipher,
        ids: plan.namespaces.iter().map(|namespace| Ids::of(namespace, room)).collect(),
        merged: plan.rules.iter().map(|_| KeySet::new(room)).collect(),
        deleted: plan.rules.iter().map(|_| KeySet::new(room)).collect(),
        winners: plan.rules.iter().map(|_| KeyMap::new(room)).collect(),
    };
    find_absent(plan, session, &mut decided, room).await?;
    for namespace in 0..plan.namespaces.len() {
        if plan.namespaces[namespace].maker.is_none() {
            match_referred(plan, namespace, source, session, &mut decided, room).await?;
        }
    }
    for Step { rules, is_circle } in in_order(plan) {
        let needy = |&rule: &usize| (rule, is_circle || refers_to_itself(plan, rule));
        let needy: Vec<(usize, bool)> = rules.iter().map(needy).collect();
        let mut all = candidates(plan, &needy, source, &decided, room).await?;
        for (found, &rule) in all.iter_mut().zip(&rules) {
            if let Some(makes) = plan.rules[rule].makes {
                decided.ids[makes].made = found.made.take();
            }
        }
        leave_out_orphans(plan, &rules, &mut all, &mut decided, room)?;
        for (found, &rule) in all.into_iter().zip(&rules) {
            let of = Deciding { plan, number: rule, found: &found, room };
            merge(of, session, &mut decided).await?;
        }
    }
    for rule in 0..plan.rules.len() {
        if plan.rules[rule].rule.duplicates == Duplicates::KeepTheFirst {
            decided.winners[rule] = winners(plan, rule, source, &decided, room).await?;
        }
    }
    Ok(decided)
}

/// Rules that are looked at together.
struct Step {
    rules: Vec<usize>,
    /// They depend on each other. Otherwise they have one source, which is read once for all of them.
    is_circle: bool,
}

/// Rules that must be looked at, those that others depend on first; rules that depend on each other
/// in a circle together.
fn in_order(plan: &MovePlan) -> Vec<Step> {
    let decides = |rule: usize| {
        plan.rules[rule].deciding.is_some()
            && (plan.rules[rule].makes.is_some() || plan.rules[rule].rule.one_per.is_some())
    };
    let mut open: BTreeSet<usize> = (0..plan.rules.len()).filter(|rule| decides(*rule)).collect();
    let mut order = Vec::new();
    while !open.is_empty() {
        let is_ready = |&rule: &usize| {
            parents(plan, rule).into_iter().all(|parent| parent == rule || !open.contains(&parent))
        };
        let ready: Vec<usize> = open.iter().copied().filter(is_ready).collect();
        let is_circle = ready.is_empty();
        let rules: Vec<usize> = match ready.first() {
            Some(first) => {
                let source = plan.rules[*first].source;
                ready.into_iter().filter(|rule| plan.rules[*rule].source == source).collect()
            }
            // The smallest circle that waits for nobody else.
            None => open
                .iter()
                .map(|&rule| reachable(plan, rule, &open))
                .min_by_key(BTreeSet::len)
                .map(|circle| circle.into_iter().collect())
                .unwrap_or_default(),
        };
        rules.iter().for_each(|rule| {
            open.remove(rule);
        });
        order.push(Step { rules, is_circle });
    }
    order
}

/// Rules without whose rows those of this rule are left out.
fn parents(plan: &MovePlan, rule: usize) -> Vec<usize> {
    let Some((_, layout)) = &plan.rules[rule].deciding else { return Vec::new() };
    let maker = |namespace: usize| plan.namespaces[namespace].maker;
    layout.references.iter().filter_map(|reference| maker(reference.namespace)).collect()
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

/// Its rows must be looked at one by one: they merge, or their ids are stored.
pub(super) fn is_one_by_one(plan: &MovePlan, rule: &PlannedRule) -> bool {
    let is_stored = |makes: usize| {
        matches!(plan.namespaces[makes].spec.kind, IdKind::Assigned | IdKind::Matched)
    };
    rule.rule.one_per.is_some() || rule.makes.is_some_and(is_stored)
}

fn refers_to_itself(plan: &MovePlan, rule: usize) -> bool {
    parents(plan, rule).contains(&rule)
}

/// What a rule's rows have in common, sorted by it: the rows of each group, the lowest old key first.
struct Groups(Sorter);

impl Groups {
    fn push(&mut self, of: u128, old: &RowKey) -> Result<(), TargetError> {
        let mut bytes = of.to_be_bytes().to_vec();
        append_ordered(old, &mut bytes);
        self.0.push(&bytes)
    }

    /// Gives away each group with more than one row: what they share, and their old keys in order.
    fn each(
        self,
        mut group: impl FnMut(u128, Vec<RowKey>) -> Result<(), TargetError>,
    ) -> Result<(), TargetError> {
        let sorted = self.0.sorted()?;
        let mut pieces = sorted.pieces()?;
        let (mut of, mut members): (u128, Vec<RowKey>) = (0, Vec::new());
        loop {
            let piece = pieces.next()?;
            let next = piece.as_deref().and_then(|piece| piece.split_first_chunk::<16>());
            let hash = next.map(|(hash, _)| u128::from_be_bytes(*hash));
            if hash != Some(of) {
                let members = std::mem::take(&mut members);
                if members.len() > 1 {
                    group(of, members)?;
                }
            }
            let (Some(hash), Some((_, old))) = (hash, next) else { return Ok(()) };
            of = hash;
            let old = decoded(old)?;
            if members.last() != Some(&old) {
                members.push(old);
            }
        }
    }
}

/// A rule, and those of its old rows that may become rows.
#[derive(Clone, Copy)]
pub(super) struct Deciding<'a> {
    pub(super) plan: &'a MovePlan,
    /// Of the rule.
    pub(super) number: usize,
    pub(super) found: &'a Candidates,
    pub(super) room: &'a Room,
}

/// Merges rows that share what they are one per, and finds or allots the ids that are stored.
async fn merge(
    of: Deciding<'_>,
    session: &mut Session<'_>,
    decided: &mut Decided,
) -> Result<(), TargetError> {
    let Deciding { plan, number, .. } = of;
    let rule = &plan.rules[number];
    if rule.rule.one_per.is_some() {
        lead_groups(of, session, decided).await?;
    }
    let Some(makes) = rule.makes else { return Ok(()) };
    match plan.namespaces[makes].spec.kind {
        IdKind::Assigned => assign(of, makes, session, decided).await,
        IdKind::Matched => match_rule(of, makes, session, decided).await,
        IdKind::Keep | IdKind::Derived => Ok(()),
    }
}

async fn lead_groups(
    of: Deciding<'_>,
    session: &mut Session<'_>,
    decided: &mut Decided,
) -> Result<(), TargetError> {
    let Deciding { plan, number, found, room } = of;
    let rule = &plan.rules[number];
    let unread = UnreadGroups::find(plan, rule, found, session).await?;
    let mut by_group = Groups(Sorter::new(room));
    unread.members().try_for_each(|(group, old)| by_group.push(group, old))?;
    let mut list = found.list.pieces();
    while let Some(candidate) = found.next(&mut list)? {
        if let Some(group) = candidate.group {
            by_group.push(group, &candidate.old)?;
        }
    }
    let mut leading = rule.makes.map(|makes| {
        let namespace = &plan.namespaces[makes];
        (makes, Leading::new(&namespace.spec.name, room))
    });
    let merged = &mut decided.merged[number];
    by_group.each(|_, members| {
        unread.merged(&members).try_for_each(|loser| merged.insert(loser))?;
        leading.as_mut().map_or(Ok(()), |(_, leading)| leading.push(&members))
    })?;
    merged.settle()?;
    match leading {
        Some((makes, leading)) => {
            leading.lead(&rule.rule.name, &mut decided.ids[makes], session).await
        }
        None => Ok(()),
    }
}

/// Whose each key in the target is, where several old rows would have it: the lowest old key's.
async fn winners(
    plan: &MovePlan,
    number: usize,
    source: &mut dyn Source,
    decided: &Decided,
    room: &Room,
) -> Result<KeyMap, TargetError> {
    let rule = &plan.rules[number];
    let mut by_key = Groups(Sorter::new(room));
    each_batch(plan, rule, source, |applied, keys, _, layout| {
        let rows = deciding_keys(rule, layout, decided, number, applied, keys)?;
        rows.into_iter().flatten().try_for_each(|(old, new)| by_key.push(key_hash(&new), &old))
    })
    .await?;
    let mut winners = KeyMap::new(room);
    by_key.each(|hash, members| winners.put(hash, &members[0]))?;
    winners.settle()?;
    Ok(winners)
}

/// Evaluates what decides about a rule's rows, batch by batch. Given are also the places of rows of
/// which something that it uses could not be read.
pub(super) async fn each_batch(
    plan: &MovePlan,
    rule: &PlannedRule,
    source: &mut dyn Source,
    mut each: impl FnMut(&Applied, &KeyColumns, &HashSet<u32>, &Layout) -> Result<(), TargetError>,
) -> Result<(), TargetError> {
    let Some((compiled, layout)) = &rule.deciding else { return Ok(()) };
    let each = |_, applied: &Applied, keys: &KeyColumns, flawed: &HashSet<u32>| {
        each(applied, keys, flawed, layout)
    };
    each_applied(plan, rule.source, vec![Arc::clone(compiled)], source, each).await
}

/// Evaluates several rules' expressions over all rows of a source, batch by batch; each result with
/// its place among them.
pub(super) async fn each_applied(
    plan: &MovePlan,
    from: usize,
    compiled: Vec<Arc<dyn Compiled>>,
    source: &mut dyn Source,
    mut each: impl FnMut(usize, &Applied, &KeyColumns, &HashSet<u32>) -> Result<(), TargetError>,
) -> Result<(), TargetError> {
    let from = &plan.sources[from];
    let columns = Columns::of(from, compiled.iter().map(|compiled| compiled.used()));
    let extract = columns.extract(from, false);
    let work = move |read: ReadRows| {
        // Rows whose key can't be read are told of when they are to be moved.
        let (read, keys, _) = columns.keyed(read)?;
        let applied = compiled.iter().map(|compiled| {
            let given = columns.project(&read, compiled.used())?;
            Ok((compiled.apply(&given)?, given.flawed()))
        });
        Ok((applied.collect::<Result<Vec<_>, TargetError>>()?, keys))
    };
    let (batches, received) = mpsc::channel(QUEUE);
    let reading = async move {
        let read = source.read(&extract, &batches).await;
        drop(batches);
        read
    };
    // It owns the queue's end: where it fails, the reader finds nobody there and ends.
    let taking = async move {
        let mut ahead = Ahead::new(received, work);
        while let Some((applied, keys)) = ahead.next().await? {
            for (place, (applied, flawed)) in applied.iter().enumerate() {
                each(place, applied, &keys, flawed)?;
            }
        }
        Ok::<(), TargetError>(())
    };
    let (read, taken) = tokio::join!(reading, taking);
    taken.and(read)
}
