//! One connection, opened when it is needed, and its transactions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dunlin_engine::{Chunk, ErrorKind, Purpose, TargetError};
use dunlin_model::{Direction, MigrationId};
use rusqlite::{Connection, OpenFlags, ffi};

use crate::address::{Access, DatabaseFile};
use crate::chunks::Known;
use crate::control::Control;
use crate::fault::{self, Fault, Outcome};
use crate::look;

/// How many of our own statements stay compiled: all that a migration's or a
/// chunk's commit needs.
const STATEMENTS_CACHED: usize = 64;

/// A stepwise work whose session settings this connection has, up to a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Primed {
    pub(crate) id: MigrationId,
    pub(crate) direction: Direction,
    /// Statements before this one have run on this connection, as far as they change the session.
    pub(crate) next: usize,
}

/// The state behind a [`Target`](dunlin_engine::Target).
pub(crate) struct Session {
    pub(crate) file: Arc<DatabaseFile>,
    pub(crate) control: Arc<Control>,
    purpose: Purpose,
    /// Kept between calls only for a run and its lanes. A connection that idles on a lease would
    /// keep others from leaving the write-ahead log (`PRAGMA journal_mode`), and one that looks
    /// must see the file as it is at each call.
    connection: Option<Connection>,
    primed: Option<Primed>,
    /// A chunk whose rows are locked: its transaction is open. The next transaction ends it.
    held: Option<Held>,
    /// Since when the last transaction that was begun has been the one that writes.
    locked: Option<Instant>,
    /// The table that chunks were about last, as long as the schema does not change.
    pub(crate) known: Option<Known>,
}

/// A chunk whose transaction is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) chunk: Chunk,
    pub(crate) token: i64,
}

/// How long a transaction kept others from writing, and its COMMIT alone, of that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) held: Duration,
    pub(crate) commit: Duration,
}

/// Whether a transaction is kept.
pub(crate) enum Verdict<T> {
    Commit(T),
    RollBack(T),
}

impl Session {
    pub(crate) fn new(file: Arc<DatabaseFile>, control: Arc<Control>, purpose: Purpose) -> Self {
        Self {
            file,
            control,
            purpose,
            connection: None,
            primed: None,
            held: None,
            locked: None,
            known: None,
        }
    }

    /// Finds out whether the database can be used for this purpose. Creates it for a run, if the
    /// URL allows that.
    pub(crate) fn check(&mut self) -> Result<(), TargetError> {
        match self.purpose {
            Purpose::Look => {
                let sql = "SELECT count(*) FROM sqlite_schema";
                look::look(&self.file, &self.control, |connection| {
                    Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?)
                })
                .map(|_| ())
            }
            Purpose::Run | Purpose::Lease | Purpose::Lane => self.connection().map(|_| ()),
        }
    }

    /// Reads under one snapshot. The job may be run again if a look must be repeated.
    pub(crate) fn read<T>(
        &mut self,
        mut job: impl FnMut(&Connection) -> Outcome<T>,
    ) -> Result<T, TargetError> {
        let (file, control) = (Arc::clone(&self.file), Arc::clone(&self.control));
        if self.purpose == Purpose::Look {
            return look::look(&file, &control, job);
        }
        self.let_go();
        let connection = self.connection()?;
        let answer = connection
            .execute_batch("BEGIN")
            .map_err(Fault::from)
            .and_then(|()| job(connection))
            .map_err(|fault| fault.tell(&file, &control));
        self.leave_transaction();
        answer
    }

    /// Runs the job in a transaction that is committed if it succeeds and rolled back if not.
    /// Every lock is waited for at most `wait`.
    pub(crate) fn write<T>(
        &mut self,
        wait: Duration,
        job: impl FnOnce(&Connection, &Control) -> Outcome<T>,
    ) -> Result<T, TargetError> {
        let answer = self.begin_and(wait, job).and_then(|answer| self.commit().map(|()| answer));
        self.leave_transaction();
        answer
    }

    /// As [`Session::write`], where the job decides what becomes of its transaction; tells what
    /// times it took. With `Some(held)` it goes on in that chunk's transaction, and
    /// the job is told so, if that is still open.
    pub(crate) fn decide<T>(
        &mut self,
        wait: Duration,
        held: Option<&Held>,
        job: impl FnOnce(&Connection, &Control, bool) -> Outcome<Verdict<T>>,
    ) -> Result<(T, Times), TargetError> {
        let go_on = held.is_some() && self.held.as_ref() == held;
        let answer = if go_on {
            self.held = None;
            self.within(|connection, control| job(connection, control, true))
        } else {
            self.begin_and(wait, |connection, control| job(connection, control, false))
        };
        let ended = answer.and_then(|verdict| match verdict {
            Verdict::Commit(answer) => {
                let begun = Instant::now();
                self.commit().map(|()| (answer, begun.elapsed()))
            }
            Verdict::RollBack(answer) => Ok((answer, Duration::ZERO)),
        });
        self.leave_transaction();
        let held = self.locked.map_or(Duration::ZERO, |since| since.elapsed());
        ended.map(|(answer, commit)| (answer, Times { held, commit }))
    }

    /// Begins a transaction that stays open until the next one begins, or [`Session::decide`] goes
    /// on in it.
    pub(crate) fn hold<T>(
        &mut self,
        wait: Duration,
        held: Held,
        job: impl FnOnce(&Connection, &Control) -> Outcome<T>,
    ) -> Result<T, TargetError> {
        let answer = self.begin_and(wait, job);
        match &answer {
            Ok(_) => self.held = Some(held),
            Err(_) => self.leave_transaction(),
        }
        answer
    }

    /// As [`Session::write`], but rolled back in any case.
    pub(crate) fn rehearse<T>(
        &mut self,
        wait: Duration,
        job: impl FnOnce(&Connection, &Control) -> Outcome<T>,
    ) -> Result<T, TargetError> {
        let answer = self.begin_and(wait, job);
        self.leave_transaction();
        answer
    }

    /// Runs the job outside a transaction.
    pub(crate) fn alone<T>(
        &mut self,
        wait: Duration,
        job: impl FnOnce(&Connection, &Control) -> Outcome<T>,
    ) -> Result<T, TargetError> {
        let (file, control) = (Arc::clone(&self.file), Arc::clone(&self.control));
        self.may_write()?;
        self.let_go();
        let connection = self.connection()?;
        control.wait_for_locks(wait);
        let answer = job(connection, &control).map_err(|fault| fault.tell(&file, &control));
        control.wait_for_locks(file.busy_timeout);
        answer
    }

    /// Ends a call: what must not be seen by the next one is closed.
    pub(crate) fn rest(&mut self) {
        if !matches!(self.purpose, Purpose::Run | Purpose::Lane) {
            self.close();
        }
    }

    /// After the last statement of a file: its settings, attached databases and temporary tables
    /// must not be seen by the next file. The next call opens the file anew.
    pub(crate) fn end_of_file(&mut self) {
        self.primed = None;
        if self.control.take_touched() {
            self.close();
        }
    }

    pub(crate) fn close(&mut self) {
        self.primed = None;
        self.held = None;
        self.connection = None;
    }

    /// The stepwise work that this connection is in the middle of.
    pub(crate) fn primed(&self) -> Option<&Primed> {
        self.primed.as_ref()
    }

    pub(crate) fn set_primed(&mut self, primed: Primed) {
        self.primed = Some(primed);
    }

    /// Begins a transaction and runs the job in it. Whoever calls ends it, by `commit` or
    /// `leave_transaction`.
    pub(crate) fn begin_and<T>(
        &mut self,
        wait: Duration,
        job: impl FnOnce(&Connection, &Control) -> Outcome<T>,
    ) -> Result<T, TargetError> {
        let (file, control) = (Arc::clone(&self.file), Arc::clone(&self.control));
        self.may_write()?;
        self.let_go();
        let connection = self.connection()?;
        control.wait_for_locks(wait);
        let mut locked = None;
        let answer = connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(Fault::from)
            .and_then(|()| {
                locked = Some(Instant::now());
                job(connection, &control)
            })
            .map_err(|fault| fault.tell(&file, &control));
        self.locked = locked;
        answer
    }

    /// Runs the job in the transaction that is open.
    pub(crate) fn within<T>(
        &mut self,
        job: impl FnOnce(&Connection, &Control) -> Outcome<T>,
    ) -> Result<T, TargetError> {
        let (file, control) = (Arc::clone(&self.file), Arc::clone(&self.control));
        let connection = self.connection()?;
        job(connection, &control).map_err(|fault| fault.tell(&file, &control))
    }

    /// Gives up the rows that are locked, if there are any.
    fn let_go(&mut self) {
        if self.held.take().is_some() {
            self.leave_transaction();
        }
    }

    /// Commits what is open. Where that fails, `leave_transaction` is next.
    pub(crate) fn commit(&mut self) -> Result<(), TargetError> {
        let (file, control) = (Arc::clone(&self.file), Arc::clone(&self.control));
        let connection = self.connection()?;
        if control.is_stopped() {
            return Err(TargetError::new(ErrorKind::Lost, "the transaction was stopped"));
        }
        let Err(error) = connection.execute_batch("COMMIT") else { return Ok(()) };
        let code = fault::extended_code(&error);
        let mut told = Fault::Sqlite(error).tell(&file, &control);
        if code.is_some_and(|code| code & 0xff == ffi::SQLITE_IOERR) {
            // The disk failed somewhere in the commit: before or after it took effect.
            self.close();
            told.kind = ErrorKind::Lost;
        } else if code.is_some_and(|code| code & 0xff == ffi::SQLITE_CONSTRAINT) {
            told.kind = ErrorKind::Statement;
        }
        Err(told)
    }

    /// Rolls back whatever transaction is still open.
    pub(crate) fn leave_transaction(&mut self) {
        let wait = self.file.busy_timeout;
        let Some(connection) = &self.connection else { return };
        self.control.wait_for_locks(wait);
        if !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err() {
            // Closing rolls back too, and a connection in doubt is never used again.
            self.close();
        }
    }

    fn may_write(&self) -> Result<(), TargetError> {
        if self.purpose == Purpose::Look {
            return Err(TargetError::new(
                ErrorKind::Bug,
                "a connection that was made for looking was asked to write",
            ));
        }
        Ok(())
    }

    /// The connection, opened where it isn't.
    pub(crate) fn connection(&mut self) -> Result<&mut Connection, TargetError> {
        if self.control.is_stopped() {
            self.close();
            return Err(fault::gone());
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open()?,
        };
        Ok(self.connection.insert(connection))
    }

    fn open(&self) -> Result<Connection, TargetError> {
        let file = &self.file;
        if file.access == Access::Read {
            return Err(TargetError::new(
                ErrorKind::ReadOnly,
                format!("the URL of {} says mode=ro", file.path.display()),
            )
            .help("leave mode=ro out of the URL that is used to migrate"));
        }
        let create = self.purpose == Purpose::Run && file.access == Access::Create;
        let empty = match look::identify(file) {
            Ok(header) => header == crate::header::Header::Empty,
            Err(error) if create && error.kind == ErrorKind::NoSuchDatabase => {
                if !file.path.parent().is_some_and(std::path::Path::is_dir) {
                    return Err(fault::no_such_folder(&file.path));
                }
                if file.path.is_dir() {
                    return Err(error);
                }
                true
            }
            Err(error) => return Err(error),
        };
        self.open_for_writing(create && empty).map_err(|fault| fault.tell(file, &self.control))
    }

    fn open_for_writing(&self, create: bool) -> Outcome<Connection> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if create {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        let uri = DatabaseFile::uri(&self.file.path, "");
        let mut connection = Connection::open_with_flags(uri, flags)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        self.control.wait_for_locks(self.file.busy_timeout);
        self.control.attach(&mut connection)?;
        // This build of SQLite enforces them where nothing is said; the sqlite3 program does not,
        // and neither did whoever wrote the files.
        connection.execute_batch("PRAGMA foreign_keys = OFF")?;
        // Reads the header: what is no database, or needs another key, is found out here; and a
        // journal that a killed process left is rolled back.
        let _: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if self.purpose == Purpose::Lane {
            let mode: String =
                connection.query_row("PRAGMA main.journal_mode", [], |row| row.get(0))?;
            if mode.eq_ignore_ascii_case("wal") {
                // A power failure may undo the last chunks, with their checkpoints, and nothing
                // else: they are done again. What says that a backfill is done is written by a run,
                // whose commit waits for the disk and for all that stands in the log before it.
                connection.execute_batch("PRAGMA main.synchronous = NORMAL")?;
            }
        }
        Ok(connection)
    }

    /// Why nothing can be written, if that is known before anybody tries.
    pub(crate) fn read_only(&mut self) -> Option<String> {
        if self.file.access == Access::Read {
            return Some("its URL says mode=ro".to_owned());
        }
        let refused = match &self.connection {
            Some(connection) => connection.is_readonly("main").unwrap_or(false),
            None => self.file.path.metadata().is_ok_and(|facts| facts.permissions().readonly()),
        };
        refused.then(|| "this user has no right to write the file".to_owned())
    }
}
