//! Where a database stands: what two round trips tell.

use std::collections::BTreeSet;

use dunlin_model::{Capabilities, Diagnostic, ForeignHistory, LedgerView, MigrationId, Plan};
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
            Request::Back(scope) => rollback(&inputs, *scope)?,
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
