//! `data quarantine`: rows that failed and were set aside.

use std::sync::Arc;

use dunlin::engine::backfill::{discard as give_up, quarantined, release};
use dunlin::engine::events::Silent;
use dunlin::engine::job::Job;
use dunlin::model::{BackfillRecord, BackfillState, Key, Version};
use serde_json::json;

use super::known;
use crate::args::{DiscardArgs, RetryArgs};
use crate::commands::rollback::confirm;
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render::backfill::grouped;
use crate::render::{self, BAD, count, styled};

/// So many rows are listed: what fails more often fails for one reason.
const LISTED_MAX: u64 = 1_000;

fn job_for(context: &Context, command: &str) -> Result<Job, CliError> {
    context.job(context.only_database(command)?, command, Arc::new(Silent))
}

/// Lists them, oldest first. Keys are data, so they go to stdout.
pub(super) async fn list(context: &Context, version: Version) -> Result<Exit, CliError> {
    let job = job_for(context, "data quarantine list")?;
    let (record, _) = known(context, &job, version).await?;
    let rows = quarantined(&job, version, LISTED_MAX)
        .await
        .map_err(|error| engine_error(&job.database, error))?;
    if context.global.json {
        let shown: Vec<_> = rows
            .iter()
            .map(|row| json!({ "key": row.key, "error": row.error, "at": row.at }))
            .collect();
        render::json(&json!({
            "database": job.database, "version": version, "table": record.table,
            "quarantined": record.quarantined, "rows": shown, "exit_code": 0,
        }));
        return Ok(Exit::Done);
    }
    for row in &rows {
        let at = render::status::time(row.at);
        render::data(&format!("{}  {at}  {}", row.key.encode(), row.error));
    }
    let command = |words: &str| context.again(&job.database, words);
    if rows.is_empty() {
        render::line(&format!("{}: no row of data {version} is in quarantine", job.database));
        return Ok(Exit::Done);
    }
    let shown = rows.len() as u64;
    if record.quarantined > shown {
        render::line(&format!("and {} more", grouped(record.quarantined - shown)));
    }
    render::line(&format!(
        "rows of {} by key ({}); once the reason is gone: `{}`",
        record.table,
        render::backfill::key(&record),
        command(&format!("data quarantine retry {version}"))
    ));
    Ok(Exit::Done)
}

/// Tries them again.
pub(super) async fn retry(context: &Context, args: &RetryArgs) -> Result<Exit, CliError> {
    let key = key_of(args.key.as_deref())?;
    let job = job_for(context, "data quarantine retry")?;
    let version = args.version;
    let (record, _) = known(context, &job, version).await?;
    let over = is_over(&record);
    let released = release(&job, version, key.as_ref())
        .await
        .map_err(|error| engine_error(&job.database, error))?;
    let exit = if !released.failed.is_empty() { Exit::RowsRemain } else { Exit::Done };
    if context.global.json {
        let failed: Vec<_> = released
            .failed
            .iter()
            .map(|(key, error)| json!({ "key": key, "error": error.to_string() }))
            .collect();
        render::json(&json!({
            "database": job.database, "version": version, "released": released.done,
            "failed": failed, "left": released.left, "exit_code": exit.code(),
        }));
        return Ok(exit);
    }
    for (key, error) in &released.failed {
        render::line(&format!(
            "  {} row with key {}: {error}",
            styled(BAD, "failed"),
            key.encode()
        ));
    }
    let done = count(usize::try_from(released.done).unwrap_or(usize::MAX), "row");
    render::line(&format!("{}: {done} went through, {} left", job.database, released.left));
    hint(context, &job, version, over, released.left);
    Ok(exit)
}

/// Gives them up.
pub(super) async fn discard(context: &Context, args: &DiscardArgs) -> Result<Exit, CliError> {
    let key = key_of(args.key.as_deref())?;
    let job = job_for(context, "data quarantine discard")?;
    let version = args.version;
    let (record, _) = known(context, &job, version).await?;
    let over = is_over(&record);
    let what = match (&key, record.quarantined) {
        (Some(key), _) => format!("the row with key {}", key.encode()),
        (None, 1) => format!("1 row of {}", record.table),
        (None, count) => format!("{} rows of {}", grouped(count), record.table),
    };
    let (stays, without) = if key.is_some() || record.quarantined == 1 {
        ("It stays as it is", "it")
    } else {
        ("They stay as they are", "them")
    };
    confirm(
        &args.yes,
        &format!("Give up {what}? {stays}, and data {version} counts as done without {without}."),
        "it gives rows up for good",
    )?;
    let failed = |error| engine_error(&job.database, error);
    let gone = give_up(&job, version, key.as_ref()).await.map_err(failed)?;
    let left = quarantined(&job, version, LISTED_MAX).await.map_err(failed)?.len() as u64;
    if key.is_some() && gone == 0 {
        return Err(CliError::usage(
            format!("{}: no such row is in quarantine", job.database),
            format!(
                "`{}` shows them",
                context.again(&job.database, &format!("data quarantine list {version}"))
            ),
        ));
    }
    if context.global.json {
        render::json(&json!({
            "database": job.database, "version": version, "discarded": gone, "left": left,
            "exit_code": 0,
        }));
        return Ok(Exit::Done);
    }
    let rows = count(usize::try_from(gone).unwrap_or(usize::MAX), "row");
    render::line(&format!("{}: {rows} given up, {left} left", job.database));
    hint(context, &job, version, over, left);
    Ok(Exit::Done)
}

/// Nothing of it is left to be finished.
fn is_over(record: &BackfillRecord) -> bool {
    matches!(record.state, BackfillState::Done | BackfillState::Undone)
}

fn hint(context: &Context, job: &Job, version: Version, over: bool, left: u64) {
    if left == 0 && !over {
        let run = context.again(&job.database, &format!("data run {version}"));
        render::line(&format!("  `{run}` finishes it"));
    }
}

/// A key as `list` prints it.
fn key_of(written: Option<&str>) -> Result<Option<Key>, CliError> {
    let Some(written) = written else { return Ok(None) };
    match Key::decode(written) {
        Some(key) => Ok(Some(key)),
        None => Err(CliError::usage(
            "that is no key",
            "write it as `data quarantine list` prints it, in quotes: --key '[\"17\"]'",
        )),
    }
}
