//! The course of a run: decide, load, settle, verify, record.

use std::sync::Arc;
use std::time::Instant;

use dunlin_model::moves::{Field, IdKind, Numbering, TableName, largest_number};

use super::again::Loaded;
use super::bare::{BareLoad, restore};
use super::decide::decide;
use super::key::{Part, RowKey};
use super::key_set::KeySet;
use super::knot::insert_late;
use super::notes::{Rejects, count_note};
use super::pass::{self, Coverage};
use super::plan::MovePlan;
use super::ports::{Source, Unread};
use super::produce::Decided;
use super::recompute::name_columns;
use super::report::{MoveReport, Note, NoteKind, SourceReport};
use super::run::{MoveJob, millis};
use super::session::Session;
use super::settle::{STRANGERS, check_deletions};
use super::spill;
use super::state::MoveState;
use super::swap::{self, Aside, Room};
use super::told::Told;
use super::writer::RuleWriter;
use crate::report::EngineError;
use crate::{ErrorKind, Remedy, TargetError};

/// What part of a run's memory is for what it remembers of keys: one of so many. The rest is for rows
/// on their way.
pub(super) const KEYS_SHARE: usize = 2;

/// A run under way.
pub(super) struct Course<'a> {
    pub(super) move_job: &'a MoveJob,
    pub(super) plan: &'a MovePlan,
    pub(super) session: Session<'a>,
    pub(super) state: MoveState,
    pub(super) secret: [u8; 32],
}

impl<'a> Course<'a> {
    /// Runs. Whatever ends it early, unless the connection is gone: the target gets back what was
    /// dropped for loading.
    pub(super) async fn run(mut self, source: &mut dyn Source) -> Result<MoveReport, EngineError> {
        let done = self.steps(source).await;
        match done {
            Err(EngineError::Target(error)) if error.kind.remedy() != Remedy::Reconnect => {
                self.session.ending = true;
                let restored = match self.session.target.rollback().await {
                    Ok(()) => restore(&mut self.session).await,
                    Err(error) => Err(error),
                };
                Err(match restored {
                    Ok(_) => error,
                    Err(other) => error.note(format!(
                        "what was dropped for loading is not all back ({}): dunlin move restore {}",
                        other.message, self.session.name
                    )),
                }
                .into())
            }
            done => done,
        }
    }

    async fn steps(&mut self, source: &mut dyn Source) -> Result<MoveReport, EngineError> {
        let plan = self.plan;
        let mut report = MoveReport {
            name: plan.mapping.name.clone(),
            run: self.session.run,
            dry_run: self.session.dry_run,
            ..MoveReport::default()
        };
        let began = Instant::now();
        self.tell("deciding", None);
        let cipher = self.cipher();
        let room = spill::Room::new(self.move_job.memory_bytes / KEYS_SHARE);
        let decided = Arc::new(decide(plan, source, &mut self.session, cipher, &room).await?);
        report.decide_ms = millis(began);
        crate::failpoint("move.decided");
        let began = Instant::now();
        // What the application inserts while rows are loaded must not take an old row's number.
        self.numbers(&decided).await?;
        let reload = self.reload(source, &decided).await?;
        let swaps = self.swaps().await?;
        let bare = match (swaps, &reload) {
            (true, _) => BareLoad::default(),
            (false, Some(reload)) => {
                BareLoad::begin(plan, &mut self.session, Some(&reload.in_place)).await?
            }
            (false, None) => BareLoad::begin(plan, &mut self.session, None).await?,
        };
        let mut writers: Vec<RuleWriter<'a>> =
            (0..plan.rules.len()).map(|rule| self.writer(rule, &decided)).collect();
        for writer in &mut writers {
            writer.bare = bare.is_whole(writer.rule);
            writer.everything = writer.bare;
        }
        self.foresee(&mut writers).await?;
        if let Some(reload) = &reload {
            reload.tell_deleted(&bare, &mut writers);
        }
        if swaps {
            let room = Arc::new(Room::default());
            writers.iter_mut().for_each(|writer| writer.aside = Some(Aside::new(&room)));
        }
        let told = self.load(source, &decided, &mut writers, &mut report).await?;
        keep_what_may_be_unread(&report, &mut writers);
        bare.end(&mut self.session, &mut writers).await?;
        if swaps {
            check_deletions(plan, &writers, false)?;
            self.tell("applying", None);
            swap::apply(plan, &mut self.session, &mut writers).await?;
        }
        let loaded = Loaded { decided, writers, told };
        let mut loaded = self.settle(source, loaded, &mut report).await?;
        crate::failpoint("move.loaded");
        self.numbers(&loaded.decided).await?;
        report.load_ms = millis(began);
        let began = Instant::now();
        let is_proved = self.move_job.verify && !self.session.dry_run;
        if is_proved {
            loaded = self.prove(source, loaded, &mut report).await?;
        }
        let Loaded { decided, mut writers, told } = loaded;
        if is_proved {
            for (rule, writer) in writers.iter_mut().enumerate() {
                let made = (plan, &decided);
                name_columns(made, &mut self.session, source, rule, &mut writer.notes).await?;
            }
        }
        report.verify_ms = millis(began);
        crate::failpoint("move.verified");
        report.spilled_bytes = room.spilled_bytes();
        self.end(writers, &told, &mut report).await?;
        Ok(report)
    }

    pub(super) fn writer(&self, rule: usize, decided: &Decided) -> RuleWriter<'a> {
        let rule = &self.plan.rules[rule];
        let mut writer =
            RuleWriter::new(rule, self.plan.mapping.conflicts, &self.state, &decided.room);
        let matched = rule.makes.filter(|makes| decided.ids[*makes].kind == IdKind::Matched);
        writer.adopted = matched.map(|makes| decided.ids[makes].matched.adopted.clone());
        writer
    }

    pub(super) fn tell(&self, what: &str, of: Option<&str>) {
        self.session.gate.phase(what, of);
    }

    pub(super) async fn load(
        &mut self,
        source: &mut dyn Source,
        decided: &Arc<Decided>,
        writers: &mut [RuleWriter<'a>],
        report: &mut MoveReport,
    ) -> Result<Vec<(String, Told)>, TargetError> {
        let plan = self.plan;
        let mut seen: Vec<usize> = Vec::new();
        let mut all_told = Vec::new();
        for pass in &plan.passes {
            let from = &plan.sources[pass.source];
            self.tell("loading", Some(&from.name));
            let mut source_report =
                SourceReport { source: from.name.clone(), ..SourceReport::default() };
            let mut told = Told::new(&decided.room);
            let is_first = !seen.contains(&pass.source);
            let coverage =
                is_first.then_some(Coverage { report: &mut source_report, told: &mut told });
            let mut own = pick(writers, &pass.rules);
            pass::run(plan, pass, source, &mut self.session, decided, &mut own, coverage).await?;
            insert_late(plan, &mut self.session, writers, &pass.rules).await?;
            if is_first {
                let unread = source.unread(&from.relation.name).await?;
                source_report.unread += unread.count;
                told.extend(unread.first.into_iter().map(unread_note))?;
                seen.push(pass.source);
                report.sources.push(source_report);
                all_told.push((from.name.clone(), told));
            }
        }
        Ok(all_told)
    }

    /// The target's own numbers go on above the ids that were kept.
    async fn numbers(&mut self, decided: &Decided) -> Result<(), TargetError> {
        if self.session.dry_run {
            return Ok(());
        }
        for rule in &self.plan.rules {
            let (Some(makes), Some(place)) = (rule.makes, rule.id_field) else { continue };
            let field = &rule.written.fields[place];
            let spec = &self.plan.namespaces[makes].spec;
            if spec.kind != IdKind::Keep || field.numbering != Numbering::Counter {
                continue;
            }
            let Some(highest) = decided.ids[makes].made.as_ref().and_then(KeySet::highest) else {
                continue;
            };
            let above = headroom_above(highest, spec.headroom, &rule.written.table, field)?;
            self.session.begin().await?;
            self.session.target.number_above(&rule.written.table, &field.name, above).await?;
            self.session.commit().await?;
        }
        Ok(())
    }

    async fn end(
        &mut self,
        writers: Vec<RuleWriter<'a>>,
        source_told: &[(String, Told)],
        report: &mut MoveReport,
    ) -> Result<(), TargetError> {
        let mut rejects = Rejects::new();
        for writer in writers {
            let mut rule = writer.report;
            let mut told = writer.told.all();
            while let Some(note) = told.next()? {
                count_note(&mut rule, &note);
                rejects.push(&mut self.session, &rule.rule, &note).await?;
            }
            for note in writer.notes {
                count_note(&mut rule, &note);
                rejects.push(&mut self.session, &rule.rule, &note).await?;
            }
            report.rules.push(rule);
        }
        for (from, told) in source_told {
            let mut told = told.all();
            while let Some(note) = told.next()? {
                rejects.push(&mut self.session, from, &note).await?;
            }
        }
        rejects.end(&mut self.session).await?;
        report.problems = problems(report, self.move_job.verify);
        report.verified = report.problems.is_empty() && !self.session.dry_run;
        if self.session.dry_run {
            return Ok(());
        }
        self.state.verified = report.verified;
        self.state.finished = report.verified && self.move_job.finish;
        let state = self.state.store()?;
        self.session.put(&[state]).await
    }
}

/// The number that the target's own begin above.
fn headroom_above(
    highest: i64,
    headroom: Option<u64>,
    table: &TableName,
    field: &Field,
) -> Result<i64, TargetError> {
    let Some(headroom) = headroom else { return Ok(highest) };
    let most = largest_number(&field.value_type).unwrap_or(i64::MAX);
    let above = i64::try_from(headroom).ok().and_then(|headroom| highest.checked_add(headroom));
    above.filter(|above| *above < most).ok_or_else(|| {
        let message = format!(
            "the highest old number and the mapping's headroom are more than {table}.{} can hold",
            field.name
        );
        TargetError::new(ErrorKind::Refused, message).help("write a smaller headroom under [ids]")
    })
}

/// A record that could not be read may be any of the rows that seem to be gone.
pub(super) fn keep_what_may_be_unread(report: &MoveReport, writers: &mut [RuleWriter<'_>]) {
    if report.sources.iter().any(|source| source.unread > 0) {
        writers.iter_mut().for_each(|writer| writer.unread.add_any());
    }
}

/// A record without a key goes by its place.
fn unread_note(unread: Unread) -> Note {
    let old = RowKey(vec![Part::Bytes(unread.place.into_bytes().into())]);
    Note { old, kind: NoteKind::Rejected, reason: unread.reason }
}

fn pick<'w, 'a>(writers: &'w mut [RuleWriter<'a>], rules: &[usize]) -> Vec<&'w mut RuleWriter<'a>> {
    let mut all: Vec<Option<&'w mut RuleWriter<'a>>> = writers.iter_mut().map(Some).collect();
    rules.iter().filter_map(|rule| all[*rule].take()).collect()
}

/// Why a run is not verified, in a line each.
fn problems(report: &MoveReport, verified: bool) -> Vec<String> {
    let mut found = Vec::new();
    for rule in &report.rules {
        let there = rule.notes.get(&NoteKind::AlreadyThere);
        let strangers = there.and_then(|reasons| reasons.get(STRANGERS)).copied().unwrap_or(0);
        let kinds = [
            (rule.count(NoteKind::Rejected), "rejected"),
            (rule.count(NoteKind::Differs), "not what they should be"),
            (strangers, "not written, since a row of that key is there that is not the move's"),
            (
                rule.count(NoteKind::AlreadyThere) - strangers,
                "not written, since another old row has become the row of that key",
            ),
        ];
        for (count, what) in kinds {
            if count > 0 {
                let rows = if count == 1 { "row" } else { "rows" };
                found.push(format!("{}: {count} {rows} {what}", rule.rule));
            }
        }
    }
    for source in report.sources.iter().filter(|source| source.unread > 0) {
        let records = if source.unread == 1 { "record" } else { "records" };
        found.push(format!("{}: {} {records} can't be read", source.source, source.unread));
    }
    for source in report.sources.iter().filter(|source| source.not_taken > 0) {
        found.push(format!("{}: {} old rows that no rule takes", source.source, source.not_taken));
    }
    if !verified {
        found.push("the rows were not compared".to_owned());
    }
    found
}
