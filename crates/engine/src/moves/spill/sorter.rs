//! Sorts pieces of bytes, more than memory holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::FILES_MAX;
use super::room::{Room, Taken};
use super::spool::{Pieces, Spool};
use crate::TargetError;

/// What is written to a run at once.
const RUN_PIECE_BYTES: usize = 1 << 16;

/// Takes pieces of bytes in any order.
#[derive(Debug)]
pub(in crate::moves) struct Sorter {
    bytes: Vec<u8>,
    /// Where each piece in `bytes` begins and ends.
    places: Vec<(usize, usize)>,
    /// Sorted ones in files.
    runs: Vec<Spool>,
    taken: Taken,
}

impl Sorter {
    pub(in crate::moves) fn new(room: &Room) -> Self {
        Self { bytes: Vec::new(), places: Vec::new(), runs: Vec::new(), taken: Taken::new(room) }
    }

    /// Takes one.
    pub(in crate::moves) fn push(&mut self, piece: &[u8]) -> Result<(), TargetError> {
        let is_full = self.bytes.len() + piece.len() > self.bytes.capacity()
            || self.places.len() == self.places.capacity();
        if is_full {
            let (bytes, room) = (self.memory_bytes(), &self.taken.room);
            if bytes >= room.piece_bytes() && room.lacks(2 * bytes) {
                self.spill()?;
            }
            self.bytes.reserve(piece.len());
            self.places.reserve(1);
            self.taken.set(self.memory_bytes());
        }
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(piece);
        self.places.push((begin, self.bytes.len()));
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.places.capacity() * size_of::<(usize, usize)>()
    }

    fn order(&mut self) {
        let bytes = &self.bytes;
        self.places.sort_unstable_by(|a, b| bytes[a.0..a.1].cmp(&bytes[b.0..b.1]));
    }

    fn spill(&mut self) -> Result<(), TargetError> {
        self.order();
        let mut run = filed();
        for (begin, end) in std::mem::take(&mut self.places) {
            run.push(&self.bytes[begin..end])?;
        }
        run.spill()?;
        self.taken.room.spilled(self.bytes.len() as u64);
        self.runs.push(run);
        self.bytes = Vec::new();
        self.taken.set(0);
        if self.runs.len() < FILES_MAX {
            return Ok(());
        }
        let mut merged = filed();
        let mut sorted = Sorted::of(self)?;
        while let Some(piece) = sorted.next()? {
            merged.push(&piece)?;
        }
        merged.spill()?;
        self.runs = vec![merged];
        Ok(())
    }

    /// No more come.
    pub(in crate::moves) fn sorted(mut self) -> Result<Ready, TargetError> {
        self.order();
        Ok(Ready(self))
    }
}

/// A spool in a file.
fn filed() -> Spool {
    Spool::new(&Room::none(RUN_PIECE_BYTES))
}

/// All that a sorter took.
pub(in crate::moves) struct Ready(Sorter);

impl Ready {
    /// All of them, the smallest first.
    pub(in crate::moves) fn pieces(&self) -> Result<Sorted<'_>, TargetError> {
        Sorted::of(&self.0)
    }
}

/// Goes through sorted pieces.
pub(in crate::moves) struct Sorted<'s> {
    sorter: &'s Sorter,
    /// The next of those in memory.
    next: usize,
    runs: Vec<Pieces<'s>>,
    open: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
}

impl<'s> Sorted<'s> {
    fn of(sorter: &'s Sorter) -> Result<Self, TargetError> {
        let runs = sorter.runs.iter().map(Spool::pieces).collect();
        let mut sorted = Self { sorter, next: 0, runs, open: BinaryHeap::new() };
        for run in 0..=sorted.runs.len() {
            sorted.refill(run)?;
        }
        Ok(sorted)
    }

    /// The next one.
    pub(in crate::moves) fn next(&mut self) -> Result<Option<Vec<u8>>, TargetError> {
        let Some(Reverse((piece, run))) = self.open.pop() else { return Ok(None) };
        self.refill(run)?;
        Ok(Some(piece))
    }

    /// The next piece of a run, of which the last is in memory.
    fn refill(&mut self, run: usize) -> Result<(), TargetError> {
        let piece = match self.runs.get_mut(run) {
            Some(pieces) => pieces.next()?.map(<[u8]>::to_vec),
            None => {
                let place = self.sorter.places.get(self.next);
                self.next += 1;
                place.map(|(begin, end)| self.sorter.bytes[*begin..*end].to_vec())
            }
        };
        self.open.extend(piece.map(|piece| Reverse((piece, run))));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_order() {
        for limit in [0, 20_000, 1 << 30] {
            let room = Room::new(limit);
            let mut random = fastrand::Rng::with_seed(3);
            let mut sorter = Sorter::new(&room);
            let mut pieces: Vec<Vec<u8>> = (0..3_000)
                .map(|_| (0..random.usize(0..30)).map(|_| random.u8(0..4)).collect())
                .collect();
            pieces.iter().for_each(|piece| sorter.push(piece).unwrap());
            pieces.sort();
            let ready = sorter.sorted().unwrap();
            let mut sorted = ready.pieces().unwrap();
            for piece in &pieces {
                assert_eq!(sorted.next().unwrap().as_ref(), Some(piece));
            }
            assert_eq!(sorted.next().unwrap(), None);
            assert_eq!(room.spilled_bytes() > 0, limit < 1 << 20);
        }
    }
}
