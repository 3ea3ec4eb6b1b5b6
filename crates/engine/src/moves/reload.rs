//! What `reload` must know before it empties a table: how much of it would be gone for good.

use std::collections::BTreeSet;
use std::sync::Arc;

use dunlin_model::moves::{Gone, MoveMode, TableName};

use super::bare::BareLoad;
use super::course::{Course, keep_what_may_be_unread};
use super::ports::Source;
use super::produce::Decided;
use super::report::MoveReport;
use super::settle::check_deletions;
use super::writer::{RuleWriter, pack_area};
use crate::TargetError;

/// A reload that may go on.
pub(super) struct Reload {
    /// Tables that are written in place: rows of theirs that are gone from the source are kept.
    pub(super) in_place: BTreeSet<TableName>,
    /// By rule: rows that are gone from the source.
    gone: Vec<u64>,
}

impl Reload {
    /// Rows that went with the tables that were emptied, and don't come again.
    pub(super) fn tell_deleted(&self, bare: &BareLoad, writers: &mut [RuleWriter<'_>]) {
        for (writer, gone) in writers.iter_mut().zip(&self.gone) {
            if bare.has(&writer.rule.written.table) {
                writer.report.deleted += gone;
            }
        }
    }
}

impl<'a> Course<'a> {
    /// Goes through the whole source once without writing, so that a source that is empty by mistake
    /// is found out before a table is emptied. `None`: this is no reload.
    pub(super) async fn reload(
        &mut self,
        source: &mut dyn Source,
        decided: &Arc<Decided>,
    ) -> Result<Option<Reload>, TargetError> {
        let plan = self.plan;
        let is_possible = plan.mapping.mode == MoveMode::Reload
            && !self.session.dry_run
            && self.session.target.bare().is_some();
        if !is_possible {
            return Ok(None);
        }
        let mut writers: Vec<RuleWriter<'a>> = plan
            .rules
            .iter()
            .map(|rule| RuleWriter::new(rule, plan.mapping.conflicts, &self.state, &decided.room))
            .collect();
        self.session.dry_run = true;
        let mut counted = MoveReport::default();
        let loaded = self.load(source, decided, &mut writers, &mut counted).await;
        self.session.dry_run = false;
        loaded?;
        // What looks gone may be a record that can't be read tonight.
        keep_what_may_be_unread(&counted, &mut writers);
        check_deletions(plan, &writers, false)?;
        let keeps_all = plan.mapping.conflicts.gone_here == Gone::Keep;
        let keeps = |writer: &&RuleWriter<'_>| {
            writer.gone.iter().any(|entry| keeps_all || writer.unread.has(&entry.old))
        };
        let kept = writers.iter().filter(keeps);
        let in_place = kept.map(|writer| writer.rule.written.table.clone()).collect();
        Ok(Some(Reload {
            in_place,
            gone: writers.iter().map(|writer| writer.gone.len() as u64).collect(),
        }))
    }

    /// Whether the difference is applied in one transaction. The first run has no old rows that
    /// readers could go on seeing, nor has one that goes on with it.
    pub(super) async fn swaps(&mut self) -> Result<bool, TargetError> {
        let plan = self.plan;
        if plan.mapping.mode != MoveMode::Swap || self.session.dry_run {
            return Ok(false);
        }
        if BareLoad::is_under_way(&mut self.session).await? {
            return Ok(false);
        }
        for rule in &plan.rules {
            let stored = self.session.stored(&pack_area(&rule.rule.name), i64::MIN).await?;
            if !stored.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
