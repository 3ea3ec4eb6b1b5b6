//! Sets of old keys: which rows there will be.

use std::collections::HashSet;

use roaring::RoaringTreemap;

use super::key::{KeyColumns, RowKey, plain_of_written};
use super::row_hash::hash;

/// A set of keys: numbers as a bitmap, others by 128 bits of their hash.
#[derive(Debug, Clone, Default)]
pub(super) struct KeySet {
    numbers: RoaringTreemap,
    others: HashSet<u128>,
}

impl KeySet {
    pub(super) fn insert(&mut self, key: &RowKey) -> bool {
        match key.number() {
            Some(number) => self.numbers.insert(place(number)),
            None => self.others.insert(key_hash(key)),
        }
    }

    pub(super) fn remove(&mut self, key: &RowKey) -> bool {
        match key.number() {
            Some(number) => self.numbers.remove(place(number)),
            None => self.others.remove(&key_hash(key)),
        }
    }

    pub(super) fn contains(&self, key: &RowKey) -> bool {
        match key.number() {
            Some(number) => self.numbers.contains(place(number)),
            None => self.others.contains(&key_hash(key)),
        }
    }

    /// The highest number; `None` where there is none, or keys are no numbers.
    pub(super) fn highest(&self) -> Option<i64> {
        self.numbers.max().map(|place| (place ^ (1 << 63)) as i64)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.others.is_empty()
    }
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
    use super::super::key::Part;
    use super::*;

    #[test]
    fn keys_of_all_kinds_are_found() {
        let mut set = KeySet::default();
        let keys = [
            RowKey(vec![Part::Number(-1)]),
            RowKey(vec![Part::Number(i64::MAX)]),
            RowKey(vec![Part::Bytes(b"a".as_slice().into())]),
            RowKey(vec![Part::Number(1), Part::Number(2)]),
        ];
        for key in &keys {
            assert!(set.insert(key) && !set.insert(key) && set.contains(key));
        }
        assert!(!set.contains(&RowKey(vec![Part::Number(2), Part::Number(1)])));
        assert!(set.remove(&keys[0]) && !set.contains(&keys[0]));
    }
}
