//! `fleet` and `compare`, over a store that holds an hour of seven clusters.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use etcd_monitor::model::{Labels, MemberId, ReadingRow, Role};
use etcd_monitor::store::samples::{Row, write_segment};
use etcd_monitor::store::{Store, StoreConfig, Writer, readings};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{self, stderr, stdout};

const MIB: f64 = 1_048_576.0;
const STEP_MS: i64 = 15_000;
/// A little more than the range of an hour, for the first rates.
const STEPS: i64 = 270;
/// The buckets of a latency histogram, seconds.
const BUCKETS: [f64; 5] = [0.001, 0.002, 0.004, 0.008, 0.016];

/// One cluster of three members, of which each takes `fsync_bucket` for every fsync, whole buckets of [`BUCKETS`].
struct Cluster {
    name: String,
    env: Option<&'static str>,
    fsync_bucket: usize,
    db_mib: f64,
    growth_mib_per_day: f64,
    leader_changes: f64,
}

fn fleet(of: usize) -> Vec<Cluster> {
    let cluster = |n: usize| Cluster {
        name: format!("c{n:02}"),
        env: (n + 1 < of).then_some(if n.is_multiple_of(2) { "prod" } else { "stage" }),
        // The third takes eight times as long as the others.
        fsync_bucket: if n == 2 { 4 } else { 1 },
        db_mib: 100.0 * (n + 1) as f64,
        growth_mib_per_day: 24.0 * n as f64,
        leader_changes: if n == 1 { 6.0 } else { 0.0 },
    };
    (0..of).map(cluster).collect()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("in range")
}

fn labels(name: &str, more: &[(&str, &str)]) -> Labels {
    Labels::from_pairs([("__name__", name), ("job", "etcd")].into_iter().chain(more.iter().copied()))
}

/// All series of one member with their value at step `n`.
fn series(cluster: &Cluster, step: i64) -> Vec<(Labels, f64)> {
    let age = (STEPS - 1 - step) as f64 * STEP_MS as f64 / 86_400_000.0;
    let done = 10.0 * step as f64;
    let mut all = vec![
        (labels("etcd_mvcc_db_total_size_in_bytes", &[]), cluster.db_mib * MIB),
        (
            labels("etcd_mvcc_db_total_size_in_use_in_bytes", &[]),
            (cluster.db_mib - age * cluster.growth_mib_per_day) * MIB,
        ),
        (labels("etcd_monitor_db_size_bytes", &[]), cluster.db_mib * MIB),
        (labels("etcd_monitor_quota_bytes", &[]), 2000.0 * MIB),
        (
            labels("etcd_server_leader_changes_seen_total", &[]),
            1.0 + (cluster.leader_changes * step as f64 / (STEPS - 1) as f64).floor(),
        ),
    ];
    for (n, le) in BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]).enumerate() {
        let count = if n >= cluster.fsync_bucket { done } else { 0.0 };
        all.push((labels("etcd_disk_wal_fsync_duration_seconds_bucket", &[("le", &le)]), count));
    }
    all
}

fn reading(cluster: &Cluster, member: u64, ts_ms: i64) -> ReadingRow {
    ReadingRow {
        cluster: cluster.name.parse().expect("a name"),
        cluster_id: None,
        instance: format!("10.0.0.{member}:2379").parse().expect("an instance"),
        member_id: Some(MemberId(member)),
        name: Some(format!("m{member}")),
        ts_ms,
        duration_ms: 9,
        reachable: cluster.name != "c03" || member != 3,
        errors: Vec::new(),
        version: Some("3.5.16".to_owned()),
        role: if member == 1 { Role::Leader } else { Role::Follower },
        is_learner: Some(false),
        deaf_to: Vec::new(),
        unhealthy: Vec::new(),
        defragmenting: false,
        raft_term: Some(4),
        leader: Some(MemberId(1)),
        raft_index: Some(100),
        raft_applied_index: Some(100),
        db_size_bytes: None,
        db_size_in_use_bytes: None,
        quota_bytes: None,
        alarms: Vec::new(),
    }
}

/// The folder and its configuration file.
async fn filled(of: usize) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let (url, now_ms) = (folder.path().join("store"), now_ms());
    let config = StoreConfig { url: url.display().to_string(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("opens");
    let writer = Writer::new(now_ms, 7);
    let mut text = format!("[store]\nurl = {url:?}\n");
    for (n, cluster) in fleet(of).iter().enumerate() {
        let instances = ["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"];
        let samples: Vec<(i64, Vec<(Labels, f64)>)> =
            (0..STEPS).map(|step| (now_ms - (STEPS - 1 - step) * STEP_MS, series(cluster, step))).collect();
        let rows: Vec<Row<'_>> = samples
            .iter()
            .flat_map(|(ts_ms, of_step)| {
                instances.iter().flat_map(move |instance| {
                    of_step.iter().map(move |(labels, value)| (*ts_ms, instance, labels, *value))
                })
            })
            .map(|(ts_ms, instance, labels, value)| Row {
                cluster: &cluster.name,
                instance,
                labels,
                ts_ms,
                value,
            })
            .collect();
        write_segment(&store, &writer, now_ms, u64::try_from(n).expect("small"), &rows)
            .await
            .expect("written");
        let tags = cluster.env.map(|env| format!("tags = {{ env = '{env}' }}\n")).unwrap_or_default();
        text +=
            &format!("[[cluster]]\nname = '{}'\nendpoints = ['http://10.0.0.1:2379']\n{tags}", cluster.name);
    }
    let rows: Vec<ReadingRow> =
        fleet(of).iter().flat_map(|cluster| (1..=3).map(|member| reading(cluster, member, now_ms))).collect();
    readings::write(&store, &writer, now_ms, &rows).await.expect("written");
    let path = folder.path().join("etcd-monitor.toml");
    std::fs::write(&path, text).expect("written");
    (folder, path)
}

fn ask(config: &Path, arguments: &[&str]) -> String {
    let output = program::output(&[&["--config", config.to_str().expect("UTF-8")], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn json(config: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&ask(config, &[arguments, &["--json"]].concat())).expect("JSON")
}

fn close(value: &Value, wanted: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - wanted).abs() <= wanted.abs() * 0.02 + 1e-9)
}

#[tokio::test]
async fn a_fleet_is_shown_sorted_grouped_and_with_who_is_unlike_the_others() {
    let (_folder, config) = filled(7).await;
    let fleet = json(&config, &["fleet"]);
    let clusters = fleet["clusters"].as_array().expect("clusters");
    let names: Vec<&str> = clusters.iter().filter_map(|cluster| cluster["name"].as_str()).collect();
    assert_eq!(names, ["c03", "c00", "c01", "c02", "c04", "c05", "c06"], "the degraded first: {fleet:#}");
    assert_eq!((&clusters[0]["voters_up"], &clusters[0]["voters"]), (&2.into(), &3.into()));
    for (n, cluster) in clusters.iter().enumerate().skip(1) {
        let figures = &cluster["figures"];
        // All fsyncs are in one bucket, of which a quantile is 99 % of the way.
        let fsync = if names[n] == "c02" { 0.008 + 0.99 * 0.008 } else { 0.001 + 0.99 * 0.001 };
        assert!(close(&figures["wal_fsync_p99"]["value"], fsync), "{cluster:#}");
        let is_far = cluster["far_from_median"].as_object().expect("an object").contains_key("wal_fsync_p99");
        assert_eq!(is_far, names[n] == "c02", "{cluster:#}");
    }
    let c05 = &clusters[5]["figures"];
    assert!(
        close(&c05["db_size"]["value"], 600.0 * MIB) && close(&c05["db_used_share"]["value"], 0.3),
        "{c05:#}"
    );
    assert!(close(&c05["db_growth_per_day"]["value"], 120.0 * MIB), "{c05:#}");
    assert!(c05["put_latency_p99"].is_null(), "nothing tells it: {c05:#}");
    assert!(close(&clusters[2]["figures"]["leader_changes_per_day"]["value"], 6.0), "{fleet:#}");

    let table = ask(&config, &["fleet", "--sort", "db", "--tag", "env=~prod|stage"]);
    let names = table.lines().filter_map(|line| line.split_whitespace().next());
    let order: Vec<&str> = names.filter(|name| name.starts_with("c0")).collect();
    assert_eq!(order, ["c05", "c04", "c03", "c02", "c01", "c00"], "{table}");
    assert!(table.contains("15.9 ms (8x)") && table.contains("median"), "{table}");

    let by = json(&config, &["fleet", "--by", "env"]);
    let groups = by["groups"].as_array().expect("groups");
    let sizes: Vec<(Option<&str>, usize)> = groups
        .iter()
        .map(|group| (group["value"].as_str(), group["clusters"].as_array().expect("names").len()))
        .collect();
    assert_eq!(sizes, [(Some("prod"), 3), (Some("stage"), 3), (None, 1)], "{by:#}");
    assert!(close(&groups[0]["figures"]["db_size"]["value"], 900.0 * MIB), "100, 300 and 500: {by:#}");
    assert!(close(&groups[0]["figures"]["wal_fsync_p99"]["highest"], 0.01592), "{by:#}");
    assert!(close(&by["all"]["figures"]["leader_changes_per_day"]["value"], 6.0), "{by:#}");
    assert_eq!(groups[1]["voters_up"], 8, "{by:#}");
    let table = ask(&config, &["fleet", "--by", "env"]);
    assert!(table.contains("1 degraded, 2 healthy") && table.contains("(none)"), "{table}");
    assert_eq!(ask(&config, &["fleet", "--csv"]).lines().count(), 8);

    let path = config.to_str().expect("UTF-8");
    for (arguments, why) in [
        (["--by", "zone"], "no cluster has a tag zone; tags are: env"),
        (["--tag", "env=none"], "none of 7 clusters"),
    ] {
        let refused = program::output(&[&["--config", path, "fleet"][..], &arguments].concat());
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains(why), "{}", stderr(&refused));
    }
}

#[tokio::test]
async fn clusters_are_compared_figure_by_figure() {
    let (_folder, config) = filled(3).await;
    let found = json(&config, &["compare", "c00", "c02", "--range", "1h"]);
    let measure = |key: &str| {
        let all = found["measures"].as_array().expect("measures");
        all.iter().find(|measure| measure["key"] == key).unwrap_or_else(|| panic!("no {key}")).clone()
    };
    assert!(close(&measure("wal_fsync_p99")["ratios"]["c02"], 15.92 / 1.99), "{found:#}");
    assert!(close(&measure("db_size")["ratios"]["c02"], 3.0), "{found:#}");
    assert!(measure("db_growth_per_day")["ratios"]["c02"].is_null(), "nothing grows in c00");
    let table = ask(&config, &["compare", "c00", "c01", "c02", "--range", "30m"]);
    let line =
        |of: &str| table.lines().find(|line| line.contains(of)).unwrap_or_else(|| panic!("{of}: {table}"));
    assert!(line("FIGURE").trim_end().ends_with("C02/C00"), "{table}");
    assert!(line("Database size").contains("300 MiB") && line("Database size").ends_with("3x"), "{table}");
    assert!(line("WAL fsync p99").ends_with("8x"), "{table}");
    let path = config.to_str().expect("UTF-8");
    for (names, why) in [(["c00", "c00"], "named twice"), (["c00", "other"], "there is no cluster other")] {
        let refused = program::output(&[&["--config", path, "compare"][..], &names].concat());
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains(why), "{}", stderr(&refused));
    }
}

#[tokio::test]
async fn fifty_four_clusters_are_one_answer() {
    let (_folder, config) = filled(54).await;
    let started = Instant::now();
    let by = json(&config, &["fleet", "--by", "env"]);
    eprintln!("fleet of 54 clusters and 162 members, an hour of them: {:?}", started.elapsed());
    assert_eq!(by["all"]["clusters"].as_array().map(Vec::len), Some(54), "{by:#}");
    assert_eq!(by["all"]["voters"], 162);
}
