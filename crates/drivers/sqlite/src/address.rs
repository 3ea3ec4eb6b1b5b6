//! Where a database is: the URL, parsed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What the URL's `mode` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// `mode=ro`.
    Read,
    /// `mode=rw`: the file must be there.
    Write,
    /// `mode=rwc`, and where nothing is said.
    Create,
}

/// One database file, and how it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatabaseFile {
    /// Absolute.
    pub(crate) path: PathBuf,
    /// What the URL allows.
    pub(crate) access: Access,
    /// How long another connection's lock is waited for where a migration says nothing else.
    pub(crate) busy_timeout: Duration,
}

/// What stands for itself in the path of a `file:` URI.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

impl DatabaseFile {
    /// Reads `sqlite:PATH`, `sqlite://PATH` and `sqlite:///ABSOLUTE`, with `?mode=ro|rw|rwc`.
    /// A relative path starts at `root`.
    pub(crate) fn parse(
        url: &str,
        root: &Path,
        busy_timeout: Duration,
    ) -> Result<Self, TargetError> {
        let rest = url
            .strip_prefix("sqlite:")
            .or_else(|| url.strip_prefix("sqlite3:"))
            .ok_or_else(|| refused("the URL of an SQLite database begins with `sqlite:`"))?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if path == ":memory:" {
            return Err(in_memory());
        }
        if path.is_empty() {
            return Err(refused("the SQLite URL names no file")
                .help("write the file's path after it: sqlite://app.db, or sqlite:///srv/app.db"));
        }
        let access = read_parameters(query)?;
        let path = native(percent_decode_str(path).collect())?;
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        Ok(Self { path: root.join(path), access, busy_timeout })
    }

    /// The file as SQLite's URI, so that no character of a path has a meaning of its own and
    /// ATTACH in a user's file reads `file:` names as the `sqlite3` program does.
    pub(crate) fn uri(path: &Path, parameters: &str) -> String {
        let bytes = path.as_os_str().as_encoded_bytes();
        format!("file://{}{parameters}", percent_encode(bytes, PATH))
    }

    /// The path of a file that SQLite keeps beside the database: `-wal`, `-shm`, `-journal`.
    /// They stand beside the file itself, not beside a symbolic link to it.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        let real = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let mut name = real.into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }
}

fn refused(message: impl Into<String>) -> TargetError {
    TargetError::new(ErrorKind::Refused, message)
}

fn in_memory() -> TargetError {
    refused("a database in memory cannot be migrated: it is gone when the command ends")
        .help("name a file: sqlite://app.db")
}

fn read_parameters(query: &str) -> Result<Access, TargetError> {
    let mut access = Access::Create;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        access = match (name, value) {
            ("mode", "ro") => Access::Read,
            ("mode", "rw") => Access::Write,
            ("mode", "rwc") => Access::Create,
            ("mode", "memory") => return Err(in_memory()),
            ("mode", other) => {
                return Err(refused(format!("the SQLite URL has an unknown mode `{other}`"))
                    .help("mode is ro (only read), rw (the file must be there) or rwc"));
            }
            (other, _) => {
                return Err(refused(format!("the SQLite URL has an unknown parameter `{other}`"))
                    .help("the only parameter is mode: ro, rw or rwc"));
            }
        };
    }
    Ok(access)
}

#[cfg(unix)]
fn native(bytes: Vec<u8>) -> Result<PathBuf, TargetError> {
    use std::os::unix::ffi::OsStringExt as _;
    if bytes.contains(&0) {
        return Err(refused("the path in the SQLite URL contains a NUL character"));
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(not(unix))]
fn native(bytes: Vec<u8>) -> Result<PathBuf, TargetError> {
    String::from_utf8(bytes)
        .map(|text| PathBuf::from(OsString::from(text)))
        .map_err(|_| refused("the path in the SQLite URL is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<DatabaseFile, TargetError> {
        DatabaseFile::parse(url, Path::new("/project"), Duration::from_secs(5))
    }

    #[test]
    fn paths_are_read_relative_to_the_root_or_absolute() {
        for (url, path) in [
            ("sqlite://app.db", "/project/app.db"),
            ("sqlite:app.db", "/project/app.db"),
            ("sqlite://./data/app.db", "/project/./data/app.db"),
            ("sqlite:///srv/app.db", "/srv/app.db"),
            ("sqlite:/srv/app.db", "/srv/app.db"),
            ("sqlite://with%20space%3F.db", "/project/with space?.db"),
            ("sqlite3:db/development.sqlite3", "/project/db/development.sqlite3"),
        ] {
            assert_eq!(parse(url).unwrap().path, Path::new(path), "{url}");
        }
    }

    #[test]
    fn modes_are_checked() {
        assert_eq!(parse("sqlite:a.db").unwrap().access, Access::Create);
        assert_eq!(parse("sqlite:a.db?mode=ro").unwrap().access, Access::Read);
        assert_eq!(parse("sqlite:a.db?mode=rw").unwrap().access, Access::Write);
        assert_eq!(parse("sqlite:a.db?mode=rwc").unwrap().access, Access::Create);
        assert!(parse("sqlite:a.db?mode=write").unwrap_err().message.contains("`write`"));
        assert!(parse("sqlite:a.db?cache=shared").unwrap_err().message.contains("`cache`"));
    }

    #[test]
    fn what_names_no_file_is_refused_with_the_reason() {
        for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite:a.db?mode=memory"] {
            assert!(parse(url).unwrap_err().message.contains("memory"), "{url}");
        }
        assert!(parse("sqlite://").unwrap_err().message.contains("no file"));
        assert!(parse("sqlite:?mode=ro").unwrap_err().message.contains("no file"));
        assert!(parse("postgres://x/y").is_err());
        assert!(parse("sqlite:a%00b").is_err());
    }

    #[test]
    fn a_path_is_quoted_for_the_uri() {
        let uri = DatabaseFile::uri(Path::new("/a b/c?d#e%é.db"), "?mode=ro");
        assert_eq!(uri, "file:///a%20b/c%3Fd%23e%25%C3%A9.db?mode=ro");
    }
}
