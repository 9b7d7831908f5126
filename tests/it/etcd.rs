//! The probe against real etcd: healthy, secured, hurt and lying members.

pub mod cluster;
pub mod tls;

use std::time::{Duration, Instant};

use etcd_monitor::etcd::{AuthConfig, ClusterConfig, Connection, TlsConfig, install_crypto_provider};
use etcd_monitor::model::{ErrorKind, EventKind, Reading, Role, SecretRef, StatusSource};
use etcd_monitor::probe::{self, Parts, Prober, ScrapeConfig};
use secrecy::SecretString;

use self::cluster::{EtcdCluster, Options, Security, Version};

const NOW: i64 = 1_795_000_000_000;

fn config(endpoints: Vec<String>) -> ClusterConfig {
    ClusterConfig::new("test".parse().expect("valid"), endpoints)
}

fn prober(config: ClusterConfig, password: Option<&str>) -> Prober {
    install_crypto_provider();
    let password = password.map(|password| SecretString::from(password.to_owned()));
    let connection = Connection::new(config, password).unwrap_or_else(|problems| panic!("{problems:?}"));
    Prober::new(connection, ScrapeConfig::default()).expect("usable endpoints")
}

fn user(config: ClusterConfig, name: &str) -> ClusterConfig {
    let password = SecretRef::Env("UNUSED".to_owned());
    ClusterConfig { auth: Some(AuthConfig { user: name.to_owned(), password }), ..config }
}

fn kinds(reading: &Reading, n: usize) -> Vec<ErrorKind> {
    reading.members[n].errors.iter().map(|error| error.kind).collect()
}

fn assert_whole(reading: &Reading, version: &str) {
    assert_eq!(reading.voters(), (3, 3), "{reading:?}");
    assert!(reading.has_quorum() && reading.cluster_id.is_some() && reading.member_list_known);
    assert_eq!(reading.members.iter().filter(|m| m.role() == Role::Leader).count(), 1);
    assert!(reading.errors.is_empty(), "{:?}", reading.errors);
    for member in &reading.members {
        assert!(member.errors.is_empty(), "{:?}", member.errors);
        let status = member.status.as_ref().expect("a status");
        assert!(status.version.starts_with(version), "{}", status.version);
        assert!(status.db_size_bytes > 0 && status.raft_term >= 2 && status.revision.is_some());
        assert!(member.linearizable_read.as_ref().is_some_and(|read| read.ok && read.seconds > 0.0));
        assert!(member.serializable_read.as_ref().is_some_and(|read| read.ok));
        let scrape = member.scrape.as_ref().expect("a scrape");
        assert!(scrape.ok && scrape.samples.len() > 500, "{}", scrape.samples.len());
        assert!(member.name.as_deref().is_some_and(|name| name.starts_with('m')));
    }
}

#[tokio::test]
async fn one_endpoint_is_enough_to_read_the_whole_cluster() {
    for version in [Version::V35, Version::V34] {
        let cluster = EtcdCluster::start(Options::plain(version, 3)).await;
        let first = cluster.endpoints().remove(0);
        let reading = prober(config(vec![first]), None).read(NOW, Parts::ALL).await;
        assert_whole(&reading, if version == Version::V34 { "3.4." } else { "3.5." });
        let own = probe::derived(&reading);
        let value = |metric: &str| -> f64 {
            own.iter().filter(|(_, s)| s.labels.metric_name() == metric).map(|(_, s)| s.value).sum()
        };
        assert_eq!((value("up"), value("etcd_monitor_leader"), value("etcd_monitor_has_quorum")), (3.0, 1.0, 1.0));
        assert!(value("etcd_monitor_quota_bytes") > 0.0, "the quota comes from /metrics where Status lacks it");
    }
}

#[tokio::test]
async fn mutual_tls_works_and_every_way_to_get_it_wrong_is_named() {
    let options = Options { security: Security::MutualTls, ..Options::plain(Version::V35, 3) };
    let cluster = EtcdCluster::start(options).await;
    let authority = &cluster.authority;
    let metrics_urls: Vec<String> = cluster.members.iter().map(|m| m.metrics_url.clone()).collect();
    let right = TlsConfig {
        ca: Some(authority.ca.clone()),
        cert: Some(authority.client_cert.clone()),
        key: Some(authority.client_key.clone()),
        ..TlsConfig::default()
    };
    let with = |tls: TlsConfig| ClusterConfig {
        tls: Some(tls),
        metrics_urls: metrics_urls.clone(),
        ..config(cluster.endpoints())
    };
    assert_whole(&prober(with(right.clone()), None).read(NOW, Parts::ALL).await, "3.5.");
    let any = TlsConfig { ca: Some(authority.other_ca.clone()), insecure_skip_verify: true, ..right.clone() };
    assert_whole(&prober(with(any), None).read(NOW, Parts::ALL).await, "3.5.");

    let wrong = [
        (TlsConfig { ca: Some(authority.other_ca.clone()), ..right.clone() }, "unknown issuer"),
        (TlsConfig { cert: None, key: None, ..right.clone() }, "wants a client certificate"),
        (TlsConfig { server_name: Some("other.example".to_owned()), ..right.clone() }, "another name"),
    ];
    for (tls, message) in wrong {
        let reading = prober(with(tls), None).read(NOW, Parts { scrape: false, ..Parts::ALL }).await;
        assert_eq!(kinds(&reading, 0).first(), Some(&ErrorKind::Tls), "{:?}", reading.members[0].errors);
        assert!(reading.members[0].errors[0].message.contains(message), "{:?}", reading.members[0].errors);
    }
    let plain: Vec<String> = cluster.endpoints().iter().map(|url| url.replace("https", "http")).collect();
    let reading = prober(config(plain), None).read(NOW, Parts { scrape: false, ..Parts::ALL }).await;
    assert!(reading.members[0].errors[0].message.contains("TLS"), "{:?}", reading.members[0].errors);
}

#[tokio::test]
async fn an_expired_certificate_is_called_so() {
    let folder = tempfile::tempdir().expect("temp folder");
    let mut cluster = EtcdCluster::start(Options { security: Security::Tls, ..Options::plain(Version::V34, 1) }).await;
    let authority = tls::Authority::new(folder.path());
    std::fs::copy(&authority.expired_cert, &cluster.authority.server_cert).expect("copied");
    std::fs::copy(&authority.expired_key, &cluster.authority.server_key).expect("copied");
    cluster.kill(0);
    cluster.restart(0);
    let tls = TlsConfig { ca: Some(authority.ca), ..TlsConfig::default() };
    let mut prober = prober(ClusterConfig { tls: Some(tls), ..config(cluster.endpoints()) }, None);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let reading = prober.read(NOW, Parts { scrape: true, ..Parts::ALL }).await;
        let messages: Vec<&str> = reading.members[0].errors.iter().map(|e| e.message.as_str()).collect();
        if messages.iter().any(|message| message.contains("has expired")) {
            break;
        }
        assert!(Instant::now() < deadline, "{messages:?}");
    }
}

#[tokio::test]
async fn what_auth_denies_is_a_degraded_view_that_names_the_right() {
    for (version, status_is_denied) in [(Version::V35, false), (Version::V35Auth, true), (Version::V34, false)] {
        let cluster = EtcdCluster::start(Options::plain(version, 3)).await;
        cluster.enable_auth();
        let root = prober(user(config(cluster.endpoints()), "root"), Some("root")).read(NOW, Parts::ALL).await;
        assert_whole(&root, "3.");
        let bob = prober(user(config(cluster.endpoints()), "bob"), Some("bob")).read(NOW, Parts::ALL).await;
        assert_eq!(bob.voters(), (3, 3), "{version:?} {bob:?}");
        assert!(bob.leader().is_some(), "{version:?} {bob:?}");
        for member in &bob.members {
            let status = member.status.as_ref().expect("a status");
            let source = if status_is_denied { StatusSource::Metrics } else { StatusSource::Rpc };
            assert_eq!(status.source, source, "{version:?}");
            assert!(status.raft_term >= 2 && status.db_size_bytes > 0);
            let missing = member.errors.iter().find_map(|e| e.missing_right.as_deref());
            assert_eq!(missing.is_some(), status_is_denied, "{version:?} {:?}", member.errors);
            assert!(member.linearizable_read.as_ref().is_some_and(|read| read.ok), "a denied read proves the quorum");
        }
        let wrong = prober(user(config(cluster.endpoints()), "bob"), Some("wrong")).read(NOW, Parts::ALL).await;
        assert_eq!(kinds(&wrong, 0).first(), Some(&ErrorKind::Auth), "{:?}", wrong.members[0].errors);
        assert!(wrong.members.iter().all(|m| m.scrape.as_ref().is_some_and(|s| s.ok)), "/metrics needs no login");
    }
}

#[tokio::test]
async fn a_dead_and_a_hanging_member_are_errors_inside_the_reading() {
    let mut cluster = EtcdCluster::start(Options::plain(Version::V35, 3)).await;
    let mut prober = prober(config(cluster.endpoints()), None);
    let whole = prober.read(NOW, Parts::ALL).await;
    let leader = whole.leader_member().expect("a leader").name.clone();
    let others: Vec<usize> = (0..3).filter(|n| Some(&cluster.members[*n].name) != leader.as_ref()).collect();
    cluster.kill(others[0]);
    cluster.pause(others[1]);
    let started = Instant::now();
    let hurt = prober.read(NOW + 2000, Parts::ALL).await;
    assert!(started.elapsed() < Duration::from_secs(20), "a hanging member held the reading up");
    cluster.resume(others[1]);
    let member = |reading: &Reading, n: usize| {
        let instance = cluster.members[n].client_url.trim_start_matches("http://").to_owned();
        reading.members.iter().find(|m| m.instance.as_str() == instance).expect("it is listed").clone()
    };
    let (dead, hanging) = (member(&hurt, others[0]), member(&hurt, others[1]));
    assert!(!dead.reachable() && !hanging.reachable());
    assert_eq!(dead.errors[0].kind, ErrorKind::Unreachable, "{:?}", dead.errors);
    assert_eq!(hanging.errors[0].kind, ErrorKind::Timeout, "{:?}", hanging.errors);
    assert_eq!(dead.scrape.as_ref().map(|scrape| scrape.ok), Some(false), "a failed scrape is one");
    let changes = probe::changes(&whole, &hurt);
    let unreachable = changes.iter().filter(|event| event.kind == EventKind::MemberUnreachable).count();
    assert_eq!(unreachable, 2, "{changes:?}");
}

#[tokio::test]
async fn a_killed_leader_is_a_leader_change_with_its_term() {
    let mut cluster = EtcdCluster::start(Options::plain(Version::V35, 3)).await;
    let mut prober = prober(config(cluster.endpoints()), None);
    let before = prober.read(NOW, Parts::ALL).await;
    let old = before.leader_member().expect("a leader").name.clone().expect("a name");
    let n = cluster.members.iter().position(|m| m.name == old).expect("ours");
    cluster.kill(n);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut now_ms = NOW;
    loop {
        now_ms += 2000;
        let next = prober.read(now_ms, Parts { scrape: false, quorum_read: false, ..Parts::ALL }).await;
        let event = probe::changes(&before, &next).into_iter().find(|e| e.kind == EventKind::LeaderChanged);
        if let Some(event) = event {
            assert!(event.text.contains(&old), "{}", event.text);
            assert_eq!(event.details["term"], next.leader().expect("a leader").1);
            break;
        }
        assert!(Instant::now() < deadline, "no new leader: {next:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_full_database_is_an_alarm() {
    let options = Options { quota_bytes: Some(1 << 20), ..Options::plain(Version::V34, 1) };
    let cluster = EtcdCluster::start(options).await;
    let value = "x".repeat(100_000);
    let filled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for n in 0..200 {
            cluster.etcdctl(&["put", &format!("key{n}"), &value]);
        }
    }));
    assert!(filled.is_err(), "the quota holds");
    let reading = prober(config(cluster.endpoints()), None).read(NOW, Parts::ALL).await;
    assert_eq!(reading.alarms.len(), 1, "{reading:?}");
    assert_eq!((reading.alarms[0].kind.as_str(), reading.alarms[0].member_id), ("NOSPACE", reading.members[0].member_id));
}

#[tokio::test]
async fn what_is_no_etcd_and_what_is_another_cluster_is_said() {
    let one = EtcdCluster::start(Options::plain(Version::V34, 3)).await;
    let other = EtcdCluster::start(Options::plain(Version::V34, 1)).await;
    let router = axum::Router::new().fallback(|| async { "<html>hello</html>" });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let web = format!("http://{}", listener.local_addr().expect("bound"));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let endpoints = [one.endpoints(), other.endpoints(), vec![web.clone()]].concat();
    let reading = prober(config(endpoints), None).read(NOW, Parts::ALL).await;
    server.abort();
    let find = |url: &str| reading.members.iter().find(|m| url.ends_with(m.instance.as_str())).expect("it is there");
    let stranger = find(&other.endpoints()[0]);
    assert_eq!(stranger.errors[0].kind, ErrorKind::WrongCluster, "{:?}", stranger.errors);
    assert!(stranger.status.is_none(), "it has no say");
    let web = find(&web);
    assert!(!web.reachable(), "{web:?}");
    assert!(web.errors.iter().any(|e| e.kind == ErrorKind::Malformed && e.during == "metrics"), "{:?}", web.errors);
    assert_eq!(reading.members.iter().filter(|m| m.role() == Role::Leader).count(), 1);
}
