//! `data run --dry-run`.

use dunlin::engine::job::Job;
use dunlin::engine::rehearsal::rehearse;
use dunlin::engine::standing::Request;
use dunlin::model::Mode;
use serde_json::json;

use crate::commands::migrate::explained;
use crate::context::Context;
use crate::exit::CliError;
use crate::render::{self, BAD, BOLD, FAINT, count, migration, styled};

/// Says whether all that can be rehearsed went well.
pub(super) async fn dry_run(
    context: &Context,
    job: &Job,
    request: &Request,
) -> Result<(serde_json::Value, bool), CliError> {
    let (plan, rehearsed) = match rehearse(job, request).await {
        Ok(rehearsed) => rehearsed,
        Err(error) => return Err(explained(context, job, error).await),
    };
    let mut steps = Vec::new();
    if !context.global.json {
        render::line(&styled(
            BOLD,
            &format!("{}: each in a transaction that is rolled back", job.database),
        ));
    }
    for one in &rehearsed {
        let id = one.step.migration.id;
        let name = &one.step.migration.name;
        let rows = one.outcome.as_ref().ok();
        let error = one.outcome.as_ref().err();
        // What can't be rolled back is not tried, so it does not fail.
        let tried = one.step.mode == Mode::OneTransaction;
        steps.push(json!({
            "kind": id.kind, "version": id.version, "name": name, "tried": tried,
            "rows": rows, "error": error.map(ToString::to_string),
        }));
        if context.global.json {
            continue;
        }
        render::data(&format!("  {}", migration(id.kind, id.version, name)));
        for (index, statement) in one.step.statements().iter().enumerate() {
            let touched = match rows.and_then(|rows| rows.get(index)).copied().flatten() {
                Some(number) => count(number as usize, "row"),
                None => String::new(),
            };
            render::data(&format!("    {touched:>10}  {}", styled(FAINT, &statement.summary(80))));
        }
        if let Some(error) = error {
            let word = if tried { styled(BAD, "failed:") } else { styled(FAINT, "not tried:") };
            render::data(&format!("    {word} {error}"));
        }
    }
    if !context.global.json {
        let command = |words: &str| context.again(&job.database, words);
        render::report::held(&plan.held, &command);
        if rehearsed.is_empty() {
            render::data("  nothing would run");
        }
    }
    let mut tried = rehearsed.iter().filter(|one| one.step.mode == Mode::OneTransaction);
    let well = tried.all(|one| one.outcome.is_ok());
    Ok((json!({ "database": job.database, "rehearsed": steps, "held": plan.held }), well))
}
