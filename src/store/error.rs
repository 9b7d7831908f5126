//! What can go wrong in the store, and where.

use std::error::Error as StdError;
use std::io;

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

/// A failure of the store. `key` is the object's key relative to the store's root.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("store url {url:?} is not usable: {reason}")]
    Url { url: String, reason: String },
    #[error("open store {url}")]
    Open { url: String, source: object_store::Error },
    #[error("create folder {folder}")]
    Folder { folder: String, source: io::Error },
    #[error("{action} {key}: there is no such bucket; create it, or correct store.url or the region")]
    NoBucket { action: &'static str, key: String },
    #[error("{action} {key}: no space left in the store")]
    Full { action: &'static str, key: String, source: object_store::Error },
    #[error("{action} {key}: not permitted; the user that runs this needs read and write rights there")]
    Denied { action: &'static str, key: String, source: object_store::Error },
    #[error("{action} {key}: the disk or file system under the store failed")]
    Disk { action: &'static str, key: String, source: object_store::Error },
    #[error("{action} {key}")]
    Object { action: &'static str, key: String, source: object_store::Error },
    #[error("{action} {key}: {why}")]
    S3 { action: &'static str, key: String, why: String },
    #[error("{key} exists but could not be read back to see who wrote it")]
    Vanished { key: String },
    #[error("{key} does not hold what its key says: {reason}")]
    Body { key: String, reason: String },
    #[error("table file {key}")]
    Parquet { key: String, source: ParquetError },
    #[error("columns of {key}")]
    Arrow { key: String, source: ArrowError },
    #[error("{key} has format version {found:?}; this program reads up to {newest}")]
    Format { key: String, found: Option<String>, newest: u32 },
    #[error("the selection needs more than {limit} samples in memory")]
    TooManySamples { limit: usize },
    #[error("{key}: others kept changing it meanwhile")]
    Moving { key: String },
}

impl StoreError {
    /// Names the cause where the operating system says it plainly.
    pub(super) fn object(action: &'static str, key: impl Into<String>, source: object_store::Error) -> Self {
        let key = key.into();
        match io_error(&source).map(|error| (error.kind(), error.raw_os_error())) {
            Some((io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _)) => {
                Self::Full { action, key, source }
            }
            Some((io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem, _)) => {
                Self::Denied { action, key, source }
            }
            Some((_, Some(EIO))) => Self::Disk { action, key, source },
            _ if is_missing_bucket(&source) => Self::NoBucket { action, key },
            _ if is_refused(&source) => Self::Denied { action, key, source },
            _ => Self::Object { action, key, source },
        }
    }

    /// Whether nothing but a change of the configuration or of rights makes it go away: no reason to wait.
    pub fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Url { .. }
                | Self::Open { .. }
                | Self::Folder { .. }
                | Self::NoBucket { .. }
                | Self::Denied { .. }
        )
    }

    /// Whether the object was not there (any more).
    pub(super) fn is_not_found(&self) -> bool {
        match self {
            Self::Object { source: object_store::Error::NotFound { .. }, .. } => true,
            Self::Parquet { source, .. } => {
                let mut cause = StdError::source(source);
                while let Some(error) = cause {
                    if let Some(inner) = error.downcast_ref::<Self>() {
                        return inner.is_not_found();
                    }
                    if matches!(error.downcast_ref(), Some(object_store::Error::NotFound { .. })) {
                        return true;
                    }
                    cause = error.source();
                }
                false
            }
            _ => false,
        }
    }
}

/// What the AWS SDK says, in one line.
pub(super) fn of_s3(action: &'static str, key: &str, said: &dyn std::fmt::Display) -> StoreError {
    StoreError::S3 { action, key: key.to_owned(), why: said.to_string().replace('\n', " ") }
}

/// Linux' number of "input/output error", for which `io::ErrorKind` has no name.
const EIO: i32 = 5;

/// S3's own word; the other stores' answers to a missing bucket are not told from a missing object's.
fn is_missing_bucket(error: &object_store::Error) -> bool {
    crate::model::chain(error).contains("NoSuchBucket")
}

/// A refusal for want of rights; that of a listing comes as text only.
fn is_refused(error: &object_store::Error) -> bool {
    let known = matches!(
        error,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
    );
    let text = crate::model::chain(error);
    known || ["status code: 401", "status code: 403"].iter().any(|status| text.contains(status))
}

fn io_error(error: &object_store::Error) -> Option<&io::Error> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operating_systems_reason_is_named() {
        for (errno, expected) in [(28, "no space left"), (13, "not permitted"), (5, "disk or file system")] {
            let source = object_store::Error::Generic {
                store: "LocalFileSystem",
                source: Box::new(io::Error::from_raw_os_error(errno)),
            };
            let text = StoreError::object("create", "a/b", source).to_string();
            assert!(text.contains(expected) && text.contains("a/b"), "{errno}: {text}");
        }
    }

    #[test]
    fn an_object_that_is_gone_is_known_behind_a_parquet_error() {
        let gone = || object_store::Error::NotFound { path: "a".to_owned(), source: "gone".into() };
        let parquet = |source| StoreError::Parquet { key: "a".to_owned(), source };
        assert!(StoreError::object("read", "a", gone()).is_not_found());
        assert!(parquet(ParquetError::External(Box::new(gone()))).is_not_found());
        assert!(!parquet(ParquetError::EOF("short".to_owned())).is_not_found());
    }
}
