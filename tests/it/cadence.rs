//! The cadence that users are promised: what the monitor itself misses counts, too.

use std::time::{Duration, Instant};

use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, Daemon, stdout};

/// Good scrapes of those due, all members together.
const SHARE: &str = "sum(max_over_time(etcd_monitor_scrapes_good_total[1h]))
    / sum(max_over_time(etcd_monitor_scrapes_due_total[1h]))";

fn value(store: &str, expression: &str) -> Option<f64> {
    let answer = program::output(&["query", "--store", store, "--json", expression]);
    let answer: serde_json::Value = serde_json::from_str(&stdout(&answer)).ok()?;
    answer["result"][0]["value"][1].as_str()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapes_of_members_that_can_be_reached_are_good() {
    let seconds: u64 =
        std::env::var("ETCD_MONITOR_SOAK_SCRAPES").map_or(45, |text| text.parse().expect("a number"));
    let cluster = EtcdCluster::start(3, Options::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store");
    let store = store.to_str().expect("UTF-8");
    let endpoints = cluster.endpoints().join(",");
    let daemon = Daemon::start(folder.path(), &["run", "--endpoints", &endpoints, "--store", store], &[]);
    let began = Instant::now();
    // Each member is due every 15 s, and the first reading is at once.
    let due = 3.0 * (seconds / 15) as f64;
    let deadline = began + Duration::from_secs(seconds * 2 + 120);
    let so_far = || value(store, "sum(max_over_time(etcd_monitor_scrapes_due_total[1h]))").unwrap_or(0.0);
    while began.elapsed() < Duration::from_secs(seconds) || so_far() < due {
        assert!(Instant::now() < deadline, "{} of {due} scrapes; {}", so_far(), daemon.log());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(daemon.terminate(Duration::from_secs(60)), Some(0));
    let share = value(store, SHARE).expect("counted");
    println!(
        "{:.3} % of the scrapes that were due in {} s are good",
        share * 100.0,
        began.elapsed().as_secs()
    );
    // One late scrape of so few would be more than one in a thousand: then none may be missing but that one.
    let missing = ((1.0 - share) * so_far()).round();
    assert!(share >= 0.999 || missing <= 1.0, "{share}, {missing} missing");
}
