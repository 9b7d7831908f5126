//! What people do with incidents at the command line, on a store in a folder: see, ack, silence, snooze.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use etcd_monitor::model::{Incident, IncidentState, Labels, Severity};
use etcd_monitor::store::events;
use etcd_monitor::store::key::SequenceKey;
use etcd_monitor::store::sequence::{self, Appended};
use etcd_monitor::store::{Store, StoreConfig, Writer};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{self, stderr, stdout};

/// 2025-11-23: any instant of the past will do.
const FIRED_MS: i64 = 1_763_899_200_000;

/// A store with one incident that fires in `a` and one that is over in `b`.
async fn store_with_incidents() -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    let config = StoreConfig { url: folder.path().display().to_string(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("opens");
    for (cluster, state) in [("a", IncidentState::Firing), ("b", IncidentState::Resolved)] {
        let labels = Labels::from_pairs([("alertname", "TestAlert"), ("cluster", cluster)]);
        let incident = Incident {
            fingerprint: labels.fingerprint(),
            episode: 1,
            state,
            group: "g".to_owned(),
            alert: "TestAlert".to_owned(),
            severity: Severity::Warning,
            labels,
            annotations: BTreeMap::new(),
            value: 1.0,
            active_since_ms: FIRED_MS,
            fired_ms: FIRED_MS,
            changed_ms: FIRED_MS,
            reason: None,
            silenced_by: None,
        };
        let key = SequenceKey::incident(&incident.fingerprint);
        let appended = sequence::append(&store, &key, 1, &incident, &Writer::new(FIRED_MS, 1)).await;
        assert_eq!(appended.expect("written"), Appended::Won);
    }
    folder
}

fn run(store: &Path, arguments: &[&str]) -> Output {
    program::output(&[&["--store", store.to_str().expect("UTF-8")], arguments].concat())
}

fn done(store: &Path, arguments: &[&str]) -> String {
    let result = run(store, arguments);
    assert_eq!(result.status.code(), Some(0), "{arguments:?}: {}", stderr(&result));
    stdout(&result)
}

fn alerts(store: &Path, arguments: &[&str]) -> Vec<Value> {
    let text = done(store, &[&["alerts", "--json"], arguments].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn alerts_lists_what_is_asked_for() {
    let folder = store_with_incidents().await;
    for (arguments, clusters) in [
        (&[][..], vec!["a"]),
        (&["--history"], vec!["a", "b"]),
        (&["--history", "--cluster", "b"], vec!["b"]),
        (&["--cluster", "b"], vec![]),
        (&["--severity", "warning"], vec!["a"]),
        (&["--severity", "critical"], vec![]),
        (&["--since", "1h"], vec![]),
    ] {
        let listed = alerts(folder.path(), arguments);
        let names: Vec<&str> = listed.iter().filter_map(|i| i["labels"]["cluster"].as_str()).collect();
        assert_eq!(names, clusters, "{arguments:?}: {listed:#?}");
    }
    let csv = done(folder.path(), &["alerts", "--history", "--csv"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(
        lines[0].starts_with("id,severity,state,") && lines[0].ends_with("acked_by,silenced_by"),
        "{csv}"
    );
    assert!(lines[1].contains("FIRING,TestAlert,a,-,2025-11-23T12:00:00"), "{csv}");
}

#[tokio::test]
async fn an_incident_is_acknowledged_and_given_back() {
    let folder = store_with_incidents().await;
    let id = alerts(folder.path(), &[])[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(id.len(), 8);
    let text = done(folder.path(), &["ack", &id, "--author", "ann", "--comment", "on it"]);
    assert_eq!(text.trim(), format!("{id} ACKED TestAlert"));
    done(folder.path(), &["ack", &id, "--author", "bob"]);
    let acked = alerts(folder.path(), &[]);
    assert_eq!((&acked[0]["state"], &acked[0]["acked_by"]), (&"ACKED".into(), &"ann: on it".into()));
    let text = done(folder.path(), &["unack", &id, "--author", "ann"]);
    assert_eq!(text.trim(), format!("{id} FIRING TestAlert"));
    let unknown = run(folder.path(), &["ack", "ffffffff"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("no active incident begins with"), "{}", stderr(&unknown));
}

#[tokio::test]
async fn a_silence_marks_its_incidents_until_it_is_expired() {
    let folder = store_with_incidents().await;
    let state = || alerts(folder.path(), &[])[0]["silenced_by"].clone();
    let snoozed = alerts(folder.path(), &[])[0]["id"].as_str().expect("an id").to_owned();
    for arguments in [
        &["silence", "add", "TestAlert", "cluster=~\"a|c\"", "--for", "2h", "--comment", "swap"][..],
        &["snooze", &snoozed, "--for", "1h"],
        &["maintenance", "start", "a", "--for", "1h"],
    ] {
        assert_eq!(state(), Value::Null, "{arguments:?}");
        let id = done(folder.path(), arguments).trim().to_owned();
        assert_eq!(state(), id.as_str(), "{arguments:?}");
        let table = done(folder.path(), &["alerts"]);
        assert!(table.contains("SILENCED"), "{table}");
        let listed = done(folder.path(), &["silence", "ls"]);
        assert!(listed.contains(&id) && listed.contains("active"), "{listed}");
        match arguments[0] {
            "maintenance" => done(folder.path(), &["maintenance", "end", "a"]),
            _ => done(folder.path(), &["silence", "expire", &id]),
        };
        assert!(!done(folder.path(), &["silence", "ls"]).contains(&id));
        let expired = done(folder.path(), &["silence", "ls", "--expired", "--json"]);
        assert!(expired.contains(&id) && expired.contains("expired"), "{expired}");
    }
}

#[test]
fn a_silence_that_makes_no_sense_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("folder");
    let store = folder.path().join("store");
    for (arguments, message) in [
        (&["silence", "add", "--for", "1h"][..], "MATCHER"),
        (&["silence", "add", "a=~\"(\"", "--for", "1h"], "is not valid"),
        (&["silence", "add", "cluster=~\".*\"", "--for", "1h"], "silence everything"),
        (&["silence", "add", "1a=b", "--for", "1h"], "is not a matcher"),
        (&["silence", "add", "a=b", "--for", "soon"], "\"soon\""),
        (&["silence", "add", "a=b", "--for", "0"], "ends before"),
        (&["silence", "add", "a=b"], "--for"),
        (&["silence", "expire", "nope"], "there is no silence nope"),
        (&["maintenance", "end", "a"], "has no maintenance now"),
    ] {
        let result = run(&store, arguments);
        assert_eq!(result.status.code(), Some(2), "{arguments:?}: {}", stderr(&result));
        assert!(stderr(&result).contains(message), "{arguments:?}: {}", stderr(&result));
        assert!(!store.join("state").exists(), "{arguments:?}");
    }
}

/// A configuration beside the store, which says silences of its own.
fn configured(folder: &Path, alert: &str) -> String {
    let path = folder.join("c.toml");
    let text = format!(
        "[store]\nurl = {:?}\n[[cluster]]\nname = 'a'\nendpoints = ['http://127.0.0.1:1']\ntags = {{ env = 'test' }}\n\
         [[cluster]]\nname = 'b'\nendpoints = ['http://127.0.0.1:2']\n{alert}",
        folder.display().to_string()
    );
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[tokio::test]
async fn a_file_and_a_window_silence_while_they_say_so() {
    let folder = store_with_incidents().await;
    let file = folder.path().join("silences.yaml");
    let write = |text: &str| std::fs::write(&file, text).expect("written");
    let by_file = "[alert]\nsilence-files = ['silences.yaml']\n";
    let config = configured(folder.path(), by_file);
    let json = |arguments: &[&str]| -> Value {
        let result = program::output(&[&["--config", config.as_str()], arguments].concat());
        assert_eq!(result.status.code(), Some(0), "{}", stderr(&result));
        serde_json::from_str(&stdout(&result)).expect("JSON")
    };
    let silenced_by = || json(&["alerts", "--json"])[0]["silenced_by"].clone();
    write("silences: []\n");
    assert_eq!(silenced_by(), Value::Null);
    write("silences:\n- {matchers: ['cluster=a'], ends-at: 2999-01-01T00:00:00Z, created-by: ann}\n");
    let id = silenced_by().as_str().expect("silenced").to_owned();
    assert!(id.starts_with("file-"), "{id}");
    let listed = json(&["silence", "ls", "--json"]);
    assert_eq!((&listed[0]["author"], &listed[0]["state"]), (&"ann".into(), &"active".into()), "{listed}");
    let expired = program::output(&["--config", &config, "silence", "expire", &id]);
    assert_eq!(expired.status.code(), Some(2));
    assert!(stderr(&expired).contains("edit that"), "{}", stderr(&expired));
    let status = json(&["status", "--json"]);
    assert!(status.to_string().contains(&id), "{status}");

    write("silences:\n- {matchers: [], ends-at: 2999-01-01T00:00:00Z}\n");
    let bad = program::output(&["--config", &config, "alerts"]);
    assert_eq!(bad.status.code(), Some(2));
    let said = stderr(&bad);
    assert!(said.contains("silences.yaml:2: a silence needs at least one matcher"), "{said}");
    assert!(said.lines().count() == 1 && said.contains("c.toml:"), "{said}");

    configured(
        folder.path(),
        "[[alert.maintenance]]\ntags = { env = 'test' }\nintervals = [{}]\ncomment = 'moving'\n",
    );
    let id = silenced_by().as_str().expect("silenced").to_owned();
    assert!(id.starts_with("window-"), "{id}");
    assert_eq!(json(&["silence", "ls", "--json"])[0]["comment"], "moving");
    configured(folder.path(), "[[alert.maintenance]]\nclusters = ['b']\nintervals = [{}]\n");
    assert_eq!(silenced_by(), Value::Null);
    configured(
        folder.path(),
        "[[alert.maintenance]]\nclusters = ['c']\nintervals = [{}]\n[[alert.maintenance]]\nclusters = ['a']\n",
    );
    let bad = stderr(&program::output(&["--config", &config, "alerts"]));
    assert!(bad.contains("c.toml:10: alert.maintenance[0]: there is no cluster \"c\""), "{bad}");
    assert!(bad.contains("c.toml:13: alert.maintenance[1]: needs intervals, or starts and ends"), "{bad}");
}

#[tokio::test]
async fn what_people_do_is_in_the_history_once() {
    let folder = store_with_incidents().await;
    let id = alerts(folder.path(), &[])[0]["id"].as_str().expect("an id").to_owned();
    done(folder.path(), &["ack", &id, "--author", "ann", "--comment", "on it"]);
    done(folder.path(), &["unack", &id, "--author", "ann"]);
    done(
        folder.path(),
        &["maintenance", "start", "a", "--for", "1h", "--author", "bob", "--comment", "swap"],
    );
    let config = configured(folder.path(), "");
    let deliver = || {
        let result = program::output(&["--config", &config, "run", "deliver"]);
        assert_eq!(result.status.code(), Some(0), "{}", stderr(&result));
    };
    deliver();
    deliver();
    done(folder.path(), &["maintenance", "end", "a"]);
    deliver();
    let config = StoreConfig { url: folder.path().display().to_string(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("opens");
    let all = events::Filter { end_ms: i64::MAX, ..events::Filter::default() };
    let mut happened = events::query(&store, &all).await.expect("reads");
    happened.sort_by_key(|event| event.ts_ms);
    let said: Vec<(&str, &str, &str)> = happened
        .iter()
        .map(|e| {
            (
                e.kind.as_str(),
                e.actor.as_deref().unwrap_or("-"),
                e.text.split(" until ").next().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("alert-acknowledged", "ann", "TestAlert: acknowledged by ann: on it"),
            ("alert-given-back", "ann", "TestAlert: given back by ann"),
            ("maintenance-started", "bob", "Maintenance"),
            ("maintenance-ended", "bob", "Maintenance is over (swap)"),
        ]
    );
}
