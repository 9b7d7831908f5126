//! Which clusters are looked at: each has a task of its own, which begins, is replaced and ends while the watch runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::cluster::ClusterWatch;
use super::config::WatchConfig;
use super::polling::{Ticker, keep_ticking, offset};
use super::shared::Shared;
use crate::model::ClusterName;
use crate::probe::ReadingSource;
use crate::rules::RuleGroup;

/// A cluster to look at.
pub struct Target {
    pub name: ClusterName,
    /// Where its readings come from.
    pub source: Box<dyn ReadingSource>,
    /// How often it is asked, where that is other than for the rest of the fleet.
    pub config: Option<WatchConfig>,
}

impl From<(ClusterName, Box<dyn ReadingSource>)> for Target {
    fn from((name, source): (ClusterName, Box<dyn ReadingSource>)) -> Self {
        Self { name, source, config: None }
    }
}

/// What becomes of the set of clusters. Those that are not named go on as if nothing had happened.
#[derive(Default)]
pub struct Change {
    /// Not watched any more: their incidents are removed, and nothing is known of them. One that begins, too, is
    /// reached in another way from now on, and its past stays.
    pub ended: Vec<ClusterName>,
    pub begun: Vec<Target>,
    /// The rules for the new set.
    pub groups: Vec<RuleGroup>,
}

/// The tasks. Dropping it ends them.
pub(super) struct Roster<C> {
    shared: Arc<Shared>,
    now_ms: C,
    hints: mpsc::Sender<()>,
    tasks: BTreeMap<ClusterName, AbortOnDropHandle<()>>,
}

impl<C: Fn() -> i64 + Clone + Send + Sync + 'static> Roster<C> {
    /// `hints` is told when the rules should look now.
    pub(super) fn new(shared: Arc<Shared>, now_ms: C, hints: mpsc::Sender<()>) -> Self {
        Self { shared, now_ms, hints, tasks: BTreeMap::new() }
    }

    /// Ends, replaces and begins.
    pub(super) async fn apply(&mut self, change: Change) {
        let Change { ended, begun, groups } = change;
        let names: BTreeSet<ClusterName> = begun.iter().map(|target| target.name.clone()).collect();
        for name in ended {
            self.end(&name).await;
            if !names.contains(&name) {
                info!(cluster = %name, "not watched any more");
                self.shared.forget(&name, (self.now_ms)());
            }
        }
        self.shared.set_groups(groups);
        self.shared.begin(names.into_iter());
        let config = &self.shared.config;
        let begun: Vec<ClusterWatch> = begun.into_iter().map(|target| target.watch(config)).collect();
        self.begin(begun).await;
    }

    /// Their first looks are spread, so that their requests do not come all at once.
    pub(super) async fn begin(&mut self, clusters: Vec<ClusterWatch>) {
        let count = clusters.len();
        for (nth, mut cluster) in clusters.into_iter().enumerate() {
            cluster.keep_pace();
            let (name, period) = (cluster.name().clone(), cluster.period());
            self.end(&name).await;
            let (shared, now_ms) = (Arc::clone(&self.shared), self.now_ms.clone());
            let polled = Polled { shared, cluster, now_ms, hints: self.hints.clone(), looked: false };
            let task = tokio::spawn(keep_ticking(polled, period, offset(nth, count, period)));
            self.tasks.insert(name, AbortOnDropHandle::new(task));
        }
    }

    /// Returns when the cluster's task says nothing any more.
    async fn end(&mut self, name: &ClusterName) {
        if let Some(task) = self.tasks.remove(name) {
            task.abort();
            // Aborted, as asked; or it ended before.
            let _ = task.await;
        }
    }

    /// Ends all.
    pub(super) async fn close(mut self) {
        self.tasks.values().for_each(AbortOnDropHandle::abort);
        while let Some((_, task)) = self.tasks.pop_first() {
            let _ = task.await;
        }
    }
}

impl Target {
    pub(super) fn watch(self, config: &WatchConfig) -> ClusterWatch {
        ClusterWatch::new(self.name, self.source, self.config.as_ref().unwrap_or(config))
    }
}

/// One cluster as it is polled by the daemon.
struct Polled<C> {
    shared: Arc<Shared>,
    cluster: ClusterWatch,
    now_ms: C,
    hints: tokio::sync::mpsc::Sender<()>,
    /// Whether the last tick was taken.
    looked: bool,
}

impl<C: Fn() -> i64 + Send + Sync> Ticker for Polled<C> {
    fn cluster(&self) -> &ClusterName {
        self.cluster.name()
    }

    async fn tick(&mut self) {
        if self.shared.view.rests() {
            self.cluster.rest();
            return;
        }
        // One that stands by takes every other tick: what happens between, the one that speaks sees.
        self.looked = self.shared.view.speaks() || !self.looked;
        if !self.looked {
            return;
        }
        let now_ms = (self.now_ms)();
        let tick = self.shared.tick(&mut self.cluster, now_ms).await;
        // What happened is stored at once, however long a flush may wait.
        if tick.changed || !tick.events.is_empty() {
            self.shared.view.ring();
            // A full channel means that the rules are about to be evaluated anyway.
            let _ = self.hints.try_send(());
        }
    }
}
