//! Where a database stands: what two round trips tell.

use std::collections::BTreeSet;

use dunlin_model::{
    Action, Capabilities, Diagnostic, Entry, EntryState, ForeignHistory, Kind, LedgerView,
    MigrationId, Plan, PlannedStep,
};
use dunlin_project::history;
use dunlin_project::plan::{Inputs, Parsed, RollbackScope, Scope, parse, plan, rollback};

use crate::job::{Job, Urgency};
use crate::report::EngineError;
use crate::{ErrorKind, Purpose, ReadAnswer, ReadRequest, ServerFacts, Target, TargetError};

/// What a database says about itself, its ledger and another tool's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The server.
    pub server: ServerFacts,
    /// Our ledger; empty where there is none.
    pub ledger: LedgerView,
    /// Another tool's history, if one was found.
    pub foreign: Option<ForeignHistory>,
    /// Whether the database is there; a run would make one that is not.
    pub there: bool,
}

impl Standing {
    /// What of every migration's row decides whether and how something runs.
    pub(crate) fn rows(&self) -> Vec<(MigrationId, EntryState, u32)> {
        let entries = self.ledger.entries.iter();
        entries.map(|(id, entry)| (*id, entry.state, entry.pass)).collect()
    }

    /// Keeps our copy of the ledger as the commit of a step left it, so that planning again needs
    /// no read.
    pub(crate) fn take_over(&mut self, step: &PlannedStep) {
        let id = step.migration.id;
        self.ledger.steps.retain(|record| record.id != id);
        self.ledger.entries.insert(id, entry_after(step));
        let Action::Down { resets } = &step.action else { return };
        for reset in resets {
            if let Some(entry) = self.ledger.entries.get_mut(reset) {
                entry.state = EntryState::Pending;
                entry.pass = entry.pass.saturating_add(1);
            }
        }
    }

    /// What the plan overtakes and the ledger has never seen: what it leaves out, and what it runs
    /// only after something of a higher version, should it come no further than that.
    pub(crate) fn passed_over(&self, plan: &Plan) -> Vec<(MigrationId, String)> {
        let (mut schema, mut data) = (None, None);
        let mut overtaken = Vec::new();
        for step in &plan.steps {
            let id = step.migration.id;
            let newest = if id.kind == Kind::Schema { &mut schema } else { &mut data };
            if newest.is_some_and(|newest| id < newest) {
                overtaken.push((id, &step.migration.name));
            }
            *newest = (*newest).max(Some(id));
        }
        let held = plan.held.iter().map(|one| (one.id, &one.name));
        let deferred = plan.deferred.iter().map(|one| (one.id, &one.name));
        let left_out = held.chain(deferred).filter(|(id, _)| {
            let newest = if id.kind == Kind::Schema { schema } else { data };
            newest.is_some_and(|newest| *id < newest)
        });
        overtaken
            .into_iter()
            .chain(left_out)
            .filter(|(id, _)| !self.ledger.entries.contains_key(id))
            .map(|(id, name)| (id, name.clone()))
            .collect()
    }
}

/// The ledger's row as a finished step leaves it, without times.
fn entry_after(step: &PlannedStep) -> Entry {
    let (state, pass, reason) = match &step.action {
        Action::Up => (EntryState::Applied, step.pass, None),
        Action::Down { .. } => (EntryState::Pending, step.pass, None),
        Action::Skip { reason } => (EntryState::Skipped, step.pass, Some(reason.clone())),
    };
    Entry {
        name: step.migration.name.clone(),
        state,
        pass,
        checksums: Some(step.migration.checksums.clone()),
        baseline: false,
        by_environment: state == EntryState::Skipped,
        reason,
        error: None,
        started_at: None,
        finished_at: None,
        duration_ms: None,
    }
}

/// Reads where a database stands. Two round trips; writes nothing.
///
/// # Errors
/// The database, or a history that was asked for and is not there.
pub async fn read(job: &Job, target: &mut dyn Target) -> Result<Standing, EngineError> {
    let candidates = if job.ignore_history { &[] } else { history::candidate_tables() };
    let probe = target.probe(candidates).await?;
    let recognised = if job.ignore_history {
        None
    } else {
        history::recognise(&probe.tables, job.schema_history).map_err(|message| {
            EngineError::Refused(vec![
                Diagnostic::error("schema-history", message)
                    .help("set schema_history in dunlin.toml to the tool that owns this schema, or to \"none\""),
            ])
        })?
    };
    let (tool, query) = match recognised {
        Some((tool, query)) => (Some(tool), Some(query)),
        None => (None, None),
    };
    let answer = if probe.ledger || query.is_some() {
        let request = ReadRequest { ledger: probe.ledger, foreign: query.clone() };
        target.read(&request).await?
    } else {
        ReadAnswer::default()
    };
    // The files may have been read meanwhile.
    job.folder.ready()?;
    let foreign = tool.zip(query).map(|(tool, query)| history::decode(tool, &query, &answer.rows));
    Ok(Standing { server: probe.server, ledger: answer.ledger, foreign, there: true })
}

/// Connects and reads, for commands that only look. Where a run would make the database, one that
/// is not there yet is an empty one.
///
/// # Errors
/// As [`read`]; an interrupt, since nothing is lost by not looking on.
pub async fn look(job: &Job) -> Result<Standing, EngineError> {
    tokio::select! {
        biased;
        () = job.interrupt.reached(Urgency::Finish) => Err(EngineError::Interrupted),
        looked = look_through(job) => looked,
    }
}

async fn look_through(job: &Job) -> Result<Standing, EngineError> {
    match job.connector.connect(Purpose::Look).await {
        Ok(mut target) => read(job, target.as_mut()).await,
        Err(error)
            if error.kind == ErrorKind::NoSuchDatabase
                && Capabilities::of(job.connector.dialect()).made_by_run =>
        {
            job.folder.ready()?;
            Ok(not_there_yet(job))
        }
        Err(error) => Err(error.into()),
    }
}

fn not_there_yet(job: &Job) -> Standing {
    let product = job.connector.dialect().title();
    let place = job.connector.describe();
    // A place begins with the product, which is said already.
    let place = place.strip_prefix(product).unwrap_or(&place).trim_start();
    let server = ServerFacts {
        product: product.to_owned(),
        database: format!("{place}: not there yet"),
        user: String::new(),
        pooled: false,
        read_only: None,
    };
    Standing { server, ledger: LedgerView::default(), foreign: None, there: false }
}

/// The recorded text of a migration.
///
/// # Errors
/// The database.
pub async fn recorded_text(job: &Job, id: MigrationId) -> Result<Option<String>, TargetError> {
    let mut target = job.connector.connect(Purpose::Look).await?;
    target.text(id).await
}

/// What is being planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Forward.
    Forward(Scope),
    /// Back.
    Back(RollbackScope),
}

/// Plans for one database, keeping parsed files and this run's failures between plans.
pub struct Planning<'a> {
    job: &'a Job,
    capabilities: Capabilities,
    parsed: Parsed,
    /// Migrations that failed in this run.
    pub failed: BTreeSet<MigrationId>,
}

impl<'a> Planning<'a> {
    /// Nothing parsed, nothing failed.
    #[must_use]
    pub fn new(job: &'a Job) -> Self {
        Self {
            job,
            capabilities: Capabilities::of(job.connector.dialect()),
            parsed: Parsed::new(),
            failed: BTreeSet::new(),
        }
    }

    /// The plan for a request at a standing.
    ///
    /// # Errors
    /// Whatever is wrong with files or request; drift.
    pub fn plan(&mut self, standing: &Standing, request: &Request) -> Result<Plan, EngineError> {
        parse(&self.job.folder, &standing.ledger, self.capabilities.dialect, &mut self.parsed)
            .map_err(EngineError::Refused)?;
        let inputs = self.inputs(standing);
        Ok(match request {
            Request::Forward(scope) => plan(&inputs, scope)?,
            Request::Back(scope) => rollback(&inputs, scope)?,
        })
    }

    /// The inputs of planning at a standing, for other questions to them.
    #[must_use]
    pub fn inputs<'b>(&'b self, standing: &'b Standing) -> Inputs<'b> {
        Inputs {
            capabilities: &self.capabilities,
            folder: &self.job.folder,
            parsed: &self.parsed,
            ledger: &standing.ledger,
            foreign: standing.foreign.as_ref(),
            policy: &self.job.policy,
            failed: &self.failed,
        }
    }
}
