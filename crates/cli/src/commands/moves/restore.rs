//! `move restore`: brings back what a run that died has left dropped.

use std::sync::Arc;

use dunlin::engine::moves;
use serde_json::json;

use super::open;
use crate::args::MoveRestoreArgs;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;
use crate::render::progress::Progress;

/// Brings it back, and lets others write the tables again.
pub(super) async fn run(context: &Context, args: &MoveRestoreArgs) -> Result<Exit, CliError> {
    let observer = Arc::new(Progress::new(false));
    let mut opened = open(context, &args.name, "move restore", observer)?;
    opened.job.job.limits.lease_wait = args.waiting.lease_wait;
    let restored =
        moves::restore_move(&opened.job).await.map_err(|error| opened.broken_off(error))?;
    let restored = restored.unwrap_or_default();
    if context.global.json {
        let mut document = json!(restored);
        document["name"] = args.name.as_str().into();
        document["exit_code"] = Exit::Done.code().into();
        render::json(&document);
        return Ok(Exit::Done);
    }
    if restored.indexes + restored.foreign_keys == 0 {
        render::line("nothing is dropped");
        return Ok(Exit::Done);
    }
    render::line(&format!(
        "{}: {} indexes and {} foreign keys are as they were",
        args.name, restored.indexes, restored.foreign_keys
    ));
    if restored.rows_taken_out > 0 {
        render::line(&format!(
            "{} referred to rows that are not there yet and were taken out: the next run of the \
             move writes them again",
            render::count(restored.rows_taken_out, "row")
        ));
    }
    Ok(Exit::Done)
}
