//! When a database is full, from a store that holds how it grew.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use etcd_monitor::model::Labels;
use etcd_monitor::store::compact::{Plan, compact};
use etcd_monitor::store::samples::{Row, write_segment};
use etcd_monitor::store::{Store, StoreConfig, Writer};

use crate::program;

const DAY_MS: i64 = 86_400_000;
const MIB: f64 = 1_048_576.0;
const QUOTA: f64 = 2048.0 * MIB;

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("in range")
}

/// Live data after so many days: 60 MiB more a day, and a compaction every five hours that takes back 40.
fn in_use(days: f64) -> f64 {
    (300.0 + 60.0 * days + 40.0 * (days * 24.0 % 5.0) / 5.0) * MIB
}

/// Ten days of a sample in five minutes, up to now.
async fn grow(folder: &Path, now_ms: i64) -> Store {
    let config = StoreConfig { url: folder.display().to_string(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("opens");
    let writer = Writer::new(now_ms, 7);
    let series = |name: &str| Labels::from_pairs([("__name__", name), ("job", "etcd")]);
    let names =
        ["etcd_mvcc_db_total_size_in_use_in_bytes", "etcd_server_quota_backend_bytes", "process_open_fds"];
    let labels = names.map(series);
    let limit = series("process_max_fds");
    for day in 0..10 {
        let mut rows = Vec::new();
        for step in 0..288 {
            let ago_ms = (10 - day) * DAY_MS - step * 300_000;
            let days = (10 * DAY_MS - ago_ms) as f64 / DAY_MS as f64;
            let values = [in_use(days), QUOTA, 40.0 + (days * 9.0).sin()];
            let known = labels.iter().zip(values).chain([(&limit, 1024.0)]);
            rows.extend(known.map(|(labels, value)| Row {
                cluster: "prod",
                instance: "10.0.0.1:2379",
                labels,
                ts_ms: now_ms - ago_ms,
                value,
            }));
        }
        let flush_ms = now_ms - (9 - day) * DAY_MS;
        write_segment(&store, &writer, flush_ms, u64::try_from(day).expect("small"), &rows)
            .await
            .expect("written");
    }
    store
}

#[tokio::test]
async fn days_left_come_from_samples_and_from_rollups_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, now_ms) = (folder.path().join("store"), now_ms());
    let store = grow(&url, now_ms).await;
    let config = folder.path().join("etcd-monitor.toml");
    let text =
        format!("[store]\nurl = {url:?}\n[[cluster]]\nname = 'prod'\nendpoints = ['http://10.0.0.1:2379']\n");
    std::fs::write(&config, text).expect("written");
    let config = config.to_str().expect("UTF-8");
    let ask = || -> Vec<serde_json::Value> {
        let output = program::output(&["--config", config, "capacity", "--json"]);
        assert!(output.status.success(), "{}", program::stderr(&output));
        serde_json::from_str(&program::stdout(&output)).expect("JSON")
    };
    let days_left = |found: &[serde_json::Value]| -> f64 {
        let quota = found.iter().find(|one| one["forecast"]["resource"] == "quota").expect("there is one");
        quota["left_seconds"].as_f64().unwrap_or_else(|| panic!("{quota}")) / 86_400.0
    };
    let truth = (QUOTA / MIB - 300.0 - 20.0 - 600.0) / 60.0;
    let raw = ask();
    assert!((days_left(&raw) / truth - 1.0).abs() < 0.1, "{raw:?}, truth {truth}");
    let descriptors =
        raw.iter().find(|one| one["forecast"]["resource"] == "file-descriptors").expect("there is one");
    assert_eq!(descriptors["forecast"]["outlook"], "not-growing", "{descriptors}");

    let plan = Plan { rollup_metrics: etcd_monitor::survey::rollup_metrics(), ..Plan::default() };
    for hours in [0, 1, 30] {
        compact(&store, &plan, now_ms + hours * 3_600_000, &|_| {}).await.expect("compacts");
    }
    let coarse = days_left(&ask());
    assert!((coarse / days_left(&raw) - 1.0).abs() < 0.05, "{coarse} from rollups, {raw:?}");

    let run = program::output(&["--config", config, "run", "forecast"]);
    assert!(run.status.success(), "{}", program::stderr(&run));
    let query = "etcd_monitor_capacity_left_seconds{resource='quota'} / 86400";
    let written = program::output(&["--config", config, "query", query]);
    assert!(program::stdout(&written).contains("resource=\"quota\""), "{}", program::stdout(&written));
    let table = program::stdout(&program::output(&["--config", config, "capacity", "prod"]));
    assert!(table.contains("quota") && table.contains("not growing"), "{table}");
}
