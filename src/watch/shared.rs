//! What the tasks of the clusters and the common loop of a watch share: the head, the buffer, who is watched.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use super::buffer::{Batch, Buffer};
use super::cluster::{ClusterWatch, Tick};
use super::config::WatchConfig;
use super::freshness::{Freshness, Limits};
use super::head::Head;
use super::judge::{Judge, Judged};
use super::view::View;
use crate::deliver::DeadMan;
use crate::model::{ClusterName, Instance, chain};
use crate::rules::{self, Owner, RuleGroup, Scope};
use crate::store::{Store, Writer};

/// What the cluster tasks and the common loop share.
pub(super) struct Shared {
    pub(super) head: Head,
    pub(super) buffer: Buffer,
    pub(super) judge: Arc<Judge>,
    /// The groups whose ranges the head holds.
    pub(super) groups: Mutex<Arc<Vec<RuleGroup>>>,
    pub(super) scope: Mutex<Scope>,
    /// Clusters that were not read since the start.
    pub(super) unread: Mutex<BTreeSet<ClusterName>>,
    pub(super) config: WatchConfig,
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) to_send: Arc<tokio::sync::Notify>,
    pub(super) freshness: Freshness,
    pub(super) dead_man: Option<Arc<DeadMan>>,
    pub(super) view: View,
}

impl Shared {
    /// The clusters are looked at from now on; what is known of those that were there already stays.
    pub(super) fn begin<'a>(&self, clusters: impl Iterator<Item = &'a ClusterWatch>) {
        for watch in clusters {
            let cluster = watch.name().clone();
            self.head.begin(cluster.clone());
            self.freshness.expect(cluster.clone(), three(watch.period()).max(15_000));
            lock(&self.unread).insert(cluster.clone());
            lock(&self.scope).entry(cluster).or_default();
        }
    }

    /// The cluster is not looked at any more: its series end, and what rules said of it is removed with the next
    /// evaluation.
    pub(super) fn forget(&self, cluster: &ClusterName, now_ms: i64) {
        for (instance, samples) in self.head.end(cluster, now_ms) {
            self.buffer.add_samples(Batch { cluster: cluster.clone(), instance, ts_ms: now_ms, samples });
        }
        self.freshness.forget(cluster);
        lock(&self.unread).remove(cluster);
        lock(&self.scope).remove(cluster);
        self.view.forget(cluster);
    }

    /// Evaluates these from now on, as far as they are a watch's.
    pub(super) fn set_groups(&self, groups: Vec<RuleGroup>) {
        let groups = owned(groups);
        self.head.want(rules::selections(&groups, 0, scrape_interval_ms(&self.config)));
        *lock(&self.groups) = Arc::new(groups);
    }

    fn groups(&self) -> Arc<Vec<RuleGroup>> {
        Arc::clone(&lock(&self.groups))
    }

    pub(super) async fn tick(&self, cluster: &mut ClusterWatch, now_ms: i64) -> Tick {
        let tick = cluster.tick(now_ms, self.view.speaks(), &self.head, &self.buffer).await;
        self.view.see(&tick.reading);
        self.freshness.read(&tick.reading);
        lock(&self.unread).remove(&tick.reading.cluster);
        self.judge.deliverer().remember_events(&tick.events);
        for event in &tick.events {
            info!(cluster = %event.cluster, kind = event.kind.as_str(), "{}", event.text);
        }
        let members: BTreeSet<Instance> =
            tick.reading.members.iter().map(|member| member.instance.clone()).collect();
        // Who was never heard of cannot have been removed: a reading that reached nobody says nothing.
        if tick.reading.cluster_id.is_some() {
            let mut scope = lock(&self.scope);
            scope.insert(tick.reading.cluster.clone(), Some(members));
        }
        tick
    }

    pub(super) fn has_unread(&self) -> bool {
        !lock(&self.unread).is_empty()
    }

    /// Three misses are no longer chance.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            judged_ms: three(self.config.scrape_interval.0),
            stored_ms: self.config.fresh_ms(self.store.local_path().is_some()),
        }
    }

    pub(super) fn scope(&self) -> Scope {
        lock(&self.scope).clone()
    }

    pub(super) async fn judge(&self, now_ms: i64) -> Judged {
        let judged = self.judge.judge(&self.groups(), &self.head, &self.scope(), now_ms).await;
        self.buffer.add_events(judged.events.iter().cloned());
        self.buffer.add_recorded(&judged.recorded, now_ms);
        if judged.errors.is_empty() {
            self.freshness.judged(now_ms);
        }
        judged
    }

    /// Evaluates. True when something changed that people are to be told.
    pub(super) async fn judge_and_log(&self, now_ms: i64) -> bool {
        let judged = self.judge(now_ms).await;
        for error in &judged.errors {
            warn!("{error}");
        }
        for event in &judged.events {
            info!(cluster = %event.cluster, kind = event.kind.as_str(), "{}", event.text);
        }
        judged.transitions > 0
    }

    pub(super) async fn flush_and_log(&self, now_ms: i64) {
        if !self.view.speaks() {
            if let Err(error) = self.buffer.flush_events(&self.store, &self.writer, now_ms).await {
                warn!(%error, "the events could not be written, they are kept");
            }
            return;
        }
        match self.buffer.flush(&self.store, &self.writer, now_ms).await {
            Ok(flushed) => tracing::debug!(samples = flushed.samples, readings = flushed.readings, "flushed"),
            Err(error) => warn!(error = chain(&error), "the segment could not be written, it is kept"),
        }
    }

    /// What happened is stored at once; samples wait for their segment, however much happens.
    pub(super) async fn flush_news_and_log(&self, now_ms: i64) {
        let flushed = match self.view.speaks() {
            true => self.buffer.flush_news(&self.store, &self.writer, now_ms).await,
            false => self.buffer.flush_events(&self.store, &self.writer, now_ms).await,
        };
        if let Err(error) = flushed {
            warn!(error = chain(&error), "the events could not be written, they are kept");
        }
    }
}

/// Those that are a watch's to evaluate.
pub(super) fn owned(groups: Vec<RuleGroup>) -> Vec<RuleGroup> {
    groups.into_iter().filter(|group| rules::owner(group, true) == Owner::Watch).collect()
}

pub(super) fn scrape_interval_ms(config: &WatchConfig) -> i64 {
    i64::try_from(config.scrape_interval.0.as_millis()).unwrap_or(15_000)
}

fn three(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).unwrap_or(60_000) * 3
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
