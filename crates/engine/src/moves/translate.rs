//! From old keys to new ids.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray};
use arrow::buffer::{Buffer, NullBuffer};
use dunlin_model::moves::{Field, IdKind, ValueType};

use super::absent::Absent;
use super::arrow_type::arrow_type;
use super::ids::{IdCipher, Tag};
use super::key::{KeyColumns, Part, RowKey, columns_of};
use super::key_set::{KeyMap, KeySet, key_hash};
use super::matching::Matched;
use super::plan::Namespace;
use super::row_hash::{is_filled, without_filling};
use super::spill::{Room, Runs};
use crate::{ErrorKind, TargetError};

/// What is known about a namespace once it is decided.
pub(super) struct Ids {
    pub(super) name: String,
    pub(super) kind: IdKind,
    pub(super) tag: Tag,
    /// Old keys of rows that there will be, merged ones included. `None`: nothing refers to it, and
    /// it was not looked at.
    pub(super) made: Option<KeySet>,
    /// Old keys whose row has the id of another: merged ones, by their hash.
    pub(super) leaders: KeyMap,
    /// Those others, whose id somebody has although they may be gone.
    pub(super) leading: KeySet,
    /// Numbers that were allotted, by the old key's hash.
    pub(super) assigned: Runs<(u128, u64)>,
    /// Ids of rows that were found.
    pub(super) matched: Matched,
    /// The column that its rows have their ids in, where absent ones are known.
    pub(super) own: Option<Field>,
    /// Ids that no reference goes to.
    pub(super) absent: Absent,
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
    /// Several rows match it.
    Several,
}

impl Ids {
    /// Nothing is known yet.
    pub(super) fn of(namespace: &Namespace, room: &Room) -> Self {
        Self {
            name: namespace.spec.name.clone(),
            kind: namespace.spec.kind,
            tag: namespace.tag,
            made: None,
            leaders: KeyMap::new(room),
            leading: KeySet::new(room),
            assigned: Runs::new(room),
            matched: Matched::new(room),
            own: None,
            absent: Absent::new(room),
        }
    }

    /// Whether the id of an old key is in use: by its own row, or by another that has it. One that is
    /// merged into another has left it.
    pub(super) fn is_in_use(&self, old: &RowKey) -> Result<bool, TargetError> {
        Ok(self.leading.contains(old)? || (self.exists(old)? && *self.leader(old)? == *old))
    }

    /// Whether the row of an old key is not to be referred to, although the source has it.
    pub(super) fn is_absent(
        &self,
        cipher: &IdCipher,
        old: &RowKey,
        is_deleted: impl Fn() -> Result<bool, TargetError>,
    ) -> Result<bool, TargetError> {
        let Some(own) = self.own.as_ref().filter(|_| !self.absent.is_empty()) else {
            return Ok(false);
        };
        match self.id(cipher, own, old)? {
            Some(id) => self.absent.has(&id, is_deleted),
            None => Ok(false),
        }
    }

    pub(super) fn leader<'a>(&self, old: &'a RowKey) -> Result<Cow<'a, RowKey>, TargetError> {
        if self.leaders.is_empty() {
            return Ok(Cow::Borrowed(old));
        }
        let leader = self.leaders.get(key_hash(old))?;
        Ok(leader.map_or(Cow::Borrowed(old), Cow::Owned))
    }

    pub(super) fn exists(&self, old: &RowKey) -> Result<bool, TargetError> {
        self.made.as_ref().map_or(Ok(true), |made| made.contains(old))
    }

    /// The new id as a column's value. `None`: it has none.
    pub(super) fn id(
        &self,
        cipher: &IdCipher,
        field: &Field,
        old: &RowKey,
    ) -> Result<Option<RowKey>, TargetError> {
        let leader = self.leader(old)?;
        let part = match self.kind {
            IdKind::Keep => return Ok(kept(field, &leader)),
            IdKind::Matched => {
                let id = self.matched.id(&leader)?;
                return Ok(id.and_then(|id| kept(field, &id)));
            }
            IdKind::Assigned => match self.assigned.find(key_hash(&leader))? {
                Some((_, number)) => Part::Number(number as i64),
                None => return Ok(None),
            },
            IdKind::Derived => derived_part(cipher.derive(self.tag, &leader), field),
        };
        Ok(Some(RowKey(vec![part])))
    }

    /// New ids for a column of old keys, and what became of each. `is_deleted`: whether the row that
    /// refers was deleted by the application itself.
    pub(super) fn column(
        &self,
        cipher: &IdCipher,
        field: &Field,
        old: &ArrayRef,
        counts: impl Fn(usize) -> bool,
        is_deleted: impl Fn(usize) -> Result<bool, TargetError>,
    ) -> Result<(ArrayRef, Vec<Found>), TargetError> {
        let keys = KeyColumns::of(std::slice::from_ref(old))?;
        let to = arrow_type(&field.value_type, true);
        if let (true, Some(numbers)) = (self.is_plain(field), keys.numbers()) {
            return self.derived(cipher, numbers, true, counts, is_deleted);
        }
        let none = RowKey(vec![Part::Null]);
        let mut found = Vec::with_capacity(keys.len());
        let mut ids = Vec::with_capacity(keys.len());
        for row in 0..keys.len() {
            let key = keys.key(row);
            let (what, id) = if key.0 == [Part::Null] || !counts(row) {
                (Found::Null, None)
            } else if self.exists(&key)? && !self.is_absent(cipher, &key, || is_deleted(row))? {
                match self.id(cipher, field, &key)? {
                    Some(id) => (Found::Id, Some(id)),
                    None => (self.without(&key)?, None),
                }
            } else {
                (self.without(&key)?, None)
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

    /// Why a key has no id.
    fn without(&self, key: &RowKey) -> Result<Found, TargetError> {
        let several = self.kind == IdKind::Matched && self.matched.unclear.contains(key)?;
        Ok(if several { Found::Several } else { Found::Missing })
    }

    /// The ids of rows of its own, where numbers become UUIDs; `None`: one by one, with `id`.
    pub(super) fn own(
        &self,
        cipher: &IdCipher,
        field: &Field,
        old: &KeyColumns,
    ) -> Result<Option<ArrayRef>, TargetError> {
        let numbers = old.numbers().filter(|numbers| numbers.null_count() == 0);
        let Some(numbers) = numbers.filter(|_| self.is_plain(field)) else { return Ok(None) };
        Ok(Some(self.derived(cipher, numbers, false, |_| true, |_| Ok(false))?.0))
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
        is_deleted: impl Fn(usize) -> Result<bool, TargetError>,
    ) -> Result<(ArrayRef, Vec<Found>), TargetError> {
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
            let is_there = !must_exist || self.exists(&key)?;
            found.push(if is_there { Found::Id } else { Found::Missing });
            let leader = self.leader(&key)?;
            wanted.push(leader.number().unwrap_or_default());
            if leader.number().is_none() {
                others.push((row, leader.into_owned()));
            }
        }
        let mut ids = cipher.of_numbers(self.tag, &wanted);
        for (row, leader) in others {
            ids[row] = cipher.derive(self.tag, &leader);
        }
        if must_exist && let Some(own) = self.own.as_ref().filter(|_| !self.absent.is_empty()) {
            for (row, found) in found.iter_mut().enumerate().filter(|(_, f)| **f == Found::Id) {
                let id = RowKey(vec![derived_part(ids[row], own)]);
                if self.absent.has(&id, || is_deleted(row))? {
                    *found = Found::Missing;
                }
            }
        }
        let nulls: NullBuffer = found.iter().map(|found| *found == Found::Id).collect();
        let values = Buffer::from_vec(ids.into_flattened());
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        Ok((Arc::new(FixedSizeBinaryArray::new(16, values, nulls)), found))
    }
}

/// A derived id in the form of a column.
pub(super) fn derived_part(id: [u8; 16], field: &Field) -> Part {
    match field.value_type {
        ValueType::Text { .. } => {
            Part::Bytes(uuid::Uuid::from_bytes(id).to_string().into_bytes().into())
        }
        _ => Part::Bytes(id.as_slice().into()),
    }
}

/// An old key, or the id of a row that is there, in the form of a target's column.
fn kept(field: &Field, old: &RowKey) -> Option<RowKey> {
    match (old.0.as_slice(), &field.value_type) {
        ([Part::Bytes(id)], ValueType::Uuid) if id.len() == 16 => Some(old.clone()),
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
        // As keys in the target are told apart.
        ([Part::Bytes(text)], of) if is_filled(of) => {
            let text = without_filling(of, std::str::from_utf8(text).ok()?);
            Some(RowKey(vec![Part::Bytes(text.as_bytes().into())]))
        }
        ([_], _) => Some(old.clone()),
        _ => None,
    }
}
