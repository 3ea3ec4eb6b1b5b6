//! SQLite's errors, in the words and kinds that every driver shares.

use std::io;
use std::path::Path;

use dunlin_engine::{ErrorKind, TargetError};
use rusqlite::{Error, ffi};

use crate::address::DatabaseFile;
use crate::control::Control;

/// A failure inside a call, before it is known where it is told.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite's, in a statement of ours.
    Sqlite(Error),
    /// SQLite's, in a statement of the user's, with its place in the file; `running` once it could
    /// be compiled.
    Statement { index: usize, error: Error, running: bool },
    /// SQLite's, in what a header says: a condition, a query.
    Query(Error),
    /// SQLite's, about a row that a program of the user's made.
    Row(Error),
    /// Already put into words.
    Told(TargetError),
}

/// The result of work on a connection.
pub(crate) type Outcome<T> = Result<T, Fault>;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<TargetError> for Fault {
    fn from(error: TargetError) -> Self {
        Self::Told(error)
    }
}

impl Fault {
    /// SQLite's extended code, if it is SQLite's.
    pub(crate) fn code(&self) -> Option<i32> {
        match self {
            Self::Sqlite(error)
            | Self::Statement { error, .. }
            | Self::Query(error)
            | Self::Row(error) => extended_code(error),
            Self::Told(_) => None,
        }
    }

    /// In words for a person.
    pub(crate) fn tell(self, file: &DatabaseFile, control: &Control) -> TargetError {
        let (error, index, user, running) = match self {
            Self::Told(error) => return error,
            Self::Sqlite(error) => (error, None, false, false),
            Self::Query(error) => (error, None, true, false),
            Self::Row(error) => (error, None, true, true),
            Self::Statement { index, error, running } => (error, Some(index), true, running),
        };
        let mut told = translate(&error, user, file, control);
        told.statement = index;
        told.by_row = running
            && told.kind == ErrorKind::Statement
            && extended_code(&error).is_some_and(by_row);
        if index.is_some() {
            told.offset = offset(&error);
        }
        told
    }
}

/// SQLite's extended result code.
pub(crate) fn extended_code(error: &Error) -> Option<i32> {
    match error {
        Error::SqliteFailure(error, _) | Error::SqlInputError { error, .. } => {
            Some(error.extended_code)
        }
        _ => None,
    }
}

/// Whether another row might pass, once the statement could be compiled: a constraint, a trigger's
/// RAISE, a value that a function refuses (malformed JSON, an overflow), one that is too large.
fn by_row(code: i32) -> bool {
    matches!(
        code & 0xff,
        ffi::SQLITE_CONSTRAINT | ffi::SQLITE_MISMATCH | ffi::SQLITE_TOOBIG | ffi::SQLITE_ERROR
    )
}

/// Whether a lock was in the way.
pub(crate) fn is_busy(code: Option<i32>) -> bool {
    code.is_some_and(|code| matches!(code & 0xff, ffi::SQLITE_BUSY | ffi::SQLITE_PROTOCOL))
}

/// A connection that can't be used any more, since nobody knows what state it is in.
pub(crate) fn gone() -> TargetError {
    TargetError::new(
        ErrorKind::Lost,
        "the connection is closed: an earlier call on it was stopped or given up",
    )
    .help("connect again; whether its last transaction was committed stands in the ledger")
}

/// A failure of the file system, before SQLite comes into it.
pub(crate) fn of_file(doing: &str, path: &Path, error: &io::Error) -> TargetError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NoSuchDatabase,
        io::ErrorKind::PermissionDenied => ErrorKind::Permission,
        io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        _ => ErrorKind::Unsupported,
    };
    let told = TargetError::new(kind, format!("cannot {doing} {}: {error}", path.display()));
    match kind {
        ErrorKind::Permission | ErrorKind::ReadOnly => told.help(
            "to look, this user needs the right to read the file; to migrate, to write the file \
             and its folder",
        ),
        ErrorKind::Exhausted => told.help("make room on that disk"),
        _ => told,
    }
}

/// A file that isn't there.
pub(crate) fn no_such_file(path: &Path) -> TargetError {
    TargetError::new(ErrorKind::NoSuchDatabase, format!("there is no file {}", path.display()))
        .help(
            "check the path in the URL; `dunlin create` makes an empty database, and \
             `dunlin migrate` makes one where the URL does not forbid it",
        )
}

/// A folder that isn't there.
pub(crate) fn no_such_folder(path: &Path) -> TargetError {
    let folder = path.parent().unwrap_or(path).display();
    TargetError::new(
        ErrorKind::NoSuchDatabase,
        format!("the folder {folder} does not exist, so no database can be made in it"),
    )
    .help(format!("check the path in the URL, or make the folder: mkdir -p '{folder}'"))
}

/// A file that holds something else.
pub(crate) fn not_a_database(path: &Path) -> TargetError {
    TargetError::new(
        ErrorKind::Unsupported,
        format!("{} is not an SQLite database", path.display()),
    )
    .help("check the path in the URL; an encrypted database (SQLCipher) cannot be read either")
}

fn offset(error: &Error) -> Option<usize> {
    match error {
        Error::SqlInputError { sql, offset, .. } => {
            let bytes = usize::try_from(*offset).ok()?;
            Some(sql.get(..bytes)?.chars().count())
        }
        _ => None,
    }
}

fn translate(error: &Error, user: bool, file: &DatabaseFile, control: &Control) -> TargetError {
    let Some(code) = extended_code(error) else { return not_sqlites(error, user) };
    if control.is_stopped() && code & 0xff != ffi::SQLITE_CONSTRAINT {
        return TargetError::new(ErrorKind::Lost, "the statement was stopped");
    }
    if user && control.refused_control() {
        return TargetError::new(
            ErrorKind::Refused,
            "the statement would begin or end a transaction, or set a savepoint",
        )
        .help(
            "take it out: a migration runs in a transaction of its own, or step by step with \
               `-- dunlin: no-transaction`",
        );
    }
    let mut told = by_code(code, error, user, file, control);
    // The code for "something is wrong with the SQL" adds nothing to the words.
    told.code = (code != ffi::SQLITE_ERROR).then(|| code.to_string());
    told
}

fn by_code(
    code: i32,
    error: &Error,
    user: bool,
    file: &DatabaseFile,
    control: &Control,
) -> TargetError {
    let path = file.path.display();
    let words = words(error);
    let of_kind = |kind: ErrorKind| TargetError::new(kind, words.clone());
    match code & 0xff {
        ffi::SQLITE_BUSY | ffi::SQLITE_PROTOCOL => busy(file),
        ffi::SQLITE_INTERRUPT if control.timed_out() => TargetError::new(
            ErrorKind::StatementTimeout,
            "the statement took longer than its limit and was stopped",
        )
        .help(
            "raise `statement_timeout`, or set it in the file: -- dunlin: statement-timeout 10min",
        ),
        ffi::SQLITE_INTERRUPT => TargetError::new(ErrorKind::Lost, "the statement was stopped"),
        ffi::SQLITE_FULL => TargetError::new(
            ErrorKind::Exhausted,
            format!("the disk or the quota of {path} is full"),
        )
        .help("make room (also for its journal, which stands beside it), then run it again"),
        ffi::SQLITE_READONLY if code == ffi::SQLITE_READONLY_DBMOVED => {
            TargetError::new(ErrorKind::Lost, format!("{path} was moved or replaced meanwhile"))
        }
        ffi::SQLITE_READONLY => read_only(file),
        ffi::SQLITE_NOTADB => not_a_database(&file.path),
        ffi::SQLITE_CORRUPT => {
            TargetError::new(ErrorKind::Unsupported, format!("{path} is damaged: {words}"))
                .help("see what `sqlite3 FILE 'PRAGMA integrity_check'` says, and restore a backup")
        }
        ffi::SQLITE_CANTOPEN if !user => cannot_open(file),
        ffi::SQLITE_PERM => of_kind(ErrorKind::Permission),
        ffi::SQLITE_IOERR => of_kind(ErrorKind::Exhausted)
            .help(format!("look into the system's log for errors of the disk that holds {path}")),
        ffi::SQLITE_NOMEM => of_kind(ErrorKind::Exhausted).help("the process ran out of memory"),
        ffi::SQLITE_SCHEMA => of_kind(ErrorKind::Conflict),
        _ if user => of_kind(ErrorKind::Statement),
        _ if words.starts_with("no such table: dunlin_") => TargetError::new(
            ErrorKind::LedgerFormat,
            format!("the ledger, or a part of it, is gone: {words}"),
        )
        .help(
            "was it dropped with its last move meanwhile? then run this again; if not, restore it \
             from a backup",
        ),
        _ => of_kind(ErrorKind::Bug),
    }
}

fn not_sqlites(error: &Error, user: bool) -> TargetError {
    match error {
        Error::MultipleStatement if user => {
            TargetError::new(ErrorKind::Refused, "the text holds more than one statement")
        }
        // Others carry values of columns: their words are not shown.
        _ => TargetError::new(
            ErrorKind::Bug,
            "the ledger holds something that this program does not expect",
        )
        .help("was a table whose name begins with dunlin_ changed by hand?"),
    }
}

/// SQLite's own words, without those parts that may quote a row's values.
fn words(error: &Error) -> String {
    let words = match error {
        Error::SqlInputError { msg, .. } => msg.as_str(),
        Error::SqliteFailure(_, Some(message)) => message.as_str(),
        Error::SqliteFailure(code, None) => return code.to_string(),
        _ => return "unknown error".to_owned(),
    };
    /// After these SQLite puts the text that a function was given, which may come from a row.
    const QUOTING: [&str; 5] = [
        "malformed MATCH expression",
        "bad JSON path",
        "JSON path error",
        "fts5: syntax error",
        "fts5: parser",
    ];
    let shown = QUOTING.iter().find(|start| words.starts_with(**start));
    shown.map_or_else(|| words.to_owned(), |start| format!("{start} (the value is left out)"))
}

fn busy(file: &DatabaseFile) -> TargetError {
    let path = file.path.display();
    TargetError::new(ErrorKind::LockTimeout, format!("{path} stayed locked by another connection"))
        .help(format!(
            "another process is writing, or reads in a long transaction; SQLite cannot tell which: \
             `fuser '{path}'` lists those that have it open. Run it again when they are done, or \
             wait longer: `lock_timeout`, or in the file -- dunlin: lock-timeout 1min"
        ))
}

fn read_only(file: &DatabaseFile) -> TargetError {
    let path = file.path.display();
    TargetError::new(ErrorKind::ReadOnly, format!("{path} cannot be written")).help(
        "this user needs the right to write the file and its folder, where SQLite keeps its \
               journal",
    )
}

fn cannot_open(file: &DatabaseFile) -> TargetError {
    let path = file.path.display();
    match file.path.metadata() {
        Ok(facts) if facts.is_dir() => {
            TargetError::new(ErrorKind::NoSuchDatabase, format!("{path} is a folder, not a file"))
                .help("name the database file in the URL")
        }
        Ok(_) => TargetError::new(
            ErrorKind::Permission,
            format!("{path}, or its journal beside it, cannot be opened"),
        )
        .help("this user needs the right to read the file, and to write it and its folder"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if file.path.parent().is_some_and(Path::is_dir) {
                no_such_file(&file.path)
            } else {
                no_such_folder(&file.path)
            }
        }
        Err(error) => of_file("open", &file.path, &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(message: &str) -> Error {
        Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_ERROR), Some(message.to_owned()))
    }

    #[test]
    fn values_are_left_out_of_messages() {
        let shown = words(&failing("bad JSON path: 'secret@example.com'"));
        assert_eq!(shown, "bad JSON path (the value is left out)");
        assert_eq!(words(&failing("no such table: posts")), "no such table: posts");
    }

    #[test]
    fn offsets_count_characters() {
        let error = Error::SqlInputError {
            error: ffi::Error::new(ffi::SQLITE_ERROR),
            msg: "near \"x\": syntax error".to_owned(),
            sql: "SELECT 'é', x x x".to_owned(),
            offset: 16,
        };
        assert_eq!(offset(&error), Some(15));
    }
}
