//! Migration folders: which files there are, by which rule, and their bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dunlin_model::{Diagnostic, Dialect, Migration, MigrationId, Version};

/// One migration's files, read but not yet parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationFile {
    /// Version and kind, from the name.
    pub id: MigrationId,
    /// The file's name after the version, without its ending.
    pub name: String,
    /// The up file, relative to the project's root where it is below it.
    pub up: PathBuf,
    /// The up file's bytes.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes, as in [`dunlin_model::Checksums::text`].
    pub checksum: String,
    /// The down file, if there is one.
    pub down: Option<PathBuf>,
    /// It is a program (an executable file or a `.toml`), not SQL.
    pub program: bool,
    /// The project's root, where programs run.
    pub root: PathBuf,
}

impl MigrationFile {
    /// Parses up and down.
    ///
    /// # Errors
    /// Whatever is wrong in the files.
    pub fn parse(&self, _dialect: Dialect) -> Result<Migration, Vec<Diagnostic>> {
        Err(Vec::new())
    }
}

/// A data migration that will never run again anywhere, from `data_migrations/retired.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// Its name.
    pub name: String,
    /// Why.
    pub because: Option<String>,
}

/// All migrations of one database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folder {
    /// By version and kind, in the order in which they run.
    pub files: BTreeMap<MigrationId, MigrationFile>,
    /// Retired data migrations.
    pub retired: BTreeMap<Version, Retired>,
}

/// Reads the folders of one database. Reads up files whole (in parallel where there are many) and
/// does not parse them.
///
/// # Errors
/// Files that fit no rule, two files of one version, a down without its up, a folder that is not
/// there: all of them, not only the first.
pub fn read(
    _root: &Path,
    _migrations: Option<&Path>,
    _data_migrations: Option<&Path>,
) -> Result<Folder, Vec<Diagnostic>> {
    Ok(Folder::default())
}
