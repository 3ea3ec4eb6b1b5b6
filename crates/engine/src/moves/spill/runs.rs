//! Records of 128-bit hashes, sorted: a set of keys, or a map from keys to numbers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;

use super::FILES_MAX;
use super::room::{Room, Taken, failed, nameless};
use crate::TargetError;

/// Records that are found by one read of a file. Of each such block, the first hash is in memory.
const BLOCK_RECORDS: usize = 64;

/// The widest record that there is.
const WIDTH_MAX: usize = 24;

/// Blocks that are read at once where a file is read through.
const BLOCKS_AHEAD: usize = 16;

/// Something that is found by its hash.
pub(in crate::moves) trait Record: Copy {
    /// Its bytes in a file.
    const WIDTH: usize;
    /// By which it is found.
    fn hash(&self) -> u128;
    /// Appends its bytes.
    fn write(&self, to: &mut Vec<u8>);
    /// Of `WIDTH` bytes.
    fn read(from: &[u8]) -> Self;
}

impl Record for u128 {
    const WIDTH: usize = 16;

    fn hash(&self) -> u128 {
        *self
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.to_le_bytes());
    }

    fn read(from: &[u8]) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&from[..16]);
        Self::from_le_bytes(bytes)
    }
}

impl Record for (u128, u64) {
    const WIDTH: usize = WIDTH_MAX;

    fn hash(&self) -> u128 {
        self.0
    }

    fn write(&self, to: &mut Vec<u8>) {
        self.0.write(to);
        to.extend_from_slice(&self.1.to_le_bytes());
    }

    fn read(from: &[u8]) -> Self {
        let mut number = [0; 8];
        number.copy_from_slice(&from[16..24]);
        (u128::read(from), u64::from_le_bytes(number))
    }
}

/// Records by hash. What was pushed is found after `settle`; of several with one hash, the last.
#[derive(Debug)]
pub(in crate::moves) struct Runs<R> {
    fresh: Vec<R>,
    settled: Vec<R>,
    files: Vec<RunFile>,
    taken: Taken,
}

impl<R: Record> Runs<R> {
    pub(in crate::moves) fn new(room: &Room) -> Self {
        Self { fresh: Vec::new(), settled: Vec::new(), files: Vec::new(), taken: Taken::new(room) }
    }

    /// Nothing was pushed so far.
    pub(in crate::moves) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.settled.is_empty() && self.files.is_empty()
    }

    /// Adds one.
    pub(in crate::moves) fn push(&mut self, record: R) -> Result<(), TargetError> {
        let size = size_of::<R>();
        if self.fresh.len() == self.fresh.capacity() {
            let bytes = self.fresh.capacity() * size;
            // While it grows there are the old and the new, twice as large.
            if bytes >= self.taken.room.piece_bytes() && self.taken.room.lacks(2 * bytes) {
                self.spill_fresh()?;
            }
            let more = self.fresh.capacity().max(self.taken.room.piece_bytes() / size / 4).max(4);
            self.fresh.reserve_exact(more);
            self.account();
        }
        self.fresh.push(record);
        Ok(())
    }

    /// From now on, all that was pushed is found.
    pub(in crate::moves) fn settle(&mut self) -> Result<(), TargetError> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let bytes = (self.fresh.len() + self.settled.len()) * size_of::<R>();
        let lacks = bytes >= self.taken.room.piece_bytes() && self.taken.room.lacks(bytes);
        if !self.files.is_empty() || lacks {
            self.spill_fresh()?;
            self.fresh = Vec::new();
            if self.files.len() > 1 {
                self.merge()?;
            }
        } else {
            order(&mut self.fresh);
            let fresh = std::mem::take(&mut self.fresh);
            let settled = std::mem::take(&mut self.settled);
            self.settled = if settled.is_empty() { fresh } else { both(&settled, &fresh) };
            self.settled.shrink_to_fit();
        }
        self.account();
        Ok(())
    }

    /// The record with that hash, of those that are settled.
    pub(in crate::moves) fn find(&self, hash: u128) -> Result<Option<R>, TargetError> {
        if let Ok(place) = self.settled.binary_search_by_key(&hash, Record::hash) {
            return Ok(Some(self.settled[place]));
        }
        for file in self.files.iter().rev() {
            if let Some(found) = file.find(hash)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn account(&mut self) {
        let records = self.fresh.capacity() + self.settled.capacity();
        let fences: usize = self.files.iter().map(|file| file.fences.capacity() * 8).sum();
        self.taken.set(records * size_of::<R>() + fences);
    }

    fn spill_fresh(&mut self) -> Result<(), TargetError> {
        // What came before goes before.
        let settled = std::mem::take(&mut self.settled);
        if !settled.is_empty() {
            self.write_run(&settled)?;
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        order(&mut fresh);
        self.write_run(&fresh)?;
        fresh.clear();
        // The memory serves the next ones, if it is no more than a piece.
        if fresh.capacity() * size_of::<R>() <= 2 * self.taken.room.piece_bytes() {
            self.fresh = fresh;
        }
        self.account();
        Ok(())
    }

    fn merge(&mut self) -> Result<(), TargetError> {
        let merged = merge::<R>(&self.files, &self.taken.room)?;
        self.files = vec![merged];
        Ok(())
    }

    fn write_run(&mut self, records: &[R]) -> Result<(), TargetError> {
        let mut writing = Writing::new()?;
        for record in records {
            writing.push(*record)?;
        }
        self.files.push(writing.end(&self.taken.room)?);
        if self.files.len() >= FILES_MAX { self.merge() } else { Ok(()) }
    }
}

/// Sorts, and leaves the last of those with one hash.
fn order<R: Record>(records: &mut Vec<R>) {
    records.sort_by_key(Record::hash);
    records.reverse();
    records.dedup_by_key(|record| record.hash());
    records.reverse();
}

/// Of two sorted lists one; the second's records go before.
fn both<R: Record>(first: &[R], second: &[R]) -> Vec<R> {
    let mut all = Vec::with_capacity(first.len() + second.len());
    let (mut a, mut b) = (first.iter().peekable(), second.iter().peekable());
    while let (Some(one), Some(other)) = (a.peek(), b.peek()) {
        match one.hash().cmp(&other.hash()) {
            std::cmp::Ordering::Less => all.extend(a.next()),
            std::cmp::Ordering::Greater => all.extend(b.next()),
            std::cmp::Ordering::Equal => {
                a.next();
                all.extend(b.next());
            }
        }
    }
    all.extend(a);
    all.extend(b);
    all
}

/// The upper half of a hash: enough to tell blocks apart.
fn upper(hash: u128) -> u64 {
    (hash >> 64) as u64
}

/// A file of sorted records.
#[derive(Debug)]
struct RunFile {
    file: File,
    records: usize,
    /// Of each block, the upper half of its first hash.
    fences: Vec<u64>,
}

impl RunFile {
    fn find<R: Record>(&self, hash: u128) -> Result<Option<R>, TargetError> {
        let wanted = upper(hash);
        let mut block = self.fences.partition_point(|fence| *fence < wanted).saturating_sub(1);
        let mut bytes = [0; BLOCK_RECORDS * WIDTH_MAX];
        while self.fences.get(block).is_some_and(|fence| *fence <= wanted) {
            let records = (self.records - block * BLOCK_RECORDS).min(BLOCK_RECORDS);
            let bytes = &mut bytes[..records * R::WIDTH];
            let offset = (block * BLOCK_RECORDS * R::WIDTH) as u64;
            self.file.read_exact_at(bytes, offset).map_err(|error| failed(&error))?;
            let (mut low, mut high) = (0, records);
            while low < high {
                let middle = low.midpoint(high);
                let record = R::read(&bytes[middle * R::WIDTH..]);
                match record.hash().cmp(&hash) {
                    std::cmp::Ordering::Less => low = middle + 1,
                    std::cmp::Ordering::Greater => high = middle,
                    std::cmp::Ordering::Equal => return Ok(Some(record)),
                }
            }
            block += 1;
        }
        Ok(None)
    }
}

/// A run that is being written.
struct Writing {
    to: BufWriter<File>,
    records: usize,
    fences: Vec<u64>,
    bytes: Vec<u8>,
}

impl Writing {
    fn new() -> Result<Self, TargetError> {
        let to = BufWriter::with_capacity(1 << 16, nameless()?);
        Ok(Self { to, records: 0, fences: Vec::new(), bytes: Vec::with_capacity(WIDTH_MAX) })
    }

    fn push<R: Record>(&mut self, record: R) -> Result<(), TargetError> {
        if self.records.is_multiple_of(BLOCK_RECORDS) {
            self.fences.push(upper(record.hash()));
        }
        self.records += 1;
        self.bytes.clear();
        record.write(&mut self.bytes);
        self.to.write_all(&self.bytes).map_err(|error| failed(&error))
    }

    fn end(self, room: &Room) -> Result<RunFile, TargetError> {
        room.spilled((self.records * self.bytes.len()) as u64);
        let file = self.to.into_inner().map_err(|error| failed(error.error()))?;
        Ok(RunFile { file, records: self.records, fences: self.fences })
    }
}

/// A run that is read from its beginning.
struct Reading<'f> {
    run: &'f RunFile,
    next: usize,
    bytes: Vec<u8>,
    at: usize,
}

impl<'f> Reading<'f> {
    fn new(run: &'f RunFile) -> Self {
        Self { run, next: 0, bytes: Vec::new(), at: 0 }
    }

    fn next<R: Record>(&mut self) -> Result<Option<R>, TargetError> {
        if self.at == self.bytes.len() {
            let records = (self.run.records - self.next).min(BLOCK_RECORDS * BLOCKS_AHEAD);
            if records == 0 {
                return Ok(None);
            }
            self.bytes.resize(records * R::WIDTH, 0);
            let offset = (self.next * R::WIDTH) as u64;
            self.run.file.read_exact_at(&mut self.bytes, offset).map_err(|e| failed(&e))?;
            self.next += records;
            self.at = 0;
        }
        let record = R::read(&self.bytes[self.at..]);
        self.at += R::WIDTH;
        Ok(Some(record))
    }
}

/// Makes one run of several; of records with one hash, the last run's stays.
fn merge<R: Record>(files: &[RunFile], room: &Room) -> Result<RunFile, TargetError> {
    let mut readers: Vec<Reading<'_>> = files.iter().map(Reading::new).collect();
    let mut heads: Vec<Option<R>> = Vec::with_capacity(readers.len());
    let mut open = BinaryHeap::new();
    for (run, reader) in readers.iter_mut().enumerate() {
        let head: Option<R> = reader.next()?;
        open.extend(head.map(|record| Reverse((record.hash(), Reverse(run)))));
        heads.push(head);
    }
    let mut writing = Writing::new()?;
    let mut last = None;
    while let Some(Reverse((hash, Reverse(run)))) = open.pop() {
        let next: Option<R> = readers[run].next()?;
        open.extend(next.map(|record| Reverse((record.hash(), Reverse(run)))));
        let record = std::mem::replace(&mut heads[run], next);
        if last != Some(hash) {
            last = Some(hash);
            if let Some(record) = record {
                writing.push(record)?;
            }
        }
    }
    writing.end(room)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// As a hash map, whatever the memory.
    #[test]
    fn what_was_pushed_last_is_found() {
        for (seed, limit) in [0, 5_000, 100_000, 1 << 30].into_iter().enumerate() {
            let room = Room::new(limit);
            let mut random = fastrand::Rng::with_seed(seed as u64);
            let mut runs = Runs::new(&room);
            let mut known = HashMap::new();
            for round in 0..5 {
                for number in 0..random.u64(0..4_000) {
                    // Few enough that they come again, and some with the same upper half.
                    let hash = (u128::from(random.u64(0..3_000)) << 64) | random.u128(0..3);
                    runs.push((hash, number)).unwrap();
                    known.insert(hash, number);
                }
                runs.settle().unwrap();
                for (hash, number) in &known {
                    assert_eq!(runs.find(*hash).unwrap(), Some((*hash, *number)), "{round}");
                }
                for _ in 0..1_000 {
                    let hash = random.u128(..);
                    let found = runs.find(hash).unwrap().map(|(_, number)| number);
                    assert_eq!(found, known.get(&hash).copied());
                }
            }
            assert_eq!(room.spilled_bytes() > 0, limit < 1 << 20);
            drop(runs);
            assert!(!room.lacks(limit), "all memory is given back");
        }
    }
}
