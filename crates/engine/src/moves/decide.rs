//! The first phase: which rows there will be, and with which ids, before the first is written. With
//! that known, rows can be loaded in any order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use arrow::array::{Array, ArrayRef, AsArray};
use dunlin_model::moves::{Duplicates, IdKind, OnRowError};

use super::columns::{Columns, read_all};
use super::ids::IdCipher;
use super::key::{KeyColumns, Part, RowKey, read_varint, write_varint};
use super::key_set::{KeySet, key_hash};
use super::pack::Pack;
use super::plan::{Layout, MovePlan, PlannedRule};
use super::ports::{Applied, Compiled, Source, Stored};
use super::produce::{Decided, deciding_keys};
use super::session::Session;
use super::translate::Ids;
use super::writer::pack_area;
use crate::{ErrorKind, TargetError};

/// Entries of a stored list in one value.
const LIST_ROWS: usize = 4_096;

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
fn gets_numbers(plan: &MovePlan, rule: &PlannedRule) -> bool {
    rule.makes.is_some_and(|makes| plan.namespaces[makes].spec.kind == IdKind::Assigned)
}

fn refers_to_itself(plan: &MovePlan, rule: usize) -> bool {
    parents(plan, rule).contains(&rule)
}

/// An old row that may become a new one.
struct Candidate {
    old: RowKey,
    /// What it merges by.
    group: Option<u128>,
    /// What must be there for it to be: (namespace, old key). Only of rules in a circle.
    needs: Vec<(usize, RowKey)>,
}

/// Rows of a rule that there may be.
#[derive(Default)]
struct Candidates {
    /// One by one, where they merge, get numbers, or need each other.
    keys: Vec<Candidate>,
    /// All of them.
    made: KeySet,
}

async fn candidates(
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
fn leave_out_orphans(
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

/// Members of groups for which a row was written.
async fn written(
    session: &mut Session<'_>,
    rule: &str,
    groups: &[Vec<RowKey>],
) -> Result<HashSet<RowKey>, TargetError> {
    let grouped: HashSet<&RowKey> = groups.iter().flatten().collect();
    let mut found = HashSet::new();
    if grouped.is_empty() {
        return Ok(found);
    }
    let area = pack_area(rule);
    let mut from = i64::MIN;
    loop {
        let stored = session.stored(&area, from).await?;
        let Some(last) = stored.last() else { return Ok(found) };
        from = last.number + 1;
        for entry in &stored {
            let entries = Pack::read(entry)?.entries.into_iter();
            found.extend(entries.map(|entry| entry.old).filter(|old| grouped.contains(old)));
        }
    }
}

/// Whose id each member of a group has. A leader that was stored stays for as long as one of its rows
/// lives, also after its own deletion; nobody's id is given to two groups.
///
/// A group takes the id of a row that one of its members has in the target, if there is one that no
/// other group needs more: a new row could not come in beside an old one, where both have the same
/// unique value, and the old one could not go while others refer to it.
fn lead(
    groups: &[Vec<RowKey>],
    alive: &[RowKey],
    written: &HashSet<RowKey>,
    mut stored: BTreeMap<RowKey, RowKey>,
) -> (HashMap<RowKey, RowKey>, BTreeMap<RowKey, RowKey>) {
    if groups.is_empty() && stored.is_empty() {
        return (HashMap::new(), stored);
    }
    let grouped: HashSet<&RowKey> = groups.iter().flatten().collect();
    let singles: Vec<Vec<RowKey>> = alive
        .iter()
        .filter(|key| stored.contains_key(key) && !grouped.contains(key))
        .map(|key| vec![key.clone()])
        .collect();
    let mut leaders = HashMap::new();
    for (members, leader) in chosen(groups.iter().chain(&singles), written, &stored) {
        for member in members {
            if *member != leader {
                leaders.insert(member.clone(), leader.clone());
            }
        }
        if members.len() > 1 || members[0] != leader {
            for member in members {
                stored.insert(member.clone(), leader.clone());
            }
        } else {
            stored.remove(&members[0]);
        }
    }
    (leaders, stored)
}

/// A leader for each group, all different.
fn chosen<'g>(
    groups: impl Iterator<Item = &'g Vec<RowKey>>,
    written: &HashSet<RowKey>,
    stored: &BTreeMap<RowKey, RowKey>,
) -> Vec<(&'g Vec<RowKey>, RowKey)> {
    let before = |member: &RowKey| match stored.get(member) {
        Some(leader) => Some(leader.clone()),
        None => written.contains(member).then(|| member.clone()),
    };
    // Those with the fewest ids to choose from choose first, and the leaders themselves before others.
    let mut open: Vec<(usize, bool, &Vec<RowKey>, Vec<RowKey>)> = groups
        .map(|members| {
            let ids: BTreeSet<RowKey> = members.iter().filter_map(before).collect();
            let (own, others): (Vec<_>, Vec<_>) =
                ids.into_iter().partition(|leader| members.contains(leader));
            let has_none = own.is_empty();
            let ids = [own, others].concat();
            (ids.len(), has_none, members, ids)
        })
        .collect();
    open.sort();
    let mut unused: BTreeSet<RowKey> =
        open.iter().flat_map(|(_, _, members, _)| members.iter().cloned()).collect();
    let mut taken: HashSet<RowKey> = HashSet::new();
    let mut chosen = Vec::new();
    let mut without = Vec::new();
    for (_, _, members, ids) in open {
        match ids.into_iter().find(|leader| !taken.contains(leader)) {
            Some(leader) => {
                unused.remove(&leader);
                taken.insert(leader.clone());
                chosen.push((members, leader));
            }
            None => without.push(members),
        }
    }
    for members in without {
        // There are at least as many keys as groups, so that one is left, if not one of its own.
        let own = members.iter().find(|member| unused.contains(*member));
        let leader = own.or_else(|| unused.first()).unwrap_or(&members[0]).clone();
        unused.remove(&leader);
        chosen.push((members, leader));
    }
    chosen
}

/// Numbers of the target's own for old keys that have none yet.
async fn assign(
    plan: &MovePlan,
    number: usize,
    makes: usize,
    mut keys: Vec<RowKey>,
    session: &mut Session<'_>,
    decided: &mut Decided,
) -> Result<(), TargetError> {
    let area = format!("ids/{}", plan.namespaces[makes].spec.name);
    let stored = session.all_stored(&area).await?;
    let next = stored.last().map_or(0, |last| last.number + 1);
    let mut assigned: HashMap<u128, i64> = HashMap::new();
    for entry in &stored {
        for (old, id) in read_ids(entry)? {
            assigned.insert(key_hash(&old), id);
        }
    }
    keys.sort();
    keys.retain(|key| {
        decided.ids[makes].leader(key) == key && !assigned.contains_key(&key_hash(key))
    });
    let rule = &plan.rules[number];
    let column = rule.id_field.map(|place| rule.written.fields[place].name.clone());
    let column = column.unwrap_or_default();
    for (block_number, block) in (next..).zip(keys.chunks(LIST_ROWS)) {
        let ids = if session.dry_run {
            // Nobody sees them: numbers that no database gives out.
            (0..block.len() as i64)
                .map(|n| i64::MIN + block_number * LIST_ROWS as i64 + n)
                .collect()
        } else {
            allot(session, rule, &column, &area, block_number, block).await?
        };
        assigned.extend(block.iter().zip(ids).map(|(old, id)| (key_hash(old), id)));
    }
    decided.ids[makes].assigned = assigned;
    Ok(())
}

async fn allot(
    session: &mut Session<'_>,
    rule: &PlannedRule,
    column: &str,
    area: &str,
    number: i64,
    block: &[RowKey],
) -> Result<Vec<i64>, TargetError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let done = try_allot(session, rule, column, area, number, block).await;
        match done {
            Ok(ids) => return Ok(ids),
            Err(error) => session.failed(error, attempt).await?,
        }
    }
}

async fn try_allot(
    session: &mut Session<'_>,
    rule: &PlannedRule,
    column: &str,
    area: &str,
    number: i64,
    block: &[RowKey],
) -> Result<Vec<i64>, TargetError> {
    session.begin().await?;
    let count = u32::try_from(block.len()).unwrap_or(u32::MAX);
    let ids = session.target.take_numbers(&rule.written.table, column, count).await?;
    let mut value = vec![block.first().map_or(1, |key| key.0.len()) as u8];
    for (old, id) in block.iter().zip(&ids) {
        old.write(&mut value);
        value.extend_from_slice(&id.to_le_bytes());
    }
    let name = session.name.clone();
    let entry = Stored { area: area.to_owned(), number, value: Some(value) };
    session.target.put(&name, &[entry]).await?;
    session.commit().await?;
    Ok(ids)
}

/// Old keys and their numbers, out of the store.
pub(super) fn read_ids(stored: &Stored) -> Result<Vec<(RowKey, i64)>, TargetError> {
    let parse = || {
        let (&parts, mut from) = stored.value.as_deref()?.split_first()?;
        let mut all = Vec::new();
        while !from.is_empty() {
            let old = RowKey::read(&mut from, parts.into())?;
            let (id, rest) = from.split_first_chunk::<8>()?;
            from = rest;
            all.push((old, i64::from_le_bytes(*id)));
        }
        Some(all)
    };
    parse().ok_or_else(|| unreadable(stored))
}

pub(super) fn read_pairs(stored: &[Stored]) -> Result<BTreeMap<RowKey, RowKey>, TargetError> {
    let mut all = BTreeMap::new();
    for entry in stored {
        let mut parse = || {
            let mut from = entry.value.as_deref()?;
            let parts = usize::try_from(read_varint(&mut from)?).ok()?;
            while !from.is_empty() {
                let member = RowKey::read(&mut from, parts)?;
                all.insert(member, RowKey::read(&mut from, parts)?);
            }
            Some(())
        };
        parse().ok_or_else(|| unreadable(entry))?;
    }
    Ok(all)
}

fn write_pairs(area: &str, pairs: &BTreeMap<RowKey, RowKey>, before: usize) -> Vec<Stored> {
    let all: Vec<(&RowKey, &RowKey)> = pairs.iter().collect();
    let mut entries: Vec<Stored> = all
        .chunks(LIST_ROWS)
        .zip(0..)
        .map(|(block, number)| {
            let mut value = Vec::new();
            write_varint(&mut value, block.first().map_or(1, |(key, _)| key.0.len()) as u64);
            for (member, leader) in block {
                member.write(&mut value);
                leader.write(&mut value);
            }
            Stored { area: area.to_owned(), number, value: Some(value) }
        })
        .collect();
    let had = before.div_ceil(LIST_ROWS);
    for number in entries.len()..had {
        entries.push(Stored { area: area.to_owned(), number: number as i64, value: None });
    }
    entries
}

fn unreadable(stored: &Stored) -> TargetError {
    TargetError::new(
        ErrorKind::LedgerFormat,
        format!("entry {} of {} in the move's store can't be read", stored.number, stored.area),
    )
    .help("a newer version of Dunlin may have written it")
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
async fn each_batch(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: i64) -> RowKey {
        RowKey(vec![Part::Number(number)])
    }

    fn nobody() -> HashSet<RowKey> {
        HashSet::new()
    }

    fn keys(numbers: &[i64]) -> Vec<RowKey> {
        numbers.iter().map(|number| key(*number)).collect()
    }

    /// A merged row's id stays for as long as one of its old rows lives.
    #[test]
    fn leaders_stay() {
        let (leaders, stored) =
            lead(&[keys(&[1, 2])], &keys(&[1, 2, 3]), &nobody(), BTreeMap::new());
        assert_eq!(leaders, HashMap::from([(key(2), key(1))]));
        // The leader is deleted: the id stays.
        let (leaders, stored) = lead(&[], &keys(&[2, 3]), &nobody(), stored);
        assert_eq!(leaders, HashMap::from([(key(2), key(1))]));
        // A lower one joins: the id stays.
        let (leaders, stored) = lead(&[keys(&[0, 2])], &keys(&[0, 2, 3]), &nobody(), stored);
        assert_eq!(leaders, HashMap::from([(key(2), key(1)), (key(0), key(1))]));
        // The leader is back, alone: its id is its own, the others get one of theirs.
        let (leaders, _) = lead(&[keys(&[0, 2])], &keys(&[0, 1, 2]), &nobody(), stored);
        assert_eq!(leaders, HashMap::from([(key(2), key(0))]));
    }

    #[test]
    fn a_group_that_splits_has_one_old_id() {
        let (_, stored) = lead(&[keys(&[1, 2, 3])], &keys(&[1, 2, 3]), &nobody(), BTreeMap::new());
        let (leaders, _) = lead(&[], &keys(&[2, 3]), &nobody(), stored);
        assert_eq!(leaders, HashMap::from([(key(2), key(1))]), "3 has its own id");
    }

    /// 3 goes from 4, with which it was one, to 5 and 8, which are one: both rows stay. When it is on
    /// its own again, it gets an id that nobody has.
    #[test]
    fn who_goes_from_one_group_to_another_leaves_the_id_behind() {
        let stored = [(3, 3), (4, 3), (5, 5), (8, 5)].map(|(a, b)| (key(a), key(b)));
        let alive = keys(&[3, 4, 5, 8]);
        let written = HashSet::from([key(3), key(5)]);
        let (leaders, stored) = lead(&[keys(&[3, 5, 8])], &alive, &written, BTreeMap::from(stored));
        let both = [(4, 3), (3, 5), (8, 5)].map(|(a, b)| (key(a), key(b)));
        assert_eq!(leaders, HashMap::from(both.clone()));
        let (again, stored) = lead(&[keys(&[3, 5, 8])], &alive, &written, stored);
        assert_eq!(again, HashMap::from(both));
        let (leaders, _) = lead(&[keys(&[5, 8])], &alive, &written, stored);
        assert_eq!(leaders, HashMap::from([(4, 3), (3, 4), (8, 5)].map(|(a, b)| (key(a), key(b)))));
    }

    /// 2 was one with 1 and joins 3, which has a row, or with 4, whose leader 5 is gone.
    #[test]
    fn a_row_that_is_there_goes_before_one_that_is_not() {
        let stored = BTreeMap::from([(key(1), key(1)), (key(2), key(1))]);
        let written = HashSet::from([key(1), key(3)]);
        let (leaders, _) = lead(&[keys(&[2, 3])], &keys(&[1, 2, 3]), &written, stored);
        assert_eq!(leaders, HashMap::from([(key(2), key(3))]));

        let stored = BTreeMap::from([(key(2), key(5)), (key(4), key(5)), (key(5), key(5))]);
        let written = HashSet::from([key(2), key(3)]);
        let (leaders, _) = lead(&[keys(&[2, 3])], &keys(&[2, 3, 4]), &written, stored);
        assert_eq!(leaders, HashMap::from([(key(2), key(3)), (key(4), key(5))]));
    }

    #[test]
    fn pairs_go_there_and_back() {
        let pairs: BTreeMap<RowKey, RowKey> = (0..5_000).map(|n| (key(n), key(n / 2))).collect();
        let stored = write_pairs("leaders/x", &pairs, 9_000);
        assert_eq!(stored.len(), 3, "what is too much is deleted");
        assert_eq!(stored[2].value, None);
        assert_eq!(read_pairs(&stored[..2]).unwrap(), pairs);
    }
}
