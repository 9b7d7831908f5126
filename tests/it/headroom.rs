//! How much of what a benchmark measured is used, day by day, from a store that holds both.

use etcd_monitor::bench::regression::Judged;
use etcd_monitor::config::{Config, Overrides};
use etcd_monitor::model::{BenchOutcome, BenchRow, Labels};
use etcd_monitor::run::benches::headroom;
use etcd_monitor::store::samples::{Row, write_segment};
use etcd_monitor::store::{Store, StoreConfig, Writer};

const DAY_MS: i64 = 86_400_000;
const NOW_MS: i64 = 20_000 * DAY_MS;
const MINUTE_MS: i64 = 60_000;

/// A run at full speed, at 1000 puts a second.
fn run() -> Judged {
    let row = BenchRow {
        cluster: "prod".parse().expect("a name"),
        id: "20261101T030000000-AAAA".to_owned(),
        part: "put".to_owned(),
        ts_ms: NOW_MS - 9 * DAY_MS,
        profile: None,
        operation: "put".to_owned(),
        signature: "put".to_owned(),
        command: "etcd-monitor bench put".to_owned(),
        outcome: BenchOutcome::Complete,
        version: None,
        is_paced: false,
        ok: 10_000,
        failed: 0,
        seconds: 10.0,
        rate: 1_000.0,
        average: 0.001,
        p50: None,
        p90: None,
        p99: None,
        p999: None,
        slowest: 0.1,
        uncorrected_p99: None,
        fsync_p99: None,
        commit_p99: None,
        leader_changes: 0,
    };
    Judged { rows: vec![row], comparisons: Vec::new() }
}

#[tokio::test]
async fn headroom_is_told_of_each_day() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = StoreConfig { url: folder.path().display().to_string(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("opens");
    let labels = Labels::from_pairs([("__name__", "etcd_mvcc_put_total"), ("job", "etcd")]);
    let mut writer = Writer::new(NOW_MS, 7);
    let mut counter = 0.0;
    // Three days at 100, 200 and 300 puts a second.
    for (n, rate) in [100.0, 200.0, 300.0].into_iter().enumerate() {
        let start_ms = NOW_MS - (3 - i64::try_from(n).expect("small")) * DAY_MS;
        for hour in 0..24 {
            let mut rows = Vec::new();
            for minute in 0..60 {
                let ts_ms = start_ms + hour * 60 * MINUTE_MS + minute * MINUTE_MS + MINUTE_MS;
                counter += rate * 60.0;
                rows.push(Row {
                    cluster: "prod",
                    instance: "m1:2379",
                    labels: &labels,
                    ts_ms,
                    value: counter,
                });
            }
            let flush_ms = start_ms + (hour + 1) * 60 * MINUTE_MS;
            write_segment(&store, &writer, flush_ms, u64::try_from(hour).expect("small"), &rows)
                .await
                .expect("written");
        }
        writer = Writer::new(NOW_MS + i64::try_from(n).expect("small"), 8);
    }
    let config =
        Config::load(None, &std::collections::BTreeMap::new(), Overrides::store_only()).expect("defaults");
    let used = headroom(&config, &store, &[run()], NOW_MS).await.expect("reads");
    let [put] = used.as_slice() else { panic!("{used:?}") };
    assert!((put.now.expect("counted") - 300.0).abs() < 1.0, "{put:?}");
    let parts: Vec<f64> = put.days.iter().map(|(_, part)| (part * 1_000.0).round() / 1_000.0).collect();
    assert_eq!(parts, [0.1, 0.2, 0.3], "{put:?}");
    assert_eq!(put.days.last().map(|(ts_ms, _)| *ts_ms), Some(NOW_MS));
}
