//! The bytes of many files, read by all cores at once.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::thread;

use dunlin_model::{Checksums, Diagnostic};

use super::{MigrationFile, unreadable};

/// Fewer files than this for each thread are read faster than the thread is started.
const FILES_PER_THREAD_MIN: usize = 64;

/// More threads than this wait for the same disk.
const THREADS_MAX: usize = 16;

/// What one file may hold; a migration is held in memory and kept in the ledger whole.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Fills in bytes and checksums.
pub(super) fn load(mut files: Vec<MigrationFile>) -> Result<Vec<MigrationFile>, Vec<Diagnostic>> {
    let cores = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let threads = cores.min(files.len() / FILES_PER_THREAD_MIN).max(1);
    let errors = if threads == 1 {
        fill(&mut files)
    } else {
        let share = files.len().div_ceil(threads);
        thread::scope(|scope| {
            let workers: Vec<_> =
                files.chunks_mut(share).map(|part| scope.spawn(|| fill(part))).collect();
            workers
                .into_iter()
                .flat_map(|worker| match worker.join() {
                    Ok(errors) => errors,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        })
    };
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

fn fill(files: &mut [MigrationFile]) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    // Nearly every migration fits: one read and one that finds the end, without asking its size.
    let mut buffer = vec![0; 32 * 1024];
    let mut folder = Opened::default();
    for file in files {
        match folder.open(&file.root, &file.up).and_then(|file| read(file, &mut buffer)) {
            Ok(bytes) => {
                file.checksum = Checksums::of_bytes(&bytes);
                file.bytes = bytes;
            }
            Err(error) => errors.push(unreadable(&file.up, &error)),
        }
    }
    errors
}

/// The folder that files are opened in. The system finds a file faster by its name within a folder
/// that is open than by its whole path.
#[derive(Debug, Default)]
struct Opened(Option<(PathBuf, File)>);

impl Opened {
    #[cfg(unix)]
    fn open(&mut self, root: &Path, path: &Path) -> std::io::Result<File> {
        use rustix::fs::{Mode, OFlags, openat};
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return File::open(root.join(path));
        };
        let folder = match &mut self.0 {
            // Paths compare slowly, component by component.
            Some((at, folder)) if at.as_os_str() == parent.as_os_str() => folder,
            other => &mut other.insert((parent.to_owned(), File::open(root.join(parent))?)).1,
        };
        let file = openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(File::from(file))
    }

    #[cfg(not(unix))]
    fn open(&mut self, root: &Path, path: &Path) -> std::io::Result<File> {
        File::open(root.join(path))
    }
}

fn read(mut file: File, buffer: &mut [u8]) -> std::io::Result<Vec<u8>> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => return Ok(buffer[..length].to_vec()),
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut bytes = buffer.to_vec();
    file.by_ref().take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    if file.read(&mut buffer[..1])? > 0 {
        return Err(std::io::Error::other("the file is larger than 256 MiB"));
    }
    Ok(bytes)
}
