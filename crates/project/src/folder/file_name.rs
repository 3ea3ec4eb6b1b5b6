//! The rules that a file's name must fit.

use std::path::Path;

use dunlin_model::{Diagnostic, Kind, Place, Version};

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// SQL, up.
    Up,
    /// SQL, down.
    Down,
    /// A program, or a `.toml` that names one.
    Program,
}

/// A file's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileName {
    pub(super) version: Version,
    /// What follows the version, without the ending; may be empty.
    pub(super) name: String,
    pub(super) role: Role,
}

/// Endings of languages that people write scripts in, for a better message.
const SCRIPTS: &[&str] =
    &["py", "rb", "sh", "bash", "js", "mjs", "ts", "pl", "php", "lua", "exs", "ex", "go", "rs"];

/// Files that belong to other tools and hold no migration.
const COMPANIONS: &[&str] = &["atlas.sum", "migration_lock.toml"];

/// Hidden files, READMEs, and what other tools keep beside their migrations.
pub(super) fn is_ignored(name: &str) -> bool {
    name.starts_with('.')
        || name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("readme"))
        || COMPANIONS.contains(&name)
}

/// Takes a name apart. `is_executable` is asked only where the name alone doesn't decide.
pub(super) fn parse(
    file: &Path,
    name: &str,
    kind: Kind,
    is_executable: impl FnOnce() -> bool,
) -> Result<FileName, Box<Diagnostic>> {
    let refuse = |why: &str| Box::new(refuse(file, kind, why));
    let (stem, role) = if let Some(stem) = name.strip_suffix(".up.sql") {
        (stem, Role::Up)
    } else if let Some(stem) = name.strip_suffix(".down.sql") {
        if kind == Kind::Data {
            return Err(refuse(
                "a data migration has no way down: a rollback makes it pending again",
            ));
        }
        (stem, Role::Down)
    } else if let Some(stem) = name.strip_suffix(".sql") {
        (stem, Role::Up)
    } else if kind == Kind::Schema {
        return Err(refuse(&why_no_schema_file(name)));
    } else if let Some(stem) = name.strip_suffix(".toml") {
        (stem, Role::Program)
    } else {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        if ending.eq_ignore_ascii_case("sql") {
            return Err(refuse("its ending is not in lower case"));
        }
        if !is_executable() {
            return Err(Box::new(refuse_program(file, kind, ending)));
        }
        (name.rsplit_once('.').map_or(name, |(stem, _)| stem), Role::Program)
    };
    let digits = stem.bytes().take_while(u8::is_ascii_digit).count();
    let (version, rest) = stem.split_at(digits);
    let name = match rest.strip_prefix('_') {
        _ if version.is_empty() => return Err(refuse("its name does not begin with a version")),
        Some(name) => name,
        None if rest.is_empty() => "",
        None => return Err(refuse("the version is not followed by `_`")),
    };
    let version = version.parse().map_err(|error| refuse(&format!("{error}")))?;
    Ok(FileName { version, name: name.to_owned(), role })
}

/// The rule of a folder, for a message.
fn rule(kind: Kind) -> &'static str {
    match kind {
        Kind::Schema => {
            "files of schema migrations are named VERSION_name.up.sql (with an optional \
             VERSION_name.down.sql) or VERSION_name.sql; VERSION is a whole number"
        }
        Kind::Data => {
            "files of data migrations are named VERSION_name.sql, VERSION_name.toml, or \
             VERSION_name.EXT with the run bit set (a program); VERSION is a whole number"
        }
    }
}

/// A file that fits no rule.
pub(super) fn refuse(file: &Path, kind: Kind, why: &str) -> Diagnostic {
    Diagnostic::error("file-fits-no-rule", format!("the file fits no rule: {why}"))
        .at(Place::file(file))
        .help(format!(
            "{}. Other files belong elsewhere, or get a name that starts with a dot",
            rule(kind)
        ))
}

/// A folder where there should be files only.
pub(super) fn refuse_folder(file: &Path, kind: Kind) -> Diagnostic {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    let is_diesel = name.first().is_some_and(u8::is_ascii_digit);
    let why = if is_diesel {
        "a folder for each migration is the layout of diesel and Prisma; here its up.sql is \
         VERSION_name.up.sql, and its down.sql VERSION_name.down.sql"
    } else {
        "folders inside the folder are not read"
    };
    refuse(file, kind, why)
}

fn why_no_schema_file(name: &str) -> String {
    if name == super::RETIRED_FILE {
        return "it belongs in the folder of data migrations".to_owned();
    }
    match name.rsplit_once('.') {
        Some((_, ending)) if ending.eq_ignore_ascii_case("sql") => {
            "its ending is not in lower case".to_owned()
        }
        Some((_, ending)) if SCRIPTS.contains(&ending) => {
            "programs belong in the folder of data migrations".to_owned()
        }
        _ => "it does not end in .sql".to_owned(),
    }
}

fn refuse_program(file: &Path, kind: Kind, ending: &str) -> Diagnostic {
    if ending.is_empty() || SCRIPTS.contains(&ending) {
        let name = file.display();
        return Diagnostic::error(
            "not-executable",
            "the program may not be run: its run bit is not set",
        )
        .at(Place::file(file))
        .help(format!(
            "chmod +x {name}  (and in git: git update-index --chmod=+x {name}), or name its \
                 interpreter in a VERSION_name.toml: [program] command = [\"…\", \"…\"]"
        ));
    }
    refuse(file, kind, "it does not end in .sql or .toml, and its run bit is not set")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        name: &str,
        kind: Kind,
        executable: bool,
    ) -> Result<(i64, String, Role), Box<Diagnostic>> {
        parse(Path::new(name), name, kind, || executable)
            .map(|parsed| (parsed.version.get(), parsed.name, parsed.role))
    }

    #[test]
    fn names_that_fit() {
        let schema = |name: &str| of(name, Kind::Schema, false).expect("fits");
        assert_eq!(schema("20260110_a_b.up.sql"), (20_260_110, "a_b".into(), Role::Up));
        assert_eq!(schema("7_a.down.sql"), (7, "a".into(), Role::Down));
        assert_eq!(schema("0001.up.sql"), (1, String::new(), Role::Up));
        assert_eq!(schema("0001_x_up.sql"), (1, "x_up".into(), Role::Up));
        assert_eq!(schema("1_a.b.sql"), (1, "a.b".into(), Role::Up));
        assert_eq!(schema("9223372036854775807_a.sql").0, i64::MAX);
        let data = |name: &str| of(name, Kind::Data, true).expect("fits");
        assert_eq!(data("3_a.sql"), (3, "a".into(), Role::Up));
        assert_eq!(data("3_a.b.py"), (3, "a.b".into(), Role::Program));
        assert_eq!(data("3_a"), (3, "a".into(), Role::Program));
        assert_eq!(data("3_a.toml"), (3, "a".into(), Role::Program));
    }

    #[test]
    fn names_that_fit_no_rule_say_why() {
        for (name, kind, why) in [
            ("a.sql", Kind::Schema, "does not begin with a version"),
            ("-1_a.sql", Kind::Schema, "does not begin with a version"),
            ("1-a.sql", Kind::Schema, "not followed by `_`"),
            ("1_a.SQL", Kind::Schema, "lower case"),
            ("1_a.py", Kind::Schema, "data migrations"),
            ("1_a.sql~", Kind::Schema, "does not end in .sql"),
            ("9223372036854775808_a.sql", Kind::Schema, "too large"),
            ("1_a.down.sql", Kind::Data, "pending again"),
            ("1_a.py", Kind::Data, "run bit"),
            ("1_a.txt", Kind::Data, "run bit"),
        ] {
            let error = of(name, kind, false).expect_err(name);
            assert!(error.message.contains(why), "{name}: {error}");
            assert!(error.help.is_some());
        }
    }
}
