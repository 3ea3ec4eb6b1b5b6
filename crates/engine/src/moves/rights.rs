//! What this login may not do of what a move does: told beforehand and all at once, not one by one as
//! a run comes to it.

use dunlin_model::moves::IdKind;
use dunlin_model::{Diagnostic, Severity};

use super::plan::{MovePlan, PlannedRule};
use super::ports::{MoveTarget, Written};
use super::run::MoveJob;
use super::writable::refusals;
use crate::TargetError;
use crate::report::EngineError;

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

/// What a run of this move would lack, as warnings.
///
/// # Errors
/// The database's.
pub async fn lacked(move_job: &MoveJob, plan: &MovePlan) -> Result<Vec<Diagnostic>, EngineError> {
    let mut target = move_job.target.move_target().await?;
    let lacked = ask(plan, target.as_mut()).await?;
    let rights = lacked.iter().map(|one| one.told(Diagnostic::warning));
    let others = refusals(plan, target.as_mut()).await?;
    let others = others.into_iter().map(|one| Diagnostic { severity: Severity::Warning, ..one });
    Ok(rights.chain(others).collect())
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
