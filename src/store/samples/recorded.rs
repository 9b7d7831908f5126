//! Writing what recording rules computed: series of any labels, in the form of scraped ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::segment::{Block, write_blocks};
use crate::model::{Labels, Samples, SeriesList, TargetSeries};
use crate::store::key::Key;
use crate::store::{Store, StoreError, Writer};

/// Results of recording rules at one instant that share cluster and instance, or have none.
#[derive(Debug, Clone)]
pub struct Recorded {
    cluster: String,
    instance: String,
    ts_ms: i64,
    samples: Samples,
}

impl Recorded {
    /// Groups what rules wrote at `ts_ms`: labels with `__name__`, and a value or the stale marker.
    pub fn group(rows: &[(Labels, f64)], ts_ms: i64) -> Vec<Self> {
        let mut groups: BTreeMap<(&str, &str), Vec<&(Labels, f64)>> = BTreeMap::new();
        for row in rows {
            let of = |name| row.0.get(name).unwrap_or("");
            groups.entry((of("cluster"), of("instance"))).or_default().push(row);
        }
        let groups = groups.into_iter().map(|((cluster, instance), rows)| {
            let series = rows.iter().map(|(labels, _)| Arc::new(TargetSeries::recorded(labels.clone())));
            let values = rows.iter().map(|(_, value)| *value).collect();
            let samples = Samples::new(Arc::new(SeriesList::new(series.collect())), values);
            Self { cluster: cluster.to_owned(), instance: instance.to_owned(), ts_ms, samples }
        });
        groups.collect()
    }

    pub fn block(&self) -> Block<'_> {
        Block { cluster: &self.cluster, instance: &self.instance, ts_ms: self.ts_ms, samples: &self.samples }
    }

    pub fn len(&self) -> usize {
        self.samples.len()
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    pub fn ts_ms(&self) -> i64 {
        self.ts_ms
    }
}

/// Writes what rules wrote at `ts_ms` as a segment of its own; nothing when there is nothing.
///
/// # Errors
/// As [`write_blocks`].
pub async fn write_recorded(
    store: &Store,
    writer: &Writer,
    ts_ms: i64,
    rows: &[(Labels, f64)],
) -> Result<Vec<Key>, StoreError> {
    let groups = Recorded::group(rows, ts_ms);
    // A loop that flushes counts its segments from 1.
    write_blocks(store, writer, ts_ms, 0, &groups.iter().map(Recorded::block).collect::<Vec<_>>()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{METRIC_NAME, Matcher, Selection, is_stale_marker, stale_marker};
    use crate::store::samples::load;

    #[tokio::test]
    async fn any_labels_come_back_as_the_rule_wrote_them() {
        let store = Store::in_memory();
        let series = [
            Labels::from_pairs([(METRIC_NAME, "a:sum")]),
            Labels::from_pairs([(METRIC_NAME, "a:sum"), ("cluster", "c"), ("le", ",job=\"x")]),
            Labels::from_pairs([(METRIC_NAME, "a:sum"), ("cluster", "c"), ("instance", "any text")]),
            Labels::from_pairs([(METRIC_NAME, "a:sum"), ("cluster", "c"), ("job", "etcd")]),
            Labels::from_pairs([(METRIC_NAME, "a:sum"), ("cluster", "c"), ("job", "other"), ("z", "1")]),
        ];
        let rows: Vec<(Labels, f64)> = series.iter().map(|labels| (labels.clone(), 1.0)).collect();
        let ended = [(series[0].clone(), stale_marker())];
        let writer = Writer::new(1, 1);
        write_recorded(&store, &writer, 60_000, &rows).await.expect("written");
        write_recorded(&store, &writer, 120_000, &ended).await.expect("written");
        let selection =
            Selection { matchers: vec![Matcher::equal(METRIC_NAME, "a:sum")], start_ms: 0, end_ms: 200_000 };
        let loaded = load(&store, &[selection], 100).await.expect("loaded");
        let mut found: Vec<Labels> = loaded.series.iter().map(|series| series.labels.clone()).collect();
        let mut expected = series.to_vec();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        let first = loaded.series.iter().find(|found| found.labels == series[0]).expect("there");
        assert_eq!(first.ts_ms, [60_000, 120_000]);
        assert!(is_stale_marker(first.values[1]));
    }
}
