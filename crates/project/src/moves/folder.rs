//! The folder of mappings.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use dunlin_model::moves::Mapping;
use dunlin_model::{Diagnostic, Place};

use super::parse_mapping;
use crate::directive::is_name;
use crate::suggestion;

/// Where mappings are, below a project's root.
pub const FOLDER: &str = "moves";

/// What one mapping may hold: a thousand tables need less than half of it.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Characters of a mapping's name: ledgers keep 64 of `move/NAME`.
const NAME_CHARS_MAX: usize = 59;

/// Reads `moves/NAME.toml` below a project's root.
///
/// # Errors
/// There is no such mapping, or whatever is wrong in it, as [`parse_mapping`].
pub fn read_mapping(root: &Path, name: &str) -> Result<Mapping, Vec<Diagnostic>> {
    if !is_name(name) {
        return Err(vec![
            Diagnostic::error("wrong-name", format!("`{name}` is no name of a mapping"))
                .help("a name has letters, digits, `-` and `_`; its file is moves/NAME.toml"),
        ]);
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(vec![
            Diagnostic::error("wrong-name", format!("`{name}` is too long for a mapping's name"))
                .help(format!("at most {NAME_CHARS_MAX} characters fit the ledger")),
        ]);
    }
    let file = PathBuf::from(FOLDER).join(format!("{name}.toml"));
    match read(&root.join(&file)) {
        Ok(text) => parse_mapping(name, &file, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(missing(root, name, &file)),
        Err(error) => Err(vec![
            Diagnostic::error("unreadable-file", format!("cannot read the file: {error}"))
                .at(Place::file(file)),
        ]),
    }
}

/// The names of the mappings below a project's root, sorted. Without the folder there are none.
///
/// # Errors
/// The folder can't be read.
pub fn list_mappings(root: &Path) -> Result<Vec<String>, Vec<Diagnostic>> {
    let unreadable = |error: std::io::Error| {
        let message = format!("cannot read the folder of mappings: {error}");
        vec![Diagnostic::error("missing-folder", message).at(Place::file(FOLDER))]
    };
    let entries = match fs::read_dir(root.join(FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.map_err(unreadable)?.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".toml"));
        names.extend(name.filter(|name| is_name(name)).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("the file is larger than 4 MiB"));
    }
    Ok(text)
}

fn missing(root: &Path, name: &str, file: &Path) -> Vec<Diagnostic> {
    let known = match list_mappings(root) {
        Ok(known) => known,
        Err(errors) => return errors,
    };
    let names = || known.iter().map(String::as_str);
    let verb = if known.len() == 1 { "is" } else { "are" };
    let help = match suggestion::nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`? There {verb} {}", suggestion::list(names())),
        None if known.is_empty() => format!("there are none yet: `dunlin new move {name}`"),
        None => format!("there {verb} {}", suggestion::list(names())),
    };
    vec![
        Diagnostic::error("unknown-mapping", format!("there is no mapping `{name}`"))
            .at(Place::file(file))
            .help(help),
    ]
}
