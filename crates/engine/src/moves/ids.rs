//! Derived ids, version 1: a UUID that follows from the move's key, a namespace and an old key.
//!
//! For whole numbers it is a bijection, so there are no collisions: `x = tag58 ‖ key64` is permuted
//! by a ten-round Feistel network over 61|61 bits, whose round function is AES-128, and spread
//! around the version and variant bits of UUIDv8. Other keys go through keyed BLAKE3.
//!
//! One id in 64 has 0x80 as its ninth byte. MariaDB's `uuid` refuses such ids from version 8 on, as if
//! their variant were none, so they are passed over: what was permuted is permuted again. Two numbers
//! could then come to one id only if one's way led through the other, tag and all: 2⁻⁵⁸ for each.

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Block};

use super::key::{Part, RowKey};

const HALF_BITS: u32 = 61;
const HALF_MASK: u64 = (1 << HALF_BITS) - 1;
const TAG_BITS: u32 = 58;
/// An even number: they are done in pairs.
const ROUNDS: u8 = 10;
const VERSION: u8 = 1;

/// Ids that are made side by side.
const AT_ONCE: usize = 64;

/// Derives ids under one key.
#[derive(Clone)]
pub(super) struct IdCipher {
    aes: Aes128,
    hash_key: [u8; 32],
}

/// A namespace's tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(u64);

impl Tag {
    /// The first 58 bits of BLAKE3 of its name.
    pub(super) fn of(namespace: &str) -> Self {
        let hash = blake3::hash(namespace.as_bytes());
        let mut first = [0_u8; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        Self(u64::from_be_bytes(first) >> (64 - TAG_BITS))
    }
}

impl IdCipher {
    /// `secret`: 32 random bytes of the move's; `salt`: the mapping's `id_key`.
    pub(super) fn new(secret: &[u8; 32], salt: &str) -> Self {
        let mut material = secret.to_vec();
        material.extend_from_slice(salt.as_bytes());
        let number_key = blake3::derive_key("dunlin move ids v1: numbers", &material);
        let hash_key = blake3::derive_key("dunlin move ids v1: other keys", &material);
        let mut first = [0; 16];
        first.copy_from_slice(&number_key[..16]);
        Self { aes: Aes128::new(&Array::from(first)), hash_key }
    }

    /// The id of an old key.
    pub(super) fn derive(&self, tag: Tag, key: &RowKey) -> [u8; 16] {
        match key.number() {
            Some(number) => self.of_number(tag, number),
            None => self.of_other(tag, key),
        }
    }

    pub(super) fn of_number(&self, tag: Tag, number: i64) -> [u8; 16] {
        self.accepted(self.permuted(bits_of_number(tag, number)))
    }

    /// The same of many: side by side they keep the processor's AES units busy, where one waits for
    /// each of its ten rounds.
    pub(super) fn of_numbers(&self, tag: Tag, numbers: &[i64]) -> Vec<[u8; 16]> {
        let mut ids = Vec::with_capacity(numbers.len());
        let mut blocks = [Block::default(); AT_ONCE];
        // Two columns, and two rounds at a time, after which each half is where it was: so what is
        // between the rounds' AES is a few instructions for several ids as well.
        let (mut left, mut right) = ([0_u64; AT_ONCE], [0_u64; AT_ONCE]);
        for some in numbers.chunks(AT_ONCE) {
            let count = some.len();
            for (place, number) in some.iter().enumerate() {
                (left[place], right[place]) = halves_of(bits_of_number(tag, *number));
            }
            let mut mix = |round: u8, from: &[u64; AT_ONCE], into: &mut [u64; AT_ONCE]| {
                for (block, from) in blocks[..count].iter_mut().zip(from) {
                    *block = block_of(round, *from);
                }
                self.aes.encrypt_blocks(&mut blocks[..count]);
                for (into, block) in into[..count].iter_mut().zip(&blocks) {
                    *into ^= low_half(block);
                }
            };
            for round in (0..ROUNDS).step_by(2) {
                mix(round, &right, &mut left);
                mix(round + 1, &left, &mut right);
            }
            let halves = left[..count].iter().zip(&right);
            ids.extend(halves.map(|(left, right)| self.accepted(whole_of(*left, *right))));
        }
        ids
    }

    /// The id that these bits make; where it isn't one that every database takes, the next.
    fn accepted(&self, mut bits: u128) -> [u8; 16] {
        loop {
            let id = uuid_of(bits);
            if is_taken_everywhere(&id) {
                return id;
            }
            bits = self.permuted(bits);
        }
    }

    fn permuted(&self, bits: u128) -> u128 {
        let (mut left, mut right) = halves_of(bits);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(round, right));
        }
        whole_of(left, right)
    }

    /// The old number of an id. `None`: it is no id of that namespace.
    #[cfg(test)]
    fn number_of(&self, tag: Tag, id: &[u8; 16]) -> Option<i64> {
        let mut bits = bits_of(id)?;
        loop {
            let mut left = (bits >> HALF_BITS) as u64 & HALF_MASK;
            let mut right = bits as u64 & HALF_MASK;
            for round in (0..ROUNDS).rev() {
                (left, right) = (right ^ self.round(round, left), left);
            }
            bits = (u128::from(left) << HALF_BITS) | u128::from(right);
            if (bits >> 64) as u64 == tag.0 {
                return Some(bits as u64 as i64);
            }
            if is_taken_everywhere(&uuid_of(bits)) {
                return None;
            }
        }
    }

    fn round(&self, round: u8, half: u64) -> u64 {
        let mut block = block_of(round, half);
        self.aes.encrypt_block(&mut block);
        low_half(&block)
    }

    fn of_other(&self, tag: Tag, key: &RowKey) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.hash_key);
        hasher.update(&[VERSION]);
        hasher.update(&tag.0.to_be_bytes());
        for part in &key.0 {
            match part {
                Part::Null => hasher.update(&[0]),
                Part::Number(number) => hasher.update(&[1]).update(&number.to_be_bytes()),
                Part::Bytes(bytes) => {
                    hasher.update(&[2]).update(&(bytes.len() as u64).to_be_bytes()).update(bytes)
                }
            };
        }
        let mut digest = hasher.finalize_xof();
        loop {
            let mut bits = [0_u8; 16];
            digest.fill(&mut bits);
            let id = uuid_of(u128::from_be_bytes(bits) >> 6);
            if is_taken_everywhere(&id) {
                return id;
            }
        }
    }
}

fn bits_of_number(tag: Tag, number: i64) -> u128 {
    (u128::from(tag.0) << 64) | u128::from(number as u64)
}

fn halves_of(bits: u128) -> (u64, u64) {
    ((bits >> HALF_BITS) as u64 & HALF_MASK, bits as u64 & HALF_MASK)
}

fn whole_of(left: u64, right: u64) -> u128 {
    (u128::from(left) << HALF_BITS) | u128::from(right)
}

/// version ‖ r ‖ 0⁶ ‖ R
fn block_of(round: u8, half: u64) -> Block {
    let head = u128::from(VERSION) | u128::from(round) << 8;
    Block::from((head | u128::from(half.swap_bytes()) << 64).to_le_bytes())
}

fn low_half(block: &Block) -> u64 {
    let whole = u128::from_le_bytes(block.0);
    ((whole >> 64) as u64).swap_bytes() & HALF_MASK
}

/// 122 bits around UUIDv8's version and variant.
fn uuid_of(bits: u128) -> [u8; 16] {
    let (a, b, c) = (bits >> 74, (bits >> 62) & 0xfff, bits & ((1 << 62) - 1));
    ((a << 80) | (8 << 76) | (b << 64) | (0b10 << 62) | c).to_be_bytes()
}

/// Whether each database's own type of UUIDs takes it.
fn is_taken_everywhere(id: &[u8; 16]) -> bool {
    id[8] != 0x80
}

#[cfg(test)]
fn bits_of(id: &[u8; 16]) -> Option<u128> {
    let value = u128::from_be_bytes(*id);
    let is_ours = (value >> 76) & 0xf == 8 && (value >> 62) & 0b11 == 0b10;
    let (a, b, c) = (value >> 80, (value >> 64) & 0xfff, value & ((1 << 62) - 1));
    is_ours.then_some((a << 74) | (b << 62) | c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher() -> IdCipher {
        IdCipher::new(&[7; 32], "design-queue")
    }

    #[test]
    fn numbers_come_back() {
        let (cipher, tag) = (cipher(), Tag::of("user"));
        for number in [0, 1, -1, 42, i64::MAX, i64::MIN, 1 << 40] {
            let id = cipher.of_number(tag, number);
            assert_eq!(cipher.number_of(tag, &id), Some(number));
            assert_eq!(cipher.number_of(Tag::of("request"), &id), None);
            assert_eq!((id[6] >> 4, id[8] >> 6), (8, 0b10), "a UUIDv8");
        }
    }

    #[test]
    fn no_id_is_one_that_mariadb_refuses() {
        let (cipher, tag) = (cipher(), Tag::of("user"));
        for number in 0..2_000 {
            let id = cipher.of_number(tag, number);
            assert_ne!(id[8], 0x80, "{number}");
            assert_eq!(cipher.number_of(tag, &id), Some(number));
            let text = RowKey(vec![Part::Bytes(number.to_string().as_bytes().into())]);
            assert_ne!(cipher.derive(tag, &text)[8], 0x80, "{number}");
        }
    }

    /// Ids are for ever: these never change.
    #[test]
    fn golden() {
        let cipher = cipher();
        let user = Tag::of("user");
        let id = |key: &RowKey| hex::encode(cipher.derive(user, key));
        let text = RowKey(vec![Part::Bytes(b"ada".as_slice().into())]);
        let shown =
            [id(&RowKey(vec![Part::Number(1)])), id(&RowKey(vec![Part::Number(-1)])), id(&text)];
        assert_eq!(shown, GOLDEN);
    }

    const GOLDEN: [&str; 3] = [
        "862a30b630f18b37ae55e3d8572bdb8f",
        "d454d11228638b0183477e5d183b22a5",
        "489d5d43c7cc832fa700fe7eb5962a59",
    ];

    #[test]
    fn texts_have_ids_of_their_own() {
        let (cipher, tag) = (cipher(), Tag::of("user"));
        let key = |parts: &[&str]| {
            RowKey(parts.iter().map(|part| Part::Bytes(part.as_bytes().into())).collect())
        };
        let ids =
            [key(&["ab", "c"]), key(&["a", "bc"]), key(&["abc"])].map(|k| cipher.derive(tag, &k));
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }

    #[test]
    #[ignore = "a measurement: cargo xtask bench move --part ids"]
    fn how_long_an_id_takes() {
        const IDS: i64 = 5_000_000;
        let (cipher, tag) = (IdCipher::new(&[7; 32], "bench"), Tag::of("comment"));
        let numbers: Vec<i64> = (0..IDS).collect();
        let middle = |make: &dyn Fn()| {
            let once = |_| {
                let began = std::time::Instant::now();
                make();
                began.elapsed().as_secs_f64() * 1e9 / IDS as f64
            };
            let mut all: Vec<f64> = (0..5).map(once).collect();
            all.sort_by(f64::total_cmp);
            all[2]
        };
        let many = middle(&|| {
            for some in numbers.chunks(10_000) {
                std::hint::black_box(cipher.of_numbers(tag, std::hint::black_box(some)));
            }
        });
        let one = middle(&|| {
            for number in &numbers {
                std::hint::black_box(cipher.of_number(tag, std::hint::black_box(*number)));
            }
        });
        println!("an id: {many:.1} ns in columns of 10,000, {one:.1} ns by itself");
    }

    #[test]
    fn many_ids_are_those_of_each() {
        let (cipher, tag) = (IdCipher::new(&[7; 32], "many"), Tag::of("comment"));
        let numbers: Vec<i64> =
            (-500..500).chain([i64::MIN, i64::MAX]).chain((0..63).map(|bit| 1 << bit)).collect();
        let each: Vec<_> = numbers.iter().map(|number| cipher.of_number(tag, *number)).collect();
        for count in [0, 1, 63, 64, 65, numbers.len()] {
            assert_eq!(cipher.of_numbers(tag, &numbers[..count]), each[..count]);
        }
    }
}
