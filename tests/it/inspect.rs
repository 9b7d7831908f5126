//! Members that disagree, on real etcd: found, named, and nobody else accused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{Client, PutOptions};
use etcd_monitor::etcd::Login;
use etcd_monitor::etcd::TlsConfig;
use etcd_monitor::inspect::{HashVerdict, Inspection, Inspector, Use, changes};
use etcd_monitor::model::EventKind;

use crate::etcd_auth::with_auth;
use crate::etcd_cluster::{EtcdCluster, Options, Tls, Version};
use crate::program::{self, stderr, stdout};

async fn inspect(cluster: &EtcdCluster, login: Option<&Login>, backup: Option<&Login>) -> Inspection {
    let inspector = Inspector::find(&cluster.config(), login, backup).await.expect("found");
    inspector.inspect(1_000, true, None).await
}

/// Changes a value in the database file of a member that is down. etcd has no checksum over it.
pub fn change(file: &std::path::Path, value: &[u8]) -> bool {
    let mut bytes = std::fs::read(file).expect("a database");
    let at: Vec<usize> =
        (0..bytes.len() - value.len()).filter(|at| bytes[*at..].starts_with(value)).collect();
    for at in &at {
        bytes[*at] = b'X';
    }
    std::fs::write(file, bytes).expect("written");
    !at.is_empty()
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done().await {
        assert!(Instant::now() < deadline, "not seen: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_other_data_is_named_with_the_revision_it_began_at() {
    for version in [Version::V3_4, Version::V3_5_30] {
        let mut cluster = EtcdCluster::start(3, Options { version, ..Options::default() }).await;
        let mut client = cluster.client().await;
        let value = "the value that will be another";
        let mut planted = 0;
        for n in 0..60 {
            let value = if n == 37 { value.to_owned() } else { format!("value {n}") };
            let put = client.put(format!("key {n}"), value, None).await.expect("put");
            if n == 37 {
                planted = put.header().expect("a header").revision();
            }
        }
        let healthy = inspect(&cluster, None, None).await;
        let hash = healthy.hash.as_ref().expect("asked for");
        assert_eq!((hash.verdict, hash.members.len()), (HashVerdict::Agree, 3), "{healthy:#?}");
        assert_eq!((healthy.lists.different(), healthy.lists.left_out.len()), (1, 0), "{healthy:#?}");

        let file = cluster.folder().join("m2/member/snap/db");
        until("the value in the file", async || {
            std::fs::read(&file).is_ok_and(|bytes| bytes.windows(value.len()).any(|w| w == value.as_bytes()))
        })
        .await;
        cluster.kill(2);
        assert!(change(&file, value.as_bytes()));
        cluster.restart(2);
        until("m2 answers", async || {
            let found = inspect(&cluster, None, None).await;
            found.hash.is_some_and(|hash| hash.members.len() == 3)
        })
        .await;

        let found = inspect(&cluster, None, None).await;
        let hash = found.hash.as_ref().expect("asked for");
        assert_eq!(hash.verdict, HashVerdict::Differ, "{found:#?}");
        assert_eq!(hash.minority.iter().map(|m| m.as_str()).collect::<Vec<_>>(), [cluster.instance(2)]);
        let divergence = hash.divergence.expect("searched for");
        assert_eq!((divergence.revision, divergence.is_first), (planted, true), "{version:?}");
        said_by_the_program(&cluster, planted);
    }
}

/// What a person, and then a rule, hears of it.
fn said_by_the_program(cluster: &EtcdCluster, planted: i64) {
    let endpoints = cluster.endpoints().join(",");
    let output = program::output(&["inspect", "--hash", "--endpoints", &endpoints]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}{}", stderr(&output));
    assert!(text.contains("DIFFER at revision"), "{text}");
    assert!(text.contains(&format!("{} against the others", cluster.instance(2))), "{text}");
    assert!(text.contains(&format!("the first revision that differs is {planted}")), "{text}");

    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("data");
    let store = store.to_str().expect("UTF-8");
    let run = |job: &str| {
        let output = program::output(&["run", job, "--endpoints", &endpoints, "--store", store]);
        (output.status.code(), format!("{}{}", stdout(&output), stderr(&output)))
    };
    let (code, said) = run("inspect");
    assert_eq!((code, said.contains("1 with something wrong")), (Some(0), true), "{said}");
    let output = program::output(&["query", "--store", store, "--json", "etcd_monitor_hash_mismatch"]);
    let text = stdout(&output);
    assert!(text.contains("\"1\""), "{text}{}", stderr(&output));
    let (code, said) = run("evaluate");
    assert_eq!(code, Some(0), "{said}");
    let output = program::output(&["alerts", "--store", store]);
    assert!(stdout(&output).contains("EtcdHashMismatch"), "{}", stdout(&output));
    run("collect");
    let output = program::output(&["status", "--store", store]);
    let status = stdout(&output);
    assert!(status.contains("3 member(s) have the same list of 3"), "{status}{}", stderr(&output));
    assert!(status.contains(&format!("the first revision that differs is {planted}")), "{status}");
    assert!(!status.contains("warning: etcd"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_nothing_is_known_and_the_right_is_named() {
    let cluster = with_auth(3, Version::V3_5_30).await;
    let login = |user: &str, password: &str| Login { user: user.to_owned(), password: password.into() };
    let (bob, root) = (login("bob", "bob-secret"), login("root", "root-secret"));
    let found = inspect(&cluster, Some(&bob), None).await;
    let hash = found.hash.as_ref().expect("asked for");
    assert_eq!(hash.verdict, HashVerdict::Unknown, "{found:#?}");
    assert_eq!(hash.missing_right.as_deref(), Some("Maintenance.HashKV: role root"), "{found:#?}");
    assert!(found.series().iter().all(|(labels, _)| labels.metric_name() == "etcd_monitor_member_lists"));
    // With the backup credential, and everything else as bob.
    let found = inspect(&cluster, Some(&bob), Some(&root)).await;
    assert_eq!(found.hash.expect("asked for").verdict, HashVerdict::Agree);
}

/// Puts on many connections, and compacts now and then, until told to stop.
fn load(client: &Client, stop: &Arc<AtomicBool>, puts: &Arc<AtomicI64>) -> tokio::task::JoinSet<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (mut client, stop, puts) = (client.clone(), Arc::clone(stop), Arc::clone(puts));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let Ok(put) = client.put(format!("load {n}"), "v", None::<PutOptions>).await else {
                    continue;
                };
                let count = puts.fetch_add(1, Ordering::Relaxed);
                if count % 1_000 == 999 {
                    let revision = put.header().expect("a header").revision() - 20;
                    client.delete(format!("load {n}"), None).await.expect("deleted");
                    // Another task may have compacted further.
                    let _ = client.compact(revision, None).await;
                }
            }
        });
    }
    tasks
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_accused_while_writes_and_compactions_go_on() {
    let checks: usize =
        std::env::var("ETCD_MONITOR_SOAK_INSPECTIONS").map_or(2, |n| n.parse().expect("a number"));
    for version in [Version::V3_4, Version::V3_5_16] {
        let cluster = EtcdCluster::start(3, Options { version, ..Options::default() }).await;
        let (stop, puts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let mut tasks = load(&cluster.client().await, &stop, &puts);
        let (mut compared, mut made) = (0, 0);
        let deadline = Instant::now() + Duration::from_secs(120);
        while made < checks || puts.load(Ordering::Relaxed) < 3_000 {
            assert!(Instant::now() < deadline, "{} puts in 120 s", puts.load(Ordering::Relaxed));
            made += 1;
            let found = inspect(&cluster, None, None).await;
            let hash = found.hash.as_ref().expect("asked for");
            assert_ne!(hash.verdict, HashVerdict::Differ, "{found:#?}");
            assert_eq!(found.lists.different(), 1, "{found:#?}");
            compared += usize::from(hash.verdict == HashVerdict::Agree);
        }
        stop.store(true, Ordering::Relaxed);
        while tasks.join_next().await.is_some() {}
        let puts = puts.load(Ordering::Relaxed);
        println!("{version:?}: {compared} of {made} comparisons gave a verdict during {puts} puts");
        assert!(compared > 0, "{compared} of {made}, {puts} puts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_hangs_is_left_out_and_a_single_one_is_no_news() {
    let cluster = EtcdCluster::start(3, Options::default()).await;
    let config = cluster.config();
    cluster.pause(1);
    let inspector = Inspector::find(&config, None, None).await.expect("found");
    let found = inspector.inspect(1_000, true, None).await;
    cluster.resume(1);
    let hash = found.hash.as_ref().expect("asked for");
    assert_eq!((hash.verdict, hash.members.len()), (HashVerdict::Agree, 2), "{found:#?}");
    assert_eq!(hash.left_out[0].0.as_str(), cluster.instance(1));
    assert_eq!((found.lists.different(), found.lists.left_out.len()), (1, 1), "{found:#?}");
    assert_eq!(found.problems().len(), 2, "{:?}", found.problems());

    let single = EtcdCluster::start(1, Options::default()).await;
    let endpoint = single.endpoint(0);
    let output = program::output(&["inspect", "--hash", "--endpoints", &endpoint]);
    let text = stdout(&output);
    assert!(text.contains("a single member has nothing to be compared with"), "{text}{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let unknown = program::output(&["inspect", "nobody", "--endpoints", &endpoint]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("there is no cluster \"nobody\""), "{}", stderr(&unknown));
}

/// How often each use was seen, with the days left of the first to expire.
fn certificates(found: &Inspection) -> Vec<(Use, usize, f64)> {
    let expiry = |used_as: Use| {
        let series = found.series();
        let of_use = series.iter().filter(|(labels, _)| {
            labels.metric_name() == "etcd_monitor_cert_expiry_seconds"
                && labels.get("certificate") == Some(used_as.as_str())
        });
        let days: Vec<f64> = of_use.map(|(_, seconds)| seconds / 86_400.0).collect();
        (used_as, days.len(), days.into_iter().fold(f64::INFINITY, f64::min))
    };
    [Use::Server, Use::Peer, Use::Metrics, Use::Client].into_iter().map(expiry).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_all_ports_are_seen_expired_ones_too() {
    let now_ms = 1_700_000_000_000;
    for version in [Version::V3_4, Version::V3_5_30] {
        let options = Options { tls: Tls::Mutual, version, ..Options::default() };
        let cluster = EtcdCluster::start(2, options).await;
        let inspector = Inspector::find(&cluster.config(), None, None).await.expect("found");
        let found = inspector.inspect(now_ms, false, None).await;
        assert_eq!(found.problems(), [""; 0], "{found:#?}");
        let counts: Vec<usize> = certificates(&found).into_iter().map(|(_, count, _)| count).collect();
        // Metrics are served in plain HTTP.
        assert_eq!(counts, [2, 2, 0, 1], "{found:#?}");
        let peer = found.certificates.seen.iter().find(|seen| seen.used_as == Use::Peer).expect("seen");
        assert_eq!(peer.names, ["127.0.0.1", "localhost"]);
        assert!(peer.issuer.contains("it CA") && peer.subject.contains("server"), "{peer:?}");

        // Without a certificate of ours the peer port refuses us, after it showed its own.
        let tls = TlsConfig { ca: Some(cluster.pki.ca.clone()), ..TlsConfig::default() };
        let stranger = etcd_monitor::etcd::ClusterConfig { tls: Some(tls), ..cluster.config() };
        let inspector = Inspector::find(&stranger, None, None).await.expect("found");
        let found = inspector.inspect(now_ms, false, None).await;
        let counts: Vec<usize> = certificates(&found).into_iter().map(|(_, count, _)| count).collect();
        assert_eq!(counts, [2, 0, 0, 0], "without the member list no peer is known: {found:#?}");
    }

    // Nobody can talk to it any more, so it must be said all the more.
    let mut cluster = EtcdCluster::start(1, Options { tls: Tls::Expired, ..Options::default() }).await;
    let inspector = Inspector::find(&cluster.config(), None, None).await.expect("found");
    let before = inspector.inspect(now_ms, false, None).await;
    let (_, count, days) = certificates(&before)[0];
    assert!(count == 1 && days < -1_000.0, "{count} {days}");
    assert_eq!(before.lists.different(), 0, "{before:#?}");

    // Rotated: etcd reads the files at every handshake.
    std::fs::copy(&cluster.pki.server_cert, &cluster.pki.expired_cert).expect("copied");
    std::fs::copy(&cluster.pki.server_key, &cluster.pki.expired_key).expect("copied");
    cluster.kill(0);
    cluster.restart(0);
    let mut after = before.clone();
    until("the new certificate", async || {
        after = inspector.inspect(now_ms, false, None).await;
        let (_, count, days) = certificates(&after)[0];
        count == 1 && days > 0.0
    })
    .await;
    let events = changes(&before, &after);
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0].kind, EventKind::ConfigChanged);
    assert!(events[0].details["server serial"]["after"].is_string(), "{events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_two_clusters_disagree_about_who_is_a_member() {
    let (one, other) =
        (EtcdCluster::start(1, Options::default()).await, EtcdCluster::start(1, Options::default()).await);
    let mut config = one.config();
    config.endpoints.extend(other.endpoints());
    let inspector = Inspector::find(&config, None, None).await.expect("found");
    let found = inspector.inspect(1_000, true, None).await;
    assert_eq!(found.lists.different(), 2, "{found:#?}");
    assert!(found.found_something());
    // It is no member, so its data are no evidence of anything.
    assert_eq!(found.hash.expect("asked for").verdict, HashVerdict::Unknown);
    let endpoints = config.endpoints.join(",");
    let output = program::output(&["inspect", "--endpoints", &endpoints]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains("member lists  DIFFER: there are 2 lists"), "{}", stdout(&output));
}
