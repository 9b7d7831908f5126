//! Recording rules: what they compute is stored as series, queried, seen by later rules, and ended.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use etcd_monitor::model::Labels;
use etcd_monitor::store::samples::{Row, write_segment};
use etcd_monitor::store::{Store, StoreConfig, Writer};
use serde_json::Value;

use crate::program::{self, stderr, stdout};

const RULES: &str = "\
groups:
- name: recorded
  rules:
  - record: cluster:down:count
    expr: count by (cluster) (up == 0)
- name: readers
  rules:
  - alert: SomeDown
    expr: cluster:down:count > 0
";

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before year 292 million")
}

async fn write_up(folder: &Path, value: f64) {
    write(folder, &[("__name__", "up")], value).await;
}

async fn write(folder: &Path, labels: &[(&str, &str)], value: f64) {
    let config = StoreConfig { url: folder.join("data").display().to_string(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("opens");
    let labels = Labels::from_pairs(labels.iter().copied());
    let ts_ms = now_ms();
    let row = Row { cluster: "a", instance: "m1:2379", labels: &labels, ts_ms, value };
    let writer = Writer::new(ts_ms, 7);
    write_segment(&store, &writer, ts_ms, 1, &[row]).await.expect("written");
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let config = folder.join("etcd-monitor.toml");
    let output = program::output(&[&["--config", config.to_str().expect("UTF-8")], arguments].concat());
    // Nobody is there to be told: the alert's route is empty.
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

fn query(folder: &Path, expr: &str) -> Vec<Value> {
    let text = done(folder, &["query", "--json", expr]);
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let result = value.get("result").or_else(|| value.pointer("/data/result")).expect("a result");
    result.as_array().expect("a vector").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_series_is_stored_seen_and_ended() {
    let folder = tempfile::tempdir().expect("folder");
    let at = folder.path();
    std::fs::write(at.join("rules.yaml"), RULES).expect("written");
    let data = at.join("data");
    let config = format!(
        "[store]\nurl = '{}'\n[[cluster]]\nname = 'a'\nendpoints = ['http://127.0.0.1:1']\n[rules]\n\
         default-pack = false\nfiles = ['rules.yaml']\n",
        data.display()
    );
    std::fs::write(at.join("etcd-monitor.toml"), config).expect("written");

    write_up(at, 0.0).await;
    done(at, &["run", "evaluate"]);
    let found = query(at, "cluster:down:count");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["metric"], serde_json::json!({"__name__": "cluster:down:count", "cluster": "a"}));
    assert_eq!(found[0]["value"][1], "1");
    // The rules of the other group read it from the same evaluation.
    let alerts: Value = serde_json::from_str(&done(at, &["alerts", "--json"])).expect("JSON");
    assert_eq!(alerts[0]["alert"], "SomeDown", "{alerts}");

    // Another process evaluates, and knows from the store what was written before.
    write_up(at, 1.0).await;
    done(at, &["run", "evaluate"]);
    assert_eq!(query(at, "cluster:down:count"), Vec::<Value>::new(), "ended by a stale marker");
    let before = query(at, "count_over_time(cluster:down:count[5m])");
    assert_eq!(before[0]["value"][1], "1", "written once, then ended: {before:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objective_is_measured_and_its_budget_told() {
    let folder = tempfile::tempdir().expect("folder");
    let at = folder.path();
    let config = format!(
        "[store]\nurl = '{}'\nretention.raw = '40d'\n[[cluster]]\nname = 'a'\nendpoints = ['http://127.0.0.1:1']\n\
         [[slo]]\nname = 'reads'\nobjective = 99.9\nindicator = 'availability'\n",
        at.join("data").display()
    );
    std::fs::write(at.join("etcd-monitor.toml"), config).expect("written");
    let probe = [("__name__", "etcd_monitor_probe_success"), ("probe", "linearizable-read")];
    write(at, &probe, 1.0).await;
    done(at, &["run", "evaluate"]);
    let standing = || -> Value { serde_json::from_str(&done(at, &["slo", "--json"])).expect("JSON") };
    let good = &standing()[0];
    assert_eq!((&good["slo"], &good["cluster"]), (&"reads".into(), &"a".into()));
    assert_eq!((good["actual"].as_f64(), good["budget_left"].as_f64()), (Some(1.0), Some(1.0)));
    write(at, &probe, 0.0).await;
    done(at, &["run", "evaluate"]);
    let bad = &standing()[0];
    assert_eq!(bad["actual"], 0.5);
    assert!(bad["budget_left"].as_f64().expect("a number") < 0.0, "{bad}");
    assert!(done(at, &["slo"]).contains("50%"));
}
