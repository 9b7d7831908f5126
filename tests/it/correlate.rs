//! What belongs together, on a store in a folder: the metrics around an event, the causes of an incident.

use std::path::Path;

use etcd_monitor::model::{Event, EventKind, Incident, IncidentState, Labels, Severity};
use etcd_monitor::store::key::SequenceKey;
use etcd_monitor::store::samples::{self, Row};
use etcd_monitor::store::sequence::{self, Appended};
use etcd_monitor::store::{Store, StoreConfig, Writer, events};
use serde_json::{Value, json};

use crate::program::{self, stderr, stdout};

const MEMBERS: [&str; 3] = ["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"];
const SCRAPE_MS: i64 = 15_000;

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before year 292 million")
}

fn event(kind: EventKind, subject: &str, ts_ms: i64, text: &str) -> Event {
    let cluster = "prod".parse().expect("a name");
    Event {
        id: Event::id_of(&cluster, kind, subject, &ts_ms.to_string()),
        cluster,
        ts_ms,
        kind,
        severity: Severity::Info,
        subject: subject.to_owned(),
        actor: None,
        text: text.to_owned(),
        details: json!({}),
    }
}

fn incident(alert: &str, instance: &str, since_ms: i64) -> Incident {
    let labels = Labels::from_pairs([("alertname", alert), ("cluster", "prod"), ("instance", instance)]);
    Incident {
        fingerprint: labels.fingerprint(),
        episode: 1,
        state: IncidentState::Firing,
        group: "g".to_owned(),
        alert: alert.to_owned(),
        severity: Severity::Warning,
        labels,
        annotations: [("summary".to_owned(), format!("{alert} at {instance}"))].into(),
        value: 0.5,
        active_since_ms: since_ms,
        fired_ms: since_ms,
        changed_ms: since_ms,
        reason: None,
        silenced_by: None,
    }
}

/// Scrapes of ten minutes before and after `at_ms`, at which the disk of the first member becomes a hundred times
/// slower: the memory and the other members stay as they are.
async fn scraped(store: &Store, at_ms: i64) {
    let bounds = ["0.001", "0.002", "0.004", "0.128", "0.256", "0.512", "+Inf"];
    let mut sync = [[0.0_f64; 7]; 3];
    let bucket = |member: usize, le: &str| {
        Labels::from_pairs([
            ("__name__", "etcd_disk_wal_fsync_duration_seconds_bucket"),
            ("cluster", "prod"),
            ("instance", MEMBERS[member]),
            ("le", le),
        ])
    };
    for (n, scrape) in (-40_i64..=40).enumerate() {
        let ts_ms = at_ms + scrape * SCRAPE_MS;
        let mut kept: Vec<(usize, Labels, f64)> = Vec::new();
        for (member, counts) in sync.iter_mut().enumerate() {
            // Every scrape 100 calls more: those of a fast disk fall into the second bucket, of a slow one into the sixth.
            let first = if member == 0 && scrape > 0 { 5 } else { 1 };
            for (at, le) in bounds.iter().enumerate() {
                counts[at] += if at >= first { 100.0 } else { 0.0 };
                kept.push((member, bucket(member, le), counts[at]));
            }
            let memory = Labels::from_pairs([
                ("__name__", "process_resident_memory_bytes"),
                ("cluster", "prod"),
                ("instance", MEMBERS[member]),
            ]);
            kept.push((member, memory, 1e9 + 1e6 * (scrape % 3) as f64));
        }
        let row = |(member, labels, value): &(usize, Labels, f64)| (MEMBERS[*member], labels.clone(), *value);
        let rows: Vec<(&str, Labels, f64)> = kept.iter().map(row).collect();
        let rows: Vec<Row<'_>> = rows
            .iter()
            .map(|(instance, labels, value)| Row { cluster: "prod", instance, labels, ts_ms, value: *value })
            .collect();
        let n = u64::try_from(n).expect("small");
        samples::write_segment(store, &Writer::new(at_ms, 1), ts_ms + 500, n, &rows).await.expect("written");
    }
}

fn run(store: &Path, arguments: &[&str]) -> String {
    let output = program::output(&[&["--store", store.to_str().expect("UTF-8")], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

#[tokio::test]
async fn an_incident_shows_its_cause_and_an_event_the_metrics_that_moved() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = StoreConfig { url: folder.path().display().to_string(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("opens");
    let at_ms = (now_ms() - 30 * 60_000) / SCRAPE_MS * SCRAPE_MS;
    scraped(&store, at_ms).await;
    let defrag = event(EventKind::DefragStarted, MEMBERS[0], at_ms, "member m1 defragments its database");
    let written = [
        defrag.clone(),
        event(EventKind::ConfigChanged, MEMBERS[1], at_ms - 60_000, "the quota of m2 changed"),
        event(EventKind::MemberReachable, MEMBERS[2], at_ms - 30_000, "member m3 answers again"),
        event(EventKind::LeaderChanged, "prod", at_ms - 20 * 60_000, "long ago"),
    ];
    events::write(&store, &Writer::new(at_ms, 3), at_ms, &written).await.expect("written");
    let fsync = incident("EtcdWalFsyncSlow", MEMBERS[0], at_ms + 20_000);
    let slow = incident("EtcdRequestsSlow", "", at_ms + 45_000);
    for incident in [&fsync, &slow] {
        let key = SequenceKey::incident(&incident.fingerprint);
        let appended = sequence::append(&store, &key, 1, incident, &Writer::new(at_ms, 1)).await;
        assert_eq!(appended.expect("written"), Appended::Won);
    }

    let text = run(folder.path(), &["alerts", "show", fsync.short_id()]);
    let cause = "Probable cause: 20 s before: member m1 defragments its database (defrag-started is a known cause of it)";
    assert!(text.contains(cause), "{text}");
    let order = ["is a known cause of it  ", "was changed shortly before", "happened before  "];
    let table = text.split_once("most suspected first:").expect("a table").1;
    let places: Vec<usize> =
        order.iter().map(|words| table.find(words).unwrap_or_else(|| panic!("{words}: {text}"))).collect();
    assert!(places.is_sorted() && !table.contains("long ago"), "{text}");

    let json: Value =
        serde_json::from_str(&run(folder.path(), &["alerts", "show", slow.short_id(), "--json"]))
            .expect("JSON");
    assert_eq!(json["probable_cause"]["reason"], "explains", "{json:#}");
    assert_eq!(json["probable_cause"]["id"], fsync.fingerprint, "{json:#}");
    assert_eq!(json["before"].as_array().map(Vec::len), Some(4), "{json:#}");

    let text = run(folder.path(), &["events", "--id", &defrag.id[..8]]);
    let moved = text.split_once("Metrics, 5 min before and after it:\n").expect("said").1;
    let first = moved.lines().next().expect("a line");
    assert!(first.starts_with("  WAL fsync of 10.0.0.1:2379: 1.9"), "{text}");
    assert!(first.contains(" ms → 5") || first.contains(" ms → 4"), "{text}");
    assert!(!moved.contains("Memory"), "a steady metric is not named: {text}");

    let json: Value =
        serde_json::from_str(&run(folder.path(), &["events", "--id", &defrag.id[..8], "--json"]))
            .expect("JSON");
    let shift = &json["metrics"]["shifts"][0];
    assert_eq!((&shift["metric"], &shift["worse"]), (&json!("wal_fsync"), &json!(true)), "{json:#}");
    assert!(json["metrics"]["series_compared"].as_u64() > Some(3), "{json:#}");

    let unknown =
        program::output(&["--store", folder.path().to_str().expect("UTF-8"), "alerts", "show", "zz"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("no incident begins with \"zz\""), "{}", stderr(&unknown));
}
