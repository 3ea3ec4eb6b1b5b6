//! `data undo`: puts captured values back.

use std::sync::Arc;

use dunlin::engine::backfill::undo;
use dunlin::engine::events::{Observer, Silent};
use serde_json::json;

use super::known;
use crate::args::DataUndoArgs;
use crate::commands::rollback::confirm;
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render::backfill::grouped;
use crate::render::progress::Progress;
use crate::render::{self, live};

/// Asks, and puts them back in chunks.
pub(super) async fn run(context: &Context, args: &DataUndoArgs) -> Result<Exit, CliError> {
    let database = context.only_database("data undo")?;
    let observer: Arc<dyn Observer> =
        if context.global.json { Arc::new(Silent) } else { Arc::new(Progress::new(false)) };
    let job = context.job(database, "data undo", observer)?;
    let version = args.version;
    let (record, _) = known(context, &job, version).await?;
    confirm(
        &args.yes,
        &format!(
            "Put the old values of data {version} back into {}? Rows that changed since stay as they are.",
            record.table
        ),
        "it writes old values over those that the migration wrote",
    )?;
    let undone = undo(&job, version).await.map_err(|error| engine_error(&job.database, error))?;
    let exit = if undone.interrupted { Exit::Stopped } else { Exit::Done };
    if context.global.json {
        render::json(&json!({
            "database": job.database, "version": version, "restored": undone.restored,
            "changed_since": undone.changed_since, "late": undone.late,
            "interrupted": undone.interrupted, "cancelled": undone.cancelled,
            "exit_code": exit.code(),
        }));
        return Ok(exit);
    }
    live::clear();
    let restored = match undone.restored {
        1 => "1 row has its".to_owned(),
        count => format!("{} rows have their", grouped(count)),
    };
    let since = match undone.changed_since {
        0 => String::new(),
        count => {
            format!(
                "; {} changed or were deleted since, or have something in their way, and stay as they \
                 are",
                grouped(count)
            )
        }
    };
    render::line(&format!("{}: {restored} old values again{since}", job.database));
    if undone.late {
        render::line(
            "  the time for which old values are kept was over for some when the undo began: rows whose values were forgotten stay as they are",
        );
    }
    let command = |words: &str| context.again(&job.database, words);
    if undone.interrupted {
        let how = if undone.cancelled { "cancelled" } else { "stopped" };
        let undo = command(&format!("data undo {version}"));
        render::line(&format!("  {how} before its end; go on: {undo}"));
    } else {
        let rerun = command(&format!("data rerun {version}"));
        render::line(&format!(
            "  data {version} is skipped here from now on; `{rerun}` runs it again"
        ));
        if undone.changed_since > 0 {
            let undo = command(&format!("data undo {version}"));
            render::line(&format!(
                "  old values that did not go back are kept for as long as its file says: `{undo}` \
                 tries them again"
            ));
        }
    }
    Ok(exit)
}
