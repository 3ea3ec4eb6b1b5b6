//! Keys as bytes whose order is that of the keys.

use super::key::{Part, RowKey};

const NUMBER: u8 = 1;
const BYTES: u8 = 2;
const NULL: u8 = 3;

/// What a zero in bytes becomes; alone with another zero it is their end.
const ESCAPED: u8 = 0xff;

/// Appends a key. Of keys with as many parts, a smaller one has smaller bytes; what comes after the
/// key does not change that.
pub(super) fn append_ordered(key: &RowKey, to: &mut Vec<u8>) {
    for part in &key.0 {
        match part {
            Part::Number(number) => {
                to.push(NUMBER);
                to.extend_from_slice(&((*number as u64) ^ (1 << 63)).to_be_bytes());
            }
            Part::Bytes(bytes) => {
                to.push(BYTES);
                for &byte in bytes {
                    to.push(byte);
                    if byte == 0 {
                        to.push(ESCAPED);
                    }
                }
                to.extend_from_slice(&[0, 0]);
            }
            Part::Null => to.push(NULL),
        }
    }
}

/// Reads a key of which these are all bytes.
pub(super) fn read_ordered(bytes: &[u8]) -> Option<RowKey> {
    let mut from = bytes;
    let mut parts = Vec::with_capacity(1);
    while !from.is_empty() {
        parts.push(read_part(&mut from)?);
    }
    Some(RowKey(parts))
}

/// Reads a key of so many parts.
pub(super) fn read_ordered_parts(from: &mut &[u8], parts: usize) -> Option<RowKey> {
    (0..parts).map(|_| read_part(from)).collect::<Option<Vec<_>>>().map(RowKey)
}

fn read_part(from: &mut &[u8]) -> Option<Part> {
    let (&tag, rest) = from.split_first()?;
    *from = rest;
    match tag {
        NUMBER => {
            let (number, rest) = from.split_first_chunk::<8>()?;
            *from = rest;
            Some(Part::Number((u64::from_be_bytes(*number) ^ (1 << 63)) as i64))
        }
        BYTES => {
            let mut bytes = Vec::new();
            loop {
                let (&byte, rest) = from.split_first()?;
                *from = rest;
                if byte == 0 {
                    let (&next, rest) = from.split_first()?;
                    *from = rest;
                    match next {
                        0 => return Some(Part::Bytes(bytes.into())),
                        ESCAPED => {}
                        _ => return None,
                    }
                }
                bytes.push(byte);
            }
        }
        NULL => Some(Part::Null),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_bytes_is_that_of_the_keys() {
        let part = |random: &mut fastrand::Rng| match random.u8(0..4) {
            0 => Part::Null,
            1 => Part::Number(random.i64(-2..3)),
            2 => Part::Number(random.i64(..)),
            _ => {
                let bytes = (0..random.usize(0..4)).map(|_| random.u8(0..2) * 255);
                Part::Bytes(bytes.collect::<Vec<_>>().into())
            }
        };
        let mut random = fastrand::Rng::with_seed(1);
        let mut keys: Vec<RowKey> =
            (0..500).map(|_| RowKey(vec![part(&mut random), part(&mut random)])).collect();
        keys.sort();
        let bytes: Vec<Vec<u8>> = keys
            .iter()
            .map(|key| {
                let mut bytes = Vec::new();
                append_ordered(key, &mut bytes);
                bytes
            })
            .collect();
        assert!(bytes.is_sorted());
        for (key, bytes) in keys.iter().zip(&bytes) {
            assert_eq!(read_ordered(bytes).as_ref(), Some(key));
            let mut from = bytes.as_slice();
            assert_eq!(read_ordered_parts(&mut from, 2).as_ref(), Some(key));
            assert!(from.is_empty());
        }
    }
}
