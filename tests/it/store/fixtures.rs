//! Files that each format version wrote, never edited: this program reads them all.
//!
//! `ETCD_MONITOR_TEST_WRITE_FIXTURES=1` writes those of the current version where there are none.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use etcd_monitor::model::{
    Event, EventKind, JobRun, Labels, Outcome, ReadingRow, Role, Severity, is_stale_marker, stale_marker,
};
use etcd_monitor::store::compact::{Plan, compact};
use etcd_monitor::store::samples::{self, Row};
use etcd_monitor::store::{FORMAT, Store, StoreConfig, Writer, events, job_runs, ledger, readings, verify};

use super::rows::{duckdb, everything};

const TS_MS: i64 = 1_795_388_280_000;
const DAY_MS: i64 = 86_400_000;

/// Every fixture there is. A file of `tests/data/store/v*` that is missing here fails the test, as it would
/// not be read by it.
const LISTED: &str = include_str!("../../data/store/fixtures.txt");

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/store")
}

fn files_under(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("lists") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files_under(&path, files) } else { files.push(path) }
    }
}

async fn open(folder: &Path) -> Store {
    let config = StoreConfig { url: folder.display().to_string(), ..StoreConfig::default() };
    Store::open(&config, &|_| None).await.expect("opens")
}

fn values() -> [(&'static str, Vec<f64>); 3] {
    [
        ("up", vec![1.0, 1.0, 0.0]),
        ("etcd_disk_wal_fsync_duration_seconds_sum", vec![0.5, 1.25, f64::NAN]),
        ("etcd_server_has_leader", vec![1.0, stale_marker(), -0.0]),
    ]
}

fn reading() -> ReadingRow {
    ReadingRow {
        cluster: "prod".parse().expect("a name"),
        cluster_id: None,
        instance: "10.0.0.1:2379".parse().expect("an instance"),
        member_id: "8211f1d0f64f3269".parse().ok(),
        name: Some("etcd-1".to_owned()),
        ts_ms: TS_MS,
        duration_ms: 7,
        reachable: true,
        errors: vec![],
        version: Some("3.6.14".to_owned()),
        role: Role::Leader,
        is_learner: Some(false),
        deaf_to: Vec::new(),
        unhealthy: Vec::new(),
        defragmenting: false,
        raft_term: Some(4),
        leader: "8211f1d0f64f3269".parse().ok(),
        raft_index: Some(1234),
        raft_applied_index: Some(1234),
        db_size_bytes: Some(1 << 20),
        db_size_in_use_bytes: None,
        quota_bytes: Some(2 << 30),
        alarms: vec!["NOSPACE".to_owned()],
    }
}

fn event() -> Event {
    let cluster = "prod".parse().expect("a name");
    Event {
        id: Event::id_of(&cluster, EventKind::AlarmRaised, "NOSPACE", "1"),
        cluster,
        ts_ms: TS_MS,
        kind: EventKind::AlarmRaised,
        severity: Severity::Critical,
        subject: "NOSPACE".to_owned(),
        actor: Some("10.0.0.1:2379".to_owned()),
        text: "the database is full".to_owned(),
        details: serde_json::json!({"quota_bytes": 2_147_483_648_u64}),
    }
}

fn run() -> JobRun {
    JobRun {
        job: "report".to_owned(),
        shard: "0".to_owned(),
        slot_ms: TS_MS,
        attempt: 1,
        host: "daemon".to_owned(),
        started_ms: TS_MS + 3,
        ended_ms: TS_MS + 900,
        outcome: Outcome::Partial,
        summary: "54 pages".to_owned(),
        errors: vec!["one page is missing".to_owned()],
    }
}

/// Writes every table at every level, as this version does.
async fn write(folder: &Path) {
    let store = open(folder).await;
    let writer = Writer::new(TS_MS, 1);
    for (n, ts_ms) in [(0, TS_MS), (1, TS_MS + 15_000), (2, TS_MS + 30_000)] {
        let series: Vec<(Labels, f64)> = values()
            .iter()
            .map(|(name, values)| (Labels::from_pairs([("__name__", *name), ("le", "0.5")]), values[n]))
            .collect();
        let rows: Vec<Row<'_>> = series
            .iter()
            .map(|(labels, value)| Row {
                cluster: "prod",
                instance: "10.0.0.1:2379",
                labels,
                ts_ms,
                value: *value,
            })
            .collect();
        samples::write_segment(&store, &writer, ts_ms + 1, n as u64, &rows).await.expect("writes");
    }
    readings::write(&store, &writer, TS_MS + 1, &[reading()]).await.expect("writes");
    events::write(&store, &writer, TS_MS + 1, &[event()]).await.expect("writes");
    ledger::finish(&store, &run()).await.expect("writes");
    let rollup_metrics = HashSet::from(["up".to_owned()]);
    compact(&store, &Plan { rollup_metrics, ..Plan::default() }, TS_MS + 2 * DAY_MS, &|_| {})
        .await
        .expect("compacts");
}

#[tokio::test]
async fn files_of_every_format_version_are_read() {
    let current = fixtures().join(format!("v{FORMAT}"));
    if std::env::var_os("ETCD_MONITOR_TEST_WRITE_FIXTURES").is_some() && !current.exists() {
        write(&current).await;
    }
    let mut found = Vec::new();
    for version in 1..=FORMAT {
        files_under(&fixtures().join(format!("v{version}")), &mut found);
    }
    let mut found: Vec<String> = found
        .iter()
        .map(|path| path.strip_prefix(fixtures()).expect("under it").display().to_string())
        .collect();
    found.sort();
    let listed: Vec<&str> = LISTED.lines().collect();
    assert_eq!(found, listed, "list new fixtures in tests/data/store/fixtures.txt");
    for version in 1..=FORMAT {
        is_read(&fixtures().join(format!("v{version}"))).await;
    }
}

async fn is_read(folder: &Path) {
    let store = open(folder).await;
    let verified = verify(&store).await.expect("reads");
    assert_eq!(verified.problems, [], "{}", folder.display());
    let loaded = samples::load(&store, &[everything()], 1000).await.expect("loads");
    let found: BTreeMap<&str, &Vec<f64>> =
        loaded.series.iter().map(|series| (series.labels.metric_name(), &series.values)).collect();
    for (name, values) in values() {
        let same = |(a, b): (&f64, &f64)| {
            (a.is_nan() && b.is_nan() && is_stale_marker(*a) == is_stale_marker(*b))
                || a.to_bits() == b.to_bits()
        };
        let series = found[name];
        assert!(series.len() == 3 && series.iter().zip(&values).all(same), "{name}: {series:?}");
    }
    let all = events::Filter { end_ms: i64::MAX, ..events::Filter::default() };
    for (table, rows) in
        [("samples", "9"), ("rollup_5m", "1"), ("readings", "1"), ("events", "1"), ("job_runs", "1")]
    {
        let counted = duckdb(&store, &format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(counted, rows, "{table} by DuckDB");
    }
    assert_eq!(readings::range(&store, None, 0, i64::MAX).await.expect("reads"), [reading()]);
    assert_eq!(events::query(&store, &all).await.expect("reads"), [event()]);
    assert_eq!(job_runs::range(&store, 0, i64::MAX).await.expect("reads"), [run()]);
}
