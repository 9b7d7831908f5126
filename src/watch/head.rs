//! The head: what `watch` remembers between flushes.
//!
//! It keeps the last value of every series (so that a series that vanishes gets its stale marker, and an
//! instant query sees the present) and a window of samples only for series that the rules `watch` owns
//! select. Its memory is bounded: past `max_bytes` new series are counted and not kept.

mod target;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use target::TargetHead;

use crate::model::{
    ClusterName, Instance, Label, Labels, Samples, Selection, Series, SeriesSource, SourceError,
};

/// Prometheus' lookback: an instant selector sees the newest sample of the last five minutes.
const LOOKBACK_MS: i64 = 300_000;

/// Estimated bytes of a series without its window: the entry here, its places in the lists, and its share of
/// the texts.
const SERIES_BYTES: usize = 96;
const SAMPLE_BYTES: usize = 16;

/// How full the head is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadStats {
    pub series: usize,
    pub bytes: usize,
    /// Series not kept because the head was full.
    pub refused_series: u64,
}

/// Recent samples of all clusters, which come and go. Clusters do not share a lock.
pub struct Head {
    wanted: RwLock<Arc<Wanted>>,
    max_bytes: usize,
    clusters: RwLock<BTreeMap<ClusterName, Arc<Mutex<ClusterHead>>>>,
}

/// What the watch-owned rules read: matchers and how far back, ms.
type Wanted = Vec<(Selection, i64)>;

#[derive(Default)]
struct ClusterHead {
    targets: BTreeMap<Option<Instance>, TargetHead>,
    stats: HeadStats,
}

/// Whose samples are taken, and how much room there is for new series.
struct Intake<'a> {
    wanted: &'a Wanted,
    /// What the cluster may take.
    max_bytes: usize,
    cluster: &'a ClusterName,
    instance: Option<&'a Instance>,
    stats: &'a mut HeadStats,
}

impl Intake<'_> {
    /// Accounts for a new series: how far back its window reaches, ms (0 for the last value only), or `None`
    /// when the head is full.
    fn admit(&mut self, scraped: &Labels) -> Option<i64> {
        if self.stats.bytes + SERIES_BYTES > self.max_bytes {
            self.stats.refused_series += 1;
            return None;
        }
        self.stats.series += 1;
        self.stats.bytes += SERIES_BYTES;
        let full = full_labels(self.cluster, self.instance, scraped);
        let reaches = self.wanted.iter().filter(|(selection, _)| selection.matches(&full));
        Some(reaches.map(|(_, reach_ms)| *reach_ms).max().unwrap_or(0))
    }
}

impl Head {
    /// A head for `clusters`. `wanted` are the selections of the rules that will be evaluated over it, with
    /// start and end relative to an evaluation at time 0.
    pub fn new(
        clusters: impl IntoIterator<Item = ClusterName>,
        wanted: Vec<Selection>,
        max_bytes: usize,
    ) -> Self {
        let clusters = clusters.into_iter().map(|name| (name, Arc::default())).collect();
        Self { wanted: RwLock::new(reaching(wanted)), max_bytes, clusters: RwLock::new(clusters) }
    }

    /// From now on series that are new here get the windows that these selections ask for.
    pub fn want(&self, wanted: Vec<Selection>) {
        *self.wanted.write().unwrap_or_else(PoisonError::into_inner) = reaching(wanted);
    }

    /// Makes room for a cluster; one that is there keeps its past.
    pub fn begin(&self, cluster: ClusterName) {
        self.clusters.write().unwrap_or_else(PoisonError::into_inner).entry(cluster).or_default();
    }

    /// Forgets a cluster. Returns the stale markers of what it had, by target: readers of the store shall know that
    /// it ended.
    pub fn end(&self, cluster: &ClusterName, ts_ms: i64) -> Vec<(Option<Instance>, Samples)> {
        let instances: Vec<Option<Instance>> = match self.of(cluster) {
            Some(head) => {
                head.lock().unwrap_or_else(PoisonError::into_inner).targets.keys().cloned().collect()
            }
            None => Vec::new(),
        };
        let mut ended = Vec::new();
        for instance in instances {
            for kind in [SampleKind::Scraped, SampleKind::Derived, SampleKind::Node] {
                let of_it = self.append(cluster, instance.as_ref(), kind, ts_ms, &Samples::default());
                ended.push((instance.clone(), of_it));
            }
        }
        self.clusters.write().unwrap_or_else(PoisonError::into_inner).remove(cluster);
        ended
    }

    fn known(&self) -> RwLockReadGuard<'_, BTreeMap<ClusterName, Arc<Mutex<ClusterHead>>>> {
        self.clusters.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, cluster: &ClusterName) -> Option<Arc<Mutex<ClusterHead>>> {
        self.known().get(cluster).cloned()
    }

    fn wanted(&self) -> Arc<Wanted> {
        Arc::clone(&self.wanted.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every cluster has the same room.
    fn share_bytes(&self) -> usize {
        self.max_bytes / self.known().len().max(1)
    }

    /// Takes one target's samples of one instant: a whole scrape, or the probe's own series. Returns stale
    /// markers for the series that were there last time and are gone now. With an empty list every series of
    /// the target goes stale, which is what a failed scrape means.
    ///
    /// `kind` keeps the streams apart: a scrape does not end the probe's own series.
    pub fn append(
        &self,
        cluster: &ClusterName,
        instance: Option<&Instance>,
        kind: SampleKind,
        ts_ms: i64,
        samples: &Samples,
    ) -> Samples {
        let Some(head) = self.of(cluster) else { return Samples::default() };
        let (wanted, max_bytes) = (self.wanted(), self.share_bytes());
        let mut head = head.lock().unwrap_or_else(PoisonError::into_inner);
        let ClusterHead { targets, stats } = &mut *head;
        let target = targets.entry(instance.cloned()).or_default();
        let intake = &mut Intake { wanted: &wanted, max_bytes, cluster, instance, stats };
        target.append(intake, kind, ts_ms, samples)
    }

    /// Puts samples back after a restart; older than what is there is ignored.
    pub fn refill(&self, series: impl IntoIterator<Item = Arc<Series>>) {
        let (wanted, max_bytes) = (self.wanted(), self.share_bytes());
        for series in series {
            let cluster = series.labels.get("cluster").and_then(|name| name.parse().ok());
            let Some(cluster): Option<ClusterName> = cluster else { continue };
            let Some(head) = self.of(&cluster) else { continue };
            let mut head = head.lock().unwrap_or_else(PoisonError::into_inner);
            let ClusterHead { targets, stats } = &mut *head;
            let instance = series.labels.get("instance").and_then(|text| text.parse::<Instance>().ok());
            let labels = series.labels.without(&["cluster", "instance", "job"]);
            let (cluster, instance_ref) = (&cluster, instance.as_ref());
            let intake = &mut Intake { wanted: &wanted, max_bytes, cluster, instance: instance_ref, stats };
            targets.entry(instance.clone()).or_default().refill(intake, &labels, &series);
        }
    }

    /// How full the head is, over all clusters.
    pub fn stats(&self) -> HeadStats {
        self.known().values().fold(HeadStats::default(), |sum, head| {
            let stats = head.lock().unwrap_or_else(PoisonError::into_inner).stats;
            HeadStats {
                series: sum.series + stats.series,
                bytes: sum.bytes + stats.bytes,
                refused_series: sum.refused_series + stats.refused_series,
            }
        })
    }
}

fn reaching(wanted: Vec<Selection>) -> Arc<Wanted> {
    let reaching = wanted.into_iter().map(|selection| {
        let reach_ms = -selection.start_ms.min(0);
        (selection, reach_ms)
    });
    Arc::new(reaching.collect())
}

/// Which of a target's streams a batch belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// What `/metrics` said.
    Scraped,
    /// What the probe adds: `up`, `scrape_*`, `etcd_monitor_*`.
    Derived,
    /// What the node exporter said.
    Node,
    /// Part of what the probe adds, taken between two scrapes because something changed: what is missing
    /// was not asked, so nothing ends.
    Between,
}

/// The labels PromQL sees: the scraped ones with `cluster`, `job` and `instance`.
pub fn full_labels(cluster: &ClusterName, instance: Option<&Instance>, scraped: &Labels) -> Labels {
    let mut labels: Vec<Label> = scraped.iter().cloned().collect();
    labels.push(Label::new("cluster", cluster.as_str()));
    if scraped.get("job").is_none() {
        labels.push(Label::new("job", "etcd"));
    }
    if let Some(instance) = instance {
        labels.push(Label::new("instance", instance.as_str()));
    }
    Labels::new(labels)
}

impl SeriesSource for Head {
    fn select(&self, selection: &Selection) -> Result<Vec<Arc<Series>>, SourceError> {
        let mut found = BTreeMap::new();
        for (cluster, head) in self.known().iter() {
            if selection.demanded("cluster").is_some_and(|demanded| demanded != cluster.as_str()) {
                continue;
            }
            let head = head.lock().unwrap_or_else(PoisonError::into_inner);
            for (instance, target) in &head.targets {
                let full = |scraped: &Labels| full_labels(cluster, instance.as_ref(), scraped);
                for series in target.select(selection, &full) {
                    found.insert(series.labels.clone(), Arc::new(series));
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Matcher, is_stale_marker};

    fn cluster() -> ClusterName {
        "demo".parse().expect("valid")
    }

    fn instance() -> Instance {
        "127.0.0.1:2379".parse().expect("valid")
    }

    fn samples(values: &[(&str, f64)]) -> Samples {
        values.iter().map(|(metric, value)| (Labels::from_pairs([("__name__", *metric)]), *value)).collect()
    }

    fn head(wanted: &[(&str, i64)]) -> Head {
        let wanted = wanted.iter().map(|(metric, reach_ms)| Selection {
            matchers: vec![Matcher::equal("__name__", metric)],
            start_ms: -reach_ms,
            end_ms: 0,
        });
        Head::new([cluster()], wanted.collect(), 1 << 20)
    }

    fn read(head: &Head, metric: &str) -> Vec<(i64, f64)> {
        let matchers = vec![Matcher::equal("__name__", metric)];
        let found =
            head.select(&Selection { matchers, start_ms: i64::MIN, end_ms: i64::MAX }).expect("in memory");
        found.iter().flat_map(|s| s.ts_ms.iter().copied().zip(s.values.iter().copied())).collect()
    }

    #[test]
    fn windows_are_kept_only_for_what_rules_read() {
        let head = head(&[("a", 60_000)]);
        for n in 0..100 {
            let both = samples(&[("a", n as f64), ("b", n as f64)]);
            head.append(&cluster(), Some(&instance()), SampleKind::Scraped, n * 15_000, &both);
        }
        let (a, b) = (read(&head, "a"), read(&head, "b"));
        assert_eq!(b, [(99 * 15_000, 99.0)]);
        assert_eq!(a.len() as i64, (60_000 + LOOKBACK_MS) / 15_000 + 1);
        assert_eq!(a.last(), Some(&(99 * 15_000, 99.0)));
    }

    #[test]
    fn a_series_that_vanishes_gets_one_stale_marker() {
        let head = head(&[("a", 60_000)]);
        let append = |ts_ms, kind, values: &[(&str, f64)]| {
            head.append(&cluster(), Some(&instance()), kind, ts_ms, &samples(values))
        };
        append(0, SampleKind::Scraped, &[("a", 1.0), ("b", 1.0)]);
        assert!(append(0, SampleKind::Derived, &[("up", 1.0)]).is_empty(), "the scrape goes on");
        let ended = append(15_000, SampleKind::Scraped, &[("b", 1.0)]);
        let ended: Vec<_> =
            ended.iter().map(|(labels, v)| (labels.metric_name(), is_stale_marker(v))).collect();
        assert_eq!(ended, [("a", true)]);
        assert!(append(30_000, SampleKind::Scraped, &[("b", 1.0)]).is_empty(), "only once");
        assert!(is_stale_marker(read(&head, "a")[1].1), "rules see the end too");
        let all_gone = append(45_000, SampleKind::Scraped, &[]);
        assert_eq!(all_gone.len(), 1, "a failed scrape ends what is left, and `up` stays");
        assert_eq!(read(&head, "up"), [(0, 1.0)]);
    }

    #[test]
    fn memory_is_bounded() {
        let head = Head::new([cluster()], vec![], 10 * SERIES_BYTES);
        let many: Vec<String> = (0..50).map(|n| format!("m{n}")).collect();
        let many: Vec<(&str, f64)> = many.iter().map(|name| (name.as_str(), 1.0)).collect();
        head.append(&cluster(), None, SampleKind::Scraped, 0, &samples(&many));
        let stats = head.stats();
        assert_eq!((stats.series, stats.refused_series), (10, 40));
        assert!(stats.bytes <= 10 * SERIES_BYTES);
    }

    #[test]
    fn what_a_restart_refills_is_what_was_there() {
        let head_before = head(&[("a", 60_000)]);
        for n in 0..4 {
            head_before.append(
                &cluster(),
                Some(&instance()),
                SampleKind::Scraped,
                n * 15_000,
                &samples(&[("a", n as f64)]),
            );
        }
        let all = Selection { matchers: vec![], start_ms: 0, end_ms: i64::MAX };
        let after = head(&[("a", 60_000)]);
        after.refill(head_before.select(&all).expect("in memory"));
        assert_eq!(read(&after, "a"), read(&head_before, "a"));
    }

    #[test]
    fn a_series_that_comes_back_goes_on() {
        let head = head(&[("a", 600_000)]);
        let append = |n: i64, values: &[(&str, f64)]| {
            head.append(&cluster(), Some(&instance()), SampleKind::Scraped, n * 15_000, &samples(values));
        };
        append(0, &[("a", 1.0), ("b", 1.0)]);
        append(1, &[("b", 2.0)]);
        append(2, &[("c", 0.0), ("b", 3.0), ("a", 3.0)]);
        let a = read(&head, "a");
        assert_eq!((a[0], a[1].0, a[2]), ((0, 1.0), 15_000, (30_000, 3.0)));
        assert!(is_stale_marker(a[1].1));
        assert_eq!(read(&head, "b"), [(30_000, 3.0)], "what moved in the list keeps its own value");
        assert_eq!(head.stats().series, 3);
    }

    #[test]
    fn clusters_come_and_go() {
        let head = Head::new([], vec![], 1 << 20);
        let append = |ts_ms| {
            let own = samples(&[("a", 1.0)]);
            head.append(&cluster(), Some(&instance()), SampleKind::Scraped, ts_ms, &own);
            read(&head, "a").len()
        };
        assert_eq!(append(0), 0, "nobody asked for it");
        head.begin(cluster());
        assert_eq!(append(1_000), 1);
        head.begin(cluster());
        assert_eq!(read(&head, "a").len(), 1, "it keeps its past");
        head.append(&cluster(), None, SampleKind::Derived, 1_000, &samples(&[("b", 1.0)]));
        let ended = head.end(&cluster(), 2_000);
        let ended: Vec<_> = ended.iter().flat_map(|(_, samples)| samples.iter()).collect();
        assert_eq!(ended.len(), 2);
        assert!(ended.iter().all(|(_, value)| is_stale_marker(*value)));
        assert_eq!((append(3_000), head.stats()), (0, HeadStats::default()));
    }

    #[test]
    fn what_is_seen_between_scrapes_ends_nothing() {
        let head = head(&[("up", 60_000), ("leader", 60_000)]);
        let append = |ts_ms, kind, values: &[(&str, f64)]| {
            head.append(&cluster(), Some(&instance()), kind, ts_ms, &samples(values))
        };
        append(0, SampleKind::Derived, &[("up", 1.0), ("term", 1.0)]);
        assert!(append(2_000, SampleKind::Between, &[("leader", 1.0), ("up", 0.0)]).is_empty());
        assert_eq!(read(&head, "up"), [(0, 1.0), (2_000, 0.0)]);
        assert_eq!(read(&head, "term"), [(0, 1.0)]);
        let ended = append(15_000, SampleKind::Derived, &[("up", 1.0), ("term", 1.0)]);
        assert_eq!(ended.iter().map(|(labels, _)| labels.metric_name()).collect::<Vec<_>>(), ["leader"]);
    }
}
