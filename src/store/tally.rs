//! How much was read through a handle, for whoever shows progress. It decides nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a [`super::Store`] and its clones have read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadTotals {
    pub requests: u64,
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Counts one request whose answer had so many bytes.
    pub(super) fn count(&self, bytes: usize) {
        self.requests.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn totals(&self) -> ReadTotals {
        ReadTotals { requests: self.requests.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }
}
