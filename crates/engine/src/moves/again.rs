//! What is gone through again once all is loaded: rows that were written in part, that were refused,
//! that the mapping wants back, and those that refer to rows which were rejected.

use std::sync::Arc;

use super::course::{Course, keep_what_may_be_unread};
use super::decide::decide;
use super::exchange::exchange;
use super::ids::IdCipher;
use super::knot::untie;
use super::pass;
use super::ports::Source;
use super::produce::Decided;
use super::rejected::find_rejected;
use super::report::{MoveReport, NoteKind, RuleReport};
use super::settle::{check_deletions, delete_gone, take_over, told_stuck};
use super::told::Told;
use super::verify::{forget, verify};
use super::writer::RuleWriter;
use crate::TargetError;

/// How often references are worked out anew, since other rows are rejected than were known. Mostly it
/// is once; as often as tables lie between a rejected row and one that is rejected itself.
const REJECTED_ROUNDS_MAX: usize = 10;

/// What a run makes of the source, once all is written.
pub(super) struct Loaded<'a> {
    pub(super) decided: Arc<Decided>,
    pub(super) writers: Vec<RuleWriter<'a>>,
    /// What is told of sources' rows.
    pub(super) told: Vec<(String, Told)>,
}

impl<'a> Course<'a> {
    /// Brings what was loaded to its end, until no reference goes to a row that is rejected.
    pub(super) async fn settle(
        &mut self,
        source: &mut dyn Source,
        mut loaded: Loaded<'a>,
        report: &mut MoveReport,
    ) -> Result<Loaded<'a>, TargetError> {
        self.settle_once(source, &loaded.decided, &mut loaded.writers).await?;
        self.settle_rejected(source, loaded, report).await
    }

    /// Works references out anew for as long as other rows are rejected than was known.
    async fn settle_rejected(
        &mut self,
        source: &mut dyn Source,
        mut loaded: Loaded<'a>,
        report: &mut MoveReport,
    ) -> Result<Loaded<'a>, TargetError> {
        for _ in 0..REJECTED_ROUNDS_MAX {
            if self.session.dry_run {
                break;
            }
            let Loaded { decided, writers, .. } = &loaded;
            if !find_rejected(self.plan, &mut self.session, decided, writers).await? {
                break;
            }
            crate::failpoint("move.rejected");
            loaded = self.load_again(source, loaded, report).await?;
            self.settle_once(source, &loaded.decided, &mut loaded.writers).await?;
        }
        Ok(loaded)
    }

    async fn settle_once(
        &mut self,
        source: &mut dyn Source,
        decided: &Arc<Decided>,
        writers: &mut [RuleWriter<'a>],
    ) -> Result<(), TargetError> {
        let plan = self.plan;
        self.second(source, decided, writers).await?;
        take_over(plan, &mut self.session, writers).await?;
        let has_written = !self.session.dry_run
            && writers.iter().any(|one| one.report.inserted + one.report.updated > 0);
        check_deletions(plan, writers, has_written)?;
        for pass in plan.passes.iter().rev() {
            for &rule in pass.rules.iter().rev() {
                delete_gone(plan, rule, &mut self.session, &mut writers[rule]).await?;
            }
        }
        for (rule, writer) in plan.rules.iter().zip(&mut *writers) {
            exchange(rule, &mut self.session, writer).await?;
        }
        self.retry(source, decided, writers).await
    }

    /// Decides and loads once more, with what is known by now of rejected rows.
    async fn load_again(
        &mut self,
        source: &mut dyn Source,
        before: Loaded<'a>,
        report: &mut MoveReport,
    ) -> Result<Loaded<'a>, TargetError> {
        let Loaded { decided, writers, told } = before;
        let (room, cipher) = (decided.room.clone(), self.cipher());
        let counts: Vec<(RuleReport, u64)> =
            writers.into_iter().map(|writer| (writer.report, writer.known)).collect();
        // What they remember makes room for what comes.
        drop((decided, told));
        self.tell("deciding", Some("again, since rows were rejected"));
        let decided = Arc::new(decide(self.plan, source, &mut self.session, cipher, &room).await?);
        let mut writers: Vec<RuleWriter<'a>> =
            (0..counts.len()).map(|rule| self.writer(rule, &decided)).collect();
        report.sources.clear();
        let told = self.load(source, &decided, &mut writers, report).await?;
        keep_what_may_be_unread(report, &mut writers);
        for (writer, (before, known)) in writers.iter_mut().zip(counts) {
            (writer.known, writer.deleted_before) = (known, before.deleted);
            let RuleReport { inserted, updated, deleted, unchanged, .. } = &mut writer.report;
            // Rows that this run wrote before are not told of as they were.
            *unchanged = unchanged.saturating_sub(before.inserted + before.updated);
            *inserted += before.inserted;
            *updated += before.updated;
            *deleted += before.deleted;
        }
        Ok(Loaded { decided, writers, told })
    }

    pub(super) fn cipher(&self) -> IdCipher {
        let salt = self.plan.mapping.id_key.clone().unwrap_or_default();
        IdCipher::new(&self.secret, &salt)
    }

    /// Rows that refer to rows that came later get those columns now.
    async fn second(
        &mut self,
        source: &mut dyn Source,
        decided: &Arc<Decided>,
        writers: &mut [RuleWriter<'a>],
    ) -> Result<(), TargetError> {
        if self.session.dry_run {
            return Ok(());
        }
        let unfinished: Vec<usize> =
            (0..writers.len()).filter(|rule| writers[*rule].unfinished > 0).collect();
        for (rule, again) in
            self.once_more("linking", source, decided, writers, &unfinished).await?
        {
            // Rows that were only begun before have been counted already.
            let linked = writers[rule].unfinished;
            writers[rule].report.updated += again.report.updated.saturating_sub(linked);
        }
        Ok(())
    }

    /// Rows that were refused: what stood in their way may be gone by now, such as a row with their
    /// unique value that was deleted, or that got another. Then rows that the refused ones still
    /// referred to may go as well, and what they stood in the way of may come: on, while it helps. Rows
    /// that wait for each other are done together then.
    async fn retry(
        &mut self,
        source: &mut dyn Source,
        decided: &Arc<Decided>,
        writers: &mut [RuleWriter<'a>],
    ) -> Result<(), TargetError> {
        if self.session.dry_run {
            return Ok(());
        }
        let wrote = |writer: &RuleWriter<'a>| {
            writer.report.inserted + writer.report.updated + writer.report.deleted > 0
        };
        // What stood in their way still does, where nothing was written.
        let mut may_help = writers.iter().any(wrote);
        let mut before = usize::MAX;
        let deleted = |writers: &[RuleWriter<'a>]| -> u64 {
            writers.iter().map(|writer| writer.report.deleted).sum()
        };
        loop {
            let count = writers.iter().map(rejected).sum::<usize>();
            if may_help && count > 0 && count < before {
                let gone = deleted(writers);
                self.try_again(source, decided, writers).await?;
                // What was deleted came after the rows that it stood in the way of.
                before = if deleted(writers) > gone { usize::MAX } else { count };
            } else if untie(self.plan, &mut self.session, writers).await? {
                (may_help, before) = (true, usize::MAX);
            } else {
                return Ok(());
            }
        }
    }

    /// Rules with rows that were refused, once more, and what is gone of theirs.
    async fn try_again(
        &mut self,
        source: &mut dyn Source,
        decided: &Arc<Decided>,
        writers: &mut [RuleWriter<'a>],
    ) -> Result<(), TargetError> {
        let is_open = |rule: &usize| {
            rejected(&writers[*rule]) + count_of(&writers[*rule], NoteKind::StillReferenced) > 0
        };
        let open: Vec<usize> = (0..writers.len()).filter(is_open).collect();
        let done = self.once_more("retrying", source, decided, writers, &open).await?;
        for (rule, mut again) in done.into_iter().rev() {
            again.notes.clear();
            if writers[rule].unread.is_any() {
                again.unread.add_any();
            }
            delete_gone(self.plan, rule, &mut self.session, &mut again).await?;
            exchange(&self.plan.rules[rule], &mut self.session, &mut writers[rule]).await?;
            let RuleWriter { report, notes, held, .. } = &mut writers[rule];
            *held = std::mem::take(&mut again.held);
            report.inserted += again.report.inserted;
            report.updated += again.report.updated;
            report.deleted += again.report.deleted;
            notes.retain(|note| note.kind != NoteKind::StillReferenced);
            again.notes.retain(|note| note.kind == NoteKind::StillReferenced);
            notes.append(&mut again.notes);
            notes.retain(|note| note.kind != NoteKind::AlreadyThere);
            // Whether another old row has left such a row, the next run finds out.
            let there = std::mem::take(&mut again.postponed);
            let there = told_stuck(self.plan, rule, &mut self.session, writers, there).await?;
            writers[rule].notes.extend(there);
        }
        Ok(())
    }

    /// Compares all rows with what there should be, and writes those that the mapping wants back.
    pub(super) async fn prove(
        &mut self,
        source: &mut dyn Source,
        mut loaded: Loaded<'a>,
        report: &mut MoveReport,
    ) -> Result<Loaded<'a>, TargetError> {
        let Loaded { decided, writers, .. } = &mut loaded;
        let mut again = Vec::new();
        for (rule, writer) in writers.iter_mut().enumerate() {
            let planned = &self.plan.rules[rule];
            self.tell("verifying", Some(&planned.rule.name));
            let back = verify(self.plan, rule, &mut self.session, writer).await?;
            if !back.is_empty() {
                forget(planned, &mut self.session, &back).await?;
                again.push(rule);
            }
        }
        let some_rejected =
            |writers: &[RuleWriter<'a>]| writers.iter().any(|one| rejected(one) > 0);
        let before = some_rejected(writers);
        self.bring_back(source, decided, writers, &again).await?;
        if again.is_empty() || !(before || some_rejected(writers)) {
            return Ok(loaded);
        }
        // Rows that refer to those that are back were refused for that; rows that are to come back,
        // for those that have their values.
        self.retry(source, decided, writers).await?;
        let mut loaded = self.settle_rejected(source, loaded, report).await?;
        for (rule, writer) in loaded.writers.iter_mut().enumerate() {
            self.prove_again(rule, writer).await?;
        }
        Ok(loaded)
    }

    /// Rows that the application changed or deleted, and that the mapping wants back.
    async fn bring_back(
        &mut self,
        source: &mut dyn Source,
        decided: &Arc<Decided>,
        writers: &mut [RuleWriter<'a>],
        rules: &[usize],
    ) -> Result<(), TargetError> {
        for (rule, again) in self.once_more("restoring", source, decided, writers, rules).await? {
            let (writer, report) = (&mut writers[rule], again.report);
            writer.report.inserted += report.inserted;
            // The application may have exchanged their values.
            let before = writer.report.updated;
            exchange(&self.plan.rules[rule], &mut self.session, writer).await?;
            writer.report.updated += report.updated;
            let back = report.inserted + writer.report.updated - before;
            writer.report.unchanged = writer.report.unchanged.saturating_sub(back);
            self.prove_again(rule, writer).await?;
        }
        Ok(())
    }

    /// Compares a rule's rows once more, after some were written.
    async fn prove_again(
        &mut self,
        rule: usize,
        writer: &mut RuleWriter<'a>,
    ) -> Result<(), TargetError> {
        writer.report.verified = 0;
        writer.notes.retain(|note| {
            !matches!(
                note.kind,
                NoteKind::ChangedThere | NoteKind::DeletedThere | NoteKind::Differs
            )
        });
        verify(self.plan, rule, &mut self.session, writer).await?;
        Ok(())
    }

    /// Compares these rules' rows once more, and writes what is not all written.
    async fn once_more(
        &mut self,
        phase: &str,
        source: &mut dyn Source,
        decided: &Arc<Decided>,
        writers: &mut [RuleWriter<'a>],
        rules: &[usize],
    ) -> Result<Vec<(usize, RuleWriter<'a>)>, TargetError> {
        let plan = self.plan;
        let mut done = Vec::new();
        for pass in &plan.passes {
            let Some(pass) = pass.only(|rule| rules.contains(&rule)) else { continue };
            self.tell(phase, Some(&plan.sources[pass.source].name));
            let mut again: Vec<RuleWriter<'a>> =
                pass.rules.iter().map(|&rule| self.writer(rule, decided)).collect();
            again.iter_mut().for_each(|writer| writer.everything = true);
            let mut own: Vec<&mut RuleWriter<'a>> = again.iter_mut().collect();
            pass::run(plan, &pass, source, &mut self.session, decided, &mut own, None).await?;
            for (mut writer, &rule) in again.into_iter().zip(&pass.rules) {
                // Rows that were refused before may be taken now, and others not.
                let known = &mut writers[rule].notes;
                known.retain(|note| note.kind != NoteKind::Rejected);
                let (rejected, others): (Vec<_>, Vec<_>) = std::mem::take(&mut writer.notes)
                    .into_iter()
                    .partition(|note| note.kind == NoteKind::Rejected);
                known.extend(rejected);
                writer.notes = others;
                let told = std::mem::replace(&mut writer.told, Told::new(&decided.room));
                writers[rule].told.tried_again(told);
                writers[rule].index = std::mem::take(&mut writer.index);
                writers[rule].refused = std::mem::take(&mut writer.refused);
                writers[rule].kept_out = std::mem::take(&mut writer.kept_out);
                done.push((rule, writer));
            }
        }
        Ok(done)
    }
}

fn count_of(writer: &RuleWriter<'_>, kind: NoteKind) -> usize {
    writer.notes.iter().filter(|note| note.kind == kind).count()
}

/// How many of its rows were refused.
fn rejected(writer: &RuleWriter<'_>) -> usize {
    writer.told.refused() + count_of(writer, NoteKind::Rejected)
}
