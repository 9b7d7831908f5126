//! Retention over real backups: what goes, in two steps, what never goes, and what failed ones left.

use std::path::Path;
use std::process::Output;

use etcd_monitor::backup::save::{Order, Progress, save};
use etcd_monitor::backup::{
    BackupConfig, BackupId, Destination, Level, Manifest, Origin, Verdict, VerdictState, check,
};
use etcd_monitor::store::{Store, StoreConfig, Writer};

use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, stderr, stdout};

const DAY_MS: i64 = 86_400_000;

struct Keeper {
    destination: Destination,
    writer: Writer,
    folder: tempfile::TempDir,
}

impl Keeper {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config =
            StoreConfig { url: folder.path().join("store").display().to_string(), ..StoreConfig::default() };
        let store = Store::open(&config, &|_| None).await.expect("a folder");
        let writer = Writer::new(1, 1);
        Self { destination: Destination { name: "store".to_owned(), store, lock: None }, writer, folder }
    }

    fn path(&self, key: &str) -> std::path::PathBuf {
        self.folder.path().join("store").join(key)
    }

    /// A backup as it would have been made so many days ago.
    async fn made(&self, cluster: &EtcdCluster, days_ago: i64, state: Option<VerdictState>) -> Manifest {
        let at = chrono::Utc::now().timestamp_millis() - days_ago * DAY_MS;
        let of = cluster.config();
        let order = Order {
            cluster: &of,
            login: None,
            config: &BackupConfig::default(),
            destinations: std::slice::from_ref(&self.destination),
            id: BackupId::new(at, ulid::Ulid::generate().0),
            origin: Origin::Schedule,
            now_ms: &|| at,
        };
        let manifest = save(&order, &Progress::default()).await.expect("a backup").manifest;
        if let Some(state) = state {
            let verdict = Verdict {
                backup: manifest.id.clone(),
                state,
                level: Some(Level::L2),
                why: Vec::new(),
                started_ms: at,
                finished_ms: at,
                tool_version: String::new(),
                found: None,
                drill: None,
            };
            check::note(&self.destination, &manifest, &verdict, &self.writer).await.expect("noted");
        }
        manifest
    }

    /// `backup …` under a policy of keeping one, with this grace time.
    fn run(&self, grace: &str, arguments: &[&str]) -> Output {
        let store = self.folder.path().join("store");
        let config = self.folder.path().join("monitor.toml");
        let text = format!(
            "[store]\nurl = {:?}\n[[cluster]]\nname = \"it\"\nendpoints = [\"http://127.0.0.1:1\"]\n\
             [backup.retention]\nlast = 1\nwithin = \"0\"\nhourly = 0\ndaily = 0\nweekly = 0\nmonthly = 0\n\
             yearly = 0\ngrace = {grace:?}\n",
            store.display().to_string()
        );
        std::fs::write(&config, text).expect("written");
        let config = config.to_str().expect("UTF-8");
        program::output(&[&["--config", config, "backup"], arguments].concat())
    }

    fn ids(&self) -> Vec<String> {
        names(&self.path("backups/it/manifests"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let stem = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().expect("UTF-8");
        name.split('.').next().unwrap_or_default().to_owned()
    };
    let mut names: Vec<String> = entries.map(|entry| stem(entry.expect("an entry"))).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_keeps_goes_in_two_steps_and_can_be_taken_back_between() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let keeper = Keeper::new().await;
    let verified = Some(VerdictState::Verified);
    let oldest = keeper.made(&cluster, 9, verified).await.id.to_string();
    let bad = keeper.made(&cluster, 8, Some(VerdictState::Bad)).await.id.to_string();
    let proven = keeper.made(&cluster, 5, verified).await.id.to_string();
    let middle = keeper.made(&cluster, 3, None).await.id.to_string();
    let newest = keeper.made(&cluster, 1, None).await.id.to_string();
    let planned = keeper.run("1d", &["prune", "--dry-run", "--json"]);
    let planned: serde_json::Value = serde_json::from_str(&stdout(&planned)).expect("JSON");
    let reasons: Vec<String> = planned[0]["decisions"]
        .as_array()
        .expect("decisions")
        .iter()
        .map(|decision| decision["reasons"].to_string())
        .collect();
    assert_eq!(reasons, ["[]", "[]", "[\"newest_verified\"]", "[]", "[\"newest\",{\"last\":1}]"]);
    assert_eq!(keeper.ids().len(), 5, "a dry run does nothing");
    let shown = stdout(&keeper.run("1d", &["prune", "--dry-run"]));
    assert!(shown.contains("would be condemned") && shown.contains("newest verified"), "{shown}");

    let pruned = keeper.run("1d", &["prune"]);
    assert_eq!(pruned.status.code(), Some(0), "{}", stderr(&pruned));
    assert!(stdout(&pruned).contains("condemned, deleted after 1d"), "{}", stdout(&pruned));
    assert_eq!(keeper.ids().len(), 5, "only condemned");
    assert_eq!(names(&keeper.path("backups/it/tombstones")), [&*oldest, &*bad, &*middle]);
    let again = keeper.run("1d", &["prune"]);
    assert_eq!(stdout(&again).trim(), "Nothing is to be done.", "the grace time is not over");

    let undone = keeper.run("1d", &["prune", "--undo", &oldest]);
    assert_eq!(undone.status.code(), Some(0), "{}", stderr(&undone));
    assert_eq!(names(&keeper.path("backups/it/tombstones")), [&*bad, &*middle]);
    let pruned = keeper.run("0", &["prune", "--json"]);
    let pruned: serde_json::Value = serde_json::from_str(&stdout(&pruned)).expect("JSON");
    assert_eq!(pruned["deleted"], serde_json::json!([bad, middle]));
    assert_eq!(pruned["condemned"], serde_json::json!([oldest]), "the rules have not changed");
    assert_eq!(keeper.ids(), [&*oldest, &*proven, &*newest]);
    for folder in ["data", "manifests"] {
        assert_eq!(names(&keeper.path(&format!("backups/it/{folder}"))).len(), 3, "{folder}");
    }
    assert!(
        !keeper.path(&format!("backups/it/verdicts/{bad}")).exists()
            || names(&keeper.path(&format!("backups/it/verdicts/{bad}"))).is_empty()
    );
    let told = stdout(&program::output(&["--store", keeper.path("").to_str().expect("UTF-8"), "events"]));
    assert!(told.contains("backups-deleted") && told.contains(&middle), "{told}");

    // By name anything goes but the newest that is verified.
    let asked = keeper.run("0", &["prune", &newest]);
    assert_eq!(asked.status.code(), Some(0), "{}", stderr(&asked));
    let refused = keeper.run("0", &["prune", &proven]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("stays: newest verified"), "{}", stderr(&refused));
    let shown = stdout(&keeper.run("0", &["show", &newest]));
    assert!(shown.contains("going to be deleted") && shown.contains("HashKV"), "{shown}");
    keeper.run("0", &["prune"]);
    assert_eq!(keeper.ids(), [&*proven]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_when_what_shall_remain_is_not_there() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let keeper = Keeper::new().await;
    let older = keeper.made(&cluster, 9, Some(VerdictState::Verified)).await;
    let newer = keeper.made(&cluster, 5, Some(VerdictState::Verified)).await;
    assert_eq!(keeper.run("0", &["prune"]).status.code(), Some(0));
    // Somebody deletes the object of the newest, and its verdict says that it is good.
    std::fs::remove_file(keeper.path(&newer.object.key)).expect("deleted");
    let pruned = keeper.run("0", &["prune"]);
    assert_eq!(pruned.status.code(), Some(1), "{}", stdout(&pruned));
    assert!(stderr(&pruned).contains("nothing is deleted") && stderr(&pruned).contains("its object is gone"));
    assert!(keeper.path(&older.object.key).exists());
    // Once it is known to be bad, the older one is the newest good one, and stays.
    let verified = keeper.run("0", &["verify", newer.id.as_str()]);
    assert_eq!(verified.status.code(), Some(1), "{}", stdout(&verified));
    let pruned = keeper.run("0", &["prune"]);
    assert!(stdout(&pruned).contains(&format!("kept after all: {}", older.id)), "{}", stdout(&pruned));
    assert!(keeper.path(&older.object.key).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_and_killed_ones_left_is_collected_when_it_is_old() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let keeper = Keeper::new().await;
    let whole = keeper.made(&cluster, 1, None).await;
    let data = keeper.path("backups/it/data");
    let plant = |name: &str, hours_old: u64| {
        let path = data.join(name);
        let file = std::fs::File::create(&path).expect("made");
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(hours_old * 3_600);
        file.set_modified(then).expect("set");
        path
    };
    let orphan = plant("20261101T000000-AAAAAA.db.zst", 26);
    let unfinished = plant("20261101T000000-BBBBBB.db.zst#1", 26);
    let young = plant("20261101T000000-CCCCCC.db.zst", 3);
    let being_written = plant("20261101T000000-DDDDDD.db.zst#1", 3);
    // A deletion that broke off after the manifest.
    let half = keeper.made(&cluster, 1, None).await;
    std::fs::remove_file(keeper.path(&format!("backups/it/manifests/{}.json", half.id))).expect("gone");
    std::fs::create_dir_all(keeper.path("backups/it/tombstones")).expect("made");
    std::fs::write(keeper.path(&format!("backups/it/tombstones/{}.json", half.id)), "{}").expect("written");
    let pruned = keeper.run("1d", &["prune"]);
    assert_eq!(pruned.status.code(), Some(0), "{}", stderr(&pruned));
    assert!(!orphan.exists() && !unfinished.exists(), "{}", stdout(&pruned));
    assert!(young.exists() && being_written.exists(), "they may be of a backup that is being made");
    assert!(!keeper.path(&half.object.key).exists());
    assert!(names(&keeper.path("backups/it/tombstones")).is_empty());
    assert!(keeper.path(&whole.object.key).exists());
}
