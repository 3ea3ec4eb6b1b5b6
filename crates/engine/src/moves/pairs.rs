//! Keys' hashes with rows' hashes, in memory while they are few, and in files beyond that.
//!
//! Two sets of them are compared share by share, each with the keys of one range of hashes, so that
//! tables of any size are read once and take bounded memory.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};

use super::row_hash::RowHash;
use crate::{ErrorKind, TargetError};

/// Pairs of a set that are kept in memory: about 5 MiB, and there are some sets at a time.
const IN_MEMORY: usize = 100_000;

/// Shares that a set is cut into: of 100 million rows, about 400,000 are compared at once.
const SHARES: usize = 256;

/// A key's hash, its row's hash, and a mark.
pub(super) type Pair = (u128, RowHash, u8);

const BYTES: usize = 33;

/// A set of pairs, to be read share by share once all are in.
pub(super) struct Pairs {
    shares: Vec<Vec<Pair>>,
    count: usize,
    file: Option<File>,
    /// Where a share's pairs are in the file: from which byte on, and how many.
    blocks: Vec<Vec<(u64, usize)>>,
}

impl Default for Pairs {
    fn default() -> Self {
        let shares = vec![Vec::new(); SHARES];
        Self { shares, count: 0, file: None, blocks: vec![Vec::new(); SHARES] }
    }
}

impl Pairs {
    /// The shares: the same for every set.
    pub(super) fn shares() -> impl Iterator<Item = usize> {
        0..SHARES
    }

    pub(super) fn push(&mut self, pair: Pair) -> Result<(), TargetError> {
        let share = (pair.0 >> 120) as usize % SHARES;
        self.shares[share].push(pair);
        self.count += 1;
        if self.count >= IN_MEMORY {
            self.spill().map_err(|error| no_room(&error))?;
        }
        Ok(())
    }

    fn spill(&mut self) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        let mut at = file.seek(SeekFrom::End(0))?;
        let mut into = BufWriter::new(file);
        for (share, blocks) in self.shares.iter_mut().zip(&mut self.blocks) {
            if share.is_empty() {
                continue;
            }
            blocks.push((at, share.len()));
            at += (share.len() * BYTES) as u64;
            for (key, row, mark) in share.drain(..) {
                into.write_all(&key.to_le_bytes())?;
                into.write_all(&row.to_le_bytes())?;
                into.write_all(&[mark])?;
            }
        }
        into.flush()?;
        self.count = 0;
        Ok(())
    }

    /// Takes a share out.
    pub(super) fn take(&mut self, share: usize) -> Result<Vec<Pair>, TargetError> {
        let mut pairs = std::mem::take(&mut self.shares[share]);
        let blocks = std::mem::take(&mut self.blocks[share]);
        if let Some(file) = &mut self.file {
            read(file, &blocks, &mut pairs).map_err(|error| no_room(&error))?;
        }
        Ok(pairs)
    }
}

fn read(file: &mut File, blocks: &[(u64, usize)], pairs: &mut Vec<Pair>) -> std::io::Result<()> {
    for (at, count) in blocks {
        let mut bytes = vec![0_u8; count * BYTES];
        file.seek(SeekFrom::Start(*at))?;
        file.read_exact(&mut bytes)?;
        for record in bytes.chunks_exact(BYTES) {
            let (mut key, mut row) = ([0; 16], [0; 16]);
            key.copy_from_slice(&record[..16]);
            row.copy_from_slice(&record[16..32]);
            pairs.push((u128::from_le_bytes(key), u128::from_le_bytes(row), record[32]));
        }
    }
    Ok(())
}

fn no_room(error: &std::io::Error) -> TargetError {
    TargetError::new(
        ErrorKind::Refused,
        format!("hashes of rows can't be kept in the folder for temporary files: {error}"),
    )
    .help("make room there, or set TMPDIR to a folder with room: 100 bytes for each row")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_also_through_files() {
        let mut pairs = Pairs::default();
        let of = |n: u128| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835), n, n as u8);
        for n in 0..2_000 {
            pairs.push(of(n)).unwrap();
            if n == 1_000 {
                pairs.spill().unwrap();
            }
        }
        let mut all: Vec<Pair> =
            Pairs::shares().flat_map(|share| pairs.take(share).unwrap()).collect();
        all.sort_by_key(|(_, row, _)| *row);
        assert_eq!(all, (0..2_000).map(of).collect::<Vec<_>>());
        assert!(Pairs::shares().all(|share| pairs.take(share).unwrap().is_empty()));
    }
}
