//! Old rows that could not be read this time: what they became before stays as it is.

use std::collections::HashSet;

use super::key::RowKey;

/// So many are remembered by their keys, about 10 MB of them. With more, nothing is deleted.
const KEYS_MAX: usize = 100_000;

/// Old rows of one rule that could not be read.
#[derive(Default)]
pub(super) struct UnreadRows {
    keys: HashSet<RowKey>,
    /// It may be any of them.
    is_any: bool,
}

impl UnreadRows {
    pub(super) fn add(&mut self, old: RowKey) {
        if self.keys.len() < KEYS_MAX {
            self.keys.insert(old);
        } else {
            self.is_any = true;
        }
    }

    pub(super) fn extend(&mut self, all: impl IntoIterator<Item = RowKey>) {
        all.into_iter().for_each(|old| self.add(old));
    }

    /// One of which nothing is known, not even its key.
    pub(super) fn add_any(&mut self) {
        self.is_any = true;
    }

    /// It may be any row.
    pub(super) fn is_any(&self) -> bool {
        self.is_any
    }

    /// It is known to be this one.
    pub(super) fn names(&self, old: &RowKey) -> bool {
        self.keys.contains(old)
    }

    /// What became of this row must stay.
    pub(super) fn has(&self, old: &RowKey) -> bool {
        self.is_any || self.keys.contains(old)
    }
}
