//! Ids of rows that are there: found by a natural key once, and stored, so that a later change of
//! that key on either side moves no id.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::arrow_type::arrow_type;
use super::key::{KeyColumns, Part, RowKey, columns_of};
use super::key_set::{KeyMap, KeySet, decoded, key_hash};
use super::ordered::{append_ordered, read_ordered_parts};
use super::plan::{Matching, MovePlan};
use super::ports::Written;
use super::produce::batch;
use super::session::Session;
use super::spill::{Ready, Room, Sorter};
use super::stored_lists::{LIST_ROWS, Match, read_matches, write_matches};
use super::verify::each_stored;
use crate::{ErrorKind, TargetError};

/// What is known of a namespace's rows.
pub(super) struct Matched {
    /// Each old key's id, by its hash.
    pub(super) ids: KeyMap,
    /// Old keys that several rows match, or whose row is another old row's.
    pub(super) unclear: KeySet,
    /// Ids of rows that are not the move's own.
    pub(super) adopted: Arc<KeySet>,
}

impl Matched {
    pub(super) fn new(room: &Room) -> Self {
        Self {
            ids: KeyMap::new(room),
            unclear: KeySet::new(room),
            adopted: Arc::new(KeySet::new(room)),
        }
    }

    /// The id of an old key.
    pub(super) fn id(&self, old: &RowKey) -> Result<Option<RowKey>, TargetError> {
        if self.unclear.contains(old)? { Ok(None) } else { self.ids.get(key_hash(old)) }
    }
}

/// Where a namespace's matches are in the store.
pub(super) fn matched_area(namespace: &str) -> String {
    format!("matched/{namespace}")
}

/// A namespace's matches while they are made.
pub(super) struct Matcher<'a> {
    pub(super) matching: &'a Matching,
    pub(super) area: String,
    /// The number of the next entry in the store.
    pub(super) next: i64,
    /// Each old key's id, by its hash. Where a rule makes the rows, an id is one old key's alone: that
    /// of the last that it was given to.
    pub(super) ids: KeyMap,
    pub(super) unclear: KeySet,
    /// Ids of rows that were there before the move.
    pub(super) adopted: KeySet,
    /// The old key that has each id, by the id's hash.
    holders: KeyMap,
    /// Old keys that this run matched.
    pub(super) fresh: KeySet,
    /// Rows that are found by the target: the id's hash, the old key, the id.
    matches: Sorter,
}

impl<'a> Matcher<'a> {
    /// With what the store has.
    pub(super) async fn new(
        plan: &'a MovePlan,
        namespace: usize,
        session: &mut Session<'_>,
        room: &Room,
    ) -> Result<Self, TargetError> {
        let namespace = &plan.namespaces[namespace];
        let matching = namespace.matching.as_ref().ok_or_else(|| {
            let message = format!("it isn't known by what {} is matched", namespace.spec.name);
            TargetError::new(ErrorKind::Bug, message)
        })?;
        let mut matcher = Self {
            matching,
            area: matched_area(&namespace.spec.name),
            next: 0,
            ids: KeyMap::new(room),
            unclear: KeySet::new(room),
            adopted: KeySet::new(room),
            holders: KeyMap::new(room),
            fresh: KeySet::new(room),
            matches: Sorter::new(room),
        };
        let area = matcher.area.clone();
        each_stored(session, &area, |stored| {
            matcher.next = stored.number + 1;
            read_matches(stored)?.iter().try_for_each(|one| matcher.hold(one))
        })
        .await?;
        matcher.settle()?;
        let is_shared = namespace.maker.is_none();
        each_stored(session, &area, |stored| {
            for one in read_matches(stored)? {
                let is_own = is_shared || matcher.holder(&one.id)?.as_ref() == Some(&one.old);
                if is_own {
                    matcher.ids.put(key_hash(&one.old), &one.id)?;
                }
            }
            Ok(())
        })
        .await?;
        matcher.settle()?;
        Ok(matcher)
    }

    fn hold(&mut self, one: &Match) -> Result<(), TargetError> {
        if one.was_there {
            self.adopted.insert(&one.id)?;
        }
        self.holders.put(key_hash(&one.id), &one.old)
    }

    pub(super) fn know(&mut self, one: &Match) -> Result<(), TargetError> {
        self.ids.put(key_hash(&one.old), &one.id)?;
        self.hold(one)
    }

    pub(super) fn settle(&mut self) -> Result<(), TargetError> {
        self.ids.settle()?;
        self.holders.settle()?;
        for set in [&mut self.unclear, &mut self.adopted, &mut self.fresh] {
            set.settle()?;
        }
        Ok(())
    }

    pub(super) fn holder(&self, id: &RowKey) -> Result<Option<RowKey>, TargetError> {
        self.holders.get(key_hash(id))
    }

    /// The ids of the rows with each of these natural keys; of many rows two.
    pub(super) async fn rows_of<'k>(
        &self,
        session: &mut Session<'_>,
        naturals: impl ExactSizeIterator<Item = &'k RowKey> + Clone,
    ) -> Result<Vec<Vec<RowKey>>, TargetError> {
        let from = &self.matching.written;
        let mut all = vec![Vec::new(); naturals.len()];
        if all.is_empty() {
            return Ok(all);
        }
        let (places, rows) = session.target.find(from, &keys_as_batch(from, naturals)?).await?;
        let ids = KeyColumns::of_target(from.fields.iter(), &[rows.column(0).clone()])?;
        for (row, place) in places.into_iter().enumerate() {
            all[place as usize].push(ids.key(row));
        }
        Ok(all)
    }

    /// Asks the target for rows with these natural keys; returns the old keys that have none.
    pub(super) async fn ask(
        &mut self,
        session: &mut Session<'_>,
        asked: &mut Vec<(RowKey, RowKey)>,
    ) -> Result<Vec<RowKey>, TargetError> {
        let asked = std::mem::take(asked);
        let found = self.rows_of(session, asked.iter().map(|(_, natural)| natural)).await?;
        let mut none = Vec::new();
        for ((old, _), found) in asked.into_iter().zip(found) {
            match found.as_slice() {
                [] => none.push(old),
                [id] => {
                    let mut bytes = key_hash(id).to_be_bytes().to_vec();
                    bytes.push(old.0.len() as u8);
                    append_ordered(&old, &mut bytes);
                    append_ordered(id, &mut bytes);
                    self.matches.push(&bytes)?;
                }
                _ => self.unclear.insert(&old)?,
            }
        }
        Ok(none)
    }

    /// What the target found, sorted by id.
    pub(super) fn found(&mut self, room: &Room) -> Result<Ready, TargetError> {
        std::mem::replace(&mut self.matches, Sorter::new(room)).sorted()
    }

    /// Stores what the target found; several old keys may have one row.
    pub(super) async fn store_shared(
        &mut self,
        session: &mut Session<'_>,
        room: &Room,
    ) -> Result<(), TargetError> {
        let sorted = self.found(room)?;
        let mut pieces = sorted.pieces()?;
        let mut block = Vec::new();
        while let Some(bytes) = pieces.next()? {
            let (old, id) = read_match(&bytes)?;
            block.push(Match { old, id, was_there: true });
            if block.len() == LIST_ROWS {
                self.put(session, &std::mem::take(&mut block)).await?;
            }
        }
        self.put(session, &block).await?;
        self.settle()
    }

    pub(super) async fn put(
        &mut self,
        session: &mut Session<'_>,
        block: &[Match],
    ) -> Result<(), TargetError> {
        if block.is_empty() {
            return Ok(());
        }
        session.put(&[write_matches(&self.area, self.next, block)]).await?;
        self.next += 1;
        for one in block {
            self.fresh.insert(&one.old)?;
            self.know(one)?;
        }
        Ok(())
    }

    pub(super) fn end(mut self) -> Result<Matched, TargetError> {
        self.settle()?;
        Ok(Matched { ids: self.ids, unclear: self.unclear, adopted: Arc::new(self.adopted) })
    }
}

pub(super) fn read_match(bytes: &[u8]) -> Result<(RowKey, RowKey), TargetError> {
    let parse = || {
        let (&parts, mut from) = bytes.get(16..)?.split_first()?;
        let old = read_ordered_parts(&mut from, parts.into())?;
        Some((old, from))
    };
    let (old, id) = parse().ok_or_else(|| {
        TargetError::new(ErrorKind::Bug, "a match in a temporary file can't be read")
    })?;
    Ok((old, decoded(id)?))
}

/// Keys as the columns that a table is looked up by.
pub(super) fn keys_as_batch<'k>(
    of: &Written,
    keys: impl Iterator<Item = &'k RowKey> + Clone,
) -> Result<RecordBatch, TargetError> {
    let fields: Vec<_> = of.key.iter().map(|place| of.fields[*place].clone()).collect();
    let types: Vec<_> = fields.iter().map(|field| arrow_type(&field.value_type, true)).collect();
    let count = keys.clone().count();
    batch(&fields, columns_of(&types, keys)?, count)
}

pub(super) fn has_null(key: &RowKey) -> bool {
    key.0.contains(&Part::Null)
}
