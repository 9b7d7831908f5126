//! What only S3 has: objects that nobody can delete, and uploads that nobody finished.

use std::process::Command;
use std::time::Duration;

use etcd_monitor::backup::prune::{Step, plan, prune};
use etcd_monitor::backup::retention::Reason;
use etcd_monitor::backup::save::{Order, Progress, SaveError, save};
use etcd_monitor::backup::{BackupConfig, BackupId, Destination, Origin, RetentionConfig, catalog};
use etcd_monitor::model::unit::ConfigDuration;
use etcd_monitor::store::{LockConfig, LockMode, Store};

use crate::etcd_cluster::{EtcdCluster, Options};
use crate::s3::{S3Server, tool};

const DAY: Duration = Duration::from_secs(86_400);
const DAY_MS: i64 = 86_400_000;

/// Does something with `c`, the AWS SDK's client of a server, and returns what it printed.
fn boto(server: &S3Server, script: &str) -> String {
    let script = format!("{}\n{script}", server.boto());
    let output = Command::new(tool("python")).args(["-c", &script]).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn made(
    cluster: &EtcdCluster,
    to: &Destination,
    n: u128,
) -> Result<etcd_monitor::backup::Manifest, SaveError> {
    let now_ms = chrono::Utc::now().timestamp_millis();
    let of = cluster.config();
    let order = Order {
        cluster: &of,
        login: None,
        config: &BackupConfig::default(),
        destinations: std::slice::from_ref(to),
        id: BackupId::new(now_ms, n),
        origin: Origin::Command,
        now_ms: &|| now_ms,
    };
    save(&order, &Progress::default()).await.map(|saved| saved.manifest)
}

fn destination(store: Store) -> Destination {
    let lock = LockConfig { lasts: ConfigDuration(DAY * 7), mode: LockMode::Compliance };
    Destination { name: "locked".to_owned(), store, lock: Some(lock) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_backup_is_locked_in_the_bucket_and_kept() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let moto = S3Server::moto();
    boto(&moto, "c.create_bucket(Bucket='locked', ObjectLockEnabledForBucket=True)");
    let there = destination(moto.store_in("locked", "vault").await);
    made(&cluster, &there, 1).await.expect("a backup");
    let listing = catalog::list(std::slice::from_ref(&there), None).await;
    let manifest = &listing.backups[0].manifest;
    let until_ms = manifest.locked_until_ms.expect("it is locked");
    assert_eq!(until_ms, (manifest.finished_ms + 7 * DAY_MS) / 1000 * 1000);
    for key in [manifest.object.key.clone(), format!("backups/it/manifests/{}.json", manifest.id)] {
        let said = boto(
            &moto,
            &format!(
                "r = c.head_object(Bucket='locked', Key='vault/{key}')\nprint(r['ObjectLockMode'], int(r['ObjectLockRetainUntilDate'].timestamp()))"
            ),
        );
        assert_eq!(said, format!("COMPLIANCE {}", until_ms / 1000));
    }
    // No rule keeps it, and the lock does, to the second.
    let none = RetentionConfig {
        last: 0,
        within: ConfigDuration(Duration::ZERO),
        daily: 0,
        weekly: 0,
        monthly: 0,
        yearly: 0,
        ..RetentionConfig::default()
    };
    made(&cluster, &there, 2).await.expect("a backup");
    let listing = catalog::list(std::slice::from_ref(&there), None).await;
    let name = "it".parse().expect("a name");
    let first = |at_ms: i64| {
        let plan = plan(&listing, "locked", &name, &none, &[], at_ms);
        plan.decisions.into_iter().next().expect("decided").reasons
    };
    let until_ms = listing.backups[0].manifest.locked_until_ms.expect("locked");
    assert_eq!(first(until_ms - 1), [Reason::LockedUntil(until_ms)]);
    assert!(first(until_ms + 1).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_locks_is_no_place_for_what_is_to_be_locked() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let moto = S3Server::moto();
    let there = destination(moto.store("open").await);
    let error = made(&cluster, &there, 1).await.expect_err("it cannot be locked").to_string();
    assert!(error.contains("locked: lock backups/it/data/"), "{error}");
    let listing = catalog::list(std::slice::from_ref(&there), None).await;
    assert_eq!((listing.backups.len(), listing.orphans.len()), (0, 1), "{listing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_nobody_finished_are_taken_back() {
    for (is_moto, server) in [(true, S3Server::moto()), (false, S3Server::seaweed())] {
        let there =
            Destination { name: "s3".to_owned(), store: server.store("deep/below").await, lock: None };
        let begin = "c.create_multipart_upload(Bucket='bucket', Key='deep/below/backups/it/data/20261101T000000-AAAAAA.db.zst')";
        boto(&server, begin);
        let mut listing = catalog::list(std::slice::from_ref(&there), None).await;
        catalog::add_unfinished(&mut listing, std::slice::from_ref(&there)).await;
        assert_eq!(listing.unfinished.len(), 1, "{listing:?}");
        assert_eq!(listing.unfinished[0].1.key.as_str(), "backups/it/data/20261101T000000-AAAAAA.db.zst");
        let (name, policy) = ("it".parse().expect("a name"), RetentionConfig::default());
        let now_ms = chrono::Utc::now().timestamp_millis();
        let now = plan(&listing, "s3", &name, &policy, &[], now_ms);
        // moto says of all uploads that they are of 2010.
        assert!(is_moto || now.steps.is_empty(), "it may go on: {now:?}");
        let later_ms = now_ms + 2 * DAY_MS;
        let later = plan(&listing, "s3", &name, &policy, &[], later_ms);
        assert!(matches!(later.steps.as_slice(), [Step::Discard { .. }]), "{later:?}");
        let done = prune(&there, &later, &listing, later_ms).await;
        assert_eq!((done.collected, done.problems.len()), (1, 0), "{done:?}");
        let left = boto(&server, "print(len(c.list_multipart_uploads(Bucket='bucket').get('Uploads', [])))");
        assert_eq!(left, "0");
    }
}
