//! A key's columns where they stand: in Arrow's columns, or in the bytes that were written.

use std::cmp::Ordering;

use super::Part;
use super::varint::{read_varint, unzigzag, write_varint, zigzag};

/// One column of a key, where it stands. It is ordered as [`Part`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen<'a> {
    Number(i64),
    Bytes(SeenBytes<'a>),
    Null,
}

/// Bytes that stand somewhere, or digits that stand nowhere else.
#[derive(Debug, Clone, Copy)]
pub(super) enum SeenBytes<'a> {
    There(&'a [u8]),
    Digits([u8; 20]),
}

impl SeenBytes<'_> {
    fn get(&self) -> &[u8] {
        match self {
            Self::There(bytes) => bytes,
            Self::Digits(digits) => digits,
        }
    }
}

impl PartialEq for SeenBytes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for SeenBytes<'_> {}

impl PartialOrd for SeenBytes<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SeenBytes<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.get().cmp(other.get())
    }
}

impl Seen<'_> {
    pub(super) fn owned(self) -> Part {
        match self {
            Self::Number(number) => Part::Number(number),
            Self::Bytes(bytes) => Part::Bytes(bytes.get().into()),
            Self::Null => Part::Null,
        }
    }

    pub(super) fn write(self, to: &mut Vec<u8>) {
        match self {
            Self::Null => to.push(0),
            Self::Number(number) => {
                to.push(1);
                write_varint(to, zigzag(number));
            }
            Self::Bytes(bytes) => {
                to.push(2);
                write_varint(to, bytes.get().len() as u64);
                to.extend_from_slice(bytes.get());
            }
        }
    }

    pub(super) fn write_plain(self, to: &mut Vec<u8>) {
        match self {
            Self::Null => to.push(0),
            Self::Number(number) => {
                to.push(1);
                to.extend_from_slice(&number.to_le_bytes());
            }
            Self::Bytes(bytes) => {
                to.push(2);
                to.extend_from_slice(&(bytes.get().len() as u64).to_le_bytes());
                to.extend_from_slice(bytes.get());
            }
        }
    }

    pub(super) fn read<'b>(from: &mut &'b [u8]) -> Option<Seen<'b>> {
        let (&tag, rest) = from.split_first()?;
        *from = rest;
        match tag {
            0 => Some(Seen::Null),
            1 => Some(Seen::Number(unzigzag(read_varint(from)?))),
            2 => {
                let length = usize::try_from(read_varint(from)?).ok()?;
                let (bytes, rest) = from.split_at_checked(length)?;
                *from = rest;
                Some(Seen::Bytes(SeenBytes::There(bytes)))
            }
            _ => None,
        }
    }
}

/// Passes over a key that was written, of so many parts: its bytes.
pub(in crate::moves) fn skip_key<'b>(from: &mut &'b [u8], parts: usize) -> Option<&'b [u8]> {
    let start = *from;
    for _ in 0..parts {
        Seen::read(from)?;
    }
    start.get(..start.len() - from.len())
}

/// From a key that was written to what [`super::super::key_set::key_hash`] is taken of.
pub(in crate::moves) fn plain_of_written(mut key: &[u8], to: &mut Vec<u8>) {
    while let Some(part) = Seen::read(&mut key) {
        part.write_plain(to);
    }
}
