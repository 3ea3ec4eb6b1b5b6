//! Whose id each row of a merge has, group by group: nothing here grows with their number in memory.
//!
//! A group whose ids nobody else could want is decided by itself; what is left, groups that split, join
//! and come back, is decided together (`leaders.rs`), in memory.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::key::{RowKey, read_varint, write_varint};
use super::key_set::{KeyMap, KeySet, key_hash};
use super::leader_list::{IS_GONE, IS_NEW, Pairs, STANDS, push_change};
use super::leaders::lead;
use super::pack::Pack;
use super::session::Session;
use super::spill::{Room, Runs, Sorter, Spool};
use super::stored_lists::read_pairs;
use super::translate::Ids;
use super::values::Values;
use super::writer::pack_area;
use crate::{ErrorKind, TargetError};

/// Where the store has who leads whom in a namespace.
pub(super) fn leaders_area(namespace: &str) -> String {
    format!("leaders/{namespace}")
}

/// Groups of rows that merge, and who leads them.
pub(super) struct Leading {
    room: Room,
    area: String,
    /// A group each, and later rows that are on their own and were not before.
    groups: Spool,
    grouped: KeySet,
    /// Who led whom, by the member's hash.
    before: KeyMap,
    /// Who led somebody.
    led: KeySet,
    /// How many living rows each of those led, by its hash.
    followers: Runs<(u128, u64)>,
    /// Members for which a row was written.
    written: KeySet,
    /// What changes in the store.
    changes: Sorter,
    changed: bool,
    parts: usize,
}

impl Leading {
    pub(super) fn new(namespace: &str, room: &Room) -> Self {
        Self {
            room: room.clone(),
            area: leaders_area(namespace),
            groups: Spool::new(room),
            grouped: KeySet::new(room),
            before: KeyMap::new(room),
            led: KeySet::new(room),
            followers: Runs::new(room),
            written: KeySet::new(room),
            changes: Sorter::new(room),
            changed: false,
            parts: 1,
        }
    }

    /// A group: its members in order.
    pub(super) fn push(&mut self, members: &[RowKey]) -> Result<(), TargetError> {
        members.iter().try_for_each(|member| self.grouped.insert(member))?;
        self.group(members)
    }

    fn group(&mut self, members: &[RowKey]) -> Result<(), TargetError> {
        self.parts = members.first().map_or(self.parts, |key| key.0.len());
        let mut bytes = Vec::with_capacity(32);
        write_varint(&mut bytes, self.parts as u64);
        members.iter().for_each(|member| member.write(&mut bytes));
        self.groups.push(&bytes).map(|_| ())
    }

    /// Decides, and has it in `ids` and in the store.
    pub(super) async fn lead(
        mut self,
        rule: &str,
        ids: &mut Ids,
        session: &mut Session<'_>,
    ) -> Result<(), TargetError> {
        self.grouped.settle()?;
        self.read_leaders(ids, session).await?;
        self.read_written(rule, session).await?;
        self.decide(ids)?;
        ids.leaders.settle()?;
        ids.leading.settle()?;
        if self.changed && !session.dry_run { self.store(session).await } else { Ok(()) }
    }

    /// Who led whom, as the store has it.
    async fn read_leaders(
        &mut self,
        ids: &Ids,
        session: &mut Session<'_>,
    ) -> Result<(), TargetError> {
        let mut leaders = Sorter::new(&self.room);
        let mut from = i64::MIN;
        loop {
            let stored = session.stored(&self.area, from).await?;
            let Some(last) = stored.last() else { break };
            from = last.number + 1;
            for entry in &stored {
                for (member, leader) in read_pairs(std::slice::from_ref(entry))? {
                    self.pair(ids, &member, &leader, &mut leaders)?;
                }
            }
        }
        self.settle(leaders)
    }

    /// One of them.
    fn pair(
        &mut self,
        ids: &Ids,
        member: &RowKey,
        leader: &RowKey,
        leaders: &mut Sorter,
    ) -> Result<(), TargetError> {
        self.before.put(key_hash(member), leader)?;
        self.led.insert(leader)?;
        if ids.exists(member)? {
            leaders.push(&key_hash(leader).to_be_bytes())?;
            if !self.grouped.contains(member)? {
                self.group(std::slice::from_ref(member))?;
            }
        }
        Ok(())
    }

    fn settle(&mut self, leaders: Sorter) -> Result<(), TargetError> {
        self.before.settle()?;
        self.led.settle()?;
        let sorted = leaders.sorted()?;
        let mut pieces = sorted.pieces()?;
        let (mut of, mut count) = (0, 0);
        loop {
            let piece = pieces.next()?;
            let next = piece.as_deref().and_then(|piece| piece.first_chunk::<16>());
            let hash = next.map(|hash| u128::from_be_bytes(*hash));
            if hash != Some(of) && count > 0 {
                self.followers.push((of, count))?;
                count = 0;
            }
            let Some(hash) = hash else { return self.followers.settle() };
            of = hash;
            count += 1;
        }
    }

    /// Members of groups for which a row was written.
    async fn read_written(
        &mut self,
        rule: &str,
        session: &mut Session<'_>,
    ) -> Result<(), TargetError> {
        let area = pack_area(rule);
        let mut from = i64::MIN;
        while !self.grouped.is_empty() {
            let stored = session.stored(&area, from).await?;
            let Some(last) = stored.last() else { break };
            from = last.number + 1;
            for entry in &stored {
                for entry in Pack::read(entry)?.entries {
                    if self.grouped.contains(&entry.old)? {
                        self.written.insert(&entry.old)?;
                    }
                }
            }
        }
        self.written.settle()
    }

    fn decide(&mut self, ids: &mut Ids) -> Result<(), TargetError> {
        let groups = std::mem::replace(&mut self.groups, Spool::new(&self.room));
        let mut pieces = groups.pieces();
        let mut together = Vec::new();
        while let Some(piece) = pieces.next()? {
            let members = read_group(piece)
                .ok_or_else(|| TargetError::new(ErrorKind::Bug, "a group can't be read"))?;
            match self.leader(&members, ids)? {
                Some(leader) => self.led_by(&members, &leader, ids)?,
                None => together.push(members),
            }
        }
        self.decide_together(&together, ids)
    }

    /// Its leader, where nobody else could want that id. The same as `leaders.rs` comes to.
    fn leader(&self, members: &[RowKey], ids: &Ids) -> Result<Option<RowKey>, TargetError> {
        let mut wanted: BTreeSet<RowKey> = BTreeSet::new();
        let mut followers = 0_u64;
        let mut is_led = false;
        for member in members {
            if let Some(leader) = self.before.get(key_hash(member))? {
                followers += 1;
                wanted.insert(leader);
            } else if self.written.contains(member)? {
                wanted.insert(member.clone());
            }
            is_led |= self.led.contains(member)?;
        }
        if followers == 0 && !is_led {
            return Ok(Some(wanted.pop_first().unwrap_or_else(|| members[0].clone())));
        }
        let Some(leader) = wanted.pop_first().filter(|_| wanted.is_empty()) else {
            return Ok(None);
        };
        let all = self.followers.find(key_hash(&leader))?.map_or(0, |(_, count)| count);
        let is_theirs = members.contains(&leader) || !ids.exists(&leader)?;
        Ok((followers == all && is_theirs).then_some(leader))
    }

    fn led_by(
        &mut self,
        members: &[RowKey],
        leader: &RowKey,
        ids: &mut Ids,
    ) -> Result<(), TargetError> {
        for member in members {
            if member != leader {
                ids.leaders.put(key_hash(member), leader)?;
                ids.leading.insert(leader)?;
            }
            let now = (members.len() > 1 || member != leader).then_some(leader);
            self.change(member, now)?;
        }
        Ok(())
    }

    /// The rest, in memory.
    fn decide_together(
        &mut self,
        together: &[Vec<RowKey>],
        ids: &mut Ids,
    ) -> Result<(), TargetError> {
        let mut stored = BTreeMap::new();
        let mut written = HashSet::new();
        for member in together.iter().flatten() {
            if let Some(leader) = self.before.get(key_hash(member))? {
                stored.insert(member.clone(), leader);
            }
            if self.written.contains(member)? {
                written.insert(member.clone());
            }
        }
        let (alone, groups): (Vec<_>, Vec<_>) =
            together.iter().cloned().partition(|members| members.len() == 1);
        let mut alone: Vec<RowKey> = alone.into_iter().flatten().collect();
        // A leader that is on its own, and that no list says of that it has its own id.
        let leaders: BTreeSet<RowKey> = stored.values().cloned().collect();
        for leader in leaders {
            // One that a list knows has been decided with its own group, here or by itself.
            let is_listed =
                self.before.get(key_hash(&leader))?.is_some() || self.grouped.contains(&leader)?;
            if !is_listed && ids.exists(&leader)? {
                stored.insert(leader.clone(), leader.clone());
                alone.push(leader);
            }
        }
        let (leaders, now) = lead(&groups, &alone, &written, stored);
        for (member, leader) in &leaders {
            ids.leaders.put(key_hash(member), leader)?;
            ids.leading.insert(leader)?;
        }
        together.iter().flatten().try_for_each(|member| self.change(member, now.get(member)))
    }

    fn change(&mut self, member: &RowKey, leader: Option<&RowKey>) -> Result<(), TargetError> {
        let before = self.before.get(key_hash(member))?;
        if before.as_ref() == leader {
            return Ok(());
        }
        self.changed = true;
        let how = if leader.is_some() { IS_NEW } else { IS_GONE };
        push_change(&mut self.changes, member, how, leader)
    }

    /// Writes who leads whom, all of it in one transaction: its values are not such by themselves.
    async fn store(mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        let mut from = i64::MIN;
        loop {
            let stored = session.stored(&self.area, from).await?;
            let Some(last) = stored.last() else { break };
            from = last.number + 1;
            for entry in &stored {
                for (member, leader) in read_pairs(std::slice::from_ref(entry))? {
                    push_change(&mut self.changes, &member, STANDS, Some(&leader))?;
                }
            }
        }
        let sorted = self.changes.sorted()?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let done = async {
                session.begin().await?;
                session.within = true;
                let mut values = Values::new(&self.area);
                let mut pieces = sorted.pieces()?;
                let mut pairs = Pairs::new(self.parts);
                while let Some(piece) = pieces.next()? {
                    if let Some(value) = pairs.push(&piece)? {
                        values.push(session, value).await?;
                    }
                }
                if let Some(value) = pairs.end() {
                    values.push(session, value).await?;
                }
                values.end(session).await
            }
            .await;
            session.within = false;
            let done = match done {
                Ok(()) => session.commit().await,
                failed => failed,
            };
            match done {
                Ok(()) => return Ok(()),
                Err(error) => session.failed(error, attempt).await?,
            }
        }
    }
}

fn read_group(mut from: &[u8]) -> Option<Vec<RowKey>> {
    let parts = usize::try_from(read_varint(&mut from)?).ok()?;
    let mut members = Vec::with_capacity(2);
    while !from.is_empty() {
        members.push(RowKey::read(&mut from, parts)?);
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use dunlin_model::moves::IdKind;

    use super::super::absent::Absent;
    use super::super::ids::Tag;
    use super::super::key::Part;
    use super::super::matching::Matched;
    use super::*;

    fn key(number: i64) -> RowKey {
        RowKey(vec![Part::Number(number)])
    }

    fn ids(alive: &[RowKey], room: &Room) -> Ids {
        let mut made = KeySet::new(room);
        alive.iter().for_each(|key| made.insert(key).unwrap());
        made.settle().unwrap();
        Ids {
            name: "x".to_owned(),
            kind: IdKind::Derived,
            tag: Tag::of("x"),
            made: Some(made),
            leaders: KeyMap::new(room),
            leading: KeySet::new(room),
            assigned: Runs::new(room),
            matched: Matched::new(room),
            own: None,
            absent: Absent::new(room),
        }
    }

    /// What is in the store after this.
    fn stored_after(leading: Leading, stored: &BTreeMap<RowKey, RowKey>) -> Vec<(RowKey, RowKey)> {
        let Leading { mut changes, parts, .. } = leading;
        for (member, leader) in stored {
            push_change(&mut changes, member, STANDS, Some(leader)).unwrap();
        }
        let sorted = changes.sorted().unwrap();
        let (mut pieces, mut pairs) = (sorted.pieces().unwrap(), Pairs::new(parts));
        let mut values = Vec::new();
        while let Some(piece) = pieces.next().unwrap() {
            values.extend(pairs.push(&piece).unwrap());
        }
        values.extend(pairs.end());
        let stored = |value| super::super::ports::Stored {
            area: String::new(),
            number: 0,
            value: Some(value),
        };
        values.into_iter().flat_map(|value| read_pairs(&[stored(value)]).unwrap()).collect()
    }

    /// One night: who is there, in which groups, with whose rows written, and what stands in the store.
    struct Night {
        alive: Vec<RowKey>,
        groups: Vec<Vec<RowKey>>,
        written: HashSet<RowKey>,
        stored: BTreeMap<RowKey, RowKey>,
    }

    impl Night {
        fn after(random: &mut fastrand::Rng, stored: BTreeMap<RowKey, RowKey>) -> Self {
            let people = random.i64(3..9);
            let alive: Vec<RowKey> = (0..people).filter(|_| random.u8(0..5) > 0).map(key).collect();
            let mut groups: Vec<Vec<RowKey>> = vec![Vec::new(); 3];
            for member in &alive {
                if random.bool() {
                    groups[random.usize(0..3)].push(member.clone());
                }
            }
            groups.retain(|members| members.len() > 1);
            let written = (0..people).filter(|_| random.bool()).map(key).collect();
            Self { alive, groups, written, stored }
        }

        /// Group by group.
        fn led(&self, room: &Room) -> (HashMap<RowKey, RowKey>, BTreeMap<RowKey, RowKey>) {
            let mut ids = ids(&self.alive, room);
            let mut leading = Leading::new("x", room);
            self.groups.iter().for_each(|members| leading.push(members).unwrap());
            leading.grouped.settle().unwrap();
            let mut leaders = Sorter::new(room);
            for (member, leader) in &self.stored {
                leading.pair(&ids, member, leader, &mut leaders).unwrap();
            }
            leading.settle(leaders).unwrap();
            for member in self.groups.iter().flatten().filter(|old| self.written.contains(old)) {
                leading.written.insert(member).unwrap();
            }
            leading.written.settle().unwrap();
            leading.decide(&mut ids).unwrap();
            ids.leaders.settle().unwrap();
            let led = |member: &RowKey| {
                let leader = ids.leaders.get(key_hash(member)).unwrap();
                leader.map(|leader| (member.clone(), leader))
            };
            let leaders = self.alive.iter().filter_map(led).collect();
            (leaders, stored_after(leading, &self.stored).into_iter().collect())
        }
    }

    /// 5 goes on with the id of 2, which is gone, and 30 with that of 5: each is on its own, and decided
    /// on its own, and the id of neither is another's.
    #[test]
    fn a_leader_that_is_led_itself_keeps_no_id_back() {
        let stored = [(2, 2), (5, 2), (30, 5)].map(|(member, leader)| (key(member), key(leader)));
        let night = Night {
            groups: Vec::new(),
            alive: vec![key(5), key(30)],
            written: HashSet::new(),
            stored: BTreeMap::from(stored),
        };
        let (leaders, _) = night.led(&Room::new(1 << 20));
        assert_eq!(leaders, HashMap::from([(key(5), key(2)), (key(30), key(5))]));
    }

    /// Night after night, whatever groups split, join, go and come back: no id is given to two groups,
    /// and where nobody wants the id of another, it is as if all had been decided together.
    #[test]
    fn it_is_as_if_all_were_decided_together() {
        let mut random = fastrand::Rng::with_seed(11);
        let (mut same, mut all) = (0, 0);
        for limit in [0, 1 << 30] {
            for _ in 0..400 {
                let mut last = BTreeMap::new();
                for _ in 0..6 {
                    let night = Night::after(&mut random, last);
                    let (leaders, now) = night.led(&Room::new(limit));
                    let grouped: HashSet<&RowKey> = night.groups.iter().flatten().collect();
                    let alone = night.alive.iter().filter(|key| !grouped.contains(key));
                    let of = |key: &RowKey| leaders.get(key).unwrap_or(key).clone();
                    let mut given: Vec<RowKey> = alone.map(of).collect();
                    for members in &night.groups {
                        assert!(members.iter().all(|member| of(member) == of(&members[0])));
                        given.push(of(&members[0]));
                    }
                    let count = given.len();
                    assert_eq!(given.into_iter().collect::<HashSet<_>>().len(), count);
                    let mut stored = night.stored.clone();
                    for leader in night.stored.values() {
                        if night.alive.contains(leader) && !grouped.contains(leader) {
                            stored.entry(leader.clone()).or_insert(leader.clone());
                        }
                    }
                    let (together, kept) =
                        lead(&night.groups, &night.alive, &night.written, stored);
                    all += 1;
                    same += usize::from(together == leaders && kept == now);
                    last = now;
                }
            }
        }
        // Where several ids would do, another one may be chosen.
        assert!(all - same <= all / 1_000, "{same} of {all}");
    }
}
