//! Time series in memory and the interface through which PromQL reads them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Labels, METRIC_NAME, Matcher};

/// Prometheus' stale marker: the NaN with exactly these bits. Any other NaN is a value.
pub const STALE_MARKER_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The value that says "this series ended here".
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_MARKER_BITS)
}

/// Whether `value` is the stale marker (and not an ordinary NaN).
pub fn is_stale_marker(value: f64) -> bool {
    value.to_bits() == STALE_MARKER_BITS
}

/// One series with its samples: `ts_ms` strictly increasing, `values` of the same length.
#[derive(Debug, Clone, Default)]
pub struct Series {
    pub labels: Labels,
    pub ts_ms: Vec<i64>,
    pub values: Vec<f64>,
}

impl Series {
    pub fn new(labels: Labels) -> Self {
        Self { labels, ts_ms: Vec::new(), values: Vec::new() }
    }

    /// Appends one sample. The caller keeps time order.
    pub fn push(&mut self, ts_ms: i64, value: f64) {
        self.ts_ms.push(ts_ms);
        self.values.push(value);
    }

    pub fn len(&self) -> usize {
        self.ts_ms.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ts_ms.is_empty()
    }

    /// The samples with `start_ms <= ts <= end_ms`.
    pub fn window(&self, start_ms: i64, end_ms: i64) -> (&[i64], &[f64]) {
        let from = self.ts_ms.partition_point(|ts| *ts < start_ms);
        let to = self.ts_ms.partition_point(|ts| *ts <= end_ms).max(from);
        (self.ts_ms.get(from..to).unwrap_or_default(), self.values.get(from..to).unwrap_or_default())
    }

    fn cut(&self, start_ms: i64, end_ms: i64) -> Self {
        let (ts_ms, values) = self.window(start_ms, end_ms);
        Self { labels: self.labels.clone(), ts_ms: ts_ms.to_vec(), values: values.to_vec() }
    }
}

/// What an evaluation wants to read: all series that fit every matcher, their samples with
/// `start_ms <= ts <= end_ms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    pub matchers: Vec<Matcher>,
    pub start_ms: i64,
    pub end_ms: i64,
}

impl Selection {
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// The value a plain `name="value"` matcher demands, if there is one: readers prune by it.
    pub fn demanded(&self, name: &str) -> Option<&str> {
        self.matchers
            .iter()
            .find(|m| m.name == name && m.op == super::MatchOp::Equal && !m.value.is_empty())
            .map(|m| m.value.as_str())
    }
}

/// Why series could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The selection holds more samples than the limit allows.
    #[error("the query needs more than {limit} samples in memory")]
    TooManySamples { limit: usize },
    /// The selection is not part of what was loaded for this evaluation.
    #[error("the selection {selection} was not loaded")]
    NotLoaded { selection: String },
}

/// Anything PromQL can be evaluated over.
pub trait SeriesSource: Sync {
    /// The series that fit `selection`, sorted by labels, without empty ones. Stale markers are included.
    ///
    /// # Errors
    /// [`SourceError`], when the series cannot be given whole.
    fn select(&self, selection: &Selection) -> Result<Vec<Arc<Series>>, SourceError>;
}

/// Series in memory, in label order; samples added twice at one instant keep the last value.
#[derive(Debug, Clone, Default)]
pub struct SeriesSet {
    series: BTreeMap<Labels, Arc<Series>>,
    /// Nearly every selection demands one metric: over a fleet, a walk along all series for each would take minutes.
    by_metric: HashMap<Box<str>, BTreeSet<Labels>>,
}

impl SeriesSet {
    /// Adds a sample in any time order.
    pub fn push(&mut self, labels: &Labels, ts_ms: i64, value: f64) {
        if !self.series.contains_key(labels) {
            self.add(Series::new(labels.clone()));
        }
        let Some(series) = self.series.get_mut(labels) else { return };
        let series = Arc::make_mut(series);
        match series.ts_ms.last() {
            Some(last) if *last >= ts_ms => match series.ts_ms.binary_search(&ts_ms) {
                Ok(at) => {
                    if let Some(slot) = series.values.get_mut(at) {
                        *slot = value;
                    }
                }
                Err(at) => {
                    series.ts_ms.insert(at, ts_ms);
                    series.values.insert(at, value);
                }
            },
            _ => series.push(ts_ms, value),
        }
    }

    /// Adds a whole series, merging with what is there.
    pub fn insert(&mut self, series: Series) {
        match self.series.get_mut(&series.labels) {
            None => self.add(series),
            Some(there) => {
                let merged = merge(there, &series);
                *there = Arc::new(merged);
            }
        }
    }

    /// Adds a series that is not there.
    fn add(&mut self, series: Series) {
        let labels = series.labels.clone();
        self.by_metric.entry(labels.metric_name().into()).or_default().insert(labels.clone());
        self.series.insert(labels, Arc::new(series));
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.series.values()
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

impl SeriesSource for SeriesSet {
    fn select(&self, selection: &Selection) -> Result<Vec<Arc<Series>>, SourceError> {
        let candidates: Box<dyn Iterator<Item = &Arc<Series>>> = match selection.demanded(METRIC_NAME) {
            Some(metric) => {
                let of_metric = self.by_metric.get(metric).into_iter().flatten();
                Box::new(of_metric.filter_map(|labels| self.series.get(labels)))
            }
            None => Box::new(self.series.values()),
        };
        let mut found = Vec::new();
        for series in candidates.filter(|series| selection.matches(&series.labels)) {
            let (window, _) = series.window(selection.start_ms, selection.end_ms);
            if window.len() == series.len() && !series.is_empty() {
                found.push(Arc::clone(series));
            } else if !window.is_empty() {
                found.push(Arc::new(series.cut(selection.start_ms, selection.end_ms)));
            }
        }
        Ok(found)
    }
}

/// Two sources seen as one; where both have a sample at one instant the second (newer) wins.
pub struct Joined<'a>(pub &'a dyn SeriesSource, pub &'a dyn SeriesSource);

impl SeriesSource for Joined<'_> {
    fn select(&self, selection: &Selection) -> Result<Vec<Arc<Series>>, SourceError> {
        let mut joined: BTreeMap<Labels, Arc<Series>> =
            self.0.select(selection)?.into_iter().map(|s| (s.labels.clone(), s)).collect();
        for series in self.1.select(selection)? {
            match joined.get_mut(&series.labels) {
                Some(there) => *there = Arc::new(merge(there, &series)),
                None => {
                    joined.insert(series.labels.clone(), series);
                }
            }
        }
        Ok(joined.into_values().collect())
    }
}

/// Both series' samples in time order; at an equal instant `newer` wins.
fn merge(older: &Series, newer: &Series) -> Series {
    let mut merged = Series::new(older.labels.clone());
    let mut old = older.ts_ms.iter().zip(&older.values).peekable();
    let mut new = newer.ts_ms.iter().zip(&newer.values).peekable();
    loop {
        let (a, b) = (old.peek().map(|(ts, _)| **ts), new.peek().map(|(ts, _)| **ts));
        let take_new = match (a, b) {
            (None, None) => return merged,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(a), Some(b)) => b <= a,
        };
        if a == b {
            old.next();
        }
        if let Some((ts_ms, value)) = if take_new { new.next() } else { old.next() } {
            merged.push(*ts_ms, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, samples: &[(i64, f64)]) -> Series {
        let mut series = Series::new(Labels::from_pairs([("__name__", name)]));
        for (ts_ms, value) in samples {
            series.push(*ts_ms, *value);
        }
        series
    }

    fn all(start_ms: i64, end_ms: i64) -> Selection {
        Selection { matchers: vec![], start_ms, end_ms }
    }

    #[test]
    fn a_selection_is_closed_on_both_sides() {
        let mut set = SeriesSet::default();
        set.insert(series("a", &[(1, 1.0), (2, 2.0), (3, 3.0)]));
        let found = set.select(&all(1, 2)).expect("in memory");
        assert_eq!(found[0].ts_ms, [1, 2]);
        assert!(set.select(&all(4, 9)).expect("in memory").is_empty());
    }

    #[test]
    fn the_newer_source_wins_at_an_equal_instant() {
        let (mut older, mut newer) = (SeriesSet::default(), SeriesSet::default());
        older.insert(series("a", &[(1, 1.0), (2, 2.0), (4, 4.0)]));
        newer.insert(series("a", &[(2, 20.0), (3, 30.0)]));
        newer.insert(series("b", &[(1, 7.0)]));
        let found = Joined(&older, &newer).select(&all(0, 9)).expect("in memory");
        assert_eq!(found[0].ts_ms, [1, 2, 3, 4]);
        assert_eq!(found[0].values, [1.0, 20.0, 30.0, 4.0]);
        assert_eq!(found[1].labels.metric_name(), "b");
    }

    #[test]
    fn samples_may_come_out_of_order_and_twice() {
        let labels = Labels::from_pairs([("__name__", "a")]);
        let mut set = SeriesSet::default();
        for (ts_ms, value) in [(3, 3.0), (1, 1.0), (3, 9.0), (2, 2.0)] {
            set.push(&labels, ts_ms, value);
        }
        let found = set.select(&all(0, 9)).expect("in memory");
        assert_eq!(
            (found[0].ts_ms.as_slice(), found[0].values.as_slice()),
            (&[1, 2, 3][..], &[1.0, 2.0, 9.0][..])
        );
    }

    #[test]
    fn only_the_marker_is_stale() {
        assert!(is_stale_marker(stale_marker()) && !is_stale_marker(f64::NAN));
    }
}
