//! Destinations that are full, slow, or always busy: they cost the others nothing, and keep nothing that looks like a backup.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use etcd_monitor::backup::save::{Order, Progress, Saved, save};
use etcd_monitor::backup::{BackupConfig, BackupId, Destination, Origin, VerdictState, catalog, check};
use etcd_monitor::store::{S3Config, Store, StoreConfig};

use crate::cut_proxy::CutProxy;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program;
use crate::s3::{CREDENTIALS, S3Server};

async fn destination(name: &str, url: &str, port: Option<u16>) -> Destination {
    let s3 = S3Config {
        endpoint: port.map(|port| format!("http://127.0.0.1:{port}")),
        region: Some("us-east-1".to_owned()),
        allow_http: true,
        ..S3Config::default()
    };
    let config = StoreConfig { url: url.to_owned(), s3, ..StoreConfig::default() };
    let env = |name: &str| {
        CREDENTIALS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let store = Store::open(&config, &env).await.expect("opens");
    Destination { name: name.to_owned(), store, lock: None }
}

async fn saved(cluster: &EtcdCluster, to: &[Destination]) -> Saved {
    let now_ms = || chrono::Utc::now().timestamp_millis();
    let of = cluster.config();
    let order = Order {
        cluster: &of,
        login: None,
        config: &BackupConfig::default(),
        destinations: to,
        id: BackupId::new(now_ms(), ulid::Ulid::generate().0),
        origin: Origin::Command,
        now_ms: &now_ms,
    };
    save(&order, &Progress::default()).await.expect("a backup")
}

async fn state_at(there: &Destination, saved: &Saved, scratch: &Path) -> VerdictState {
    let bench = check::Bench { identities: Vec::new(), scratch: scratch.to_owned() };
    let checked = check::check(there, &saved.manifest, &bench, &Arc::default()).await.expect("an answer");
    checked.judgement.state
}

/// A member whose database does not compress.
async fn filled() -> EtcdCluster {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let mut client = cluster.client().await;
    let mut noise = 1_u64;
    for n in 0..6 {
        let value: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise.to_be_bytes()[0]
        })
        .take(400_000)
        .collect();
        client.put(format!("noise {n}"), value, None).await.expect("put");
    }
    cluster
}

/// A file system of 1 MiB in memory, gone with its handle. Needs root.
struct SmallDisk<'a>(&'a Path);

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_full_costs_the_others_nothing() {
    let cluster = filled().await;
    let (good, small) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(small.path()).status();
    assert!(mounted.expect("mount runs").success(), "this test mounts a tmpfs and so needs root");
    let disk = SmallDisk(small.path());
    let there = [
        destination("good", &good.path().display().to_string(), None).await,
        destination("small", &small.path().display().to_string(), None).await,
    ];
    let made = saved(&cluster, &there).await;
    assert_eq!(made.stored, ["good"]);
    let why = etcd_monitor::model::chain(&made.failed[0].1);
    assert!(why.contains("no space left"), "{why}");
    assert_eq!(state_at(&there[0], &made, good.path()).await, VerdictState::Verified);
    let listing = catalog::list(&there, None).await;
    assert_eq!((listing.backups.len(), listing.orphans.len()), (1, 0), "{listing:?}");
    assert_eq!(
        program::files_under(small.path()),
        [] as [std::path::PathBuf; 0],
        "what it had was taken back"
    );
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_slow_gets_it_all_the_same() {
    let cluster = filled().await;
    let (here, moto) = (tempfile::tempdir().expect("a folder"), S3Server::moto());
    let slow = CutProxy::slow(moto.port(), Duration::from_millis(700));
    let there = [
        destination("folder", &here.path().display().to_string(), None).await,
        destination("slow", "s3://bucket/slow", Some(slow.port())).await,
    ];
    let made = saved(&cluster, &there).await;
    assert_eq!((made.stored.len(), made.failed.len()), (2, 0), "{made:?}");
    for there in &there {
        assert_eq!(state_at(there, &made, here.path()).await, VerdictState::Verified);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_always_busy_is_left_behind() {
    let cluster = filled().await;
    let here = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut request = vec![0; 64 << 10];
            let _ = client.read(&mut request);
            let _ =
                client.write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let there = [
        destination("busy", "s3://bucket/busy", Some(port)).await,
        destination("folder", &here.path().display().to_string(), None).await,
    ];
    let made = saved(&cluster, &there).await;
    assert_eq!(made.stored, ["folder"]);
    assert!(etcd_monitor::model::chain(&made.failed[0].1).contains("503"), "{:?}", made.failed);
    assert_eq!(state_at(&there[1], &made, here.path()).await, VerdictState::Verified);
}
