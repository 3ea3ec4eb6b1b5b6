//! Rows that are told of because of what they are in the source: merged, left out, refused. There may be
//! as many as the source has rows, so that they go to a temporary file where there is no room for them.

use std::collections::HashMap;

use super::key::{RowKey, read_varint, write_varint};
use super::report::{Note, NoteKind};
use super::spill::{Pieces, Room, Spool};
use crate::{ErrorKind, TargetError};

/// Each kind is kept as its place here.
const KINDS: [NoteKind; 12] = [
    NoteKind::Rejected,
    NoteKind::LeftOut,
    NoteKind::Nulled,
    NoteKind::Merged,
    NoteKind::Duplicate,
    NoteKind::NotTaken,
    NoteKind::AlreadyThere,
    NoteKind::ChangedThere,
    NoteKind::DeletedThere,
    NoteKind::StillReferenced,
    NoteKind::Kept,
    NoteKind::Differs,
];

/// Such rows of one rule or source, in the order in which they were read; those that were refused come
/// last, since a later try may find others.
pub(super) struct Told {
    others: List,
    refused: List,
}

impl Told {
    pub(super) fn new(room: &Room) -> Self {
        Self { others: List::new(room), refused: List::new(room) }
    }

    pub(super) fn extend(
        &mut self,
        notes: impl IntoIterator<Item = Note>,
    ) -> Result<(), TargetError> {
        notes.into_iter().try_for_each(|note| match note.kind {
            NoteKind::Rejected => self.refused.push(&note),
            _ => self.others.push(&note),
        })
    }

    /// How many were refused.
    pub(super) fn refused(&self) -> usize {
        self.refused.count
    }

    /// What a later try refused counts, and not what was refused before.
    pub(super) fn tried_again(&mut self, later: Self) {
        self.refused = later.refused;
    }

    /// All, one after the other.
    pub(super) fn all(&self) -> All<'_> {
        All { lists: [&self.others, &self.refused], at: 0, pieces: self.others.spool.pieces() }
    }
}

/// Notes as small as they can be: few reasons are told of many rows.
struct List {
    reasons: Vec<String>,
    places: HashMap<String, u64>,
    count: usize,
    spool: Spool,
}

impl List {
    fn new(room: &Room) -> Self {
        Self { reasons: Vec::new(), places: HashMap::new(), count: 0, spool: Spool::new(room) }
    }

    fn push(&mut self, note: &Note) -> Result<(), TargetError> {
        let reason = match self.places.get(&note.reason) {
            Some(place) => *place,
            None => {
                let place = self.reasons.len() as u64;
                self.reasons.push(note.reason.clone());
                self.places.insert(note.reason.clone(), place);
                place
            }
        };
        let kind = KINDS.iter().position(|kind| *kind == note.kind).unwrap_or_default();
        let mut bytes = Vec::with_capacity(24);
        bytes.push(kind as u8);
        write_varint(&mut bytes, reason);
        write_varint(&mut bytes, note.old.0.len() as u64);
        note.old.write(&mut bytes);
        self.count += 1;
        self.spool.push(&bytes).map(|_| ())
    }

    fn read(&self, mut from: &[u8]) -> Option<Note> {
        let from = &mut from;
        let (&kind, rest) = from.split_first()?;
        *from = rest;
        let reason = usize::try_from(read_varint(from)?).ok()?;
        let parts = usize::try_from(read_varint(from)?).ok()?;
        Some(Note {
            kind: *KINDS.get(usize::from(kind))?,
            reason: self.reasons.get(reason)?.clone(),
            old: RowKey::read(from, parts)?,
        })
    }
}

/// Goes through them.
pub(super) struct All<'t> {
    lists: [&'t List; 2],
    at: usize,
    pieces: Pieces<'t>,
}

impl All<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Note>, TargetError> {
        loop {
            let Some(list) = self.lists.get(self.at) else { return Ok(None) };
            if let Some(bytes) = self.pieces.next()? {
                return list.read(bytes).map(Some).ok_or_else(|| {
                    TargetError::new(ErrorKind::Bug, "a row in a temporary file can't be read")
                });
            }
            self.at += 1;
            if let Some(list) = self.lists.get(self.at) {
                self.pieces = list.spool.pieces();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Part;
    use super::*;

    fn note(number: i64) -> Note {
        let kind = KINDS[usize::try_from(number).unwrap() % KINDS.len()];
        let text = Part::Bytes(format!("key {number}").into_bytes().into());
        let old = RowKey(vec![Part::Number(-number), text, Part::Null]);
        Note { old, kind, reason: format!("reason {}", number % 7) }
    }

    fn all(told: &Told) -> Vec<Note> {
        let (mut all, mut found) = (told.all(), Vec::new());
        while let Some(note) = all.next().unwrap() {
            found.push(note);
        }
        found
    }

    #[test]
    fn all_come_back_whatever_the_room() {
        for limit in [0, 20_000, 1 << 30] {
            let room = Room::new(limit);
            let mut told = Told::new(&room);
            told.extend((0..5_000).map(note)).unwrap();
            let (refused, others): (Vec<_>, Vec<_>) =
                (0..5_000).map(note).partition(|note| note.kind == NoteKind::Rejected);
            assert_eq!(told.refused(), refused.len());
            assert_eq!(all(&told), [others.clone(), refused].concat());
            assert_eq!(room.spilled_bytes() > 0, limit < 1 << 20);

            let mut later = Told::new(&room);
            later.extend([note(12)]).unwrap();
            told.tried_again(later);
            assert_eq!(all(&told), [others, vec![note(12)]].concat());
        }
    }
}
