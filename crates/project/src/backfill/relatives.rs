//! Ways on which a key could change unnoticed: columns that the server computes, and other names for
//! the same rows.

use dunlin_model::{
    Body, Diagnostic, Dialect, KeyColumn, Migration, Place, Table, TableKind, Verb,
};

use super::{Planner, column};
use crate::sql;

/// The tables that a migration writes beside the one that it walks: the statement's number, and the
/// name as it is written.
#[must_use]
pub fn written(migration: &Migration, table: &Table, dialect: Dialect) -> Vec<(usize, String)> {
    let walked = sql::table_parts(dialect, &table.name);
    let each = migration.statements().iter().enumerate();
    each.flat_map(|(number, statement)| {
        sql::written(dialect, &walked, statement).into_iter().map(move |name| (number, name))
    })
    .collect()
}

/// Refuses a table that a migration writes (see [`written`]) if that may write rows of the one that it
/// walks: a view, or another table of the same tree.
#[must_use]
pub fn check_written(
    migration: &Migration,
    table: &Table,
    number: usize,
    other: &Table,
) -> Option<Diagnostic> {
    let statement = migration.statements().get(number)?;
    let same_tree = table.family.is_some() && table.family == other.family;
    if other.name == table.name || (other.kind != TableKind::View && !same_tree) {
        return None;
    }
    let why = if other.kind == TableKind::View {
        format!("{} is a view, and what it writes may be rows of {}", other.name, table.name)
    } else {
        format!(
            "{} and {} share rows: one is a partition or heir of the other",
            other.name, table.name
        )
    };
    let message =
        format!("the statement writes {}: {why}, whose keys could change unnoticed", other.name);
    let help = format!(
        "write {} by its own name, or the table below the view; or name in `chunk-by` the table that the \
         statement writes",
        table.name
    );
    let place = Place::at(migration.file(), statement.line, statement.column);
    Some(Diagnostic::error("writes-elsewhere", message).at(place).help(help))
}

impl Planner<'_> {
    /// A key that is computed from other columns moves with them.
    pub(super) fn check_computed(&mut self, key: &[KeyColumn]) {
        let table = self.table;
        let dialect = self.dialect;
        let made = |column: &KeyColumn| {
            table.computed.iter().find(|(name, _)| *name == column.name).cloned()
        };
        let made: Vec<(String, String)> = key.iter().filter_map(made).collect();
        let help = "walk the table by another unique index with `chunk-key`, or change those columns in a \
                    migration without `chunk-by`";
        for (name, from) in made {
            let message = |what: &str| {
                format!(
                    "{what} from which the server makes `{name}`, by which {} is walked: a row that moves \
                     could be done twice or never",
                    table.name
                )
            };
            if matches!(self.migration.body, Body::Rows(_)) {
                let message = message("the program may set a column");
                self.error("assigns-key", message, help);
                continue;
            }
            let read = sql::names(dialect, &from);
            let names = self.names(false);
            let migration = self.migration;
            for statement in migration.statements() {
                let deeds = sql::deeds(dialect, statement);
                let here = deeds
                    .iter()
                    .filter(|deed| deed.verb != Verb::Delete && names.contains(&deed.table));
                let mut assigned = here.flat_map(|deed| &deed.columns);
                let hit = assigned.find(|column| {
                    from.is_empty()
                        || read.iter().any(|name| column::is_same(dialect, column, name))
                });
                if let Some(column) = hit {
                    let message = message(&format!("the statement assigns `{column}`,"));
                    self.error_in(statement, "assigns-key", message, help);
                }
            }
        }
    }
}
