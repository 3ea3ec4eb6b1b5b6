//! Proof: what stands in the target, row by row, is what this run found that there should be.
//!
//! The first half was done while loading: each row that the source gives has, in its pack, the hash
//! of what it becomes. Here every row of the target is read and compared with that.

use std::collections::HashMap;

use tokio::sync::mpsc;

use super::key::{KeyColumns, RowKey};
use super::key_set::key_hash;
use super::pack::Pack;
use super::plan::{MovePlan, PlannedRule};
use super::ports::Extract;
use super::report::{Note, NoteKind};
use super::row_hash::{RowHash, row_hashes};
use super::session::Session;
use super::writer::{RuleWriter, pack_area};
use crate::TargetError;

/// Rows that are compared at once, by what their hashes take in memory: about 64 MiB. Larger tables
/// are compared in shares, by their keys' hashes, and read once for each.
const SHARE_ROWS: u64 = 1_000_000;

/// Bytes of rows in one batch.
const BATCH_BYTES: usize = 1 << 20;

struct Expected {
    hash: RowHash,
    run: u32,
    old: RowKey,
}

/// Compares one rule's rows.
pub(super) async fn verify(
    plan: &MovePlan,
    number: usize,
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
) -> Result<(), TargetError> {
    let rule = &plan.rules[number];
    let shares = u128::from(writer.report.rows.div_ceil(SHARE_ROWS).max(1));
    for share in 0..shares {
        let mut expected = expected(session, &rule.rule.name, share, shares).await?;
        compare(rule, session, writer, &mut expected, share, shares).await?;
        // What is left was not there.
        let mut missing: Vec<Expected> = expected.into_values().collect();
        missing.sort_by(|a, b| a.old.cmp(&b.old));
        for one in missing {
            let (kind, reason) = if one.run == session.run || one.hash == 0 {
                (NoteKind::Differs, "it is not there")
            } else {
                (NoteKind::DeletedThere, "by the application since the last run")
            };
            writer.notes.push(Note { old: one.old, kind, reason: reason.to_owned() });
        }
    }
    Ok(())
}

async fn expected(
    session: &mut Session<'_>,
    rule: &str,
    share: u128,
    shares: u128,
) -> Result<HashMap<u128, Expected>, TargetError> {
    let area = pack_area(rule);
    let mut all = HashMap::new();
    let mut from = i64::MIN;
    loop {
        let stored = session.stored(&area, from).await?;
        let Some(last) = stored.last() else { return Ok(all) };
        from = last.number + 1;
        for entry in &stored {
            for entry in Pack::read(entry)?.entries {
                let hash = key_hash(&entry.new);
                if hash % shares == share {
                    let one = Expected { hash: entry.hash, run: entry.run, old: entry.old };
                    all.insert(hash, one);
                }
            }
        }
    }
}

async fn compare(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
    expected: &mut HashMap<u128, Expected>,
    share: u128,
    shares: u128,
) -> Result<(), TargetError> {
    let extract = Extract {
        table: rule.written.table.clone(),
        query: None,
        fields: rule.written.fields.clone(),
        order: Vec::new(),
        batch_bytes: BATCH_BYTES,
    };
    let run = session.run;
    let (batches, mut received) = mpsc::channel(4);
    let target = &mut session.target;
    let reading = async move {
        let read = target.read(&extract, &batches).await;
        drop(batches);
        read
    };
    let comparing = async move {
        while let Some(batch) = received.recv().await {
            let batch = batch?;
            let columns: Vec<_> =
                rule.written.key.iter().map(|place| batch.column(*place).clone()).collect();
            let keys = KeyColumns::of(&columns)?;
            let hashes = row_hashes(&rule.written.fields, &batch)?;
            for (row, there) in hashes.into_iter().enumerate() {
                let key = key_hash(&keys.key(row));
                if key % shares != share {
                    continue;
                }
                // What nothing is expected for is the application's own.
                let Some(one) = expected.remove(&key) else { continue };
                if one.hash == there {
                    writer.report.verified += 1;
                } else {
                    let (kind, reason) = if one.run == run || one.hash == 0 {
                        (NoteKind::Differs, "it is not what was written")
                    } else {
                        (NoteKind::ChangedThere, "by the application since the last run")
                    };
                    writer.notes.push(Note { old: one.old, kind, reason: reason.to_owned() });
                }
            }
        }
        Ok::<(), TargetError>(())
    };
    let (read, compared) = tokio::join!(reading, comparing);
    compared.and(read)
}
