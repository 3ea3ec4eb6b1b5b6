//! Whether rows can be written as the rules ask for it: with triggers off, above all.

use dunlin_model::{Diagnostic, Place};

use super::plan::MovePlan;
use super::ports::MoveTarget;
use crate::{ErrorKind, TargetError};

/// What this database, or this login, can't write as a rule asks for it: each at its rule's line.
pub(super) async fn refusals(
    plan: &MovePlan,
    target: &mut dyn MoveTarget,
) -> Result<Vec<Diagnostic>, TargetError> {
    let mut found = Vec::new();
    for rule in &plan.rules {
        let Err(error) = target.may_write(&rule.written).await else { continue };
        let is_answer = matches!(
            error.kind,
            ErrorKind::Permission
                | ErrorKind::ReadOnly
                | ErrorKind::Unsupported
                | ErrorKind::Refused
        );
        if !is_answer {
            return Err(error);
        }
        let message = format!("into.{}: {}", rule.rule.name, error.message);
        let mut told = Diagnostic::error("not-writable", message);
        told.place = Some(Place::line(plan.mapping.file.clone(), rule.rule.line));
        told.help = error.help;
        found.push(told);
    }
    Ok(found)
}
