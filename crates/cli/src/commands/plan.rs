//! `plan`: what `migrate` would do.

use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::run::preview;
use dunlin::engine::standing::{Request, Standing};
use dunlin::model::{Mode, Plan};
use dunlin::project::plan::Scope;
use dunlin::project::settings::DatabaseSettings;
use serde_json::json;

use super::migrate::{check_target, explained};
use crate::answer::Answer;
use crate::args::MigrateScope;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;

/// Prints each database's plan.
pub(crate) async fn run(context: &Context, scope: &MigrateScope) -> Result<Exit, CliError> {
    let request = Request::Forward(Scope::Migrate { to: scope.to, step_count: scope.step });
    let mut answer = Answer::new(context);
    for database in context.databases()? {
        if let Err(error) = show(context, database, scope, &request, &mut answer).await {
            answer.fail(&database.name, &error);
        }
        if answer.exit() == Exit::Stopped {
            break;
        }
    }
    Ok(answer.finish())
}

async fn show(
    context: &Context,
    database: &DatabaseSettings,
    scope: &MigrateScope,
    request: &Request,
    answer: &mut Answer,
) -> Result<(), CliError> {
    let mut job = context.job(database, "plan", Arc::new(Silent))?;
    job.policy.with_data = scope.with_data;
    check_target(context, &job, scope.to)?;
    let (standing, plan) = match preview(&job, request).await {
        Ok(previewed) => previewed,
        Err(error) => return Err(explained(context, &job, error).await),
    };
    if context.global.json {
        answer.add(json!({
            "database": job.database, "server": standing.server.product, "plan": plan,
        }));
        return Ok(());
    }
    let title =
        format!("{}: {}, {}", job.database, standing.server.product, standing.server.database);
    let command = |words: &str| context.again(&job.database, words);
    render::plan::show(&title, &plan, &command);
    pooler_warning(&standing, database.direct_url.is_some(), &plan);
    Ok(())
}

fn pooler_warning(standing: &Standing, direct: bool, plan: &Plan) {
    let alone = plan.steps.iter().any(|step| step.mode == Mode::Stepwise);
    if standing.server.pooled && !direct && alone {
        render::line(
            "notice: the url is a pooler's and there is no direct_url: no timeout applies to steps outside transactions",
        );
    }
}
