//! Lists of keys in the move's store: who leads whom, which number each key has, and which row each
//! matches.

use std::collections::BTreeMap;

use super::key::{RowKey, read_varint};
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

/// An old key whose new row has an id of its own for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) old: RowKey,
    pub(super) id: RowKey,
    /// The move found the row, and did not make it.
    pub(super) was_there: bool,
}

pub(super) fn read_matches(stored: &Stored) -> Result<Vec<Match>, TargetError> {
    let parse = || {
        let (&parts, mut from) = stored.value.as_deref()?.split_first()?;
        let mut all = Vec::new();
        while let Some((&was_there, rest)) = from.split_first() {
            from = rest;
            let old = RowKey::read(&mut from, parts.into())?;
            let id = RowKey::read(&mut from, 1)?;
            all.push(Match { old, id, was_there: was_there != 0 });
        }
        Some(all)
    };
    parse().ok_or_else(|| unreadable(stored))
}

pub(super) fn write_matches(area: &str, number: i64, block: &[Match]) -> Stored {
    let mut value = vec![block.first().map_or(1, |one| one.old.0.len()) as u8];
    for one in block {
        value.push(one.was_there.into());
        one.old.write(&mut value);
        one.id.write(&mut value);
    }
    Stored { area: area.to_owned(), number, value: Some(value) }
}

/// What is told of a value that can't be read.
pub(super) fn unreadable(stored: &Stored) -> TargetError {
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
    fn matches_go_there_and_back() {
        let matches: Vec<Match> =
            (0..9).map(|n| Match { old: key(n), id: key(-n), was_there: n % 2 == 0 }).collect();
        assert_eq!(read_matches(&write_matches("matched/x", 1, &matches)).unwrap(), matches);
    }
}
