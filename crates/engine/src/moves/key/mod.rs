//! Keys of rows, old and new, as values of ours.

mod columns;
mod made;
mod seen;
mod varint;

pub(super) use columns::KeyColumns;
pub(super) use made::columns_of;
use seen::{Seen, SeenBytes};
pub(super) use seen::{plain_of_written, skip_key};
pub(super) use varint::{read_varint, write_varint};

/// One column of a key. Whole numbers, days and times are numbers; all else is its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    /// A number. Those without a sign that are too large are their 20 digits, which come after all
    /// numbers, and among each other in their order.
    Number(i64),
    /// A text's bytes, or bytes.
    Bytes(Box<[u8]>),
    /// NULL. It comes last.
    Null,
}

/// A key: its columns' parts in order. Keys are ordered as a source orders rows: see
/// [`super::Extract::order`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RowKey(pub(super) Vec<Part>);

impl RowKey {
    /// The number, where it is one number.
    #[must_use]
    pub(super) fn number(&self) -> Option<i64> {
        match self.0.as_slice() {
            [Part::Number(number)] => Some(*number),
            _ => None,
        }
    }

    /// For people and for files: the parts with commas between them. Bytes that are no text are
    /// hexadecimal.
    #[must_use]
    pub(super) fn text(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(Part::text).collect();
        parts.join(",")
    }

    /// Appends what [`super::key_set::key_hash`] is taken of.
    pub(super) fn write_plain(&self, to: &mut Vec<u8>) {
        self.0.iter().for_each(|part| part.seen().write_plain(to));
    }

    /// Appends it in a form that `read` understands.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        for part in &self.0 {
            part.write(to);
        }
    }

    /// Reads a key of so many parts.
    pub(super) fn read(from: &mut &[u8], parts: usize) -> Option<Self> {
        (0..parts).map(|_| Part::read(from)).collect::<Option<Vec<_>>>().map(Self)
    }
}

impl Part {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Null => "NULL".to_owned(),
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if !text.contains(['\0']) => text.to_owned(),
                _ => hex::encode(bytes),
            },
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        self.seen().write(to);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        Seen::read(from).map(Seen::owned)
    }

    fn seen(&self) -> Seen<'_> {
        match self {
            Self::Number(number) => Seen::Number(*number),
            Self::Bytes(bytes) => Seen::Bytes(SeenBytes::There(bytes)),
            Self::Null => Seen::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, PrimitiveArray, StringArray, UInt32Array};
    use arrow::datatypes::{DataType, Int64Type, UInt64Type};

    use super::*;

    #[test]
    fn keys_go_there_and_back() {
        let key = RowKey(vec![
            Part::Number(i64::MIN),
            Part::Number(-1),
            Part::Bytes(b"\0a,".as_slice().into()),
            Part::Null,
        ]);
        let mut bytes = Vec::new();
        key.write(&mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(RowKey::read(&mut rest, 4), Some(key));
        assert!(rest.is_empty());
        for cut in 0..bytes.len() {
            assert_eq!(RowKey::read(&mut &bytes[..cut], 4), None, "{cut}");
        }
    }

    #[test]
    fn columns_tell_what_keys_tell() {
        let numbers: ArrayRef =
            Arc::new(PrimitiveArray::<Int64Type>::from(vec![Some(-3), Some(7), Some(7), None]));
        let unsigned: ArrayRef =
            Arc::new(PrimitiveArray::<UInt64Type>::from(vec![1, 2, u64::MAX, u64::MAX]));
        let columns = KeyColumns::of(&[numbers, unsigned]).unwrap();
        let keys: Vec<RowKey> = (0..4).map(|row| columns.key(row)).collect();
        for (row, key) in keys.iter().enumerate() {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            columns.write(row, &mut one);
            key.write(&mut other);
            assert_eq!(one, other);
            assert_eq!(skip_key(&mut one.as_slice(), 2), Some(other.as_slice()));
            let mut plain = Vec::new();
            plain_of_written(&one, &mut plain);
            (one, other) = (Vec::new(), Vec::new());
            columns.write_plain(row, &mut one);
            key.write_plain(&mut other);
            assert_eq!((&one, &one), (&other, &plain));
            for (place, than) in keys.iter().enumerate() {
                assert_eq!(columns.order(row, than), key.cmp(than));
                assert_eq!(columns.same(row, place), key == than);
            }
            assert_eq!(columns.count_upto(0, key), keys.iter().filter(|k| *k <= key).count());
        }
        let twice = KeyColumns::concat(&[columns.clone(), columns.slice(1, 2).unwrap()]).unwrap();
        assert_eq!((twice.len(), twice.key(5)), (6, keys[2].clone()));
        let some = twice.take(&UInt32Array::from(vec![5, 0])).unwrap();
        assert_eq!((some.key(0), some.key(1)), (keys[2].clone(), keys[0].clone()));
        let marked = BooleanArray::from(vec![false, true]);
        assert_eq!(some.filter(&marked).unwrap().key(0), keys[0]);
    }

    #[test]
    fn what_a_column_adds_is_no_part_of_a_key() {
        use dunlin_model::moves::{Field, Numbering, ValueType};
        let field = |value_type| Field {
            name: "k".to_owned(),
            type_name: String::new(),
            value_type,
            nullable: false,
            has_default: false,
            numbering: Numbering::None,
            generated: false,
            max_chars: None,
            limit: None,
        };
        let texts = |all: &[&str]| Arc::new(StringArray::from(all.to_vec())) as ArrayRef;
        let fields = [
            field(ValueType::Numeric { scale: Some(3) }),
            field(ValueType::Text { padded: true }),
            field(ValueType::Text { padded: false }),
        ];
        let written =
            [texts(&["1", "-0.5", "100"]), texts(&["a", " b", ""]), texts(&["x ", "", "1.0"])];
        let read = [
            texts(&["1.000", "-0.500", "100.000"]),
            texts(&["a  ", " b ", "  "]),
            written[2].clone(),
        ];
        let written = KeyColumns::of_target(fields.iter(), &written).unwrap();
        let read = KeyColumns::of_target(fields.iter(), &read).unwrap();
        assert!((0..3).all(|row| written.key(row) == read.key(row)));
        assert_eq!(written.key(2).text(), "100,,1.0");
        assert_eq!(read.key(0).text(), "1,a,x ");
    }

    #[test]
    fn numbers_without_a_sign_keep_their_order() {
        let all = [0, 7, i64::MAX as u64, i64::MAX as u64 + 1, 10_u64.pow(19), u64::MAX];
        let column: ArrayRef = Arc::new(PrimitiveArray::<UInt64Type>::from(all.to_vec()));
        let read = KeyColumns::of(std::slice::from_ref(&column)).unwrap();
        let keys: Vec<RowKey> = (0..all.len()).map(|row| read.key(row)).collect();
        assert!(keys.is_sorted());
        assert_eq!(columns_of(&[DataType::UInt64], keys.iter()).unwrap(), [column]);
    }

    #[test]
    fn columns_come_of_keys_and_keys_of_columns() {
        let keys = [
            RowKey(vec![Part::Number(7), Part::Bytes(b"x".as_slice().into())]),
            RowKey(vec![Part::Number(-7), Part::Null]),
        ];
        let types = [DataType::Date32, DataType::Utf8];
        let columns = columns_of(&types, keys.iter()).unwrap();
        let read = KeyColumns::of(&columns).unwrap();
        assert_eq!((0..read.len()).map(|row| read.key(row)).collect::<Vec<_>>(), keys);
    }
}
