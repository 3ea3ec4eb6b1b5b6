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

/// So many rows at most are looked at together for circles among them: each is asked about with the
/// keys of all others.
const CIRCLE_ROWS: usize = 64;

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
    let own = table.referring.iter().any(|reference| reference.itself);
    let mut refused = Refused::default();
    loop {
        let mut still = referred(session, table, from, &given, &left).await?;
        let mut free: Vec<u32> = left.into_iter().filter(|row| !still.contains_key(row)).collect();
        if free.is_empty() && own {
            free = circle(session, table, from, &given, &still).await?;
            still.retain(|row, _| free.binary_search(row).is_err());
        }
        let none = free.is_empty();
        let done = unreferred(session, &given, free, own).await?;
        refused.rejected.extend(done.rejected);
        // A row that is gone by now may have been what kept another one of the same table.
        if none || !own {
            refused.rejected.extend(still.into_iter().map(|(row, by)| (row, by.told)));
            break;
        }
        left = still.into_keys().collect();
    }
    Ok(joined(refused, absent, Vec::new()))
}

/// Deletes rows that no row but these refers to. The server refuses a row that refers to itself, and
/// rows that refer to each other; that nobody else does is known, and stays so while they are locked.
async fn unreferred(
    session: &mut Session,
    given: &Given<'_>,
    rows: Vec<u32>,
    own: bool,
) -> Result<Refused, TargetError> {
    if rows.is_empty() || !own {
        return halved(session, Deed::Delete(given), rows).await;
    }
    session.run("SET foreign_key_checks = 0").await?;
    let done = halved(session, Deed::Delete(given), rows).await;
    let again = session.run("SET foreign_key_checks = 1").await;
    let done = done?;
    again?;
    Ok(done)
}

/// Rows of those to which only rows refer that are themselves among them, in order.
async fn circle(
    session: &mut Session,
    table: &Table,
    from: &Written,
    given: &Given<'_>,
    stuck: &BTreeMap<u32, Referrer>,
) -> Result<Vec<u32>, TargetError> {
    let key = key_of(from);
    let own = |of: &&Referrer| of.itself;
    let mut among: Vec<u32> = stuck.iter().filter(|(_, of)| own(of)).map(|(row, _)| *row).collect();
    loop {
        if among.is_empty() || among.len() > CIRCLE_ROWS {
            return Ok(Vec::new());
        }
        let members: Vec<String> =
            among.iter().map(|row| format!("({})", given.is(*row, "c.", true))).collect();
        let others = format!(" AND NOT ({})", members.join(" OR "));
        let mut kept = Vec::new();
        for reference in table.referring.iter().filter(|reference| reference.itself) {
            let sql = |row: &u32| {
                probe(table, reference, &key, &format!("{}{others}", given.is(*row, "p.", true)))
            };
            let answers = asked(session, among.iter().map(sql).collect()).await?;
            let found = among.iter().zip(answers).filter(|(_, answer)| !answer.rows.is_empty());
            kept.extend(found.map(|(row, _)| *row));
        }
        if kept.is_empty() {
            return Ok(among);
        }
        among.retain(|row| !kept.contains(row));
    }
}

fn key_of(from: &Written) -> Vec<&Field> {
    from.key.iter().filter_map(|place| from.fields.get(*place)).collect()
}

/// Who refers to a row.
struct Referrer {
    told: String,
    /// Rows of the same table alone.
    itself: bool,
}

/// The rows that others refer to, with who does.
async fn referred(
    session: &mut Session,
    table: &Table,
    from: &Written,
    given: &Given<'_>,
    rows: &[u32],
) -> Result<BTreeMap<u32, Referrer>, TargetError> {
    let key = key_of(from);
    let mut found: BTreeMap<u32, Referrer> = BTreeMap::new();
    for reference in &table.referring {
        let sql = |row: &u32| probe(table, reference, &key, &given.is(*row, "p.", true));
        let answers = asked(session, rows.iter().map(sql).collect()).await?;
        for (row, answer) in rows.iter().zip(answers) {
            if !answer.rows.is_empty() {
                let told = || format!("still referenced by {}", reference.told);
                let entry = found
                    .entry(*row)
                    .or_insert_with(|| Referrer { told: told(), itself: reference.itself });
                entry.itself &= reference.itself;
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
