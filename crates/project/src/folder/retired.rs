//! `retired.toml`: data migrations that will never run again anywhere, for every other database
//! and every new checkout.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dunlin_model::{Diagnostic, Place, Version};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::program::toml_error;
use super::unreadable;
use crate::position::line_and_column;
use crate::suggestion;

/// The file's name, in the folder of data migrations.
pub const RETIRED_FILE: &str = "retired.toml";

/// A data migration that will never run again anywhere, from `data_migrations/retired.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// Its name.
    pub name: String,
    /// Why.
    pub because: Option<String>,
}

/// What a new file begins with.
const HEADING: &str = "\
# Data migrations that will never run again anywhere; written by `dunlin data retire`.
# Commit this file: it tells every other database and every new checkout.
";

/// The text of `retired.toml` with one more entry; what is there, comments included, is kept. The
/// same text where the version is retired already, unless there is another reason now. An empty text stands for no file.
///
/// # Errors
/// The existing text is not valid TOML, or `retired` in it is no list of tables.
pub fn retired_toml_with(
    existing: &str,
    version: Version,
    name: &str,
    because: Option<&str>,
) -> Result<String, Box<Diagnostic>> {
    let file = Path::new(RETIRED_FILE);
    let start = if existing.trim().is_empty() { HEADING } else { existing };
    let mut document: toml_edit::DocumentMut =
        start.parse().map_err(|error: toml_edit::TomlError| {
            let place = error.span().map_or(Place::file(file), |span| {
                let (line, column) = line_and_column(start, span.start);
                Place::at(file, line, column)
            });
            let message = format!("not valid TOML: {}", error.message());
            Box::new(Diagnostic::error("malformed-toml", message).at(place))
        })?;
    let item = document
        .entry("retired")
        .or_insert_with(|| toml_edit::Item::ArrayOfTables(toml_edit::ArrayOfTables::new()));
    if !item.is_array_of_tables() {
        let taken = std::mem::take(item);
        match taken.into_array_of_tables() {
            Ok(tables) => *item = toml_edit::Item::ArrayOfTables(tables),
            Err(_) => return Err(Box::new(not_tables(Place::file(file)))),
        }
    }
    let Some(tables) = item.as_array_of_tables_mut() else {
        return Err(Box::new(not_tables(Place::file(file))));
    };
    let number = version.get();
    let known = tables
        .iter_mut()
        .find(|table| table.get("version").and_then(toml_edit::Item::as_integer) == Some(number));
    if let Some(table) = known {
        let said = table.get("because").and_then(toml_edit::Item::as_str);
        let Some(because) = because.filter(|because| said != Some(*because)) else {
            return Ok(existing.to_owned());
        };
        table.insert("because", toml_edit::value(because));
        return Ok(document.to_string());
    }
    let mut table = toml_edit::Table::new();
    table.insert("version", toml_edit::value(number));
    table.insert("name", toml_edit::value(name));
    if let Some(because) = because {
        table.insert("because", toml_edit::value(because));
    }
    table.decor_mut().set_prefix("\n");
    tables.push(table);
    let text = document.to_string();
    // A document of comments alone keeps them as its trailing text, below the new table.
    Ok(match text.strip_suffix(HEADING) {
        Some(entry) if start == HEADING => format!("{HEADING}{entry}"),
        _ => text,
    })
}

fn not_tables(place: Place) -> Diagnostic {
    Diagnostic::error("malformed-toml", "`retired` is not a list of tables")
        .at(place)
        .help("write each entry below a line [[retired]]")
}

/// Reads the file into `retired`.
pub(super) fn read(
    root: &Path,
    file: &Path,
    retired: &mut BTreeMap<Version, Retired>,
    errors: &mut Vec<Diagnostic>,
) {
    match fs::read_to_string(root.join(file)) {
        Ok(text) => parse(file, text.trim_start_matches('\u{feff}'), retired, errors),
        Err(error) => errors.push(unreadable(file, &error)),
    }
}

fn parse(
    file: &Path,
    text: &str,
    retired: &mut BTreeMap<Version, Retired>,
    errors: &mut Vec<Diagnostic>,
) {
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => return errors.push(toml_error(file, text, &error)),
    };
    for (key, value) in document.get_ref() {
        let at = Place::at(file, line_and_column(text, key.span().start).0, 1);
        if key.get_ref() != "retired" {
            errors.push(
                Diagnostic::error("unknown-key", format!("unknown key `{}`", key.get_ref()))
                    .at(at)
                    .help(suggestion::help(key.get_ref(), ["retired"])),
            );
            continue;
        }
        let Some(entries) = value.get_ref().as_array() else {
            errors.push(not_tables(at));
            continue;
        };
        for entry in entries.iter() {
            match parse_entry(file, text, entry) {
                Ok((version, read)) => {
                    if retired.insert(version, read).is_some() {
                        errors.push(place(
                            file,
                            text,
                            entry.span().start,
                            &format!("version {version} is retired twice"),
                        ));
                    }
                }
                Err(error) => errors.push(*error),
            }
        }
    }
}

fn place(file: &Path, text: &str, offset: usize, message: &str) -> Diagnostic {
    let (line, column) = line_and_column(text, offset);
    Diagnostic::error("malformed-retired", message).at(Place::at(file, line, column)).help(
        "an entry is [[retired]] with version = 20260110093000, name = \"…\", because = \"…\"",
    )
}

fn parse_entry(
    file: &Path,
    text: &str,
    entry: &Spanned<DeValue<'_>>,
) -> Result<(Version, Retired), Box<Diagnostic>> {
    let wrong = |offset: usize, message: &str| Box::new(place(file, text, offset, message));
    let start = entry.span().start;
    let Some(table) = entry.get_ref().as_table() else {
        return Err(wrong(start, "the entry is not a table"));
    };
    let (mut version, mut name, mut because) = (None, None, None);
    for (key, value) in table {
        let at = value.span().start;
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("version", DeValue::Integer(number)) => {
                version = Some(
                    number.to_string().parse().map_err(|error| wrong(at, &format!("{error}")))?,
                );
            }
            ("name", DeValue::String(said)) => name = Some(said.to_string()),
            ("because", DeValue::String(said)) => because = Some(said.to_string()),
            (known @ ("version" | "name" | "because"), _) => {
                return Err(wrong(at, &format!("`{known}` has the wrong type")));
            }
            (unknown, _) => {
                return Err(wrong(key.span().start, &format!("unknown key `{unknown}`")));
            }
        }
    }
    match (version, name) {
        (Some(version), Some(name)) => Ok((version, Retired { name, because })),
        (None, _) => Err(wrong(start, "the entry has no `version`")),
        (_, None) => Err(wrong(start, "the entry has no `name`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: i64) -> Version {
        Version::new(number).expect("not negative")
    }

    fn read_back(text: &str) -> BTreeMap<Version, Retired> {
        let (mut retired, mut errors) = (BTreeMap::new(), Vec::new());
        parse(Path::new(RETIRED_FILE), text, &mut retired, &mut errors);
        assert_eq!(errors, []);
        retired
    }

    #[test]
    fn entries_are_added_and_comments_kept() {
        let first =
            retired_toml_with("", version(7), "split", Some("done \"everywhere\"")).expect("valid");
        assert!(first.starts_with("# Data migrations"), "{first}");
        let existing = format!("{first}# ours\n");
        let second = retired_toml_with(&existing, version(9), "clean", None).expect("valid");
        assert!(second.contains("# ours"), "{second}");
        let all = read_back(&second);
        assert_eq!(all[&version(7)].because.as_deref(), Some("done \"everywhere\""));
        assert_eq!(all[&version(9)], Retired { name: "clean".into(), because: None });
        assert_eq!(retired_toml_with(&second, version(9), "clean", None).as_ref(), Ok(&second));
    }

    #[test]
    fn an_inline_list_is_taken_over_and_other_things_are_refused() {
        let text = "retired = [{ version = 1, name = \"a\" }]\n";
        let more = retired_toml_with(text, version(2), "b", None).expect("valid");
        assert_eq!(read_back(&more).len(), 2, "{more}");
        assert!(retired_toml_with("retired = 1", version(2), "b", None).is_err());
        assert!(retired_toml_with("retired = [", version(2), "b", None).is_err());
    }

    #[test]
    fn wrong_entries_name_their_line() {
        for (text, message) in [
            ("[[retired]]\nname = 'a'", "no `version`"),
            ("[[retired]]\nversion = 1", "no `name`"),
            ("[[retired]]\nversion = -1\nname = 'a'", "not a version"),
            ("[[retired]]\nversion = '1'\nname = 'a'", "wrong type"),
            ("[[retired]]\nversion = 1\nname = 'a'\nwhy = 'b'", "unknown key"),
            ("[[retire]]\nversion = 1", "unknown key"),
            ("[[retired]]\nversion = 1\nname='a'\n[[retired]]\nversion = 1\nname='b'", "twice"),
        ] {
            let (mut retired, mut errors) = (BTreeMap::new(), Vec::new());
            parse(Path::new("d/retired.toml"), text, &mut retired, &mut errors);
            assert_eq!(errors.len(), 1, "{text}");
            assert!(errors[0].message.contains(message), "{}", errors[0]);
            assert!(errors[0].place.as_ref().is_some_and(|place| place.line.is_some()));
        }
    }
}
