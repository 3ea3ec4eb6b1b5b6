//! Rows that merge, and of which it can't be read this time with whom: they stay with those that they
//! were one with, so that no id moves.

use std::collections::{HashMap, HashSet};

use super::candidates::Candidates;
use super::key::RowKey;
use super::key_set::{key_hash, written_key_hash};
use super::leading::leaders_area;
use super::pack::each_entry;
use super::plan::{MovePlan, PlannedRule};
use super::session::Session;
use super::stored_lists::read_pairs;
use super::verify::each_stored;
use super::writer::pack_area;
use crate::TargetError;

/// Such rows of one rule.
#[derive(Default)]
pub(super) struct UnreadGroups {
    /// Who led each of them, as the store has it.
    leaders: HashMap<RowKey, RowKey>,
    /// Those that the rows of their groups were written of.
    written: HashSet<RowKey>,
    /// What those that can be read merge by, by the leader that they had.
    groups: HashMap<RowKey, u128>,
}

impl UnreadGroups {
    /// Finds them among the rows that there may be.
    pub(super) async fn find(
        plan: &MovePlan,
        rule: &PlannedRule,
        found: &Candidates,
        session: &mut Session<'_>,
    ) -> Result<Self, TargetError> {
        let mut all = Self::default();
        let Some(makes) = rule.makes.filter(|_| !found.unread.is_empty()) else { return Ok(all) };
        let area = leaders_area(&plan.namespaces[makes].spec.name);
        each_stored(session, &area, |stored| {
            let pairs = read_pairs(std::slice::from_ref(stored))?.into_iter();
            all.leaders.extend(pairs.filter(|(member, _)| found.unread.contains(member)));
            Ok(())
        })
        .await?;
        let of_leader: HashSet<RowKey> = all.leaders.values().cloned().collect();
        // Theirs too, of all others that they led.
        let mut led: HashMap<RowKey, RowKey> = HashMap::new();
        each_stored(session, &area, |stored| {
            let pairs = read_pairs(std::slice::from_ref(stored))?.into_iter();
            led.extend(pairs.filter(|(_, leader)| of_leader.contains(leader)));
            Ok(())
        })
        .await?;
        let mut list = found.list.pieces();
        while let Some(candidate) = found.next(&mut list)? {
            if let (Some(group), Some(leader)) = (candidate.group, led.get(&candidate.old)) {
                all.groups.entry(leader.clone()).or_insert(group);
            }
        }
        all.find_written(rule, session).await?;
        Ok(all)
    }

    async fn find_written(
        &mut self,
        rule: &PlannedRule,
        session: &mut Session<'_>,
    ) -> Result<(), TargetError> {
        let mut open: HashMap<u128, &RowKey> =
            self.leaders.keys().map(|old| (key_hash(old), old)).collect();
        let written = &mut self.written;
        each_stored(session, &pack_area(&rule.rule.name), |stored| {
            let mut buffer = Vec::new();
            each_entry(stored, |entry| {
                let old = open.remove(&written_key_hash(entry.old, &mut buffer));
                written.extend(old.cloned());
            })
        })
        .await
    }

    /// Each with its group. Where none of a group can be read, they are one by themselves.
    pub(super) fn members(&self) -> impl Iterator<Item = (u128, &RowKey)> {
        self.leaders.iter().map(|(old, leader)| {
            let group = self.groups.get(leader).copied();
            (group.unwrap_or_else(|| key_hash(leader)), old)
        })
    }

    /// Of a group's members those that are merged into another. A row that was written of one that
    /// can't be read stays as it is; any other is that of the first one that can be.
    pub(super) fn merged<'m>(&self, members: &'m [RowKey]) -> impl Iterator<Item = &'m RowKey> {
        let is_read = |member: &&RowKey| !self.leaders.contains_key(*member);
        let kept = members.iter().find(|member| self.written.contains(*member));
        let first = kept.or_else(|| members.iter().find(is_read));
        members.iter().filter(is_read).filter(move |member| Some(*member) != first)
    }
}
