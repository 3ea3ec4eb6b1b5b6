//! `data plan`: what the chunks of a data migration will look like.

use std::sync::Arc;

use dunlin::engine::backfill::preview;
use dunlin::engine::events::Silent;
use dunlin::model::Kind;

use super::name_of;
use crate::args::DataPlanArgs;
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render;

/// Plans one; with `--sample` tries a few chunks and rolls them back.
pub(super) async fn run(context: &Context, args: &DataPlanArgs) -> Result<Exit, CliError> {
    let database = context.only_database("data plan")?;
    let job = context.job(database, "data plan", Arc::new(Silent))?;
    let seen = preview(&job, args.version, args.sample.unwrap_or(0))
        .await
        .map_err(|error| engine_error(&job.database, error))?;
    let usual = job.limits.chunk_time_on(job.connector.dialect());
    let well = seen.tried.iter().all(|(_, outcome)| outcome.is_ok());
    let exit = if well { Exit::Done } else { Exit::Failed };
    if context.global.json {
        render::json(&render::preview::to_json(&job.database, &seen, usual, exit.code()));
        return Ok(exit);
    }
    let title = render::migration(Kind::Data, args.version, &name_of(&job, args.version));
    let command = |words: &str| context.again(&job.database, words);
    let title = format!("{}: {title}, in chunks over {}", job.database, seen.work.table);
    render::preview::show(&title, &seen, usual, &command);
    Ok(exit)
}
