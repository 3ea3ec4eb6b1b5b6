//! Deleting by key. Nothing is cascaded: a row that others refer to stays and is told of.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use dunlin_engine::TargetError;
use dunlin_engine::moves::{Refused, Written};
use dunlin_model::moves::Field;

use super::refused::{Deed, asked, halved};
use super::table::{Reference, Table};
use super::write::{Given, joined};
use crate::literal;
use crate::session::Session;

/// Deletes rows to which no other row refers.
pub(super) async fn delete(
    session: &mut Session,
    table: &Table,
    from: &Written,
    keys: &RecordBatch,
) -> Result<Refused, TargetError> {
    let given = Given::keys(table, from, keys)?;
    let (open, unknown) = given.sorted();
    // Locked first: nobody can begin to refer to them any more, so what is asked next stays true.
    let mut left = given.there(session, &open, true).await?;
    // A key that can't be stored is that of no row.
    let mut absent: Vec<u32> = unknown.into_iter().map(|(row, _)| row).collect();
    absent.extend(open.into_iter().filter(|row| left.binary_search(row).is_err()));
    let mut refused = Refused::default();
    loop {
        let still = referred(session, table, from, &given, &left).await?;
        let free: Vec<u32> = left.into_iter().filter(|row| !still.contains_key(row)).collect();
        let none = free.is_empty();
        let done = halved(session, Deed::Delete(&given), free).await?;
        refused.rejected.extend(done.rejected);
        // A row that is gone by now may have been what kept another one of the same table.
        if none || !table.referring.iter().any(|known| known.itself) {
            refused.rejected.extend(still);
            break;
        }
        left = still.into_keys().collect();
    }
    Ok(joined(refused, absent, Vec::new()))
}

/// The rows that others refer to, with who does.
async fn referred(
    session: &mut Session,
    table: &Table,
    from: &Written,
    given: &Given<'_>,
    rows: &[u32],
) -> Result<BTreeMap<u32, String>, TargetError> {
    let key: Vec<&Field> = from.key.iter().filter_map(|place| from.fields.get(*place)).collect();
    let mut found = BTreeMap::new();
    for reference in &table.referring {
        let sql = |row: &u32| probe(table, reference, &key, &given.is(*row, "p.", true));
        let answers = asked(session, rows.iter().map(sql).collect()).await?;
        for (row, answer) in rows.iter().zip(answers) {
            if !answer.rows.is_empty() {
                let told = || format!("still referenced by {}", reference.told);
                found.entry(*row).or_insert_with(told);
            }
        }
    }
    Ok(found)
}

/// Finds a row that refers to that of a key. One that refers to itself is in nobody's way.
fn probe(table: &Table, reference: &Reference, key: &[&Field], is: &str) -> String {
    let pairs = reference.columns.iter().zip(&reference.to_columns);
    let on: Vec<String> = pairs
        .map(|(own, to)| format!("c.{} = p.{}", literal::name(own), literal::name(to)))
        .collect();
    let other = if reference.itself {
        let same: Vec<String> = key
            .iter()
            .map(|field| format!("c.{0} <=> p.{0}", literal::name(&field.name)))
            .collect();
        format!(" AND NOT ({})", same.join(" AND "))
    } else {
        String::new()
    };
    format!(
        "SELECT 1 FROM {} AS p JOIN {} AS c ON {} WHERE {is}{other} LIMIT 1",
        table.sql,
        reference.other,
        on.join(" AND ")
    )
}
