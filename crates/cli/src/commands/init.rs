//! `init`: a commented `dunlin.toml` and the folders.
//!
//! Invariant: nothing that is there is overwritten.

use std::path::{Path, PathBuf};

use dunlin::model::HistoryTool;
use dunlin::project::settings::{self, check_url};
use serde_json::json;

use crate::args::{Global, InitArgs};
use crate::context::FILE;
use crate::exit::{CliError, Exit};
use crate::new_file::{Written, write_new};
use crate::render::{self, BOLD, FAINT, GOOD, styled};

/// The database's name where `--database` gives none.
const DATABASE: &str = "app";

/// The database's URL where `--database-url` gives none. No fallback to a local file: a deploy
/// that forgot its variable must fail, not fill a new SQLite database.
const URL: &str = "${DATABASE_URL}";

/// The line of the template that names another schema migrator.
const HISTORY_LINE: &str = "# schema_history = \"rails\"";

const SCHEMA_README: &str = include_str!("../templates/migrations_readme.md");
const DATA_README: &str = include_str!("../templates/data_migrations_readme.md");

/// Writes what is not there yet.
pub(crate) fn run(global: &Global, args: &InitArgs) -> Result<Exit, CliError> {
    if global.migrations.is_some() || global.data_migrations.is_some() || global.config.is_some() {
        return Err(CliError::usage(
            "`init` takes no --migrations, --data-migrations or --config",
            "name the folders in the dunlin.toml that it writes",
        ));
    }
    let folder = &args.folder;
    let owner = schema_owner(folder);
    let mut project = Project { folder, files: Vec::new(), kept: Vec::new() };
    project.write(Path::new(FILE), &text(global, owner)?)?;
    if owner.is_none() {
        project.write(&Path::new(settings::DEFAULT_MIGRATIONS).join("README.md"), SCHEMA_README)?;
    }
    project.write(&Path::new(settings::DEFAULT_DATA_MIGRATIONS).join("README.md"), DATA_README)?;
    if global.json {
        render::json(&json!({
            "wrote": project.files, "kept": project.kept, "schema_history": owner, "exit_code": 0,
        }));
        return Ok(Exit::Done);
    }
    project.tell(owner);
    next(global, folder, owner);
    Ok(Exit::Done)
}

struct Project<'a> {
    folder: &'a Path,
    files: Vec<PathBuf>,
    kept: Vec<PathBuf>,
}

impl Project<'_> {
    fn write(&mut self, file: &Path, text: &str) -> Result<(), CliError> {
        let path = self.folder.join(file);
        let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
        match write_new(&path, text, false)? {
            Written::New => self.files.push(path),
            Written::WasThere => self.kept.push(path),
        }
        Ok(())
    }

    fn tell(&self, owner: Option<HistoryTool>) {
        for file in &self.files {
            render::line(&format!("  {}  {}", styled(GOOD, "wrote"), file.display()));
        }
        for file in &self.kept {
            let why = styled(FAINT, "was there, and is as it was");
            render::line(&format!("  {}   {}  {why}", styled(FAINT, "kept"), file.display()));
        }
        if let Some(tool) = owner {
            render::line(&format!(
                "this looks like a project whose schema {tool} migrates: it goes on doing so, and data migrations can come after its versions"
            ));
        }
    }
}

/// The text of `dunlin.toml`.
fn text(global: &Global, owner: Option<HistoryTool>) -> Result<String, CliError> {
    let url = match &global.database_url {
        None => URL,
        Some(url) => {
            check_url(url).map_err(|message| {
                CliError::usage(message, "correct --database-url, or leave it out")
            })?;
            if may_hold_a_password(url) {
                return Err(CliError::usage(
                    "this --database-url may hold a password, which does not belong in a file",
                    "leave it out: the file will say ${DATABASE_URL}",
                ));
            }
            url
        }
    };
    let text = settings::template(global.database.as_deref().unwrap_or(DATABASE), url);
    Ok(match owner {
        Some(tool) => text.replace(HISTORY_LINE, &format!("schema_history = \"{tool}\"")),
        None => text,
    })
}

fn may_hold_a_password(url: &str) -> bool {
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    let login = after_scheme.split('/').next().and_then(|part| part.rsplit_once('@'));
    login.is_some_and(|(login, _)| login.contains(':')) || url.contains("password=")
}

/// The tool that migrates this project's schema already, by the files that it always has.
fn schema_owner(folder: &Path) -> Option<HistoryTool> {
    [
        ("config/application.rb", "db/migrate", HistoryTool::Rails),
        ("mix.exs", "priv/repo/migrations", HistoryTool::Ecto),
        ("manage.py", "manage.py", HistoryTool::Django),
    ]
    .into_iter()
    .find(|(one, other, _)| folder.join(one).exists() && folder.join(other).exists())
    .map(|(_, _, tool)| tool)
}

/// The two commands that come next.
fn next(global: &Global, folder: &Path, owner: Option<HistoryTool>) {
    render::line("");
    render::line(&styled(BOLD, "next:"));
    if folder != Path::new(".") {
        render::line(&format!("  cd {}", folder.display()));
    }
    if global.database_url.is_none() {
        render::line(&format!(
            "  export DATABASE_URL=sqlite:app.db   {}",
            styled(FAINT, "# or postgres://…, mysql://…")
        ));
    }
    let new = if owner.is_some() { "new data backfill_posts" } else { "new schema create_posts" };
    render::line(&format!("  dunlin {new}"));
    render::line("  dunlin migrate --env development");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_has_the_line_that_init_replaces() {
        assert_eq!(settings::template(DATABASE, URL).matches(HISTORY_LINE).count(), 1);
    }

    #[test]
    fn passwords_are_noticed() {
        for url in ["postgres://u:p@h/d", "mysql://h/d?password=x"] {
            assert!(may_hold_a_password(url), "{url}");
        }
        for url in ["sqlite:app.db", "sqlite:///srv/a.db", "postgres://u@h:5432/d"] {
            assert!(!may_hold_a_password(url), "{url}");
        }
    }
}
