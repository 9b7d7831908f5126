//! Events: filtered and exported by the program, and there soon after they happened.

use std::time::{Duration, Instant};

use etcd_client::{AlarmAction, AlarmType};
use etcd_monitor::model::{Event, EventKind, Severity};
use etcd_monitor::store::{Store, StoreConfig, Writer, events};
use serde_json::{Value, json};

use crate::etcd_cluster::{EtcdCluster, Options, Version};
use crate::program::{self, Daemon, stderr, stdout};

const HOUR_MS: i64 = 3_600_000;

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before year 292 million")
}

fn event(cluster: &str, kind: EventKind, severity: Severity, subject: &str, ts_ms: i64) -> Event {
    let cluster = cluster.parse().expect("a name");
    Event {
        id: Event::id_of(&cluster, kind, subject, &ts_ms.to_string()),
        cluster,
        ts_ms,
        kind,
        severity,
        subject: subject.to_owned(),
        actor: None,
        text: format!("{} at {subject}", kind.as_str()),
        details: json!({ "term": 7 }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_filtered_shown_and_exported() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = folder.path().join("data").display().to_string();
    let config = StoreConfig { url: url.clone(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("opens");
    let now_ms = now_ms();
    let changed = Event {
        details: json!({ "quota": { "before": "2GiB", "after": "8GiB" } }),
        actor: Some("=ann".to_owned()),
        text: "the quota changed, \"by hand\"".to_owned(),
        ..event("b", EventKind::ConfigChanged, Severity::Info, "m2:2379", now_ms - 60_000)
    };
    let written = [
        event("a", EventKind::LeaderChanged, Severity::Info, "m1:2379", now_ms - 30 * HOUR_MS),
        event("a", EventKind::MemberUnreachable, Severity::Warning, "m1:2379", now_ms - 2 * HOUR_MS),
        event("b", EventKind::MemberRestarted, Severity::Info, "m2:2379", now_ms - 10 * 60_000),
        changed.clone(),
    ];
    events::write(&store, &Writer::new(now_ms, 3), now_ms, &written).await.expect("written");

    let run = |arguments: &[&str]| {
        let output = program::output(&[&["events", "--store", &url], arguments].concat());
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let found = |arguments: &[&str]| -> Vec<String> {
        let (code, text, error) = run(&[arguments, &["--json"]].concat());
        assert_eq!(code, Some(0), "{arguments:?}: {error}");
        let found: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        found.iter().map(|event| event["kind"].as_str().expect("text").to_owned()).collect()
    };
    for (arguments, kinds) in [
        (&[][..], &["config-changed", "member-restarted", "member-unreachable"][..]),
        (&["--since", "2d", "--reverse", "--limit", "2"], &["member-restarted", "config-changed"]),
        (&["--since", "2d", "--until", "3h"], &["leader-changed"]),
        (&["--cluster", "a"], &["member-unreachable"]),
        (&["--kind", "member-*"], &["member-restarted", "member-unreachable"]),
        (&["--severity", "warning"], &["member-unreachable"]),
        (&["--member", "M2"], &["config-changed", "member-restarted"]),
        (&["8gib", "QUOTA"], &["config-changed"]),
        (&["nobody said this"], &[]),
    ] {
        assert_eq!(found(arguments), kinds, "{arguments:?}");
    }

    let (_, csv, _) = run(&["--csv", "--kind", "config-changed"]);
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("id,time,severity,cluster,kind,subject,actor,text,details"));
    let row = lines.next().expect("a row");
    // Quoted as RFC 4180 says, and no formula.
    assert!(row.contains(",m2:2379,'=ann,\"the quota changed, \"\"by hand\"\"\",\"{"), "{row}");

    let (code, text, error) = run(&["--id", &changed.id[..8]]);
    assert_eq!(code, Some(0), "{error}");
    assert!(text.contains("  quota\n  - 2GiB\n  + 8GiB\n"), "{text}");
    let before = text.split_once("In the 15 minutes before:").expect("said").1;
    assert!(before.contains("member-restarted") && !before.contains("member-unreachable"), "{text}");

    for (arguments, said) in [
        (&["--kind", "leader"][..], "there is no such kind; there are leader-changed"),
        (&["--since", "yesterday"], "neither a duration (2h, 30d) nor a time"),
        (&["--id", "nothing"], "no single event of this time has an id that begins with \"nothing\""),
    ] {
        let (code, _, error) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_stored_long_before_the_next_flush() {
    let mut cluster = EtcdCluster::start(1, Options { version: Version::V3_4, ..Options::default() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("data");
    let config = format!(
        "[store]\nurl = '{}'\n[watch]\nflush-interval = '5m'\nscrape-interval = '5m'\nevents-interval = '2s'\n[[cluster]]\nname = 'c'\nendpoints = ['{}']\n",
        store.display(),
        cluster.endpoint(0)
    );
    let path = folder.path().join("etcd-monitor.toml");
    std::fs::write(&path, config).expect("written");
    let daemon = Daemon::start(folder.path(), &["run", "--config", &path.display().to_string()], &[]);
    let until = async |what: &str, done: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !done() {
            assert!(Instant::now() < deadline, "not seen: {what}\n{}", daemon.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    // The first flush comes after three seconds; the next is due in five minutes.
    until("the first reading", &|| !program::files_under(&store.join("data/readings")).is_empty()).await;
    // An alarm changes nothing of who answers and who leads.
    let mut client = cluster.client().await;
    client.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await.expect("an alarm");
    let raised = Instant::now();
    let has = |kind: &str, words: &str| {
        let store = store.display().to_string();
        let output = program::output(&["events", "--store", &store, "--kind", kind, "--csv"]);
        stdout(&output).contains(words)
    };
    until("the alarm", &|| has("alarm-raised", "NOSPACE")).await;
    println!("from the alarm to the stored event: {:.1} s", raised.elapsed().as_secs_f64());

    // What only counters tell.
    client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, None).await.expect("disarmed");
    until("its end", &|| has("alarm-cleared", "NOSPACE")).await;
    let mut revision = 0;
    for n in 0..10 {
        let put = client.put("key", n.to_string(), None).await.expect("put");
        revision = put.header().expect("a header").revision();
    }
    client.compact(revision, None).await.expect("compacted");
    until("the compaction", &|| has("compaction", &format!("up to revision {revision}"))).await;
    client.defragment().await.expect("defragmented");
    until("the defragmentation", &|| has("defrag-ended", "defragmented its database in")).await;
    cluster.kill(0);
    cluster.restart(0);
    until("the restart", &|| has("member-restarted", "started anew")).await;
    assert!(!has("raft-snapshot-applied", "behind"), "nobody was behind");

    // Its metrics show the quota, its process the other flags.
    let began = Instant::now();
    cluster.restart_with(0, 3 << 30, &["--heartbeat-interval=150", "--max-txn-ops=256"]);
    until("the quota", &|| has("config-changed", "quota-backend-bytes")).await;
    let quota = began.elapsed();
    until("the flags", &|| has("config-changed", "max-txn-ops")).await;
    println!("from the restart to the stored events: quota {quota:.1?}, flags {:.1?}", began.elapsed());
    let url = store.display().to_string();
    let output = program::output(&["events", "--store", &url, "--kind", "config-changed", "--json"]);
    let changed: Vec<Value> = serde_json::from_str(&stdout(&output)).expect("JSON");
    let details: Vec<&Value> = changed.iter().map(|event| &event["details"]).collect();
    let of = |key: &str| details.iter().filter(|details| !details[key].is_null()).collect::<Vec<_>>();
    assert_eq!(of("quota-backend-bytes").len(), 1, "told once: {changed:#?}");
    assert_eq!(of("quota-backend-bytes")[0]["quota-backend-bytes"]["after"], "3221225472");
    let wanted = json!({
        "heartbeat-interval": { "before": "100", "after": "150" },
        "max-txn-ops": { "before": "not set", "after": "256" },
    });
    assert_eq!(of("max-txn-ops"), [&&wanted], "{changed:#?}");
}
