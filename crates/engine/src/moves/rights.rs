//! What this login may not do of what a move does: told beforehand and all at once, not one by one as
//! a run comes to it.

use dunlin_model::moves::IdKind;
use dunlin_model::{Diagnostic, Place};
use tokio::sync::mpsc;

use super::plan::{MovePlan, PlannedRule};
use super::ports::{Extract, MoveTarget, Source, Written};
use super::run::MoveJob;
use super::writable::refusals;
use crate::report::EngineError;
use crate::{ErrorKind, TargetError};

/// What is done to a table.
#[derive(Debug, Clone, Copy)]
pub struct Doing<'a> {
    /// The table, and the columns that are written.
    pub written: &'a Written,
    /// The column whose numbers the database gives, where the move takes some or raises them.
    pub numbered: Option<&'a str>,
}

/// A right that this login does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LackedRight {
    /// What it may not do: "this login may not insert into public.users".
    pub what: String,
    /// The statement that gives it the right.
    pub grant: String,
    /// No run gets by without it; without others it fails once rows change, or are gone.
    pub is_needed_always: bool,
}

impl LackedRight {
    fn told(&self, make: impl Fn(&'static str, String) -> Diagnostic) -> Diagnostic {
        make("rights", self.what.clone()).help(format!("as its owner: {};", self.grant))
    }
}

/// What a run of this move would lack: errors, where no run gets by without it, and else warnings.
///
/// # Errors
/// The databases'.
pub async fn lacked(
    move_job: &MoveJob,
    plan: &MovePlan,
    source: &mut dyn Source,
) -> Result<Vec<Diagnostic>, EngineError> {
    let mut found = unreadable(move_job, plan, source).await?;
    let mut target = move_job.target.move_target().await?;
    let tables = ask(plan, target.as_mut()).await?;
    let ledger = target.lacked_for_ledger().await?;
    found.extend(tables.iter().chain(&ledger).map(|one| match one.is_needed_always {
        true => one.told(Diagnostic::error),
        false => one.told(Diagnostic::warning),
    }));
    found.extend(refusals(plan, target.as_mut()).await?);
    Ok(found)
}

/// Old tables and queries that this login may not read: only reading tells, so each is begun.
async fn unreadable(
    move_job: &MoveJob,
    plan: &MovePlan,
    source: &mut dyn Source,
) -> Result<Vec<Diagnostic>, EngineError> {
    let mut found = Vec::new();
    // Files have been looked at for their columns.
    if move_job.source.dialect().is_none() {
        return Ok(found);
    }
    for from in plan.sources.iter().filter(|from| !from.rules.is_empty()) {
        let relation = &from.relation;
        let none_of = |query: &String| {
            format!("SELECT * FROM (\n{}\n) AS q LIMIT 0", query.trim_end().trim_end_matches(';'))
        };
        let extract = Extract {
            table: relation.name.clone(),
            query: relation.query.as_ref().map(none_of),
            fields: from.key.iter().map(|place| relation.fields[*place].clone()).collect(),
            order: Vec::new(),
            only: Vec::new(),
            batch_bytes: 1,
        };
        // Nobody takes what comes, which ends it.
        let (batches, received) = mpsc::channel(1);
        drop(received);
        match source.read(&extract, &batches).await {
            Err(error) if error.kind == ErrorKind::Permission => {
                let message = format!("{}: {}", plan.mapping.source.value, error.message);
                let rule = &plan.rules[from.rules[0]].rule;
                let mut told = Diagnostic::error("rights", message)
                    .at(Place::line(plan.mapping.file.clone(), rule.from.line));
                told.help = error.help;
                found.push(told);
            }
            // What else there is to say of reading, a run says.
            _ => {}
        }
    }
    Ok(found)
}

/// Refuses a run that can't get by, before anything is written.
pub(super) async fn check(plan: &MovePlan, target: &mut dyn MoveTarget) -> Result<(), EngineError> {
    let lacked = ask(plan, target).await?;
    let needed: Vec<Diagnostic> = lacked
        .iter()
        .filter(|one| one.is_needed_always)
        .map(|one| one.told(Diagnostic::error))
        .chain(refusals(plan, target).await?)
        .collect();
    if needed.is_empty() { Ok(()) } else { Err(EngineError::Refused(needed)) }
}

async fn ask(
    plan: &MovePlan,
    target: &mut dyn MoveTarget,
) -> Result<Vec<LackedRight>, TargetError> {
    let mut all: Vec<LackedRight> = Vec::new();
    for rule in &plan.rules {
        let doing = Doing { written: &rule.written, numbered: numbered(plan, rule) };
        for one in target.lacked_rights(doing).await? {
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    Ok(all)
}

/// Kept ids raise the numbers of their column, assigned ones are taken from them.
fn numbered<'a>(plan: &MovePlan, rule: &'a PlannedRule) -> Option<&'a str> {
    let field = &rule.written.fields[rule.id_field?];
    let is_numbered = match plan.namespaces[rule.makes?].spec.kind {
        IdKind::Keep => field.is_numbered(),
        IdKind::Assigned => true,
        _ => false,
    };
    is_numbered.then_some(field.name.as_str())
}
