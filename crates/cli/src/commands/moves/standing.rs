//! `move status` and `move reopen`.

use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::moves;
use serde_json::json;

use super::open;
use crate::args::MoveReopenArgs;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;

/// How it stands.
pub(super) async fn status(context: &Context, name: &str) -> Result<Exit, CliError> {
    let opened = open(context, name, "move status", Arc::new(Silent))?;
    let mut target =
        opened.job.target.move_target().await.map_err(|error| opened.error(error.into()))?;
    let state =
        moves::standing(target.as_mut(), name).await.map_err(|error| opened.error(error.into()))?;
    let dropped =
        moves::dropped(target.as_mut(), name).await.map_err(|error| opened.error(error.into()))?;
    if context.global.json {
        render::json(&json!({
            "name": name,
            "runs": state.as_ref().map_or(0, |state| state.runs),
            "verified": state.as_ref().is_some_and(|state| state.verified),
            "finished": state.as_ref().is_some_and(|state| state.finished),
            "dropped": dropped,
            "exit_code": 0,
        }));
        return Ok(Exit::Done);
    }
    let text = match state {
        None => "has never run".to_owned(),
        Some(state) => format!(
            "{}, the last {}{}",
            render::count(state.runs as usize, "run"),
            if state.verified { "verified" } else { "not verified" },
            if state.finished { "; finished" } else { "" }
        ),
    };
    render::data(&format!("{name}: {text}"));
    if let Some(dropped) = dropped {
        render::moves::dropped(name, &dropped);
    }
    Ok(Exit::Done)
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
