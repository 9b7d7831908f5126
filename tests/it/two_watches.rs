//! Several daemons over one store and one cluster: what they ask of etcd together, that people hear of things once, and
//! that the last of them goes on when the others are gone.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use etcd_monitor::model::Event;
use etcd_monitor::run::clock::Clock;

use crate::daemon::until;
use crate::daemon_faults::told;
use crate::deliver::Receiver;
use crate::deliver::http::Hook;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, Daemon, stderr, stdout};

/// An alert that need not wait for the shipped rule's minute; everything else is as by default.
const RULES: &str = "\
groups:
- name: test
  rules:
  - alert: TestMemberDown
    expr: max by (cluster, instance) (etcd_monitor_member_up) == 0
    for: 2s
    labels: { severity: critical }
    annotations: { summary: '{{ $labels.instance }} is down' }
";

/// Requests that a member served so far, by its own counters: calls, fetches of its metrics, and questions for its health.
async fn served(endpoint: &str) -> f64 {
    let text =
        reqwest::get(format!("{endpoint}/metrics")).await.expect("answered").text().await.expect("text");
    let counted = ["grpc_server_started_total{", "promhttp_metric_handler_requests_total{"];
    for name in counted {
        assert!(text.contains(name), "the member does not count {name}");
    }
    // Members speak to each other over HTTP of another kind: all of these are of clients.
    let lines = text.lines().filter(|line| counted.iter().any(|name| line.starts_with(name)));
    let sum = |lines: &mut dyn Iterator<Item = &str>| -> f64 {
        lines.map(|line| line.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("a number")).sum()
    };
    // Who asks for /health asks for /livez and /readyz as well, which have no counter of their own.
    let health = ["etcd_server_health_success ", "etcd_server_health_failures "];
    let mut of_health = text.lines().filter(|line| health.iter().any(|name| line.starts_with(name)));
    sum(&mut lines.into_iter()) + 3.0 * sum(&mut of_health)
}

fn events(store: &Path, kind: &str) -> Vec<Event> {
    let store = store.display().to_string();
    let output = program::output(&["events", "--store", &store, "--kind", kind, "--json"]);
    serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)))
}

/// When the cluster was read last, as the store has it.
fn newest_reading_ms(store: &Path) -> i64 {
    let output = program::output(&["status", "--store", &store.display().to_string(), "--json"]);
    let status: serde_json::Value =
        serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let members = status["clusters"][0]["members"].as_array().expect("members");
    members.iter().filter_map(|member| member["ts_ms"].as_i64()).max().expect("read")
}

/// Requests per second of the busiest member, over a minute: twice the longest interval but the alarms'.
async fn load(cluster: &EtcdCluster) -> f64 {
    let mut before = Vec::new();
    for endpoint in cluster.endpoints() {
        before.push((served(&endpoint).await, Instant::now()));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut most: f64 = 0.0;
    for (endpoint, (before, began)) in cluster.endpoints().iter().zip(before) {
        // One of the fetches is ours.
        most = most.max((served(endpoint).await - before - 1.0) / began.elapsed().as_secs_f64());
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn three_watches_ask_little_tell_once_and_take_over() {
    let mut cluster = EtcdCluster::start(3, Options::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let hook = Hook::start(&[]).await;
    let store = folder.path().join("store");
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, RULES).expect("written");
    let endpoints: Vec<String> = cluster.endpoints().iter().map(|url| format!("{url:?}")).collect();
    let config = format!(
        "[store]\nurl = {:?}\n[[cluster]]\nname = 'prod'\nendpoints = [{}]\n[rules]\nfiles = [{:?}]\n\
         [[alert.route]]\nchannels = ['hook']\ngroup-interval = '1s'\n[channel.hook]\n{}\n",
        store.display().to_string(),
        endpoints.join(", "),
        rules.display().to_string(),
        hook.toml(),
    );
    let path = folder.path().join("etcd-monitor.toml");
    std::fs::write(&path, config).expect("written");
    let path = path.display().to_string();
    let start = |name: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).expect("created");
        Daemon::start(&folder, &["--config", &path, "run"], &[("HMAC", "secret")])
    };
    let watches = [start("first"), start("second"), start("third")];
    let beats = || std::fs::read_dir(store.join("state/watch/all")).map_or(0, Iterator::count);
    until("all hearts beat", &watches[0], || beats() == 3).await;

    let most = load(&cluster).await;
    println!("requests per second and member, of three watches together: {most:.2}");
    assert!(most > 0.5 && most <= 2.0, "{most} requests per second");

    let leader = cluster.leader().await;
    let killed = cluster.instance(leader);
    cluster.kill(leader);
    let began = Instant::now();
    until("the new leader", &watches[0], || !events(&store, "leader-changed").is_empty()).await;
    println!("from the kill to the stored leader change: {:.1} s", began.elapsed().as_secs_f64());
    until("the alert", &watches[0], || told(&hook, "firing") > 0).await;
    cluster.restart(leader);
    let is_back = |event: &Event| event.subject == killed;
    until("the member back", &watches[0], || events(&store, "member-reachable").iter().any(is_back)).await;
    until("the end of it", &watches[0], || told(&hook, "resolved") > 0).await;

    // The one that stands by first, and then the other: both store what they would still tell.
    let [first, second, third] = watches;
    for daemon in [second, first] {
        assert_eq!(daemon.terminate(Duration::from_secs(60)), Some(0));
    }
    // The third asked nothing so far, and is alone now.
    let began = Instant::now();
    let alone_ms = Clock::System.now_ms();
    until("a reading of the third", &third, || newest_reading_ms(&store) > alone_ms).await;
    println!("from the end of the others to a stored reading: {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(third.terminate(Duration::from_secs(60)), Some(0));
    let changes = events(&store, "leader-changed");
    let terms: BTreeSet<u64> = changes.iter().filter_map(|event| event.details["term"].as_u64()).collect();
    assert_eq!(terms.len(), changes.len(), "one event for each election: {changes:#?}");
    for kind in ["member-unreachable", "member-reachable"] {
        let found = events(&store, kind);
        let of_it = found.iter().filter(|event| event.subject == killed).count();
        assert_eq!(of_it, 1, "{kind}: {found:#?}");
    }
    assert_eq!((told(&hook, "firing"), told(&hook, "resolved")), (1, 1), "{:#?}", hook.accepted());
}
