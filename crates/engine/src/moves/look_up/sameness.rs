//! Texts that the source takes for the same key, although their bytes differ: by a collation without
//! case, by blanks at the end.
//!
//! The source itself tells what stands for all that are the same: for the keys, and for what is looked
//! up. So a look-up finds what a join there would find.

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::{Field, TableName, ValueType};

use super::super::columns::{bug, read_all};
use super::super::key::KeyColumns;
use super::super::ports::{COMPARED, ColumnOf, Extract, Source};
use super::super::read_rows::ReadRows;
use super::super::spill::Room;
use super::BATCH_BYTES;
use super::resolve::Resolved;
use super::values::{Answer, Values, ValuesBuilder};
use crate::TargetError;

/// For each column of a key what stands for its values; `None`: they do themselves.
pub(super) struct Sameness(Vec<Option<Values>>);

impl Sameness {
    /// Of the keys that are looked in.
    pub(super) async fn of_keys(
        one: &Resolved,
        source: &mut dyn Source,
        room: &Room,
    ) -> Result<Self, TargetError> {
        let keys: Vec<ColumnOf> = one.by.iter().map(|field| key(one, field)).collect();
        Self::read(one, &one.by, &keys, source, room).await
    }

    /// Of what is looked up there.
    pub(super) async fn of_values(
        one: &Resolved,
        source: &mut dyn Source,
        room: &Room,
    ) -> Result<Self, TargetError> {
        Self::read(one, &one.of, &one.origins, source, room).await
    }

    async fn read(
        one: &Resolved,
        fields: &[Field],
        columns: &[ColumnOf],
        source: &mut dyn Source,
        room: &Room,
    ) -> Result<Self, TargetError> {
        let mut all = Vec::with_capacity(fields.len());
        for ((by, field), column) in one.by.iter().zip(fields).zip(columns) {
            let query = match by.value_type {
                ValueType::Text { .. } | ValueType::Enum(_) => {
                    source.compared(&key(one, by), column).await?
                }
                _ => None,
            };
            all.push(match query {
                Some(query) => Some(read(query, &column.table, field, source, room).await?),
                None => None,
            });
        }
        Ok(Self(all))
    }

    /// Whether values are the same by their bytes alone.
    pub(super) fn is_by_bytes(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The columns of keys, with what stands for their values. `unknown`: rows whose values could not be
    /// read.
    pub(super) fn columns(
        &self,
        columns: &[ArrayRef],
        unknown: &[u32],
    ) -> Result<Vec<ArrayRef>, TargetError> {
        let one = |(column, same): (&ArrayRef, &Option<Values>)| match same {
            None => Ok(column.clone()),
            Some(same) => {
                let of = std::slice::from_ref(column);
                Ok(Answer::of(same, &KeyColumns::of(of)?, of, unknown)?.column)
            }
        };
        columns.iter().zip(&self.0).map(one).collect()
    }

    /// Rows that begin with a key's columns, with what stands for those.
    pub(super) fn rows(&self, read: ReadRows) -> Result<ReadRows, TargetError> {
        if self.is_by_bytes() {
            return Ok(read);
        }
        let (keys, others) = read.rows.columns().split_at(self.0.len());
        let mut columns = self.columns(keys, &[])?;
        columns.extend_from_slice(others);
        let names = (0..columns.len()).map(|place| place.to_string());
        let nullable = names.zip(columns).map(|(name, column)| (name, column, true));
        let rows =
            RecordBatch::try_from_iter_with_nullable(nullable).map_err(|error| bug(&error))?;
        Ok(ReadRows::new(rows, read.unreadable))
    }
}

fn key(one: &Resolved, by: &Field) -> ColumnOf {
    ColumnOf { table: one.within.clone(), query: one.query.clone(), column: by.name.clone() }
}

/// What stands for each of the values that a query gives.
async fn read(
    query: String,
    table: &TableName,
    field: &Field,
    source: &mut dyn Source,
    room: &Room,
) -> Result<Values, TargetError> {
    let [value, same] = COMPARED.map(str::to_owned);
    let value = Field { name: value, nullable: true, ..field.clone() };
    let same = Field {
        name: same,
        type_name: "text".to_owned(),
        value_type: ValueType::Text { padded: false },
        max_chars: None,
        limit: None,
        ..value.clone()
    };
    let mut builder = ValuesBuilder::new(&same, 1, room)?;
    let extract = Extract {
        table: table.clone(),
        query: Some(query),
        fields: vec![value, same],
        order: Vec::new(),
        only: Vec::new(),
        batch_bytes: BATCH_BYTES,
    };
    read_all(source, &extract, |rows| builder.take(&rows)).await?;
    // One value has one that stands for it, however often it comes.
    builder.end(true, false)
}
