//! What recording rules wrote lately, in memory: rules of other groups read it before it is in the store.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{Labels, Series, SeriesSet};

/// The longest range of rules over memory, 15 minutes, and the lookback beyond it.
const KEEP_MS: i64 = 20 * 60_000;
/// How often what is older is thrown away.
const TRIM_EVERY_MS: i64 = 5 * 60_000;

/// Samples of recorded series, the last 20 minutes of them.
#[derive(Debug, Default)]
pub struct RecordedSeries {
    pub set: SeriesSet,
    trimmed_ms: i64,
}

impl RecordedSeries {
    /// Takes what rules wrote at `ts_ms`.
    pub fn add(&mut self, rows: &[(Labels, f64)], ts_ms: i64) {
        for (labels, value) in rows {
            self.set.push(labels, ts_ms, *value);
        }
        if ts_ms.saturating_sub(self.trimmed_ms) >= TRIM_EVERY_MS {
            self.trim(ts_ms);
        }
    }

    /// Puts back what an earlier process wrote, and returns the other series.
    pub fn refill(&mut self, series: Vec<Arc<Series>>, recorded: &BTreeSet<String>) -> Vec<Arc<Series>> {
        let (own, other): (Vec<_>, Vec<_>) =
            series.into_iter().partition(|series| recorded.contains(series.labels.metric_name()));
        for series in own {
            self.set.insert(series.as_ref().clone());
        }
        other
    }

    fn trim(&mut self, now_ms: i64) {
        let from_ms = now_ms.saturating_sub(KEEP_MS);
        let mut kept = SeriesSet::default();
        for series in self.set.iter() {
            let (ts_ms, values) = series.window(from_ms, i64::MAX);
            if !ts_ms.is_empty() {
                let labels = series.labels.clone();
                kept.insert(Series { labels, ts_ms: ts_ms.to_vec(), values: values.to_vec() });
            }
        }
        (self.set, self.trimmed_ms) = (kept, now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_minutes_are_kept() {
        let mut recorded = RecordedSeries::default();
        let labels = Labels::from_pairs([("__name__", "a:b")]);
        for minute in 0..120 {
            recorded.add(&[(labels.clone(), 1.0)], minute * 60_000);
        }
        let kept = recorded.set.iter().next().expect("there").len();
        assert!((20..=26).contains(&kept), "{kept}");
    }
}
