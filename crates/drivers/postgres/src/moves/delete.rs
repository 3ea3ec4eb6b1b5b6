//! Deleting by key. Nothing is cascaded: a row that others refer to stays and is told of.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use dunlin_engine::moves::{Refused, Written};
use dunlin_engine::{ErrorKind, TargetError};

use super::layout::{Layout, Reference};
use super::refused::halved;
use super::write::{Deed, Given, key_of, list, pairs, same};
use crate::session::Session;

/// Deletes rows.
pub(super) async fn delete(
    session: &Session,
    layout: &Layout,
    from: &Written,
    keys: &RecordBatch,
) -> Result<Refused, TargetError> {
    let key = key_of(from)?;
    let given = Given::new(layout, key.clone(), keys)?;
    let rows = given.sql()?;
    let found = same("t", "s", &key);
    let all: Vec<u32> = (0..).take(keys.num_rows()).collect();
    // Locked first: nobody can begin to refer to them any more, so what is asked next stays true.
    let absent = format!(
        "WITH {rows}, held AS (SELECT {columns} FROM {table} AS t WHERE EXISTS (SELECT FROM s \
         WHERE {found}) FOR UPDATE OF t) SELECT s.dunlin_place FROM s WHERE NOT EXISTS \
         (SELECT FROM held WHERE {held})",
        columns = list("t", &key),
        table = layout.sql,
        held = same("held", "s", &key),
    );
    let absent = given.ask(session, &absent, &all).await?;
    let mut open: Vec<u32> = all.into_iter().filter(|row| !absent.contains(row)).collect();
    let mut rejected = BTreeMap::new();
    loop {
        let still = referred(session, layout, from, &given, &key, &open).await?;
        open.retain(|row| !still.contains_key(row));
        let ended = still.is_empty() || !layout.referred.iter().any(|known| known.itself);
        rejected.extend(still);
        // A row that stays may be what keeps another one of the same table.
        if ended {
            break;
        }
    }
    let sql = format!(
        "WITH {rows}, d AS (DELETE FROM {table} AS t USING s WHERE {found} \
         RETURNING s.dunlin_place) SELECT s.dunlin_place FROM s WHERE NOT EXISTS \
         (SELECT FROM d WHERE d.dunlin_place = s.dunlin_place)",
        table = layout.sql,
    );
    let deed = Deed { given, sql, unwatched: Vec::new(), lost: Vec::new() };
    let mut refused = halved(session, &deed, open).await?;
    refused.absent_or_there.extend(absent);
    refused.rejected.extend(rejected);
    refused.absent_or_there.sort_unstable();
    refused.rejected.sort_unstable();
    Ok(refused)
}

/// The rows that others refer to, with who does.
async fn referred(
    session: &Session,
    layout: &Layout,
    from: &Written,
    given: &Given<'_>,
    key: &[&str],
    open: &[u32],
) -> Result<BTreeMap<u32, String>, TargetError> {
    let mut found = BTreeMap::new();
    for reference in &layout.referred {
        if open.is_empty() {
            break;
        }
        if !reference.readable {
            // The server looks itself, unless it would change those rows or has been told not to.
            if reference.cascades || !from.triggers {
                return Err(unreadable(layout, reference));
            }
            continue;
        }
        // A row that is deleted with it keeps nothing.
        let outside = if reference.itself {
            format!(" AND NOT EXISTS (SELECT FROM s AS d WHERE {})", same("d", "r", key))
        } else {
            String::new()
        };
        let sql = format!(
            "WITH {rows} SELECT s.dunlin_place FROM s JOIN {table} AS t ON {of} WHERE EXISTS \
             (SELECT FROM {other} AS r WHERE {refers}{outside})",
            rows = given.sql()?,
            table = layout.sql,
            of = same("t", "s", key),
            other = reference.other,
            refers = pairs("r", &reference.columns, "t", &reference.to_columns),
        );
        for row in given.ask(session, &sql, open).await? {
            found.entry(row).or_insert_with(|| {
                format!("still referenced by {} ({})", reference.other, reference.name)
            });
        }
    }
    Ok(found)
}

fn unreadable(layout: &Layout, reference: &Reference) -> TargetError {
    TargetError::new(
        ErrorKind::Permission,
        format!(
            "rows of {} can't be deleted safely: this login may not see who refers to them through \
             the foreign key \"{}\" of {}, and deleting would change those rows too",
            layout.name, reference.name, reference.other
        ),
    )
    .help(format!("as its owner: GRANT SELECT ON {} TO this login", reference.other))
}
