//! Sets of old keys, and what is known of each: which rows there will be.

use roaring::RoaringTreemap;

use super::key::{KeyColumns, Part, RowKey, plain_of_written};
use super::ordered::{append_ordered, read_ordered};
use super::row_hash::hash;
use super::spill::{Room, Runs, Spool};
use crate::{ErrorKind, TargetError};

/// From so many numbers on their memory is looked at.
const LOOK_FROM: u64 = 1 << 16;

/// What a bitmap takes beside its bits for each 2³² numbers that it has some of.
const BITMAP_BYTES: usize = 128;

/// A set of keys: numbers as a bitmap, while there is room for that; others by 128 bits of their
/// hash. What was added or removed counts after `settle`.
#[derive(Debug)]
pub(super) struct KeySet {
    numbers: RoaringTreemap,
    numbers_bytes: usize,
    look_at: u64,
    highest: Option<i64>,
    /// Numbers are by their hash as well: the bitmap took too much.
    all_by_hash: bool,
    others: Runs<u128>,
    removed: Runs<u128>,
    room: Room,
}

impl KeySet {
    pub(super) fn new(room: &Room) -> Self {
        Self {
            numbers: RoaringTreemap::new(),
            numbers_bytes: 0,
            look_at: LOOK_FROM,
            highest: None,
            all_by_hash: false,
            others: Runs::new(room),
            removed: Runs::new(room),
            room: room.clone(),
        }
    }

    /// Adds a key. One that was removed before stays away.
    pub(super) fn insert(&mut self, key: &RowKey) -> Result<(), TargetError> {
        if let Some(number) = key.number() {
            self.highest = self.highest.max(Some(number));
            if !self.all_by_hash {
                self.numbers.insert(place(number));
                return self.look();
            }
        }
        self.others.push(key_hash(key))
    }

    pub(super) fn remove(&mut self, key: &RowKey) -> Result<(), TargetError> {
        match key.number().filter(|_| !self.all_by_hash) {
            Some(number) => {
                self.numbers.remove(place(number));
                Ok(())
            }
            None => self.removed.push(key_hash(key)),
        }
    }

    /// From now on all that was added is found, and nothing that was removed.
    pub(super) fn settle(&mut self) -> Result<(), TargetError> {
        self.others.settle()?;
        self.removed.settle()
    }

    pub(super) fn contains(&self, key: &RowKey) -> Result<bool, TargetError> {
        match key.number().filter(|_| !self.all_by_hash) {
            Some(number) => Ok(self.numbers.contains(place(number))),
            None => {
                let hash = key_hash(key);
                Ok(self.others.find(hash)?.is_some() && self.removed.find(hash)?.is_none())
            }
        }
    }

    /// The highest number that was ever added; `None` where there is none, or keys are no numbers.
    pub(super) fn highest(&self) -> Option<i64> {
        self.highest
    }

    /// Nothing was ever added.
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.others.is_empty()
    }

    /// Numbers that lie far apart take much more as a bitmap than they are.
    fn look(&mut self) -> Result<(), TargetError> {
        if self.numbers.len() < self.look_at {
            return Ok(());
        }
        self.look_at = self.numbers.len() + self.numbers.len() / 4;
        let bitmaps =
            self.numbers.bitmaps().map(|(_, bitmap)| BITMAP_BYTES + 2 * bitmap.serialized_size());
        let bytes: usize = bitmaps.sum();
        self.room.give_back(self.numbers_bytes);
        self.numbers_bytes = bytes;
        self.room.take(bytes);
        if bytes < self.room.piece_bytes() || !self.room.lacks(0) {
            return Ok(());
        }
        self.all_by_hash = true;
        for place in std::mem::take(&mut self.numbers) {
            self.others.push(key_hash(&RowKey(vec![Part::Number((place ^ (1 << 63)) as i64)])))?;
        }
        self.room.give_back(std::mem::take(&mut self.numbers_bytes));
        Ok(())
    }
}

impl Drop for KeySet {
    fn drop(&mut self) {
        self.room.give_back(self.numbers_bytes);
    }
}

/// What belongs to each key. What was put in is found after `settle`; of several with one key, the
/// last.
#[derive(Debug)]
pub(super) struct KeyMap {
    places: Runs<(u128, u64)>,
    values: Spool,
}

impl KeyMap {
    pub(super) fn new(room: &Room) -> Self {
        Self { places: Runs::new(room), values: Spool::new(room) }
    }

    pub(super) fn put(&mut self, hash: u128, value: &RowKey) -> Result<(), TargetError> {
        let mut bytes = Vec::with_capacity(32);
        append_ordered(value, &mut bytes);
        let place = self.values.push(&bytes)?;
        self.places.push((hash, place))
    }

    pub(super) fn settle(&mut self) -> Result<(), TargetError> {
        self.places.settle()
    }

    pub(super) fn get(&self, hash: u128) -> Result<Option<RowKey>, TargetError> {
        let Some((_, place)) = self.places.find(hash)? else { return Ok(None) };
        decoded(&self.values.piece(place)?).map(Some)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// A key out of its ordered form in a file of ours.
pub(super) fn decoded(bytes: &[u8]) -> Result<RowKey, TargetError> {
    read_ordered(bytes)
        .ok_or_else(|| TargetError::new(ErrorKind::Bug, "a key in a temporary file can't be read"))
}

/// Numbers in their order without a sign.
fn place(number: i64) -> u64 {
    (number as u64) ^ (1 << 63)
}

/// 128 bits that stand for a key.
pub(super) fn key_hash(key: &RowKey) -> u128 {
    if let Some(number) = key.number() {
        // As below, without the heap: most keys are one number.
        let mut bytes = [1; 9];
        bytes[1..].copy_from_slice(&number.to_le_bytes());
        return hash(&bytes);
    }
    let mut bytes = Vec::with_capacity(32);
    key.write_plain(&mut bytes);
    hash(&bytes)
}

/// The same of a key in a column, without making one.
pub(super) fn column_key_hash(keys: &KeyColumns, row: usize, buffer: &mut Vec<u8>) -> u128 {
    buffer.clear();
    keys.write_plain(row, buffer);
    hash(buffer)
}

/// The same of a key as packs hold it.
pub(super) fn written_key_hash(written: &[u8], buffer: &mut Vec<u8>) -> u128 {
    buffer.clear();
    plain_of_written(written, buffer);
    hash(buffer)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn random_key(random: &mut fastrand::Rng) -> RowKey {
        RowKey(match random.u8(0..5) {
            0 => vec![Part::Number(random.i64(..))],
            1 => vec![Part::Number(random.i64(-20_000..20_000))],
            2 => vec![Part::Bytes(random.u16(..).to_string().into_bytes().into())],
            3 => vec![Part::Null],
            _ => vec![Part::Number(random.i64(0..99)), Part::Bytes([random.u8(..)].into())],
        })
    }

    /// As a hash set, whatever the memory: with all of it, with little, and with next to none.
    #[test]
    fn keys_of_all_kinds_are_found_whatever_the_memory() {
        for (seed, limit) in [1 << 30, 200_000, 0].into_iter().enumerate() {
            let room = Room::new(limit);
            let mut random = fastrand::Rng::with_seed(seed as u64);
            let mut set = KeySet::new(&room);
            set.look_at = 1_000;
            let mut known = HashSet::new();
            for _ in 0..20_000 {
                let key = random_key(&mut random);
                set.insert(&key).unwrap();
                known.insert(key);
            }
            set.settle().unwrap();
            let (gone, kept): (Vec<RowKey>, Vec<RowKey>) =
                known.iter().cloned().partition(|_| random.u8(0..10) == 0);
            gone.iter().for_each(|key| set.remove(key).unwrap());
            set.settle().unwrap();
            assert!(kept.iter().all(|key| set.contains(key).unwrap()));
            assert!(!gone.iter().any(|key| set.contains(key).unwrap()));
            for _ in 0..5_000 {
                let key = random_key(&mut random);
                let is_there = known.contains(&key) && !gone.contains(&key);
                assert_eq!(set.contains(&key).unwrap(), is_there);
            }
            assert_eq!(set.highest(), known.iter().filter_map(RowKey::number).max());
            assert_eq!(room.spilled_bytes() > 0, limit < 1 << 20);
        }
    }

    #[test]
    fn a_map_knows_the_last_of_each_key() {
        for limit in [0, 1 << 30] {
            let room = Room::new(limit);
            let mut map = KeyMap::new(&room);
            let key = |number: i64| RowKey(vec![Part::Number(number), Part::Null]);
            for number in 0..3_000 {
                map.put(key_hash(&key(number % 1_000)), &key(number)).unwrap();
            }
            map.settle().unwrap();
            for number in 0..1_000 {
                let found = map.get(key_hash(&key(number))).unwrap();
                assert_eq!(found, Some(key(number + 2_000)));
            }
            assert_eq!(map.get(key_hash(&key(-1))).unwrap(), None);
        }
    }
}
