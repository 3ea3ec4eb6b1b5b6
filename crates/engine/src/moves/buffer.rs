//! Rows of one rule that wait to be compared, in the pieces that they came in.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::Array;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;

use super::arrow_type::arrow_schema;
use super::chunk::{Rows, new_keys};
use super::columns::bug;
use super::key::{KeyColumns, RowKey};
use super::pack::{KeyedRows, StoredPack};
use super::plan::PlannedRule;
use super::row_hash::{RowHash, row_hashes};
use crate::TargetError;

/// Rows of one batch with their keys and hashes, in the order of old keys.
pub(super) struct Piece {
    pub(super) rows: RecordBatch,
    pub(super) old: KeyColumns,
    pub(super) new: KeyColumns,
    pub(super) hashes: Vec<RowHash>,
    /// What its rows take in memory.
    bytes: usize,
    /// Rows before this one are done with.
    from: usize,
}

impl Piece {
    /// Of rows in the form that the database gives them.
    pub(super) fn of(
        rule: &PlannedRule,
        rows: RecordBatch,
        old: KeyColumns,
    ) -> Result<Self, TargetError> {
        let new = new_keys(rule, &rows)?;
        let hashes = row_hashes(&rule.written.fields, &rows)?;
        Ok(Self { bytes: bytes_of(&rows), rows, old, new, hashes, from: 0 })
    }

    /// The rows from one on.
    pub(super) fn behind(rows: &Rows, from: usize) -> Result<Self, TargetError> {
        let count = rows.hashes.len() - from;
        let batch = rows.batch.slice(from, count);
        Ok(Self {
            bytes: bytes_of(&batch),
            rows: batch,
            old: rows.old.slice(from, count)?,
            new: rows.new.slice(from, count)?,
            hashes: rows.hashes[from..].to_vec(),
            from: 0,
        })
    }

    /// Its rows that are not done with.
    fn rest(self) -> Result<Self, TargetError> {
        if self.from == 0 {
            return Ok(self);
        }
        let (from, count) = (self.from, self.left());
        let rows = self.rows.slice(from, count);
        Ok(Self {
            bytes: bytes_of(&rows),
            rows,
            old: self.old.slice(from, count)?,
            new: self.new.slice(from, count)?,
            hashes: self.hashes[from..].to_vec(),
            from: 0,
        })
    }

    fn left(&self) -> usize {
        self.hashes.len() - self.from
    }

    fn left_bytes(&self) -> usize {
        (self.bytes as u128 * self.left() as u128 / self.hashes.len().max(1) as u128) as usize
    }

    fn keyed(&self) -> KeyedRows<'_> {
        KeyedRows { old: &self.old, new: &self.new, hashes: &self.hashes }
    }
}

/// What the values of rows take, where they are a part of a larger batch as well.
fn bytes_of(rows: &RecordBatch) -> usize {
    let of = |column: &arrow::array::ArrayRef| {
        let whole = || column.get_array_memory_size();
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| whole())
    };
    rows.columns().iter().map(of).sum()
}

/// The pieces.
#[derive(Default)]
pub(super) struct Buffer {
    pieces: VecDeque<Piece>,
    rows: usize,
}

impl Buffer {
    pub(super) fn push(&mut self, piece: Piece) {
        if piece.left() > 0 {
            self.rows += piece.left();
            self.pieces.push_back(piece);
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What its rows take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.pieces.iter().map(Piece::left_bytes).sum()
    }

    /// Whether its first rows, up to the pack's end, are the pack's, to the last bit. Then they are
    /// done with, and it tells how many they were.
    pub(super) fn skip(&mut self, pack: &StoredPack) -> Option<usize> {
        if pack.count > self.rows || self.count_upto(&pack.hi, pack.count + 1) != pack.count {
            return None;
        }
        let mut left = pack.count;
        let parts = self.pieces.iter().map(|piece| {
            let some = left.min(piece.left());
            left -= some;
            (piece.keyed(), piece.from..piece.from + some)
        });
        if !pack.is(parts) {
            return None;
        }
        self.drop_rows(pack.count);
        Some(pack.count)
    }

    /// How many rows have keys up to that one; no more than so many are counted.
    fn count_upto(&self, upto: &RowKey, most: usize) -> usize {
        let mut count = 0;
        for piece in &self.pieces {
            let some = piece.old.count_upto(piece.from, upto);
            count += some;
            if some < piece.left() || count >= most {
                break;
            }
        }
        count
    }

    fn drop_rows(&mut self, mut count: usize) {
        self.rows -= count;
        while let Some(piece) = self.pieces.front_mut() {
            let some = count.min(piece.left());
            piece.from += some;
            count -= some;
            if piece.left() > 0 {
                return;
            }
            self.pieces.pop_front();
        }
    }

    /// Takes all rows out, as one piece.
    pub(super) fn gather(&mut self, rule: &PlannedRule) -> Result<Piece, TargetError> {
        self.rows = 0;
        let mut pieces = Vec::with_capacity(self.pieces.len());
        for piece in std::mem::take(&mut self.pieces) {
            pieces.push(piece.rest()?);
        }
        if pieces.len() < 2 {
            return match pieces.pop() {
                Some(piece) => Ok(piece),
                None => Piece::of(rule, empty(rule), KeyColumns::concat(&[])?),
            };
        }
        let keys = |of: fn(&Piece) -> &KeyColumns| {
            KeyColumns::concat(&pieces.iter().map(|piece| of(piece).clone()).collect::<Vec<_>>())
        };
        let (old, new) = (keys(|piece| &piece.old)?, keys(|piece| &piece.new)?);
        let hashes = pieces.iter().flat_map(|piece| piece.hashes.iter().copied()).collect();
        let bytes = pieces.iter().map(|piece| piece.bytes).sum();
        let batches: Vec<RecordBatch> = pieces.into_iter().map(|piece| piece.rows).collect();
        let rows = concat_batches(&batches[0].schema(), &batches).map_err(|error| bug(&error))?;
        Ok(Piece { rows, old, new, hashes, bytes, from: 0 })
    }
}

fn empty(rule: &PlannedRule) -> RecordBatch {
    RecordBatch::new_empty(Arc::new(arrow_schema(&rule.written.fields, true)))
}
