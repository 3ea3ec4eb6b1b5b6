//! `move pause`, `resume`, `cancel`, `set`: what a person wants is written to the ledger, and the
//! runner answers with the fact.

use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::moves::{self, UnderWay};
use dunlin::model::{IntentChange, Wish};
use serde_json::json;

use super::{Opened, open};
use crate::args::MoveSetArgs;
use crate::commands::tempo::Tempo;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;

/// Writes a wish.
pub(super) async fn wish(context: &Context, name: &str, wish: Wish) -> Result<Exit, CliError> {
    let command = match wish {
        Wish::Run => "move resume",
        Wish::Pause => "move pause",
        Wish::Cancel => "move cancel",
    };
    let opened = open(context, name, command, Arc::new(Silent))?;
    let known = known(&opened, name).await?;
    if wish == Wish::Pause && known.record.intent.wish == Wish::Cancel {
        return Err(CliError::NoSuch {
            message: format!("the move {name} is cancelled: nothing of it is to be paused"),
            help: format!("`dunlin move resume {name}` takes the cancelling back"),
        });
    }
    let told = match wish {
        Wish::Run => "is to go on",
        Wish::Pause => "is to pause",
        Wish::Cancel => "is to stop; what is written stays",
    };
    change(context, &opened, name, Some(wish), Tempo::default(), told).await
}

/// Changes how fast it goes; whether it goes stays as it is.
pub(super) async fn set(context: &Context, args: &MoveSetArgs) -> Result<Exit, CliError> {
    let tempo = Tempo::parse(&args.settings)?;
    let opened = open(context, &args.name, "move set", Arc::new(Silent))?;
    known(&opened, &args.name).await?;
    let told = format!("is to run with {}", tempo.told());
    change(context, &opened, &args.name, None, tempo, &told).await
}

async fn known(opened: &Opened, name: &str) -> Result<UnderWay, CliError> {
    let found =
        moves::under_way(&opened.job.job, name).await.map_err(|error| opened.error(error))?;
    found.ok_or_else(|| CliError::NoSuch {
        message: format!("{}: the move {name} has never run here", opened.target),
        help: format!("`dunlin move run {name}` runs it"),
    })
}

async fn change(
    context: &Context,
    opened: &Opened,
    name: &str,
    wish: Option<Wish>,
    tempo: Tempo,
    told: &str,
) -> Result<Exit, CliError> {
    let Tempo { workers, rate } = tempo;
    let wanted = IntentChange { wish, by: Some(context.person()), workers, rate };
    let job = &opened.job.job;
    moves::intend(job, name, &wanted).await.map_err(|error| opened.error(error))?;
    let UnderWay { record, holder } = known(opened, name).await?;
    if context.global.json {
        render::json(&json!({
            "name": name, "run": render::moves::under_way_json(&record, holder.as_ref()),
            "exit_code": 0,
        }));
        return Ok(Exit::Done);
    }
    match &holder {
        Some(holder) => render::line(&format!(
            "{name} {told}; its runner on {} (process {}) takes it within a chunk",
            holder.owner.host, holder.owner.pid
        )),
        None => {
            render::line(&format!("{name} {told}; nobody is at work on it"));
            if record.intent.wish != Wish::Run {
                render::line(&format!("  it does not run until `dunlin move resume {name}`"));
            }
        }
    }
    Ok(Exit::Done)
}
