//! What is in a new migration's files.

use std::path::Path;

use dunlin::model::Version;

use crate::args::ProgramKind;

/// A file to be written.
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) executable: bool,
}

impl File {
    fn new(name: String, text: String) -> Self {
        Self { name, text, executable: false }
    }
}

/// A schema migration: up and down.
pub(super) fn schema(version: Version, name: &str) -> Vec<File> {
    let (up, down) = example(name);
    let fill = |text: &str| {
        text.replace("{name}", name)
            .replace("{version}", &version.to_string())
            .replace("{up}", &up)
            .replace("{down}", &down)
    };
    vec![
        File::new(
            format!("{version}_{name}.up.sql"),
            fill(include_str!("../../templates/schema.up.sql")),
        ),
        File::new(
            format!("{version}_{name}.down.sql"),
            fill(include_str!("../../templates/schema.down.sql")),
        ),
    ]
}

/// A statement and its reverse that fit the name.
fn example(name: &str) -> (String, String) {
    if let Some(table) = name.strip_prefix("create_").filter(|table| !table.is_empty()) {
        return (
            format!("CREATE TABLE {table} (id integer PRIMARY KEY, name text NOT NULL);"),
            format!("DROP TABLE {table};"),
        );
    }
    let (column, table) = name
        .strip_prefix("add_")
        .and_then(|rest| rest.rsplit_once("_to_"))
        .filter(|(column, table)| !column.is_empty() && !table.is_empty())
        .unwrap_or(("published_at", "posts"));
    (
        format!("ALTER TABLE {table} ADD COLUMN {column} timestamp;"),
        format!("ALTER TABLE {table} DROP COLUMN {column};"),
    )
}

/// A data migration that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Data<'a> {
    pub(super) version: Version,
    pub(super) name: &'a str,
    /// A program instead of SQL.
    pub(super) program: Option<ProgramKind>,
    /// The table whose rows it is about, chunk by chunk.
    pub(super) chunk_by: Option<&'a str>,
    /// What it comes after.
    pub(super) after: Option<Version>,
    /// The Elixir release.
    pub(super) app: &'a str,
}

impl Data<'_> {
    /// Its ending, its text with places to fill, and whether it is run as it is.
    fn template(&self) -> (&'static str, &'static str, bool) {
        if self.chunk_by.is_some() {
            let text = match self.program {
                None => return ("sql", include_str!("../../templates/chunks.sql"), false),
                Some(ProgramKind::Sh) => include_str!("../../templates/rows_sh.toml"),
                Some(ProgramKind::Python) => include_str!("../../templates/rows_python.toml"),
                Some(ProgramKind::Rails) => include_str!("../../templates/rows_rails.toml"),
                Some(ProgramKind::Django) => include_str!("../../templates/rows_django.toml"),
                Some(ProgramKind::MixRelease) => {
                    include_str!("../../templates/rows_mix_release.toml")
                }
            };
            return ("toml", text, false);
        }
        match self.program {
            None => ("sql", include_str!("../../templates/data.sql"), false),
            Some(ProgramKind::Sh) => ("sh", include_str!("../../templates/program.sh"), true),
            Some(ProgramKind::Python) => ("py", include_str!("../../templates/program.py"), true),
            Some(ProgramKind::Rails) => ("toml", include_str!("../../templates/rails.toml"), false),
            Some(ProgramKind::Django) => {
                ("toml", include_str!("../../templates/django.toml"), false)
            }
            Some(ProgramKind::MixRelease) => {
                ("toml", include_str!("../../templates/mix_release.toml"), false)
            }
        }
    }

    /// Its file.
    pub(super) fn file(&self) -> File {
        let (ending, text, executable) = self.template();
        let (mark, form) = match ending {
            "sql" => ("-- ", "dunlin: after"),
            "toml" => ("", "after ="),
            _ => ("# ", "dunlin: after"),
        };
        let line = match (self.after, ending) {
            (Some(after), "toml") => format!("{mark}{form} [\"{after}\"]\n"),
            (Some(after), _) => format!("{mark}{form} {after}\n"),
            (None, _) => String::new(),
        };
        let table = self.chunk_by.unwrap_or_default();
        let text = text
            .replace("{after}\n", &line)
            .replace("{name}", self.name)
            .replace("{app}", self.app)
            .replace("{table}", table)
            // A string of JSON is one of TOML.
            .replace("{quoted}", &serde_json::Value::from(table).to_string());
        File { name: format!("{}_{}.{ending}", self.version, self.name), text, executable }
    }
}

/// The name of the Elixir release whose program `bin/NAME` is, as `mix.exs` has it.
pub(super) fn app_name(root: &Path) -> String {
    let text = std::fs::read_to_string(root.join("mix.exs")).unwrap_or_default();
    let name = text.split_once("app: :").map_or("", |(_, rest)| rest);
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len());
    if end == 0 { "app".to_owned() } else { name[..end].to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use dunlin::model::{Dialect, MigrationId};
    use dunlin::project::folder;

    use super::*;
    use crate::new_file::write_new;

    const KINDS: [Option<ProgramKind>; 6] = [
        None,
        Some(ProgramKind::Sh),
        Some(ProgramKind::Python),
        Some(ProgramKind::Rails),
        Some(ProgramKind::Django),
        Some(ProgramKind::MixRelease),
    ];

    fn sample<'a>(
        version: Version,
        program: Option<ProgramKind>,
        after: Option<Version>,
        chunk_by: Option<&'a str>,
    ) -> Data<'a> {
        Data { version, name: "backfill_x", program, chunk_by, after, app: "shop" }
    }

    #[test]
    fn every_template_over_chunks_can_be_run_as_it_is() {
        let root = tempfile::tempdir().expect("a folder");
        let tables = ["posts", "public.\"My \\ Posts\""];
        let newest = Version::new(7).expect("a version");
        let mut number = 100;
        for kind in KINDS {
            for (table, after) in tables.into_iter().zip([None, Some(newest)]) {
                number += 1;
                let version = Version::new(number).expect("a version");
                let file = sample(version, kind, after, Some(table)).file();
                let path = root.path().join("data").join(&file.name);
                write_new(&path, &file.text, file.executable).expect("written");
            }
        }
        let folder = folder::read(root.path(), None, Some(Path::new("data"))).expect("files");
        assert_eq!(folder.files.len(), 12);
        for dialect in [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite] {
            for (index, (id, file)) in folder.files.iter().enumerate() {
                let migration = file.parse(dialect).unwrap_or_else(|e| panic!("{id}: {e:?}"));
                assert!(migration.directives().background);
                assert_eq!(migration.directives().after.len(), index % 2, "{id}");
                let chunking = migration.chunking().expect("it is chunked");
                assert_eq!(chunking.table, tables[index % 2], "{id}");
            }
        }
    }

    #[test]
    fn every_template_can_be_run_as_it_is() {
        let root = tempfile::tempdir().expect("a folder");
        let newest = Version::new(7).expect("a version");
        for (index, kind) in KINDS.into_iter().enumerate() {
            for after in [None, Some(newest)] {
                let number = i64::try_from(index).expect("small") * 2 + i64::from(after.is_some());
                let version = Version::new(10 + number).expect("a version");
                let file = sample(version, kind, after, None).file();
                let path = root.path().join("data").join(&file.name);
                write_new(&path, &file.text, file.executable).expect("written");
                assert!(!file.text.contains('{') || !file.text.contains("{after}"));
            }
        }
        for file in schema(newest, "create_posts") {
            let path = root.path().join("schema").join(&file.name);
            write_new(&path, &file.text, file.executable).expect("written");
        }
        let folder = folder::read(root.path(), Some(Path::new("schema")), Some(Path::new("data")))
            .expect("every name fits a rule");
        assert_eq!(folder.files.len(), 13);
        for dialect in [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite] {
            for (id, file) in &folder.files {
                let migration = file.parse(dialect).unwrap_or_else(|e| panic!("{id}: {e:?}"));
                assert!(migration.statements().is_empty());
                let after: Vec<String> =
                    migration.directives().after.iter().map(|r| r.text.clone()).collect();
                let odd = *id != MigrationId::schema(newest) && id.version.get() % 2 == 1;
                assert_eq!(after, if odd { vec!["7"] } else { Vec::new() }, "{id}");
            }
        }
    }

    #[test]
    fn the_example_fits_the_name() {
        assert!(example("create_posts").0.starts_with("CREATE TABLE posts "));
        assert!(example("add_email_to_users").1.contains("users DROP COLUMN email"));
        assert!(example("add_published_at").0.contains("posts"));
    }

    #[test]
    fn the_release_has_the_name_of_the_application() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(app_name(root.path()), "app");
        fs::write(root.path().join("mix.exs"), "[app: :shop_web,\n version: 1]").expect("written");
        assert_eq!(app_name(root.path()), "shop_web");
    }
}
