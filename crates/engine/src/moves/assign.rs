//! Numbers of the target's own for old keys: allotted once, and stored.

use dunlin_model::moves::TableName;

use super::candidates::Candidates;
use super::key::RowKey;
use super::key_set::{decoded, key_hash};
use super::ordered::append_ordered;
use super::plan::MovePlan;
use super::ports::Stored;
use super::produce::Decided;
use super::session::Session;
use super::spill::{Room, Sorter};
use super::stored_lists::{LIST_ROWS, read_ids};
use crate::TargetError;

/// Numbers of the target's own for old keys that have none yet, in the order of the old keys.
pub(super) async fn assign(
    plan: &MovePlan,
    number: usize,
    makes: usize,
    found: &Candidates,
    session: &mut Session<'_>,
    decided: &mut Decided,
    room: &Room,
) -> Result<(), TargetError> {
    let area = format!("ids/{}", plan.namespaces[makes].spec.name);
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
    let mut open = Sorter::new(room);
    let mut candidates = found.list.pieces();
    while let Some(candidate) = found.next(&mut candidates)? {
        let is_open = ids.assigned.find(key_hash(&candidate.old))?.is_none()
            && *ids.leader(&candidate.old)? == candidate.old;
        if is_open {
            let mut bytes = Vec::with_capacity(16);
            append_ordered(&candidate.old, &mut bytes);
            open.push(&bytes)?;
        }
    }
    let rule = &plan.rules[number];
    let column = rule.id_field.map(|place| rule.written.fields[place].name.clone());
    let numbers = Numbers { table: &rule.written.table, column: &column.unwrap_or_default() };
    let open = open.sorted()?;
    let mut open = open.pieces()?;
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
        let given = numbers.allot(session, block_number, block.len(), &encode).await?;
        for (old, id) in block.iter().zip(given) {
            decided.ids[makes].assigned.push((key_hash(old), id as u64))?;
        }
    }
    decided.ids[makes].assigned.settle()
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
    pub(super) table: &'a TableName,
    pub(super) column: &'a str,
}

impl Numbers<'_> {
    /// Takes so many, in the transaction that stores what `encode` makes of them. `block`: the
    /// number of that entry.
    pub(super) async fn allot(
        &self,
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
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.try_allot(session, count, encode).await {
                Ok(ids) => return Ok(ids),
                Err(error) => session.failed(error, attempt).await?,
            }
        }
    }

    async fn try_allot(
        &self,
        session: &mut Session<'_>,
        count: usize,
        encode: &(dyn Fn(&[i64]) -> Stored + Sync),
    ) -> Result<Vec<i64>, TargetError> {
        session.begin().await?;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let ids = session.target.take_numbers(self.table, self.column, count).await?;
        let name = session.name.clone();
        session.target.put(&name, &[encode(&ids)]).await?;
        session.commit().await?;
        Ok(ids)
    }
}
