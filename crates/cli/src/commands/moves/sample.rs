//! `move sample`: one old row, and each new row that it becomes.

use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::moves;

use super::open;
use crate::args::MoveSampleArgs;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;

/// Shows it.
pub(super) async fn run(context: &Context, args: &MoveSampleArgs) -> Result<Exit, CliError> {
    let opened = open(context, &args.name, "move sample", Arc::new(Silent))?;
    let sample = moves::sample(&opened.job, &args.source, &args.key)
        .await
        .map_err(|error| opened.error(error))?;
    if context.global.json {
        render::json(&serde_json::json!({
            "source": args.source, "key": args.key, "sample": sample, "exit_code": 0,
        }));
    } else {
        render::moves::sample(&args.source, &args.key, &sample);
    }
    Ok(Exit::Done)
}
