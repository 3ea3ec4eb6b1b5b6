//! How much memory what is remembered of keys may take.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::{ErrorKind, TargetError};

/// What is written to a file at once at least, where there is memory for that much: many small pieces
/// would be slow to merge.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// And at the very least, however little memory there may be.
const PIECE_BYTES_MIN: usize = 1 << 10;

/// The memory of one run's key sets. All of them share it: whoever grows while it is full writes what
/// it has to a file.
#[derive(Debug, Clone)]
pub(in crate::moves) struct Room(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit_bytes: usize,
    piece_bytes: usize,
    used_bytes: AtomicUsize,
    spilled_bytes: AtomicU64,
}

impl Room {
    /// Of so many bytes.
    pub(in crate::moves) fn new(limit_bytes: usize) -> Self {
        let piece_bytes = (limit_bytes / 16).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX);
        Self::of(limit_bytes, piece_bytes)
    }

    /// Without any: all goes to files, in pieces of so many bytes.
    pub(super) fn none(piece_bytes: usize) -> Self {
        Self::of(0, piece_bytes)
    }

    fn of(limit_bytes: usize, piece_bytes: usize) -> Self {
        Self(Arc::new(Shared {
            limit_bytes,
            piece_bytes,
            used_bytes: AtomicUsize::new(0),
            spilled_bytes: AtomicU64::new(0),
        }))
    }

    /// Whether so many bytes more would be too many.
    pub(in crate::moves) fn lacks(&self, more: usize) -> bool {
        self.0.used_bytes.load(Ordering::Relaxed).saturating_add(more) > self.0.limit_bytes
    }

    pub(in crate::moves) fn take(&self, bytes: usize) {
        self.0.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(in crate::moves) fn give_back(&self, bytes: usize) {
        self.0.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Nothing smaller than this is written to a file.
    pub(in crate::moves) fn piece_bytes(&self) -> usize {
        self.0.piece_bytes
    }

    pub(super) fn spilled(&self, bytes: u64) {
        self.0.spilled_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that went to files so far.
    pub(in crate::moves) fn spilled_bytes(&self) -> u64 {
        self.0.spilled_bytes.load(Ordering::Relaxed)
    }
}

/// Memory that is taken, and given back in the end.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) room: Room,
    bytes: usize,
}

impl Taken {
    pub(super) fn new(room: &Room) -> Self {
        Self { room: room.clone(), bytes: 0 }
    }

    /// From now on it is so many bytes.
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.room.take(bytes - self.bytes);
        } else {
            self.room.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}

/// A file without a name.
pub(super) fn nameless() -> Result<File, TargetError> {
    tempfile::tempfile().map_err(|error| failed(&error))
}

/// An error of a temporary file.
pub(super) fn failed(error: &std::io::Error) -> TargetError {
    TargetError::new(
        ErrorKind::Refused,
        format!(
            "a temporary file in {} can't be used: {}",
            std::env::temp_dir().display(),
            error.kind()
        ),
    )
    .help("make room there, let TMPDIR name another folder, or raise --memory")
}
