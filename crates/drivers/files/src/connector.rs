//! Where a folder is.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use dunlin_engine::TargetError;
use dunlin_engine::moves::{Source, SourceConnector};

use crate::source::FilesSource;

/// A folder whose files are tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConnector {
    folder: PathBuf,
}

impl FilesConnector {
    /// A folder; a relative one begins at `root`, the project's folder.
    #[must_use]
    pub fn new(folder: &str, root: &Path) -> Self {
        Self { folder: root.join(folder) }
    }
}

#[async_trait]
impl SourceConnector for FilesConnector {
    fn place(&self) -> String {
        format!("files in {}", self.folder.display())
    }

    async fn open(&self) -> Result<Box<dyn Source>, TargetError> {
        Ok(Box::new(FilesSource::open(self.folder.clone()).await?))
    }
}
