//! What the catalogue tells of triggers and foreign keys that change more than the rows that a backfill
//! changes. Triggers are told only to who has the right TRIGGER on the table.

use dunlin_engine::TargetError;
use dunlin_model::{Backfill, Beside, Takes, Verb};

use super::walk::too_little;
use crate::literal::{name, text};
use crate::session::Cells;
use crate::target::MysqlTarget;

impl MysqlTarget {
    pub(crate) async fn changes_beside(
        &mut self,
        work: &Backfill,
    ) -> Result<Vec<Beside>, TargetError> {
        let (schema, table) = self.located(&work.table).ok_or_else(too_little)?;
        let (schema, table) = (text(&schema), text(&table));
        let packet = format!(
            "SELECT trigger_name, action_timing, event_manipulation, action_statement \
             FROM information_schema.triggers WHERE event_object_schema = {schema} \
             AND event_object_table = {table} ORDER BY trigger_name; \
             SELECT r.constraint_name, r.constraint_schema, r.table_name, r.update_rule, \
             r.delete_rule, k.referenced_column_name, k.column_name \
             FROM information_schema.referential_constraints r \
             JOIN information_schema.key_column_usage k \
             ON k.constraint_schema = r.constraint_schema AND k.table_name = r.table_name \
             AND k.constraint_name = r.constraint_name \
             WHERE r.unique_constraint_schema = {schema} AND r.referenced_table_name = {table} \
             ORDER BY r.constraint_schema, r.table_name, r.constraint_name, k.ordinal_position"
        );
        let answers = self.repeated(&packet).await?;
        let [triggers, keys] = answers.as_slice() else { return Err(too_little()) };
        let mut found: Vec<Beside> = triggers.rows.iter().map(trigger).collect();
        for row in &keys.rows {
            for (rule, verb) in [(row.text(3), Verb::Update), (row.text(4), Verb::Delete)] {
                if matches!(rule.as_str(), "CASCADE" | "SET NULL" | "SET DEFAULT") {
                    add_key(&mut found, row, &rule, verb);
                }
            }
        }
        Ok(found)
    }
}

fn trigger(row: &Cells) -> Beside {
    let event = row.text(2);
    Beside {
        what: format!(
            "trigger {} ({} {})",
            row.text(0),
            row.text(1).to_lowercase(),
            event.to_lowercase()
        ),
        on: vec![match event.as_str() {
            "INSERT" => Verb::Insert,
            "DELETE" => Verb::Delete,
            _ => Verb::Update,
        }],
        columns: Vec::new(),
        body: row.optional(3),
        takes: None,
    }
}

/// Adds one column of a key's to what is known of that key.
fn add_key(found: &mut Vec<Beside>, row: &Cells, rule: &str, verb: Verb) {
    let event = if verb == Verb::Delete { "DELETE" } else { "UPDATE" };
    let what = format!(
        "foreign key {} of {}.{} (ON {event} {rule})",
        row.text(0),
        row.text(1),
        row.text(2)
    );
    let number = found.iter().position(|one| one.what == what).unwrap_or_else(|| {
        let deletes = verb == Verb::Delete && rule == "CASCADE";
        let takes = Takes {
            table: format!("{}.{}", name(&row.text(1)), name(&row.text(2))),
            verb: if deletes { Verb::Delete } else { Verb::Update },
            columns: Vec::new(),
        };
        let columns = Vec::new();
        found.push(Beside { what, on: vec![verb], columns, body: None, takes: Some(takes) });
        found.len() - 1
    });
    let Some(one) = found.get_mut(number) else { return };
    one.columns.push(row.text(5));
    if let Some(takes) = &mut one.takes {
        takes.columns.push((row.text(6), row.text(5)));
    }
}
