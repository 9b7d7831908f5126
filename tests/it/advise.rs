//! Advice for real clusters: what is wrong is found with who has it, comes first, and goes when its own commands are followed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::daemon::configure;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, Daemon, stderr, stdout};

/// A daemon over a cluster, and the advice of its store.
struct Advised {
    config: String,
    daemon: Daemon,
}

impl Advised {
    fn start(folder: &Path, cluster: &EtcdCluster) -> Self {
        let config = configure(folder, cluster, "");
        let daemon = Daemon::start(folder, &["--config", &config, "run"], &[]);
        Self { config, daemon }
    }

    fn run(&self, words: &[&str]) -> std::process::Output {
        program::output(&[&["--config", &self.config], words].concat())
    }

    fn advice(&self) -> Value {
        let output = self.run(&["advise", "prod", "--json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let all: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        all[0].clone()
    }

    /// The advice once it is as wanted.
    async fn until(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(150);
        loop {
            let advice = self.advice();
            if holds(&advice) {
                return advice;
            }
            let open: Vec<&str> = open(&advice).iter().map(|item| text(&item["rule"])).collect();
            assert!(
                Instant::now() < deadline,
                "{what} did not happen; open: {open:?}\n{}",
                self.daemon.log()
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What is open and seen now.
fn open(advice: &Value) -> Vec<&Value> {
    let items = advice["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter(|item| item["state"] == "open" && item["clear_since_ms"].is_null()).collect()
}

fn item<'a>(advice: &'a Value, rule: &str) -> Option<&'a Value> {
    advice["items"].as_array()?.iter().find(|item| item["rule"] == rule)
}

fn is_open(advice: &Value, rule: &str) -> bool {
    open(advice).iter().any(|item| item["rule"] == rule)
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_that_harm_are_found_with_their_member_and_go_with_the_flag() {
    let mut cluster = EtcdCluster::start(3, Options { synced: true, ..Options::default() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let quota = 2_147_483_648;
    let harmful = [
        ("log-level-debug", "--log-level=debug"),
        ("snapshots-often", "--snapshot-count=100"),
        ("requests-large", "--max-request-bytes=33554432"),
        ("profiling-on", "--enable-pprof"),
        ("timing-differs", "--election-timeout=8000"),
        ("election-too-long", "--heartbeat-interval=800"),
        ("reconfiguration-unchecked", "--strict-reconfig-check=false"),
        ("files-unlimited", "--max-wals=0"),
    ];
    let flags: Vec<&str> = harmful.iter().map(|(_, flag)| *flag).collect();
    cluster.restart_with(1, quota, &flags);
    let advised = Advised::start(folder.path(), &cluster);
    let all = |advice: &Value| harmful.iter().all(|(rule, _)| is_open(advice, rule));
    let advice = advised.until("all are found", all).await;
    let culprit = cluster.instance(1);
    for (rule, _) in harmful {
        let found = item(&advice, rule).expect("open");
        let evidence = found["evidence"].as_array().expect("evidence");
        if rule != "timing-differs" {
            assert_eq!(evidence.len(), 1, "{rule}: {evidence:#?}");
            assert_eq!(text(&evidence[0]["subject"]), culprit, "{rule}");
        }
        assert!(!text(&evidence[0]["text"]).is_empty() && !text(&evidence[0]["shown_by"]).is_empty());
    }

    // What somebody decides is kept, told as an event, and costs no points.
    let latency = |advice: &Value| {
        let terms = advice["score"]["terms"].as_array().expect("terms").clone();
        terms.into_iter().find(|term| term["name"] == "latency").expect("there").to_string()
    };
    assert!(latency(&advice).contains("log-level-debug"), "{}", latency(&advice));
    let ignored =
        advised.run(&["advise", "ignore", "log-level-debug", "--reason", "for a week", "--author", "ann"]);
    assert!(ignored.status.success(), "{}", stderr(&ignored));
    let advice = advised.advice();
    let ours = item(&advice, "log-level-debug").expect("kept");
    assert_eq!(
        (text(&ours["state"]), text(&ours["by"]), text(&ours["note"])),
        ("ignored", "ann", "for a week")
    );
    assert!(!latency(&advice).contains("log-level-debug"), "{}", latency(&advice));
    let events = stdout(&advised.run(&["events", "--kind", "advice-closed"]));
    assert!(events.contains("ignored: Lower the log level to info (for a week)"), "{events}");
    assert!(advised.run(&["advise", "done", "profiling-on"]).status.success());
    assert!(advised.run(&["advise", "reopen", "log-level-debug"]).status.success());
    let advice = advised.advice();
    assert!(is_open(&advice, "log-level-debug") && !is_open(&advice, "profiling-on"));

    // The flags are gone, and so is what was found by them.
    cluster.restart_with(1, quota, &[]);
    let none = |advice: &Value| !harmful.iter().any(|(rule, _)| is_open(advice, rule));
    let advice = advised.until("nothing of it is seen any more", none).await;
    assert!(!item(&advice, "snapshots-often").expect("remembered")["clear_since_ms"].is_null());

    // The table has what became of it, and the page shows it.
    let page =
        || std::fs::read_to_string(folder.path().join("store/site/c/prod/index.html")).unwrap_or_default();
    assert!(advised.run(&["run", "advise"]).status.success());
    let report = advised.run(&["report", "--out", folder.path().join("site").to_str().expect("UTF-8")]);
    assert!(report.status.success(), "{}", stderr(&report));
    let made = std::fs::read_to_string(folder.path().join("site/c/prod/index.html")).expect("a page");
    assert!(made.contains("Recommendations") && made.contains("of 100 · health"), "{}", page());
    let score = stdout(&advised.run(&["query", "etcd_monitor_health_score"]));
    assert!(score.contains("cluster=\"prod\""), "{score}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_comes_first_and_its_commands_make_room() {
    let options = Options { quota_bytes: Some(16 << 20), ..Options::default() };
    let cluster = EtcdCluster::start(3, options).await;
    let folder = tempfile::tempdir().expect("a folder");
    let advised = Advised::start(folder.path(), &cluster);
    let mut client = cluster.client().await;
    // Each put of the same key leaves a revision behind.
    while client.put("key", vec![b'x'; 1 << 20], None).await.is_ok() {}
    let first = |advice: &Value| open(advice).first().is_some_and(|item| item["rule"] == "alarm-nospace");
    let advice = advised.until("the alarm comes first", first).await;
    let score = advice["score"]["value"].as_u64().expect("a score");
    assert!(score <= 30, "{}", advice["score"]);
    assert_eq!(text(&advice["score"]["cap"][1]), "Make room and disarm NOSPACE");
    for rule in ["database-near-quota", "quota-default"] {
        if let Some(symptom) = item(&advice, rule) {
            assert_eq!(text(&symptom["caused_by"]), "alarm-nospace", "{rule}");
        }
    }
    // Exactly what is advised, in a shell.
    let commands =
        item(&advice, "alarm-nospace").expect("open")["commands"].as_array().expect("some").clone();
    let script: Vec<&str> = commands.iter().map(text).collect();
    let done = Command::new("sh").args(["-ec", &script.join("\n")]).env("ETCDCTL_API", "3").output();
    let done = done.expect("a shell");
    assert!(done.status.success(), "{script:#?}\n{}{}", stdout(&done), stderr(&done));
    client.put("key", "small", None).await.expect("writes are accepted again");
    let gone = |advice: &Value| !is_open(advice, "alarm-nospace");
    let advice = advised.until("the advice goes with the alarm", gone).await;
    assert!(advice["score"]["value"].as_u64().expect("a score") > score, "{}", advice["score"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_member_comes_first_and_explains_what_it_causes() {
    let mut cluster = EtcdCluster::start(3, Options { synced: true, ..Options::default() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let advised = Advised::start(folder.path(), &cluster);
    advised.until("the cluster is known", |advice| !advice["score"]["value"].is_null()).await;
    cluster.kill(2);
    let first = |advice: &Value| open(advice).first().is_some_and(|item| item["rule"] == "member-down");
    let advice = advised.until("the dead member comes first", first).await;
    assert_eq!(
        text(&item(&advice, "member-down").expect("open")["evidence"][0]["subject"]),
        cluster.instance(2)
    );
    cluster.kill(1);
    let lost = |advice: &Value| open(advice).first().is_some_and(|item| item["rule"] == "quorum-lost");
    let advice = advised.until("the lost quorum comes first", lost).await;
    assert_eq!(text(&item(&advice, "member-down").expect("open")["caused_by"]), "quorum-lost");
    assert!(advice["score"]["value"].as_u64().expect("a score") <= 10, "{}", advice["score"]);
}

#[test]
fn wrong_questions_are_told_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store").display().to_string();
    for (words, said) in [
        (vec!["advise", "nobody"], "there is no cluster nobody"),
        (vec!["advise", "show", "no-such-rule"], "there is no rule no-such-rule"),
        (vec!["advise", "done", "fsync-slow"], "there is no cluster yet"),
        (vec!["advise", "ignore", "fsync-slow"], "--reason"),
        (vec!["advise", "--area", "kitchen"], "the areas are hardware, etcd, operating-system, practice"),
    ] {
        let output = program::output(&[&["--store", store.as_str()], words.as_slice()].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{words:?}: {}", stderr(&output));
    }
    let empty = program::output(&["--store", &store, "advise"]);
    assert!(
        empty.status.success() && stderr(&empty).contains("there is no cluster yet"),
        "{}",
        stderr(&empty)
    );
    let rules = program::output(&["advise", "rules", "--json"]);
    let rules: Value = serde_json::from_str(&stdout(&rules)).expect("JSON");
    assert!(rules.as_array().expect("rules").len() >= 40);
}
