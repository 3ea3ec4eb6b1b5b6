//! The frame that PostgreSQL's binary forms share: values behind their lengths.

use std::ops::Range;

/// What a stream of binary COPY begins with.
pub(super) const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Reads a frame from its beginning.
pub(super) struct Fields<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// From the first byte.
    pub(super) fn of(raw: &'a [u8]) -> Self {
        Self { raw, at: 0 }
    }

    /// How many bytes were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.raw.len()
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.raw.get(self.at..self.at + N)?.try_into().ok()?;
        self.at += N;
        Some(bytes)
    }

    /// The next 16 bits.
    pub(super) fn int16(&mut self) -> Option<i16> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// The next 32 bits.
    pub(super) fn int32(&mut self) -> Option<i32> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// Where the next value is; inside: NULL. Outside: the bytes end before it.
    fn place(&mut self) -> Option<Option<Range<usize>>> {
        let size = self.int32()?;
        if size == -1 {
            return Some(None);
        }
        let end = self.at.checked_add(usize::try_from(size).ok()?)?;
        if end > self.raw.len() {
            return None;
        }
        let place = self.at..end;
        self.at = end;
        Some(Some(place))
    }

    /// The next value; inside: NULL. Outside: the bytes end before it.
    pub(super) fn value(&mut self) -> Option<Option<&'a [u8]>> {
        let place = self.place()?;
        Some(place.map(|place| &self.raw[place]))
    }

    /// Where the next values are; `false`: the bytes end before the last of them.
    pub(super) fn places(&mut self, count: usize, to: &mut Vec<Option<Range<usize>>>) -> bool {
        for _ in 0..count {
            match self.place() {
                Some(place) => to.push(place),
                None => return false,
            }
        }
        true
    }
}
