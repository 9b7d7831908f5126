//! Backups of members that are busy: written to, compacted, with authentication, killed in the middle; whatever the workload,
//! what is computed offline is what members say.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{Client, CompactionOptions, DeleteOptions, PutOptions, Txn, TxnOp};
use etcd_monitor::backup::save::{Order, Progress, SaveError, Saved, save};
use etcd_monitor::backup::{
    BackupConfig, BackupId, Destination, Level, Origin, VerdictState, catalog, check,
};
use etcd_monitor::etcd::Login;
use etcd_monitor::model::unit::ByteSize;
use etcd_monitor::store::{Store, StoreConfig};

use crate::deliver::simulation::faults::Rng;
use crate::etcd_auth::with_auth;
use crate::etcd_cluster::{EtcdCluster, Options, Version};

const VERSIONS: [Version; 3] = [Version::V3_4, Version::V3_5_16, Version::V3_5_30];

async fn folder(path: &Path) -> Destination {
    let config = StoreConfig { url: path.display().to_string(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("a folder");
    Destination { name: "folder".to_owned(), store, lock: None }
}

async fn saved(
    cluster: &EtcdCluster,
    config: &BackupConfig,
    login: Option<&Login>,
    to: &[Destination],
) -> Result<Saved, SaveError> {
    let now_ms = || chrono::Utc::now().timestamp_millis();
    let of = cluster.config();
    let id = BackupId::new(now_ms(), ulid::Ulid::generate().0);
    let order =
        Order { cluster: &of, login, config, destinations: to, id, origin: Origin::Command, now_ms: &now_ms };
    save(&order, &Progress::default()).await
}

async fn checked(there: &Destination, saved: &Saved, scratch: &Path) -> check::Checked {
    let bench = check::Bench { identities: Vec::new(), scratch: scratch.to_owned() };
    check::check(there, &saved.manifest, &bench, &Arc::default()).await.expect("an answer")
}

/// One thing that a client may do.
async fn anything(client: &mut Client, dice: &mut Rng, newest: &mut i64) {
    let key = |dice: &mut Rng| format!("/registry/k{}", dice.below(40));
    let header = match dice.below(20) {
        0..=9 => {
            let bytes = if dice.below(20) == 0 { 100_000 } else { dice.below(600) };
            client
                .put(key(dice), vec![u8::try_from(dice.below(256)).expect("a byte"); bytes], None)
                .await
                .expect("put")
                .header()
                .cloned()
        }
        10..=12 => client.delete(key(dice), None).await.expect("deleted").header().cloned(),
        13 => {
            let options = DeleteOptions::new().with_prefix();
            let prefix = format!("/registry/k{}", 1 + dice.below(3));
            client.delete(prefix, Some(options)).await.expect("deleted").header().cloned()
        }
        14 | 15 => {
            let puts = (0..1 + dice.below(7)).map(|n| TxnOp::put(format!("/txn/{n}"), "x", None));
            let mut operations: Vec<TxnOp> = puts.collect();
            operations.push(TxnOp::delete(key(dice), None));
            client.txn(Txn::new().and_then(operations)).await.expect("a transaction").header().cloned()
        }
        16 | 17 => {
            let lease =
                client.lease_grant(1 + i64::from(dice.below(2) == 0), None).await.expect("a lease").id();
            let options = Some(PutOptions::new().with_lease(lease));
            let put = client.put(key(dice), "leased", options).await.expect("put");
            if dice.below(3) == 0 {
                client.lease_revoke(lease).await.expect("revoked");
            }
            put.header().cloned()
        }
        18 => {
            let behind = if dice.below(5) < 2 { 0 } else { i64::try_from(dice.below(30)).expect("small") };
            let options = (dice.below(2) == 0).then(|| CompactionOptions::new().with_physical());
            // One that is compacted already is refused, which is as good.
            let _ = client.compact((*newest - behind).max(1), options).await;
            None
        }
        _ => {
            client.defragment().await.expect("defragmented");
            None
        }
    };
    if let Some(header) = header {
        *newest = header.revision();
    }
}

fn status(version: Version, path: &Path) -> [u64; 2] {
    let output = Command::new(version.tool())
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "status", "-w", "json"])
        .arg(path)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    ["hash", "totalKey"].map(|key| found[key].as_u64().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_written_the_backup_says_what_the_members_say() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let seed = number("ETCD_MONITOR_SOAK_SEED", 7);
    let rounds = number("ETCD_MONITOR_SOAK_WORKLOADS", 6);
    for version in VERSIONS {
        let mut dice = Rng::new(seed);
        let cluster = EtcdCluster::start(1, Options { version, ..Options::default() }).await;
        let mut client = cluster.client().await;
        let here = tempfile::tempdir().expect("a folder");
        let there = folder(here.path()).await;
        let mut newest = 1;
        for round in 0..rounds {
            for _ in 0..60 {
                anything(&mut client, &mut dice, &mut newest).await;
            }
            let at = format!("{version:?}, seed {seed}, round {round}");
            let made = saved(&cluster, &BackupConfig::default(), None, std::slice::from_ref(&there))
                .await
                .expect(&at);
            let found = checked(&there, &made, here.path()).await;
            assert_eq!(
                (found.judgement.state, found.judgement.level),
                (VerdictState::Verified, Some(Level::L2)),
                "{at}: {:?} {:?}",
                found.judgement,
                made.manifest
            );
            let figures = found.found.expect("figures");
            let bytes = std::fs::File::open(here.path().join(&made.manifest.object.key)).expect("an object");
            let plain = here.path().join("plain.db");
            std::fs::write(&plain, zstd::decode_all(bytes).expect("decompressed")).expect("written");
            assert_eq!(status(version, &plain), [u64::from(figures.status_hash), figures.entries], "{at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_and_compactions_while_it_is_made_do_it_no_harm() {
    for version in VERSIONS {
        let cluster = EtcdCluster::start(3, Options { version, ..Options::default() }).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut client = cluster.client().await;
        let over = Arc::clone(&is_over);
        let work = tokio::spawn(async move {
            let mut n = 0_i64;
            while !over.load(Ordering::Relaxed) {
                n += 1;
                let key = format!("key {}", n % 300);
                let written = match n % 7 {
                    0 => client.delete(key, None).await.expect("deleted").header().cloned(),
                    _ => client.put(key, vec![1; 700], None).await.expect("put").header().cloned(),
                };
                if n % 40 == 0 {
                    let revision = written.expect("a header").revision();
                    let options = (n % 80 == 0).then(|| CompactionOptions::new().with_physical());
                    // Another may have been faster; only that it happens counts.
                    let _ = client.compact(revision - n % 3, options).await;
                }
            }
        });
        let here = tempfile::tempdir().expect("a folder");
        let there = folder(here.path()).await;
        let mut verified = 0;
        for n in 0..8 {
            let made = saved(&cluster, &BackupConfig::default(), None, std::slice::from_ref(&there))
                .await
                .expect("a backup");
            let found = checked(&there, &made, here.path()).await;
            let state = found.judgement.state;
            assert_ne!(
                state,
                VerdictState::Bad,
                "{version:?} {n}: {:?} {:?}",
                found.judgement,
                made.manifest
            );
            verified += u32::from(state == VerdictState::Verified);
        }
        is_over.store(true, Ordering::Relaxed);
        work.await.expect("no panic");
        println!("{version:?}: {verified} of 8 verified by what was said when they were made");
        // Compacted many times a second, some cannot be compared; nobody compacts like that.
        assert!(verified >= 6, "{version:?}: {verified}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_authentication_it_takes_the_root_role() {
    for version in VERSIONS {
        let cluster = with_auth(1, version).await;
        let here = tempfile::tempdir().expect("a folder");
        let there = folder(here.path()).await;
        let login =
            |user: &str| Login { user: user.to_owned(), password: format!("{user}-secret").as_str().into() };
        let config = BackupConfig::default();
        let refused = saved(&cluster, &config, Some(&login("bob")), std::slice::from_ref(&there)).await;
        let why = etcd_monitor::model::chain(&refused.expect_err("bob may not"));
        assert!(why.contains("permission denied"), "{version:?}: {why}");
        let listing = catalog::list(std::slice::from_ref(&there), None).await;
        assert!(listing.backups.is_empty() && listing.orphans.is_empty(), "{listing:?}");
        let made = saved(&cluster, &config, Some(&login("root")), std::slice::from_ref(&there))
            .await
            .expect("a backup");
        let found = checked(&there, &made, here.path()).await;
        assert_eq!(found.judgement.level, Some(Level::L2), "{version:?}: {:?}", found.judgement);
    }
}

/// Some seconds of a stream.
fn slowly() -> BackupConfig {
    BackupConfig { bandwidth: Some(ByteSize(8 << 20)), ..BackupConfig::default() }
}

async fn with_24_megabytes(version: Version) -> EtcdCluster {
    let cluster = EtcdCluster::start(3, Options { version, ..Options::default() }).await;
    let mut client = cluster.client().await;
    for n in 0..24 {
        client.put(format!("large {n}"), vec![n; 1_000_000], None).await.expect("put");
    }
    cluster
}

/// Waits until so many bytes of the stream came.
async fn came(progress: &Progress, bytes: u64) {
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while progress.bytes().0 < bytes {
        assert!(std::time::Instant::now() < deadline, "the stream does not come: {progress:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_change_in_the_middle_does_it_no_harm() {
    let cluster = with_24_megabytes(Version::V3_4).await;
    let here = tempfile::tempdir().expect("a folder");
    let there = folder(here.path()).await;
    let (config, of, progress) = (slowly(), cluster.config(), Progress::default());
    let now_ms = || chrono::Utc::now().timestamp_millis();
    let order = Order {
        cluster: &of,
        login: None,
        config: &config,
        destinations: std::slice::from_ref(&there),
        id: BackupId::new(now_ms(), 1),
        origin: Origin::Command,
        now_ms: &now_ms,
    };
    // Both followers lead in turn, the one that is copied among them.
    let move_leader = async {
        for share in [2, 6] {
            came(&progress, share << 20).await;
            let leader = cluster.leader().await;
            let mut client = Client::connect([cluster.endpoint(leader)], None).await.expect("a client");
            let members = client.member_list().await.expect("a list");
            let next = format!("m{}", (leader + 1) % 3);
            let next =
                members.members().iter().find(|member| member.name() == next).expect("it is there").id();
            client.move_leader(next).await.expect("moved");
        }
    };
    let (made, ()) = tokio::join!(save(&order, &progress), move_leader);
    let made = made.expect("a backup");
    let found = checked(&there, &made, here.path()).await;
    assert_eq!(found.judgement.state, VerdictState::Verified, "{:?}", found.judgement);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_dies_in_the_middle_is_followed_by_the_next() {
    let mut cluster = with_24_megabytes(Version::V3_5_30).await;
    let here = tempfile::tempdir().expect("a folder");
    let there = folder(here.path()).await;
    let config = slowly();
    let of = cluster.config();
    let progress = Progress::default();
    let now_ms = || chrono::Utc::now().timestamp_millis();
    let order = Order {
        cluster: &of,
        login: None,
        config: &config,
        destinations: std::slice::from_ref(&there),
        id: BackupId::new(now_ms(), 1),
        origin: Origin::Command,
        now_ms: &now_ms,
    };
    // Which one is copied shows when its stream has begun: by the sent bytes of the members.
    let leader = cluster.leader().await;
    let followers: Vec<usize> = (0..3).filter(|member| *member != leader).collect();
    let kill = async {
        came(&progress, 2 << 20).await;
        // One of them is the source: the first dies, and if it was not the source nothing is to be seen of that.
        cluster.kill(followers[0]);
    };
    let (made, ()) = tokio::join!(save(&order, &progress), kill);
    let made = made.expect("a backup");
    let found = checked(&there, &made, here.path()).await;
    assert_eq!(found.judgement.state, VerdictState::Verified, "{:?}", found.judgement);
    assert_ne!(made.manifest.source.instance.as_str(), cluster.instance(followers[0]));
    let listing = catalog::list(std::slice::from_ref(&there), None).await;
    assert_eq!((listing.backups.len(), listing.orphans.len()), (1, 0), "{listing:?}");
}
