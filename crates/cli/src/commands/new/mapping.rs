//! `new move`: a first mapping, made by a look at both databases.

use dunlin::project::moves::{FOLDER, scaffold};
use dunlin::project::settings::DatabaseSettings;
use serde_json::json;

use super::from_here;
use super::name::snake_case;
use crate::args::{Global, NewMoveArgs};
use crate::commands::moves::{connector, source as source_of};
use crate::context::{Context, target_error};
use crate::exit::{CliError, Exit};
use crate::new_file::{Written, write_new};
use crate::render::{self, FAINT, styled};

/// Writes `moves/NAME.toml`, and nothing over one that is there.
pub(super) async fn run(global: &Global, args: &NewMoveArgs) -> Result<Exit, CliError> {
    let name = snake_case(&args.name, "a mapping")?;
    let context = Context::load(global)?;
    let source = named(&context, &args.source)?;
    let target = named(&context, &args.target)?;
    let path = context.settings.root.join(FOLDER).join(format!("{name}.toml"));
    let there = || {
        CliError::usage(
            format!("there is a mapping {} already", from_here(&path)),
            "give this one another name, or take that one away",
        )
    };
    if path.exists() {
        // Before anybody waits for two databases.
        return Err(there());
    }
    let mut old = source_of(&context, source)?.open().await.map_err(|error| at(source, error))?;
    let old = old.catalogue().await.map_err(|error| at(source, error))?;
    let mut new =
        connector(&context, target)?.move_target().await.map_err(|error| at(target, error))?;
    let new = new.catalogue().await.map_err(|error| at(target, error))?;
    let text = scaffold(&name, &source.name, &target.name, &old, &new);
    if write_new(&path, &text, false)? == Written::WasThere {
        return Err(there());
    }
    let shown = from_here(&path);
    if global.json {
        render::json(&json!({ "files": [shown], "exit_code": 0 }));
        return Ok(Exit::Done);
    }
    render::data(&shown);
    let next =
        format!("what is plain is filled in; `dunlin move plan {name}` says what is not yet");
    render::line(&styled(FAINT, &next));
    Ok(Exit::Done)
}

fn at(database: &DatabaseSettings, error: dunlin::engine::TargetError) -> CliError {
    target_error(&database.name, error)
}

fn named<'a>(context: &'a Context, name: &str) -> Result<&'a DatabaseSettings, CliError> {
    context.settings.database(name).ok_or_else(|| {
        let names: Vec<&str> =
            context.settings.databases.iter().map(|database| database.name.as_str()).collect();
        CliError::usage(
            format!("there is no database `{name}`"),
            format!("there is: {}", names.join(", ")),
        )
    })
}
