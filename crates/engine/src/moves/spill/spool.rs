//! Pieces of bytes, one after the other.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::room::{Room, Taken, failed, nameless};
use crate::TargetError;

/// What is read ahead of a piece whose length isn't known.
const GUESS_BYTES: usize = 64;

/// What is read at once where all is read.
const AHEAD_BYTES: usize = 1 << 16;

/// The bytes of a piece's length.
const HEAD_BYTES: usize = 4;

/// Pieces of bytes in the order in which they were pushed; each is found by where it begins.
#[derive(Debug)]
pub(in crate::moves) struct Spool {
    file: Option<File>,
    /// Bytes in the file.
    in_file: u64,
    tail: Vec<u8>,
    taken: Taken,
}

impl Spool {
    pub(in crate::moves) fn new(room: &Room) -> Self {
        Self { file: None, in_file: 0, tail: Vec::new(), taken: Taken::new(room) }
    }

    /// Bytes in all.
    fn bytes(&self) -> u64 {
        self.in_file + self.tail.len() as u64
    }

    /// Adds a piece, and tells where it is.
    pub(in crate::moves) fn push(&mut self, piece: &[u8]) -> Result<u64, TargetError> {
        let more = piece.len() + HEAD_BYTES;
        if self.tail.len() + more > self.tail.capacity() {
            let (bytes, room) = (self.tail.capacity(), &self.taken.room);
            if bytes >= room.piece_bytes() && room.lacks(2 * bytes.max(more)) {
                self.spill()?;
            }
            self.tail.reserve(more.max(256));
            self.taken.set(self.tail.capacity());
        }
        let place = self.bytes();
        self.tail.extend_from_slice(&(piece.len() as u32).to_le_bytes());
        self.tail.extend_from_slice(piece);
        Ok(place)
    }

    /// Has all of it in the file.
    pub(in crate::moves) fn spill(&mut self) -> Result<(), TargetError> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(nameless()?),
        };
        file.write_all_at(&self.tail, self.in_file).map_err(|error| failed(&error))?;
        self.taken.room.spilled(self.tail.len() as u64);
        self.in_file += self.tail.len() as u64;
        self.tail.clear();
        self.tail.shrink_to(self.taken.room.piece_bytes());
        self.taken.set(self.tail.capacity());
        Ok(())
    }

    /// The piece that begins there.
    pub(in crate::moves) fn piece(&self, place: u64) -> Result<Vec<u8>, TargetError> {
        let mut bytes = vec![0; GUESS_BYTES.min((self.bytes() - place) as usize)];
        self.read(place, &mut bytes)?;
        let length = length_of(&bytes) + HEAD_BYTES;
        if length > bytes.len() {
            let known = bytes.len();
            bytes.resize(length, 0);
            self.read(place + known as u64, &mut bytes[known..])?;
        }
        bytes.truncate(length);
        bytes.drain(..HEAD_BYTES);
        Ok(bytes)
    }

    fn read(&self, from: u64, to: &mut [u8]) -> Result<(), TargetError> {
        let in_file = self.in_file.saturating_sub(from).min(to.len() as u64) as usize;
        let (first, second) = to.split_at_mut(in_file);
        if let Some(file) = self.file.as_ref().filter(|_| !first.is_empty()) {
            file.read_exact_at(first, from).map_err(|error| failed(&error))?;
        }
        let at = from.saturating_sub(self.in_file) as usize;
        second.copy_from_slice(&self.tail[at..at + second.len()]);
        Ok(())
    }

    /// All pieces, from the first.
    pub(in crate::moves) fn pieces(&self) -> Pieces<'_> {
        Pieces { spool: self, place: 0, ahead: Vec::new(), at: 0 }
    }
}

/// The bytes of the piece whose head is given.
fn length_of(bytes: &[u8]) -> usize {
    let mut head = [0; HEAD_BYTES];
    head.copy_from_slice(&bytes[..HEAD_BYTES]);
    u32::from_le_bytes(head) as usize
}

/// Goes through a spool.
pub(in crate::moves) struct Pieces<'s> {
    spool: &'s Spool,
    /// What is read from here on next.
    place: u64,
    ahead: Vec<u8>,
    at: usize,
}

impl Pieces<'_> {
    /// The next piece.
    pub(in crate::moves) fn next(&mut self) -> Result<Option<&[u8]>, TargetError> {
        if !self.has(HEAD_BYTES)? {
            return Ok(None);
        }
        let length = length_of(&self.ahead[self.at..]);
        self.has(HEAD_BYTES + length)?;
        let begin = self.at + HEAD_BYTES;
        self.at = begin + length;
        Ok(Some(&self.ahead[begin..self.at]))
    }

    /// Reads on until there are so many bytes; whether there are.
    fn has(&mut self, bytes: usize) -> Result<bool, TargetError> {
        let there = self.ahead.len() - self.at;
        if there >= bytes {
            return Ok(true);
        }
        self.ahead.drain(..self.at);
        self.at = 0;
        let left = (self.spool.bytes() - self.place) as usize;
        let more = left.min((bytes - there).max(AHEAD_BYTES));
        self.ahead.resize(there + more, 0);
        self.spool.read(self.place, &mut self.ahead[there..])?;
        self.place += more as u64;
        Ok(self.ahead.len() >= bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_found_and_gone_through() {
        for limit in [0, 10_000, 1 << 30] {
            let room = Room::new(limit);
            let mut random = fastrand::Rng::with_seed(7);
            let mut spool = Spool::new(&room);
            let pieces: Vec<Vec<u8>> = (0..2_000)
                .map(|_| (0..random.usize(0..200)).map(|_| random.u8(..)).collect())
                .collect();
            let places: Vec<u64> = pieces.iter().map(|piece| spool.push(piece).unwrap()).collect();
            for (piece, place) in pieces.iter().zip(places) {
                assert_eq!(spool.piece(place).unwrap(), *piece);
            }
            let mut through = spool.pieces();
            for piece in &pieces {
                assert_eq!(through.next().unwrap().unwrap(), piece.as_slice());
            }
            assert!(through.next().unwrap().is_none());
            assert_eq!(room.spilled_bytes() > 0, limit < 1 << 20);
        }
    }
}
