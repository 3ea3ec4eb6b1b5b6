//! Files of a project that are made for a person: whole or not at all, and never over another.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::exit::CliError;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is new.
    New,
    /// There was one, and it is as it was.
    WasThere,
}

/// Writes a file that is not there yet, and the folders above it.
pub(crate) fn write_new(path: &Path, text: &str, executable: bool) -> Result<Written, CliError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| CliError::file("make", folder, &error))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    mode(&mut options, executable);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Written::WasThere),
        Err(error) => return Err(CliError::file("write", path, &error)),
    };
    file.write_all(text.as_bytes()).map_err(|error| CliError::file("write", path, &error))?;
    Ok(Written::New)
}

/// The mode as `umask` leaves it.
#[cfg(unix)]
fn mode(options: &mut OpenOptions, executable: bool) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(if executable { 0o777 } else { 0o666 });
}

#[cfg(not(unix))]
fn mode(_options: &mut OpenOptions, _executable: bool) {}
