//! What triggers write that a statement fires: tables whose engine can't roll back part from the rows
//! that made them fire, and from the ledger's.
//!
//! Careful: a table counts as written where its name stands in a trigger's body, or in that of a
//! routine that is named there. Triggers are told only to who has the right TRIGGER on their table.

use std::collections::BTreeSet;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Statement, Verb};

use crate::literal::{name, text};
use crate::session::Cells;
use crate::target::MysqlTarget;

/// A place in `statements` and a table of a schema; on which events its triggers fire.
type Event = ((usize, String, String), &'static [&'static str]);

/// A body that is read: where its statement stands, its schema, what it is, its text.
struct Body {
    index: usize,
    schema: String,
    what: String,
    text: String,
}

impl MysqlTarget {
    /// Refuses statements that fire a trigger which names a table without transactions. The index in
    /// the error is that in `statements`.
    pub(crate) async fn require_transactional_triggers(
        &mut self,
        statements: &[Statement],
    ) -> Result<(), TargetError> {
        let mut events = Vec::new();
        for (index, statement) in statements.iter().enumerate() {
            for table in written(statement) {
                let Some((schema, table)) = self.located(table) else { continue };
                events.push(((index, schema, table), fires(statement)));
            }
        }
        self.follow(&events).await
    }

    /// The same for rows of a table that are updated one by one.
    pub(crate) async fn require_transactional_updates(
        &mut self,
        table: &str,
    ) -> Result<(), TargetError> {
        let Some((schema, table)) = self.located(table) else { return Ok(()) };
        let update: &[&str] = &["UPDATE"];
        let followed = self.follow(&[((0, schema, table), update)]).await;
        // There is no statement of the user's.
        followed.map_err(|error| TargetError { statement: None, ..error })
    }

    async fn follow(&mut self, events: &[Event]) -> Result<(), TargetError> {
        let mut bodies = self.triggers_of(events).await?;
        let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
        while let Some(body) = bodies.pop() {
            let words = words(&body.text);
            if words.is_empty() || !seen.insert((body.schema.clone(), body.text.clone())) {
                continue;
            }
            let tables = self.tables_named(&body, &words).await?;
            bodies.extend(self.triggers_of(&tables).await?);
            bodies.extend(self.routines_named(&body, &words).await?);
        }
        Ok(())
    }

    /// Triggers of these tables that fire on these events, each with the statement that begins it.
    async fn triggers_of(&mut self, tables: &[Event]) -> Result<Vec<Body>, TargetError> {
        let queries: Vec<String> = tables
            .iter()
            .map(|((index, schema, table), events)| {
                let events: Vec<String> = events.iter().map(|event| text(event)).collect();
                format!(
                    "SELECT {index}, trigger_schema, trigger_name, action_statement \
                     FROM information_schema.triggers WHERE event_object_schema = {} \
                     AND event_object_table = {} AND event_manipulation IN ({})",
                    text(schema),
                    text(table),
                    events.join(", ")
                )
            })
            .collect();
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.session.run(&queries.join(" UNION ALL ")).await?;
        let rows = answers.iter().flat_map(|answer| &answer.rows);
        Ok(rows.map(|row| body(row, "trigger")).collect())
    }

    /// The tables that a body names, which it may write; refused where one has no transactions.
    async fn tables_named(&mut self, body: &Body, words: &str) -> Result<Vec<Event>, TargetError> {
        let query = format!(
            "SELECT t.table_schema, t.table_name, t.engine, COALESCE(e.transactions, 'NO') \
             FROM information_schema.tables t \
             LEFT JOIN information_schema.engines e ON e.engine = t.engine \
             WHERE t.table_type = 'BASE TABLE' AND (t.table_schema = {} OR t.table_schema IN ({words}) \
             AND t.table_schema NOT IN ('information_schema', 'performance_schema', 'sys', 'mysql')) \
             AND t.table_name IN ({words})",
            text(&body.schema)
        );
        let answers = self.session.run(&query).await?;
        let mut tables = Vec::new();
        for row in answers.iter().flat_map(|answer| &answer.rows) {
            let (schema, table) = (row.text(0), row.text(1));
            if row.text(3) != "YES" {
                return Err(TargetError::new(
                    ErrorKind::Refused,
                    format!(
                        "the statement fires {}, which names table {table}, stored by {}, which has \
                         no transactions: a failure would leave half of the change",
                        body.what,
                        row.text(2)
                    ),
                )
                .help(format!("ALTER TABLE {}.{} ENGINE = InnoDB first", name(&schema), name(&table)))
                .in_statement(body.index));
            }
            let any: &[&str] = &["INSERT", "UPDATE", "DELETE"];
            tables.push(((body.index, schema, table), any));
        }
        Ok(tables)
    }

    /// The routines that a body names, as far as this login is told their texts.
    async fn routines_named(&mut self, body: &Body, words: &str) -> Result<Vec<Body>, TargetError> {
        let query = format!(
            "SELECT {}, routine_schema, routine_name, COALESCE(routine_definition, '') \
             FROM information_schema.routines WHERE (routine_schema = {} \
             OR routine_schema IN ({words})) AND routine_name IN ({words})",
            body.index,
            text(&body.schema)
        );
        let answers = self.session.run(&query).await?;
        let rows = answers.iter().flat_map(|answer| &answer.rows);
        // Whoever fires it is what a person knows of.
        Ok(rows.map(|row| Body { what: body.what.clone(), ..self::body(row, "routine") }).collect())
    }
}

fn body(row: &Cells, what: &str) -> Body {
    Body {
        index: row.number(0).unwrap_or_default(),
        schema: row.text(1),
        what: format!("{what} {}", row.text(2)),
        text: row.text(3),
    }
}

/// The tables that a statement writes; where that can't be told, all that it names.
fn written(statement: &Statement) -> Vec<&str> {
    match &statement.facts.writes {
        Some(write) => vec![write.table.as_str()],
        None => crate::preflight::changed_tables(statement),
    }
}

/// On which events triggers fire for a statement. An INSERT may update (ON DUPLICATE KEY) and, as
/// REPLACE, delete.
fn fires(statement: &Statement) -> &'static [&'static str] {
    match statement.facts.writes.as_ref().map(|write| write.verb) {
        Some(Verb::Update) => &["UPDATE"],
        Some(Verb::Delete) => &["DELETE"],
        Some(Verb::Insert) | None => &["INSERT", "UPDATE", "DELETE"],
    }
}

/// All words of a text, and what stands in back quotes, as a list of literals; empty: none.
fn words(body: &str) -> String {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    found.extend(body.split(|c| !is_word(c)).filter(|word| !word.is_empty()));
    found.extend(body.split('`').skip(1).step_by(2).filter(|name| !name.is_empty()));
    let literals: Vec<String> = found.into_iter().map(text).collect();
    literals.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quoted_names_are_found() {
        let found = words("INSERT INTO log VALUES (`old log`.a, 'x')");
        for word in ["log", "old log", "a"] {
            assert!(found.contains(&text(word)), "{word}");
        }
        assert_eq!(words(" ; "), "");
    }
}
