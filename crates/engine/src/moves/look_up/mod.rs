//! Values of other source tables: to expressions they are columns of the old row.
//!
//! `resolve.rs` finds out which columns these are, `values.rs` keeps what a table has for each key,
//! `sameness.rs` which texts the source takes for the same key, and `Looking` stands before a source and adds the columns to what is read from it. All that is
//! decided, written and compared is of what this source gives, so nothing else knows of look-ups.

mod resolve;
mod sameness;
mod values;

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use dunlin_model::moves::{
    Catalogue, Field, FileMistake, GuessedColumn, Mapping, Relation, TableName,
};
use tokio::sync::mpsc;

use super::arrow_schema;
use super::columns::{QUEUE, bug, read_all};
use super::key::KeyColumns;
use super::ports::{Batches, ColumnOf, Extract, Source, Spelling, UnreadRecords};
use super::read_rows::{ReadRows, Unreadable};
use super::spill::Room;
use crate::TargetError;

pub(super) use resolve::add_fields;
use resolve::{Resolved, resolve};
use sameness::Sameness;
use values::{Answer, Values, ValuesBuilder};

/// The part of a run's memory that all looked-up values take together, at most; more goes to files.
const VALUES_SHARE: usize = 16;

/// A batch of what is looked through has at most so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// A source that also gives what is looked up in its other tables.
pub(super) struct Looking {
    source: Box<dyn Source>,
    mapping: Mapping,
    /// The tables and queries that were told of so far.
    known: Catalogue,
    /// What was read, by what it is.
    values: HashMap<Resolved, Known>,
    room: Room,
}

/// What is known of a look-up.
struct Known {
    /// The values by key.
    values: Values,
    /// How what is looked up is spelt among these keys.
    of: Sameness,
}

impl Looking {
    /// The same source, where nothing is looked up.
    pub(super) fn over(
        source: Box<dyn Source>,
        mapping: &Mapping,
        memory_bytes: usize,
    ) -> Box<dyn Source> {
        if mapping.sources.iter().all(|spec| spec.look_ups.is_empty()) {
            return source;
        }
        Box::new(Self {
            source,
            mapping: mapping.clone(),
            known: Catalogue::default(),
            values: HashMap::new(),
            room: Room::new(memory_bytes / VALUES_SHARE),
        })
    }

    /// Those look-ups that these columns need, each behind those that it goes by itself.
    fn needed(&self, extract: &Extract) -> Vec<Resolved> {
        let all: Vec<Resolved> = resolve(&self.mapping, &self.known)
            .into_iter()
            .filter(|one| one.table == extract.table)
            .collect();
        let mut wanted: Vec<&str> =
            extract.fields.iter().map(|field| field.name.as_str()).collect();
        let mut needed = Vec::new();
        for one in all.iter().rev() {
            if wanted.contains(&one.value.name.as_str()) {
                wanted.extend(one.of.iter().map(|field| field.name.as_str()));
                needed.push(one.clone());
            }
        }
        needed.reverse();
        needed
    }

    /// Reads what is looked through, unless that has been done: all of a run is under one snapshot.
    async fn learn(&mut self, one: &Resolved) -> Result<(), TargetError> {
        if self.values.contains_key(one) {
            return Ok(());
        }
        let mut fields = one.by.clone();
        fields.push(one.taken.clone());
        let extract = Extract {
            table: one.within.clone(),
            query: one.query.clone(),
            fields,
            order: Vec::new(),
            only: Vec::new(),
            batch_bytes: BATCH_BYTES,
        };
        let source = self.source.as_mut();
        let keys = Sameness::of_keys(one, source, &self.room).await?;
        let of = Sameness::of_values(one, source, &self.room).await?;
        let mut builder = ValuesBuilder::new(&one.taken, one.by.len(), &self.room)?;
        read_all(source, &extract, |rows| builder.take(&keys.rows(rows)?)).await?;
        let unread = self.source.unread(&one.within).await?.count > 0;
        // What is unique by its bytes need not be unique otherwise.
        let is_unique = one.is_unique && keys.is_by_bytes();
        let values = builder.end(is_unique, unread)?;
        self.values.insert(one.clone(), Known { values, of });
        Ok(())
    }

    /// Reads with the columns that the source itself has, and adds the others to each batch.
    async fn read_and_add(
        &mut self,
        extract: &Extract,
        needed: &[Resolved],
        batches: &Batches,
    ) -> Result<(), TargetError> {
        let is_added = |field: &Field| needed.iter().any(|one| one.value.name == field.name);
        let mut own: Vec<Field> = Vec::with_capacity(extract.fields.len());
        for field in extract.fields.iter().chain(needed.iter().flat_map(|one| &one.of)) {
            if !is_added(field) && own.iter().all(|there| there.name != field.name) {
                own.push(field.clone());
            }
        }
        let inner = Extract { fields: own, ..extract.clone() };
        let (sender, mut received) = mpsc::channel(QUEUE);
        let (inner, values) = (&inner, &self.values);
        let source = &mut self.source;
        let reading = async move {
            let read = source.read(inner, &sender).await;
            drop(sender);
            read
        };
        // It owns the queue's end: where nobody wants more, the reader finds nobody there.
        let adding = async move {
            while let Some(read) = received.recv().await {
                let read = match read {
                    Ok(read) => Ok(added(&read, &inner.fields, &extract.fields, needed, values)?),
                    Err(error) => Err(error),
                };
                if batches.send(read).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let (read, added) = tokio::join!(reading, adding);
        added.and(read)
    }
}

/// Rows as they were read, with the columns that are looked up, and of all only those that are wanted.
fn added(
    read: &ReadRows,
    has: &[Field],
    wanted: &[Field],
    needed: &[Resolved],
    values: &HashMap<Resolved, Known>,
) -> Result<ReadRows, TargetError> {
    let mut names: Vec<&str> = has.iter().map(|field| field.name.as_str()).collect();
    let mut columns: Vec<ArrayRef> = read.rows.columns().to_vec();
    let mut unreadable = read.unreadable.clone();
    for one in needed {
        let place = |field: &Field| names.iter().position(|name| *name == field.name);
        let places: Vec<usize> = one.of.iter().filter_map(place).collect();
        let of: Vec<ArrayRef> = places.iter().map(|place| columns[*place].clone()).collect();
        let unknown = unreadable.iter().filter(|one| places.contains(&one.column));
        let unknown: Vec<u32> = unknown.map(|one| one.row).collect();
        let Some(known) = values.get(one) else { continue };
        let column = columns.len();
        let of = known.of.columns(&of, &unknown)?;
        let answers = Answer::of(&known.values, &KeyColumns::of(&of)?, &of, &unknown)?;
        unreadable.extend(answers.flaws.iter().map(|(row, why)| Unreadable {
            row: *row,
            column,
            why,
        }));
        columns.push(answers.column);
        names.push(&one.value.name);
    }
    let places: Vec<usize> = wanted
        .iter()
        .filter_map(|field| names.iter().position(|name| *name == field.name))
        .collect();
    let wanted_columns = places.iter().map(|place| columns[*place].clone()).collect();
    let rows = RecordBatch::try_new(arrow_schema(wanted, false).into(), wanted_columns)
        .map_err(|error| bug(&error))?;
    let seat = |one: &Unreadable| places.iter().position(|place| *place == one.column);
    let mut unreadable: Vec<Unreadable> = unreadable
        .iter()
        .filter_map(|one| Some(Unreadable { column: seat(one)?, ..*one }))
        .collect();
    unreadable.sort_unstable_by_key(|one| (one.row, one.column));
    Ok(ReadRows::new(rows, unreadable))
}

#[async_trait]
impl Source for Looking {
    fn files(&mut self, mapping: &Mapping) -> Result<bool, Vec<FileMistake>> {
        self.source.files(mapping)
    }

    fn remember(&mut self, columns: &[GuessedColumn]) {
        self.source.remember(columns);
    }

    fn guessed(&mut self) -> Vec<GuessedColumn> {
        self.source.guessed()
    }

    async fn unread(&mut self, table: &TableName) -> Result<UnreadRecords, TargetError> {
        self.source.unread(table).await
    }

    async fn catalogue(&mut self) -> Result<Catalogue, TargetError> {
        self.known = self.source.catalogue().await?;
        Ok(self.known.clone())
    }

    async fn describe(&mut self, name: &TableName, query: &str) -> Result<Vec<Field>, TargetError> {
        let fields = self.source.describe(name, query).await?;
        self.known.relations.retain(|relation| relation.name != *name);
        let relation = Relation::of_query(name.clone(), query, fields.clone(), Vec::new());
        self.known.relations.push(relation);
        Ok(fields)
    }

    /// None: what was looked up is remembered here.
    async fn spelt_otherwise(
        &mut self,
        spelling: &Spelling,
    ) -> Result<Option<String>, TargetError> {
        self.source.spelt_otherwise(spelling).await
    }

    async fn compared(
        &mut self,
        key: &ColumnOf,
        values: &ColumnOf,
    ) -> Result<Option<String>, TargetError> {
        self.source.compared(key, values).await
    }

    async fn reader(&mut self) -> Result<Option<Box<dyn Source>>, TargetError> {
        Ok(None)
    }

    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError> {
        let needed = self.needed(extract);
        if needed.is_empty() {
            return self.source.read(extract, batches).await;
        }
        for one in &needed {
            self.learn(one).await?;
        }
        self.read_and_add(extract, &needed, batches).await
    }
}
