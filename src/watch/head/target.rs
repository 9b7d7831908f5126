//! One target's series: those of its scrapes and those the probe adds, each in the order of their list.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{HeadStats, Intake, LOOKBACK_MS, SAMPLE_BYTES, SERIES_BYTES, SampleKind};
use crate::model::{
    Labels, METRIC_NAME, Samples, Selection, Series, SeriesList, TargetSeries, is_stale_marker, stale_marker,
};

#[derive(Default)]
pub(super) struct TargetHead {
    scraped: Stream,
    derived: Stream,
    node: Stream,
}

/// Entries stand at the positions of their series in `list`. As long as a target exposes the same series, taking
/// a scrape is one walk along both.
#[derive(Default)]
struct Stream {
    list: Arc<SeriesList>,
    entries: Vec<Entry>,
    /// Series that ended, while rules still read what their windows hold.
    ended: Vec<(Arc<TargetSeries>, Entry)>,
}

struct Entry {
    last: (i64, f64),
    kept: Kept,
}

enum Kept {
    /// The head was full when the series came.
    Refused,
    LastValue,
    Window(Box<Window>),
}

struct Window {
    /// How far back rules read, ms.
    reach_ms: i64,
    samples: VecDeque<(i64, f64)>,
}

impl TargetHead {
    pub(super) fn append(
        &mut self,
        intake: &mut Intake<'_>,
        kind: SampleKind,
        ts_ms: i64,
        samples: &Samples,
    ) -> Samples {
        match kind {
            SampleKind::Scraped => self.scraped.append(intake, ts_ms, samples),
            SampleKind::Derived => self.derived.append(intake, ts_ms, samples),
            SampleKind::Node => self.node.append(intake, ts_ms, samples),
            SampleKind::Between => {
                self.derived.append_some(intake, ts_ms, samples);
                Samples::default()
            }
        }
    }

    pub(super) fn refill(&mut self, intake: &mut Intake<'_>, labels: &Labels, series: &Series) {
        let stream = match labels.metric_name() {
            name if is_derived(name) => &mut self.derived,
            name if name.starts_with("node_") => &mut self.node,
            _ => &mut self.scraped,
        };
        let one = SeriesList::new(vec![Arc::new(TargetSeries::new(labels.clone()))]);
        for at in stream.join(intake, &one) {
            let Some(entry) = stream.entries.get_mut(at) else { continue };
            for (ts_ms, value) in series.ts_ms.iter().zip(&series.values) {
                entry.push(*ts_ms, *value, intake.stats);
            }
        }
    }

    /// The series that fit, with what of them is in the selection's time. `full` adds the labels of the target.
    pub(super) fn select(&self, selection: &Selection, full: &dyn Fn(&Labels) -> Labels) -> Vec<Series> {
        let name = selection.demanded(METRIC_NAME);
        let mut found = Vec::new();
        for stream in [&self.scraped, &self.derived, &self.node] {
            match name {
                Some(name) => {
                    let positions = stream.list.of_metric(name).iter();
                    found.extend(positions.filter_map(|at| stream.at(*at as usize)));
                }
                None => found.extend((0..stream.entries.len()).filter_map(|at| stream.at(at))),
            }
            let ended =
                stream.ended.iter().filter(|(series, _)| name.is_none_or(|name| name == &**series.metric()));
            found.extend(ended.map(|(series, entry)| (series, entry)));
        }
        let found = found.into_iter().filter(|(_, entry)| !matches!(entry.kept, Kept::Refused));
        found.filter_map(|(series, entry)| entry.select(selection, full(series.labels()))).collect()
    }
}

/// Whether the probe adds the metric itself.
fn is_derived(metric: &str) -> bool {
    metric == "up" || metric.starts_with("scrape_") || metric.starts_with("etcd_monitor_")
}

impl Stream {
    fn at(&self, position: usize) -> Option<(&Arc<TargetSeries>, &Entry)> {
        self.list.get(position).zip(self.entries.get(position))
    }

    /// Takes a whole batch; returns the stale markers of what it has no longer.
    fn append(&mut self, intake: &mut Intake<'_>, ts_ms: i64, samples: &Samples) -> Samples {
        let gone = if Arc::ptr_eq(&self.list, samples.list()) {
            Vec::new()
        } else {
            self.change(intake, samples.list())
        };
        for (entry, value) in self.entries.iter_mut().zip(samples.values()) {
            entry.push(ts_ms, *value, intake.stats);
        }
        for (_, entry) in &mut self.ended {
            entry.trim(ts_ms, intake.stats);
        }
        self.ended.retain(|(_, entry)| entry.outlives_its_end(intake.stats));
        let mut ended = Vec::new();
        for (series, mut entry) in gone {
            if !is_stale_marker(entry.last.1) {
                ended.push(Arc::clone(&series));
                entry.push(ts_ms, stale_marker(), intake.stats);
            }
            if entry.outlives_its_end(intake.stats) {
                self.ended.push((series, entry));
            }
        }
        let markers = vec![stale_marker(); ended.len()];
        Samples::new(Arc::new(SeriesList::new(ended)), markers)
    }

    /// Takes a part of a batch: nothing ends, and what is new joins the list.
    fn append_some(&mut self, intake: &mut Intake<'_>, ts_ms: i64, samples: &Samples) {
        for (at, value) in self.join(intake, samples.list()).into_iter().zip(samples.values()) {
            if let Some(entry) = self.entries.get_mut(at) {
                entry.push(ts_ms, *value, intake.stats);
            }
        }
    }

    /// Where the series of `others` are, after those that were not there joined the list.
    fn join(&mut self, intake: &mut Intake<'_>, others: &SeriesList) -> Vec<usize> {
        let mut new: Vec<Arc<TargetSeries>> = Vec::new();
        let mut positions = Vec::with_capacity(others.len());
        for series in others.iter() {
            let there = |at: &&u32| {
                self.list.get(**at as usize).is_some_and(|there| there.labels() == series.labels())
            };
            let found = self.list.of_metric(series.metric()).iter().find(there);
            positions.push(found.map_or(self.list.len() + new.len(), |at| *at as usize));
            if found.is_none() {
                new.push(Arc::clone(series));
            }
        }
        if !new.is_empty() {
            let joined = self.list.iter().cloned().chain(new).collect();
            let gone = self.change(intake, &Arc::new(SeriesList::new(joined)));
            debug_assert!(gone.is_empty(), "the list only grew");
        }
        positions
    }

    /// Takes over another list; returns what it does not have.
    fn change(&mut self, intake: &mut Intake<'_>, list: &Arc<SeriesList>) -> Vec<(Arc<TargetSeries>, Entry)> {
        let before = std::mem::replace(&mut self.list, Arc::clone(list));
        let live = before.iter().cloned().zip(std::mem::take(&mut self.entries));
        let ended = std::mem::take(&mut self.ended);
        let mut known: HashMap<Labels, (bool, Arc<TargetSeries>, Entry)> = HashMap::new();
        for (was_live, (series, entry)) in
            ended.into_iter().map(|e| (false, e)).chain(live.map(|e| (true, e)))
        {
            known.insert(series.labels().clone(), (was_live, series, entry));
        }
        self.entries = Vec::with_capacity(list.len());
        for series in list.iter() {
            let entry = match known.remove(series.labels()) {
                Some((_, _, entry)) => entry,
                None => Entry::new(intake.admit(series.labels())),
            };
            self.entries.push(entry);
        }
        let mut gone = Vec::new();
        for (was_live, series, entry) in known.into_values() {
            if was_live { gone.push((series, entry)) } else { self.ended.push((series, entry)) }
        }
        // The order of a hash map is no order to write in.
        gone.sort_by(|(a, _), (b, _)| a.labels().cmp(b.labels()));
        gone
    }
}

impl Entry {
    fn new(reach_ms: Option<i64>) -> Self {
        let kept = match reach_ms {
            None => Kept::Refused,
            Some(0) => Kept::LastValue,
            Some(reach_ms) => Kept::Window(Box::new(Window { reach_ms, samples: VecDeque::new() })),
        };
        Self { last: (i64::MIN, f64::NAN), kept }
    }

    fn push(&mut self, ts_ms: i64, value: f64, stats: &mut HeadStats) {
        if ts_ms >= self.last.0 {
            self.last = (ts_ms, value);
        }
        let Kept::Window(window) = &mut self.kept else { return };
        if window.samples.back().is_none_or(|(last_ms, _)| *last_ms < ts_ms) {
            window.samples.push_back((ts_ms, value));
            stats.bytes += SAMPLE_BYTES;
        }
        self.trim(ts_ms, stats);
    }

    /// Drops what no rule can reach any more.
    fn trim(&mut self, now_ms: i64, stats: &mut HeadStats) {
        let Kept::Window(window) = &mut self.kept else { return };
        // One lookback more: the rule may be evaluated a little after the newest sample.
        let oldest = now_ms - window.reach_ms - LOOKBACK_MS;
        while window.samples.front().is_some_and(|(ts_ms, _)| *ts_ms < oldest) {
            window.samples.pop_front();
            stats.bytes = stats.bytes.saturating_sub(SAMPLE_BYTES);
        }
    }

    /// Whether an ended series still has something that rules read; if not, it is taken out of the account.
    fn outlives_its_end(&self, stats: &mut HeadStats) -> bool {
        let samples = match &self.kept {
            Kept::Refused => return false,
            Kept::LastValue => 0,
            Kept::Window(window) if window.samples.iter().any(|(_, value)| !is_stale_marker(*value)) => {
                return true;
            }
            Kept::Window(window) => window.samples.len(),
        };
        stats.series = stats.series.saturating_sub(1);
        stats.bytes = stats.bytes.saturating_sub(SERIES_BYTES + samples * SAMPLE_BYTES);
        false
    }

    fn select(&self, selection: &Selection, labels: Labels) -> Option<Series> {
        if !selection.matches(&labels) {
            return None;
        }
        let mut series = Series::new(labels);
        let mut push = |(ts_ms, value): (i64, f64)| {
            if (selection.start_ms..=selection.end_ms).contains(&ts_ms) {
                series.push(ts_ms, value);
            }
        };
        match &self.kept {
            Kept::Window(window) if !window.samples.is_empty() => {
                window.samples.iter().copied().for_each(push);
            }
            _ => push(self.last),
        }
        (!series.is_empty()).then_some(series)
    }
}
