//! `move plan`: what goes where.

use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::moves;
use dunlin::model::Severity;

use super::open;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;

/// Checks the mapping against both catalogues, and shows what a run does.
pub(super) async fn run(context: &Context, name: &str) -> Result<Exit, CliError> {
    let opened = open(context, name, "move plan", Arc::new(Silent))?;
    let (plan, mut found, mut source) =
        moves::prepare(&opened.job).await.map_err(|error| opened.error(error))?;
    let lacked = moves::lacked(&opened.job, &plan, source.as_mut()).await;
    found.extend(lacked.map_err(|error| opened.error(error))?);
    // What a run would be refused for.
    let is_refused = found.iter().any(|one| one.severity == Severity::Error);
    let exit = if is_refused { Exit::Usage } else { Exit::Done };
    render::failure::diagnostics(&found);
    let outline = plan.outline();
    let tables = moves::outlook(&opened.job, &plan).await.map_err(|error| opened.error(error))?;
    let mode = opened.job.mapping.mode.as_str();
    if context.global.json {
        render::json(&serde_json::json!({
            "name": name, "mode": mode, "source": opened.job.source.place(),
            "target": opened.job.target.describe(), "steps": outline, "tables": tables,
            "key_set_bytes": plan.key_set_bytes(), "diagnostics": found, "exit_code": exit.code(),
        }));
        return Ok(exit);
    }
    render::line(&format!(
        "{name}: {} -> {}; mode {mode}",
        opened.job.source.place(),
        opened.job.target.describe()
    ));
    render::moves::outline(&outline);
    render::moves::outlook(&tables);
    if let Some(bytes) = plan.key_set_bytes() {
        render::moves::key_sets(bytes);
    }
    Ok(exit)
}
