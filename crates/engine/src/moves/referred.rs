//! Ids that no rule makes: of rows that references name by their natural key, or that those of an old
//! table match.

use std::sync::Arc;

use super::decide::{each_applied, each_batch};
use super::given::ids_there;
use super::key::{KeyColumns, RowKey};
use super::key_set::{KeySet, key_hash};
use super::matching::{Matcher, has_null, read_match};
use super::ordered::append_ordered;
use super::plan::MovePlan;
use super::ports::{Source, Written};
use super::produce::Decided;
use super::session::Session;
use super::spill::{Room, Sorter};
use super::stored_lists::LIST_ROWS;
use crate::TargetError;

/// Finds them.
pub(super) async fn match_referred(
    plan: &MovePlan,
    namespace: usize,
    source: &mut dyn Source,
    session: &mut Session<'_>,
    decided: &mut Decided,
    room: &Room,
) -> Result<(), TargetError> {
    let mut matcher = Matcher::new(plan, namespace, session, room).await?;
    let wanted = wanted(plan, namespace, &matcher, source, room).await?.sorted()?;
    let mut pieces = wanted.pieces()?;
    let mut made = KeySet::new(room);
    let mut last = None;
    loop {
        let mut block: Vec<(RowKey, RowKey)> = Vec::new();
        let mut is_end = false;
        while block.len() < LIST_ROWS {
            let Some(bytes) = pieces.next()? else {
                is_end = true;
                break;
            };
            let (old, natural) = read_match(&bytes)?;
            if last.as_ref() != Some(&old) {
                last = Some(old.clone());
                block.push((old, natural));
            }
        }
        let mut asked = gone(&matcher, session, block, &mut made).await?;
        matcher.ask(session, &mut asked).await?;
        if is_end {
            break;
        }
    }
    matcher.store_shared(session, room).await?;
    // Those that were found just now.
    let mut pieces = wanted.pieces()?;
    made.settle()?;
    while let Some(bytes) = pieces.next()? {
        let (old, _) = read_match(&bytes)?;
        if matcher.fresh.contains(&old)? {
            made.insert(&old)?;
        }
    }
    made.settle()?;
    decided.ids[namespace].made = Some(made);
    decided.ids[namespace].matched = matcher.end()?;
    Ok(())
}

/// The old keys that references need, each with its natural key, sorted.
async fn wanted(
    plan: &MovePlan,
    namespace: usize,
    matcher: &Matcher<'_>,
    source: &mut dyn Source,
    room: &Room,
) -> Result<Sorter, TargetError> {
    let mut wanted = Sorter::new(room);
    let mut add = |old: &RowKey, natural: &RowKey| {
        if has_null(natural) || has_null(old) {
            return Ok(());
        }
        let mut bytes = vec![0; 16];
        bytes.push(old.0.len() as u8);
        append_ordered(old, &mut bytes);
        append_ordered(natural, &mut bytes);
        wanted.push(&bytes)
    };
    if let Some((from, compiled)) = &matcher.matching.seeker {
        let compiled = vec![Arc::clone(compiled)];
        each_applied(plan, *from, compiled, source, |_, applied, keys, _| {
            let naturals = KeyColumns::of(applied.rows.columns())?;
            let mut of = applied.of.values().iter().enumerate();
            of.try_for_each(|(row, of)| add(&keys.key(*of as usize), &naturals.key(row)))
        })
        .await?;
        return Ok(wanted);
    }
    for rule in &plan.rules {
        let Some((_, layout)) = &rule.deciding else { continue };
        if !layout.references.iter().any(|reference| reference.namespace == namespace) {
            continue;
        }
        each_batch(plan, rule, source, |applied, _, _, layout| {
            let references = layout.references.iter();
            for reference in references.filter(|reference| reference.namespace == namespace) {
                let keys = KeyColumns::of(&[applied.rows.column(reference.of).clone()])?;
                for row in 0..keys.len() {
                    let key = keys.key(row);
                    add(&key, &key)?;
                }
            }
            Ok(())
        })
        .await?;
    }
    Ok(wanted)
}

/// Of some old keys those that must be looked for: that have no id yet, or one whose row is gone from
/// the target. The others are put into `made`.
async fn gone(
    matcher: &Matcher<'_>,
    session: &mut Session<'_>,
    block: Vec<(RowKey, RowKey)>,
    made: &mut KeySet,
) -> Result<Vec<(RowKey, RowKey)>, TargetError> {
    let mut open = Vec::new();
    let mut known: Vec<(RowKey, RowKey, RowKey)> = Vec::new();
    for (old, natural) in block {
        match matcher.ids.get(key_hash(&old))? {
            Some(id) => known.push((old, natural, id)),
            None => open.push((old, natural)),
        }
    }
    let by_id = Written {
        fields: vec![matcher.matching.written.fields[0].clone()],
        key: vec![0],
        ..matcher.matching.written.clone()
    };
    let there = ids_there(session, &by_id, known.iter().map(|(_, _, id)| id)).await?;
    for (old, natural, id) in known {
        if there.contains(&id) {
            made.insert(&old)?;
        } else {
            open.push((old, natural));
        }
    }
    Ok(open)
}
