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
        let config = &self.shared.config;
        let begun: Vec<ClusterWatch> = begun.into_iter().map(|target| target.watch(config)).collect();
        self.shared.begin(begun.iter());
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use futures::future::BoxFuture;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::alert::Routes;
    use crate::deliver::Deliverer;
    use crate::model::Reading;
    use crate::probe::Parts;
    use crate::rules::RuleOptions;
    use crate::store::{Store, Writer};
    use crate::watch::{Judge, Setup, Tick, Watch};

    /// When each cluster was read, by name and number of its source.
    type Reads = Arc<Mutex<BTreeMap<(ClusterName, u32), Vec<Instant>>>>;

    struct Counted {
        name: ClusterName,
        source: u32,
        reads: Reads,
    }

    impl ReadingSource for Counted {
        fn read(&self, now_ms: i64, _: Parts) -> BoxFuture<'_, Reading> {
            let key = (self.name.clone(), self.source);
            self.reads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(key)
                .or_default()
                .push(Instant::now());
            let reading = Tick::failed(self.name.clone(), now_ms, "nobody is there".to_owned()).reading;
            Box::pin(async { reading })
        }
    }

    fn name(text: &str) -> ClusterName {
        text.parse().expect("a name")
    }

    fn target(text: &str, source: u32, reads: &Reads) -> Target {
        let counted = Counted { name: name(text), source, reads: Arc::clone(reads) };
        (name(text), Box::new(counted) as Box<dyn ReadingSource>).into()
    }

    fn watch(targets: Vec<Target>) -> Watch {
        let (store, writer) = (Store::in_memory(), Writer::new(0, 1));
        let deliverer = Deliverer::new(store.clone(), writer.clone(), BTreeMap::new(), Routes::default());
        let judge = Judge::new(store.clone(), deliverer, 15_000, RuleOptions::default());
        let config = WatchConfig::default();
        let (judge, groups) = (Arc::new(judge), Vec::new());
        let setup = Setup { targets, groups, config, store, writer, judge, dead_man: None };
        futures::executor::block_on(Watch::start(setup, 0))
    }

    /// Runs for a minute; after 20 s the change comes. Returns what was read, and who is seen at the end.
    async fn minute(targets: Vec<Target>, change: Change) -> BTreeSet<ClusterName> {
        let (changes, heeded) = mpsc::channel(1);
        let watch = watch(targets).with_changes(heeded);
        let (view, stop, began) = (watch.view(), CancellationToken::new(), Instant::now());
        let now_ms = move || i64::try_from(began.elapsed().as_millis()).expect("a minute");
        let running = tokio::spawn(watch.run(now_ms, stop.clone(), || ()));
        tokio::time::sleep(std::time::Duration::from_millis(20_010)).await;
        changes.send(change).await.unwrap_or_else(|_| panic!("it runs"));
        tokio::time::sleep(std::time::Duration::from_secs(40)).await;
        let seen = view.clusters();
        stop.cancel();
        running.await.expect("it ends");
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_touches_only_the_clusters_that_it_names() {
        let reads = Reads::default();
        let targets = ["stays", "goes", "moves"].map(|name| target(name, 1, &reads));
        let change = Change {
            ended: vec![name("goes"), name("moves")],
            begun: vec![target("moves", 2, &reads), target("comes", 2, &reads)],
            groups: Vec::new(),
        };
        let seen = minute(targets.into(), change).await;
        assert_eq!(seen, ["comes", "moves", "stays"].map(name).into());
        let reads = reads.lock().expect("no panic");
        let count = |cluster: &str, source| reads.get(&(name(cluster), source)).map_or(0, Vec::len);
        let counts = [("stays", 1), ("goes", 1), ("moves", 1), ("moves", 2), ("comes", 2)];
        assert_eq!(counts.map(|(cluster, source)| count(cluster, source)), [31, 10, 10, 21, 20]);
        let of_it = &reads[&(name("stays"), 1)];
        assert!(of_it.windows(2).all(|pair| pair[1] - pair[0] == WatchConfig::default().status_interval.0));
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_come_at_once_are_read_one_after_the_other() {
        let reads = Reads::default();
        let begun = (0..54).map(|n| target(&format!("c{n}"), 1, &reads)).collect();
        let seen = minute(Vec::new(), Change { begun, ..Change::default() }).await;
        assert_eq!(seen.len(), 54);
        let reads = reads.lock().expect("no panic");
        let first: BTreeSet<Instant> = reads.values().filter_map(|reads| reads.first().copied()).collect();
        assert_eq!(first.len(), 54, "no two at the same instant");
        assert!(reads.values().all(|reads| reads.len() >= 20), "each keeps its cadence");
    }
}
