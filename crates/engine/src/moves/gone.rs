//! Rows that are gone from the source: where their entries are by now, and which of their rows are
//! another old row's.

use std::collections::HashMap;

use super::key_set::{key_hash, written_key_hash};
use super::pack::{Entry, each_entry};
use super::plan::MovePlan;
use super::session::Session;
use super::verify::each_stored;
use super::writer::pack_area;
use crate::TargetError;

/// The entry of a row that is gone.
#[derive(Debug, Clone)]
pub(super) struct GoneEntry {
    /// The pack that it is in.
    pub(super) pack: i64,
    pub(super) entry: Entry,
    /// Another entry has the same row: only this one goes, and the row stays.
    pub(super) is_shared: bool,
}

/// Looks for the entries of a rule's rows in the packs as they are stored, in the order of the packs:
/// since they were compared, packs may have been cut. Entries that are no more there have no row.
pub(super) async fn find_gone(
    plan: &MovePlan,
    rule: usize,
    session: &mut Session<'_>,
    gone: Vec<Entry>,
) -> Result<Vec<GoneEntry>, TargetError> {
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let mut of_row: HashMap<u128, Vec<usize>> = HashMap::with_capacity(gone.len());
    for (place, entry) in gone.iter().enumerate() {
        of_row.entry(key_hash(&entry.new)).or_default().push(place);
    }
    let mut packs: Vec<Option<i64>> = vec![None; gone.len()];
    let mut is_shared = vec![false; gone.len()];
    let own = &plan.rules[rule];
    for other in plan.rules.iter().filter(|other| other.written.table == own.written.table) {
        let is_own = other.rule.name == own.rule.name;
        each_stored(session, &pack_area(&other.rule.name), |stored| {
            let mut buffer = Vec::new();
            each_entry(stored, |seen| {
                let Some(places) = of_row.get(&written_key_hash(seen.new, &mut buffer)) else {
                    return;
                };
                let old = written_key_hash(seen.old, &mut buffer);
                let own = places.iter().find(|&&place| {
                    let entry = &gone[place];
                    let is_it = (entry.hash, entry.run) == (seen.hash, seen.run);
                    is_own && packs[place].is_none() && is_it && key_hash(&entry.old) == old
                });
                match own {
                    Some(&place) => packs[place] = Some(stored.number),
                    None => places.iter().for_each(|place| is_shared[*place] = true),
                }
            })
        })
        .await?;
    }
    let found = gone.into_iter().zip(packs).zip(is_shared);
    let found = found.filter_map(|((entry, pack), is_shared)| {
        pack.map(|pack| GoneEntry { pack, entry, is_shared })
    });
    let mut found: Vec<GoneEntry> = found.collect();
    found.sort_by_key(|one| one.pack);
    Ok(found)
}
