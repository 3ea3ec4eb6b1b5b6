//! Lists of keys in the move's store: who leads whom, and which number each key has.

use std::collections::BTreeMap;

use super::key::{RowKey, read_varint, write_varint};
use super::ports::Stored;
use crate::{ErrorKind, TargetError};

/// Entries of a stored list in one value.
pub(super) const LIST_ROWS: usize = 4_096;

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

pub(super) fn write_pairs(
    area: &str,
    pairs: &BTreeMap<RowKey, RowKey>,
    before: usize,
) -> Vec<Stored> {
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

#[cfg(test)]
mod tests {
    use super::super::key::Part;
    use super::*;

    fn key(number: i64) -> RowKey {
        RowKey(vec![Part::Number(number)])
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
