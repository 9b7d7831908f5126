//! The program is killed at every request that it makes of a bucket while it makes, verifies and prunes backups. Whatever
//! happens, what has a manifest is whole (I6), the newest verified backup stays (I7), and the next run clears up.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use etcd_monitor::backup::prune::{plan, prune};
use etcd_monitor::backup::save::{Order, Progress, save};
use etcd_monitor::backup::{
    BackupConfig, BackupId, Destination, Kept, Level, Listing, Manifest, Origin, RetentionConfig, Verdict,
    VerdictState, catalog, check,
};
use etcd_monitor::store::{Store, StoreConfig, Writer};

use crate::cut_proxy::{Cut, CutProxy};
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program;
use crate::s3::{CREDENTIALS, S3Server};

const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

struct Scene {
    moto: S3Server,
    cluster: EtcdCluster,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let cluster = EtcdCluster::start(1, Options::default()).await;
        cluster.client().await.put("a", vec![7; 3_000], None).await.expect("put");
        Self { moto: S3Server::moto(), cluster, folder: tempfile::tempdir().expect("a folder") }
    }

    async fn there(&self, prefix: &str) -> Destination {
        Destination { name: "bucket".to_owned(), store: self.moto.store(prefix).await, lock: None }
    }

    /// Runs `backup …` with the destination behind a proxy that kills it. Whether it was killed.
    fn run(&self, prefix: &str, cut: Cut, arguments: &[&str]) -> bool {
        let proxy = CutProxy::to(self.moto.port(), cut);
        let config = self.folder.path().join(format!("{prefix}.toml"));
        let endpoints: Vec<String> = self.cluster.endpoints().iter().map(|url| format!("{url:?}")).collect();
        let text = format!(
            "[store]\nurl = {:?}\n[[cluster]]\nname = \"it\"\nendpoints = [{}]\n\
             [[backup.destination]]\nname = \"bucket\"\nurl = \"s3://bucket/{prefix}\"\n\
             s3 = {{ endpoint = \"http://127.0.0.1:{}\", region = \"us-east-1\", allow-http = true }}\n\
             [backup.retention]\nlast = 1\nwithin = \"0\"\ndaily = 0\nweekly = 0\nmonthly = 0\nyearly = 0\n\
             grace = \"0\"\n",
            self.folder.path().join("store").display().to_string(),
            endpoints.join(", "),
            proxy.port(),
        );
        std::fs::write(&config, text).expect("written");
        let mut child =
            program::command(&[&["--config", &config.display().to_string(), "backup"], arguments].concat())
                .envs(CREDENTIALS)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts");
        proxy.victim(child.id());
        let status = child.wait().expect("it ends");
        let number = match cut {
            Cut::Before(number) | Cut::After(number) => number,
            Cut::Never => usize::MAX,
        };
        let is_killed = status.code().is_none();
        assert!(is_killed || proxy.requests() < number, "{cut:?} of {arguments:?}: {status}");
        is_killed
    }

    /// Every backup that has a manifest is whole.
    async fn whole(&self, there: &Destination) -> Listing {
        let listing = catalog::list(std::slice::from_ref(there), None).await;
        assert!(listing.problems.is_empty(), "{:?}", listing.problems);
        let scratch = self.folder.path().to_owned();
        let bench = check::Bench { identities: Vec::new(), scratch };
        for kept in &listing.backups {
            let checked =
                check::check(there, &kept.manifest, &bench, &Arc::default()).await.expect("an answer");
            assert!(
                checked.judgement.state == VerdictState::Verified,
                "{}: {:?}",
                kept.manifest.id,
                checked.judgement
            );
        }
        listing
    }
}

/// All points, before and after; every second one of them, in turn, where there is no time for all.
fn cuts(all: bool) -> impl Iterator<Item = Vec<Cut>> {
    let soak = std::env::var("ETCD_MONITOR_SOAK_BACKUP_KILLS").is_ok();
    (1..).map(move |n| match (all || soak, n % 2) {
        (true, _) => vec![Cut::Before(n), Cut::After(n)],
        (_, 0) => vec![Cut::Before(n)],
        _ => vec![Cut::After(n)],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_killed_is_whole_or_none() {
    let scene = Scene::new().await;
    let mut kills = 0;
    'all: for points in cuts(true) {
        for cut in points {
            let prefix = format!("make-{cut:?}").replace(['(', ')'], "-");
            let there = scene.there(&prefix).await;
            if !scene.run(&prefix, cut, &["now"]) {
                break 'all;
            }
            kills += 1;
            let mut listing = scene.whole(&there).await;
            assert!(listing.backups.len() <= 1);
            // What is left of it goes when it is old.
            catalog::add_unfinished(&mut listing, std::slice::from_ref(&there)).await;
            let later_ms = now_ms() + 2 * DAY_MS;
            let (name, policy) = ("it".parse().expect("a name"), RetentionConfig::default());
            let planned = plan(&listing, "bucket", &name, &policy, &[], later_ms);
            let done = prune(&there, &planned, &listing, later_ms).await;
            assert!(done.problems.is_empty(), "{done:?}");
            let mut left = scene.whole(&there).await;
            catalog::add_unfinished(&mut left, std::slice::from_ref(&there)).await;
            assert_eq!(left.backups.len(), listing.backups.len());
            assert!(left.orphans.is_empty() && left.unfinished.is_empty(), "{cut:?}: {left:?}");
        }
    }
    assert!(kills >= 8, "begun, a part, completed, the manifest: {kills}");
}

/// Backups of some days, made once: the newest verified one is not the newest.
async fn history(scene: &Scene) -> Destination {
    let path = scene.folder.path().join("history");
    let config = StoreConfig { url: path.display().to_string(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("a folder");
    let there = Destination { name: "bucket".to_owned(), store, lock: None };
    let of = scene.cluster.config();
    for (days, is_verified) in [(9, true), (7, false), (5, true), (3, true), (1, false)] {
        let at_ms = now_ms() - days * DAY_MS;
        let order = Order {
            cluster: &of,
            login: None,
            config: &BackupConfig::default(),
            destinations: std::slice::from_ref(&there),
            id: BackupId::new(at_ms, u128::from(days.unsigned_abs())),
            origin: Origin::Schedule,
            now_ms: &|| at_ms,
        };
        let manifest = save(&order, &Progress::default()).await.expect("a backup").manifest;
        if is_verified {
            note(&there, &manifest, at_ms).await;
        }
    }
    there
}

async fn note(there: &Destination, manifest: &Manifest, at_ms: i64) {
    let verdict = Verdict {
        backup: manifest.id.clone(),
        state: VerdictState::Verified,
        level: Some(Level::L2),
        why: Vec::new(),
        started_ms: at_ms,
        finished_ms: at_ms,
        tool_version: String::new(),
        found: None,
        drill: None,
    };
    check::note(there, manifest, &verdict, &Writer::new(1, 1)).await.expect("noted");
}

/// Puts everything that lies in a folder below a prefix of the bucket.
async fn copied(from: &Path, to: &Store) {
    for file in program::files_under(from) {
        let key = file.strip_prefix(from).expect("below it").to_str().expect("UTF-8");
        let body = std::fs::read(&file).expect("read");
        to.create(&etcd_monitor::store::key::backup_object_named(key), body.into()).await.expect("put");
    }
}

fn is_verified(kept: &&Kept) -> bool {
    kept.verdict.as_ref().is_some_and(|verdict| verdict.state == VerdictState::Verified)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruning_that_is_killed_loses_nothing_and_is_finished_by_the_next() {
    let scene = Scene::new().await;
    let made = history(&scene).await;
    let before = catalog::list(std::slice::from_ref(&made), None).await;
    let id = |at: usize| before.backups[at].manifest.id.clone();
    // The newest verified and the newest one: nothing else is kept by the policy.
    let (proven, newest) = (id(3), id(4));
    let mut kills = 0;
    'all: for points in cuts(false) {
        for cut in points {
            let prefix = format!("prune-{cut:?}").replace(['(', ')'], "-");
            let there = scene.there(&prefix).await;
            copied(&scene.folder.path().join("history"), &there.store).await;
            // Condemned by one run, deleted by the next: that is the one that is killed.
            assert!(!scene.run(&prefix, Cut::Never, &["prune"]));
            let is_killed = scene.run(&prefix, cut, &["prune"]);
            let listing = scene.whole(&there).await;
            let kept: Vec<&Kept> = listing.backups.iter().filter(is_verified).collect();
            assert_eq!(kept.last().map(|kept| &kept.manifest.id), Some(&proven), "{cut:?}");
            assert_eq!(listing.backups.last().map(|kept| &kept.manifest.id), Some(&newest), "{cut:?}");
            if !is_killed {
                break 'all;
            }
            kills += 1;
            assert!(!scene.run(&prefix, Cut::Never, &["prune"]));
            let left = scene.whole(&there).await;
            let ids: Vec<&BackupId> = left.backups.iter().map(|kept| &kept.manifest.id).collect();
            assert_eq!(ids, [&proven, &newest], "{cut:?}");
            assert!(left.half_deleted.is_empty() && left.orphans.is_empty(), "{cut:?}: {left:?}");
            assert!(left.backups.iter().all(|kept| !kept.is_condemned()), "{cut:?}");
        }
    }
    assert!(kills >= 12, "{kills}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_that_is_killed_leaves_the_backup_and_no_half_verdict() {
    let scene = Scene::new().await;
    let there = scene.there("verify").await;
    assert!(!scene.run("verify", Cut::Never, &["now"]));
    let id = catalog::list(std::slice::from_ref(&there), None).await.backups[0].manifest.id.to_string();
    let mut kills = 0;
    'all: for points in cuts(true) {
        for cut in points {
            if !scene.run("verify", cut, &["verify", &id]) {
                break 'all;
            }
            kills += 1;
            let listing = scene.whole(&there).await;
            assert_eq!(listing.backups.len(), 1);
            let verdict = listing.backups[0].verdict.as_ref();
            assert!(verdict.is_none_or(|verdict| verdict.level == Some(Level::L2)), "{cut:?}: {verdict:?}");
        }
    }
    assert!(kills >= 8, "listed, read, fetched, noted: {kills}");
}
