//! Numbers of the target's own for old keys: allotted once, and stored.

use dunlin_model::moves::TableName;

use super::decide::Deciding;
use super::given::{WrittenIds, highest_given};
use super::key::{Part, RowKey};
use super::key_set::{decoded, key_hash};
use super::ordered::append_ordered;
use super::plan::MovePlan;
use super::ports::Stored;
use super::produce::Decided;
use super::session::Session;
use super::spill::Sorter;
use super::stored_lists::{LIST_ROWS, read_ids};
use crate::TargetError;

/// Where a namespace's numbers are in the store.
pub(super) fn ids_area(namespace: &str) -> String {
    format!("ids/{namespace}")
}

/// Numbers of the target's own for old keys that have none yet, in the order of the old keys. One whose
/// number was never written, and is that of somebody else's row by now, gets another.
pub(super) async fn assign(
    of: Deciding<'_>,
    makes: usize,
    session: &mut Session<'_>,
    decided: &mut Decided,
) -> Result<(), TargetError> {
    let Deciding { plan, number, .. } = of;
    let area = ids_area(&plan.namespaces[makes].spec.name);
    let ids = &mut decided.ids[makes];
    let mut next = 0;
    let mut from = i64::MIN;
    loop {
        let stored = session.stored(&area, from).await?;
        let Some(last) = stored.last() else { break };
        (from, next) = (last.number + 1, last.number + 1);
        for entry in &stored {
            for (old, id) in read_ids(entry)? {
                ids.assigned.push((key_hash(&old), id as u64))?;
            }
        }
    }
    ids.assigned.settle()?;
    let open = without_number(of, makes, session, decided).await?.sorted()?;
    let mut open = open.pieces()?;
    let rule = &plan.rules[number];
    let column = rule.id_field.map(|place| rule.written.fields[place].name.clone());
    let column = column.unwrap_or_default();
    let mut numbers = Numbers::of(&rule.written.table, &column, number);
    for block_number in next.. {
        let mut block = Vec::new();
        while block.len() < LIST_ROWS {
            let Some(bytes) = open.next()? else { break };
            block.push(decoded(&bytes)?);
        }
        if block.is_empty() {
            break;
        }
        let encode = |given: &[i64]| encoded(&area, block_number, &block, given);
        let given = numbers.allot(plan, session, block_number, block.len(), &encode).await?;
        for (old, id) in block.iter().zip(given) {
            decided.ids[makes].assigned.push((key_hash(old), id as u64))?;
        }
    }
    decided.ids[makes].assigned.settle()
}

/// The old keys that need a number: of each group the one whose id it has, which may be gone itself.
async fn without_number(
    of: Deciding<'_>,
    makes: usize,
    session: &mut Session<'_>,
    decided: &Decided,
) -> Result<Sorter, TargetError> {
    let Deciding { plan, number, found, room } = of;
    let ids = &decided.ids[makes];
    let mut open = Sorter::new(room);
    let mut add = |old: &RowKey| {
        let mut bytes = Vec::with_capacity(16);
        append_ordered(old, &mut bytes);
        open.push(&bytes)
    };
    let written = WrittenIds::of(plan, number, session, room).await?;
    let mut unwritten = Vec::new();
    let mut candidates = found.list.pieces();
    while let Some(candidate) = found.next(&mut candidates)? {
        if decided.merged[number].contains(&candidate.old)? {
            continue;
        }
        let leader = ids.leader(&candidate.old)?;
        match ids.assigned.find(key_hash(&leader))? {
            Some((_, id)) => {
                let id = RowKey(vec![Part::Number(id as i64)]);
                if !written.has(&id)? {
                    unwritten.push((leader.into_owned(), id));
                }
            }
            None => add(&leader)?,
        }
        if unwritten.len() == LIST_ROWS {
            written.lost(session, &mut unwritten).await?.iter().try_for_each(&mut add)?;
        }
    }
    written.lost(session, &mut unwritten).await?.iter().try_for_each(&mut add)?;
    Ok(open)
}

fn encoded(area: &str, number: i64, block: &[RowKey], ids: &[i64]) -> Stored {
    let mut value = vec![block.first().map_or(1, |key| key.0.len()) as u8];
    for (old, id) in block.iter().zip(ids) {
        old.write(&mut value);
        value.extend_from_slice(&id.to_le_bytes());
    }
    Stored { area: area.to_owned(), number, value: Some(value) }
}

/// A column that the target numbers.
pub(super) struct Numbers<'a> {
    table: &'a TableName,
    column: &'a str,
    /// The rule that writes it.
    rule: usize,
    /// The highest that was given out before, once that is known.
    above: Option<i64>,
}

impl<'a> Numbers<'a> {
    pub(super) fn of(table: &'a TableName, column: &'a str, rule: usize) -> Self {
        Self { table, column, rule, above: None }
    }

    /// Takes so many, in the transaction that stores what `encode` makes of them. `block`: the
    /// number of that entry.
    pub(super) async fn allot(
        &mut self,
        plan: &MovePlan,
        session: &mut Session<'_>,
        block: i64,
        count: usize,
        encode: &(dyn Fn(&[i64]) -> Stored + Sync),
    ) -> Result<Vec<i64>, TargetError> {
        if session.dry_run {
            // Nobody sees them: numbers that no database gives out.
            let first = i64::MIN + block * LIST_ROWS as i64;
            return Ok((first..).take(count).collect());
        }
        let above = match self.above {
            Some(above) => above,
            None => highest_given(plan, self.rule, session).await?,
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.try_allot(session, count, above, encode).await {
                Ok(ids) => {
                    self.above = ids.iter().copied().max().max(Some(above));
                    return Ok(ids);
                }
                Err(error) => session.failed(error, attempt).await?,
            }
        }
    }

    async fn try_allot(
        &self,
        session: &mut Session<'_>,
        count: usize,
        above: i64,
        encode: &(dyn Fn(&[i64]) -> Stored + Sync),
    ) -> Result<Vec<i64>, TargetError> {
        session.begin().await?;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let ids = session.target.take_numbers(self.table, self.column, count, above).await?;
        let name = session.name.clone();
        session.target.put(&name, &[encode(&ids)]).await?;
        session.commit().await?;
        Ok(ids)
    }
}
