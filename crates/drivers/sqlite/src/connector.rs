//! Connections to one file, and the file itself.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_engine::{Connector, ErrorKind, Purpose, Target, TargetError};
use dunlin_model::Dialect;
use rusqlite::{Connection, OpenFlags};

use crate::address::{Access, DatabaseFile};
use crate::control::Control;
use crate::fault::{self, Fault, Outcome};
use crate::header::{self, Header};
use crate::look;
use crate::target::{LeaseLength, SqliteTarget};

/// Makes connections to one SQLite file.
pub struct SqliteConnector {
    url: String,
    file: Arc<DatabaseFile>,
    length: Arc<LeaseLength>,
}

impl SqliteConnector {
    /// Reads `sqlite:PATH`, `sqlite://PATH` or `sqlite:///ABSOLUTE/PATH`, with `?mode=ro`, `rw`
    /// or `rwc` (the default: a run creates the file where it is missing). A relative path starts
    /// at `root`. Other connections' locks are waited for up to `busy_timeout`, where a migration
    /// says nothing else.
    ///
    /// # Errors
    /// A sentence about what in the URL can't be used, such as a database in memory.
    pub fn new(url: &str, root: &Path, busy_timeout: Duration) -> Result<Self, TargetError> {
        Ok(Self {
            url: url.to_owned(),
            file: Arc::new(DatabaseFile::parse(url, root, busy_timeout)?),
            length: Arc::default(),
        })
    }
}

#[cfg(feature = "move")]
impl SqliteConnector {
    pub(crate) fn file(&self) -> &Arc<DatabaseFile> {
        &self.file
    }

    pub(crate) fn lease_length(&self) -> &Arc<LeaseLength> {
        &self.length
    }
}

#[async_trait]
impl Connector for SqliteConnector {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn describe(&self) -> String {
        format!("SQLite {}", self.file.path.display())
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    async fn connect(&self, purpose: Purpose) -> Result<Box<dyn Target>, TargetError> {
        let length = Arc::clone(&self.length);
        let mut target = SqliteTarget::new(Arc::clone(&self.file), purpose, length);
        target.check().await?;
        Ok(Box::new(target))
    }

    async fn create_database(&self) -> Result<bool, TargetError> {
        let file = Arc::clone(&self.file);
        blocking(move || create(&file)).await
    }

    async fn drop_database(&self) -> Result<bool, TargetError> {
        let file = Arc::clone(&self.file);
        blocking(move || remove(&file)).await
    }
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, TargetError> + Send + 'static,
) -> Result<T, TargetError> {
    tokio::task::spawn_blocking(job).await.unwrap_or_else(|_| {
        Err(TargetError::new(ErrorKind::Bug, "the work on the file ended in a panic"))
    })
}

fn create(file: &DatabaseFile) -> Result<bool, TargetError> {
    match look::identify(file) {
        Ok(_) => return Ok(false),
        Err(error) if error.kind != ErrorKind::NoSuchDatabase => return Err(error),
        Err(error) if file.path.is_dir() => return Err(error),
        Err(_) => writable(file)?,
    }
    if !file.path.parent().is_some_and(Path::is_dir) {
        return Err(fault::no_such_folder(&file.path));
    }
    // An empty file is an empty database. Never one that is there already: see `header`.
    match fs::OpenOptions::new().write(true).create_new(true).open(&file.path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(fault::of_file("create", &file.path, &error)),
    }
}

fn remove(file: &DatabaseFile) -> Result<bool, TargetError> {
    match file.path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(false),
        Err(error) => return Err(fault::of_file("find", &file.path, &error)),
    }
    writable(file)?;
    let header = look::identify(file)?;
    let control = Arc::new(Control::default());
    let locked = if header == Header::Empty {
        None
    } else {
        Some(lock_whole(file, &control).map_err(|fault| in_use(fault, file, &control))?)
    };
    // What stands beside it goes first: a journal that outlived its database would be taken for
    // that of the next one of the name.
    for suffix in ["-journal", "-wal", "-shm"] {
        delete(&file.beside(suffix))?;
    }
    let real = file.beside("");
    delete(&real)?;
    drop(locked);
    Ok(true)
}

fn writable(file: &DatabaseFile) -> Result<(), TargetError> {
    if file.access == Access::Read {
        return Err(TargetError::new(
            ErrorKind::ReadOnly,
            format!("the URL of {} says mode=ro", file.path.display()),
        ));
    }
    Ok(())
}

/// Waits until nobody is in the middle of anything, and keeps it so.
fn lock_whole(file: &DatabaseFile, control: &Arc<Control>) -> Outcome<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let uri = DatabaseFile::uri(&file.path, "");
    let mut connection = Connection::open_with_flags(uri, flags)?;
    control.wait_for_locks(file.busy_timeout);
    control.attach(&mut connection)?;
    if header::read(&file.path).is_ok_and(|header| header == Header::Wal) {
        // Refused as long as another connection is open.
        let _: String =
            connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    }
    connection.execute_batch("BEGIN EXCLUSIVE")?;
    Ok(connection)
}

fn in_use(fault: Fault, file: &DatabaseFile, control: &Control) -> TargetError {
    let busy = fault::is_busy(fault.code());
    let told = fault.tell(file, control);
    if !busy {
        return told;
    }
    let path = file.path.display();
    TargetError {
        kind: ErrorKind::Refused,
        message: format!("{path} is in use and was not dropped"),
        ..told
    }
    .help(format!("stop what uses it: `fuser '{path}'` lists the processes that have it open"))
}

fn delete(path: &Path) -> Result<(), TargetError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fault::of_file("delete", path, &error)),
    }
}
