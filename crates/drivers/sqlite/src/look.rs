//! Reading a database without leaving a trace.
//!
//! Each look opens the file anew, in the one way that neither creates nor changes a file:
//!
//! - a database with a rollback journal: `mode=ro`;
//! - one with a write-ahead log whose `-wal` is not there: `immutable=1`, since `mode=ro` would
//!   create `-wal` and `-shm`; a writer that came meanwhile is noticed, and the look repeated;
//! - one whose `-wal` and `-shm` are both there: `mode=ro`, which shares them with the writers;
//! - one that a dead writer left half-way (a hot journal, or a `-wal` without its `-shm`): SQLite
//!   can't read it before it is repaired, which would be a change. So it is copied into the
//!   system's folder for temporary files, up to [`COPY_BYTES_MAX`], and the copy is repaired.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use dunlin_engine::{ErrorKind, TargetError};
use rusqlite::{Connection, OpenFlags, ffi};
use tempfile::TempDir;

use crate::address::DatabaseFile;
use crate::control::Control;
use crate::fault::{self, Fault, Outcome};
use crate::header::{self, Header};

/// How often a look is tried while writers come and go.
const TRIES_MAX: usize = 5;

/// The largest database that is copied in order to be looked at: about a second's copying. Beyond
/// it the folder for temporary files, often in memory, might not hold it.
const COPY_BYTES_MAX: u64 = 1 << 30;

/// How the file can be opened now.
enum Way {
    Shared,
    Immutable(Seen),
    Copied,
}

/// What shows that nobody wrote meanwhile.
#[derive(PartialEq, Eq)]
struct Seen {
    database: Option<(u64, SystemTime)>,
    log: Option<(u64, SystemTime)>,
    journal: Option<(u64, SystemTime)>,
}

/// Runs a job on the database as it is, which must only read.
pub(crate) fn look<T>(
    file: &DatabaseFile,
    control: &Arc<Control>,
    mut job: impl FnMut(&Connection) -> Outcome<T>,
) -> Result<T, TargetError> {
    // With a rollback journal nobody reads while somebody commits.
    control.wait_for_locks(file.busy_timeout);
    let mut copy = false;
    for _ in 0..TRIES_MAX {
        let way = if copy { Way::Copied } else { way_in(file)? };
        let result = match &way {
            Way::Shared => open(&file.path, "?mode=ro", control).and_then(|c| read(&c, &mut job)),
            Way::Immutable(_) => {
                open(&file.path, "?immutable=1", control).and_then(|c| read(&c, &mut job))
            }
            Way::Copied => match copied(file) {
                Ok(Some((folder, path))) => {
                    let result = open(&path, "?mode=rw", control).and_then(|c| read(&c, &mut job));
                    drop(folder);
                    result
                }
                Ok(None) => continue,
                Err(error) => return Err(error),
            },
        };
        if let Way::Immutable(before) = &way
            && *before != seen(file)
        {
            continue;
        }
        match result {
            Ok(answer) => return Ok(answer),
            Err(fault) if !copy && needs_repair(&fault) => copy = true,
            Err(fault) => return Err(fault.tell(file, control)),
        }
    }
    Err(changed_each_time(file))
}

/// A view of the database as it was at one moment, kept open.
#[cfg(feature = "move")]
pub(crate) struct Snapshot {
    pub(crate) connection: Connection,
    /// How the file was, where SQLite was told that nobody changes it.
    before: Option<Seen>,
    /// After the connection, which holds files in it.
    _folder: Option<TempDir>,
}

#[cfg(feature = "move")]
impl Snapshot {
    /// Whether all that was read so far is of one moment. A log that came meanwhile changes nothing
    /// here, before its rows are brought into the database itself.
    pub(crate) fn check(&self, file: &DatabaseFile) -> Result<(), TargetError> {
        match &self.before {
            Some(before) if before.database != seen(file).database => Err(TargetError::new(
                ErrorKind::Conflict,
                format!("{} was changed by another program while it was read", file.path.display()),
            )
            .help(
                "run it again when nothing writes it; or keep a connection to it open that has \
                 read something: readers and writers then share the write-ahead log beside it",
            )),
            _ => Ok(()),
        }
    }
}

/// Opens the database as it is, to be read under one snapshot until that is dropped.
#[cfg(feature = "move")]
pub(crate) fn snapshot(
    file: &DatabaseFile,
    control: &Arc<Control>,
) -> Result<Snapshot, TargetError> {
    let begun = |connection: Connection| -> Outcome<Connection> {
        connection.execute_batch("BEGIN")?;
        // A transaction has its snapshot from its first read on.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    let mut copy = false;
    for _ in 0..TRIES_MAX {
        let way = if copy { Way::Copied } else { way_in(file)? };
        let (path, parameters, before, folder) = match way {
            Way::Shared => (file.path.clone(), "?mode=ro", None, None),
            Way::Immutable(before) => (file.path.clone(), "?immutable=1", Some(before), None),
            Way::Copied => match copied(file)? {
                Some((folder, path)) => (path, "?mode=rw", None, Some(folder)),
                None => continue,
            },
        };
        match open(&path, parameters, control).and_then(begun) {
            Ok(_) if before.as_ref().is_some_and(|before| *before != seen(file)) => {}
            Ok(connection) => return Ok(Snapshot { connection, before, _folder: folder }),
            Err(fault) if !copy && needs_repair(&fault) => copy = true,
            Err(fault) => return Err(fault.tell(file, control)),
        }
    }
    Err(changed_each_time(file))
}

fn changed_each_time(file: &DatabaseFile) -> TargetError {
    TargetError::new(
        ErrorKind::LockTimeout,
        format!("{} changed each time that it was looked at", file.path.display()),
    )
    .help("try again when less is written to it")
}

/// Checks that the file is there and a database, without opening it by SQLite.
pub(crate) fn identify(file: &DatabaseFile) -> Result<Header, TargetError> {
    match file.path.metadata() {
        Ok(facts) if facts.is_dir() => Err(TargetError::new(
            ErrorKind::NoSuchDatabase,
            format!("{} is a folder, not a file", file.path.display()),
        )
        .help("name the database file in the URL")),
        Ok(_) => match header::read(&file.path) {
            Ok(Header::Foreign) => Err(fault::not_a_database(&file.path)),
            Ok(found) => Ok(found),
            Err(error) => Err(fault::of_file("read", &file.path, &error)),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(fault::no_such_file(&file.path))
        }
        Err(error) => Err(fault::of_file("find", &file.path, &error)),
    }
}

fn way_in(file: &DatabaseFile) -> Result<Way, TargetError> {
    if identify(file)? != Header::Wal {
        return Ok(Way::Shared);
    }
    let seen = seen(file);
    Ok(match (&seen.log, file.beside("-shm").exists()) {
        (None, _) => Way::Immutable(seen),
        (Some(_), true) => Way::Shared,
        (Some(_), false) => Way::Copied,
    })
}

fn seen(file: &DatabaseFile) -> Seen {
    let stamp = |facts: Metadata| facts.modified().ok().map(|at| (facts.len(), at));
    let of = |path: PathBuf| path.metadata().ok().and_then(stamp);
    Seen {
        database: of(file.path.clone()),
        log: of(file.beside("-wal")),
        journal: of(file.beside("-journal")),
    }
}

fn open(path: &Path, parameters: &str, control: &Arc<Control>) -> Outcome<Connection> {
    let writes = parameters == "?mode=rw";
    let access =
        if writes { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let flags = access | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(DatabaseFile::uri(path, parameters), flags)?;
    control.attach(&mut connection)?;
    Ok(connection)
}

/// Runs the job under one snapshot.
fn read<T>(connection: &Connection, job: &mut impl FnMut(&Connection) -> Outcome<T>) -> Outcome<T> {
    connection.execute_batch("BEGIN")?;
    let answer = job(connection)?;
    connection.execute_batch("COMMIT")?;
    Ok(answer)
}

/// Whether SQLite would have to write before anybody can read.
fn needs_repair(fault: &Fault) -> bool {
    matches!(
        fault.code(),
        Some(
            ffi::SQLITE_READONLY_ROLLBACK
                | ffi::SQLITE_READONLY_RECOVERY
                | ffi::SQLITE_READONLY_CANTINIT
                | ffi::SQLITE_READONLY_CANTLOCK
        )
    )
}

/// Copies the database and what belongs to it. `None`: somebody wrote meanwhile.
fn copied(file: &DatabaseFile) -> Result<Option<(TempDir, PathBuf)>, TargetError> {
    let failed = |error| fault::of_file("copy, to look at it,", &file.path, &error);
    let before = seen(file);
    let bytes = [&before.database, &before.log, &before.journal];
    let bytes: u64 = bytes.into_iter().flatten().map(|(length, _)| length).sum();
    if bytes > COPY_BYTES_MAX {
        return Err(too_large_to_copy(file));
    }
    let folder = tempfile::Builder::new().prefix("dunlin-look-").tempdir().map_err(failed)?;
    let path = folder.path().join("copy.db");
    let mut database = File::create(&path).map_err(failed)?;
    header::copy(&file.path, &mut database).map_err(failed)?;
    for (suffix, there) in [("-wal", before.log.is_some()), ("-journal", before.journal.is_some())]
    {
        // SQLite locks neither of these, so opening and closing them harms nobody.
        if there
            && let Err(error) =
                copy_file(&file.beside(suffix), &folder.path().join(format!("copy.db{suffix}")))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(failed(error));
        }
    }
    Ok((before == seen(file)).then_some((folder, path)))
}

/// Copies bytes but not permissions: the copy must be writable where the original is not.
fn copy_file(from: &Path, to: &Path) -> std::io::Result<u64> {
    std::io::copy(&mut File::open(from)?, &mut File::create(to)?)
}

fn too_large_to_copy(file: &DatabaseFile) -> TargetError {
    TargetError::new(
        ErrorKind::ReadOnly,
        format!(
            "{} must be repaired before it can be read: its last writer died",
            file.path.display()
        ),
    )
    .help(
        "SQLite repairs it by itself as soon as a program opens it for writing: `dunlin migrate`, \
         your application, or sqlite3",
    )
}
