//! What `watch` sees now, for whoever shows it: the newest rows of every cluster, and a bell.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::model::{ClusterName, Reading, ReadingRow};

/// A shared view; clones see the same.
#[derive(Clone, Default)]
pub struct View(Arc<Inner>);

#[derive(Default)]
struct Inner {
    rows: Mutex<BTreeMap<ClusterName, Vec<ReadingRow>>>,
    moved: Notify,
    speaks: AtomicBool,
    rests: AtomicBool,
}

impl View {
    /// The newest reading of every cluster, as rows.
    pub fn rows(&self) -> Vec<ReadingRow> {
        let rows = self.0.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.values().flatten().cloned().collect()
    }

    /// Resolves when something is to be seen that was not before; once if it happened since the last call.
    pub async fn moved(&self) {
        self.0.moved.notified().await;
    }

    /// Whether this watch is the one whose word counts: the oldest of those that are alive.
    pub fn speaks(&self) -> bool {
        self.0.speaks.load(Ordering::Relaxed)
    }

    pub(super) fn set_speaks(&self, speaks: bool) {
        self.0.speaks.store(speaks, Ordering::Relaxed);
    }

    /// Whether enough older watches are at work, so that this one asks nothing.
    pub fn rests(&self) -> bool {
        self.0.rests.load(Ordering::Relaxed)
    }

    pub(super) fn set_rests(&self, rests: bool) {
        self.0.rests.store(rests, Ordering::Relaxed);
    }

    pub(super) fn see(&self, reading: &Reading) {
        let mut rows = self.0.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.insert(reading.cluster.clone(), reading.rows());
    }

    /// Whom it saw at all.
    pub fn clusters(&self) -> std::collections::BTreeSet<ClusterName> {
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
    }

    pub(super) fn ring(&self) {
        self.0.moved.notify_one();
    }
}
