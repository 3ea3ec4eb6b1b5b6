//! `data skip` and `data retire`: what a person declares of a data migration.

use dunlin::engine::amend::{Amendment, amend};
use dunlin::model::{MigrationId, Version};
use dunlin::project::folder::retired_toml_with;
use serde_json::json;

use crate::args::BecauseArgs;
use crate::commands::amend::tell;
use crate::commands::migrate::observer;
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render;

/// Records that a data migration will not run here.
pub(crate) async fn skip(context: &Context, args: &BecauseArgs) -> Result<Exit, CliError> {
    let because = args.because.clone();
    tell(context, "data skip", &Amendment::Skip { version: args.version, because }).await
}

/// Records that a data migration will never run again, in the ledger and in `retired.toml`.
pub(crate) async fn retire(
    context: &Context,
    version: Version,
    because: Option<String>,
) -> Result<Exit, CliError> {
    let database = context.only_database("data retire")?;
    let job = context.job(database, "data retire", observer(context))?;
    let Some(folder) = &database.data_migrations else {
        return Err(CliError::usage(
            format!("database `{}` has no folder of data migrations", database.name),
            "set data_migrations in dunlin.toml, or give --data-migrations",
        ));
    };
    let file = folder.join("retired.toml");
    let existing = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(CliError::file("read", &file, &error)),
    };
    let amendment = Amendment::Retire { version, because: because.clone() };
    let amended =
        amend(&job, &amendment).await.map_err(|error| engine_error(&job.database, error))?;
    let name = amended
        .changed
        .iter()
        .find(|(id, _)| *id == MigrationId::data(version))
        .map(|(_, name)| name.clone())
        .unwrap_or_default();
    let text = retired_toml_with(&existing, version, &name, because.as_deref())
        .map_err(|error| CliError::Diagnostics(vec![*error]))?;
    if text != existing {
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&file, text))
            .map_err(|error| CliError::file("write", &file, &error))?;
    }
    if context.global.json {
        render::json(&json!({ "database": job.database, "retired": version, "exit_code": 0 }));
    } else {
        render::line(&format!("{}: data {version} {name} is retired", job.database));
        render::line(&format!(
            "commit {}: it tells every other database; the migration's file can go now",
            file.display()
        ));
    }
    Ok(Exit::Done)
}
