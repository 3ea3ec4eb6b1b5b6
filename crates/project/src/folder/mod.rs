//! Migration folders: which files there are, by which rule, and their bytes.
//!
//! Invariants: a file that fits no rule is an error that names the rule; all errors are found, not
//! only the first; reading needs one directory listing and one read of each up file, so that ten
//! thousand files cost tens of milliseconds. What is left out: parsing, which only pending
//! migrations need.

mod file_name;
mod load;
mod program;
mod retired;
mod rows;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use dunlin_model::{
    Body, Checksums, Diagnostic, Dialect, Kind, Migration, MigrationId, Place, Script, Version,
};

use crate::directive::Subject;
use crate::sql;
use file_name::{FileName, Role};

pub(crate) use program::toml_error;
pub use retired::{RETIRED_FILE, Retired, retired_toml_with};

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
    /// Parses the up file. What is wrong in a down file must not keep an up from running, so that
    /// one is left for [`MigrationFile::parse_with_down`].
    ///
    /// # Errors
    /// Whatever is wrong in the file.
    pub fn parse(&self, dialect: Dialect) -> Result<Migration, Vec<Diagnostic>> {
        if self.program {
            return program::parse(self, dialect);
        }
        let subject = match self.id.kind {
            Kind::Schema => Subject::SchemaUp,
            Kind::Data => Subject::DataSql,
        };
        let script = sql::parse_script(dialect, &self.up, &self.bytes, subject)?;
        let texts = script.statements.iter().map(|statement| statement.text.as_str());
        let checksums =
            Checksums { text: self.checksum.clone(), statements: Checksums::of_statements(texts) };
        Ok(Migration {
            id: self.id,
            name: self.name.clone(),
            text: String::from_utf8_lossy(&self.bytes).into_owned(),
            body: Body::Sql(script),
            down: None,
            checksums,
        })
    }

    /// Parses up and down.
    ///
    /// # Errors
    /// Whatever is wrong in the files.
    pub fn parse_with_down(&self, dialect: Dialect) -> Result<Migration, Vec<Diagnostic>> {
        let migration = self.parse(dialect)?;
        Ok(Migration { down: self.parse_down(dialect)?, ..migration })
    }

    fn parse_down(&self, dialect: Dialect) -> Result<Option<Script>, Vec<Diagnostic>> {
        let Some(down) = &self.down else { return Ok(None) };
        let bytes =
            fs::read(self.root.join(down)).map_err(|error| vec![unreadable(down, &error)])?;
        sql::parse_script(dialect, down, &bytes, Subject::SchemaDown).map(Some)
    }
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
    root: &Path,
    migrations: Option<&Path>,
    data_migrations: Option<&Path>,
) -> Result<Folder, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut retired = BTreeMap::new();
    let mut found = Vec::new();
    if let (Some(schema), Some(data)) = (migrations, data_migrations)
        && is_one_folder(schema, data)
    {
        let message = "this folder is that of schema migrations and that of data migrations: each \
             of its files would run twice";
        let help = "give data migrations a folder of their own: data_migrations = \"…\" in \
             dunlin.toml, or --data-migrations";
        let error = Diagnostic::error("one-folder", message);
        return Err(vec![error.at(Place::file(shown(root, data))).help(help)]);
    }
    for (kind, folder) in [(Kind::Schema, migrations), (Kind::Data, data_migrations)] {
        let Some(folder) = folder else { continue };
        let listing = Listing::read(root, folder, kind, &mut errors);
        if kind == Kind::Data && listing.retired {
            retired::read(root, &shown(root, folder).join(RETIRED_FILE), &mut retired, &mut errors);
        }
        pair(root, kind, listing.files, &mut found, &mut errors);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let files = load::load(found)?;
    Ok(Folder { files: files.into_iter().map(|file| (file.id, file)).collect(), retired })
}

/// Whether two paths lead to the same folder, however they are written.
fn is_one_folder(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// A path as it is shown and kept: relative to the root where it is below it.
fn shown(root: &Path, folder: &Path) -> PathBuf {
    match folder.strip_prefix(root) {
        Ok(below) => below.to_owned(),
        Err(_) => folder.to_owned(),
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> Diagnostic {
    Diagnostic::error("unreadable-file", format!("cannot read the file: {error}"))
        .at(Place::file(file))
}

/// A file of a migrations folder that fits a rule.
#[derive(Debug)]
struct Found {
    file: PathBuf,
    name: FileName,
}

/// What a folder holds.
#[derive(Debug, Default)]
struct Listing {
    files: Vec<Found>,
    /// There is a `retired.toml`.
    retired: bool,
}

impl Listing {
    fn read(root: &Path, folder: &Path, kind: Kind, errors: &mut Vec<Diagnostic>) -> Self {
        let mut listing = Self::default();
        let shown = shown(root, folder);
        let entries = match fs::read_dir(root.join(folder)) {
            Ok(entries) => entries,
            Err(error) => {
                errors.push(
                    Diagnostic::error(
                        "missing-folder",
                        format!("cannot read the folder of {kind} migrations: {error}"),
                    )
                    .at(Place::file(&shown))
                    .help("make the folder, or correct its path in dunlin.toml or on the command line"),
                );
                return listing;
            }
        };
        for entry in entries {
            match entry {
                Ok(entry) => listing.take(&shown, &entry, kind, errors),
                Err(error) => errors.push(unreadable(&shown, &error)),
            }
        }
        listing
    }

    fn take(&mut self, folder: &Path, entry: &DirEntry, kind: Kind, errors: &mut Vec<Diagnostic>) {
        let os_name = entry.file_name();
        let file = folder.join(&os_name);
        let Some(name) = os_name.to_str() else {
            errors.push(file_name::refuse(&file, kind, "its name is not UTF-8"));
            return;
        };
        if file_name::is_ignored(name) {
            return;
        }
        if name == RETIRED_FILE && kind == Kind::Data {
            self.retired = true;
            return;
        }
        if entry.file_type().is_ok_and(|file_type| file_type.is_dir()) {
            errors.push(file_name::refuse_folder(&file, kind));
            return;
        }
        match file_name::parse(&file, name, kind, || is_executable(entry)) {
            Ok(parsed) => self.files.push(Found { file, name: parsed }),
            Err(error) => errors.push(*error),
        }
    }
}

/// Whether a file may be run. Follows links, as running it does.
#[cfg(unix)]
fn is_executable(entry: &DirEntry) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(entry.path())
        .is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

/// Elsewhere there is no run bit: a program is named in a `.toml`.
#[cfg(not(unix))]
fn is_executable(_entry: &DirEntry) -> bool {
    false
}

/// Brings ups and downs together, and refuses two of a version and a down on its own.
fn pair(
    root: &Path,
    kind: Kind,
    mut files: Vec<Found>,
    migrations: &mut Vec<MigrationFile>,
    errors: &mut Vec<Diagnostic>,
) {
    // A folder's own order differs from machine to machine; errors should not.
    // Paths compare slowly, component by component; here they differ in their last one only.
    files.sort_unstable_by(|a, b| {
        (a.name.version, a.file.as_os_str()).cmp(&(b.name.version, b.file.as_os_str()))
    });
    let mut files = files.into_iter().peekable();
    while let Some(first) = files.next() {
        let version = first.name.version;
        let (mut up, mut down) = (None, None);
        place(first, &mut up, &mut down, errors);
        while let Some(next) = files.next_if(|next| next.name.version == version) {
            place(next, &mut up, &mut down, errors);
        }
        match (up, down) {
            (Some(up), down) => migrations.push(MigrationFile {
                id: MigrationId { version, kind },
                name: up.name.name,
                up: up.file,
                bytes: Vec::new(),
                checksum: String::new(),
                down: down.map(|down| down.file),
                program: up.name.role == Role::Program,
                root: root.to_owned(),
            }),
            (None, Some(down)) => errors.push(lonely_down(&down)),
            (None, None) => {}
        }
    }
}

fn place(
    found: Found,
    up: &mut Option<Found>,
    down: &mut Option<Found>,
    errors: &mut Vec<Diagnostic>,
) {
    let slot = if found.name.role == Role::Down { down } else { up };
    match slot {
        None => *slot = Some(found),
        Some(other) => errors.push(
            Diagnostic::error(
                "duplicate-version",
                format!(
                    "version {} has two files: this one and {}",
                    found.name.version,
                    other.file.display()
                ),
            )
            .at(Place::file(&found.file))
            .help("give one of them a version of its own"),
        ),
    }
}

fn lonely_down(down: &Found) -> Diagnostic {
    let file = down.file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let up = file.replace(".down.sql", ".up.sql");
    Diagnostic::error(
        "down-without-up",
        format!("version {} has a down file but no up file", down.name.version),
    )
    .at(Place::file(&down.file))
    .help(format!("add `{up}` beside it, or delete this file"))
}
