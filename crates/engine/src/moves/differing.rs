//! Which columns of rows differ: what should be there beside what is.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::{Field, ValueType};
use serde::Serialize;

use super::columns::bug;
use super::key::{KeyColumns, RowKey};
use super::ports::Written;
use super::read_rows::ReadRows;
use super::row_hash::row_hashes;
use super::sample::shown;
use super::session::Session;
use crate::TargetError;

/// A column of a row that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnDifference {
    /// The column.
    pub column: String,
    /// What should be there, as text, and what is; `None` in them is NULL. Only where values were
    /// asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<[Option<String>; 2]>,
}

/// Rows of the target beside rows that should be there, by their key.
pub(super) struct Beside {
    there: ReadRows,
    places: HashMap<RowKey, usize>,
}

impl Beside {
    /// Reads the rows that stand there with the keys of these.
    pub(super) async fn fetch(
        written: &Written,
        session: &mut Session<'_>,
        wanted: &RecordBatch,
    ) -> Result<Self, TargetError> {
        let keys = wanted.project(&written.key).map_err(|error| bug(&error))?;
        let there = session.target.fetch(written, &keys, false).await?;
        let there = session.normalised_rows(&written.fields, there).await?;
        let columns: Vec<ArrayRef> =
            written.key.iter().map(|place| there.rows.column(*place).clone()).collect();
        let keys = KeyColumns::of_target(written.key_fields(), &columns)?;
        let places = (0..there.count()).map(|row| (keys.key(row), row)).collect();
        Ok(Self { there, places })
    }

    /// The columns that differ, each row's; `None`: no row with that key is there.
    pub(super) fn columns(
        &self,
        fields: &[Field],
        wanted: &RecordBatch,
        keys: &[RowKey],
        with_values: bool,
    ) -> Result<Vec<Option<Vec<ColumnDifference>>>, TargetError> {
        let mut all: Vec<Option<Vec<ColumnDifference>>> =
            keys.iter().map(|key| self.places.get(key).map(|_| Vec::new())).collect();
        for (place, field) in fields.iter().enumerate() {
            let of_field = std::slice::from_ref(field);
            let column = |rows: &RecordBatch| rows.project(&[place]).map_err(|error| bug(&error));
            let hashes = row_hashes(of_field, &column(wanted)?)?;
            let hashes_there = self.there.project(&[place])?.hashes(of_field)?;
            for (row, key) in keys.iter().enumerate() {
                let (Some(found), Some(differs)) = (self.places.get(key), &mut all[row]) else {
                    continue;
                };
                if hashes[row] == hashes_there[*found] {
                    continue;
                }
                let values = match with_values {
                    false => None,
                    true => Some([
                        text(wanted.column(place), &field.value_type, row)?,
                        text(self.there.rows.column(place), &field.value_type, *found)?,
                    ]),
                };
                differs.push(ColumnDifference { column: field.name.clone(), values });
            }
        }
        Ok(all)
    }
}

fn text(column: &ArrayRef, of: &ValueType, row: usize) -> Result<Option<String>, TargetError> {
    shown(column, of, row)
}

/// Their names, for people.
pub(super) fn names(differs: &[ColumnDifference]) -> String {
    let names: Vec<&str> = differs.iter().map(|one| one.column.as_str()).collect();
    names.join(", ")
}
