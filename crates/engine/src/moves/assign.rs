//! Numbers of the target's own for old keys: allotted once, and stored.

use std::collections::HashMap;

use super::key::RowKey;
use super::key_set::key_hash;
use super::plan::{MovePlan, PlannedRule};
use super::ports::Stored;
use super::produce::Decided;
use super::session::Session;
use super::stored_lists::{LIST_ROWS, read_ids};
use crate::TargetError;

/// Numbers of the target's own for old keys that have none yet.
pub(super) async fn assign(
    plan: &MovePlan,
    number: usize,
    makes: usize,
    mut keys: Vec<RowKey>,
    session: &mut Session<'_>,
    decided: &mut Decided,
) -> Result<(), TargetError> {
    let area = format!("ids/{}", plan.namespaces[makes].spec.name);
    let stored = session.all_stored(&area).await?;
    let next = stored.last().map_or(0, |last| last.number + 1);
    let mut assigned: HashMap<u128, i64> = HashMap::new();
    for entry in &stored {
        for (old, id) in read_ids(entry)? {
            assigned.insert(key_hash(&old), id);
        }
    }
    keys.sort();
    keys.retain(|key| {
        decided.ids[makes].leader(key) == key && !assigned.contains_key(&key_hash(key))
    });
    let rule = &plan.rules[number];
    let column = rule.id_field.map(|place| rule.written.fields[place].name.clone());
    let column = column.unwrap_or_default();
    for (block_number, block) in (next..).zip(keys.chunks(LIST_ROWS)) {
        let ids = if session.dry_run {
            // Nobody sees them: numbers that no database gives out.
            (0..block.len() as i64)
                .map(|n| i64::MIN + block_number * LIST_ROWS as i64 + n)
                .collect()
        } else {
            allot(session, rule, &column, &area, block_number, block).await?
        };
        assigned.extend(block.iter().zip(ids).map(|(old, id)| (key_hash(old), id)));
    }
    decided.ids[makes].assigned = assigned;
    Ok(())
}

async fn allot(
    session: &mut Session<'_>,
    rule: &PlannedRule,
    column: &str,
    area: &str,
    number: i64,
    block: &[RowKey],
) -> Result<Vec<i64>, TargetError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let done = try_allot(session, rule, column, area, number, block).await;
        match done {
            Ok(ids) => return Ok(ids),
            Err(error) => session.failed(error, attempt).await?,
        }
    }
}

async fn try_allot(
    session: &mut Session<'_>,
    rule: &PlannedRule,
    column: &str,
    area: &str,
    number: i64,
    block: &[RowKey],
) -> Result<Vec<i64>, TargetError> {
    session.begin().await?;
    let count = u32::try_from(block.len()).unwrap_or(u32::MAX);
    let ids = session.target.take_numbers(&rule.written.table, column, count).await?;
    let mut value = vec![block.first().map_or(1, |key| key.0.len()) as u8];
    for (old, id) in block.iter().zip(&ids) {
        old.write(&mut value);
        value.extend_from_slice(&id.to_le_bytes());
    }
    let name = session.name.clone();
    let entry = Stored { area: area.to_owned(), number, value: Some(value) };
    session.target.put(&name, &[entry]).await?;
    session.commit().await?;
    Ok(ids)
}
