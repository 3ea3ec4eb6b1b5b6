//! The migration files of a job, which may still be being read while the database is asked.

use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use dunlin_model::Diagnostic;
use dunlin_project::folder::Folder;

use crate::report::EngineError;

type Outcome = Result<Folder, Vec<Diagnostic>>;

/// A folder that is there, or will be. It is used like the folder itself; [`Files::ready`] comes
/// first, and every look at a database ends with it.
#[derive(Clone)]
pub struct Files(Arc<Inner>);

struct Inner {
    outcome: OnceLock<Outcome>,
    reading: Mutex<Option<JoinHandle<Outcome>>>,
    /// What a folder that can't be read looks like.
    nothing: Folder,
}

impl From<Folder> for Files {
    fn from(folder: Folder) -> Self {
        Self::new(OnceLock::from(Ok(folder)), None)
    }
}

impl Files {
    /// Begins to read on a thread of its own.
    pub fn reading(read: impl FnOnce() -> Outcome + Send + 'static) -> Self {
        Self::new(OnceLock::new(), Some(std::thread::spawn(read)))
    }

    fn new(outcome: OnceLock<Outcome>, reading: Option<JoinHandle<Outcome>>) -> Self {
        Self(Arc::new(Inner { outcome, reading: Mutex::new(reading), nothing: Folder::default() }))
    }

    /// Waits until it is read.
    ///
    /// # Errors
    /// Whatever is wrong with the folder.
    pub fn ready(&self) -> Result<&Folder, EngineError> {
        self.outcome().as_ref().map_err(|found| EngineError::Refused(found.clone()))
    }

    fn outcome(&self) -> &Outcome {
        self.0.outcome.get_or_init(|| {
            let reading = self.0.reading.lock().unwrap_or_else(PoisonError::into_inner).take();
            let read = reading.map(JoinHandle::join);
            match read {
                Some(Ok(outcome)) => outcome,
                Some(Err(_)) | None => Err(vec![Diagnostic::error(
                    "unreadable-folder",
                    "reading the migration files ended in a panic",
                )]),
            }
        })
    }
}

impl Deref for Files {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        self.outcome().as_ref().unwrap_or(&self.0.nothing)
    }
}
