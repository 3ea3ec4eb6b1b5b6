//! `move verify`: what should be there beside what is, row by row and column by column.

use std::sync::Arc;

use dunlin::engine::events::Observer;
use dunlin::engine::moves;
use serde_json::json;

use super::{at_work, open};
use crate::args::MoveVerifyArgs;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;
use crate::render::progress::Progress;

/// Compares; exit code 0 only if all is equal.
pub(super) async fn run(context: &Context, args: &MoveVerifyArgs) -> Result<Exit, CliError> {
    let progress = Arc::new(Progress::new(false));
    let observer: Arc<dyn Observer> = Arc::clone(&progress) as _;
    let opened = Arc::new(open(context, &args.name, "move verify", observer)?);
    let latest =
        moves::under_way(&opened.job.job, &args.name).await.map_err(|error| opened.error(error))?;
    if let Some(holder) = latest.and_then(|latest| latest.holder) {
        render::line(&format!(
            "process {} on {} runs it at present: rows that it has not come to yet differ",
            holder.owner.pid, holder.owner.host
        ));
    }
    let (working, rows, show_values) = (Arc::clone(&opened), args.rows, args.show_values);
    let comparing = async move { moves::compare(&working.job, rows, show_values).await };
    let compared = at_work(comparing).await;
    progress.end();
    let found = compared.map_err(|error| opened.error(error))?;
    render::failure::diagnostics(&found.warnings);
    let exit = if found.equal { Exit::Done } else { Exit::RowsRemain };
    if context.global.json {
        let mut document = json!(found);
        document["exit_code"] = exit.code().into();
        render::json(&document);
    } else {
        render::comparison::comparison(&found);
    }
    Ok(exit)
}
