//! `move rejects`: the rows that did not simply become new ones, with what was done and why.

use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::moves;

use super::ids::csv_line;
use super::open;
use crate::args::MoveRejectsArgs;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;

/// Lists them.
pub(super) async fn run(context: &Context, args: &MoveRejectsArgs) -> Result<Exit, CliError> {
    let opened = open(context, &args.name, "move rejects", Arc::new(Silent))?;
    let mut target =
        opened.job.target.move_target().await.map_err(|error| opened.error(error.into()))?;
    if args.csv {
        render::data("rule,key,what,reason");
    }
    let mut count = 0_u64;
    moves::rejects(target.as_mut(), &args.name, |row| {
        count += 1;
        if context.global.json {
            render::json_line(&serde_json::json!(row));
        } else if args.csv {
            render::data(&csv_line(&[&row.rule, &row.key, &row.what, &row.reason]));
        } else {
            let what = row.what.replace('_', " ");
            render::data(&format!("{}  {}  {what}: {}", row.rule, row.key, row.reason));
        }
    })
    .await
    .map_err(|error| opened.error(error.into()))?;
    if count == 0 {
        render::line(&format!("{}: the last run told of no row", args.name));
    }
    Ok(Exit::Done)
}
