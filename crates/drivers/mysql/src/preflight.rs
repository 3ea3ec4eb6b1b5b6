//! What is looked at before a work runs.

use dunlin_engine::{ErrorKind, TargetError, Work};
use dunlin_model::Statement;

use crate::facts::require_writable;
use crate::failure::local_infile;
use crate::literal;
use crate::target::MysqlTarget;
use crate::work::loads_a_local_file;

/// Schemas of the server itself; their tables are views of its state.
const SYSTEM: &[&str] = &["information_schema", "performance_schema", "mysql", "sys"];

/// Verbs of statements that change rows.
const CHANGES: &[&str] = &["INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD"];

impl MysqlTarget {
    pub(crate) async fn look_ahead(&mut self, work: &Work) -> Result<(), TargetError> {
        require_writable(&self.facts)?;
        if let Some(index) = work.statements.iter().position(loads_a_local_file) {
            return Err(local_infile().in_statement(index));
        }
        self.require_known_quotes(&work.statements)?;
        let limit = self.session.packet_bytes_max;
        if let Some(index) = work.statements.iter().position(|s| s.text.len() >= limit) {
            return Err(TargetError::new(
                ErrorKind::Refused,
                format!(
                    "the statement is longer than the server takes (max_allowed_packet = {limit})"
                ),
            )
            .help("raise max_allowed_packet on the server, or split the statement")
            .in_statement(index));
        }
        self.require_transactional(work, &work.statements).await
    }

    /// Files are read without knowing the server: where its `sql_mode` reads a quote in another way,
    /// statements may end elsewhere. From a `SET sql_mode` on, the file says itself how it is meant.
    fn require_known_quotes(&self, statements: &[Statement]) -> Result<(), TargetError> {
        let has = |mode: &str| self.facts.sql_mode.split(',').any(|one| one == mode);
        let plain = has("NO_BACKSLASH_ESCAPES");
        let names = has("ANSI_QUOTES");
        let says_itself = |statement: &&Statement| {
            statement.facts.verb == "SET"
                && statement.text.to_ascii_uppercase().contains("SQL_MODE")
        };
        let misread = |statement: &Statement| {
            let text = statement.text.as_str();
            plain && (text.contains("\\'") || text.contains("\\\""))
                || names && text.contains("\\\"")
        };
        let before = statements.iter().take_while(|one| !says_itself(one));
        let Some((index, _)) = before.enumerate().find(|(_, one)| misread(one)) else {
            return Ok(());
        };
        let mode = if plain { "NO_BACKSLASH_ESCAPES" } else { "ANSI_QUOTES" };
        let message = format!(
            "the server's sql_mode has {mode}: a backslash before a quote does not escape it there, \
             so that this statement would end elsewhere than it was read to"
        );
        Err(TargetError::new(ErrorKind::Refused, message)
            .help("double the quote instead, or begin the file with the `SET sql_mode = '…'` that it is written for")
            .in_statement(index))
    }

    /// Refuses statements that change rows of tables whose engine cannot roll back: no
    /// transaction holds them together with their ledger row. The index in the error is that in
    /// `statements`.
    pub(crate) async fn require_transactional(
        &mut self,
        _work: &Work,
        statements: &[Statement],
    ) -> Result<(), TargetError> {
        self.require_transactional_statements(statements).await
    }

    pub(crate) async fn require_transactional_statements(
        &mut self,
        statements: &[Statement],
    ) -> Result<(), TargetError> {
        let mut queries = Vec::new();
        for (index, statement) in statements.iter().enumerate() {
            queries.extend(
                changed_tables(statement)
                    .into_iter()
                    .filter_map(|table| self.engine_query(index, table)),
            );
        }
        if queries.is_empty() {
            return Ok(());
        }
        let answers = self.session.run(&queries.join(" UNION ALL ")).await?;
        let Some(row) = answers.first().and_then(|answer| answer.rows.first()) else {
            return self.require_transactional_triggers(statements).await;
        };
        let (table, engine) = (row.text(1), row.text(2));
        let error = TargetError::new(
            ErrorKind::Refused,
            format!("table {table} is stored by {engine}, which has no transactions: a failure would leave half of the change"),
        )
        .help(format!("ALTER TABLE {} ENGINE = InnoDB first", literal::name(&table)));
        Err(error.in_statement(row.number(0).unwrap_or_default()))
    }

    /// Finds a table if its engine has no transactions.
    fn engine_query(&self, index: usize, written: &str) -> Option<String> {
        let parts = literal::name_parts(written)?;
        let (schema, table) = match parts.as_slice() {
            [table] => (self.ledger.database(), table),
            [schema, table] => (schema.as_str(), table),
            _ => return None,
        };
        if SYSTEM.iter().any(|system| schema.eq_ignore_ascii_case(system)) {
            return None;
        }
        Some(format!(
            "SELECT {index}, t.table_name, t.engine FROM information_schema.tables t \
             JOIN information_schema.engines e ON e.engine = t.engine \
             WHERE t.table_schema = {} AND t.table_name = {} AND t.table_type = 'BASE TABLE' \
             AND COALESCE(e.transactions, 'NO') <> 'YES'",
            literal::text(schema),
            literal::text(table)
        ))
    }
}

/// The tables that a statement may change. Which of those it names it only reads is not known.
pub(crate) fn changed_tables(statement: &Statement) -> Vec<&str> {
    let word = statement.facts.verb.split(' ').next().unwrap_or_default();
    match &statement.facts.tables {
        Some(tables) if CHANGES.contains(&word) || word == "WITH" => {
            tables.iter().map(String::as_str).collect()
        }
        _ => Vec::new(),
    }
}
