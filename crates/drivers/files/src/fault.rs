//! Errors of files, in words for people.

use std::fmt::Display;
use std::io;

use dunlin_engine::{ErrorKind, TargetError};

/// A file as it stands can't be used.
pub(crate) fn unusable(file: &str, what: impl Display) -> TargetError {
    TargetError::new(ErrorKind::Refused, format!("{file} {what}"))
}

/// Reading a file failed.
pub(crate) fn reading(file: &str, error: &io::Error) -> TargetError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => unusable(file, "ends in the middle: it is not whole")
            .help("export or copy it again; write to another name first, and rename when done"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            unusable(file, format!("is damaged: {error}")).help("export or copy it again")
        }
        io::ErrorKind::PermissionDenied => {
            TargetError::new(ErrorKind::Permission, format!("{file} may not be read"))
        }
        _ => unusable(file, format!("can't be read: {error}")),
    }
}

/// The copy of the rows on disk failed.
pub(crate) fn spooling(error: &impl Display) -> TargetError {
    TargetError::new(
        ErrorKind::Refused,
        format!("the copy of the files' rows, in order, failed: {error}"),
    )
    .help("it needs about as much room as the files without compression; TMPDIR says where")
}

/// Arrow refused what no input should lead to.
pub(crate) fn bug(error: &impl Display) -> TargetError {
    TargetError::new(ErrorKind::Bug, format!("rows of files don't fit in memory's form: {error}"))
}
