//! What the catalogue tells of the tables that statements name, as far as it was asked.

use std::collections::BTreeSet;

use dunlin_model::{Column, Dialect, Index, Table, Verb};

use super::meet::is_same_table;
use crate::sql::chunked::table_parts;

/// A foreign key that takes rows of its table along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cascade {
    /// The table that is changed, and by what.
    pub(crate) parent: Vec<String>,
    pub(crate) on: Verb,
    /// The columns that an UPDATE must assign.
    pub(crate) columns: Vec<String>,
    /// The table whose rows are deleted or updated with it.
    pub(crate) child: Vec<String>,
    pub(crate) does: Verb,
    /// Its columns, each with the one that it refers to.
    pub(crate) pairs: Vec<(String, String)>,
    /// What it is called, for people.
    pub(crate) what: String,
}

/// Tables and foreign keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known<'a> {
    tables: Vec<(Vec<String>, &'a Table)>,
    pub(crate) cascades: Vec<Cascade>,
    dialect: Option<Dialect>,
}

/// What finds a row that is there already: a unique index over columns that are inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caught {
    pub(crate) table: Vec<String>,
    /// The columns of the index, where the statement says so.
    pub(crate) by: Option<Vec<String>>,
    /// What is given, by its place: the column if it is named, and the columns of the walked table
    /// that must not be NULL so that it is not; the empty name: nobody knows.
    pub(crate) given: Vec<(Option<String>, BTreeSet<String>)>,
    /// It is an index that finds it. Else it is compared.
    pub(crate) index: bool,
}

impl<'a> Known<'a> {
    pub(crate) fn new(dialect: Dialect, tables: impl IntoIterator<Item = &'a Table>) -> Self {
        let parts = |table: &'a Table| (table_parts(dialect, &table.name), table);
        let tables = tables.into_iter().map(parts).collect();
        Self { tables, cascades: Vec::new(), dialect: Some(dialect) }
    }

    pub(crate) fn table(&self, parts: &[String]) -> Option<&'a Table> {
        let mut found = self.tables.iter().filter(|(known, _)| is_same_table(known, parts));
        let only = found.next().map(|(_, table)| *table);
        only.filter(|_| found.next().is_none())
    }

    /// Whether two names can mean the same rows: one table, or one and a partition of it.
    pub(crate) fn shares(&self, one: &[String], other: &[String]) -> bool {
        let family = |parts| self.table(parts).and_then(|table| table.family.as_ref());
        is_same_table(one, other)
            || family(one).is_some_and(|family_of_one| family(other) == Some(family_of_one))
    }

    fn is_same(&self, folded: &str, name: &str) -> bool {
        let exact = self.dialect == Some(Dialect::Postgres);
        if exact { folded == name } else { folded.to_lowercase() == name.to_lowercase() }
    }

    /// The columns that the server changes itself where others are assigned.
    pub(crate) fn computed(&self, parts: &[String], assigned: &BTreeSet<String>) -> Vec<String> {
        let Some(table) = self.table(parts) else { return Vec::new() };
        let dialect = self.dialect.unwrap_or(Dialect::Postgres);
        let reads = |from: &str| {
            let read = crate::sql::names(dialect, from);
            from.is_empty()
                || assigned.iter().any(|one| read.iter().any(|name| self.is_same(one, name)))
        };
        let computed = table.computed.iter().filter(|(_, from)| reads(from));
        computed.map(|(name, _)| self.folded(name)).collect()
    }

    /// The columns that an INSERT fills that names none, in their order.
    pub(crate) fn inserted(&self, parts: &[String]) -> Vec<String> {
        let columns = self.table(parts).map(|table| table.columns.iter());
        // SQLite leaves out what it makes itself.
        let takes = |one: &&Column| !(one.generated && self.dialect == Some(Dialect::Sqlite));
        let names = columns.into_iter().flatten().filter(takes);
        names.map(|one| self.folded(&one.name)).collect()
    }

    fn folded(&self, name: &str) -> String {
        if self.dialect == Some(Dialect::Postgres) { name.to_owned() } else { name.to_lowercase() }
    }

    /// Which values a column holds, for servers that compare a text with a number.
    pub(crate) fn kind(&self, parts: &[String], column: &str) -> Option<&'static str> {
        if self.dialect == Some(Dialect::Postgres) {
            return None;
        }
        let table = self.table(parts)?;
        let column = table.columns.iter().find(|one| self.is_same(column, &one.name))?;
        let name = column.type_name.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        Some(match () {
            // As SQLite's affinity goes; MySQL's names are among them.
            () if has(&["CHAR", "CLOB", "TEXT", "ENUM", "SET("]) => "text",
            () if has(&["INT", "DEC", "NUMERIC", "BOOL"]) => "number",
            () if has(&["REAL", "FLOA", "DOUB"]) => "float",
            () if has(&["DATE", "TIME", "YEAR"]) => "time",
            () => "other",
        })
    }

    /// Whether what is there already is found. What nobody asked the catalogue for is taken to be.
    pub(crate) fn finds(&self, caught: &Caught, is_solid: &dyn Fn(&String) -> bool) -> bool {
        let Some(table) = self.table(&caught.table) else { return true };
        let inserted = self.inserted(&caught.table);
        let named = |place: usize| match caught.given.get(place) {
            Some((Some(name), _)) => Some(name.clone()),
            Some((None, _)) => inserted.get(place).cloned(),
            None => None,
        };
        let filled = |name: &str| {
            let nullable = table.columns.iter().find(|one| self.is_same(name, &one.name));
            let place =
                (0..caught.given.len()).find(|place| named(*place).as_deref() == Some(name));
            let given = place.and_then(|place| caught.given.get(place));
            given.is_some_and(|(_, needs)| {
                nullable.is_some_and(|column| !column.nullable) || needs.iter().all(is_solid)
            })
        };
        if !caught.index {
            return caught.given.iter().all(|(name, _)| name.as_deref().is_none_or(filled));
        }
        let fits = |index: &&Index| index.unique && index.unusable.is_none();
        table.indexes.iter().filter(fits).any(|index| {
            let columns: Option<Vec<String>> =
                index.columns.iter().map(|part| Some(self.folded(part.name.as_ref()?))).collect();
            match (columns, &caught.by) {
                // Of an index on expressions it is not known what they are made of.
                (None, _) => (0..caught.given.len())
                    .filter_map(named)
                    .all(|name| name.is_empty() || filled(&name)),
                (Some(columns), Some(by)) => {
                    columns.iter().all(|one| by.contains(one) && filled(one))
                        && by.len() == columns.len()
                }
                (Some(columns), None) => columns.iter().all(|one| filled(one)),
            }
        })
    }
}
