//! What each of a person's changes writes, worked out from the files and the ledger.

use dunlin_model::{
    Checksums, Diagnostic, Direction, Entry, EntryState, EntryWrite, LedgerEvent, MigrationId,
    StepState, Version,
};
use dunlin_project::plan::{Drift, baseline, came_after, comes_after, drift};

use super::Change;
use crate::Work;
use crate::job::Job;
use crate::report::EngineError;
use crate::standing::{Planning, Standing};

pub(super) fn refuse(rule: &'static str, message: String, help: impl Into<String>) -> EngineError {
    EngineError::Refused(vec![Diagnostic::error(rule, message).help(help)])
}

/// Where a change is worked out: what is known, and nothing that writes.
pub(super) struct Desk<'a> {
    pub(super) job: &'a Job,
    pub(super) standing: &'a Standing,
    pub(super) run: &'a str,
}

impl Desk<'_> {
    pub(super) fn entry(&self, id: MigrationId) -> Option<&Entry> {
        self.standing.ledger.entries.get(&id)
    }

    fn name(&self, id: MigrationId) -> Result<String, EngineError> {
        if let Some(file) = self.job.folder.files.get(&id) {
            return Ok(file.name.clone());
        }
        if let Some(entry) = self.entry(id) {
            return Ok(entry.name.clone());
        }
        Err(refuse(
            "unknown-version",
            format!("there is no {id}, neither as a file nor in the ledger"),
            "`dunlin status` lists what there is",
        ))
    }

    /// Content for the ledger from the file, if there is one.
    fn content(&self, id: MigrationId) -> Result<Option<(Checksums, String)>, EngineError> {
        let Some(file) = self.job.folder.files.get(&id) else { return Ok(None) };
        let parsed = file.parse(self.job.connector.dialect()).map_err(EngineError::Refused)?;
        Ok(Some((parsed.checksums, parsed.text)))
    }

    fn write(
        &self,
        id: MigrationId,
        state: EntryState,
        event: LedgerEvent,
    ) -> Result<EntryWrite, EngineError> {
        let known = self.entry(id);
        Ok(EntryWrite {
            id,
            name: self.name(id)?,
            state,
            pass: known.map_or(1, |entry| entry.pass.max(1)),
            content: None,
            baseline: known.is_some_and(|entry| entry.baseline),
            by_environment: false,
            reason: None,
            error: None,
            output: None,
            event,
            run: self.run.to_owned(),
        })
    }

    fn one(write: EntryWrite) -> Change {
        Change { writes: vec![write], ..Change::default() }
    }

    pub(super) fn skip(&self, version: Version, because: &str) -> Result<Change, EngineError> {
        let id = MigrationId::data(version);
        let mut write = self.write(id, EntryState::Skipped, LedgerEvent::Skip)?;
        match self.entry(id).map(|entry| entry.state) {
            Some(EntryState::Applied) => {
                return Err(refuse(
                    "not-pending",
                    format!("{id} is done"),
                    "nothing is to be skipped",
                ));
            }
            Some(EntryState::Retired) => {
                return Err(refuse(
                    "not-pending",
                    format!("{id} is retired"),
                    "it will never run anyway",
                ));
            }
            _ => {}
        }
        self.refuse_half_way(id, "skipped")?;
        write.reason = Some(because.to_owned());
        write.content = self.content(id)?;
        Ok(Self::one(write))
    }

    /// Statements of the present pass that are done, those apart that only set up their session.
    fn kept(&self, id: MigrationId) -> Result<usize, EngineError> {
        let pass = self.entry(id).map_or(1, |entry| entry.pass.max(1));
        let steps = self.standing.ledger.steps.iter();
        let done: Vec<usize> = steps
            .filter(|step| (step.id, step.direction, step.pass) == (id, Direction::Up, pass))
            .filter(|step| step.state == StepState::Done)
            .map(|step| step.ordinal as usize)
            .collect();
        let Some(file) = self.job.folder.files.get(&id).filter(|_| !done.is_empty()) else {
            return Ok(done.len());
        };
        let parsed = file.parse(self.job.connector.dialect()).map_err(EngineError::Refused)?;
        let acts = |index: &&usize| {
            let statement = parsed.statements().get(**index);
            statement.is_none_or(|one| !one.facts.changes_session || one.facts.may_act)
        };
        Ok(done.iter().filter(acts).count())
    }

    /// Of a migration that stopped between its statements some are kept. Out of sight, it would begin
    /// at its first one when somebody wants it again, and do those twice.
    fn refuse_half_way(&self, id: MigrationId, becomes: &str) -> Result<(), EngineError> {
        let kept = match self.kept(id)? {
            0 => return Ok(()),
            1 => "1 of its statements is kept".to_owned(),
            count => format!("{count} of its statements are kept"),
        };
        let version = id.version;
        Err(refuse(
            "half-way",
            format!(
                "{id} stopped half-way: {kept}, so it can't be {becomes} as if nothing had run"
            ),
            format!(
                "finish it: `dunlin data run {version}`. What can't be done any more may be taken out \
                 of the file, behind what ran; the same command then records it as done"
            ),
        ))
    }

    pub(super) fn rerun(&self, version: Version) -> Result<Change, EngineError> {
        let id = MigrationId::data(version);
        let mut write = self.write(id, EntryState::Pending, LedgerEvent::Rerun)?;
        if !self.job.folder.files.contains_key(&id) {
            return Err(refuse(
                "missing-file",
                format!("{id} has no file here, so it can't run again"),
                "check out the branch that has it",
            ));
        }
        if self.job.folder.retired.contains_key(&version) {
            return Err(refuse(
                "retired",
                format!("{id} is retired"),
                "take it out of retired.toml first",
            ));
        }
        match self.entry(id) {
            // Never run, or to be tried again anyway: the present pass is the one to come.
            None => return Ok(Change::default()),
            Some(entry) if entry.state.is_pending() && !self.goes_on_half_way(id, entry)? => {
                return Ok(Change::default());
            }
            // Somebody skipped what had stopped between its statements: it goes on behind those.
            Some(entry) if entry.state == EntryState::Skipped && self.kept(id)? > 0 => {
                return Ok(Self::one(write));
            }
            Some(_) => {}
        }
        write.pass = write.pass.saturating_add(1);
        Ok(Self::one(write))
    }

    /// Whether the next try would go on where the last one stopped.
    fn goes_on_half_way(&self, id: MigrationId, entry: &Entry) -> Result<bool, EngineError> {
        if !matches!(entry.state, EntryState::Running | EntryState::Failed) {
            return Ok(false);
        }
        let Some(file) = self.job.folder.files.get(&id) else { return Ok(false) };
        let parsed = file.parse(self.job.connector.dialect()).map_err(EngineError::Refused)?;
        Ok(parsed.chunking().is_some())
    }

    pub(super) fn retire(
        &self,
        version: Version,
        because: Option<&str>,
    ) -> Result<Change, EngineError> {
        let id = MigrationId::data(version);
        let mut write = self.write(id, EntryState::Retired, LedgerEvent::Retire)?;
        let state = self.entry(id).map(|entry| entry.state);
        if state.is_none_or(EntryState::is_pending) && because.is_none() {
            return Err(refuse(
                "pending",
                format!("{id} is pending in this database: retired, it would never run here"),
                "run it first, or say why it is not needed with --because \"…\"",
            ));
        }
        self.refuse_half_way(id, "retired")?;
        // Retiring it again without a reason takes none away.
        let said = self.entry(id).filter(|entry| entry.state == EntryState::Retired);
        write.reason =
            because.map(str::to_owned).or_else(|| said.and_then(|entry| entry.reason.clone()));
        // What ran here stays as it was recorded; only what never ran is taken from the file.
        let recorded = self.entry(id).is_some_and(|entry| entry.checksums.is_some());
        write.content = if recorded { None } else { self.content(id)? };
        Ok(Self::one(write))
    }

    pub(super) fn accept(&self, version: Version, because: &str) -> Result<Change, EngineError> {
        let planning = Planning::new(self.job);
        let drifted: Vec<Drift> = drift(&planning.inputs(self.standing))
            .into_iter()
            .filter(|drift| drift.id.version == version)
            .collect();
        let mut writes = Vec::new();
        writes.extend(self.accept_half_way(MigrationId::data(version), because)?);
        if drifted.is_empty() && writes.is_empty() {
            return Err(refuse(
                "no-drift",
                format!("no applied migration of version {version} has drifted"),
                "`dunlin status` shows drift",
            ));
        }
        for drift in &drifted {
            let mut write = self.write(drift.id, EntryState::Applied, LedgerEvent::Accept)?;
            write.reason = Some(because.to_owned());
            write.content = self.content(drift.id)?;
            writes.push(write);
        }
        Ok(Change { writes, ..Change::default() })
    }

    /// The rest of a backfill is to be done by another text than it began with.
    fn accept_half_way(
        &self,
        id: MigrationId,
        because: &str,
    ) -> Result<Option<EntryWrite>, EngineError> {
        let Some(entry) = self.entry(id) else { return Ok(None) };
        if !self.goes_on_half_way(id, entry)? {
            return Ok(None);
        }
        let (Some(recorded), Some((found, text))) = (&entry.checksums, self.content(id)?) else {
            return Ok(None);
        };
        if found.agrees_with(recorded) {
            return Ok(None);
        }
        let mut write = self.write(id, entry.state, LedgerEvent::Accept)?;
        write.reason = Some(because.to_owned());
        write.error.clone_from(&entry.error);
        write.content = Some((found, text));
        Ok(Some(write))
    }

    pub(super) fn baseline(&self, to: Version) -> Result<Change, EngineError> {
        let planning = Planning::new(self.job);
        let ids = baseline(&planning.inputs(self.standing), to).map_err(EngineError::Refused)?;
        let steps = &self.standing.ledger.steps;
        if let Some(id) = ids.iter().find(|id| steps.iter().any(|step| step.id == **id)) {
            return Err(refuse(
                "half-way",
                format!("{id} stopped half-way: some of its statements are kept"),
                "finish it with `dunlin migrate` first",
            ));
        }
        let mut writes = Vec::new();
        for id in ids {
            let mut write = self.write(id, EntryState::Applied, LedgerEvent::Baseline)?;
            write.baseline = true;
            write.content = self.content(id)?;
            writes.push(write);
        }
        Ok(Change { writes, under_schema: true, ..Change::default() })
    }

    pub(super) fn settle(
        &self,
        version: Version,
        took_effect: bool,
    ) -> Result<Change, EngineError> {
        let open = self
            .standing
            .ledger
            .steps
            .iter()
            .find(|step| step.id.version == version && step.state == StepState::Open);
        let Some(step) = open.cloned() else {
            return Err(refuse(
                "nothing-open",
                format!("no step of a migration of version {version} is open"),
                "`dunlin status` shows migrations that stopped half-way",
            ));
        };
        let Some(file) = self.job.folder.files.get(&step.id) else {
            return Err(refuse(
                "missing-file",
                format!("{} has no file here", step.id),
                "check out the branch that has it",
            ));
        };
        let migration =
            file.parse_with_down(self.job.connector.dialect()).map_err(EngineError::Refused)?;
        let mut entry = self.write(step.id, EntryState::Applied, LedgerEvent::Up)?;
        let (mut resets, mut held) = (Vec::new(), Vec::new());
        let statements = match step.direction {
            Direction::Up => migration.statements().to_vec(),
            Direction::Down => {
                entry.state = EntryState::Pending;
                entry.event = LedgerEvent::Down;
                // It may be the last statement, which takes with it what came after.
                let planning = Planning::new(self.job);
                held = comes_after(&planning.inputs(self.standing), step.id)?;
                for id in came_after(&planning.inputs(self.standing), step.id)? {
                    let mut reset = self.write(id, EntryState::Pending, LedgerEvent::Reset)?;
                    reset.pass = reset.pass.saturating_add(1);
                    reset.baseline = false;
                    resets.push(reset);
                }
                migration.down.as_ref().map(|down| down.statements.clone()).unwrap_or_default()
            }
        };
        entry.content = (step.direction == Direction::Up)
            .then(|| (migration.checksums.clone(), migration.text.clone()));
        let state = if took_effect { StepState::Done } else { StepState::Failed };
        let work = Box::new(Work {
            direction: step.direction,
            statements,
            entry,
            resets,
            lock_timeout: self.job.limits.lock_timeout,
            statement_timeout: self.job.limits.statement_timeout,
            foreign_keys_off: false,
        });
        Ok(Change { settle: Some((step, state, work)), held, ..Change::default() })
    }
}
