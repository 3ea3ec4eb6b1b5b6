//! Rows that a reference must not go to, although the source has them: a row of the application has
//! their key, the application has deleted what they became, or they were rejected.
//!
//! It follows from the target and from the store alone, so it is known before anything is decided, and
//! `move verify` finds the same. Target and packs are gone through key by key, with sets that keep to the run's
//! memory.

use std::collections::BTreeMap;

use dunlin_model::moves::{Deleted, IdKind};
use tokio::sync::mpsc;

use super::columns::QUEUE;
use super::key::{KeyColumns, RowKey};
use super::key_set::KeySet;
use super::pack::each_entry;
use super::plan::{MovePlan, PlannedRule};
use super::ports::Extract;
use super::produce::Decided;
use super::rejected::{RejectedIds, known_rejected};
use super::session::Session;
use super::spill::Room;
use super::verify::each_stored;
use super::writer::pack_area;
use crate::TargetError;

/// Bytes of keys in one batch.
const BATCH_BYTES: usize = 1 << 20;

/// Keys in the target that references of a namespace don't go to.
#[derive(Debug)]
pub(super) struct Absent {
    /// Of rows that the move did not write.
    strangers: KeySet,
    /// Of rows that it wrote, and that the application deleted.
    deleted: KeySet,
    /// Of rows that were rejected when last they were tried.
    pub(super) rejected: RejectedIds,
}

impl Absent {
    pub(super) fn new(room: &Room) -> Self {
        Self {
            strangers: KeySet::new(room),
            deleted: KeySet::new(room),
            rejected: RejectedIds::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.strangers.is_empty() && self.deleted.is_empty() && self.rejected.is_empty()
    }

    /// Whether a reference to the row of that key comes to nothing. `is_deleted`: the row that refers
    /// to it was deleted with it, and stays so: what it referred to is nobody's business any more.
    pub(super) fn has(
        &self,
        id: &RowKey,
        is_deleted: impl Fn() -> Result<bool, TargetError>,
    ) -> Result<bool, TargetError> {
        Ok(self.rejected.contains(id)
            || self.strangers.contains(id)?
            || (self.deleted.contains(id)? && !is_deleted()?))
    }
}

/// What the target has of a rule's rows.
struct Presence {
    absent: Absent,
    /// Old keys of rows that the application deleted.
    deleted_old: KeySet,
}

/// Finds them for all namespaces that something refers to.
pub(super) async fn find_absent(
    plan: &MovePlan,
    session: &mut Session<'_>,
    decided: &mut Decided,
    room: &Room,
) -> Result<(), TargetError> {
    let mut known: BTreeMap<usize, KeySet> = BTreeMap::new();
    for (place, namespace) in plan.namespaces.iter().enumerate() {
        let Some(maker) = namespace.maker.filter(|_| namespace.is_referred_to) else { continue };
        let rule = &plan.rules[maker];
        let Some(own) = rule.id_field else { continue };
        decided.ids[place].own = Some(rule.written.fields[own].clone());
        // Rows that were there before are found by their natural key, and are meant.
        let tells_strangers = namespace.spec.kind != IdKind::Matched;
        let presence = presence(plan, rule, tells_strangers, session, room).await?;
        decided.ids[place].absent = presence.absent;
        known.insert(maker, presence.deleted_old);
        decided.ids[place].absent.rejected = known_rejected(session, &namespace.spec.name).await?;
    }
    for (number, rule) in plan.rules.iter().enumerate() {
        let refers_to_deleted = rule
            .layout
            .references
            .iter()
            .any(|reference| !decided.ids[reference.namespace].absent.deleted.is_empty());
        if !refers_to_deleted {
            continue;
        }
        let deleted_old = match known.remove(&number) {
            Some(deleted_old) => deleted_old,
            None => presence(plan, rule, false, session, room).await?.deleted_old,
        };
        decided.deleted[number] = deleted_old;
    }
    Ok(())
}

async fn presence(
    plan: &MovePlan,
    rule: &PlannedRule,
    tells_strangers: bool,
    session: &mut Session<'_>,
    room: &Room,
) -> Result<Presence, TargetError> {
    let mut ours = KeySet::new(room);
    let mut entries = 0_u64;
    for other in plan.rules.iter().filter(|other| other.written.table == rule.written.table) {
        each_written(plan, other, session, |_, new, _| {
            entries += 1;
            ours.insert(&new)
        })
        .await?;
    }
    ours.settle()?;
    let (mut absent, mut deleted_old) = (Absent::new(room), KeySet::new(room));
    let mut found = 0_u64;
    each_there(rule, session, |key| {
        if ours.contains(key)? {
            found += 1;
        } else if tells_strangers {
            absent.strangers.insert(key)?;
        }
        Ok(())
    })
    .await?;
    drop(ours);
    let stays_deleted = plan.mapping.conflicts.deleted_there == Deleted::LeaveDeleted;
    if found < entries && stays_deleted {
        let mut there = KeySet::new(room);
        each_there(rule, session, |key| there.insert(key)).await?;
        there.settle()?;
        each_written(plan, rule, session, |old, new, is_whole| {
            // One that was not all written is written by this run.
            if is_whole && !there.contains(&new)? {
                absent.deleted.insert(&new)?;
                deleted_old.insert(&old)?;
            }
            Ok(())
        })
        .await?;
    }
    for set in [&mut absent.strangers, &mut absent.deleted, &mut deleted_old] {
        set.settle()?;
    }
    Ok(Presence { absent, deleted_old })
}

/// Each row that a rule has written: its old key, its new one, and whether it is all written.
pub(super) async fn each_written(
    plan: &MovePlan,
    rule: &PlannedRule,
    session: &mut Session<'_>,
    mut each: impl FnMut(RowKey, RowKey, bool) -> Result<(), TargetError>,
) -> Result<(), TargetError> {
    let (old_parts, parts) = (plan.sources[rule.source].key.len(), rule.written.key.len());
    each_stored(session, &pack_area(&rule.rule.name), |stored| {
        let mut done = Ok(());
        each_entry(stored, |entry| {
            let (old, new) =
                (RowKey::read(&mut &*entry.old, old_parts), RowKey::read(&mut &*entry.new, parts));
            if let (Ok(()), Some(old), Some(new)) = (&done, old, new) {
                done = each(old, new, entry.hash != 0);
            }
        })?;
        done
    })
    .await
}

/// The key of each row of a rule's table.
async fn each_there(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    mut each: impl FnMut(&RowKey) -> Result<(), TargetError>,
) -> Result<(), TargetError> {
    let written = &rule.written;
    let fields: Vec<_> = written.key.iter().map(|place| written.fields[*place].clone()).collect();
    let extract = Extract {
        table: written.table.clone(),
        query: None,
        fields,
        order: Vec::new(),
        only: Vec::new(),
        batch_bytes: BATCH_BYTES,
    };
    let gate = session.gate.clone();
    let (batches, mut received) = mpsc::channel(QUEUE);
    let target = &mut session.target;
    let reading = async move {
        let read = target.read(&extract, &batches).await;
        drop(batches);
        read
    };
    // It owns the queue's end: where it fails, the reader finds nobody there and ends.
    let taking = async move {
        while let Some(batch) = received.recv().await {
            gate.check()?;
            let batch = batch?;
            let found = KeyColumns::of_target(written.key_fields(), batch.rows.columns())?;
            (0..found.len()).try_for_each(|row| each(&found.key(row)))?;
        }
        Ok::<(), TargetError>(())
    };
    let (read, taken) = tokio::join!(reading, taking);
    taken.and(read)
}
