//! Ids of a rule's rows that are matched: which rows of the target they adopt or take over from each
//! other, and new ids for the rest. A row is one old row's alone.

use dunlin_model::moves::{Changed, Field, ValueType};

use super::assign::Numbers;
use super::candidates::Candidates;
use super::decide::Deciding;
use super::given::WrittenIds;
use super::key::{Part, RowKey};
use super::key_set::{KeySet, decoded, key_hash};
use super::matching::{Matcher, has_null, read_match};
use super::ordered::append_ordered;
use super::plan::MovePlan;
use super::produce::Decided;
use super::session::Session;
use super::spill::{Pieces, Ready, Room, Sorter};
use super::stored_lists::{LIST_ROWS, Match, write_matches};
use super::translate::{Ids, derived_part};
use crate::TargetError;

/// The rows of a rule that makes a namespace's ids.
struct Made<'a> {
    found: &'a Candidates,
    merged: &'a KeySet,
    ids: &'a Ids,
    /// The ids of those that were written.
    written: WrittenIds,
    /// What was there before the move is written over.
    overwrites: bool,
}

impl Made<'_> {
    /// The next: the old key whose id it has, which may be gone itself, and its natural key.
    fn next(&self, list: &mut Pieces<'_>) -> Result<Option<(RowKey, Option<RowKey>)>, TargetError> {
        while let Some(candidate) = self.found.next(list)? {
            if !self.merged.contains(&candidate.old)? {
                let natural = candidate.natural.filter(|natural| !has_null(natural));
                return Ok(Some((self.ids.leader(&candidate.old)?.into_owned(), natural)));
            }
        }
        Ok(None)
    }
}

/// Old keys that no row matches.
struct Unmatched(Sorter);

impl Unmatched {
    fn push(&mut self, old: &RowKey) -> Result<(), TargetError> {
        let mut bytes = Vec::with_capacity(16);
        append_ordered(old, &mut bytes);
        self.0.push(&bytes)
    }
}

/// Ids of a rule's rows: of those that are there, and new ones for the others.
pub(super) async fn match_rule(
    of: Deciding<'_>,
    makes: usize,
    session: &mut Session<'_>,
    decided: &mut Decided,
) -> Result<(), TargetError> {
    let Deciding { plan, number, found, room } = of;
    let mut matcher = Matcher::new(plan, makes, session, room).await?;
    let made = Made {
        found,
        merged: &decided.merged[number],
        ids: &decided.ids[makes],
        written: WrittenIds::of(plan, number, session, room).await?,
        overwrites: plan.mapping.conflicts.changed_there == Changed::Overwrite,
    };
    let mut unmatched = Unmatched(Sorter::new(room));
    let mut asked = Vec::new();
    let mut list = found.list.pieces();
    while let Some((old, natural)) = made.next(&mut list)? {
        // Under an id that was given out alone there may be nothing yet, and by now a row that matches.
        if let Some(id) = matcher.ids.get(key_hash(&old))?
            && (matcher.adopted.contains(&id)? || made.written.has(&id)?)
        {
            continue;
        }
        match natural {
            Some(natural) => asked.push((old, natural)),
            None => unmatched.push(&old)?,
        }
        if asked.len() == LIST_ROWS {
            let none = matcher.ask(session, &mut asked).await?;
            none.iter().try_for_each(|old| unmatched.push(old))?;
        }
    }
    let none = matcher.ask(session, &mut asked).await?;
    none.iter().try_for_each(|old| unmatched.push(old))?;
    matcher.adopt(session, room, &made, &mut unmatched).await?;
    give_ids(plan, (number, makes), unmatched, &made, &mut matcher, session, decided).await?;
    decided.ids[makes].matched = matcher.end()?;
    Ok(())
}

impl Matcher<'_> {
    /// Stores what the target found for a rule's rows. Each row is one old key's.
    async fn adopt(
        &mut self,
        session: &mut Session<'_>,
        room: &Room,
        made: &Made<'_>,
        unmatched: &mut Unmatched,
    ) -> Result<(), TargetError> {
        let sorted = self.found(room)?;
        let given_up = self.given_up(session, room, made, &sorted).await?;
        let mut pieces = sorted.pieces()?;
        let mut last = None;
        let mut block = Vec::new();
        while let Some(bytes) = pieces.next()? {
            let (old, id) = read_match(&bytes)?;
            let is_taken = last.as_ref() == Some(&id);
            last = Some(id.clone());
            let other = self.other(made, &old, &id)?;
            let in_use = match &other {
                Some(other) => made.ids.is_in_use(other)?,
                None => false,
            };
            if let (true, Some(other)) = (in_use, &other)
                && given_up.contains(other)?
            {
                unmatched.push(&old)?;
            } else if in_use || is_taken {
                // One with an id of its own keeps that: the database says whether there may be two.
                match self.ids.get(key_hash(&old))? {
                    Some(_) => unmatched.push(&old)?,
                    None => self.unclear.insert(&old)?,
                }
            } else {
                // One that another old row left is the move's own, if it was that of the other.
                let is_own = other.is_some() && !self.adopted.contains(&id)?;
                block.push(Match { old, id, was_there: !is_own });
            }
            if block.len() == LIST_ROWS {
                self.put(session, &std::mem::take(&mut block)).await?;
            }
        }
        self.put(session, &block).await?;
        self.settle()
    }

    /// The other old row whose new one has an id; under an id that was given out alone there may be
    /// somebody else's.
    fn other(
        &self,
        made: &Made<'_>,
        old: &RowKey,
        id: &RowKey,
    ) -> Result<Option<RowKey>, TargetError> {
        let other = self.holder(id)?.filter(|holder| holder != old);
        Ok(if self.adopted.contains(id)? || made.written.has(id)? { other } else { None })
    }

    /// Of the old rows whose new ones match another old row those that have another natural key now:
    /// theirs is written with it, and is not meant.
    async fn given_up(
        &self,
        session: &mut Session<'_>,
        room: &Room,
        made: &Made<'_>,
        found: &Ready,
    ) -> Result<KeySet, TargetError> {
        let (mut wanted, mut given_up) = (KeySet::new(room), KeySet::new(room));
        let mut pieces = found.pieces()?;
        while let Some(bytes) = pieces.next()? {
            let (old, id) = read_match(&bytes)?;
            // What was there stays as it is, unless the mapping wants it written over.
            if let Some(other) = self.other(made, &old, &id)?
                && (made.overwrites || !self.adopted.contains(&id)?)
            {
                wanted.insert(&other)?;
            }
        }
        wanted.settle()?;
        if wanted.is_empty() {
            return Ok(given_up);
        }
        let mut asked: Vec<(RowKey, RowKey)> = Vec::new();
        let mut list = made.found.list.pieces();
        loop {
            let next = made.next(&mut list)?;
            let is_end = next.is_none();
            if let Some((old, natural)) = next
                && wanted.contains(&old)?
            {
                match natural {
                    Some(natural) => asked.push((old, natural)),
                    None => given_up.insert(&old)?,
                }
            }
            if is_end || asked.len() == LIST_ROWS {
                let rows = self.rows_of(session, asked.iter().map(|(_, natural)| natural)).await?;
                for ((old, _), rows) in asked.drain(..).zip(rows) {
                    let own = self.ids.get(key_hash(&old))?;
                    if rows.len() < 2 && rows.first() != own.as_ref() {
                        given_up.insert(&old)?;
                    }
                }
            }
            if is_end {
                given_up.settle()?;
                return Ok(given_up);
            }
        }
    }
}

/// Ids for old rows that no row matches. One that has an id keeps it, unless somebody else's row has it
/// by now. Where the column can hold none of ours they have none.
async fn give_ids(
    plan: &MovePlan,
    (number, makes): (usize, usize),
    unmatched: Unmatched,
    made: &Made<'_>,
    matcher: &mut Matcher<'_>,
    session: &mut Session<'_>,
    decided: &Decided,
) -> Result<(), TargetError> {
    let written = &plan.rules[number].written;
    let id = &matcher.matching.written.fields[0];
    let has_numbers = id.is_numbered() && !holds_uuids(id);
    let mut numbers = Numbers::of(&written.table, &id.name, number);
    let sorted = unmatched.0.sorted()?;
    let mut pieces = sorted.pieces()?;
    let mut is_end = false;
    while !is_end {
        let (mut block, mut unwritten) = (Vec::new(), Vec::new());
        while block.len() + unwritten.len() < LIST_ROWS {
            let Some(bytes) = pieces.next()? else {
                is_end = true;
                break;
            };
            let old = decoded(&bytes)?;
            match matcher.ids.get(key_hash(&old))? {
                Some(id) => unwritten.push((old, id)),
                None => block.push(old),
            }
        }
        if has_numbers {
            block.extend(made.written.lost(session, &mut unwritten).await?);
        }
        if block.is_empty() {
            continue;
        }
        let matches = |ids: Vec<RowKey>| -> Vec<Match> {
            let pairs = block.iter().cloned().zip(ids);
            pairs.map(|(old, id)| Match { old, id, was_there: false }).collect()
        };
        if has_numbers {
            let ids =
                |given: &[i64]| given.iter().map(|n| RowKey(vec![Part::Number(*n)])).collect();
            let (area, next) = (matcher.area.clone(), matcher.next);
            let encode = |given: &[i64]| write_matches(&area, next, &matches(ids(given)));
            let given = numbers.allot(plan, session, next, block.len(), &encode).await?;
            matcher.next += 1;
            matches(ids(&given)).iter().try_for_each(|one| matcher.know(one))?;
        } else if holds_uuids(id) {
            let tag = plan.namespaces[makes].tag;
            let derive = |old| RowKey(vec![derived_part(decided.cipher.derive(tag, old), id)]);
            let ids = block.iter().map(derive).collect();
            matcher.put(session, &matches(ids)).await?;
        }
    }
    Ok(())
}

fn holds_uuids(field: &Field) -> bool {
    match field.value_type {
        ValueType::Uuid | ValueType::Bytes => true,
        ValueType::Text { .. } => field.max_chars.is_none_or(|most| most >= 36),
        _ => false,
    }
}
