//! Columns, by the names that people write.

use dunlin_model::{Column, Dialect, Table};

use crate::{sql, suggestion};

/// Whether a folded name is that column's.
pub(super) fn is_same(dialect: Dialect, folded: &str, name: &str) -> bool {
    match dialect {
        Dialect::Postgres => folded == name,
        Dialect::Mysql | Dialect::Sqlite => folded.to_lowercase() == name.to_lowercase(),
    }
}

/// The column that a written name means: spelt exactly so, else by the server's own rules.
pub(super) fn find<'t>(dialect: Dialect, table: &'t Table, written: &str) -> Option<&'t Column> {
    if let Some(column) = table.column(written) {
        return Some(column);
    }
    let folded = sql::column_key(dialect, written)?;
    by_folded(dialect, table, &folded)
}

/// The column of a folded name.
pub(super) fn by_folded<'t>(
    dialect: Dialect,
    table: &'t Table,
    folded: &str,
) -> Option<&'t Column> {
    table.columns.iter().find(|column| is_same(dialect, folded, &column.name))
}

/// What was meant instead.
pub(super) fn help(table: &Table, written: &str) -> String {
    suggestion::help(written, table.columns.iter().map(|column| column.name.as_str()))
}

/// A name as the server takes it whatever it holds.
pub(super) fn quoted(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Mysql => format!("`{}`", name.replace('`', "``")),
        Dialect::Postgres | Dialect::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}
