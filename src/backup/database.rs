//! Reads a saved etcd database: the file that `Maintenance.Snapshot` streams, without etcd and without trusting a byte of it.
//!
//! Owns: the pages of the bbolt file, the walk through its tree, etcd's records, and the figures and hashes that are
//! computed from them. Refuses: where the file comes from, decompression and decryption, and what a verdict is for.
//!
//! Every offset is checked before it is used, nothing recurses, and memory has a bound that does not depend on the size of
//! the file: [`MEMORY_BYTES`]. The file is read in several passes rather than held.
//!
//! Sources: bbolt's `page.go`, `bucket.go` and `meta.go` for the file; etcd's `mvcc/hash.go`, `key_index.go` and
//! `schema/meta.go` for what it means.

mod bits;
mod contents;
mod crc;
mod diff;
mod examine;
mod kept;
mod live;
mod page;
mod partition;
mod record;
mod sample;
mod tree;

pub use contents::{Biggest, Contents, Group, contents};
pub use diff::{Change, Difference, GroupDifference, diff};
pub use examine::{Examined, HashAt, Progress, each_record, examine};
pub use record::{Record, Revision};
pub use sample::{Sample, sample};
pub use tree::{Entry, Tree};

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What a verification holds in memory at most, about: one page with its values, the keys of one partition, a bit for every
/// page and every compacted record.
pub const MEMORY_BYTES: usize = 100 << 20;

/// A file, or what stands for one in memory.
pub trait ReadAt: Sync {
    /// Length, bytes.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn length(&self) -> io::Result<u64>;

    /// Fills `into` with what is at `offset`.
    ///
    /// # Errors
    /// When there is less, or it cannot be read.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }
}

impl ReadAt for [u8] {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn length(&self) -> io::Result<u64> {
        self.as_slice().length()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, into)
    }
}

/// Why a file is not a whole etcd database.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("the file cannot be read at byte {offset}")]
    Read { offset: u64, source: io::Error },
    #[error("the file is no etcd database: {0}")]
    Foreign(String),
    #[error("page {page}: {what}")]
    Page { page: u64, what: String },
    #[error("bucket {bucket:?}: {what}")]
    Bucket { bucket: String, what: String },
    #[error("record {revision}: {what}")]
    Record { revision: String, what: String },
    #[error("the verification was stopped")]
    Stopped,
}

impl Damage {
    fn page(page: u64, what: impl Into<String>) -> Self {
        Self::Page { page, what: what.into() }
    }
}
