//! What people see of backups: the list, the page, its JSON twin, the series; of ours and of others'.

use std::path::Path;
use std::process::{Command, Output};

use etcd_monitor::store::{Store, StoreConfig, backups as table_of_backups};
use serde_json::Value;

use crate::etcd_cluster::{EtcdCluster, Options, Version};
use crate::program::{self, stderr, stdout};

struct Place {
    folder: tempfile::TempDir,
    config: String,
}

impl Place {
    fn new(cluster: &EtcdCluster, rest: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("monitor.toml");
        let endpoints: Vec<String> = cluster.endpoints().iter().map(|url| format!("{url:?}")).collect();
        let text = format!(
            "[store]\nurl = {:?}\n[[cluster]]\nname = \"it\"\nendpoints = [{}]\n[backup]\nenabled = true\n\
             [backup.drill]\nenabled = false\n{rest}\n",
            folder.path().join("store").display().to_string(),
            endpoints.join(", "),
        );
        std::fs::write(&config, text).expect("written");
        let config = config.display().to_string();
        Self { folder, config }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        program::output(&[&["--config", &self.config], arguments].concat())
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(arguments)).expect("JSON")
    }

    fn site(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("store/site").join(path)).expect(path)
    }

    fn value(&self, expression: &str) -> f64 {
        let answer = self.json(&["query", "--json", expression]);
        let text =
            answer["result"][0]["value"][1].as_str().unwrap_or_else(|| panic!("{expression}: {answer}"));
        text.parse().expect("a number")
    }
}

fn save(cluster: &EtcdCluster, to: &Path) {
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &cluster.endpoints()[0], "snapshot", "save"])
        .arg(to)
        .output()
        .expect("etcdctl runs");
    assert!(output.status.success(), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_the_page_and_its_twin_say_the_same() {
    let cluster = EtcdCluster::start(1, Options { version: Version::V3_4, ..Options::default() }).await;
    cluster.client().await.put("a", vec![1; 4000], None).await.expect("put");
    let place = Place::new(&cluster, "");
    // Pages are made of a reading.
    place.done(&["run", "collect"]);
    place.done(&["run", "backup"]);
    place.done(&["run", "verify"]);
    place.done(&["run", "report"]);
    let list = place.json(&["backup", "list", "--json"]);
    let id = list["backups"][0]["manifest"]["id"].as_str().expect("an id");
    let state = &list["clusters"][0];
    assert_eq!(
        (&state["is_backed_up"], &state["copies"][0]["level"]),
        (&true.into(), &"L2".into()),
        "{state}"
    );
    let due_ms = state["next_due_ms"].as_i64().expect("a time");
    assert_eq!(due_ms % (6 * 3_600_000), 0, "every six hours");
    assert_eq!(place.value("etcd_monitor_backup_next_due_timestamp_seconds"), due_ms as f64 / 1e3);
    assert!(place.value("etcd_monitor_backup_size_bytes") > 4_000.0);
    let shown = place.done(&["backup", "list"]);
    assert!(shown.contains("verified L2") && shown.contains("it: next due "), "{shown}");
    let page = place.site("c/it/index.html");
    assert!(page.contains("id=\"backups\"") && page.contains(id) && page.contains("Verified L2"), "{page}");
    let twin: Value = serde_json::from_str(&place.site("api/v1/clusters/it/backups.json")).expect("JSON");
    let data = &twin["data"];
    let data = if data.is_null() { &twin } else { data };
    assert_eq!(
        (&data["backups"][0]["id"], &data["backups"][0]["state"]),
        (&id.into(), &"verified".into()),
        "{twin}"
    );
    // The table has what became of it, also when the files are merged.
    let url = place.folder.path().join("store").display().to_string();
    let store = Store::open(&StoreConfig { url, ..StoreConfig::default() }, &|_| None).await.expect("opens");
    place.done(&["run", "compact"]);
    let rows = table_of_backups::range(&store, 0, i64::MAX).await.expect("reads");
    let states: Vec<(&str, bool)> = rows.iter().map(|row| (row.copy.state.as_str(), row.is_gone)).collect();
    assert_eq!(states, [("new", false), ("verified", false)]);
    std::fs::remove_dir_all(place.folder.path().join("store/backups")).expect("removed");
    place.done(&["run", "verify"]);
    let rows = table_of_backups::range(&store, 0, i64::MAX).await.expect("reads");
    assert!(rows.len() == 3 && rows[2].is_gone && rows[2].copy.id == id, "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_backups_are_listed_aged_verified_and_alerted_on() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let mut client = cluster.client().await;
    for n in 0..300 {
        client.put(format!("key {n}"), vec![1; 500], None).await.expect("put");
    }
    let theirs = tempfile::tempdir().expect("a folder");
    let external = format!(
        "[[backup.external]]\nname = \"cron\"\ncluster = \"it\"\nurl = {:?}\nevery = \"1d\"",
        theirs.path().display().to_string()
    );
    let place = Place::new(&cluster, &external);
    save(&cluster, &theirs.path().join("monday.db"));
    std::fs::write(theirs.path().join("notes.txt"), "no database").expect("written");
    place.done(&["run", "verify"]);
    let list = place.json(&["backup", "list", "--json"]);
    let files = list["external"].as_array().expect("files");
    assert_eq!(files.len(), 1, "{list}");
    // Nothing was written since, so that the members can still say that it is theirs.
    assert_eq!((&files[0]["path"], &files[0]["verdict"]["state"]), (&"monday.db".into(), &"verified".into()));
    let age = place.value("time() - etcd_monitor_backup_last_success_timestamp_seconds{source='cron'}");
    assert!((0.0..600.0).contains(&age), "{age}");
    assert_eq!(place.value("etcd_monitor_backup_interval_seconds{source='cron'}"), 86_400.0);

    // Gzipped, and the cluster has gone on and compacted: it is whole, and nobody can say whose.
    let plain = theirs.path().join("plain");
    save(&cluster, &plain);
    client.put("key 1", "new", None).await.expect("put");
    let newest =
        client.put("key 1", "newer", None).await.expect("put").header().expect("a header").revision();
    client.compact(newest, None).await.expect("compacted");
    let zipped = Command::new("gzip").arg("-c").arg(&plain).output().expect("gzip runs").stdout;
    std::fs::write(theirs.path().join("tuesday.db.gz"), zipped).expect("written");
    place.done(&["run", "verify"]);
    let list = place.json(&["backup", "list", "--json"]);
    let tuesday = &list["external"][1]["verdict"];
    assert_eq!((&tuesday["state"], &tuesday["level"]), (&"unverified".into(), &"L1".into()), "{tuesday}");

    // Cut off.
    let whole = std::fs::read(&plain).expect("read");
    std::fs::write(theirs.path().join("wednesday.db"), &whole[..whole.len() / 2]).expect("written");
    place.done(&["run", "verify"]);
    assert_eq!(place.value("etcd_monitor_backups_bad{source='cron'}"), 1.0);
    let told = place.done(&["events"]);
    assert!(told.contains("wednesday.db of cron is bad"), "{told}");
    assert!(place.done(&["backup", "list"]).contains("cron (external)"));
    // A place that is not there is said, and takes nothing from the rest.
    std::fs::remove_dir_all(theirs.path()).expect("removed");
    let listed = place.run(&["backup", "list"]);
    assert_eq!(listed.status.code(), Some(3));
    assert!(
        stderr(&listed).contains("cron") && stderr(&listed).contains("there is no such folder"),
        "{}",
        stderr(&listed)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_asked_again_where_their_word_cannot_be_compared() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    cluster.client().await.put("a", "b", None).await.expect("put");
    let place = Place::new(&cluster, "");
    place.done(&["backup", "now"]);
    let list = place.json(&["backup", "list", "--json"]);
    let manifest = &list["backups"][0]["manifest"];
    let path = place
        .folder
        .path()
        .join(format!("store/backups/it/manifests/{}.json", manifest["id"].as_str().expect("an id")));
    // As if nobody had been asked when it was made.
    let mut silent = manifest.clone();
    silent["hashes"] = serde_json::json!([]);
    std::fs::write(&path, silent.to_string()).expect("written");
    let verdict = place.json(&["backup", "verify", "latest", "--json"]);
    assert_eq!(
        (&verdict[0]["verdict"]["state"], &verdict[0]["verdict"]["level"]),
        (&"verified".into(), &"L2".into())
    );
    assert!(
        verdict[0]["verdict"]["why"][0]
            .as_str()
            .expect("a sentence")
            .contains("said the same when it was verified")
    );
    // What members said of something else does not help.
    let mut wrong = manifest.clone();
    wrong["hashes"][0]["hash"] = 1.into();
    std::fs::write(&path, wrong.to_string()).expect("written");
    let verdict = program::output(&["--config", &place.config, "backup", "verify", "latest", "--json"]);
    assert_eq!(verdict.status.code(), Some(1), "{}", stdout(&verdict));
}
