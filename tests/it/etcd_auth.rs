//! Users with and without rights, on the versions that differ.

use etcd_client::{Permission, PermissionType};
use etcd_monitor::etcd::Login;
use etcd_monitor::model::{ErrorKind, Reading, StatusSource};
use etcd_monitor::probe::{Parts, Prober, ScrapeConfig};

use crate::etcd_cluster::{EtcdCluster, Options, Version, read_until};

/// Users root and bob (may read `app/`), then auth on.
pub async fn with_auth(n: usize, version: Version) -> EtcdCluster {
    let cluster = EtcdCluster::start(n, Options { version, ..Options::default() }).await;
    let mut client = cluster.client().await;
    client.role_add("root").await.expect("role");
    client.user_add("root", "root-secret", None).await.expect("user");
    client.user_grant_role("root", "root").await.expect("grant");
    client.role_add("app").await.expect("role");
    let permission = Permission::new(PermissionType::Read, "app/").with_prefix();
    client.role_grant_permission("app", permission).await.expect("permission");
    client.user_add("bob", "bob-secret", None).await.expect("user");
    client.user_grant_role("bob", "app").await.expect("grant");
    client.auth_enable().await.expect("auth on");
    cluster
}

fn prober(cluster: &EtcdCluster, login: Option<(&str, &str)>) -> Prober {
    let login = login.map(|(user, password)| Login { user: user.to_owned(), password: password.into() });
    Prober::new(&cluster.config(), login.as_ref(), &ScrapeConfig::default()).expect("prober")
}

async fn read(cluster: &EtcdCluster, login: Option<(&str, &str)>) -> Reading {
    prober(cluster, login).read(1_000, Parts::ALL).await
}

const ROOT: Option<(&str, &str)> = Some(("root", "root-secret"));
const BOB: Option<(&str, &str)> = Some(("bob", "bob-secret"));

fn source(reading: &Reading) -> Vec<Option<StatusSource>> {
    reading.members.iter().map(|m| m.status.as_ref().map(|s| s.source)).collect()
}

async fn a_wrong_password_is_told(cluster: &EtcdCluster) {
    let reading = read(cluster, Some(("root", "wrong"))).await;
    let error = reading.members[0].errors.iter().find(|e| e.during == "status").expect("an error");
    assert_eq!(error.kind, ErrorKind::Auth);
    assert!(error.message.contains("wrong user name or password"), "{error:?}");
    assert!(!format!("{reading:?}").contains("root-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_open_to_anyone_on_3_4_and_3_5_16() {
    for version in [Version::V3_4, Version::V3_5_16] {
        let cluster = with_auth(1, version).await;
        for login in [ROOT, BOB, None] {
            let reading = read(&cluster, login).await;
            assert_eq!(source(&reading), [Some(StatusSource::Rpc)], "{login:?}: {reading:#?}");
            // A refusal for missing rights proves the quorum; without a login etcd refuses before it asks.
            let read_ok = reading.members[0].linearizable_read.as_ref().is_some_and(|r| r.ok);
            assert_eq!(read_ok, login.is_some(), "{login:?}: {reading:#?}");
        }
        a_wrong_password_is_told(&cluster).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_3_5_30_a_user_without_root_has_the_degraded_view() {
    let mut cluster = with_auth(3, Version::V3_5_30).await;
    let root = read(&cluster, ROOT).await;
    assert_eq!(source(&root), [Some(StatusSource::Rpc); 3], "{root:#?}");

    let prober = prober(&cluster, BOB);
    let bob = prober.read(1_000, Parts::ALL).await;
    assert_eq!(source(&bob), [Some(StatusSource::Metrics); 3], "{bob:#?}");
    assert_eq!(bob.leader(), root.leader(), "leader and term agree with what root sees");
    assert!(bob.has_quorum());
    for (seen, true_one) in bob.members.iter().zip(&root.members) {
        assert_eq!((seen.member_id, &seen.name), (true_one.member_id, &true_one.name));
        let (seen_status, true_status) =
            (seen.status.as_ref().expect("some"), true_one.status.as_ref().expect("some"));
        assert_eq!(seen_status.version, true_status.version);
        assert_eq!(seen_status.db_size_bytes, true_status.db_size_bytes);
        assert!(seen.health.get("health").is_some_and(|said| said.healthy), "{seen:#?}");
        assert!(seen.linearizable_read.as_ref().is_some_and(|r| r.ok), "a refusal proves the quorum");
        let denied = seen.errors.iter().find(|e| e.kind == ErrorKind::Denied).expect("says what is missing");
        assert!(denied.missing_right.as_ref().is_some_and(|right| right.contains("Status")), "{denied:?}");
    }

    // The poll without a scrape sees an election all the same.
    let leader = cluster.leader_as(&root);
    cluster.kill(leader);
    let (_, term) = bob.leader().expect("a leader");
    let parts = Parts { status: true, ..Parts::default() };
    read_until(&prober, parts, "the new term and leader", |r| r.leader().is_some_and(|(_, t)| t > term))
        .await;
    a_wrong_password_is_told_by_survivors(&cluster, leader).await;
}

async fn a_wrong_password_is_told_by_survivors(cluster: &EtcdCluster, dead: usize) {
    let reading = read(cluster, Some(("root", "wrong"))).await;
    let alive = reading.members.iter().filter(|m| m.instance.as_str() != cluster.instance(dead));
    for member in alive {
        assert!(member.errors.iter().any(|e| e.kind == ErrorKind::Auth), "{member:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_3_5_30_without_a_login_health_and_metrics_remain() {
    let cluster = with_auth(1, Version::V3_5_30).await;
    let reading = read(&cluster, None).await;
    let member = &reading.members[0];
    assert!(member.health.get("health").is_some_and(|said| said.healthy), "{reading:#?}");
    let status = member.status.as_ref().expect("from metrics");
    assert_eq!((status.source, status.version.as_str()), (StatusSource::Metrics, "3.5.30"));
    assert_eq!(status.leader, member.member_id);
    let error = member.errors.iter().find(|e| e.during == "status").expect("an error");
    assert!(error.kind == ErrorKind::Auth && error.message.contains("login"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_survives_changed_users_and_a_restart() {
    let mut cluster = with_auth(1, Version::V3_5_16).await;
    let prober = prober(&cluster, ROOT);
    let parts = Parts { status: true, quorum_read: true, ..Parts::default() };
    assert_eq!(prober.read(0, parts).await.members[0].errors, []);

    let options = etcd_client::ConnectOptions::new().with_user("root", "root-secret");
    let mut root = etcd_client::Client::connect(cluster.endpoints(), Some(options)).await.expect("root");
    root.user_add("carol", "x", None).await.expect("another user");
    assert_eq!(prober.read(1_000, parts).await.members[0].errors, [], "the auth store moved on");

    // Simple tokens live in memory: after a restart the old one is unknown.
    cluster.kill(0);
    cluster.restart(0);
    let ok = |r: &Reading| {
        r.members[0].errors.is_empty() && r.members[0].linearizable_read.as_ref().is_some_and(|r| r.ok)
    };
    read_until(&prober, parts, "a new token", ok).await;
}
