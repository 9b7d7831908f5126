//! What the `report` job uploads over time: of an unchanged fleet next to nothing, of a change what it touches.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use etcd_monitor::config::{Config, Environment, Overrides};
use etcd_monitor::jobs;
use etcd_monitor::model::{Incident, IncidentState, Labels, Outcome, Severity};
use etcd_monitor::run::clock::Clock;
use etcd_monitor::run::{Executed, Host, Services, execute};
use etcd_monitor::store::key::SequenceKey;
use etcd_monitor::store::sequence::{self, Appended};
use tokio_util::sync::CancellationToken;

use crate::etcd_cluster::{EtcdCluster, Options};

const MINUTE_MS: i64 = 60_000;
/// 2026-11-23T12:00:00Z, the beginning of a quarter of an hour.
const NOON_MS: i64 = 1_795_435_200_000;
const LIVE: &str = "api/v1/live/fleet.json";

/// Two names for one cluster of three members: the pages of one must not move with the other.
async fn services(folder: &Path, cluster: &EtcdCluster) -> Arc<Services> {
    let endpoints: Vec<String> = cluster.endpoints().iter().map(|url| format!("{url:?}")).collect();
    let endpoints = endpoints.join(", ");
    let text = format!(
        "[store]\nurl = {:?}\n[[cluster]]\nname = 'a'\nendpoints = [{endpoints}]\n\
         [[cluster]]\nname = 'b'\nendpoints = [{endpoints}]\n",
        folder.join("store").display().to_string()
    );
    let path = folder.join("etcd-monitor.toml");
    std::fs::write(&path, text).expect("written");
    let environment = Environment::new();
    let config = Config::load(Some(&path), &environment, Overrides::default());
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let shutdown = CancellationToken::new();
    let services = Services::start(config, &environment, Clock::fixed(NOON_MS), Host::Cli, shutdown).await;
    Arc::new(services.expect("the store opens"))
}

async fn run(services: &Arc<Services>, job: &str, now_ms: i64) {
    services.clock.set(now_ms);
    let spec = jobs::ALL.iter().copied().find(|spec| spec.name == job).expect("it is listed");
    let Executed::Ran(run) = execute(spec, services, now_ms).await.expect("the ledger works") else {
        panic!("{job} was run before")
    };
    assert_eq!(run.outcome, Outcome::Done, "{run:?}");
}

/// Every file of the site with the instant it was written at and its size: an upload of the same bytes counts.
fn site(folder: &Path) -> BTreeMap<String, (SystemTime, u64)> {
    let top = folder.join("store/site");
    let mut files = BTreeMap::new();
    let mut folders = vec![top.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let meta = path.metadata().expect("readable");
                let name = path.strip_prefix(&top).expect("inside").display().to_string();
                files.insert(name, (meta.modified().expect("has a time"), meta.len()));
            }
        }
    }
    files
}

/// Runs `report` and returns what it uploaded: path and size.
async fn report(services: &Arc<Services>, folder: &Path, now_ms: i64) -> BTreeMap<String, u64> {
    let before = site(folder);
    run(services, "report", now_ms).await;
    let after = site(folder).into_iter().filter(|(path, file)| before.get(path) != Some(file));
    after.map(|(path, (_, bytes))| (path, bytes)).collect()
}

fn incident(cluster: &str, state: IncidentState, changed_ms: i64) -> Incident {
    Incident {
        fingerprint: "0123456789abcdef".to_owned(),
        episode: 1,
        state,
        group: "g".to_owned(),
        alert: "TestAlert".to_owned(),
        severity: Severity::Warning,
        labels: Labels::from_pairs([("cluster", cluster)]),
        annotations: BTreeMap::new(),
        value: 1.0,
        active_since_ms: changed_ms,
        fired_ms: changed_ms,
        changed_ms,
        reason: None,
        silenced_by: None,
    }
}

async fn transition(services: &Services, number: u64, incident: &Incident) {
    let key = SequenceKey::incident(&incident.fingerprint);
    let appended = sequence::append(&services.store, &key, number, incident, &services.writer).await;
    assert_eq!(appended.expect("written"), Appended::Won);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_fleet_uploads_next_to_nothing_and_a_change_what_it_touches() {
    let cluster = EtcdCluster::start(3, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let folder = folder.path();
    let services = services(folder, &cluster).await;
    // Old enough for pages that are made every quarter of an hour.
    for minute in (-130..0).step_by(5) {
        run(&services, "collect", NOON_MS + minute * MINUTE_MS).await;
    }
    let at = |minute: i64| NOON_MS + minute * MINUTE_MS + 5_000;
    run(&services, "collect", at(0) - 1_000).await;
    let all = report(&services, folder, at(0)).await;
    assert!(all.len() >= 2 * 7 + 6 + 3 + 2, "all is new: {all:?}");

    let (mut puts, mut bytes, mut live_puts) = (0, 0, 0);
    for minute in 1..=15 {
        run(&services, "collect", at(minute) - 1_000).await;
        let uploaded = report(&services, folder, at(minute)).await;
        assert!(uploaded.contains_key(LIVE), "minute {minute}: without a watch the report keeps it fresh");
        live_puts += 1;
        let pages: Vec<_> = uploaded.iter().filter(|(path, _)| *path != LIVE).collect();
        assert_eq!(pages.is_empty(), minute % 15 != 0, "minute {minute}: {pages:?}");
        puts += pages.len();
        bytes += pages.iter().map(|(_, bytes)| **bytes).sum::<u64>();
    }
    let once: u64 = all.values().sum();
    println!(
        "two clusters of 3 members, a quarter of an hour: {puts} objects and {bytes} B of pages, {live_puts} of the live file \
         ({} B each); all {} files are {once} B",
        all[LIVE],
        all.len()
    );

    run(&services, "collect", at(16) - 3_000).await;
    transition(&services, 1, &incident("a", IncidentState::Firing, at(16) - 2_000)).await;
    let uploaded = report(&services, folder, at(16)).await;
    let of_b = uploaded.keys().filter(|path| path.contains("/b/")).collect::<Vec<_>>();
    assert_eq!(of_b, Vec::<&String>::new(), "{uploaded:?}");
    for path in ["c/a/index.html", "api/v1/clusters/a/alerts.json", "index.html", "site-manifest.json"] {
        assert!(uploaded.contains_key(path), "{path}: {uploaded:?}");
    }
    let page = std::fs::read_to_string(folder.join("store/site/c/a/index.html")).expect("is there");
    assert!(page.contains("TestAlert"), "the page shows it");
    run(&services, "collect", at(17) - 3_000).await;
    assert_eq!(report(&services, folder, at(17)).await.keys().collect::<Vec<_>>(), [LIVE]);

    run(&services, "collect", at(18) - 3_000).await;
    transition(&services, 2, &incident("a", IncidentState::Resolved, at(18) - 2_000)).await;
    let uploaded = report(&services, folder, at(18)).await;
    assert!(uploaded.contains_key("c/a/index.html") && !uploaded.contains_key("c/b/index.html"));
}
