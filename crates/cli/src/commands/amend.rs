//! `baseline`, `accept`, `settle`: changes to the ledger's own records.

use std::sync::Arc;

use dunlin::engine::amend::{Amended, Amendment, amend, preview_amendment};
use dunlin::engine::events::Silent;
use dunlin::model::{LedgerEvent, MigrationId};
use serde_json::json;

use super::rollback::confirm;
use crate::args::{AcceptArgs, BaselineArgs, Outcome, SettleArgs};
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render::{self, BOLD, styled};

/// Makes an amendment on the one database and says what changed.
pub(crate) async fn tell(
    context: &Context,
    command: &str,
    amendment: &Amendment,
) -> Result<Exit, CliError> {
    let database = context.only_database(command)?;
    let job = context.job(database, command, super::migrate::observer(context))?;
    let amended =
        amend(&job, amendment).await.map_err(|error| engine_error(&job.database, error))?;
    show(context, &job.database, amendment, &amended);
    Ok(Exit::Done)
}

fn show(context: &Context, database: &str, amendment: &Amendment, amended: &Amended) {
    let ids: Vec<&MigrationId> = amended.changed.iter().map(|(id, _)| id).collect();
    if context.global.json {
        render::json(&json!({ "database": database, "changed": ids, "exit_code": 0 }));
        return;
    }
    let what = match amendment {
        Amendment::Skip { .. } => "is recorded as skipped; gates that wait for it stay shut",
        Amendment::Rerun { .. } => "is pending again",
        Amendment::Retire { .. } => "is retired",
        Amendment::Accept { .. } => "is recorded with its new text",
        Amendment::Baseline { .. } => "is recorded as applied",
        Amendment::Settle { took_effect: true, .. } => "",
        Amendment::Settle { took_effect: false, .. } => "",
    };
    for (id, name) in &amended.changed {
        let title = render::migration(id.kind, id.version, name);
        render::line(&format!("{database}: {title} {what}"));
    }
    if let Some(step) = &amended.settled {
        let how = match amendment {
            Amendment::Settle { took_effect: true, .. } => {
                "took effect: the next run goes on after it"
            }
            _ => "did not take effect: the next run sends it again",
        };
        render::line(&format!("{database}: {}, statement {}: {how}", step.id, step.ordinal + 1));
    }
    if amended.changed.is_empty() && amended.settled.is_none() {
        render::line(&format!("{database}: nothing to record"));
    }
}

/// Shows what would be declared applied, asks, and declares it.
pub(crate) async fn baseline(context: &Context, args: &BaselineArgs) -> Result<Exit, CliError> {
    let database = context.only_database("baseline")?;
    let job = context.job(database, "baseline", Arc::new(Silent))?;
    let amendment = Amendment::Baseline { to: args.to };
    let ids = preview_amendment(&job, &amendment)
        .await
        .map_err(|error| engine_error(&job.database, error))?;
    if ids.is_empty() {
        if context.global.json {
            render::json(&json!({ "database": job.database, "changed": ids, "exit_code": 0 }));
            return Ok(Exit::Done);
        }
        render::line(&format!("{}: everything up to {} is recorded", job.database, args.to));
        return Ok(Exit::Done);
    }
    if !context.global.json {
        let title = format!(
            "{}: these become recorded as applied, and will never be run on {}:",
            job.database,
            job.connector.describe()
        );
        render::line(&styled(BOLD, &title));
        for id in &ids {
            let name = job.folder.files.get(id).map_or("", |file| file.name.as_str());
            render::line(&format!("  {}", render::migration(id.kind, id.version, name)));
        }
        render::line("nothing is run, and nothing but the ledger is changed");
    }
    confirm(&args.yes, "Declare this?", "it declares what is shown above")?;
    tell(context, LedgerEvent::Baseline.as_str(), &amendment).await
}

/// Takes the new text of a migration that was edited.
pub(crate) async fn accept(context: &Context, args: &AcceptArgs) -> Result<Exit, CliError> {
    let because = args.because.clone();
    tell(context, "accept", &Amendment::Accept { version: args.version, because }).await
}

/// Records what a person found out about an open step.
pub(crate) async fn settle(context: &Context, args: &SettleArgs) -> Result<Exit, CliError> {
    let took_effect = args.outcome == Outcome::TookEffect;
    tell(context, "settle", &Amendment::Settle { version: args.version, took_effect }).await
}
