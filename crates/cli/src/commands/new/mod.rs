//! `new`: migration files that run as they are, and mappings.
//!
//! Needs no database and no URL, but for a mapping. stdout has the paths and nothing else, so that
//! `$EDITOR $(dunlin new schema …)` works.

#[cfg(feature = "move")]
mod mapping;
mod name;
mod template;
mod version;

use std::path::{Path, PathBuf};

use dunlin::model::Version;
use dunlin::project::settings::{DatabaseSettings, Settings};
use serde_json::json;

use self::name::snake_case;
use self::template::{Data, File};
use crate::args::{Global, NewArgs, NewCommand, ProgramKind};
use crate::context::settings_without_url;
use crate::exit::{CliError, Exit};
use crate::new_file::{Written, write_new};
use crate::render::{self, FAINT, styled};

/// Writes the files of one migration, or a mapping.
#[cfg_attr(
    not(feature = "move"),
    expect(clippy::unused_async, reason = "only a mapping is made by a look at databases")
)]
pub(crate) async fn run(global: &Global, args: &NewArgs) -> Result<Exit, CliError> {
    match &args.what {
        NewCommand::Schema { name } => migration(global, name, Kind::Schema),
        NewCommand::Data { name, program, chunk_by } => {
            let chunk_by = chunk_by.as_deref().map(table_name).transpose()?;
            migration(global, name, Kind::Data { program: *program, chunk_by })
        }
        #[cfg(feature = "move")]
        NewCommand::Move(args) => mapping::run(global, args).await,
    }
}

/// What kind of migration is asked for.
enum Kind<'a> {
    Schema,
    Data { program: Option<ProgramKind>, chunk_by: Option<&'a str> },
}

fn migration(global: &Global, name: &str, kind: Kind<'_>) -> Result<Exit, CliError> {
    let name = snake_case(name, "a migration")?;
    let settings = settings_without_url(global)?;
    let database = chosen(&settings, global)?;
    let folder = database.read_folder(&settings.root).or_else(|errors| {
        // A named folder that is not there yet is about to be made.
        if errors.iter().all(|error| error.rule == "missing-folder") {
            Ok(dunlin::project::folder::Folder::default())
        } else {
            Err(CliError::Diagnostics(errors))
        }
    })?;
    let version = version::next(&folder, jiff::Timestamp::now())?;
    let after = version::newest_schema(&folder);
    let (into, files) = match kind {
        Kind::Schema => (schema_folder(database)?, template::schema(version, &name)),
        Kind::Data { program, chunk_by } => {
            let app = template::app_name(&settings.root);
            let data = Data { version, name: &name, program, chunk_by, after, app: &app };
            (data_folder(database)?, vec![data.file()])
        }
    };
    let paths = write(into, &files)?;
    tell(global, version, &paths);
    Ok(Exit::Done)
}

/// A table as it is written in SQL, quotes included.
fn table_name(written: &str) -> Result<&str, CliError> {
    let table = written.trim();
    let odd = |c: char| c.is_control() || matches!(c, ';' | '(' | ')');
    if table.is_empty() || table.contains(odd) || table.contains("--") {
        return Err(CliError::usage(
            format!("`{}` is no table", written.escape_debug()),
            "name it as in SQL, such as posts, or public.\"My Posts\"",
        ));
    }
    Ok(table)
}

fn chosen<'a>(settings: &'a Settings, global: &Global) -> Result<&'a DatabaseSettings, CliError> {
    let names = || {
        let names: Vec<&str> =
            settings.databases.iter().map(|database| database.name.as_str()).collect();
        names.join(", ")
    };
    match (&global.database, &settings.databases[..]) {
        (Some(name), _) => settings.database(name).ok_or_else(|| {
            CliError::usage(
                format!("there is no database `{name}`"),
                format!("there is: {}", names()),
            )
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(CliError::usage(
            "a migration belongs to one database, and there are several",
            format!("name it with --database: {}", names()),
        )),
    }
}

fn schema_folder(database: &DatabaseSettings) -> Result<&Path, CliError> {
    database.migrations.as_deref().ok_or_else(|| {
        let owner = database.schema_history.map_or("another tool", |tool| tool.as_str());
        CliError::usage(
            format!("{owner} migrates the schema of database `{}`", database.name),
            format!("make it with {owner}'s own generator; `dunlin new data` works beside it"),
        )
    })
}

fn data_folder(database: &DatabaseSettings) -> Result<&Path, CliError> {
    database.data_migrations.as_deref().ok_or_else(|| {
        CliError::usage(
            format!("database `{}` has no folder of data migrations", database.name),
            "set data_migrations in dunlin.toml, or give --data-migrations",
        )
    })
}

fn write(folder: &Path, files: &[File]) -> Result<Vec<PathBuf>, CliError> {
    let mut paths = Vec::new();
    for file in files {
        let path = folder.join(&file.name);
        if write_new(&path, &file.text, file.executable)? == Written::WasThere {
            // Only somebody who made the same one in this very second gets here.
            return Err(CliError::usage(
                format!("there is a file {} already", path.display()),
                "try again: the next second gives another version",
            ));
        }
        paths.push(path);
    }
    Ok(paths)
}

/// A path as it is written in the current folder.
fn from_here(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

fn tell(global: &Global, version: Version, paths: &[PathBuf]) {
    let shown: Vec<String> = paths.iter().map(|path| from_here(path)).collect();
    if global.json {
        render::json(&json!({ "version": version, "files": shown, "exit_code": 0 }));
        return;
    }
    for path in &shown {
        render::data(path);
    }
    render::line(&styled(
        FAINT,
        "it runs as it is, and does nothing yet; `dunlin plan` shows what would run",
    ));
}
