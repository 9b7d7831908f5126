//! Members that are dead, hang, are slow, lie, or belong elsewhere.

use std::time::{Duration, Instant};

use etcd_monitor::etcd::ClusterConfig;
use etcd_monitor::model::unit::ConfigDuration;
use etcd_monitor::model::{ErrorKind, EventKind, MemberReading, Reading};
use etcd_monitor::probe::{Parts, Prober, ScrapeConfig, changes, derived};

use crate::etcd_cluster::{EtcdCluster, Options, read_until};
use crate::proxy::{Canned, Proxy};

const STATUS: Parts = Parts {
    status: true,
    quorum_read: false,
    scrape: false,
    member_list: false,
    alarms: false,
    health: false,
    patience: None,
};

fn prober(config: &ClusterConfig) -> Prober {
    Prober::new(config, None, &ScrapeConfig::default()).expect("prober")
}

fn all_errors(reading: &Reading) -> Vec<(ErrorKind, &str)> {
    let errors = reading.members.iter().flat_map(|m| &m.errors).chain(&reading.errors);
    errors.map(|e| (e.kind, e.message.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_unreachable_replaced_and_comes_back() {
    let mut cluster = EtcdCluster::start(3, Options::default()).await;
    let prober = prober(&cluster.config());
    let before = prober.read(1_000, Parts::ALL).await;
    let leader = cluster.leader().await;
    cluster.kill(leader);
    let (_, old_term) = before.leader().expect("a leader");
    let after =
        read_until(&prober, STATUS, "a new leader", |r| r.leader().is_some_and(|(_, term)| term > old_term))
            .await;
    assert!(after.has_quorum());
    assert_eq!(after.voters(), (2, 3));
    let kinds: Vec<EventKind> = changes(&before, &after).iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [EventKind::LeaderChanged, EventKind::MemberUnreachable]);
    let dead = after.members.iter().find(|m| !m.reachable()).expect("one is dead");
    assert_eq!(dead.instance.as_str(), cluster.instance(leader));
    assert_eq!(dead.errors[0].kind, ErrorKind::Unreachable, "{:?}", dead.errors);

    let scraped = prober.read(50_000, Parts { scrape: true, ..STATUS }).await;
    let up: Vec<f64> = derived::derived(&scraped)
        .iter()
        .filter(|(at, (labels, _))| labels.metric_name() == "up" && at.as_ref() == Some(&dead.instance))
        .map(|(_, (_, value))| *value)
        .collect();
    assert_eq!(up, [0.0], "a failed scrape says so");

    cluster.restart(leader);
    let back = read_until(&prober, STATUS, "the member is back", |r| r.voters() == (3, 3)).await;
    assert!(changes(&after, &back).iter().any(|e| e.kind == EventKind::MemberReachable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_member_delays_nobody_and_times_out() {
    let cluster = EtcdCluster::start(3, Options::default()).await;
    let prober = prober(&cluster.config());
    prober.read(0, STATUS).await;
    let paused = (cluster.leader().await + 1) % 3;
    cluster.pause(paused);
    let start = Instant::now();
    let reading = prober.read(1_000, Parts { scrape: false, alarms: false, ..Parts::ALL }).await;
    let took = start.elapsed();
    cluster.resume(paused);
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert_eq!(reading.voters(), (2, 3), "{reading:#?}");
    for member in &reading.members {
        if member.instance.as_str() == cluster.instance(paused) {
            assert_eq!(member.errors[0].kind, ErrorKind::Timeout, "{:?}", member.errors);
        } else {
            assert!(member.duration_ms < 2_000, "{} took {} ms", member.instance, member.duration_ms);
        }
    }
    read_until(&prober, STATUS, "the member answers again", |r| r.voters() == (3, 3)).await;
}

/// With deadlines that no reading of this test comes near to.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_member_is_not_waited_for_and_what_it_says_late_is_heard() {
    let cluster = EtcdCluster::start(3, Options::default()).await;
    let mut config = cluster.config();
    let long = ConfigDuration(Duration::from_secs(60));
    config.timeouts.call = long;
    let scrape = ScrapeConfig { timeout: long, ..ScrapeConfig::default() };
    let prober = Prober::new(&config, None, &scrape).expect("prober");
    let hurried = Parts { patience: Some(Duration::from_millis(500)), ..Parts::ALL };
    let first = read_until(&prober, hurried, "all of them", |r| {
        r.members.iter().all(|m| m.scrape.as_ref().is_some_and(|scrape| scrape.ok))
    })
    .await;
    let leader = cluster.leader().await;
    cluster.pause(leader);
    let paused = cluster.instance(leader);
    let of = |reading: &Reading| {
        reading.members.iter().find(|m| m.instance.as_str() == paused).expect("a member").clone()
    };
    let began = Instant::now();
    let reading = prober.read(10_000, hurried).await;
    assert!(reading.duration_ms < 20_000, "{} ms", reading.duration_ms);
    let (member, before) = (of(&reading), of(&first));
    let term = |m: &MemberReading| m.status.as_ref().map(|status| status.raft_term);
    assert_eq!((term(&member), member.scrape), (term(&before), None), "as it was last: {reading:#?}");
    let read = member.linearizable_read.expect("asked for");
    assert!(!read.ok);
    // The others go on, and what they decide is seen.
    let (_, old_term) = first.leader().expect("a leader");
    let next = |r: &Reading| r.leader().is_some_and(|(_, term)| term > old_term);
    read_until(&prober, Parts { scrape: false, ..hurried }, "a new leader", next).await;
    assert!(began.elapsed() < Duration::from_secs(55), "waited for the one that hangs");
    cluster.resume(leader);
    let said = |r: &Reading| of(r).scrape.is_some_and(|scrape| scrape.ok && scrape.ts_ms == 10_000);
    read_until(&prober, Parts { scrape: false, ..hurried }, "the scrape that was asked for", said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_and_then_cut_path_is_seen_at_its_member_only() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let proxy = Proxy::to(cluster.instance(0)).await;
    let mut config = cluster.config();
    config.endpoints = vec![proxy.endpoint()];
    let prober = prober(&config);
    let quick = prober.read(0, Parts::ALL).await;
    assert_eq!(quick.members.len(), 1, "the proxy is the member's endpoint: {quick:#?}");
    assert_eq!(quick.members[0].instance.as_str(), proxy.endpoint().trim_start_matches("http://"));
    proxy.delay(Duration::from_millis(300));
    let slow = prober.read(1_000, STATUS).await;
    assert!(slow.members[0].duration_ms >= 300 && slow.members[0].reachable());
    proxy.delay(Duration::ZERO);
    proxy.cut(true);
    let cut = prober.read(2_000, STATUS).await;
    assert!(!cut.members[0].reachable());
    proxy.cut(false);
    read_until(&prober, STATUS, "the path works again", |r| r.voters() == (1, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_etcd_is_told_apart() {
    let web = Canned::new(b"<html>hello</html>".to_vec()).await;
    let config = ClusterConfig::plain("it".parse().expect("name"), vec![web.endpoint()]);
    let reading = prober(&config).read(0, Parts::ALL).await;
    assert!(!reading.has_quorum() && reading.members.len() == 1);
    let errors = all_errors(&reading);
    assert!(
        errors.iter().any(|(kind, text)| *kind == ErrorKind::Malformed && text.contains("metrics")),
        "{errors:?}"
    );
    assert!(
        // Whether the client still reads the answer or meets the closed connection first is a race.
        errors.iter().any(|(kind, text)| {
            matches!(kind, ErrorKind::Malformed | ErrorKind::Unreachable)
                && text.starts_with("status")
                && text.contains("etcd client port")
        }),
        "{errors:?}"
    );
    assert!(reading.members[0].scrape.as_ref().is_some_and(|s| !s.ok && s.samples.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_beyond_the_caps_are_cut_or_refused() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let series: String = (0..500).map(|n| format!("x{{n=\"{n}\"}} {n}\n")).collect();
    let metrics = Canned::new(series.into_bytes()).await;
    let mut config = cluster.config();
    config.metrics_urls = vec![format!("{}/metrics", metrics.endpoint())];
    let scrape = ScrapeConfig { max_series_per_member: 100, ..ScrapeConfig::default() };
    let capped = Prober::new(&config, None, &scrape).expect("prober").read(0, Parts::ALL).await;
    let got = capped.members[0].scrape.as_ref().expect("scrape");
    assert_eq!((got.ok, got.samples.len(), got.dropped_series), (true, 100, 400));
    let scrape = ScrapeConfig { max_body: "1KiB".parse().expect("size"), ..ScrapeConfig::default() };
    let refused = Prober::new(&config, None, &scrape).expect("prober").read(0, Parts::ALL).await;
    assert!(refused.members[0].reachable());
    assert!(all_errors(&refused).iter().any(|(kind, _)| *kind == ErrorKind::TooLarge));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_cluster_is_not_counted() {
    let ours = EtcdCluster::start(1, Options::default()).await;
    let other = EtcdCluster::start(1, Options::default()).await;
    let mut config = ours.config();
    config.endpoints.extend(other.endpoints());
    let reading = prober(&config).read(0, Parts::ALL).await;
    // Equal tokens and names on other ports: the ids differ all the same, as peer URLs are hashed in.
    assert_eq!(reading.members.len(), 1, "{reading:#?}");
    assert_eq!(reading.members[0].instance.as_str(), ours.instance(0));
    assert!(
        all_errors(&reading)
            .iter()
            .any(|(kind, text)| { *kind == ErrorKind::WrongCluster && text.contains(&other.instance(0)) })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_raises_the_alarm_and_disarming_clears_it() {
    let options = Options { quota_bytes: Some(2 << 20), ..Options::default() };
    let cluster = EtcdCluster::start(1, options).await;
    let prober = prober(&cluster.config());
    let before = prober.read(0, Parts::ALL).await;
    let mut client = cluster.client().await;
    let value = vec![b'x'; 256 << 10];
    for n in 0..64 {
        if client.put(format!("fill/{n}"), value.clone(), None).await.is_err() {
            break;
        }
    }
    let full =
        read_until(&prober, STATUS, "NOSPACE", |r| r.alarms.iter().any(|a| a.member_id.is_some())).await;
    assert_eq!(full.alarms[0].kind, "NOSPACE");
    assert_eq!(full.alarms[0].member_id, full.members[0].member_id);
    assert_eq!(changes(&before, &full).iter().map(|e| e.kind).collect::<Vec<_>>(), [EventKind::AlarmRaised]);
    let series = derived::derived(&full);
    assert!(series.iter().any(|(at, (labels, _))| at.is_some() && labels.get("alarm") == Some("NOSPACE")));

    let alarm = (etcd_client::AlarmAction::Deactivate, etcd_client::AlarmType::Nospace);
    let mut options = etcd_client::AlarmOptions::new();
    options.with_member(full.members[0].member_id.expect("id").0);
    client.alarm(alarm.0, alarm.1, Some(options)).await.expect("disarmed");
    let cleared = read_until(&prober, STATUS, "the alarm is gone", |r| r.alarms.is_empty()).await;
    assert_eq!(
        changes(&full, &cleared).iter().map(|e| e.kind).collect::<Vec<_>>(),
        [EventKind::AlarmCleared]
    );
}
