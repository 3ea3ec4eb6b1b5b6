//! Whether a table has rows that the move did not write: such a table is never emptied.

use std::collections::HashSet;

use tokio::sync::mpsc;

use super::super::key::KeyColumns;
use super::super::key_set::key_hash;
use super::super::pack::Pack;
use super::super::ports::{Extract, Written};
use super::super::session::Session;
use super::super::writer::pack_area;
use crate::TargetError;

/// Keys that are held at once: 64 MiB and what a set adds. Larger tables are looked through several
/// times, each time for a share of the keys.
const SHARE_ROWS: usize = 2_000_000;

/// Bytes of keys in one batch.
const BATCH_BYTES: usize = 1 << 20;

/// Whether there is a row that none of the rules wrote. `of` has the key's columns.
pub(super) async fn has_foreign(
    session: &mut Session<'_>,
    of: &Written,
    rules: &[String],
) -> Result<bool, TargetError> {
    let mut count: usize = 0;
    each_key(session, rules, |_| count += 1).await?;
    let shares = count.div_ceil(SHARE_ROWS).max(1) as u128;
    for share in 0..shares {
        let mut ours = HashSet::new();
        each_key(session, rules, |key| {
            if key % shares == share {
                ours.insert(key);
            }
        })
        .await?;
        if others(session, of, |key| key % shares == share && !ours.contains(&key)).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn each_key(
    session: &mut Session<'_>,
    rules: &[String],
    mut each: impl FnMut(u128),
) -> Result<(), TargetError> {
    for rule in rules {
        let area = pack_area(rule);
        let mut from = i64::MIN;
        loop {
            let stored = session.stored(&area, from).await?;
            let Some(last) = stored.last() else { break };
            from = last.number + 1;
            for entry in &stored {
                for entry in Pack::read(entry)?.entries {
                    each(key_hash(&entry.new));
                }
            }
        }
    }
    Ok(())
}

/// Whether a key of the table is one of those.
async fn others(
    session: &mut Session<'_>,
    of: &Written,
    is_other: impl Fn(u128) -> bool,
) -> Result<bool, TargetError> {
    let extract = Extract {
        table: of.table.clone(),
        query: None,
        fields: of.fields.clone(),
        order: Vec::new(),
        only: Vec::new(),
        batch_bytes: BATCH_BYTES,
    };
    let (batches, mut received) = mpsc::channel(2);
    let target = &mut session.target;
    let reading = async move {
        let read = target.read(&extract, &batches).await;
        drop(batches);
        read
    };
    let looking = async move {
        while let Some(batch) = received.recv().await {
            let batch = batch?;
            let keys = KeyColumns::of_target(of.key_fields(), batch.rows.columns())?;
            if (0..batch.count()).any(|row| is_other(key_hash(&keys.key(row)))) {
                return Ok::<_, TargetError>(true);
            }
        }
        Ok(false)
    };
    let (read, found) = tokio::join!(reading, looking);
    read?;
    found
}
