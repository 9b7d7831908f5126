//! All jobs over one store at a fixed clock: a second run finds its work done, and without the ledger it does
//! nothing twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use etcd_monitor::config::{ClusterSetup, Config, Environment, Overrides};
use etcd_monitor::jobs;
use etcd_monitor::model::Outcome;
use etcd_monitor::run::clock::Clock;
use etcd_monitor::run::{Executed, Host, JobSpec, Services, execute};
use tokio_util::sync::CancellationToken;

use crate::etcd_cluster::{EtcdCluster, Options};

/// Every key and body below `folder` but the run ledger, which is about runs and not about results.
fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path.strip_prefix(folder).expect("inside").display().to_string();
                files.insert(key, std::fs::read(&path).expect("readable"));
            }
        }
    }
    files.retain(|key, _| !key.starts_with("state/runs/") && !key.contains("data/job_runs/"));
    files
}

/// The process that cron would start: its own writer, the same clock.
async fn process(store: &Path, cluster: &EtcdCluster, now_ms: i64) -> Arc<Services> {
    let environment = Environment::new();
    let overrides = Overrides {
        store_url: Some(store.display().to_string()),
        cluster: Some(ClusterSetup { config: cluster.config(), login: None, backup_login: None }),
        ..Overrides::default()
    };
    let config = Config::load(None, &environment, overrides).unwrap_or_else(|errors| panic!("{errors}"));
    let shutdown = CancellationToken::new();
    let services = Services::start(config, &environment, Clock::fixed(now_ms), Host::Cli, shutdown).await;
    Arc::new(services.expect("the store opens"))
}

/// The jobs in the order of the data: what is collected is evaluated, told, compacted and shown.
fn in_order() -> Vec<&'static JobSpec> {
    let job = |name: &str| jobs::ALL.iter().copied().find(|spec| spec.name == name).expect("it is listed");
    ["collect", "evaluate", "deliver", "compact", "report"].map(job).to_vec()
}

async fn run_all(services: &Arc<Services>, slot_ms: i64) -> Vec<Executed> {
    let mut runs = Vec::new();
    for spec in in_order() {
        runs.push(execute(spec, services, slot_ms).await.expect("the ledger works"));
    }
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_of_a_slot_changes_nothing() {
    let cluster = EtcdCluster::start(3, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let slot_ms = 1_795_435_800_000; // 2026-11-23T12:10:00Z

    let first = process(folder.path(), &cluster, slot_ms + 1_000).await;
    for executed in run_all(&first, slot_ms).await {
        let Executed::Ran(run) = executed else { panic!("{executed:?}") };
        assert_eq!(run.outcome, Outcome::Done, "{run:?}");
    }
    let after_first = results(folder.path());
    for part in ["data/samples/", "data/readings/", "site/index.html", "site/c/", "site/api/v1/fleet.json"] {
        assert!(after_first.keys().any(|key| key.starts_with(part)), "{part} is missing");
    }

    let second = process(folder.path(), &cluster, slot_ms + 1_000).await;
    for executed in run_all(&second, slot_ms).await {
        assert!(matches!(executed, Executed::AlreadyDone(_)), "the ledger skips: {executed:?}");
    }
    assert_eq!(changed(&after_first, &results(folder.path())), Vec::<String>::new());

    std::fs::remove_dir_all(folder.path().join("state/runs")).expect("removed");
    let third = process(folder.path(), &cluster, slot_ms + 1_000).await;
    for executed in run_all(&third, slot_ms).await {
        assert!(matches!(executed, Executed::Ran(_)), "nobody remembers: {executed:?}");
    }
    assert_eq!(changed(&after_first, &results(folder.path())), Vec::<String>::new());
}

/// Keys that were added, removed or rewritten.
fn changed(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let differs = |key: &&String| before.get(*key) != after.get(*key);
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    keys.into_iter().filter(differs).cloned().collect()
}
