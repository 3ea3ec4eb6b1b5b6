//! What a move remembers of the rows that it wrote: packs of about a thousand rows each.
//!
//! A pack covers a range of old keys of one rule, from the end of the pack before to its own end, and
//! holds for each row that was written: its old key, its new key, the hash of what was written, and
//! the run that wrote it. The last pack of a rule is open to the end.

use std::ops::Range;

use super::key::{KeyColumns, RowKey, read_varint, skip_key, write_varint};
use super::ports::Stored;
use super::row_hash::RowHash;
use crate::{ErrorKind, TargetError};

/// Rows of a full pack: large enough that the key's and the row's own overhead in the ledger
/// vanishes, small enough that a changed row does not write much.
pub(super) const PACK_ROWS: usize = 1_000;

/// A pack that is larger is cut.
const PACK_MAX: usize = 2 * PACK_ROWS;

/// Packs are numbered with gaps, so that one that grew can be split.
pub(super) const GAP: i64 = 1 << 20;

const FORMAT: u8 = 1;

/// The run of rows that were there before the move, and that it has not written.
pub(super) const ADOPTED: u32 = 0;

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

impl Entry {
    /// The same, where another old row has come to the row.
    pub(super) fn held_by(&self, old: &RowKey) -> Self {
        Self { old: old.clone(), ..self.clone() }
    }
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
        let new_parts = self.entries.first().map_or(0, |entry| entry.new.0.len());
        write_head(&mut to, &self.hi, new_parts, run, self.entries.len());
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
        let value = stored.value.as_deref().unwrap_or_default();
        parse(stored.number, value).ok_or_else(|| unreadable(&stored.area, stored.number))
    }
}

fn write_head(to: &mut Vec<u8>, hi: &RowKey, new_parts: usize, run: u32, entries: usize) {
    to.push(FORMAT);
    to.push(hi.0.len() as u8);
    to.push(new_parts as u8);
    hi.write(to);
    write_varint(to, u64::from(run));
    write_varint(to, entries as u64);
}

fn unreadable(area: &str, number: i64) -> TargetError {
    TargetError::new(
        ErrorKind::LedgerFormat,
        format!("entry {number} of {area} in the move's store can't be read"),
    )
    .help("a newer version of Dunlin may have written it")
}

fn parse(number: i64, value: &[u8]) -> Option<Pack> {
    let head = Head::read(value)?;
    let mut entries = Vec::with_capacity(head.count.min(4 * PACK_ROWS));
    let mut seen = SeenEntries::of(value)?;
    while let Some(seen) = seen.next()? {
        entries.push(seen.owned(&head)?);
    }
    Some(Pack { number, hi: head.hi, entries })
}

/// What stands in front of a pack's entries.
struct Head {
    hi: RowKey,
    /// How many columns an old key has, and a new one.
    parts: (usize, usize),
    run: u32,
    count: usize,
    /// Where the entries begin.
    at: usize,
}

impl Head {
    fn read(value: &[u8]) -> Option<Self> {
        let (&[format, old_parts, new_parts], mut from) = value.split_first_chunk::<3>()?;
        if format != FORMAT {
            return None;
        }
        let hi = RowKey::read(&mut from, old_parts.into())?;
        let run = u32::try_from(read_varint(&mut from)?).ok()?;
        let count = usize::try_from(read_varint(&mut from)?).ok()?;
        let at = value.len() - from.len();
        Some(Self { hi, parts: (old_parts.into(), new_parts.into()), run, count, at })
    }
}

/// An entry where it stands, its keys as they were written.
pub(super) struct SeenEntry<'a> {
    pub(super) old: &'a [u8],
    pub(super) new: &'a [u8],
    pub(super) hash: RowHash,
    pub(super) run: u32,
}

impl SeenEntry<'_> {
    fn owned(&self, head: &Head) -> Option<Entry> {
        Some(Entry {
            old: RowKey::read(&mut &*self.old, head.parts.0)?,
            new: RowKey::read(&mut &*self.new, head.parts.1)?,
            hash: self.hash,
            run: self.run,
        })
    }
}

/// A pack's entries one after the other, without a copy of any.
pub(super) struct SeenEntries<'a> {
    from: &'a [u8],
    parts: (usize, usize),
    run: u32,
    left: usize,
}

impl<'a> SeenEntries<'a> {
    fn of(value: &'a [u8]) -> Option<Self> {
        let head = Head::read(value)?;
        let from = value.get(head.at..)?;
        Some(Self { from, parts: head.parts, run: head.run, left: head.count })
    }

    /// The next; outside: the pack can't be read.
    fn next(&mut self) -> Option<Option<SeenEntry<'a>>> {
        if self.left == 0 {
            return self.from.is_empty().then_some(None);
        }
        self.left -= 1;
        let old = skip_key(&mut self.from, self.parts.0)?;
        let new = skip_key(&mut self.from, self.parts.1)?;
        let (hash, rest) = self.from.split_first_chunk::<16>()?;
        self.from = rest;
        let before = u32::try_from(read_varint(&mut self.from)?).ok()?;
        let run = self.run.checked_sub(before)?;
        Some(Some(SeenEntry { old, new, hash: RowHash::from_le_bytes(*hash), run }))
    }
}

/// A pack as it was stored: read no further than it takes to compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredPack {
    /// Its number in its area.
    pub(super) number: i64,
    /// The last old key of its range.
    pub(super) hi: RowKey,
    /// How many rows it has.
    pub(super) count: usize,
    value: Vec<u8>,
}

impl StoredPack {
    /// Out of the store.
    pub(super) fn read(stored: Stored) -> Result<Self, TargetError> {
        let value = stored.value.unwrap_or_default();
        match Head::read(&value) {
            Some(head) => Ok(Self { number: stored.number, hi: head.hi, count: head.count, value }),
            None => Err(unreadable(&stored.area, stored.number)),
        }
    }

    /// How many columns its keys have, old and new.
    pub(super) fn parts(&self) -> Option<(usize, usize)> {
        Head::read(&self.value).map(|head| head.parts)
    }

    /// All that is in it.
    pub(super) fn open(&self, area: &str) -> Result<Pack, TargetError> {
        parse(self.number, &self.value).ok_or_else(|| unreadable(area, self.number))
    }

    /// Whether its rows are these, to the last bit; they come in parts.
    pub(super) fn is<'r>(
        &self,
        parts: impl Iterator<Item = (KeyedRows<'r>, Range<usize>)>,
    ) -> bool {
        let Some(mut entries) = SeenEntries::of(&self.value) else { return false };
        let mut key = Vec::with_capacity(64);
        for (rows, places) in parts {
            for place in places {
                let Some(Some(entry)) = entries.next() else { return false };
                key.clear();
                rows.old.write(place, &mut key);
                let old = key.len();
                rows.new.write(place, &mut key);
                if entry.hash != rows.hashes[place]
                    || entry.old != &key[..old]
                    || entry.new != &key[old..]
                {
                    return false;
                }
            }
        }
        matches!(entries.next(), Some(None))
    }
}

/// Calls for each entry of a stored pack.
pub(super) fn each_entry(
    stored: &Stored,
    mut call: impl FnMut(&SeenEntry<'_>),
) -> Result<(), TargetError> {
    let value = stored.value.as_deref().unwrap_or_default();
    let broken = || unreadable(&stored.area, stored.number);
    let mut entries = SeenEntries::of(value).ok_or_else(broken)?;
    while let Some(entry) = entries.next().ok_or_else(broken)? {
        call(&entry);
    }
    Ok(())
}

/// Rows by their keys and hashes.
#[derive(Clone, Copy)]
pub(super) struct KeyedRows<'a> {
    pub(super) old: &'a KeyColumns,
    pub(super) new: &'a KeyColumns,
    pub(super) hashes: &'a [RowHash],
}

/// Packs of rows that are new, all of one run, cut as [`cut`] does: each with its end. The first has
/// this number.
pub(super) fn packs_of(
    rows: &KeyedRows<'_>,
    places: Range<usize>,
    number: i64,
    run: u32,
    area: &str,
) -> Vec<(RowKey, Stored)> {
    let count = places.len();
    let size = match count {
        0..=PACK_MAX => count.max(1),
        _ => count.div_ceil(count.div_ceil(PACK_ROWS)),
    };
    let (mut packs, mut from, mut number) = (Vec::new(), places.start, number);
    while from < places.end {
        let mut end = places.end.min(from + size);
        // Rows of one old key stay together: a range ends at a key.
        while end < places.end && rows.old.same(end - 1, end) {
            end += 1;
        }
        let hi = rows.old.key(end - 1);
        let mut to = Vec::with_capacity(16 + (end - from) * 48);
        write_head(&mut to, &hi, rows.new.parts(), run, end - from);
        for place in from..end {
            rows.old.write(place, &mut to);
            rows.new.write(place, &mut to);
            to.extend_from_slice(&rows.hashes[place].to_le_bytes());
            // So many runs before the pack's: none.
            to.push(0);
        }
        packs.push((hi, Stored { area: area.to_owned(), number, value: Some(to) }));
        (from, number) = (end, number + GAP);
    }
    packs
}

/// Cuts entries, in the order of their old keys, into packs: the first has the number of the pack
/// that they come of, the others stand between it and the next, where there is room. `open`: the last
/// of them is the rule's last, and may stay small.
pub(super) fn cut(number: i64, next: Option<i64>, hi: &RowKey, entries: Vec<Entry>) -> Vec<Pack> {
    if entries.len() <= PACK_MAX {
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
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

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
            let mut seen = Vec::new();
            each_entry(&stored, |entry| seen.push((entry.hash, entry.run))).unwrap();
            let all: Vec<_> = pack.entries.iter().map(|entry| (entry.hash, entry.run)).collect();
            assert_eq!(seen, all);
            let raw = StoredPack::read(stored.clone()).unwrap();
            assert_eq!((raw.number, &raw.hi, raw.count), (7, &pack.hi, pack.entries.len()));
            assert_eq!(raw.open("pack/x").unwrap(), pack);
            let value = stored.value.clone().unwrap();
            let cut = Stored { value: Some(value[..value.len() - 1].to_vec()), ..stored };
            assert!(Pack::read(&cut).is_err());
        }
    }

    #[test]
    fn rows_become_the_packs_that_entries_become() {
        for count in [1, 1_000, 2_000, 2_001, 5_001] {
            let entries: Vec<Entry> =
                entries(count).into_iter().map(|entry| Entry { run: 4, ..entry }).collect();
            let column = |of: fn(&Entry) -> &RowKey| -> ArrayRef {
                let numbers = entries.iter().map(|entry| of(entry).number().unwrap());
                Arc::new(Int64Array::from_iter_values(numbers))
            };
            let old = KeyColumns::of(&[column(|entry| &entry.old)]).unwrap();
            let new = KeyColumns::of(&[column(|entry| &entry.new)]).unwrap();
            let hashes: Vec<RowHash> = entries.iter().map(|entry| entry.hash).collect();
            let rows = KeyedRows { old: &old, new: &new, hashes: &hashes };
            let hi = entries.last().unwrap().old.clone();
            let made = packs_of(&rows, 0..entries.len(), 3, 4, "pack/x");
            let cut = cut(3, None, &hi, entries);
            assert_eq!(made.len(), cut.len());
            let mut from = 0;
            for ((hi, stored), pack) in made.into_iter().zip(cut) {
                assert_eq!((&hi, &stored), (&pack.hi, &pack.store("pack/x")));
                let stored = StoredPack::read(stored).unwrap();
                let end = from + pack.entries.len();
                // In two parts that meet somewhere, also at an end.
                let is = |from: usize, end: usize| {
                    let middles = [from, from + (end - from) / 2, end];
                    let mut each = middles.into_iter().map(|middle| {
                        let parts = [from..middle, middle..end];
                        stored.is(parts.into_iter().map(|places| (rows, places)))
                    });
                    let first = each.next().unwrap();
                    assert!(each.all(|is| is == first));
                    first
                };
                assert!(is(from, end));
                assert!(!is(from, end - 1));
                assert!(end == 1 || !is(from + 1, end));
                from = end;
            }
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
