//! The head: what `watch` remembers between flushes.
//!
//! It keeps the last value of every series (so that a series that vanishes gets its stale marker, and an
//! instant query sees the present) and a window of samples only for series that the rules `watch` owns
//! select. Its memory is bounded: past `max_bytes` new series are counted and not kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{
    ClusterName, Instance, Label, Labels, ScrapedSample, Selection, Series, SeriesSource, SourceError,
    stale_marker,
};

/// Prometheus' lookback: an instant selector sees the newest sample of the last five minutes.
const LOOKBACK_MS: i64 = 300_000;

/// Estimated bytes of a series without its window: labels, map slots, last value.
const SERIES_BYTES: usize = 240;
const SAMPLE_BYTES: usize = 16;

/// A sample on its way to the store: the labels lack `cluster`, `instance` and `job`, as in the tables.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadSample {
    pub cluster: ClusterName,
    /// `None` for series of the cluster as a whole.
    pub instance: Option<Instance>,
    pub labels: Labels,
    pub ts_ms: i64,
    pub value: f64,
}

/// How full the head is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadStats {
    pub series: usize,
    pub bytes: usize,
    /// Series not kept because the head was full.
    pub refused_series: u64,
}

/// Recent samples of all clusters. Clusters do not share a lock.
pub struct Head {
    /// What the watch-owned rules read: matchers and how far back, ms.
    wanted: Vec<(Selection, i64)>,
    max_bytes: usize,
    clusters: BTreeMap<ClusterName, Mutex<ClusterHead>>,
}

#[derive(Default)]
struct ClusterHead {
    targets: BTreeMap<Option<Instance>, TargetHead>,
    stats: HeadStats,
}

/// One scraped target's series, by metric name, then by the rest of the labels.
#[derive(Default)]
struct TargetHead {
    metrics: HashMap<Arc<str>, HashMap<Labels, Entry>>,
    generation: u64,
}

struct Entry {
    last: (i64, f64),
    generation: u64,
    /// How far back the window reaches, ms; 0 keeps the last value only.
    reach_ms: i64,
    window: VecDeque<(i64, f64)>,
}

impl Head {
    /// A head for `clusters`. `wanted` are the selections of the rules that will be evaluated over it, with
    /// start and end relative to an evaluation at time 0.
    pub fn new(
        clusters: impl IntoIterator<Item = ClusterName>,
        wanted: Vec<Selection>,
        max_bytes: usize,
    ) -> Self {
        let wanted = wanted.into_iter().map(|selection| {
            let reach_ms = -selection.start_ms.min(0);
            (selection, reach_ms)
        });
        Self {
            wanted: wanted.collect(),
            max_bytes,
            clusters: clusters.into_iter().map(|name| (name, Mutex::default())).collect(),
        }
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
        samples: &[ScrapedSample],
    ) -> Vec<HeadSample> {
        let Some(head) = self.clusters.get(cluster) else { return Vec::new() };
        let mut head = head.lock().unwrap_or_else(PoisonError::into_inner);
        let ClusterHead { targets, stats } = &mut *head;
        let target = targets.entry(instance.cloned()).or_default();
        target.generation += 1;
        for sample in samples {
            self.append_one(target, stats, (cluster, instance), ts_ms, sample);
        }
        if kind == SampleKind::Between {
            return Vec::new();
        }
        target
            .end_missing(kind, ts_ms, stats)
            .into_iter()
            .map(|labels| HeadSample {
                cluster: cluster.clone(),
                instance: instance.cloned(),
                labels,
                ts_ms,
                value: stale_marker(),
            })
            .collect()
    }

    fn append_one(
        &self,
        target: &mut TargetHead,
        stats: &mut HeadStats,
        (cluster, instance): (&ClusterName, Option<&Instance>),
        ts_ms: i64,
        sample: &ScrapedSample,
    ) {
        let generation = target.generation;
        let name = sample.labels.metric_name();
        if !target.metrics.contains_key(name) {
            target.metrics.insert(name.into(), HashMap::new());
        }
        let Some(entries) = target.metrics.get_mut(name) else { return };
        if let Some(entry) = entries.get_mut(&sample.labels) {
            stats.bytes += entry.push(ts_ms, sample.value) * SAMPLE_BYTES;
            stats.bytes -= entry.trim(ts_ms) * SAMPLE_BYTES;
            entry.generation = generation;
            return;
        }
        if stats.bytes + SERIES_BYTES > self.max_bytes / self.clusters.len().max(1) {
            stats.refused_series += 1;
            return;
        }
        let full = full_labels(cluster, instance, &sample.labels);
        let reach_ms =
            self.wanted.iter().filter(|(s, _)| s.matches(&full)).map(|(_, reach)| *reach).max().unwrap_or(0);
        let mut entry = Entry { last: (ts_ms, sample.value), generation, reach_ms, window: VecDeque::new() };
        stats.series += 1;
        stats.bytes += SERIES_BYTES + entry.push(ts_ms, sample.value) * SAMPLE_BYTES;
        entries.insert(sample.labels.clone(), entry);
    }

    /// Puts samples back after a restart; older than what is there is ignored.
    pub fn refill(&self, series: impl IntoIterator<Item = Arc<Series>>) {
        for series in series {
            let cluster = series.labels.get("cluster").and_then(|name| name.parse().ok());
            let Some(cluster): Option<ClusterName> = cluster else { continue };
            let instance = series.labels.get("instance").and_then(|text| text.parse::<Instance>().ok());
            let labels = series.labels.without(&["cluster", "instance", "job"]);
            for (ts_ms, value) in series.ts_ms.iter().zip(&series.values) {
                let Some(head) = self.clusters.get(&cluster) else { continue };
                let mut head = head.lock().unwrap_or_else(PoisonError::into_inner);
                let ClusterHead { targets, stats } = &mut *head;
                let target = targets.entry(instance.clone()).or_default();
                let sample = ScrapedSample { labels: labels.clone(), value: *value };
                self.append_one(target, stats, (&cluster, instance.as_ref()), *ts_ms, &sample);
            }
        }
    }

    /// How full the head is, over all clusters.
    pub fn stats(&self) -> HeadStats {
        self.clusters.values().fold(HeadStats::default(), |sum, head| {
            let stats = head.lock().unwrap_or_else(PoisonError::into_inner).stats;
            HeadStats {
                series: sum.series + stats.series,
                bytes: sum.bytes + stats.bytes,
                refused_series: sum.refused_series + stats.refused_series,
            }
        })
    }
}

/// Which of a target's streams a batch belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// What `/metrics` said.
    Scraped,
    /// What the probe adds: `up`, `scrape_*`, `etcd_monitor_*`.
    Derived,
    /// Part of what the probe adds, taken between two scrapes because something changed: what is missing
    /// was not asked, so nothing ends.
    Between,
}

impl SampleKind {
    fn owns(self, metric: &str) -> bool {
        let derived = metric == "up" || metric.starts_with("scrape_") || metric.starts_with("etcd_monitor_");
        derived == (self == Self::Derived)
    }
}

impl TargetHead {
    /// Ends the series of `kind` that this generation did not bring, and returns their labels.
    fn end_missing(&mut self, kind: SampleKind, ts_ms: i64, stats: &mut HeadStats) -> Vec<Labels> {
        let generation = self.generation;
        let mut ended = Vec::new();
        for (metric, entries) in &mut self.metrics {
            if !kind.owns(metric) {
                // Its stream was not part of this batch; it counts as seen.
                entries.values_mut().for_each(|entry| entry.generation = generation);
                continue;
            }
            entries.retain(|labels, entry| {
                if entry.generation == generation {
                    return true;
                }
                if !crate::model::is_stale_marker(entry.last.1) {
                    ended.push(labels.clone());
                    stats.bytes += entry.push(ts_ms, stale_marker()) * SAMPLE_BYTES;
                }
                stats.bytes -= entry.trim(ts_ms) * SAMPLE_BYTES;
                // Rules still read what the window holds; without one the ended series is forgotten.
                let keep = entry.window.iter().any(|(_, value)| !crate::model::is_stale_marker(*value));
                if !keep {
                    stats.series -= 1;
                    stats.bytes =
                        stats.bytes.saturating_sub(SERIES_BYTES + entry.window.len() * SAMPLE_BYTES);
                }
                keep
            });
        }
        ended
    }
}

impl Entry {
    /// Returns how many samples were added to the window.
    fn push(&mut self, ts_ms: i64, value: f64) -> usize {
        if ts_ms >= self.last.0 {
            self.last = (ts_ms, value);
        }
        if self.reach_ms == 0 || self.window.back().is_some_and(|(last, _)| *last >= ts_ms) {
            return 0;
        }
        self.window.push_back((ts_ms, value));
        1
    }

    /// Drops what no rule can reach any more; returns how many samples went.
    fn trim(&mut self, now_ms: i64) -> usize {
        let before = self.window.len();
        // One lookback more: the rule may be evaluated a little after the newest sample.
        let oldest = now_ms - self.reach_ms - LOOKBACK_MS;
        while self.window.front().is_some_and(|(ts_ms, _)| *ts_ms < oldest) {
            self.window.pop_front();
        }
        before - self.window.len()
    }
}

/// The labels PromQL sees: the scraped ones with `cluster`, `job` and `instance`.
pub fn full_labels(cluster: &ClusterName, instance: Option<&Instance>, scraped: &Labels) -> Labels {
    let mut labels: Vec<Label> = scraped.iter().cloned().collect();
    labels.push(Label::new("cluster", cluster.as_str()));
    labels.push(Label::new("job", "etcd"));
    if let Some(instance) = instance {
        labels.push(Label::new("instance", instance.as_str()));
    }
    Labels::new(labels)
}

impl SeriesSource for Head {
    fn select(&self, selection: &Selection) -> Result<Vec<Arc<Series>>, SourceError> {
        let mut found = BTreeMap::new();
        for (cluster, head) in &self.clusters {
            if selection.demanded("cluster").is_some_and(|demanded| demanded != cluster.as_str()) {
                continue;
            }
            let head = head.lock().unwrap_or_else(PoisonError::into_inner);
            for (instance, target) in &head.targets {
                target.select(selection, cluster, instance.as_ref(), &mut found);
            }
        }
        Ok(found.into_values().collect())
    }
}

impl TargetHead {
    fn select(
        &self,
        selection: &Selection,
        cluster: &ClusterName,
        instance: Option<&Instance>,
        found: &mut BTreeMap<Labels, Arc<Series>>,
    ) {
        let name = selection.demanded(crate::model::METRIC_NAME);
        let metrics = self.metrics.iter().filter(|(metric, _)| name.is_none_or(|name| name == &***metric));
        for (scraped, entry) in metrics.flat_map(|(_, entries)| entries) {
            let full = full_labels(cluster, instance, scraped);
            if !selection.matches(&full) {
                continue;
            }
            let mut series = Series::new(full.clone());
            let last = std::iter::once(&entry.last).filter(|_| entry.window.is_empty());
            for (ts_ms, value) in entry.window.iter().chain(last) {
                if (selection.start_ms..=selection.end_ms).contains(ts_ms) {
                    series.push(*ts_ms, *value);
                }
            }
            if !series.is_empty() {
                found.insert(full, Arc::new(series));
            }
        }
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

    fn sample(metric: &str, value: f64) -> ScrapedSample {
        ScrapedSample { labels: Labels::from_pairs([("__name__", metric)]), value }
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
            let both = [sample("a", n as f64), sample("b", n as f64)];
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
        let append = |ts_ms, kind, samples: &[ScrapedSample]| {
            head.append(&cluster(), Some(&instance()), kind, ts_ms, samples)
        };
        append(0, SampleKind::Scraped, &[sample("a", 1.0), sample("b", 1.0)]);
        assert!(append(0, SampleKind::Derived, &[sample("up", 1.0)]).is_empty(), "the scrape goes on");
        let ended = append(15_000, SampleKind::Scraped, &[sample("b", 1.0)]);
        assert_eq!(ended.len(), 1);
        assert!(is_stale_marker(ended[0].value) && ended[0].labels.metric_name() == "a");
        assert!(append(30_000, SampleKind::Scraped, &[sample("b", 1.0)]).is_empty(), "only once");
        assert!(is_stale_marker(read(&head, "a")[1].1), "rules see the end too");
        let all_gone = append(45_000, SampleKind::Scraped, &[]);
        assert_eq!(all_gone.len(), 1, "a failed scrape ends what is left, and `up` stays");
        assert_eq!(read(&head, "up"), [(0, 1.0)]);
    }

    #[test]
    fn memory_is_bounded() {
        let head = Head::new([cluster()], vec![], 10 * SERIES_BYTES);
        let many: Vec<ScrapedSample> = (0..50).map(|n| sample(&format!("m{n}"), 1.0)).collect();
        head.append(&cluster(), None, SampleKind::Scraped, 0, &many);
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
                &[sample("a", n as f64)],
            );
        }
        let all = Selection { matchers: vec![], start_ms: 0, end_ms: i64::MAX };
        let after = head(&[("a", 60_000)]);
        after.refill(head_before.select(&all).expect("in memory"));
        assert_eq!(read(&after, "a"), read(&head_before, "a"));
    }
}
