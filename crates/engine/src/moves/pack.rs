//! What a move remembers of the rows that it wrote: packs of about a thousand rows each.
//!
//! A pack covers a range of old keys of one rule, from the end of the pack before to its own end, and
//! holds for each row that was written: its old key, its new key, the hash of what was written, and
//! the run that wrote it. The last pack of a rule is open to the end.

use super::key::{RowKey, read_varint, write_varint};
use super::ports::Stored;
use super::row_hash::RowHash;
use crate::{ErrorKind, TargetError};

/// Rows of a full pack: large enough that the key's and the row's own overhead in the ledger
/// vanishes, small enough that a changed row does not write much.
pub(super) const PACK_ROWS: usize = 1_000;

/// Packs are numbered with gaps, so that one that grew can be split.
pub(super) const GAP: i64 = 1 << 20;

const FORMAT: u8 = 1;

/// A row that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its old key.
    pub(super) old: RowKey,
    /// Its key in the target.
    pub(super) new: RowKey,
    /// The hash of what was written so far.
    pub(super) hash: RowHash,
    /// The run that wrote it.
    pub(super) run: u32,
}

/// A pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pack {
    /// Its number in its area.
    pub(super) number: i64,
    /// The last old key of its range.
    pub(super) hi: RowKey,
    /// The rows, by old key.
    pub(super) entries: Vec<Entry>,
}

impl Pack {
    /// As the store keeps it.
    pub(super) fn store(&self, area: &str) -> Stored {
        let run = self.entries.iter().map(|entry| entry.run).max().unwrap_or_default();
        let mut to = Vec::with_capacity(16 + self.entries.len() * 48);
        to.push(FORMAT);
        to.push(self.hi.0.len() as u8);
        to.push(self.entries.first().map_or(0, |entry| entry.new.0.len()) as u8);
        self.hi.write(&mut to);
        write_varint(&mut to, u64::from(run));
        write_varint(&mut to, self.entries.len() as u64);
        for entry in &self.entries {
            entry.old.write(&mut to);
            entry.new.write(&mut to);
            to.extend_from_slice(&entry.hash.to_le_bytes());
            write_varint(&mut to, u64::from(run - entry.run));
        }
        Stored { area: area.to_owned(), number: self.number, value: Some(to) }
    }

    /// Out of the store.
    pub(super) fn read(stored: &Stored) -> Result<Self, TargetError> {
        Self::parse(stored).ok_or_else(|| {
            TargetError::new(
                ErrorKind::LedgerFormat,
                format!(
                    "entry {} of {} in the move's store can't be read",
                    stored.number, stored.area
                ),
            )
            .help("a newer version of Dunlin may have written it")
        })
    }

    fn parse(stored: &Stored) -> Option<Self> {
        let mut from = stored.value.as_deref()?;
        let (&[format, old_parts, new_parts], rest) = from.split_first_chunk::<3>()?;
        if format != FORMAT {
            return None;
        }
        from = rest;
        let hi = RowKey::read(&mut from, old_parts.into())?;
        let run = u32::try_from(read_varint(&mut from)?).ok()?;
        let count = usize::try_from(read_varint(&mut from)?).ok()?;
        let mut entries = Vec::with_capacity(count.min(4 * PACK_ROWS));
        for _ in 0..count {
            let old = RowKey::read(&mut from, old_parts.into())?;
            let new = RowKey::read(&mut from, new_parts.into())?;
            let (hash, rest) = from.split_first_chunk::<16>()?;
            from = rest;
            let before = u32::try_from(read_varint(&mut from)?).ok()?;
            let run = run.checked_sub(before)?;
            entries.push(Entry { old, new, hash: RowHash::from_le_bytes(*hash), run });
        }
        from.is_empty().then_some(Self { number: stored.number, hi, entries })
    }
}

/// Cuts entries, in the order of their old keys, into packs: the first has the number of the pack
/// that they come of, the others stand between it and the next, where there is room. `open`: the last
/// of them is the rule's last, and may stay small.
pub(super) fn cut(number: i64, next: Option<i64>, hi: &RowKey, entries: Vec<Entry>) -> Vec<Pack> {
    if entries.len() <= 2 * PACK_ROWS {
        return vec![Pack { number, hi: hi.clone(), entries }];
    }
    let wanted = entries.len().div_ceil(PACK_ROWS);
    let room = next.map_or(i64::MAX, |next| next - number);
    let count = usize::try_from(room).map_or(wanted, |room| wanted.min(room)).max(1);
    let step = match next {
        Some(next) => (next - number) / count as i64,
        None => GAP,
    };
    let size = entries.len().div_ceil(count);
    let mut packs: Vec<Pack> = Vec::with_capacity(count);
    let mut rest = entries.into_iter().peekable();
    let mut number = number;
    while rest.peek().is_some() {
        let mut entries: Vec<Entry> = rest.by_ref().take(size).collect();
        // Rows of one old key stay together: a range ends at a key.
        while let (Some(last), Some(more)) = (entries.last(), rest.peek()) {
            if last.old != more.old {
                break;
            }
            entries.extend(rest.next());
        }
        let hi = entries.last().map_or_else(|| hi.clone(), |entry| entry.old.clone());
        packs.push(Pack { number, hi, entries });
        number += step;
    }
    if let Some(last) = packs.last_mut() {
        last.hi = hi.clone();
    }
    packs
}

#[cfg(test)]
mod tests {
    use super::super::key::Part;
    use super::*;

    fn key(number: i64) -> RowKey {
        RowKey(vec![Part::Number(number)])
    }

    fn entries(count: i64) -> Vec<Entry> {
        (0..count)
            .map(|n| Entry { old: key(n / 2), new: key(n), hash: n as u128, run: (n % 3) as u32 })
            .collect()
    }

    #[test]
    fn packs_go_there_and_back() {
        for count in [0, 1, 1_000] {
            let pack = Pack { number: 7, hi: key(-9), entries: entries(count) };
            let stored = pack.store("pack/x");
            assert_eq!(Pack::read(&stored).unwrap(), pack);
            let value = stored.value.clone().unwrap();
            let cut = Stored { value: Some(value[..value.len() - 1].to_vec()), ..stored };
            assert!(Pack::read(&cut).is_err());
        }
    }

    #[test]
    fn a_pack_that_grew_is_cut_at_keys() {
        let all = entries(5_001);
        for (next, count) in [(None, 6), (Some(7 + GAP), 6), (Some(9), 2), (Some(8), 1)] {
            let packs = cut(7, next, &key(9_999), all.clone());
            assert_eq!(packs.len(), count, "{next:?}");
            assert_eq!(packs[0].number, 7);
            assert!(packs.iter().all(|pack| next.is_none_or(|next| pack.number < next)));
            assert!(
                packs
                    .windows(2)
                    .all(|two| two[0].number < two[1].number && two[0].hi < two[1].entries[0].old)
            );
            assert_eq!(packs.last().unwrap().hi, key(9_999));
            let together: Vec<Entry> = packs.into_iter().flat_map(|pack| pack.entries).collect();
            assert_eq!(together, all);
        }
    }
}
