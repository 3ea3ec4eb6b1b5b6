//! What a table has for each key, in memory and beyond it in files without a name.

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::row::{RowConverter, SortField};
use dunlin_model::moves::Field;

use super::super::arrow_type;
use super::super::columns::bug;
use super::super::key::KeyColumns;
use super::super::key_set::column_key_hash;
use super::super::read_rows::ReadRows;
use super::super::spill::{Room, Runs, Spool};
use crate::TargetError;

/// Stands for the place of a value where several rows have one key and other values.
const AMBIGUOUS: u64 = u64::MAX;

/// Stands for the place of a value that could not be read.
const UNREADABLE: u64 = u64::MAX - 1;

/// The bytes of a key's hash, which stand before its value.
const HASH_BYTES: usize = 16;

/// Values while they are read.
pub(super) struct ValuesBuilder {
    values: Values,
    keys: usize,
    buffer: Vec<u8>,
}

/// Values by key.
pub(super) struct Values {
    places: Runs<(u128, u64)>,
    pieces: Spool,
    rows: RowConverter,
    /// What NULL is among the pieces, without the hash.
    null: Vec<u8>,
    /// Not every row of the table could be read.
    is_incomplete: bool,
}

impl ValuesBuilder {
    /// Of a column's values, by keys of so many columns.
    pub(super) fn new(taken: &Field, keys: usize, room: &Room) -> Result<Self, TargetError> {
        let of = arrow_type(&taken.value_type, false);
        let rows = RowConverter::new(vec![SortField::new(of.clone())]).map_err(|e| bug(&e))?;
        let null = rows.convert_columns(&[new_null_array(&of, 1)]).map_err(|e| bug(&e))?;
        let values = Values {
            places: Runs::new(room),
            pieces: Spool::new(room),
            null: null.row(0).as_ref().to_vec(),
            rows,
            is_incomplete: false,
        };
        Ok(Self { values, keys, buffer: Vec::new() })
    }

    /// Takes rows: their keys' columns, and behind them the value's.
    pub(super) fn take(&mut self, read: &ReadRows) -> Result<(), TargetError> {
        let (keys, value) = read.rows.columns().split_at(self.keys);
        let values = self.values.rows.convert_columns(value).map_err(|error| bug(&error))?;
        let hashed = KeyColumns::of(keys)?;
        let mut flaws = read.unreadable.iter().peekable();
        for row in 0..read.count() {
            let (mut nameless, mut unreadable) = (false, false);
            while let Some(flaw) = flaws.next_if(|flaw| flaw.row as usize <= row) {
                nameless |= flaw.column < self.keys;
                unreadable |= flaw.column >= self.keys;
            }
            self.values.is_incomplete |= nameless;
            // NULL is equal to nothing.
            if nameless || keys.iter().any(|column| column.is_null(row)) {
                continue;
            }
            let hash = column_key_hash(&hashed, row, &mut self.buffer);
            let place = if unreadable {
                UNREADABLE
            } else {
                self.buffer.clear();
                self.buffer.extend_from_slice(&hash.to_le_bytes());
                self.buffer.extend_from_slice(values.row(row).as_ref());
                self.values.pieces.push(&self.buffer)?
            };
            self.values.places.push((hash, place))?;
        }
        Ok(())
    }

    /// All that there is. `is_unique`: no two rows have one key. `unread`: there were records that are
    /// no rows.
    pub(super) fn end(mut self, is_unique: bool, unread: bool) -> Result<Values, TargetError> {
        self.values.places.settle()?;
        self.values.is_incomplete |= unread;
        if !is_unique {
            self.values.mark_ambiguous()?;
        }
        Ok(self.values)
    }
}

impl Values {
    /// Of several rows with one key, the last is found so far: all others are compared with it.
    fn mark_ambiguous(&mut self) -> Result<(), TargetError> {
        let mut pieces = self.pieces.pieces();
        while let Some(piece) = pieces.next()? {
            let (hash, value) = split(piece);
            let Some((_, place)) = self.places.find(hash)? else { continue };
            let is_same = place < UNREADABLE && split(&self.pieces.piece(place)?).1 == value;
            // One that is marked already is found so at the latest after `settle`.
            if !is_same && place != AMBIGUOUS {
                self.places.push((hash, AMBIGUOUS))?;
            }
        }
        self.places.settle()
    }
}

/// A key's hash, and the value.
fn split(piece: &[u8]) -> (u128, &[u8]) {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(&piece[..HASH_BYTES]);
    (u128::from_le_bytes(hash), &piece[HASH_BYTES..])
}

/// What was found for the rows of a batch.
pub(super) struct Answer {
    /// The values; NULL where nothing is found.
    pub(super) column: ArrayRef,
    /// Rows for which it isn't known what would be found, and why, as it goes on behind a column's name.
    pub(super) flaws: Vec<(u32, &'static str)>,
}

impl Answer {
    /// Looks each row's key up. `unknown`: rows whose key could not be read.
    pub(super) fn of(
        values: &Values,
        keys: &KeyColumns,
        of: &[ArrayRef],
        unknown: &[u32],
    ) -> Result<Self, TargetError> {
        let mut found: Vec<Vec<u8>> = Vec::with_capacity(keys.len());
        let mut flaws: Vec<(u32, &'static str)> = Vec::new();
        let mut buffer = Vec::new();
        for row in 0..keys.len() {
            let mut flaw = |why| flaws.push((row as u32, why));
            let mut value = None;
            if unknown.contains(&(row as u32)) {
                flaw("is looked up by a value that can't be read");
            } else if of.iter().all(|column| column.is_valid(row)) {
                let hash = column_key_hash(keys, row, &mut buffer);
                match values.places.find(hash)? {
                    Some((_, AMBIGUOUS)) => flaw("finds several rows with other values"),
                    Some((_, UNREADABLE)) => flaw("finds a value that can't be read"),
                    Some((_, place)) => {
                        value = Some(split(&values.pieces.piece(place)?).1.to_vec());
                    }
                    None if values.is_incomplete => {
                        flaw("finds nothing where not every row could be read");
                    }
                    None => {}
                }
            }
            found.push(value.unwrap_or_else(|| values.null.clone()));
        }
        let parser = values.rows.parser();
        let rows = found.iter().map(|bytes| parser.parse(bytes));
        let columns = values.rows.convert_rows(rows).map_err(|error| bug(&error))?;
        let column = columns.into_iter().next().ok_or_else(|| {
            TargetError::new(crate::ErrorKind::Bug, "a value that was found has no column")
        })?;
        Ok(Self { column, flaws })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::record_batch::RecordBatch;
    use dunlin_model::moves::ValueType;

    use super::super::super::read_rows::Unreadable;
    use super::*;

    fn text() -> Field {
        Field {
            name: "name".to_owned(),
            type_name: "text".to_owned(),
            value_type: ValueType::Text { padded: false },
            nullable: true,
            has_default: false,
            numbering: dunlin_model::moves::Numbering::None,
            generated: false,
            max_chars: None,
            limit: None,
        }
    }

    fn rows(rows: &[(Option<i64>, Option<String>)]) -> RecordBatch {
        let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
        let names: ArrayRef =
            Arc::new(rows.iter().map(|row| row.1.clone()).collect::<StringArray>());
        RecordBatch::try_from_iter([("id", keys), ("name", names)]).unwrap()
    }

    /// As a hash map, whatever the memory.
    #[test]
    fn what_a_key_has_is_found() {
        for (seed, limit) in [0, 20_000, 1 << 30].into_iter().enumerate() {
            let room = Room::new(limit);
            let mut random = fastrand::Rng::with_seed(seed as u64);
            let mut builder = ValuesBuilder::new(&text(), 1, &room).unwrap();
            let mut known: HashMap<i64, Vec<Option<String>>> = HashMap::new();
            for _ in 0..20 {
                let batch: Vec<(Option<i64>, Option<String>)> = (0..random.usize(0..200))
                    .map(|_| {
                        let name = random.bool().then(|| format!("name {}", random.u8(0..3)));
                        (random.bool().then(|| random.i64(0..2_000)), name)
                    })
                    .collect();
                for (key, name) in &batch {
                    key.iter().for_each(|key| known.entry(*key).or_default().push(name.clone()));
                }
                builder.take(&rows(&batch).into()).unwrap();
            }
            let values = builder.end(false, false).unwrap();
            assert_eq!(room.spilled_bytes() > 0, limit < 1 << 20);
            let asked: ArrayRef = Arc::new((0..2_000).collect::<Int64Array>());
            let asked = [asked];
            let answer =
                Answer::of(&values, &KeyColumns::of(&asked).unwrap(), &asked, &[]).unwrap();
            let flawed: HashMap<u32, &str> = answer.flaws.iter().copied().collect();
            for key in 0..2_000_i64 {
                let names = known.get(&key).cloned().unwrap_or_default();
                let differ = names.iter().any(|name| *name != names[0]);
                assert_eq!(flawed.contains_key(&(key as u32)), differ, "{key} {names:?}");
                let column = answer.column.as_string::<i32>();
                let found = column.is_valid(key as usize).then(|| column.value(key as usize));
                if !differ {
                    assert_eq!(found, names.first().and_then(|name| name.as_deref()), "{key}");
                }
            }
        }
    }

    #[test]
    fn what_could_not_be_read_is_no_answer() {
        let room = Room::new(1 << 20);
        let mut builder = ValuesBuilder::new(&text(), 1, &room).unwrap();
        let name = |name: &str| Some(name.to_owned());
        let flaw = |row, column| Unreadable { row, column, why: "holds nothing that is known" };
        let batch = rows(&[(Some(1), name("a")), (Some(2), None), (None, name("c"))]);
        let read = ReadRows::new(batch, vec![flaw(1, 1), flaw(2, 0)]);
        builder.take(&read).unwrap();
        let values = builder.end(true, false).unwrap();
        let asked: ArrayRef =
            Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), None, Some(1)]));
        let asked = [asked];
        let keys = KeyColumns::of(&asked).unwrap();
        let answer = Answer::of(&values, &keys, &asked, &[4]).unwrap();
        let flawed: Vec<u32> = answer.flaws.iter().map(|(row, _)| *row).collect();
        assert_eq!(flawed, [1, 2, 4]);
        let column = answer.column.as_string::<i32>();
        assert_eq!((column.value(0), column.null_count()), ("a", 4));
    }
}
