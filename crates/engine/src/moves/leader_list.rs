//! The store's list of who leads whom: what changes in it, and its values.

use super::key::{RowKey, write_varint};
use super::ordered::{append_ordered, read_ordered, read_ordered_parts};
use super::spill::Sorter;
use super::stored_lists::LIST_ROWS;
use crate::{ErrorKind, TargetError};

/// Before a leader among a member's changes: it is what stands in the store, it is new, or there is
/// none any more. The last of a member counts.
pub(super) const STANDS: u8 = 0;
pub(super) const IS_NEW: u8 = 1;
pub(super) const IS_GONE: u8 = 2;

/// Adds one to the changes; sorted, they are by member.
pub(super) fn push_change(
    to: &mut Sorter,
    member: &RowKey,
    how: u8,
    leader: Option<&RowKey>,
) -> Result<(), TargetError> {
    let mut bytes = Vec::with_capacity(32);
    append_ordered(member, &mut bytes);
    bytes.push(how);
    if let Some(leader) = leader {
        append_ordered(leader, &mut bytes);
    }
    to.push(&bytes)
}

/// Makes values of the store out of sorted changes.
pub(super) struct Pairs {
    parts: usize,
    /// The last member, whose leader a later change may replace.
    open: Option<(RowKey, Option<RowKey>)>,
    value: Vec<u8>,
    rows: usize,
}

impl Pairs {
    pub(super) fn new(parts: usize) -> Self {
        Self { parts, open: None, value: Vec::new(), rows: 0 }
    }

    /// The next change; a value, where one is full.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Option<Vec<u8>>, TargetError> {
        let read = || {
            let mut from = piece;
            let member = read_ordered_parts(&mut from, self.parts)?;
            let (&how, leader) = from.split_first()?;
            let leader = if how == IS_GONE { None } else { Some(read_ordered(leader)?) };
            Some((member, leader))
        };
        let next =
            read().ok_or_else(|| TargetError::new(ErrorKind::Bug, "a leader can't be read"))?;
        let full = match &self.open {
            Some((member, _)) if *member == next.0 => None,
            _ => self.close(),
        };
        self.open = Some(next);
        Ok(full)
    }

    fn close(&mut self) -> Option<Vec<u8>> {
        if let Some((member, Some(leader))) = self.open.take() {
            if self.rows == 0 {
                write_varint(&mut self.value, self.parts as u64);
            }
            member.write(&mut self.value);
            leader.write(&mut self.value);
            self.rows += 1;
        }
        (self.rows == LIST_ROWS).then(|| {
            self.rows = 0;
            std::mem::take(&mut self.value)
        })
    }

    /// What is left of it.
    pub(super) fn end(mut self) -> Option<Vec<u8>> {
        let full = self.close();
        full.or_else(|| (self.rows > 0).then_some(self.value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::key::Part;
    use super::super::ports::Stored;
    use super::super::spill::Room;
    use super::super::stored_lists::read_pairs;
    use super::*;

    fn key(number: i64) -> RowKey {
        RowKey(vec![Part::Number(number)])
    }

    /// What is in the store after these changes.
    fn stored_after(
        mut changes: Sorter,
        stored: &BTreeMap<RowKey, RowKey>,
    ) -> Vec<(RowKey, RowKey)> {
        for (member, leader) in stored {
            push_change(&mut changes, member, STANDS, Some(leader)).unwrap();
        }
        let sorted = changes.sorted().unwrap();
        let (mut pieces, mut pairs) = (sorted.pieces().unwrap(), Pairs::new(1));
        let mut values = Vec::new();
        while let Some(piece) = pieces.next().unwrap() {
            values.extend(pairs.push(&piece).unwrap());
        }
        values.extend(pairs.end());
        let stored = |value| Stored { area: String::new(), number: 0, value: Some(value) };
        values.into_iter().flat_map(|value| read_pairs(&[stored(value)]).unwrap()).collect()
    }

    #[test]
    fn pairs_go_there_and_back() {
        let pairs: BTreeMap<RowKey, RowKey> = (0..9_000).map(|n| (key(n), key(n / 2))).collect();
        let mut after = stored_after(Sorter::new(&Room::new(0)), &pairs);
        assert!(after.iter().map(|(member, leader)| (member, leader)).eq(&pairs));

        let mut changes = Sorter::new(&Room::new(0));
        push_change(&mut changes, &key(7), IS_GONE, None).unwrap();
        push_change(&mut changes, &key(8), IS_NEW, Some(&key(1))).unwrap();
        push_change(&mut changes, &key(-1), IS_NEW, Some(&key(0))).unwrap();
        after = stored_after(changes, &pairs);
        assert_eq!((after.len(), &after[0]), (9_000, &(key(-1), key(0))));
        assert_eq!(after[7..9], [(key(6), key(3)), (key(8), key(1))]);
    }
}
