//! What the schema tells of triggers and clauses that change more than the rows that a backfill
//! changes. Foreign keys are none of them: they are not enforced here, so they take no rows along.

use dunlin_model::{Backfill, Beside, Verb};
use rusqlite::Connection;

use super::name;
use crate::fault::Outcome;

/// Reads them, in the order of their names.
pub(super) fn look(connection: &Connection, work: &Backfill) -> Outcome<Vec<Beside>> {
    let mut found = Vec::new();
    let Some(table) = name::table_in_main(&work.table) else { return Ok(found) };
    let sql = "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table', 'trigger')
               AND tbl_name = ?1 COLLATE NOCASE AND sql IS NOT NULL ORDER BY type, name";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<Vec<(String, String, String)>>>()?;
    for (kind, name, sql) in rows {
        if kind == "trigger" {
            found.push(trigger(&name, sql));
        } else if words(&sql).join(" ").contains("ON CONFLICT REPLACE") {
            found.push(Beside {
                what: "its own clause ON CONFLICT REPLACE".to_owned(),
                on: vec![Verb::Update],
                columns: Vec::new(),
                body: None,
                takes: None,
            });
        }
    }
    Ok(found)
}

fn words(sql: &str) -> Vec<String> {
    sql.split_whitespace().map(str::to_ascii_uppercase).collect()
}

/// Where its head is not read for certain it is about all changes.
fn trigger(name: &str, sql: String) -> Beside {
    let words = words(&sql);
    let on = words.iter().position(|word| word == "ON").unwrap_or(0);
    let head = words.get(..on).unwrap_or_default();
    let is_event = |word: &&String| matches!(word.as_str(), "INSERT" | "UPDATE" | "DELETE");
    let events: Vec<&String> = head.iter().filter(is_event).collect();
    let plain = !head.iter().any(|word| word.contains("/*") || word.contains("--"));
    let on = match events.as_slice() {
        [only] if plain && *only == "INSERT" => vec![Verb::Insert],
        [only] if plain && *only == "UPDATE" => vec![Verb::Update],
        [only] if plain && *only == "DELETE" => vec![Verb::Delete],
        _ => vec![Verb::Insert, Verb::Update, Verb::Delete],
    };
    let what = format!("trigger {name}");
    Beside { what, on, columns: Vec::new(), body: Some(sql), takes: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triggers_event_is_read_from_its_head() {
        let of = |sql: &str| trigger("a", sql.to_owned()).on;
        let insert = "CREATE TRIGGER a AFTER INSERT ON t BEGIN DELETE FROM u; END";
        assert_eq!(of(insert), [Verb::Insert]);
        let update = "create trigger a after update of b,\n c on t begin delete from u; end";
        assert_eq!(of(update), [Verb::Update]);
        let all = [Verb::Insert, Verb::Update, Verb::Delete];
        assert_eq!(
            of("CREATE TRIGGER \"INSERT\" AFTER DELETE ON t BEGIN SELECT 1; END"),
            [Verb::Delete]
        );
        assert_eq!(of("CREATE TRIGGER a AFTER DELETE /* INSERT */ ON t BEGIN SELECT 1; END"), all);
        assert_eq!(of("CREATE TRIGGER [x on insert ] AFTER DELETE ON t BEGIN SELECT 1; END"), all);
    }
}
