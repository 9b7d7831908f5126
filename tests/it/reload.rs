//! A daemon that takes over what its files say, and keeps what it has when they are wrong.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::daemon::until;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, Daemon};

const RULES: &str = "groups: [{name: own, rules: [{alert: Own, expr: vector(0) > 1}]}]\n";

/// As Kubernetes shows a ConfigMap: a link to a link to a folder, which is replaced whole.
fn publish(folder: &Path, version: u32, config: &str, rules: &str) {
    let version = folder.join(format!("v{version}"));
    std::fs::create_dir(&version).expect("a new version");
    std::fs::write(version.join("etcd-monitor.toml"), config).expect("written");
    std::fs::write(version.join("rules.yml"), rules).expect("written");
    let fresh = folder.join("fresh");
    symlink(&version, &fresh).expect("a link");
    std::fs::rename(fresh, folder.join("data")).expect("swapped");
}

/// A daemon over one store, asked through the store alone: its file may be wrong.
struct Scene {
    daemon: Daemon,
    store: String,
    address: String,
}

impl Scene {
    fn ask(&self, words: &[&str]) -> serde_json::Value {
        let output = program::output(&[&["--store", &self.store], words].concat());
        serde_json::from_str(&program::stdout(&output)).unwrap_or_default()
    }

    fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        self.ask(&["events", "--json", "--kind", kind]).as_array().cloned().unwrap_or_default()
    }

    /// When the cluster was read last, ms since the epoch; 0 before.
    fn read_ms(&self, cluster: &str) -> i64 {
        let status = self.ask(&["status", "--json"]);
        let of_it = status["clusters"].as_array().into_iter().flatten().find(|c| c["name"] == cluster);
        of_it.and_then(|c| c["read_ms"].as_i64()).unwrap_or(0)
    }

    async fn goes_on(&self, cluster: &str) {
        let before_ms = self.read_ms(cluster);
        until("another reading", &self.daemon, || self.read_ms(cluster) > before_ms).await;
        assert!(std::net::TcpStream::connect(&self.address).is_ok(), "the site is served all the time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_are_taken_over_and_wrong_ones_are_not() {
    let one = EtcdCluster::start(1, Options::default()).await;
    let two = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let store = folder.path().join("store").display().to_string();
    let entry = |name: &str, cluster: &EtcdCluster| {
        format!("[[cluster]]\nname = '{name}'\nendpoints = ['{}']\n", cluster.endpoint(0))
    };
    let text = |clusters: &str, flush: &str| {
        let watch = format!("[watch]\nscrape-interval = '2s'\nflush-interval = '{flush}'\n");
        format!("[store]\nurl = '{store}'\n{watch}[rules]\nfiles = ['rules.yml']\n{clusters}")
    };
    let both = format!("{}{}", entry("one", &one), entry("two", &two));
    publish(folder.path(), 1, &text(&entry("one", &one), "1s"), RULES);
    let config = folder.path().join("data/etcd-monitor.toml").display().to_string();
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let address = format!("127.0.0.1:{port}");
    let daemon = Daemon::start(folder.path(), &["--config", &config, "run", "--serve", &address], &[]);
    let scene = Scene { daemon, store: store.clone(), address };
    let daemon = &scene.daemon;
    until("the first reading", daemon, || scene.read_ms("one") > 0).await;

    publish(folder.path(), 2, &text(&both, "1s"), RULES);
    until("the second cluster", daemon, || scene.read_ms("two") > 0).await;
    assert_eq!(scene.events("cluster-added").len(), 1, "{}", daemon.log());
    assert_eq!(scene.events("monitor-config-changed").len(), 0, "the first cluster is as it was");

    publish(folder.path(), 3, &text(&both, "soon"), RULES);
    until("the refusal", daemon, || scene.events("monitor-config-refused").len() == 2).await;
    let refused = scene.events("monitor-config-refused");
    let said = refused[0]["text"].as_str().unwrap_or_default();
    assert!(said.contains("etcd-monitor.toml:5: watch.flush-interval"), "{said}");
    scene.goes_on("two").await;

    publish(
        folder.path(),
        4,
        &text(&both, "2s"),
        "groups: [{name: own, rules: [{alert: Own, expr: 'x >'}]}]\n",
    );
    until("the refused rule", daemon, || scene.events("monitor-config-refused").len() == 4).await;
    publish(folder.path(), 5, &text(&both, "2s"), &RULES.replace("> 1", "> 2"));
    until("the change", daemon, || scene.events("monitor-config-changed").len() == 2).await;
    let details = scene.events("monitor-config-changed")[0]["details"].clone();
    assert_eq!(
        details["watch.flush-interval"],
        serde_json::json!({"before": "1s", "after": "2s"}),
        "{details}"
    );
    assert_eq!(details.as_object().map(serde_json::Map::len), Some(2), "the rule file, too: {details}");

    scene.goes_on("one").await;
    daemon.hang_up();
    until("an answer to SIGHUP", daemon, || daemon.log().contains("the configuration is as it was")).await;
    publish(folder.path(), 6, &text(&entry("two", &two), "2s"), &RULES.replace("> 1", "> 2"));
    daemon.hang_up();
    until("the end of the first cluster", daemon, || !scene.events("cluster-removed").is_empty()).await;
    scene.goes_on("two").await;
    assert_eq!(scene.daemon.terminate(std::time::Duration::from_secs(30)), Some(0));
}
