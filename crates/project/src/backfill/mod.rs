//! A chunked data migration, brought together with the table that it walks.
//!
//! Pure: a migration and what a catalogue tells go in, and a [`Backfill`] or diagnostics come out.
//! Invariants: the key of a planned backfill is unique and its order is an index's, so no two rows
//! share a key and none is left out; no statement assigns a column of that key; old values are kept
//! only where all that is written is known. What is left out: how the server would run it, which
//! its EXPLAIN tells.

mod apart;
mod beside;
mod capture;
mod column;
mod given;
mod key;
mod relatives;

use std::collections::BTreeSet;
use std::time::Duration;

use dunlin_model::{
    Backfill, Body, Capabilities, Chunking, Column, Diagnostic, Dialect, Finder, KeyColumn,
    Migration, Place, Statement, Table, TableKind, Verb,
};

use crate::sql;

pub use self::apart::{Others, not_apart, touched};
pub use self::beside::{not_kept, not_restored, without_stamps};
pub use self::given::adds_from;
pub use self::relatives::{check_written, written};

/// How long one statement of a chunk may take where nothing is said: hundreds of times what a
/// chunk should take, and short enough that a statement that runs away is not felt all night.
pub const DEFAULT_STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);

/// A statement may take so many times what the header says that a chunk should take.
const CHUNK_TIMES: u32 = 10;

/// The limits that hold where a header says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// How long a statement waits for a lock.
    pub lock: Duration,
    /// How long a statement may take; `None`: [`DEFAULT_STATEMENT_TIMEOUT`].
    pub statement: Option<Duration>,
}

/// Plans one pass of a chunked migration over its table.
///
/// # Errors
/// Why that table cannot be walked, or not by this migration; all reasons at once.
pub fn plan(
    migration: &Migration,
    table: &Table,
    dialect: Dialect,
    timeouts: Timeouts,
    pass: u32,
) -> Result<Backfill, Vec<Diagnostic>> {
    let Some(chunking) = migration.chunking() else {
        return Err(vec![
            Diagnostic::error("needs-chunk-by", format!("{} has no `chunk-by`", migration.id))
                .at(Place::file(migration.file())),
        ]);
    };
    let mut planner = Planner { migration, chunking, table, dialect, errors: Vec::new() };
    planner.check_table();
    if !planner.errors.is_empty() {
        return Err(planner.errors);
    }
    let key = planner.key();
    let columns = planner.program_columns();
    if let Some((key, _)) = &key {
        planner.check_computed(key);
        planner.check_statements(key);
        if planner.errors.is_empty() {
            planner.check_apart(key, &sql::Known::new(dialect, [table]));
        }
    }
    let in_order = key
        .as_ref()
        .is_some_and(|(key, _)| planner.in_order(key, &sql::Known::new(dialect, [table])));
    let capture = planner.capture(key.as_ref().map(|(key, _)| key.as_slice()));
    match key {
        Some((key, index)) if planner.errors.is_empty() => Ok(Backfill {
            id: migration.id,
            pass,
            table: table.name.clone(),
            shape: table.shape.clone(),
            key,
            index,
            filter: chunking.filter.clone(),
            finder: planner.finder(),
            in_order,
            statements: migration.statements().to_vec(),
            columns,
            table_columns: planner.table_columns(),
            capture,
            lock_timeout: migration.directives().lock_timeout.unwrap_or(timeouts.lock),
            statement_timeout: planner.statement_timeout(timeouts.statement),
        }),
        _ => Err(planner.errors),
    }
}

struct Planner<'a> {
    migration: &'a Migration,
    chunking: &'a Chunking,
    table: &'a Table,
    dialect: Dialect,
    errors: Vec<Diagnostic>,
}

impl Planner<'_> {
    fn error(&mut self, rule: &'static str, message: impl Into<String>, help: impl Into<String>) {
        let place = Place::file(self.migration.file());
        self.errors.push(Diagnostic::error(rule, message).at(place).help(help));
    }

    fn error_in(
        &mut self,
        statement: &Statement,
        rule: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = Place::at(self.migration.file(), statement.line, statement.column);
        self.errors.push(Diagnostic::error(rule, message).at(place).help(help));
    }

    /// How rows can be found without a walk. What a second statement takes may be what the first one
    /// has made.
    fn finder(&self) -> Option<Finder> {
        if !Capabilities::of(self.dialect).finds_rows {
            return None;
        }
        match (&self.migration.body, self.migration.statements()) {
            (Body::Rows(_), _) => {
                let filter = self.chunking.filter.as_ref()?;
                sql::finder::of_filter(self.dialect, &self.table.name, filter)
            }
            (_, [only]) => sql::finder::of_statement(self.dialect, only),
            _ => None,
        }
    }

    fn statement_timeout(&self, default: Option<Duration>) -> Duration {
        if let Some(said) = self.migration.directives().statement_timeout.or(default) {
            return said;
        }
        let by_chunk = self.chunking.time.map_or(Duration::ZERO, |time| time * CHUNK_TIMES);
        by_chunk.max(DEFAULT_STATEMENT_TIMEOUT)
    }

    fn check_table(&mut self) {
        let name = self.table.name.clone();
        match self.table.kind {
            TableKind::Table | TableKind::Partitioned => {}
            TableKind::View => self.error(
                "not-a-table",
                format!("{name} is a view: it has no rows of its own to walk"),
                "say `chunk-by` with the table below it, and `:chunk(alias)` where the statement \
                 joins that table",
            ),
            TableKind::Other => self.error(
                "not-a-table",
                format!("{name} is no ordinary table: its rows are kept elsewhere"),
                "run the migration on the database that keeps the rows, or without `chunk-by`",
            ),
        }
        let walks = matches!(self.table.kind, TableKind::Table | TableKind::Partitioned);
        if walks && !self.table.transactional {
            let help = match self.dialect {
                Dialect::Mysql => format!(
                    "make it transactional first: ALTER TABLE {name} ENGINE = InnoDB; or run the \
                     migration without `chunk-by`"
                ),
                Dialect::Postgres | Dialect::Sqlite => {
                    "run the migration without `chunk-by`".to_owned()
                }
            };
            self.error(
                "not-transactional",
                format!("writes to {name} can't be rolled back, so a chunk and its checkpoint could part"),
                help,
            );
        }
        if self.table.hides_rows {
            self.error(
                "hidden-rows",
                format!("row security may hide rows of {name} from this login: they would be left out in silence"),
                format!(
                    "run it as the table's owner or with a login that sees all rows (ALTER ROLE … \
                     BYPASSRLS; an owner under FORCE needs ALTER TABLE {name} NO FORCE ROW LEVEL \
                     SECURITY)"
                ),
            );
        }
    }

    /// Names under which statements may mean the table. With `sure`, only those that can mean no
    /// other.
    fn names(&self, sure: bool) -> BTreeSet<String> {
        let written = sql::table_key(self.dialect, &self.chunking.table);
        let catalogue = sql::table_key(self.dialect, &self.table.name);
        let last = catalogue.as_deref().and_then(|name| name.rsplit('.').next());
        let last = last.filter(|_| !sure).map(str::to_owned);
        written.into_iter().chain(catalogue.clone()).chain(last).collect()
    }

    /// A row whose key changes could be done twice or never.
    fn check_statements(&mut self, key: &[KeyColumn]) {
        let names = self.names(false);
        let migration = self.migration;
        for statement in migration.statements() {
            let deeds = sql::deeds(self.dialect, statement);
            let mut adds = deeds.iter().filter(|deed| names.contains(&deed.table));
            let is_ahead = |deed: &sql::Deed| {
                self.adds(key, deed).is_some_and(|named| !self.adds_behind(key, named))
            };
            if adds.any(is_ahead) {
                self.error_in(
                    statement,
                    "inserts-ahead",
                    format!(
                        "the statement inserts into {}, which it walks: rows that come to lie ahead \
                         of the walk would be done as well, and again",
                        self.table.name
                    ),
                    "insert into another table, or name the columns and leave the key to an \
                     ascending number that the database gives (AUTO_INCREMENT, an identity, a serial, \
                     SQLite's INTEGER PRIMARY KEY)",
                );
            }
            let here = deeds
                .iter()
                .filter(|deed| deed.verb != Verb::Delete && names.contains(&deed.table));
            let assigned: BTreeSet<&String> = here.flat_map(|deed| &deed.columns).collect();
            let hit = key.iter().find(|column| {
                assigned.iter().any(|name| column::is_same(self.dialect, name, &column.name))
            });
            if let Some(column) = hit {
                self.error_in(
                    statement,
                    "assigns-key",
                    format!(
                        "the statement assigns `{}`, by which {} is walked: a row that moves could \
                         be done twice or never",
                        column.name, self.table.name
                    ),
                    "walk the table by another unique index with `chunk-key`, or change the key in \
                     a migration without `chunk-by`",
                );
            }
        }
    }

    /// The columns that a row program gets.
    fn table_columns(&self) -> Vec<Column> {
        match self.migration.body {
            Body::Rows(_) => self.table.columns.clone(),
            Body::Sql(_) | Body::Program(_) => Vec::new(),
        }
    }

    fn program_columns(&mut self) -> Vec<Column> {
        let Body::Rows(rows) = &self.migration.body else { return Vec::new() };
        if rows.columns.is_empty() {
            return self.table.columns.clone();
        }
        let mut found: Vec<Column> = Vec::new();
        for written in &rows.columns {
            match column::find(self.dialect, self.table, written) {
                Some(column) if found.contains(column) => self.error(
                    "duplicate-column",
                    format!("`columns` names `{}` twice", column.name),
                    "keep one of the two",
                ),
                Some(column) => found.push(column.clone()),
                None => {
                    let help = column::help(self.table, written);
                    let table = &self.table.name;
                    self.error(
                        "unknown-column",
                        format!("{table} has no column `{written}`"),
                        help,
                    );
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
