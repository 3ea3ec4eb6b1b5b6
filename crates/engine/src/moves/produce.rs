//! From a batch of old rows to new rows of one rule.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use dunlin_model::moves::{Missing, OnRowError};
use std::sync::Arc;

use super::arrow_type::{arrow_schema, arrow_type};
use super::columns::{Columns, bug};
use super::expressions::Applied;
use super::ids::IdCipher;
use super::key::{KeyColumns, RowKey};
use super::key_set::{KeyMap, KeySet, column_key_hash};
use super::plan::{Layout, PlannedReference, PlannedRule};
use super::read_rows::ReadRows;
use super::report::{Note, NoteKind};
use super::spill::Room;
use super::translate::{Found, Ids};
use crate::TargetError;

/// What was decided before the first row is written.
pub(super) struct Decided {
    /// For whatever else must be remembered of rows.
    pub(super) room: Room,
    pub(super) cipher: IdCipher,
    /// For each namespace of the plan.
    pub(super) ids: Vec<Ids>,
    /// For each rule: old keys of rows that merge into another's.
    pub(super) merged: Vec<KeySet>,
    /// For each rule: old keys of rows that the application deleted, where that matters.
    pub(super) deleted: Vec<KeySet>,
    /// For each rule: where several rows have one key in the target, by its hash: whose it is.
    pub(super) winners: Vec<KeyMap>,
}

/// New rows.
pub(super) struct Produced {
    /// In the form of the rule's written fields.
    pub(super) rows: RecordBatch,
    /// For each, the old key.
    pub(super) old: KeyColumns,
    /// What is to be told about rows.
    pub(super) notes: Vec<Note>,
    /// For each old row, whether the rule's filter took it.
    pub(super) taken: BooleanArray,
    /// Old rows that were rejected, and of which something could not be read.
    pub(super) unread: Vec<RowKey>,
    /// Beside them there were rows that nobody can tell from others.
    pub(super) is_any_unread: bool,
}

/// The rows in the making: all columns, and which rows stay.
struct Making<'a> {
    rule: &'a PlannedRule,
    decided: &'a Decided,
    old: KeyColumns,
    keep: Vec<bool>,
    columns: Vec<Option<ArrayRef>>,
    notes: Vec<Note>,
    unread: Vec<RowKey>,
}

/// Makes a rule's rows of a batch.
pub(super) fn produce(
    rule: &PlannedRule,
    decided: &Decided,
    rule_number: usize,
    columns: &Columns,
    (batch, keys): (&ReadRows, &KeyColumns),
) -> Result<Produced, TargetError> {
    let given = columns.project(batch, rule.compiled.used())?;
    let applied = rule.compiled.apply(&given)?;
    let mut making = Making::new(rule, decided, &applied, keys)?;
    making.flawed(&given, &applied, keys);
    making.merge(rule_number)?;
    making.plain(&rule.layout, &applied);
    making.references(rule_number, &rule.layout.references, &applied)?;
    making.own_id()?;
    making.late(&given, &applied)?;
    let unread = std::mem::take(&mut making.unread);
    let (rows, old, notes) = making.finish(rule_number)?;
    let taken = applied.taken;
    Ok(Produced { rows, old, notes, taken, unread, is_any_unread: false })
}

/// The target's key of each row, as far as the deciding expressions tell it; `None`: the row is left
/// out, or its key can't be told.
pub(super) fn deciding_keys(
    rule: &PlannedRule,
    layout: &Layout,
    decided: &Decided,
    rule_number: usize,
    applied: &Applied,
    keys: &KeyColumns,
) -> Result<Vec<Option<(RowKey, RowKey)>>, TargetError> {
    let mut making = Making::new(rule, decided, applied, keys)?;
    making.merge(rule_number)?;
    making.plain(layout, applied);
    making.references(rule_number, &layout.references, applied)?;
    making.own_id()?;
    let columns: Option<Vec<ArrayRef>> =
        rule.written.key.iter().map(|place| making.columns[*place].clone()).collect();
    let Some(columns) = columns else { return Ok(vec![None; making.old.len()]) };
    let new = KeyColumns::of_target(rule.written.key_fields(), &columns)?;
    let rows = making.keep.iter().enumerate();
    Ok(rows.map(|(row, keep)| keep.then(|| (making.old.key(row), new.key(row)))).collect())
}

impl<'a> Making<'a> {
    fn new(
        rule: &'a PlannedRule,
        decided: &'a Decided,
        applied: &Applied,
        keys: &KeyColumns,
    ) -> Result<Self, TargetError> {
        let old = keys.take(&applied.of)?;
        let notes = applied.failures.iter().map(|failure| Note {
            old: keys.key(failure.row as usize),
            kind: kind_of(failure.on_error),
            reason: format!("`{}` {}", failure.output, failure.reason),
        });
        Ok(Self {
            rule,
            decided,
            keep: vec![true; old.len()],
            columns: vec![None; rule.written.fields.len()],
            notes: notes.collect(),
            unread: Vec::new(),
            old,
        })
    }

    /// Rows that failed, and of which something could not be read.
    fn flawed(&mut self, given: &ReadRows, applied: &Applied, keys: &KeyColumns) {
        if given.unreadable.is_empty() {
            return;
        }
        let flawed = given.flawed();
        let rejected = applied.failures.iter().filter(|one| one.on_error == OnRowError::Error);
        let rows = rejected.map(|failure| failure.row).filter(|row| flawed.contains(row));
        self.unread.extend(rows.map(|row| keys.key(row as usize)));
    }

    fn drop_row(&mut self, row: usize, kind: NoteKind, reason: impl Into<String>) {
        if std::mem::replace(&mut self.keep[row], false) {
            self.notes.push(Note { old: self.old.key(row), kind, reason: reason.into() });
        }
    }

    fn merge(&mut self, rule_number: usize) -> Result<(), TargetError> {
        let merged = &self.decided.merged[rule_number];
        if merged.is_empty() {
            return Ok(());
        }
        for row in 0..self.old.len() {
            if merged.contains(&self.old.key(row))? {
                self.drop_row(row, NoteKind::Merged, "merged into another row");
            }
        }
        Ok(())
    }

    fn plain(&mut self, layout: &Layout, applied: &Applied) {
        for &(field, output) in &layout.plain {
            self.columns[field] = Some(applied.rows.column(output).clone());
        }
    }

    fn references(
        &mut self,
        rule_number: usize,
        references: &[PlannedReference],
        applied: &Applied,
    ) -> Result<(), TargetError> {
        for reference in references {
            let ids = &self.decided.ids[reference.namespace];
            let field = &self.rule.written.fields[reference.field];
            let of = applied.rows.column(reference.of);
            let when = reference.when.map(|when| applied.rows.column(when).as_boolean().clone());
            let counts =
                |row: usize| when.as_ref().is_none_or(|when| when.is_valid(row) && when.value(row));
            let deleted = &self.decided.deleted[rule_number];
            let is_deleted = |row: usize| deleted.contains(&self.old.key(row));
            let (column, found) =
                ids.column(&self.decided.cipher, field, of, counts, is_deleted)?;
            self.columns[reference.field] = Some(column);
            for (row, found) in found.into_iter().enumerate() {
                let is_missing = matches!(found, Found::Missing | Found::Several)
                    || (found == Found::Null && !field.nullable);
                if is_missing && self.keep[row] {
                    self.missing(row, reference, found);
                }
            }
        }
        Ok(())
    }

    fn missing(&mut self, row: usize, reference: &PlannedReference, found: Found) {
        let field = &self.rule.written.fields[reference.field];
        let name = &self.decided.ids[reference.namespace].name;
        let reason = match found {
            Found::Null => format!("`{}` refers to no {name}", field.name),
            Found::Several => {
                let reason = format!(
                    "`{}` refers to {} that several rows match",
                    field.name,
                    with_article(name)
                );
                return self.drop_row(row, NoteKind::Rejected, reason);
            }
            _ => format!("`{}` refers to {} that isn't there", field.name, with_article(name)),
        };
        match reference.missing {
            Missing::Null if field.nullable => {
                let old = self.old.key(row);
                self.notes.push(Note { old, kind: NoteKind::Nulled, reason });
            }
            Missing::LeaveOut => self.drop_row(row, NoteKind::LeftOut, reason),
            Missing::Null | Missing::Error => self.drop_row(row, NoteKind::Rejected, reason),
        }
    }

    fn own_id(&mut self) -> Result<(), TargetError> {
        let (Some(makes), Some(place)) = (self.rule.makes, self.rule.id_field) else {
            return Ok(());
        };
        let field = &self.rule.written.fields[place];
        let ids = &self.decided.ids[makes];
        if let Some(column) = ids.own(&self.decided.cipher, field, &self.old)? {
            self.columns[place] = Some(column);
            return Ok(());
        }
        let mut new = Vec::with_capacity(self.old.len());
        for row in 0..self.old.len() {
            let old = self.old.key(row);
            let id = ids.id(&self.decided.cipher, field, &old)?;
            if id.is_none() {
                let reason = no_id(ids, field, &old)?;
                self.drop_row(row, NoteKind::Rejected, reason);
            }
            new.push(id.unwrap_or_else(|| RowKey(vec![super::key::Part::Null])));
        }
        let columns = super::key::columns_of(&[arrow_type(&field.value_type, true)], new.iter())?;
        self.columns[place] = columns.into_iter().next();
        Ok(())
    }

    fn late(&mut self, given: &ReadRows, applied: &Applied) -> Result<(), TargetError> {
        let layout = &self.rule.layout;
        if layout.late.is_empty() {
            return Ok(());
        }
        let fields = &self.rule.written.fields;
        let places: Vec<usize> = (0..fields.len())
            .filter(|place| layout.late.iter().all(|(field, _)| field != place))
            .collect();
        let new_fields: Vec<_> = places.iter().map(|place| fields[*place].clone()).collect();
        let columns = places.iter().map(|place| self.column(*place)).collect();
        let new = batch(&new_fields, columns, self.old.len())?;
        let (rows, failures) = self.rule.compiled.late(given, applied, &new)?;
        let flawed = given.flawed();
        for &(field, output) in &layout.late {
            self.columns[field] = Some(rows.column(output).clone());
        }
        for failure in failures {
            let row = failure.row as usize;
            // A row that goes nowhere has no id either.
            if !self.keep[row] {
                continue;
            }
            let reason = format!("`{}` {}", failure.output, failure.reason);
            match failure.on_error {
                OnRowError::Null => {
                    let old = self.old.key(row);
                    self.notes.push(Note { old, kind: NoteKind::Nulled, reason });
                }
                other => self.drop_row(row, kind_of(other), reason),
            }
            let of = applied.of.value(row);
            if failure.on_error == OnRowError::Error && flawed.contains(&of) {
                self.unread.push(self.old.key(row));
            }
        }
        Ok(())
    }

    fn column(&self, place: usize) -> ArrayRef {
        self.columns[place].clone().unwrap_or_else(|| {
            let of = arrow_type(&self.rule.written.fields[place].value_type, true);
            new_null_array(&of, self.old.len())
        })
    }

    /// Drops rows whose key in the target belongs to another old row.
    fn duplicates(&mut self, rule_number: usize) -> Result<(), TargetError> {
        let winners = &self.decided.winners[rule_number];
        if self.rule.rule.duplicates == dunlin_model::moves::Duplicates::Refuse {
            return Ok(());
        }
        let columns: Vec<ArrayRef> =
            self.rule.written.key.iter().map(|place| self.column(*place)).collect();
        let new = KeyColumns::of_target(self.rule.written.key_fields(), &columns)?;
        let mut buffer = Vec::new();
        let mut of_row: HashSet<u128> = HashSet::new();
        for row in 0..self.old.len() {
            if row > 0 && !self.old.same(row, row - 1) {
                of_row.clear();
            }
            if !self.keep[row] {
                continue;
            }
            let hash = column_key_hash(&new, row, &mut buffer);
            let winner = winners.get(hash)?;
            let is_another = winner.is_some_and(|winner| self.old.order(row, &winner).is_ne());
            if is_another || !of_row.insert(hash) {
                self.drop_row(row, NoteKind::Duplicate, "its key in the target is another row's");
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        rule_number: usize,
    ) -> Result<(RecordBatch, KeyColumns, Vec<Note>), TargetError> {
        self.duplicates(rule_number)?;
        let count = self.old.len();
        let columns = (0..self.columns.len()).map(|place| self.column(place)).collect();
        let rows = batch(&self.rule.written.fields, columns, count)?;
        if self.keep.iter().all(|keep| *keep) {
            return Ok((rows, self.old, self.notes));
        }
        let keep = BooleanArray::from(self.keep.clone());
        let rows = filter_record_batch(&rows, &keep).map_err(|error| bug(&error))?;
        let old = self.old.filter(&keep)?;
        Ok((rows, old, self.notes))
    }
}

/// Why an old row's new one has no id.
fn no_id(
    ids: &Ids,
    field: &dunlin_model::moves::Field,
    old: &RowKey,
) -> Result<String, TargetError> {
    if ids.kind != dunlin_model::moves::IdKind::Matched {
        return Ok(format!("its key has no place in `{}`", field.name));
    }
    Ok(if ids.matched.unclear.contains(&*ids.leader(old)?)? {
        "several rows match it, or one that another old row has".to_owned()
    } else {
        format!("no row matches it, and `{}` can hold no id of ours", field.name)
    })
}

/// `a user`, `an order`.
pub(super) fn with_article(name: &str) -> String {
    let article =
        if name.starts_with(['a', 'e', 'i', 'o', 'A', 'E', 'I', 'O']) { "an" } else { "a" };
    format!("{article} {name}")
}

fn kind_of(on_error: OnRowError) -> NoteKind {
    match on_error {
        OnRowError::Error => NoteKind::Rejected,
        OnRowError::Null => NoteKind::Nulled,
        OnRowError::LeaveOut => NoteKind::LeftOut,
    }
}

/// A batch of a target's columns.
pub(super) fn batch(
    fields: &[dunlin_model::moves::Field],
    columns: Vec<ArrayRef>,
    count: usize,
) -> Result<RecordBatch, TargetError> {
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Arc::new(arrow_schema(fields, true)), columns, &options)
        .map_err(|error| bug(&error))
}
