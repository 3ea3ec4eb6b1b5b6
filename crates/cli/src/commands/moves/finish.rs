//! `move finish`: the last run; and, if that is asked for, the end of everything of ours in the new
//! database.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::moves;
use serde_json::json;

use super::{Opened, ids, open, run};
use crate::args::MoveFinishArgs;
use crate::commands::rollback::confirm;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;

/// Runs, verifies and closes; with `--drop-ledger` our tables go, of a move that is closed.
pub(super) async fn run(context: &Context, args: &MoveFinishArgs) -> Result<Exit, CliError> {
    if !args.drop_ledger {
        return run::run(context, &args.run, true).await;
    }
    let name = &args.run.name;
    let opened = open(context, name, "move finish", Arc::new(Silent))?;
    let is_finished = moves::may_forget(&opened.job).await.map_err(|error| opened.error(error))?;
    let place = opened.job.target.describe();
    let question = format!(
        "Drop the ledger from {place}? Without it the move knows no row as its own, and can't run again."
    );
    confirm(&args.yes, &question, "it drops the ledger with all that the move knows of its rows")?;
    if !is_finished {
        let exit = run::run(context, &args.run, true).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    let mut kept = Ok(());
    let keep = async || {
        if let Some(folder) = &args.export_ids {
            kept = export_ids(context, &opened, folder).await;
        }
        kept.is_ok()
    };
    let mut marked = Ok(());
    let before = || {
        if opened.job.mapping.finished.is_none() {
            // Before the ledger goes: after it nothing else would stop a forgotten cron job.
            marked = mark(&context.settings.root.join(&opened.job.mapping.file));
        }
        marked.is_ok()
    };
    let gone = moves::forget(&opened.job, keep, before).await;
    kept?;
    marked?;
    gone.map_err(|error| opened.broken_off(error))?;
    let file = opened.job.mapping.file.display();
    if context.global.json && is_finished {
        render::json(&json!({ "name": name, "dropped": true, "exit_code": 0 }));
    }
    render::line(&format!("{name}: nothing of Dunlin's is left in {place}"));
    render::line(&format!(
        "  {file} says now that it is finished: take that file to wherever the move runs, for the database can't refuse a run any more"
    ));
    Ok(Exit::Done)
}

/// A file of each namespace's ids, on the disk: there is no other copy of them once the ledger is gone.
async fn export_ids(context: &Context, opened: &Opened, folder: &Path) -> Result<(), CliError> {
    fs::create_dir_all(folder).map_err(|error| CliError::file("make", folder, &error))?;
    for spec in &opened.job.mapping.ids {
        let file = folder.join(format!("{}.csv", spec.name));
        ids::export(context, &opened.job.mapping.name, &spec.name, Some(&file)).await?;
        let synced = fs::File::open(&file).and_then(|file| file.sync_all());
        synced.map_err(|error| CliError::file("write", &file, &error))?;
        render::line(&format!("  ids of {} -> {}", spec.name, file.display()));
    }
    Ok(())
}

/// Writes into the mapping that it is finished: as a whole, or not at all.
fn mark(file: &Path) -> Result<(), CliError> {
    let failed = |error: &std::io::Error| CliError::file("write", file, error);
    let text = fs::read_to_string(file).map_err(|error| CliError::file("read", file, &error))?;
    let (mark, rest) = match text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", text.as_str()),
    };
    let today = jiff::Zoned::now().date();
    let line = format!("finished = \"{today}\"   # its ledger was dropped: runs are refused");
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    write!(new, "{mark}{line}\n{rest}").map_err(|error| failed(&error))?;
    if let Ok(there) = fs::metadata(file) {
        fs::set_permissions(new.path(), there.permissions()).map_err(|error| failed(&error))?;
    }
    new.persist(file).map(drop).map_err(|error| failed(&error.error))
}
