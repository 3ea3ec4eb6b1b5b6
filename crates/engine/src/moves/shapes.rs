//! The columns that a rule wrote, run by run.
//!
//! A row's hash is over the columns that the mapping had when the row was written. Whether the
//! application has changed the row since can only be told over the same columns: an edit of the
//! mapping that adds one must not make every row look changed.

use std::collections::HashMap;

use super::key::{KeyColumns, RowKey};
use super::pack::{ADOPTED, Entry};
use super::plan::PlannedRule;
use super::ports::Written;
use super::row_hash::RowHash;
use super::session::Session;
use super::settle::key_batch;
use super::state::MoveState;
use crate::TargetError;

/// What a row's hash is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrittenAs {
    /// The columns of now.
    Now,
    /// Those that this one of the shapes had.
    Before(usize),
    /// Columns that aren't there any more: nobody can tell what became of it.
    Unknown,
    /// What should be there: the row was there before the move, and is not its own.
    Adopted,
}

/// Shapes before the last ones can't be told apart by a mark.
const MARKED_MAX: u8 = 200;

impl WrittenAs {
    /// As a byte.
    pub(super) fn mark(self) -> u8 {
        match self {
            Self::Now => 0,
            Self::Unknown => u8::MAX,
            Self::Adopted => u8::MAX - 1,
            Self::Before(place) => match u8::try_from(place) {
                Ok(place) if place < MARKED_MAX => place + 1,
                _ => u8::MAX,
            },
        }
    }

    /// Out of such a byte.
    pub(super) fn of(mark: u8) -> Self {
        match mark {
            0 => Self::Now,
            u8::MAX => Self::Unknown,
            mark if mark == u8::MAX - 1 => Self::Adopted,
            place => Self::Before(usize::from(place) - 1),
        }
    }
}

/// What a rule's rows were written as.
#[derive(Default)]
pub(super) struct Shapes {
    /// From which run on; the table's columns of then, `None` where one of them is gone.
    known: Vec<(u32, Option<Written>)>,
}

impl Shapes {
    pub(super) fn of(rule: &PlannedRule, state: &MoveState) -> Self {
        let shape = |names: Vec<String>| {
            let field = |name: &String| rule.table_fields.iter().find(|field| field.name == *name);
            let fields: Option<Vec<_>> = names.iter().map(|name| field(name).cloned()).collect();
            let fields = fields?;
            let place = |key: &usize| {
                let name = &rule.written.fields[*key].name;
                fields.iter().position(|field| field.name == *name)
            };
            let key: Option<Vec<usize>> = rule.written.key.iter().map(place).collect();
            Some(Written { key: key?, fields, ..rule.written.clone() })
        };
        let known = state.shapes(&rule.rule.name);
        Self { known: known.into_iter().map(|(run, names)| (run, shape(names))).collect() }
    }

    /// As what a run wrote its rows.
    pub(super) fn written_as(&self, written_by: u32) -> WrittenAs {
        match self.place(written_by) {
            _ if written_by == ADOPTED => WrittenAs::Adopted,
            Some(place) if place + 1 == self.known.len() => WrittenAs::Now,
            Some(place) if self.known[place].1.is_some() => WrittenAs::Before(place),
            _ => WrittenAs::Unknown,
        }
    }

    /// The columns that were written before.
    pub(super) fn before(&self, place: usize) -> Option<&Written> {
        self.known.get(place).and_then(|(_, written)| written.as_ref())
    }

    fn place(&self, written_by: u32) -> Option<usize> {
        self.known.iter().rposition(|(run, _)| *run <= written_by)
    }

    /// Whether a row that a run wrote was written with the columns that are written now.
    pub(super) fn is_current(&self, written_by: u32) -> bool {
        self.place(written_by).is_some_and(|place| place + 1 == self.known.len())
    }

    /// The hashes of rows as they stand in the target, each over the columns that it was written
    /// with; those that aren't there are not among them. `None`: it can't be told any more.
    pub(super) async fn hashes_there<'e>(
        &self,
        rule: &PlannedRule,
        session: &mut Session<'_>,
        entries: impl Iterator<Item = &'e Entry>,
    ) -> Result<HashMap<RowKey, Option<RowHash>>, TargetError> {
        let mut groups: HashMap<Option<usize>, Vec<&RowKey>> = HashMap::new();
        for entry in entries {
            groups.entry(self.place(entry.run)).or_default().push(&entry.new);
        }
        let mut there = HashMap::new();
        for (place, keys) in groups {
            let shape = place.and_then(|place| self.known[place].1.as_ref());
            let written = shape.unwrap_or(&rule.written);
            let keys = key_batch(rule, keys.into_iter())?;
            let found = session.target.fetch(written, &keys, !session.dry_run).await?;
            let found = session.normalised_rows(&written.fields, found).await?;
            let hashes = found.hashes(&written.fields)?;
            let columns: Vec<_> =
                written.key.iter().map(|place| found.rows.column(*place).clone()).collect();
            let new = KeyColumns::of_target(written.key_fields(), &columns)?;
            for (row, hash) in hashes.into_iter().enumerate() {
                there.insert(new.key(row), shape.map(|_| hash));
            }
        }
        Ok(there)
    }
}
