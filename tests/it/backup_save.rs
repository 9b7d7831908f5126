//! Backups from real clusters to real destinations, read back and compared with the members.

use std::path::Path;

use etcd_monitor::backup::save::{Order, Progress, Saved, save};
use etcd_monitor::backup::{
    BackupConfig, BackupId, Destination, Level, Origin, Verdict, VerdictState, catalog, check,
};
use etcd_monitor::store::{Store, StoreConfig};

use crate::azure::Azurite;
use crate::etcd_cluster::{EtcdCluster, Options, Version};
use crate::program;
use crate::s3::S3Server;

async fn folder(path: &Path, name: &str) -> Destination {
    let config = StoreConfig { url: path.display().to_string(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("a folder");
    Destination { name: name.to_owned(), store, lock: None }
}

async fn saved(cluster: &EtcdCluster, config: &BackupConfig, destinations: &[Destination], n: u128) -> Saved {
    let of = cluster.config();
    let order = Order {
        cluster: &of,
        login: None,
        config,
        destinations,
        id: BackupId::new(1_795_442_712_000, n),
        origin: Origin::Command,
        now_ms: &|| 1_795_442_712_345,
    };
    save(&order, &Progress::default()).await.expect("a backup")
}

async fn checked(destination: &Destination, saved: &Saved, keys: &[age::x25519::Identity]) -> Verdict {
    let scratch = tempfile::tempdir().expect("a folder");
    let bench = check::Bench { identities: keys.to_vec(), scratch: scratch.path().to_owned() };
    let check::Checked { judgement, found, .. } =
        check::check(destination, &saved.manifest, &bench, &std::sync::Arc::default())
            .await
            .expect("an answer");
    assert_eq!(std::fs::read_dir(scratch.path()).expect("read").count(), 0, "nothing stays");
    Verdict {
        backup: saved.manifest.id.clone(),
        state: judgement.state,
        level: judgement.level,
        why: judgement.why,
        started_ms: 0,
        finished_ms: 0,
        tool_version: String::new(),
        found,
        drill: None,
    }
}

async fn filled(version: Version) -> EtcdCluster {
    let cluster = EtcdCluster::start(3, Options { version, ..Options::default() }).await;
    let mut client = cluster.client().await;
    for n in 0..200 {
        client.put(format!("key {}", n % 70), vec![7; n * 20], None).await.expect("put");
    }
    client.delete("key 3", None).await.expect("deleted");
    let newest = client.get("x", None).await.expect("read").header().expect("a header").revision();
    let physical = etcd_client::CompactionOptions::new().with_physical();
    client.compact(newest - 30, Some(physical)).await.expect("compacted");
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_follower_is_what_the_members_say_everywhere_it_is() {
    let (moto, seaweed, azurite) = (S3Server::moto(), S3Server::seaweed(), Azurite::start());
    let here = tempfile::tempdir().expect("a folder");
    let destinations = [
        folder(here.path(), "folder").await,
        Destination { name: "moto".to_owned(), store: moto.store("backups").await, lock: None },
        Destination { name: "azurite".to_owned(), store: azurite.store("backups").await, lock: None },
        Destination { name: "seaweed".to_owned(), store: seaweed.store("backups").await, lock: None },
    ];
    let key = age::x25519::Identity::generate();
    let mut config = BackupConfig::default();
    for (n, version) in [Version::V3_4, Version::V3_5_16, Version::V3_5_30].into_iter().enumerate() {
        let cluster = filled(version).await;
        config.encryption.recipients = if n == 1 { vec![key.to_public().to_string()] } else { Vec::new() };
        let made = saved(&cluster, &config, &destinations, n as u128).await;
        let manifest = &made.manifest;
        assert_eq!((made.stored.len(), made.failed.len()), (4, 0), "{made:?}");
        assert!(!manifest.source.is_leader, "a follower was there");
        let leader = cluster.leader().await;
        assert_ne!(manifest.source.instance.as_str(), cluster.instance(leader));
        assert_eq!(manifest.hashes.len(), 2, "the source's word and another's");
        assert_eq!(manifest.keys, Some(69));
        for destination in &destinations {
            let verdict = checked(destination, &made, std::slice::from_ref(&key)).await;
            assert_eq!(
                (verdict.state, verdict.level, verdict.why.as_slice()),
                (VerdictState::Verified, Some(Level::L2), &[][..]),
                "{version:?} at {}",
                destination.name
            );
            let found = verdict.found.expect("figures");
            assert_eq!((found.revision, found.keys), (manifest.revision, 69));
        }
        if n == 1 {
            let verdict = checked(&destinations[1], &made, &[]).await;
            assert_eq!((verdict.state, verdict.level), (VerdictState::Unverified, Some(Level::L0)));
            let verdict = checked(&destinations[1], &made, &[age::x25519::Identity::generate()]).await;
            assert_eq!((verdict.state, verdict.level), (VerdictState::Unverified, Some(Level::L0)));
            assert_eq!(verdict.why, ["it is encrypted, and to none of the 1 identities here"]);
        }
    }
    let listing = catalog::list(&destinations, None).await;
    assert_eq!(
        (listing.backups.len(), listing.problems.len(), listing.orphans.len()),
        (12, 0, 0),
        "{listing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_at_one_destination_is_bad_there_and_nowhere_else() {
    let cluster = filled(Version::V3_5_30).await;
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let destinations = [folder(one.path(), "one").await, folder(two.path(), "two").await];
    let made = saved(&cluster, &BackupConfig::default(), &destinations, 1).await;
    let object = one.path().join(&made.manifest.object.key);
    let whole = std::fs::read(&object).expect("an object");
    let breaks: [(&str, Vec<u8>); 4] = [
        ("a bit", {
            let mut bytes = whole.clone();
            bytes[whole.len() / 2] ^= 4;
            bytes
        }),
        ("cut off", whole[..whole.len() - 5].to_vec()),
        ("empty", Vec::new()),
        ("another one", zstd::encode_all(&b"something else"[..], 3).expect("compressed")),
    ];
    for (what, bytes) in breaks {
        std::fs::write(&object, bytes).expect("written");
        let verdict = checked(&destinations[0], &made, &[]).await;
        assert_eq!((verdict.state, verdict.level), (VerdictState::Bad, None), "{what}: {verdict:?}");
        assert!(!verdict.why.is_empty());
    }
    std::fs::remove_file(&object).expect("removed");
    let verdict = checked(&destinations[0], &made, &[]).await;
    assert!(verdict.state == VerdictState::Bad && verdict.why[0].contains("is not there"), "{verdict:?}");
    assert_eq!(checked(&destinations[1], &made, &[]).await.state, VerdictState::Verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_fails_costs_the_others_nothing() {
    let cluster = filled(Version::V3_5_16).await;
    let (good, full) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let bad = folder(full.path(), "bad").await;
    // A file where the folder of the objects would be.
    std::fs::write(full.path().join("backups"), "").expect("written");
    let destinations = [folder(good.path(), "good").await, bad];
    let made = saved(&cluster, &BackupConfig::default(), &destinations, 1).await;
    assert_eq!(made.stored, ["good"]);
    assert_eq!(made.failed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["bad"]);
    assert_eq!(checked(&destinations[0], &made, &[]).await.state, VerdictState::Verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_make_show_and_verify_a_backup_that_other_tools_read() {
    let cluster = filled(Version::V3_5_30).await;
    let here = tempfile::tempdir().expect("a folder");
    let store = here.path().join("store");
    let store = store.to_str().expect("UTF-8");
    let endpoints = cluster.endpoints().join(",");
    let run = |arguments: &[&str]| {
        let mut all = vec!["--store", store];
        all.extend(arguments);
        program::output(&all)
    };
    let made = run(&["backup", "now", "--endpoints", &endpoints]);
    assert_eq!(made.status.code(), Some(0), "{}", program::stderr(&made));
    let listed = run(&["backup", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&program::stdout(&listed)).expect("JSON");
    let manifest = &listed["backups"][0]["manifest"];
    let id = manifest["id"].as_str().expect("an id");
    assert!(listed["backups"][0]["verdict"].is_null());
    let verified = run(&["backup", "verify", &id[..18]]);
    assert_eq!(verified.status.code(), Some(0), "{}", program::stdout(&verified));
    assert!(program::stdout(&verified).contains("verified (L2)"), "{}", program::stdout(&verified));
    let object = Path::new(store).join(manifest["object"]["key"].as_str().expect("a key"));
    // zstd and etcdutl alone give a data folder of it.
    let plain = here.path().join("plain.db");
    let bytes = zstd::decode_all(std::fs::File::open(&object).expect("an object")).expect("decompressed");
    std::fs::write(&plain, bytes).expect("written");
    let restored = std::process::Command::new(Version::V3_5_30.tool())
        .args(["snapshot", "restore"])
        .arg(&plain)
        .arg("--data-dir")
        .arg(here.path().join("restored"))
        .output()
        .expect("it runs");
    assert!(restored.status.success(), "{}", program::stderr(&restored));
    let file = plain.to_str().expect("UTF-8");
    let alone = run(&["backup", "verify", file]);
    assert_eq!(alone.status.code(), Some(3), "{}", program::stdout(&alone));
    let beside = run(&["backup", "verify", file, "--endpoints", &endpoints]);
    assert_eq!(beside.status.code(), Some(0), "{}", program::stdout(&beside));
    let mut bytes = std::fs::read(&plain).expect("read");
    bytes[20_000] ^= 1;
    std::fs::write(&plain, bytes).expect("written");
    let broken = run(&["backup", "verify", file]);
    assert_eq!(broken.status.code(), Some(1), "{}", program::stdout(&broken));
    assert!(program::stdout(&broken).contains("checksum"), "{}", program::stdout(&broken));
    let told = program::stdout(&run(&["events"]));
    assert!(told.contains("backup-done") && told.contains("backup-verified"), "{told}");
}
