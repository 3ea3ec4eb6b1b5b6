//! From old keys to new ids.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray};
use arrow::buffer::{Buffer, NullBuffer};
use dunlin_model::moves::{Field, IdKind, ValueType};

use super::arrow_type::arrow_type;
use super::ids::{IdCipher, Tag};
use super::key::{KeyColumns, Part, RowKey, columns_of};
use super::key_set::{KeySet, key_hash};
use crate::{ErrorKind, TargetError};

/// What is known about a namespace once it is decided.
pub(super) struct Ids {
    pub(super) name: String,
    pub(super) kind: IdKind,
    pub(super) tag: Tag,
    /// Old keys of rows that there will be, merged ones included. `None`: nothing refers to it, and
    /// it was not looked at.
    pub(super) made: Option<KeySet>,
    /// Old keys whose row has the id of another: merged ones.
    pub(super) leaders: HashMap<RowKey, RowKey>,
    /// Numbers that were allotted, by the old key's hash.
    pub(super) assigned: HashMap<u128, i64>,
}

/// What became of one reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It has an id.
    Id,
    /// Its old key is NULL, or it doesn't count here.
    Null,
    /// There is no such row.
    Missing,
}

impl Ids {
    pub(super) fn leader<'a>(&'a self, old: &'a RowKey) -> &'a RowKey {
        if self.leaders.is_empty() { old } else { self.leaders.get(old).unwrap_or(old) }
    }

    pub(super) fn exists(&self, old: &RowKey) -> bool {
        self.made.as_ref().is_none_or(|made| made.contains(old))
    }

    /// The new id as a column's value. `None`: it has none.
    pub(super) fn id(&self, cipher: &IdCipher, field: &Field, old: &RowKey) -> Option<RowKey> {
        let leader = self.leader(old);
        let part = match self.kind {
            IdKind::Keep => return kept(field, leader),
            IdKind::Assigned | IdKind::Matched => {
                Part::Number(*self.assigned.get(&key_hash(leader))?)
            }
            IdKind::Derived => {
                let id = cipher.derive(self.tag, leader);
                match field.value_type {
                    ValueType::Text { .. } => {
                        Part::Bytes(uuid::Uuid::from_bytes(id).to_string().into_bytes().into())
                    }
                    _ => Part::Bytes(id.as_slice().into()),
                }
            }
        };
        Some(RowKey(vec![part]))
    }

    /// New ids for a column of old keys, and what became of each.
    pub(super) fn column(
        &self,
        cipher: &IdCipher,
        field: &Field,
        old: &ArrayRef,
        counts: impl Fn(usize) -> bool,
    ) -> Result<(ArrayRef, Vec<Found>), TargetError> {
        let keys = KeyColumns::of(std::slice::from_ref(old))?;
        let to = arrow_type(&field.value_type, true);
        if let (true, Some(numbers)) = (self.is_plain(field), keys.numbers()) {
            return Ok(self.derived(cipher, numbers, true, counts));
        }
        let none = RowKey(vec![Part::Null]);
        let mut found = Vec::with_capacity(keys.len());
        let mut ids = Vec::with_capacity(keys.len());
        for row in 0..keys.len() {
            let key = keys.key(row);
            let (what, id) = if key.0 == [Part::Null] || !counts(row) {
                (Found::Null, None)
            } else if self.exists(&key) {
                match self.id(cipher, field, &key) {
                    Some(id) => (Found::Id, Some(id)),
                    None => (Found::Missing, None),
                }
            } else {
                (Found::Missing, None)
            };
            found.push(what);
            ids.push(id.unwrap_or_else(|| none.clone()));
        }
        let columns = columns_of(&[to], ids.iter())?;
        let column = columns
            .into_iter()
            .next()
            .ok_or_else(|| TargetError::new(ErrorKind::Bug, "an id column came to nothing"))?;
        Ok((column, found))
    }

    /// The ids of rows of its own, where numbers become UUIDs; `None`: one by one, with `id`.
    pub(super) fn own(
        &self,
        cipher: &IdCipher,
        field: &Field,
        old: &KeyColumns,
    ) -> Option<ArrayRef> {
        let numbers = old.numbers().filter(|numbers| numbers.null_count() == 0)?;
        self.is_plain(field).then(|| self.derived(cipher, numbers, false, |_| true).0)
    }

    fn is_plain(&self, field: &Field) -> bool {
        self.kind == IdKind::Derived && field.value_type == ValueType::Uuid
    }

    /// The common case without a step between: numbers become UUIDs. `must_exist`: only of rows that
    /// there will be.
    fn derived(
        &self,
        cipher: &IdCipher,
        numbers: &arrow::array::Int64Array,
        must_exist: bool,
        counts: impl Fn(usize) -> bool,
    ) -> (ArrayRef, Vec<Found>) {
        let mut found = Vec::with_capacity(numbers.len());
        let mut wanted = Vec::with_capacity(numbers.len());
        let mut others = Vec::new();
        let mut key = RowKey(vec![Part::Null]);
        for (row, number) in numbers.iter().enumerate() {
            let Some(number) = number.filter(|_| counts(row)) else {
                found.push(Found::Null);
                wanted.push(0);
                continue;
            };
            key.0[0] = Part::Number(number);
            let is_there = !must_exist || self.exists(&key);
            found.push(if is_there { Found::Id } else { Found::Missing });
            let leader = self.leader(&key);
            wanted.push(leader.number().unwrap_or_default());
            if leader.number().is_none() {
                others.push((row, leader.clone()));
            }
        }
        let mut ids = cipher.of_numbers(self.tag, &wanted);
        for (row, leader) in others {
            ids[row] = cipher.derive(self.tag, &leader);
        }
        let nulls: NullBuffer = found.iter().map(|found| *found == Found::Id).collect();
        let values = Buffer::from_vec(ids.into_flattened());
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        (Arc::new(FixedSizeBinaryArray::new(16, values, nulls)), found)
    }
}

/// An old key as it is, in the form of a target's column.
fn kept(field: &Field, old: &RowKey) -> Option<RowKey> {
    match (old.0.as_slice(), &field.value_type) {
        ([Part::Bytes(text)], ValueType::Uuid) => {
            let id = uuid::Uuid::try_parse_ascii(text).ok()?;
            Some(RowKey(vec![Part::Bytes(id.as_bytes().as_slice().into())]))
        }
        ([Part::Number(number)], ValueType::Int16) => {
            i16::try_from(*number).ok().map(|_| old.clone())
        }
        ([Part::Number(number)], ValueType::Int32) => {
            i32::try_from(*number).ok().map(|_| old.clone())
        }
        ([_], _) => Some(old.clone()),
        _ => None,
    }
}
