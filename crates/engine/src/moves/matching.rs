//! Ids of rows that are there: found by a natural key once, and stored, so that a later change of
//! that key on either side moves no id.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use dunlin_model::moves::{Field, ValueType};

use super::arrow_type::arrow_type;
use super::assign::Numbers;
use super::candidates::Candidates;
use super::decide::{each_applied, each_batch};
use super::key::{KeyColumns, Part, RowKey, columns_of};
use super::key_set::{KeyMap, KeySet, decoded, key_hash};
use super::ordered::{append_ordered, read_ordered_parts};
use super::plan::{Matching, MovePlan};
use super::ports::{Source, Written};
use super::produce::{Decided, batch};
use super::session::Session;
use super::spill::{Room, Sorter};
use super::stored_lists::{LIST_ROWS, Match, read_matches, write_matches};
use super::translate::derived_part;
use crate::{ErrorKind, TargetError};

/// What is known of a namespace's rows.
pub(super) struct Matched {
    /// Each old key's id, by its hash.
    pub(super) ids: KeyMap,
    /// Old keys that several rows match, or whose row is another old row's.
    pub(super) unclear: KeySet,
    /// Rows that are not the move's own.
    pub(super) adopted: Arc<Adopted>,
}

/// Old rows whose new row was there before the move.
pub(super) struct Adopted {
    /// Their keys.
    pub(super) found: KeySet,
    /// The old key that has each id, by the id's hash.
    holders: KeyMap,
}

impl Adopted {
    /// Whether the new row of an old one that is gone has been taken over by another.
    pub(super) fn is_left(&self, old: &RowKey, new: &RowKey) -> Result<bool, TargetError> {
        let holder = self.holders.get(key_hash(new))?;
        Ok(holder.is_some_and(|holder| holder != *old))
    }
}

impl Matched {
    pub(super) fn new(room: &Room) -> Self {
        Self {
            ids: KeyMap::new(room),
            unclear: KeySet::new(room),
            adopted: Arc::new(Adopted { found: KeySet::new(room), holders: KeyMap::new(room) }),
        }
    }
}

/// Where a namespace's matches are in the store.
pub(super) fn matched_area(namespace: &str) -> String {
    format!("matched/{namespace}")
}

/// A namespace's matches while they are made.
struct Matcher<'a> {
    matching: &'a Matching,
    area: String,
    /// The number of the next entry in the store.
    next: i64,
    ids: KeyMap,
    unclear: KeySet,
    found: KeySet,
    /// The old key that has each id, by the id's hash.
    holders: KeyMap,
    /// Old keys that this run matched.
    fresh: KeySet,
    /// Rows that are found by the target: the id's hash, the old key, the id.
    matches: Sorter,
}

impl<'a> Matcher<'a> {
    /// With what the store has.
    async fn new(
        plan: &'a MovePlan,
        namespace: usize,
        session: &mut Session<'_>,
        room: &Room,
    ) -> Result<Self, TargetError> {
        let namespace = &plan.namespaces[namespace];
        let matching = namespace.matching.as_ref().ok_or_else(|| {
            let message = format!("it isn't known by what {} is matched", namespace.spec.name);
            TargetError::new(ErrorKind::Bug, message)
        })?;
        let mut matcher = Self {
            matching,
            area: matched_area(&namespace.spec.name),
            next: 0,
            ids: KeyMap::new(room),
            unclear: KeySet::new(room),
            found: KeySet::new(room),
            holders: KeyMap::new(room),
            fresh: KeySet::new(room),
            matches: Sorter::new(room),
        };
        let mut from = i64::MIN;
        loop {
            let stored = session.stored(&matcher.area, from).await?;
            let Some(last) = stored.last() else { break };
            (from, matcher.next) = (last.number + 1, last.number + 1);
            for one in &stored {
                read_matches(one)?.iter().try_for_each(|one| matcher.know(one))?;
            }
        }
        matcher.settle()?;
        Ok(matcher)
    }

    fn know(&mut self, one: &Match) -> Result<(), TargetError> {
        if one.was_there {
            self.found.insert(&one.old)?;
        }
        self.ids.put(key_hash(&one.old), &one.id)?;
        self.holders.put(key_hash(&one.id), &one.old)
    }

    fn settle(&mut self) -> Result<(), TargetError> {
        self.ids.settle()?;
        self.holders.settle()?;
        for set in [&mut self.unclear, &mut self.found, &mut self.fresh] {
            set.settle()?;
        }
        Ok(())
    }

    fn knows(&self, old: &RowKey) -> Result<bool, TargetError> {
        Ok(self.ids.get(key_hash(old))?.is_some())
    }

    /// Asks the target for rows with these natural keys; returns the old keys that have none.
    async fn ask(
        &mut self,
        session: &mut Session<'_>,
        asked: &mut Vec<(RowKey, RowKey)>,
    ) -> Result<Vec<RowKey>, TargetError> {
        let asked = std::mem::take(asked);
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let from = &self.matching.written;
        let values = keys_as_batch(from, asked.iter().map(|(_, natural)| natural))?;
        let (places, rows) = session.target.find(from, &values).await?;
        let ids = KeyColumns::of_target(from.fields.iter(), &[rows.column(0).clone()])?;
        let mut of: HashMap<u32, Vec<usize>> = HashMap::new();
        for (row, place) in places.into_iter().enumerate() {
            of.entry(place).or_default().push(row);
        }
        let mut none = Vec::new();
        for ((old, _), place) in asked.into_iter().zip(0..) {
            match of.get(&place).map(Vec::as_slice) {
                None | Some([]) => none.push(old),
                Some([row]) => {
                    let id = ids.key(*row);
                    let mut bytes = key_hash(&id).to_be_bytes().to_vec();
                    bytes.push(old.0.len() as u8);
                    append_ordered(&old, &mut bytes);
                    append_ordered(&id, &mut bytes);
                    self.matches.push(&bytes)?;
                }
                Some(_) => self.unclear.insert(&old)?,
            }
        }
        Ok(none)
    }

    /// Stores what the target found. `shared`: several old keys may have one row. `is_alive`: whether
    /// an old row is there in this run.
    async fn store(
        &mut self,
        session: &mut Session<'_>,
        room: &Room,
        shared: bool,
        is_alive: impl Fn(&RowKey) -> Result<bool, TargetError>,
    ) -> Result<(), TargetError> {
        let sorted = std::mem::replace(&mut self.matches, Sorter::new(room)).sorted()?;
        let mut pieces = sorted.pieces()?;
        let mut last = None;
        let mut block = Vec::new();
        while let Some(bytes) = pieces.next()? {
            let (old, id) = read_match(&bytes)?;
            let is_taken = !shared && last.as_ref() == Some(&id);
            last = Some(id.clone());
            if is_taken {
                self.unclear.insert(&old)?;
                continue;
            }
            let holder = if shared { None } else { self.holders.get(key_hash(&id))? };
            let mut was_there = true;
            if let Some(holder) = holder.filter(|holder| *holder != old) {
                if is_alive(&holder)? {
                    self.unclear.insert(&old)?;
                    continue;
                }
                was_there = self.found.contains(&holder)?;
            }
            block.push(Match { old, id, was_there });
            if block.len() == LIST_ROWS {
                self.put(session, &std::mem::take(&mut block)).await?;
            }
        }
        self.put(session, &block).await?;
        self.settle()
    }

    async fn put(&mut self, session: &mut Session<'_>, block: &[Match]) -> Result<(), TargetError> {
        if block.is_empty() {
            return Ok(());
        }
        session.put(&[write_matches(&self.area, self.next, block)]).await?;
        self.next += 1;
        for one in block {
            self.fresh.insert(&one.old)?;
            self.know(one)?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<Matched, TargetError> {
        self.settle()?;
        let adopted = Arc::new(Adopted { found: self.found, holders: self.holders });
        Ok(Matched { ids: self.ids, unclear: self.unclear, adopted })
    }
}

fn read_match(bytes: &[u8]) -> Result<(RowKey, RowKey), TargetError> {
    let parse = || {
        let (&parts, mut from) = bytes.get(16..)?.split_first()?;
        let old = read_ordered_parts(&mut from, parts.into())?;
        Some((old, from))
    };
    let (old, id) = parse().ok_or_else(|| {
        TargetError::new(ErrorKind::Bug, "a match in a temporary file can't be read")
    })?;
    Ok((old, decoded(id)?))
}

/// Keys as the columns that a table is looked up by.
fn keys_as_batch<'k>(
    of: &Written,
    keys: impl Iterator<Item = &'k RowKey> + Clone,
) -> Result<RecordBatch, TargetError> {
    let fields: Vec<_> = of.key.iter().map(|place| of.fields[*place].clone()).collect();
    let types: Vec<_> = fields.iter().map(|field| arrow_type(&field.value_type, true)).collect();
    let count = keys.clone().count();
    batch(&fields, columns_of(&types, keys)?, count)
}

fn has_null(key: &RowKey) -> bool {
    key.0.contains(&Part::Null)
}

/// Ids of a rule's rows: of those that are there, and new ones for the others.
pub(super) async fn match_rule(
    plan: &MovePlan,
    number: usize,
    makes: usize,
    found: &Candidates,
    session: &mut Session<'_>,
    decided: &mut Decided,
    room: &Room,
) -> Result<(), TargetError> {
    let mut matcher = Matcher::new(plan, makes, session, room).await?;
    let mut new = Sorter::new(room);
    let mut add = |old: &RowKey| {
        let mut bytes = Vec::with_capacity(16);
        append_ordered(old, &mut bytes);
        new.push(&bytes)
    };
    let mut asked = Vec::new();
    let mut list = found.list.pieces();
    while let Some(candidate) = found.next(&mut list)? {
        let old = candidate.old;
        if matcher.knows(&old)? || *decided.ids[makes].leader(&old)? != old {
            continue;
        }
        match candidate.natural.filter(|natural| !has_null(natural)) {
            Some(natural) => asked.push((old, natural)),
            None => add(&old)?,
        }
        if asked.len() == LIST_ROWS {
            matcher.ask(session, &mut asked).await?.iter().try_for_each(&mut add)?;
        }
    }
    matcher.ask(session, &mut asked).await?.iter().try_for_each(&mut add)?;
    let ids = &decided.ids[makes];
    matcher.store(session, room, false, |old| ids.exists(old)).await?;
    give_ids(plan, number, makes, new, &mut matcher, session, decided).await?;
    decided.ids[makes].matched = matcher.end()?;
    Ok(())
}

/// Ids for old rows that no row matches. Where the column can hold none of ours they have none.
async fn give_ids(
    plan: &MovePlan,
    number: usize,
    makes: usize,
    new: Sorter,
    matcher: &mut Matcher<'_>,
    session: &mut Session<'_>,
    decided: &Decided,
) -> Result<(), TargetError> {
    let written = &plan.rules[number].written;
    let id = &matcher.matching.written.fields[0];
    let sorted = new.sorted()?;
    let mut pieces = sorted.pieces()?;
    loop {
        let mut block = Vec::new();
        while block.len() < LIST_ROWS {
            let Some(bytes) = pieces.next()? else { break };
            block.push(decoded(&bytes)?);
        }
        if block.is_empty() {
            return Ok(());
        }
        let matches = |ids: Vec<RowKey>| -> Vec<Match> {
            let pairs = block.iter().cloned().zip(ids);
            pairs.map(|(old, id)| Match { old, id, was_there: false }).collect()
        };
        if id.is_numbered() && !holds_uuids(id) {
            let ids =
                |given: &[i64]| given.iter().map(|n| RowKey(vec![Part::Number(*n)])).collect();
            let (area, next) = (matcher.area.clone(), matcher.next);
            let encode = |given: &[i64]| write_matches(&area, next, &matches(ids(given)));
            let numbers = Numbers { table: &written.table, column: &id.name };
            let given = numbers.allot(session, next, block.len(), &encode).await?;
            matcher.next += 1;
            matches(ids(&given)).iter().try_for_each(|one| matcher.know(one))?;
        } else if holds_uuids(id) {
            let tag = plan.namespaces[makes].tag;
            let derive = |old| RowKey(vec![derived_part(decided.cipher.derive(tag, old), id)]);
            let ids = block.iter().map(derive).collect();
            matcher.put(session, &matches(ids)).await?;
        }
    }
}

fn holds_uuids(field: &Field) -> bool {
    match field.value_type {
        ValueType::Uuid | ValueType::Bytes => true,
        ValueType::Text { .. } => field.max_chars.is_none_or(|most| most >= 36),
        _ => false,
    }
}

/// Ids that no rule makes: of rows that references name by their natural key, or that those of an old
/// table match.
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
    matcher.store(session, room, true, |_| Ok(false)).await?;
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
    if known.is_empty() {
        return Ok(open);
    }
    let by_id = Written {
        fields: vec![matcher.matching.written.fields[0].clone()],
        key: vec![0],
        ..matcher.matching.written.clone()
    };
    let keys = keys_as_batch(&by_id, known.iter().map(|(_, _, id)| id))?;
    let there = session.target.fetch(&by_id, &keys, false).await?;
    let there = there.whole("the target's table")?;
    let there = KeyColumns::of_target(by_id.key_fields(), &[there.column(0).clone()])?;
    let there: HashSet<RowKey> = (0..there.len()).map(|row| there.key(row)).collect();
    for (old, natural, id) in known {
        if there.contains(&id) {
            made.insert(&old)?;
        } else {
            open.push((old, natural));
        }
    }
    Ok(open)
}
