//! The first bytes of a database file, read beside SQLite.
//!
//! POSIX drops *all* locks that a process holds on a file as soon as the process closes *any*
//! descriptor of it, also one that has nothing to do with the locks. So a descriptor that is
//! opened here stays open until the file is gone: one for each database that the process looks at.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What a file is, by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// No bytes: a database in which nothing was ever created.
    Empty,
    /// A database with a rollback journal.
    Rollback,
    /// A database with a write-ahead log.
    Wal,
    /// Something else.
    Foreign,
}

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Where the header says by which format it may be read; 2 is the write-ahead log.
const READ_VERSION: usize = 19;

static KEPT: Mutex<Vec<Arc<File>>> = Mutex::new(Vec::new());

/// Reads what the file is.
pub(crate) fn read(path: &Path) -> io::Result<Header> {
    let file = descriptor(path)?;
    let mut head = [0_u8; 20];
    let length = read_at(&file, &mut head, 0)?;
    Ok(match &head[..length] {
        [] => Header::Empty,
        head if !head.starts_with(MAGIC) => Header::Foreign,
        head if head.get(READ_VERSION) == Some(&2) => Header::Wal,
        _ => Header::Rollback,
    })
}

/// Copies the file's bytes.
pub(crate) fn copy(path: &Path, to: &mut File) -> io::Result<u64> {
    const BLOCK: usize = 1 << 20;
    let file = descriptor(path)?;
    let mut block = vec![0_u8; BLOCK];
    let mut copied = 0;
    loop {
        let length = read_at(&file, &mut block, copied)?;
        if length == 0 {
            return Ok(copied);
        }
        io::Write::write_all(to, &block[..length])?;
        copied += length as u64;
    }
}

#[cfg(unix)]
fn descriptor(path: &Path) -> io::Result<Arc<File>> {
    use std::os::unix::fs::MetadataExt as _;

    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    // Nobody can lock a file by name that has no name any more.
    kept.retain(|file| file.metadata().is_ok_and(|facts| facts.nlink() > 0));
    let wanted = path.metadata()?;
    if !wanted.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let same = |file: &&Arc<File>| {
        file.metadata()
            .is_ok_and(|facts| facts.dev() == wanted.dev() && facts.ino() == wanted.ino())
    };
    if let Some(file) = kept.iter().find(same) {
        return Ok(Arc::clone(file));
    }
    let file = Arc::new(File::open(path)?);
    kept.push(Arc::clone(&file));
    Ok(file)
}

#[cfg(not(unix))]
fn descriptor(path: &Path) -> io::Result<Arc<File>> {
    let _ = &KEPT;
    File::open(path).map(Arc::new)
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    file.read_at(buffer, at)
}

#[cfg(not(unix))]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = file;
    file.seek(SeekFrom::Start(at))?;
    file.read(buffer)
}
