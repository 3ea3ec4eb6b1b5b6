//! Ids that were given out, and stored, before a row was written under them: the database may refuse
//! the row, or the run may end. Nobody else may get such an id then, and who has it must get another
//! where a row of somebody else has taken its place.

use std::collections::HashSet;

use dunlin_model::moves::IdKind;

use super::absent::each_written;
use super::assign::ids_area;
use super::key::{KeyColumns, Part, RowKey};
use super::key_set::KeySet;
use super::matching::{keys_as_batch, matched_area};
use super::plan::MovePlan;
use super::ports::Written;
use super::session::Session;
use super::spill::Room;
use super::stored_lists::{read_ids, read_matches};
use super::verify::each_stored;
use crate::TargetError;

/// The ids of rows that were written into a rule's table, by any rule.
pub(super) struct WrittenIds {
    written: KeySet,
    /// The table with its id alone.
    by_id: Written,
}

impl WrittenIds {
    pub(super) async fn of(
        plan: &MovePlan,
        number: usize,
        session: &mut Session<'_>,
        room: &Room,
    ) -> Result<Self, TargetError> {
        let rule = &plan.rules[number];
        let mut written = KeySet::new(room);
        for other in plan.rules.iter().filter(|other| other.written.table == rule.written.table) {
            each_written(plan, other, session, |_, new, _| written.insert(&new)).await?;
        }
        written.settle()?;
        let id = rule.id_field.map(|place| rule.written.fields[place].clone());
        let by_id =
            Written { fields: id.into_iter().collect(), key: vec![0], ..rule.written.clone() };
        Ok(Self { written, by_id })
    }

    pub(super) fn has(&self, id: &RowKey) -> Result<bool, TargetError> {
        self.written.contains(id)
    }

    /// Of old keys with ids that no row was written of those whose id a row has all the same, which is
    /// somebody else's.
    pub(super) async fn lost(
        &self,
        session: &mut Session<'_>,
        unwritten: &mut Vec<(RowKey, RowKey)>,
    ) -> Result<Vec<RowKey>, TargetError> {
        let unwritten = std::mem::take(unwritten);
        let there = ids_there(session, &self.by_id, unwritten.iter().map(|(_, id)| id)).await?;
        Ok(unwritten.into_iter().filter(|(_, id)| there.contains(id)).map(|(old, _)| old).collect())
    }
}

/// Which of these ids rows of a table have. `by_id`: its id alone.
pub(super) async fn ids_there<'k>(
    session: &mut Session<'_>,
    by_id: &Written,
    ids: impl ExactSizeIterator<Item = &'k RowKey> + Clone,
) -> Result<HashSet<RowKey>, TargetError> {
    if ids.len() == 0 {
        return Ok(HashSet::new());
    }
    let keys = keys_as_batch(by_id, ids)?;
    let there = session.target.fetch(by_id, &keys, false).await?;
    let there = there.whole("the target's table")?;
    let there = KeyColumns::of_target(by_id.key_fields(), &[there.column(0).clone()])?;
    Ok((0..there.len()).map(|row| there.key(row)).collect())
}

/// The highest number that was given out for a rule's table, by any of its namespaces; 0: none.
pub(super) async fn highest_given(
    plan: &MovePlan,
    number: usize,
    session: &mut Session<'_>,
) -> Result<i64, TargetError> {
    let table = &plan.rules[number].written.table;
    let mut highest = 0;
    for namespace in &plan.namespaces {
        if namespace.maker.is_none_or(|maker| plan.rules[maker].written.table != *table) {
            continue;
        }
        let (name, kind) = (&namespace.spec.name, namespace.spec.kind);
        let area = match kind {
            IdKind::Assigned => ids_area(name),
            IdKind::Matched => matched_area(name),
            IdKind::Keep | IdKind::Derived => continue,
        };
        each_stored(session, &area, |stored| {
            if kind == IdKind::Assigned {
                let all = read_ids(stored)?;
                highest = all.iter().fold(highest, |highest, (_, id)| highest.max(*id));
                return Ok(());
            }
            // Those of rows that were there are the database's own affair.
            for one in read_matches(stored)?.iter().filter(|one| !one.was_there) {
                if let [Part::Number(id)] = one.id.0.as_slice() {
                    highest = highest.max(*id);
                }
            }
            Ok(())
        })
        .await?;
    }
    Ok(highest)
}
