//! `create`, `drop`, `reset`: the database itself.

use dunlin::model::Diagnostic;
use dunlin::project::settings::DatabaseSettings;
use serde_json::{Value, json};

use super::rollback::confirm;
use crate::answer::Answer;
use crate::args::{MigrateArgs, MigrateScope, Waiting, YesArgs};
use crate::context::{Context, target_error};
use crate::exit::{CliError, Exit};
use crate::render;

/// Creates each database that is not there.
pub(crate) async fn create(context: &Context) -> Result<Exit, CliError> {
    let mut answer = Answer::new(context);
    for database in context.databases()? {
        match create_one(context, database).await {
            Ok(created) => answer.add(created),
            Err(error) => {
                answer.fail(&database.name, &error);
                break;
            }
        }
    }
    Ok(answer.finish())
}

async fn create_one(context: &Context, database: &DatabaseSettings) -> Result<Value, CliError> {
    let connector = context.connector(database)?;
    let created =
        connector.create_database().await.map_err(|error| target_error(&database.name, error))?;
    let what = if created { "created" } else { "was there already" };
    say(context, &format!("{}: {}: {what}", database.name, connector.describe()));
    Ok(json!({ "database": database.name, "created": created }))
}

/// Drops the one database.
pub(crate) async fn drop(context: &Context, yes: &YesArgs) -> Result<Exit, CliError> {
    let mut answer = Answer::new(context);
    answer.add(drop_one(context, yes, "drop").await?);
    Ok(answer.finish())
}

/// Drops the one database, creates it, and runs everything.
pub(crate) async fn reset(context: &Context, yes: &YesArgs) -> Result<Exit, CliError> {
    let database = context.only_database("reset")?;
    let connector = context.connector(database)?;
    // Nothing is dropped for files that could not be run afterwards.
    let folder = database.read_folder(&context.settings.root).map_err(CliError::Diagnostics)?;
    let parsed = folder.files.values().map(|file| file.parse(connector.dialect()));
    let wrong: Vec<Diagnostic> = parsed.filter_map(Result::err).flatten().collect();
    if !wrong.is_empty() {
        return Err(CliError::Diagnostics(wrong));
    }
    drop_one(context, yes, "reset").await?;
    connector.create_database().await.map_err(|error| target_error(&database.name, error))?;
    let args = MigrateArgs {
        scope: MigrateScope::default(),
        dry_run: false,
        fail_if_held: false,
        waiting: Waiting { lease_wait: std::time::Duration::from_secs(60) },
    };
    super::migrate::run(context, &args).await
}

async fn drop_one(context: &Context, yes: &YesArgs, command: &str) -> Result<Value, CliError> {
    let database = context.only_database(command)?;
    if context.settings.protected {
        let environment = context.settings.environment.as_deref().unwrap_or("this project");
        return Err(CliError::usage(
            format!("`{command}` is refused: {environment} is protected"),
            "protected = true in dunlin.toml says so; nothing on the command line overrides it",
        ));
    }
    let connector = context.connector(database)?;
    let question = format!("Drop {} with everything in it?", connector.describe());
    confirm(yes, &question, "it drops the database with everything in it")?;
    let dropped =
        connector.drop_database().await.map_err(|error| target_error(&database.name, error))?;
    let what = if dropped { "dropped" } else { "there was none" };
    say(context, &format!("{}: {}: {what}", database.name, connector.describe()));
    Ok(json!({ "database": database.name, "dropped": dropped }))
}

fn say(context: &Context, text: &str) {
    if !context.global.json {
        render::line(text);
    }
}
