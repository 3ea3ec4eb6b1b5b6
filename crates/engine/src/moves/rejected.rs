//! Rows that were rejected: no reference goes to them, as if they had been left out.
//!
//! Which rows the database refuses is known only once all is written. So it is remembered in the store,
//! and what refers to them is worked out and written once more; the next run knows them from the
//! beginning. Each run tries them again, and once one is taken its references come back.

use std::collections::{BTreeSet, HashMap};

use super::key::{RowKey, read_varint, write_varint};
use super::key_set::{key_hash, written_key_hash};
use super::pack::each_entry;
use super::plan::MovePlan;
use super::ports::Stored;
use super::produce::Decided;
use super::report::NoteKind;
use super::session::Session;
use super::stored_lists::{LIST_ROWS, unreadable};
use super::values::Values;
use super::verify::each_stored;
use super::writer::{RuleWriter, pack_area};
use crate::TargetError;

/// So many rejected rows of a namespace are remembered, those with the lowest ids.
const REJECTED_MAX: usize = 100_000;

/// Ids of rows that were rejected.
pub(super) type RejectedIds = BTreeSet<RowKey>;

fn area(namespace: &str) -> String {
    format!("rejected/{namespace}")
}

/// Those of a namespace that the store knows.
pub(super) async fn known_rejected(
    session: &mut Session<'_>,
    namespace: &str,
) -> Result<RejectedIds, TargetError> {
    let mut all = RejectedIds::new();
    each_stored(session, &area(namespace), |stored| {
        all.extend(read(stored).ok_or_else(|| unreadable(stored))?);
        Ok(())
    })
    .await?;
    Ok(all)
}

fn read(stored: &Stored) -> Option<Vec<RowKey>> {
    let mut from = stored.value.as_deref()?;
    let count = usize::try_from(read_varint(&mut from)?).ok()?;
    let mut all = Vec::with_capacity(count.min(LIST_ROWS));
    while !from.is_empty() {
        all.push(RowKey::read(&mut from, 1)?);
    }
    (all.len() == count).then_some(all)
}

fn write<'k>(ids: impl ExactSizeIterator<Item = &'k RowKey>) -> Vec<u8> {
    let mut value = Vec::with_capacity(ids.len() * 18 + 2);
    write_varint(&mut value, ids.len() as u64);
    ids.for_each(|id| id.write(&mut value));
    value
}

/// Finds the rows that are rejected now, and remembers them. Whether others are than were known, so
/// that what refers to them is to be worked out again.
pub(super) async fn find_rejected(
    plan: &MovePlan,
    session: &mut Session<'_>,
    decided: &Decided,
    writers: &[RuleWriter<'_>],
) -> Result<bool, TargetError> {
    let (mut changed, mut has_new) = (false, false);
    for &rule in plan.passes.iter().flat_map(|pass| &pass.rules) {
        let Some(makes) = plan.rules[rule].makes else { continue };
        if decided.ids[makes].own.is_none() {
            continue;
        }
        let known = &decided.ids[makes].absent.rejected;
        let mut now = rejected(plan, rule, makes, session, decided, writers).await?;
        if has_new {
            // They may have been refused for what they refer to: that is seen the next time.
            now.retain(|id| known.contains(id));
        }
        if now == *known {
            continue;
        }
        changed = true;
        has_new |= !now.is_subset(known);
        remember(session, &plan.namespaces[makes].spec.name, &now).await?;
    }
    Ok(changed)
}

/// The ids of a rule's rejected rows that are not there from before.
async fn rejected(
    plan: &MovePlan,
    rule: usize,
    makes: usize,
    session: &mut Session<'_>,
    decided: &Decided,
    writers: &[RuleWriter<'_>],
) -> Result<RejectedIds, TargetError> {
    let (writer, ids) = (&writers[rule], &decided.ids[makes]);
    let Some(own) = &ids.own else { return Ok(RejectedIds::new()) };
    let mut found: HashMap<u128, RowKey> = HashMap::new();
    let mut add = |old: &RowKey| {
        // A row that was there before the move is there, whatever becomes of the old one.
        if let Some(id) = ids.id(&decided.cipher, own, old)?
            && !ids.matched.adopted.contains(&id)?
        {
            found.insert(key_hash(&id), id);
        }
        Ok::<(), TargetError>(())
    };
    if writer.told.refused() > 0 {
        let mut told = writer.told.all();
        while let Some(note) = told.next()? {
            if note.kind == NoteKind::Rejected {
                add(&note.old)?;
            }
        }
    }
    for note in writer.notes.iter().filter(|note| note.kind == NoteKind::Rejected) {
        add(&note.old)?;
    }
    if found.is_empty() {
        return Ok(RejectedIds::new());
    }
    let table = &plan.rules[rule].written.table;
    for other in plan.rules.iter().filter(|other| other.written.table == *table) {
        each_stored(session, &pack_area(&other.rule.name), |stored| {
            let mut buffer = Vec::new();
            each_entry(stored, |entry| {
                found.remove(&written_key_hash(entry.new, &mut buffer));
            })
        })
        .await?;
    }
    let mut all: RejectedIds = found.into_values().collect();
    while all.len() > REJECTED_MAX {
        all.pop_last();
    }
    Ok(all)
}

async fn remember(
    session: &mut Session<'_>,
    namespace: &str,
    ids: &RejectedIds,
) -> Result<(), TargetError> {
    let ids: Vec<&RowKey> = ids.iter().collect();
    let mut attempt = 0;
    loop {
        attempt += 1;
        session.begin().await?;
        session.within = true;
        let done = put(session, namespace, &ids).await;
        session.within = false;
        let done = match done {
            Ok(()) => session.commit().await,
            failed => failed,
        };
        match done {
            Ok(()) => return Ok(()),
            Err(error) => session.failed(error, attempt).await?,
        }
    }
}

async fn put(
    session: &mut Session<'_>,
    namespace: &str,
    ids: &[&RowKey],
) -> Result<(), TargetError> {
    let mut values = Values::new(&area(namespace));
    for some in ids.chunks(LIST_ROWS) {
        values.push(session, write(some.iter().copied())).await?;
    }
    values.end(session).await
}

#[cfg(test)]
mod tests {
    use super::super::key::Part;
    use super::*;

    #[test]
    fn ids_go_there_and_back() {
        let number = |number: i64| RowKey(vec![Part::Number(number)]);
        let text = RowKey(vec![Part::Bytes(b"x".as_slice().into())]);
        let ids: Vec<RowKey> = (-3..900).map(number).chain([text]).collect();
        let stored = Stored { area: area("x"), number: 0, value: Some(write(ids.iter())) };
        assert_eq!(read(&stored), Some(ids));
        let short = Stored { value: stored.value.map(|value| value[..9].to_vec()), ..stored };
        assert_eq!(read(&short), None);
    }
}
