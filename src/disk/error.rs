//! Why a disk is not checked.

use std::io;
use std::path::PathBuf;

/// What stops a check.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("{path}: {error}", path = path.display())]
    Path {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// The directory is none.
    #[error("{} is no directory", .0.display())]
    NoDirectory(PathBuf),
    /// Somebody else measures there.
    #[error("another check of {} runs (it holds {})", .directory.display(), .holder.display())]
    Busy { directory: PathBuf, holder: PathBuf },
    /// What is measured would fill the file system.
    #[error("{} has {free} free, and the tests need {needed}: give a smaller --size, or --no-fio", .directory.display())]
    NoSpace { directory: PathBuf, free: String, needed: String },
    /// Measuring would harm a cluster.
    #[error("{0}")]
    Unfit(String),
    #[error("fio: {0}")]
    Fio(String),
    #[error("stopped")]
    Stopped,
}

impl DiskError {
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Path { path, error }
    }
}
