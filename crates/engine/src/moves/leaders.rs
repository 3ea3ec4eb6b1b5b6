//! Rows that merge: whose id each has.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::key::RowKey;

/// Whose id each member of a group has. A leader that was stored stays for as long as one of its rows
/// lives, also after its own deletion; nobody's id is given to two groups.
///
/// A group takes the id of a row that one of its members has in the target, if there is one that no
/// other group needs more: a new row could not come in beside an old one, where both have the same
/// unique value, and the old one could not go while others refer to it.
pub(super) fn lead(
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

#[cfg(test)]
mod tests {
    use super::super::key::Part;
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
}
