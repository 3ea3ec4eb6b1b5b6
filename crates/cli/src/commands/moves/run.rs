//! `move run` and `move finish`.

use std::sync::Arc;

use dunlin::engine::events::Observer;
use dunlin::engine::moves;
use serde_json::json;

use super::{at_work, open};
use crate::args::MoveRunArgs;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;
use crate::render::progress::Progress;

/// Runs the move; with `finish` it is closed afterwards, if every row is proved.
pub(super) async fn run(
    context: &Context,
    args: &MoveRunArgs,
    finish: bool,
) -> Result<Exit, CliError> {
    let command = if finish { "move finish" } else { "move run" };
    let progress = Arc::new(Progress::new(false));
    let observer: Arc<dyn Observer> = Arc::clone(&progress) as _;
    let mut opened = open(context, &args.name, command, observer)?;
    opened.job.dry_run = args.dry_run;
    opened.job.show_values = args.show_values;
    opened.job.verify = !args.no_verify;
    let conflicts = &mut opened.job.mapping.conflicts;
    conflicts.max_deleted_percent = args.max_deleted.or(conflicts.max_deleted_percent);
    opened.job.finish = finish;
    opened.job.workers = args.workers.unwrap_or(opened.job.workers);
    opened.job.rate = args.rate.filter(|rate| *rate > 0);
    opened.job.memory_bytes = (args.memory as usize) << 20;
    opened.job.job.limits.lease_wait = args.waiting.lease_wait;
    render::line(&format!(
        "{}: {} -> {}",
        args.name,
        opened.job.source.place(),
        opened.job.target.describe()
    ));
    let opened = Arc::new(opened);
    let working = Arc::clone(&opened);
    let ran = at_work(async move { moves::run(&working.job).await }).await;
    progress.end();
    let report =
        ran.map_err(
            |error| {
                if args.dry_run { opened.error(error) } else { opened.broken_off(error) }
            },
        )?;
    render::failure::diagnostics(&report.warnings);
    let exit = if report.verified || args.dry_run { Exit::Done } else { Exit::RowsRemain };
    if context.global.json {
        let mut document = json!(report);
        document["exit_code"] = exit.code().into();
        render::json(&document);
        return Ok(exit);
    }
    render::moves::report(&report);
    if finish && report.verified {
        render::line(&format!(
            "{0} is finished: later runs are refused until `dunlin move reopen {0} --because \"…\"`",
            args.name
        ));
    } else if exit == Exit::RowsRemain {
        render::line(&format!("the rows one by one: dunlin move rejects {}", args.name));
    }
    Ok(exit)
}
