//! What has to be known of a table before it is written.

use dunlin_engine::moves::Written;
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::TableName;

use super::catalogue::qualified;
use crate::literal;
use crate::session::Session;

/// A table that is written.
pub(super) struct Table {
    /// Its name.
    pub(super) name: TableName,
    /// The same as SQL.
    pub(super) sql: String,
    /// Foreign keys of tables, of any database, that refer to it.
    pub(super) referring: Vec<Reference>,
    has_triggers: bool,
}

/// A foreign key that refers to a table.
pub(super) struct Reference {
    /// The table that refers, as SQL.
    pub(super) other: String,
    /// The same, for people.
    pub(super) told: String,
    /// Its columns.
    pub(super) columns: Vec<String>,
    /// The columns that they refer to, in the same order.
    pub(super) to_columns: Vec<String>,
    /// The table refers to itself.
    pub(super) itself: bool,
}

impl Table {
    /// Asks the server, in one packet.
    pub(super) async fn read(
        session: &mut Session,
        table: &TableName,
        database: &str,
    ) -> Result<Self, TargetError> {
        let sql = qualified(table, database)?;
        let (of, name) = (literal::text(database), literal::text(&table.name));
        let packet = format!(
            "SELECT t.engine, e.transactions FROM information_schema.tables t \
             LEFT JOIN information_schema.engines e ON e.engine = t.engine \
             WHERE t.table_schema = {of} AND t.table_name = {name}; \
             SELECT COUNT(*) FROM information_schema.triggers \
             WHERE event_object_schema = {of} AND event_object_table = {name}; \
             SELECT table_schema, table_name, constraint_name, column_name, \
             referenced_column_name FROM information_schema.key_column_usage \
             WHERE referenced_table_schema = {of} AND referenced_table_name = {name} \
             ORDER BY table_schema, table_name, constraint_name, ordinal_position"
        );
        let answers = session.run_rows(&packet).await?;
        let [engine, triggers, references] = answers.as_slice() else {
            return Err(super::bug("the server answered too little"));
        };
        let Some(row) = engine.rows.first() else {
            let message = format!("there is no table {table}");
            return Err(TargetError::new(ErrorKind::Refused, message));
        };
        if row.text(1) != "YES" {
            let message = format!(
                "table {table} is stored by {}, which has no transactions: a failure would leave \
                 half of the rows",
                row.text(0)
            );
            return Err(TargetError::new(ErrorKind::Unsupported, message).help(format!(
                "ALTER TABLE {} ENGINE = InnoDB first",
                literal::name(&table.name)
            )));
        }
        let mut referring: Vec<(String, Reference)> = Vec::new();
        for row in &references.rows {
            let (schema, child, key) = (row.text(0), row.text(1), row.text(2));
            let told = if schema == database { child.clone() } else { format!("{schema}.{child}") };
            let told = format!("{told} ({key})");
            if referring.last().is_none_or(|(last, _)| *last != told) {
                let itself = schema == database && child == table.name;
                let reference = Reference {
                    other: format!("{}.{}", literal::name(&schema), literal::name(&child)),
                    told: told.clone(),
                    columns: Vec::new(),
                    to_columns: Vec::new(),
                    itself,
                };
                referring.push((told, reference));
            }
            if let Some((_, reference)) = referring.last_mut() {
                reference.columns.push(row.text(3));
                reference.to_columns.push(row.text(4));
            }
        }
        Ok(Self {
            name: table.clone(),
            sql,
            referring: referring.into_iter().map(|(_, reference)| reference).collect(),
            has_triggers: triggers.rows.first().and_then(|row| row.number(0)) != Some(0_u64),
        })
    }

    /// Triggers must be allowed to fire where there are any: nobody can switch them off.
    pub(super) fn check_triggers(&self, into: &Written) -> Result<(), TargetError> {
        if into.triggers || !self.has_triggers {
            return Ok(());
        }
        let message =
            format!("{} has triggers, and no row can be written here without them", into.table);
        Err(TargetError::new(ErrorKind::Unsupported, message)
            .help("let them fire (triggers = \"fire\"), or drop them before the move"))
    }
}
