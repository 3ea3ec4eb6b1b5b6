//! Hashes of rows, spread by their first bits, so that two large sets of them can be held side by side
//! part by part: each part fits into a processor's cache, where one large table would be waited for
//! with every row.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::row_hash::RowHash;

/// Parts: of a million rows, each has 4,000, which take 64 KiB.
const PARTS: usize = 256;

/// Hashes, which are not hashed once more.
pub(super) type Hashes = HashSet<RowHash, BuildHasherDefault<LastBits>>;

/// The last bits of a hash. The first say which part it is in.
#[derive(Default)]
pub(super) struct LastBits(u64);

impl Hasher for LastBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `write_u128` is called; this is right for anything else.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

/// A set of hashes.
pub(super) struct Spread(Vec<Vec<RowHash>>);

impl Spread {
    /// With room for about so many.
    pub(super) fn with_room(rows: usize) -> Self {
        // Chance makes some parts larger than others.
        let each = rows / PARTS + rows / PARTS / 16;
        Self((0..PARTS).map(|_| Vec::with_capacity(each)).collect())
    }

    pub(super) fn push(&mut self, hash: RowHash) {
        self.0[(hash >> 120) as usize % PARTS].push(hash);
    }

    /// How many are among the others as well, and those that aren't. Of equal ones, one counts.
    pub(super) fn without(self, others: Self) -> (usize, Hashes) {
        let (mut both, mut left) = (0, Hashes::default());
        let mut part = Hashes::default();
        for (ours, others) in self.0.into_iter().zip(others.0) {
            part.extend(ours);
            let all = part.len();
            for hash in &others {
                part.remove(hash);
            }
            both += all - part.len();
            left.extend(part.drain());
        }
        (both, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_sets_are() {
        let mut random = fastrand::Rng::with_seed(1);
        for (ours, others) in [(0, 0), (0, 10), (10, 0), (3_000, 3_000), (50_000, 70_000)] {
            let mut some = |count: usize| -> Vec<u128> {
                // Few first bits and few last bits, so that parts and places are met again and again.
                let hash = |random: &mut fastrand::Rng| {
                    (random.u128(0..9) << 121) | (random.u128(0..3) << 64) | random.u128(0..999)
                };
                (0..count).map(|_| hash(&mut random)).collect()
            };
            let (ours, others) = (some(ours), some(others));
            let spread = |hashes: &[u128]| {
                let mut spread = Spread::with_room(hashes.len());
                hashes.iter().for_each(|hash| spread.push(*hash));
                spread
            };
            let (both, left) = spread(&ours).without(spread(&others));
            let ours: HashSet<u128> = ours.into_iter().collect();
            let others: HashSet<u128> = others.into_iter().collect();
            assert_eq!(both, ours.intersection(&others).count());
            assert_eq!(left.into_iter().collect::<HashSet<_>>(), &ours - &others);
        }
    }
}
