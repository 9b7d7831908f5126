//! The samples table: what was scraped, one row per sample.
//!
//! Owns: the form of a row (the integer and the float column, the stale marker), segments, and loading
//! series for PromQL. Refuses: knowing which metrics matter.

mod columns;
mod load;
mod prune;
mod recorded;
mod segment;
mod value;

pub use load::{Loaded, RollupSpan, load, load_coarse};
pub use recorded::{Recorded, write_recorded};
pub use segment::{Block, Row, write_blocks, write_segment};
pub(super) use value::{settle_values, value_at};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Labels, Matcher, Selection, stale_marker};
    use crate::store::{Store, Writer};

    fn all() -> Selection {
        Selection { matchers: vec![], start_ms: i64::MIN, end_ms: i64::MAX }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(future)
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            (-9_000_000_000_000_000_i64..9_000_000_000_000_000).prop_map(|v| v as f64),
            Just(stale_marker()),
            Just(f64::NAN),
            Just(-0.0),
            Just(f64::NEG_INFINITY),
        ]
    }

    type Sample = (usize, usize, String, i64, f64);

    fn sample() -> impl Strategy<Value = Sample> {
        // Around midnight, so that hours and days are crossed.
        (0..2_usize, 0..3_usize, "[a-c\"\\\\é]{0,2}", 86_390_000_i64..86_410_000, value())
    }

    const CLUSTERS: [&str; 2] = ["a", "b"];
    const METRICS: [&str; 3] = ["up", "etcd_x_bucket", "zz"];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_written_is_loaded(rows in prop::collection::vec(sample(), 0..60)) {
            let labels: Vec<Labels> = rows
                .iter()
                .map(|(_, metric, le, ..)| Labels::from_pairs([("__name__", METRICS[*metric]), ("le", le)]))
                .collect();
            let written: Vec<Row<'_>> = rows
                .iter()
                .zip(&labels)
                .map(|((cluster, .., ts_ms, value), labels)| Row {
                    cluster: CLUSTERS[*cluster], instance: "h:1", labels, ts_ms: *ts_ms, value: *value,
                })
                .collect();
            let mut expected: BTreeMap<(Labels, i64), u64> = BTreeMap::new();
            for row in &written {
                let labels = row.labels.with("cluster", row.cluster).with("instance", "h:1").with("job", "etcd");
                // A NaN that is not the marker keeps being a NaN; which one is not promised.
                expected.insert((labels, row.ts_ms), canonical_bits(row.value));
            }
            let store = Store::in_memory();
            let loaded = run(async {
                write_segment(&store, &Writer::new(1, 1), 86_400_000, 1, &written).await?;
                load(&store, &[all()], 1_000_000).await
            }).expect("store");
            let mut found = BTreeMap::new();
            for series in loaded.series.iter() {
                for (ts_ms, value) in series.ts_ms.iter().zip(&series.values) {
                    found.insert((series.labels.clone(), *ts_ms), canonical_bits(*value));
                }
            }
            prop_assert_eq!(found, expected);
        }
    }

    fn canonical_bits(value: f64) -> u64 {
        if value.is_nan() && !crate::model::is_stale_marker(value) {
            f64::NAN.to_bits()
        } else {
            value.to_bits()
        }
    }

    #[test]
    fn a_segment_is_skipped_only_when_it_is_too_old() {
        let store = Store::in_memory();
        let labels = Labels::from_pairs([("__name__", "a")]);
        run(async {
            let writer = Writer::new(1, 1);
            for n in 0..10_i64 {
                let row = Row { cluster: "c", instance: "h:1", labels: &labels, ts_ms: n * 1000, value: 1.0 };
                // The flush's own clock may be behind that of the rows.
                write_segment(&store, &writer, 500, n.unsigned_abs(), &[row]).await.expect("writes");
            }
            for (start_ms, expected) in [(0, 10), (1, 9), (8999, 1), (9000, 1), (9001, 0)] {
                let selection = Selection { matchers: vec![], start_ms, end_ms: 60_000 };
                let found = load(&store, &[selection], 100).await.expect("loads").series;
                assert_eq!(found.iter().map(|s| s.len()).sum::<usize>(), expected, "from {start_ms}");
            }
        });
    }

    #[test]
    fn a_selection_gets_its_series_in_its_time_and_no_more_than_the_limit() {
        let store = Store::in_memory();
        let labels = ["a", "b"].map(|name| Labels::from_pairs([("__name__", name)]));
        let rows: Vec<Row<'_>> = (0..100)
            .flat_map(|i| {
                labels.iter().map(move |labels| Row {
                    cluster: "c",
                    instance: "h:1",
                    labels,
                    ts_ms: i * 15_000,
                    value: i as f64,
                })
            })
            .collect();
        let select = |name, start_ms, end_ms| Selection {
            matchers: vec![Matcher::equal("__name__", name), Matcher::equal("cluster", "c")],
            start_ms,
            end_ms,
        };
        run(async {
            write_segment(&store, &Writer::new(1, 1), 1_500_000, 1, &rows).await.expect("write");
            let found = load(&store, &[select("b", 30_000, 60_000)], 10).await.expect("load");
            let series: Vec<_> = found.series.iter().collect();
            assert_eq!(series.len(), 1);
            assert_eq!(series[0].labels.to_string(), r#"b{cluster="c", instance="h:1", job="etcd"}"#);
            assert_eq!(series[0].ts_ms, [30_000, 45_000, 60_000]);
            assert_eq!(series[0].values, [2.0, 3.0, 4.0]);
            let error = load(&store, &[select("b", 0, 1_500_000)], 10).await.expect_err("over the limit");
            assert!(error.to_string().contains("more than 10 samples"), "{error}");
        });
    }
}
