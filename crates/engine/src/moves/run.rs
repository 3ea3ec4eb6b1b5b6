//! The course of a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dunlin_model::moves::{Catalogue, IdKind, Mapping, Relation, TableName};
use dunlin_model::{Diagnostic, Lease, Resource, Severity};
use dunlin_project::moves::check_mapping;

use super::decide::decide;
use super::ids::IdCipher;
use super::look::never_ran;
use super::notes::{NOTES_AREA, count_notes, store_notes};
use super::pass::{self, Coverage};
use super::plan::{MovePlan, plan, source_spec};
use super::ports::{Compiler, MoveConnector, MoveTarget, Source, Stored};
use super::produce::Decided;
use super::report::{MoveReport, Note, NoteKind, SourceReport};
use super::session::Session;
use super::settle::{check_deletions, delete_gone, take_over};
use super::state::{AREA, MoveState};
use super::verify::{forget, verify};
use super::writer::RuleWriter;
use crate::events::Event;
use crate::job::{Job, Urgency};
use crate::leases::{Heartbeat, acquire};
use crate::report::EngineError;
use crate::{ErrorKind, Purpose, Remedy, Target, TargetError};

/// One move, and how to run it.
#[derive(Clone)]
pub struct MoveJob {
    /// The target's job: its connector leads to the target.
    pub job: Job,
    /// The mapping.
    pub mapping: Mapping,
    /// Where rows come from.
    pub source: Arc<dyn MoveConnector>,
    /// Where they go.
    pub target: Arc<dyn MoveConnector>,
    /// Compiles expressions.
    pub compiler: Arc<dyn Compiler>,
    /// The secret of derived ids, where the environment has it.
    pub secret: Option<[u8; 32]>,
    /// Write nothing, and count what would be.
    pub dry_run: bool,
    /// Compare every row in the end.
    pub verify: bool,
    /// Close the move after a run that is verified.
    pub finish: bool,
}

/// Runs the move. After a broken connection it does what it does at its start: connect, claim, read,
/// compare; what was committed is found unchanged.
///
/// # Errors
/// What is wrong with the mapping; the databases'; a lease that is held.
pub async fn run(move_job: &MoveJob) -> Result<MoveReport, EngineError> {
    let began = Instant::now();
    let mut broken: Option<Instant> = None;
    loop {
        let error = match attempt(move_job).await {
            Ok(mut report) => {
                report.total_ms = millis(began);
                return Ok(report);
            }
            Err(error) => error,
        };
        if move_job.job.interrupt.urgency() >= Urgency::Finish {
            return Err(EngineError::Interrupted);
        }
        let EngineError::Target(error) = error else { return Err(error) };
        let since = *broken.get_or_insert_with(Instant::now);
        let limits = &move_job.job.limits;
        let is_passing = error.kind.remedy() == Remedy::Reconnect;
        if !is_passing || since.elapsed() > limits.reconnect_max {
            return Err(error.into());
        }
        let pause = Duration::from_millis(250 + fastrand::u64(0..250));
        move_job.job.observer.event(Event::MoveBroken { error: &error, pause });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = move_job.job.interrupt.reached(Urgency::Finish) => {
                return Err(EngineError::Interrupted);
            }
        }
    }
}

/// Plans, and says what is wrong. It looks only.
///
/// # Errors
/// As `run`.
pub async fn prepare(
    move_job: &MoveJob,
) -> Result<(MovePlan, Vec<Diagnostic>, Box<dyn Source>), EngineError> {
    let mut source =
        move_job.source.source().await.map_err(|error| error.note("the move's source"))?;
    let mut target = move_job.target.move_target().await?;
    let (plan, warnings) = planned(move_job, source.as_mut(), target.as_mut()).await?;
    Ok((plan, warnings, source))
}

pub(super) async fn planned(
    move_job: &MoveJob,
    source: &mut dyn Source,
    target: &mut dyn MoveTarget,
) -> Result<(MovePlan, Vec<Diagnostic>), EngineError> {
    let from = source_catalogue(&move_job.mapping, source).await?;
    let to = target.catalogue().await?;
    let mut found = check_mapping(&move_job.mapping, &from, &to);
    found.extend(unsupported(&move_job.mapping));
    let (errors, warnings): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|one| one.severity == Severity::Error);
    let planned = plan(&move_job.mapping, &from, &to, move_job.compiler.as_ref());
    match planned {
        Ok(plan) if errors.is_empty() => Ok((plan, warnings)),
        Ok(_) => Err(EngineError::Refused(errors)),
        Err(more) => {
            let mut all = errors;
            for one in more {
                let is_told = all.iter().any(|told| told.place == one.place);
                if !is_told {
                    all.push(one);
                }
            }
            Err(EngineError::Refused(all))
        }
    }
}

/// The source's tables, and the mapping's queries as if they were some.
pub async fn source_catalogue(
    mapping: &Mapping,
    source: &mut dyn Source,
) -> Result<Catalogue, TargetError> {
    let mut catalogue = source.catalogue().await?;
    for spec in &mapping.sources {
        let Some(query) = &spec.query else { continue };
        let name = TableName::of(spec.name.clone());
        let fields = source.describe(&name, query).await?;
        catalogue.relations.retain(|relation| relation.name != name);
        catalogue.relations.push(Relation {
            name,
            query: Some(query.clone()),
            fields,
            key: source_spec(mapping, &spec.name).key,
            unique: Vec::new(),
            foreign_keys: Vec::new(),
            row_count_estimate: None,
            is_table: false,
        });
    }
    Ok(catalogue)
}

/// What a mapping may say and this version can't do.
fn unsupported(mapping: &Mapping) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut refuse = |line: Option<usize>, message: String, help: &str| {
        let mut diagnostic = Diagnostic::error("not-supported", message);
        let file = mapping.file.clone();
        diagnostic.place = Some(match line {
            Some(line) => dunlin_model::Place::line(file, line),
            None => dunlin_model::Place::file(file),
        });
        diagnostic.help = Some(help.to_owned());
        found.push(diagnostic);
    };
    if mapping.mode != dunlin_model::moves::MoveMode::Sync {
        refuse(None, "only `mode = \"sync\"` is supported so far".to_owned(), "leave `mode` away");
    }
    for spec in mapping.ids.iter().filter(|spec| spec.kind == IdKind::Matched) {
        let message = format!("`{}`: ids that are matched are not supported so far", spec.name);
        refuse(Some(spec.line), message, "use keep, derived or assigned");
    }
    found
}

async fn attempt(move_job: &MoveJob) -> Result<MoveReport, EngineError> {
    let job = &move_job.job;
    let mut source =
        move_job.source.source().await.map_err(|error| error.note("the move's source"))?;
    let mut target = move_job.target.move_target().await?;
    let (plan, warnings) = planned(move_job, source.as_mut(), target.as_mut()).await?;
    let name = &move_job.mapping.name;
    if move_job.dry_run {
        let lease = no_lease(job, name);
        let (state, secret) = state(move_job, target.as_mut()).await?;
        let session = Session::new(job, target, lease, name, state.runs + 1, true);
        let mut report =
            Course { move_job, plan: &plan, session, state, secret }.run(source.as_mut()).await?;
        report.warnings = warnings;
        return Ok(report);
    }
    let mut ledger = job.connect(Purpose::Run).await?;
    if !ledger.probe(&[]).await?.ledger {
        ledger.create_ledger(&uuid::Uuid::new_v4().to_string()).await?;
    }
    target.create_store().await?;
    let resource = Resource::Move(name.clone());
    let lease = acquire(job, ledger.as_mut(), &resource, job.limits.lease_wait).await?;
    let heartbeat = Heartbeat::start(job);
    heartbeat.add(&lease);
    drop(source);
    let done = under_lease(move_job, target, lease.clone()).await;
    heartbeat.remove(&resource);
    if !matches!(&done, Err(EngineError::Target(error)) if error.kind.remedy() == Remedy::Reconnect)
    {
        release(ledger.as_mut(), &lease).await;
    }
    done
}

async fn release(ledger: &mut dyn Target, lease: &Lease) {
    // It expires by itself, if this fails.
    let _ = ledger.release(lease).await;
}

/// Under the lease everything is read anew: a snapshot from before it may be older than what another
/// run has written meanwhile.
async fn under_lease(
    move_job: &MoveJob,
    mut target: Box<dyn MoveTarget>,
    lease: Lease,
) -> Result<MoveReport, EngineError> {
    let mut source =
        move_job.source.source().await.map_err(|error| error.note("the move's source"))?;
    let (plan, warnings) = planned(move_job, source.as_mut(), target.as_mut()).await?;
    let plan = &plan;
    let (mut state, secret) = state(move_job, target.as_mut()).await?;
    state.runs += 1;
    state.verified = false;
    for rule in &plan.rules {
        let columns = rule.written.fields.iter().map(|field| field.name.clone()).collect();
        state.shape(&rule.rule.name, columns);
    }
    let job = &move_job.job;
    let mut session = Session::new(job, target, lease, &plan.mapping.name, state.runs, false);
    session.put(&[state.store()?]).await?;
    let course = Course { move_job, plan, session, state, secret };
    let mut report = course.run(source.as_mut()).await?;
    report.warnings = warnings;
    Ok(report)
}

/// Allows runs of a finished move again, and notes why.
///
/// # Errors
/// It is not finished; the databases'; a lease that is held.
pub async fn reopen(move_job: &MoveJob, because: &str) -> Result<(), EngineError> {
    let (job, name) = (&move_job.job, &move_job.mapping.name);
    let mut target = move_job.target.move_target().await?;
    let stored = target.stored(name, AREA, 0, 1).await?;
    let Some(stored) = stored.first() else { return Err(never_ran(name).into()) };
    if !MoveState::read(stored)?.finished {
        let message = format!("the move {name} is not finished: it may run");
        return Err(TargetError::new(ErrorKind::Refused, message).into());
    }
    let mut ledger = job.connect(Purpose::Run).await?;
    let resource = Resource::Move(name.clone());
    let lease = acquire(job, ledger.as_mut(), &resource, job.limits.lease_wait).await?;
    let mut state = MoveState::read(stored)?;
    state.reopen(because);
    let entry = state.store()?;
    let mut session = Session::new(job, target, lease.clone(), name, state.runs, false);
    let done = session.put(&[entry]).await;
    release(ledger.as_mut(), &lease).await;
    Ok(done?)
}

pub(super) fn no_lease(job: &Job, name: &str) -> Lease {
    Lease {
        resource: Resource::Move(name.to_owned()),
        owner: job.owner.clone(),
        token: 0,
        commits: 0,
    }
}

pub(super) async fn state(
    move_job: &MoveJob,
    target: &mut dyn MoveTarget,
) -> Result<(MoveState, [u8; 32]), EngineError> {
    let given = move_job.secret.as_ref();
    let stored = target.stored(&move_job.mapping.name, AREA, 0, 1).await?;
    let (mut state, secret) = match stored.first() {
        Some(stored) => {
            let state = MoveState::read(stored)?;
            let secret = state.secret(given)?;
            (state, secret)
        }
        None => MoveState::first(&move_job.mapping, given),
    };
    if state.finished {
        let name = &move_job.mapping.name;
        return Err(TargetError::new(ErrorKind::Refused, format!("the move {name} is finished"))
            .help(format!("to run it once more: dunlin move reopen {name} --because \"…\""))
            .into());
    }
    state.fix(&move_job.mapping)?;
    Ok((state, secret))
}

/// A run under way.
struct Course<'a> {
    move_job: &'a MoveJob,
    plan: &'a MovePlan,
    session: Session<'a>,
    state: MoveState,
    secret: [u8; 32],
}

impl<'a> Course<'a> {
    async fn run(mut self, source: &mut dyn Source) -> Result<MoveReport, EngineError> {
        let plan = self.plan;
        let mut report = MoveReport {
            name: plan.mapping.name.clone(),
            run: self.session.run,
            dry_run: self.session.dry_run,
            ..MoveReport::default()
        };
        let began = Instant::now();
        self.tell("deciding", None);
        let salt = plan.mapping.id_key.clone().unwrap_or_default();
        let cipher = IdCipher::new(&self.secret, &salt);
        let decided = decide(plan, source, &mut self.session, cipher).await?;
        report.decide_ms = millis(began);
        crate::failpoint("move.decided");
        let began = Instant::now();
        let mut writers: Vec<RuleWriter<'a>> = plan
            .rules
            .iter()
            .map(|rule| RuleWriter::new(rule, plan.mapping.conflicts, &self.state))
            .collect();
        let mut source_notes = self.load(source, &decided, &mut writers, &mut report).await?;
        self.second(source, &decided, &mut writers).await?;
        take_over(plan, &mut self.session, &mut writers).await?;
        check_deletions(plan, &writers)?;
        for pass in plan.passes.iter().rev() {
            for &rule in pass.rules.iter().rev() {
                delete_gone(plan, rule, &mut self.session, &mut writers[rule]).await?;
            }
        }
        self.retry(source, &decided, &mut writers).await?;
        crate::failpoint("move.loaded");
        self.numbers(&decided).await?;
        report.load_ms = millis(began);
        let began = Instant::now();
        if self.move_job.verify && !self.session.dry_run {
            let mut again = Vec::new();
            for (rule, writer) in writers.iter_mut().enumerate() {
                self.tell("verifying", Some(&plan.rules[rule].rule.name));
                let back = verify(plan, rule, &mut self.session, writer).await?;
                if !back.is_empty() {
                    forget(&plan.rules[rule], &mut self.session, &back).await?;
                    again.push(rule);
                }
            }
            self.bring_back(source, &decided, &mut writers, &again).await?;
        }
        report.verify_ms = millis(began);
        crate::failpoint("move.verified");
        self.end(writers, &mut source_notes, &mut report).await?;
        Ok(report)
    }

    fn tell(&self, what: &str, of: Option<&str>) {
        self.move_job.job.observer.event(Event::MovePhase { phase: what, of });
    }

    async fn load(
        &mut self,
        source: &mut dyn Source,
        decided: &Decided,
        writers: &mut [RuleWriter<'a>],
        report: &mut MoveReport,
    ) -> Result<Vec<(String, Vec<Note>)>, TargetError> {
        let plan = self.plan;
        let mut seen: Vec<usize> = Vec::new();
        let mut all_notes = Vec::new();
        for pass in &plan.passes {
            let from = &plan.sources[pass.source];
            self.tell("loading", Some(&from.name));
            let mut source_report =
                SourceReport { source: from.name.clone(), ..SourceReport::default() };
            let mut notes = Vec::new();
            let is_first = !seen.contains(&pass.source);
            let coverage =
                is_first.then_some(Coverage { report: &mut source_report, notes: &mut notes });
            let mut own = pick(writers, &pass.rules);
            pass::run(plan, pass, source, &mut self.session, decided, &mut own, coverage).await?;
            if is_first {
                seen.push(pass.source);
                report.sources.push(source_report);
                all_notes.push((from.name.clone(), notes));
            }
        }
        Ok(all_notes)
    }

    /// Rows that refer to rows that came later get those columns now.
    async fn second(
        &mut self,
        source: &mut dyn Source,
        decided: &Decided,
        writers: &mut [RuleWriter<'a>],
    ) -> Result<(), TargetError> {
        if self.session.dry_run {
            return Ok(());
        }
        let unfinished: Vec<usize> =
            (0..writers.len()).filter(|rule| writers[*rule].unfinished > 0).collect();
        self.once_more("linking", source, decided, writers, &unfinished).await.map(drop)
    }

    /// Rows that were refused: what stood in their way may be gone by now, such as a row with their
    /// unique value that was deleted, or that got another. Then rows that the refused ones still
    /// referred to may go as well, and what they stood in the way of may come: on, while it helps.
    async fn retry(
        &mut self,
        source: &mut dyn Source,
        decided: &Decided,
        writers: &mut [RuleWriter<'a>],
    ) -> Result<(), TargetError> {
        let of = |writer: &RuleWriter<'a>, kind| {
            writer.notes.iter().filter(|note| note.kind == kind).count()
        };
        let mut before = usize::MAX;
        loop {
            let count = writers.iter().map(|writer| of(writer, NoteKind::Rejected)).sum::<usize>();
            if self.session.dry_run || count == 0 || count >= before {
                return Ok(());
            }
            before = count;
            let open: Vec<usize> = (0..writers.len())
                .filter(|&rule| {
                    let writer = &writers[rule];
                    of(writer, NoteKind::Rejected) + of(writer, NoteKind::StillReferenced) > 0
                })
                .collect();
            let done = self.once_more("retrying", source, decided, writers, &open).await?;
            for (rule, mut again) in done.into_iter().rev() {
                again.notes.clear();
                delete_gone(self.plan, rule, &mut self.session, &mut again).await?;
                let RuleWriter { report, notes, .. } = &mut writers[rule];
                report.inserted += again.report.inserted;
                report.updated += again.report.updated;
                report.deleted += again.report.deleted;
                notes.retain(|note| note.kind != NoteKind::StillReferenced);
                again.notes.retain(|note| note.kind == NoteKind::StillReferenced);
                notes.append(&mut again.notes);
            }
        }
    }

    /// Rows that the application changed or deleted, and that the mapping wants back.
    async fn bring_back(
        &mut self,
        source: &mut dyn Source,
        decided: &Decided,
        writers: &mut [RuleWriter<'a>],
        rules: &[usize],
    ) -> Result<(), TargetError> {
        for (rule, again) in self.once_more("restoring", source, decided, writers, rules).await? {
            let (writer, report) = (&mut writers[rule], again.report);
            writer.report.inserted += report.inserted;
            writer.report.updated += report.updated;
            writer.report.unchanged =
                writer.report.unchanged.saturating_sub(report.inserted + report.updated);
            writer.report.verified = 0;
            writer.notes.retain(|note| {
                !matches!(
                    note.kind,
                    NoteKind::ChangedThere | NoteKind::DeletedThere | NoteKind::Differs
                )
            });
            verify(self.plan, rule, &mut self.session, writer).await?;
        }
        Ok(())
    }

    /// Compares these rules' rows once more, and writes what is not all written.
    async fn once_more(
        &mut self,
        phase: &str,
        source: &mut dyn Source,
        decided: &Decided,
        writers: &mut [RuleWriter<'a>],
        rules: &[usize],
    ) -> Result<Vec<(usize, RuleWriter<'a>)>, TargetError> {
        let plan = self.plan;
        let mut done = Vec::new();
        for pass in &plan.passes {
            let rules: Vec<usize> =
                pass.rules.iter().copied().filter(|rule| rules.contains(rule)).collect();
            if rules.is_empty() {
                continue;
            }
            let pass = super::plan::Pass { source: pass.source, rules };
            self.tell(phase, Some(&plan.sources[pass.source].name));
            let mut again: Vec<RuleWriter<'a>> = pass
                .rules
                .iter()
                .map(|&rule| {
                    RuleWriter::new(&plan.rules[rule], plan.mapping.conflicts, &self.state)
                })
                .collect();
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
                writers[rule].index = std::mem::take(&mut writer.index);
                done.push((rule, writer));
            }
        }
        Ok(done)
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
            if spec.kind != IdKind::Keep || !field.numbered {
                continue;
            }
            let Some(highest) =
                decided.ids[makes].made.as_ref().and_then(super::key_set::KeySet::highest)
            else {
                continue;
            };
            let above =
                highest.saturating_add(spec.headroom.unwrap_or(0).try_into().unwrap_or(i64::MAX));
            self.session.begin().await?;
            self.session.target.number_above(&rule.written.table, &field.name, above).await?;
            self.session.commit().await?;
        }
        Ok(())
    }

    async fn end(
        &mut self,
        writers: Vec<RuleWriter<'a>>,
        source_notes: &mut Vec<(String, Vec<Note>)>,
        report: &mut MoveReport,
    ) -> Result<(), TargetError> {
        let mut all = Vec::new();
        for writer in writers {
            let mut rule = writer.report;
            count_notes(&mut rule, &writer.notes);
            all.push((rule.rule.clone(), writer.notes));
            report.rules.push(rule);
        }
        all.append(source_notes);
        report.problems = problems(report, self.move_job.verify);
        report.verified = report.problems.is_empty() && !self.session.dry_run;
        if self.session.dry_run {
            return Ok(());
        }
        let stored: Vec<Stored> = self.session.all_stored(NOTES_AREA).await?;
        self.session.put(&store_notes(&all, &stored)).await?;
        self.state.verified = report.verified;
        self.state.finished = report.verified && self.move_job.finish;
        let state = self.state.store()?;
        self.session.put(&[state]).await
    }
}

fn pick<'w, 'a>(writers: &'w mut [RuleWriter<'a>], rules: &[usize]) -> Vec<&'w mut RuleWriter<'a>> {
    let mut all: Vec<Option<&'w mut RuleWriter<'a>>> = writers.iter_mut().map(Some).collect();
    rules.iter().filter_map(|rule| all[*rule].take()).collect()
}

/// Why a run is not verified, in a line each.
fn problems(report: &MoveReport, verified: bool) -> Vec<String> {
    let mut found = Vec::new();
    let kinds = [
        (NoteKind::Rejected, "rejected"),
        (NoteKind::Differs, "not what they should be"),
        (
            NoteKind::AlreadyThere,
            "not written, since a row of that key is there that is not the move's",
        ),
    ];
    for rule in &report.rules {
        for (kind, what) in kinds {
            let count = rule.count(kind);
            if count > 0 {
                let rows = if count == 1 { "row" } else { "rows" };
                found.push(format!("{}: {count} {rows} {what}", rule.rule));
            }
        }
    }
    for source in report.sources.iter().filter(|source| source.not_taken > 0) {
        found.push(format!("{}: {} old rows that no rule takes", source.source, source.not_taken));
    }
    if !verified {
        found.push("the rows were not compared".to_owned());
    }
    found
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
