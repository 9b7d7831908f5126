//! Keeping the tables small and the store in bounds: segments become hour files, hour files day files,
//! whole days rollups; what is merged, superseded or beyond its retention goes.
//!
//! Every step is one create or one delete, and may be the last one before a crash: a merged file hides its
//! sources from the instant it exists, and sources are deleted an hour later, lowest level first. Names are
//! the next free number, so that of two compactors one wins and the other finds its work done.

mod derive;
mod feed;
mod leftovers;
mod merging;
mod retire;
mod rollup;

pub(super) use merging::blocking;

use std::collections::HashSet;

use super::key::Key;
use super::table::Table;
use super::{RetentionConfig, Store, StoreError};

/// What a compaction is to do.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub retention: RetentionConfig,
    /// Above this many bytes of table files the oldest days of samples go.
    pub size_bytes_max: Option<u64>,
    /// The metric names that are rolled up. Buckets of histograms are metrics of their own (`…_bucket`), so
    /// that quantiles can be taken from merged counts.
    pub rollup_metrics: HashSet<String>,
}

/// One thing a compaction does, told as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// About to create a merged file.
    Merging {
        key: Key,
        sources: usize,
    },
    /// The merged file exists; its sources are hidden from now on.
    Merged {
        key: Key,
    },
    Deleted {
        key: Key,
    },
}

/// What a compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Merged files this run created.
    pub merged: u64,
    /// Merges that another compactor had made first.
    pub lost: u64,
    pub deleted: u64,
    pub rows: u64,
}

type OnStep<'a> = &'a (dyn Fn(&Step) + Send + Sync);

/// How long after a merge its sources stay, for readers that listed before it.
const SOURCES_KEPT_MS: i64 = 3_600_000;

/// How long after an hour or a day its files are left to arrive.
const HOUR_SETTLES_MS: i64 = 5 * 60_000;
const DAY_SETTLES_MS: i64 = 30 * 60_000;

/// One run, at `now_ms`. Safe to run twice, at once on two machines, and to be killed at any point.
///
/// # Errors
/// At the first step that fails; what was done before stays done, and the next run goes on from there.
pub async fn compact(
    store: &Store,
    plan: &Plan,
    now_ms: i64,
    on_step: OnStep<'_>,
) -> Result<Compacted, StoreError> {
    let mut done = Compacted::default();
    let run = Run { store, plan, now_ms, on_step };
    run.derive_job_runs(&mut done).await?;
    for table in Table::merged() {
        run.merge_table(table, &mut done).await?;
    }
    run.roll_up(&mut done).await?;
    run.retire_sources(&mut done).await?;
    run.retire_days(&mut done).await?;
    run.retire_state(&mut done).await?;
    run.clear_leftovers(&mut done).await?;
    Ok(done)
}

/// The arguments of one run.
struct Run<'a> {
    store: &'a Store,
    plan: &'a Plan,
    now_ms: i64,
    on_step: OnStep<'a>,
}

impl Run<'_> {
    async fn delete(&self, key: &Key, done: &mut Compacted) -> Result<(), StoreError> {
        self.store.delete(key).await?;
        done.deleted += 1;
        (self.on_step)(&Step::Deleted { key: key.clone() });
        Ok(())
    }
}
