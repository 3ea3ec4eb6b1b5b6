//! `move status` and `move reopen`.

use std::sync::Arc;
use std::time::Duration;

use dunlin::engine::events::Silent;
use dunlin::engine::job::Urgency;
use dunlin::engine::moves;
use serde_json::{Value, json};

use super::{Opened, open};
use crate::args::{MoveReopenArgs, MoveStatusArgs};
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::interrupt::only_looking;
use crate::render::moves::{under_way, under_way_json};
use crate::render::{self, live};

/// How often a watcher reads.
const READ_EVERY: Duration = Duration::from_secs(1);

/// How it stands; with `--watch` again and again.
pub(super) async fn status(context: &Context, args: &MoveStatusArgs) -> Result<Exit, CliError> {
    let opened = open(context, &args.name, "move status", Arc::new(Silent))?;
    if !args.watch {
        let (document, lines, _) = look(&opened, &args.name).await?;
        if context.global.json {
            render::json(&document);
        } else {
            lines.iter().for_each(|line| render::data(line));
        }
        return Ok(Exit::Done);
    }
    only_looking();
    let terminal = !context.global.json && render::data_is_watched();
    let mut told = Vec::new();
    loop {
        let (document, lines, is_at_work) = look(&opened, &args.name).await?;
        if context.global.json {
            render::json_line(&document);
        } else if terminal {
            live::data(&lines);
        } else if lines != told {
            lines.iter().for_each(|line| render::data(line));
            told = lines;
        }
        // Where nobody can press Ctrl-C, it ends with the run.
        if !terminal && !is_at_work {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(READ_EVERY) => {}
            () = context.interrupt.reached(Urgency::Finish) => break,
        }
    }
    live::leave();
    if terminal {
        // The last line that was drawn has no end yet.
        render::data("");
    }
    Ok(Exit::Done)
}

/// For programs, for people, and whether somebody is at work on it.
async fn look(opened: &Opened, name: &str) -> Result<(Value, Vec<String>, bool), CliError> {
    let mut target =
        opened.job.target.move_target().await.map_err(|error| opened.error(error.into()))?;
    let state =
        moves::standing(target.as_mut(), name).await.map_err(|error| opened.error(error.into()))?;
    let dropped =
        moves::dropped(target.as_mut(), name).await.map_err(|error| opened.error(error.into()))?;
    let latest =
        moves::under_way(&opened.job.job, name).await.map_err(|error| opened.error(error))?;
    let holder = latest.as_ref().and_then(|latest| latest.holder.as_ref());
    let run = latest.as_ref().map(|latest| under_way_json(&latest.record, holder));
    let document = json!({
        "name": name,
        "runs": state.as_ref().map_or(0, |state| state.runs),
        "verified": state.as_ref().is_some_and(|state| state.verified),
        "finished": state.as_ref().is_some_and(|state| state.finished),
        "reopened": state.as_ref().map_or(&[][..], |state| &state.reopened),
        "run": run,
        "dropped": dropped,
        "exit_code": 0,
    });
    let text = match (&state, holder) {
        (None, None) => "has never run".to_owned(),
        (None, Some(_)) => "its first run".to_owned(),
        (Some(state), Some(_)) => render::count(state.runs as usize, "run"),
        (Some(state), None) => format!(
            "{}, the last {}{}",
            render::count(state.runs as usize, "run"),
            if state.verified { "verified" } else { "not verified" },
            if state.finished { "; finished" } else { "" }
        ),
    };
    let mut lines = vec![format!("{name}: {text}")];
    let reopened = state.iter().flat_map(|state| &state.reopened);
    lines.extend(reopened.map(|because| format!("  reopened: {because}")));
    if let Some(latest) = &latest {
        lines.extend(under_way(&latest.record, holder));
    }
    // While somebody is at work on it, that is as it should be.
    if let (Some(dropped), None) = (&dropped, holder) {
        lines.extend(render::moves::dropped(name, dropped));
    }
    Ok((document, lines, holder.is_some()))
}

/// Allows runs again.
pub(super) async fn reopen(context: &Context, args: &MoveReopenArgs) -> Result<Exit, CliError> {
    let opened = open(context, &args.name, "move reopen", Arc::new(Silent))?;
    moves::reopen(&opened.job, &args.because).await.map_err(|error| opened.error(error))?;
    if context.global.json {
        render::json(&json!({ "name": args.name, "exit_code": 0 }));
        return Ok(Exit::Done);
    }
    render::line(&format!("{} may run again", args.name));
    Ok(Exit::Done)
}
