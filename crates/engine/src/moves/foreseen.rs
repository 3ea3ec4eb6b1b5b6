//! What a dry run must know of the target before it judges rows: which of those that the move wrote
//! are not as the last run left them. A run finds that out when it verifies, once all is written.

use super::course::Course;
use super::key::RowKey;
use super::key_set::key_hash;
use super::pack::{ADOPTED, each_entry};
use super::plan::PlannedRule;
use super::session::Session;
use super::shapes::Shapes;
use super::suspects::{Finding, Findings, Suspects};
use super::verify::{SHARE_ROWS, Share, each_stored};
use super::writer::{RuleWriter, pack_area};
use crate::TargetError;

impl<'a> Course<'a> {
    /// Looks for rows that the application changed or deleted, where a run would.
    pub(super) async fn foresee(
        &mut self,
        writers: &mut [RuleWriter<'a>],
    ) -> Result<(), TargetError> {
        if !self.session.dry_run {
            return Ok(());
        }
        for writer in writers {
            // What a run doesn't verify it doesn't find out.
            writer.foreseen = Some(match self.move_job.verify {
                true => {
                    self.tell("comparing", Some(&writer.rule.rule.name));
                    otherwise(writer.rule, &mut self.session, &writer.shapes).await?
                }
                false => Findings::default(),
            });
        }
        Ok(())
    }
}

impl RuleWriter<'_> {
    /// Whether some of its rows are not as the last run left them.
    pub(super) fn has_foreseen(&self) -> bool {
        self.foreseen.as_ref().is_some_and(|foreseen| !foreseen.is_empty())
    }

    /// How the row of a key is not as the last run left it, where that was looked for.
    pub(super) fn foreseen(&self, new: &RowKey) -> Option<&Finding> {
        self.foreseen.as_ref().filter(|foreseen| !foreseen.is_empty())?.get(&key_hash(new))
    }
}

/// The rows that are otherwise, of those that were written with the columns of now: all others are
/// changed by the run, and looked at then.
async fn otherwise(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    shapes: &Shapes,
) -> Result<Findings, TargetError> {
    let is_compared = |run: u32| run == ADOPTED || shapes.is_current(run);
    let mut rows = 0_u64;
    each_stored(session, &pack_area(&rule.rule.name), |stored| {
        each_entry(stored, |entry| rows += u64::from(is_compared(entry.run)))
    })
    .await?;
    let mut all = Findings::default();
    let of = rows.div_ceil(SHARE_ROWS);
    for number in 0..of {
        let share = Share { number, of, rows };
        let wanted = share.wanted(rule, session, is_compared).await?;
        let there = share.there(rule, session).await?;
        let (_, unproved) = wanted.without(there);
        if !unproved.is_empty() {
            let suspects = Suspects::of(rule, session, &unproved).await?;
            drop(unproved);
            all.extend(suspects.look(rule, session).await?.0);
        }
    }
    Ok(all)
}
